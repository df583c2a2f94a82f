"""What a run knows of its witnesses: who cosigned what and when, and what readers may believe of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tslg.node import perjuries
from tslg.node.verifying import Walked
from tslg.protocol.checkpoint import Checkpoint
from tslg.protocol.cid import Link, short
from tslg.simulations.engine import SECOND

if TYPE_CHECKING:
    from tslg.simulations.member import Member
    from tslg.simulations.world import World

_CHECK: Final = 7
"""Tag of these checks in the run's digest."""
State = tuple[int, bytes]
"""A size and a root."""


class Testimony:
    """The judge of what witnesses say in one run.

    Args:
        world: the run.
        bound: within how long (µs) a witness of two histories is to be found out.
    """

    def __init__(self, world: World, bound: int) -> None:
        self._world = world
        self._bound = bound
        self._swore: dict[tuple[Link, State], dict[int, int]] = {}
        self._believing: dict[Link, dict[int, list[int]]] = {}
        self._anchored: dict[Link, dict[int, str]] = {}
        self._convicted: set[str] = set()

    @property
    def liars(self) -> int:
        """How many witnesses lie."""
        return sum(not self._world.members[seat.member].honest for seat in self._world.seats.values())

    # --- what is true ------------------------------------------------------------------------------------------------

    def swore(self, witness: Member, head: Checkpoint, time: int) -> None:
        """Take note of what an honest witness cosigned, and as of when (s)."""
        self._swore.setdefault((head.agent, (head.size, head.root)), {})[witness.index] = time
        self._world.oracle.counts["cosignatures"] += 1

    # --- what readers make of it -------------------------------------------------------------------------------------

    def read(self, member: Member, walked: Walked) -> None:
        """Hold what an honest reader believes of logs' anchoring against what honest witnesses said."""
        world, quorum = self._world, self._world.quorum
        if not world.seats:
            return
        liars = self.liars
        for signed in walked.walker.cosigned():
            head = signed.checkpoint
            state = head.size, head.root
            honest = self._swore.get((head.agent, state), {})
            world.oracle.counts["anchored heads believed"] += 1
            if len(honest) < quorum - liars:
                text = f"{member.name} believes that {short(head.agent)} has {head.size} records, which"
                text += f" {len(honest)} honest witnesses cosigned of the {quorum - liars} that it takes"
                raise world.oracle.broken("witnesses", member.name, text)
            self._take(member, head.agent, state, liars)
        for entry in walked.report.freshness:
            # What is of no age may be of a clock that is ahead of the reader's.
            if entry.source == "witness" and entry.age_ms and liars < quorum:
                self._check_time(member, entry.agent, entry.size, walked.walker.now_ms - entry.age_ms)

    def _check_time(self, member: Member, agent: Link, size: int, claimed_ms: int) -> None:
        times = [max(said.values()) for (one, (many, _)), said in self._swore.items() if (one, many) == (agent, size)]
        if times and claimed_ms // 1_000 > max(times):
            text = f"{member.name} holds a head of {short(agent)} to be younger than any honest witness said"
            raise self._world.oracle.broken("witnesses", member.name, text)

    def _take(self, member: Member, agent: Link, state: State, liars: int) -> None:
        """Take note of who believes which side of a log that has two histories."""
        world = self._world
        side = world.oracle.side(agent, state)
        if side is None:
            return
        believed = self._anchored.setdefault(agent, {})
        believed.setdefault(side, member.name)
        if len(believed) > 1 and liars < 2 * world.quorum - len(world.seats):
            text = f"{short(agent)} has two histories, both anchored, for {' and '.join(believed.values())}"
            raise world.oracle.broken("witnesses", member.name, text)
        holders = self._believing.setdefault(agent, {})
        waiting = len(holders) > 1
        names = holders.setdefault(side, [])
        if member.index not in names:
            names.append(member.index)
        if len(holders) > 1 and not waiting:
            world.loop.after(self._bound, _CHECK, 0, self._check_found, agent)

    def look(self, member: Member) -> None:
        """Take note of the proof against witnesses that an honest member holds."""
        world = self._world
        for seat in world.seats.values():
            key = seat.public
            if key.name in self._convicted or perjuries.kept(member.disk, key) is None:
                continue
            if world.members[seat.member].honest:
                text = f"{member.name} convicts {key.name}, which cosigned no two histories"
                raise world.oracle.broken("witnesses", member.name, text)
            self._convicted.add(key.name)
            world.oracle.counts["witnesses convicted"] += 1

    def _check_found(self, agent: Link) -> None:
        if len(self._convicted) >= self.liars:
            return
        world = self._world
        sides = list(self._believing[agent].values())
        pairs = [(a, b) for a in sides[0] for b in sides[1]]
        if not any(world.net.reaches(a, b) for a, b in pairs):
            world.loop.after(self._bound, _CHECK, 0, self._check_found, agent)
            return
        names = ", ".join(world.members[one].name for one in pairs[0])
        text = f"witnesses cosigned two histories of {short(agent)}, which {names} believe,"
        text += f" and nobody noticed in {self._bound // SECOND} s"
        raise world.oracle.broken("witnesses", names, text)
