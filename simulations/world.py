"""One run: its clock, network, members, and what becomes of them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from tslg.protocol.codec import Link
from tslg.simulations.chance import stream
from tslg.simulations.engine import SECOND, Loop
from tslg.simulations.founding import Founding
from tslg.simulations.machine import Machine
from tslg.simulations.member import Member
from tslg.simulations.network import Net, Weather
from tslg.simulations.oracle import Oracle
from tslg.simulations.pedigrees import Pedigrees
from tslg.simulations.signing import Signing
from tslg.simulations.testimony import Testimony

if TYPE_CHECKING:
    from tslg.simulations.anchoring import Seat

_NOTICES: Final = 512
_RESTART: Final = 4


class Notice(NamedTuple):
    """A record that others learn of, out of band: which, whose, and who tells of it."""

    record: Link
    author: Link
    teller: int


class Directory:
    """Where agents' nodes are: what the DHT of a node answers, and what hostile members can spoil of it."""

    def __init__(self) -> None:
        self._homes: dict[Link, list[int]] = {}
        self._spoiled: dict[Link, list[int]] = {}

    def add(self, agent: Link, member: int) -> None:
        """Name a member that serves an agent's log."""
        homes = self._homes.setdefault(agent, [])
        if member not in homes:
            homes.append(member)

    def spoil(self, agent: Link, members: list[int]) -> None:
        """Have everybody who looks for an agent find these first."""
        self._spoiled[agent] = members

    def find(self, asker: Member, agent: Link) -> list[int]:
        """Return the members that are said to serve an agent's log, best first."""
        return [*self._spoiled.get(agent, ()), *self._homes.get(agent, ())]


class World:
    """A run.

    Args:
        seed: what everything derives from.
        founding: the federation.
        signing: how signatures are made.
        weather: of links where nothing else is said.
        hops: over how many links an announcement travels.
        heartbeat_s: how often a member tells a neighbour which announcements it has, 0 for never.
        journalled: whether disks can lose what they did not sync.
        fork_bound_s: within how many seconds a fork is to be found, and a witness of two histories.
        quorum: how many witnesses must cosign logs' heads, 0 for none.
    """

    def __init__(
        self,
        seed: int,
        founding: Founding,
        signing: Signing,
        weather: Weather,
        *,
        hops: int = 3,
        heartbeat_s: float = 0.0,
        journalled: bool = False,
        fork_bound_s: int = 120,
        quorum: int = 0,
    ) -> None:
        self.seed = seed
        self.founding = founding
        self.federation = founding.id
        self.signing = signing
        self.loop = Loop()
        self.net = Net(self.loop, stream(seed, "network"), weather)
        self.members = self.net.members
        self.directory = Directory()
        self.hops = hops
        self.heartbeat = int(heartbeat_s * SECOND)
        self.journalled = journalled
        self.pedigrees = Pedigrees(self)
        self.oracle = Oracle(self, fork_bound_s * SECOND)
        self.quorum = quorum
        self.seats: dict[str, Seat] = {}
        """The witnesses by name."""
        self.testimony = Testimony(self, fork_bound_s * SECOND)
        self.notices: deque[Notice] = deque(maxlen=_NOTICES)
        self._everybody: list[int] = []
        for record, seal in founding.log:
            self.oracle.true(record, seal)

    def join(self, group: str, honest: bool = True) -> Member:
        """Add a member with a fresh agent."""
        index = len(self.members)
        genesis, seal, key = self.founding.agent(f"{group}-{index}")
        self.oracle.true(genesis, seal)
        member = Member(self, index, group, (genesis, seal, key), honest)
        self.members.append(member)
        self.directory.add(member.id, index)
        return member

    def notice(self, record: Link, author: Link, teller: Member) -> None:
        """Let others learn of a record."""
        self.notices.append(Notice(record, author, teller.index))

    def lost_power(self, member: Machine) -> None:
        """A member's machine stops in the middle of something; it is started again a while later."""
        member.crash()
        self.oracle.counts["crashes"] += 1
        self.loop.after(_RESTART * SECOND, 4, member.index, self.restart, member)

    def restart(self, member: Machine) -> None:
        """Start a member's machine again."""
        if member.up:
            return
        self.oracle.restarted(member)
        member.start()
        if member.behaviour is not None:
            member.behaviour.begin(member)

    @property
    def everybody(self) -> list[int]:
        """All members, by index; one list for all who ask."""
        if len(self._everybody) != len(self.members):
            self._everybody = list(range(len(self.members)))
        return self._everybody

    @property
    def honest(self) -> list[Member]:
        """The members that keep to the rules."""
        return [member for member in self.members if member.honest]
