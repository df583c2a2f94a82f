"""Whom to ask next for records, of all who might have them: the order, and nothing but the order.

Pure: it is told what was wanted, learnt and tried, and says what to do next. What is held is used before anybody is
asked. Then come, in this order and each only when those before it have nothing more to give: who served the agent's
log, whom the asker was given, who is said to be the agent's node, providers of the agent, providers of the federation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from tslg.protocol.codec import Link
from tslg.protocol.limits import DEFAULT, Limits

TRIED_AT_ONCE: Final = 4
"""Strangers dialled side by side: of addresses that lead nowhere each costs seconds."""


class Stage(IntEnum):
    """Where a candidate is from, in the order in which they are asked."""

    SERVED = 0
    GIVEN = 1
    TOLD = 2
    AGENT = 3
    FEDERATION = 4


Thing = Hashable
"""What is wanted: a record's id, or anything else that stands for one question."""


class Ask(NamedTuple):
    """Ask this peer, at this address, for these things."""

    peer: str
    address: str
    things: tuple[Thing, ...]


class Try(NamedTuple):
    """Dial these, side by side; say `alive` or `dead` of each."""

    addresses: tuple[str, ...]


class Look(NamedTuple):
    """Find out who else there is: at TOLD ask the book and known peers about an agent, else the DHT about `key`."""

    stage: Stage
    key: Link


Step = Ask | Try | Look


class Resolver:
    """Candidates of one audit.

    Args:
        federation: the last resort.
        given: addresses in the order in which they shall be asked.
        peer_of: the peer's id in an address.
        score: how well a peer answered before; orders the candidates of one stage.
        silent: whether the line to a peer is silent; such are asked after the others of their stage, and not dialled.
        limits: bounds on how many are dialled.
    """

    def __init__(
        self,
        federation: Link,
        given: Iterable[str],
        *,
        peer_of: Callable[[str], str],
        score: Callable[[str], int] = lambda peer: 0,
        silent: Callable[[str], bool] = lambda peer: False,
        limits: Limits = DEFAULT,
    ) -> None:
        self._federation = federation
        self._peer_of = peer_of
        self._score = score
        self._silent = silent
        self._left = limits.strangers_dialled
        self._most = limits.found_addresses
        self._things = limits.walk_roots
        self._addresses: dict[str, dict[str, None]] = {}
        self._stages: dict[tuple[Stage, Link | None], dict[str, None]] = {}
        self._alive: dict[str, str] = {}
        self._dead: set[str] = set()
        self._out: set[str] = set()
        self._asked: set[tuple[str, Thing]] = set()
        self._looked: set[Look] = set()
        self.learn(Stage.GIVEN, None, given)

    def learn(self, stage: Stage, key: Link | None, addresses: Iterable[str]) -> None:
        """Note candidates: for one agent, or for whatever is wanted where `key` is None or the federation."""
        found = self._stages.setdefault((stage, None if key == self._federation else key), {})
        for number, address in enumerate(dict.fromkeys(addresses)):
            if number >= self._most and stage is not Stage.GIVEN:
                break
            peer = self._peer_of(address)
            found[peer] = None
            self._addresses.setdefault(peer, {})[address] = None

    def served(self, agent: Link, peer: str) -> None:
        """Note that a peer holds the whole of an agent's log."""
        self._stages.setdefault((Stage.SERVED, agent), {})[peer] = None

    def alive(self, address: str) -> None:
        """Note that a peer was reached."""
        self._alive[self._peer_of(address)] = address

    def dead(self, address: str) -> None:
        """Note that a dial came to nothing."""
        self._dead.add(address)

    def out(self, peer: str) -> None:
        """Ask this peer for nothing more."""
        self._out.add(peer)

    def asked(self, peer: str, things: Iterable[Thing]) -> None:
        """Note that a peer was asked for these things, or said by itself that it does not have them."""
        self._asked.update((peer, thing) for thing in things)

    def looked(self, look: Look) -> None:
        """Note that what `look` asks for was learnt, if there was anything."""
        self._looked.add(look)

    def is_out(self, peer: str) -> bool:
        """Whether a peer cannot be asked: it is out, or none of its addresses leads to it."""
        return peer in self._out or (
            peer not in self._alive and all(address in self._dead for address in self._addresses.get(peer, ()))
        )

    def familiar(self, thing: Thing) -> str | None:
        """Return a peer that was given or reached and not asked for this thing yet, None if there is no other."""
        given = self._stages[Stage.GIVEN, None]
        for peer in (*self._alive, *given):
            if not self.is_out(peer) and (peer, thing) not in self._asked:
                return peer
        return None

    def reached(self) -> list[str]:
        """Return where peers were reached that may still be asked."""
        return [address for peer, address in self._alive.items() if peer not in self._out]

    def address(self, peer: str) -> str:
        """Where a peer is asked: where it was reached, or the first of its addresses that is not known to fail."""
        known = self._addresses[peer]
        return self._alive.get(peer) or next((one for one in known if one not in self._dead), next(iter(known)))

    def next(self, wanted: Mapping[Thing, Link | None], last: Stage = Stage.FEDERATION) -> Step | None:
        """Return what to do next for things that are lacking, by the agents whose they are; None if that was all.

        Nobody of a stage after `last` is asked or looked for.
        """
        agents = list(dict.fromkeys(agent for agent in wanted.values() if agent is not None))
        for stage in Stage:
            if stage > last or not wanted:
                break
            step = self._step(stage, self._candidates(stage, agents), list(wanted))
            if step is None:
                step = self._look(stage, agents)
            if step is not None:
                return step
        return None

    def _candidates(self, stage: Stage, agents: Sequence[Link]) -> list[str]:
        """Return the peers of a stage, those that are there for one of the agents first."""
        groups = [self._stages.get((stage, agent), {}) for agent in (*agents, None)]
        return list(dict.fromkeys(peer for group in groups for peer in group))

    def _step(self, stage: Stage, candidates: Sequence[str], things: Sequence[Thing]) -> Step | None:
        left = [peer for peer in candidates if not self.is_out(peer) and self._unasked(peer, things)]
        silent = set(filter(self._silent, left))
        # Those that were given are asked in their order, whatever they were like before.
        left.sort(
            key=lambda peer: (
                peer in silent,
                peer not in self._alive,
                0 if stage is Stage.GIVEN else -self._score(peer),
            )
        )
        if not left:
            return None
        first = left[0]
        if first in self._alive or first in silent:
            return Ask(first, self.address(first), tuple(self._unasked(first, things)[: self._things]))
        strangers = [peer for peer in left if peer not in silent][: min(TRIED_AT_ONCE, self._left)]
        self._left -= len(strangers)
        return Try(tuple(self.address(peer) for peer in strangers)) if strangers else None

    def _unasked(self, peer: str, things: Iterable[Thing]) -> list[Thing]:
        return [thing for thing in things if (peer, thing) not in self._asked]

    def _look(self, stage: Stage, agents: Sequence[Link]) -> Look | None:
        """Return the next question about who else there is, after all candidates of its stage are used up."""
        if stage in (Stage.TOLD, Stage.AGENT):
            looks = [Look(stage, agent) for agent in agents if agent != self._federation]
        else:
            looks = [Look(stage, self._federation)] if stage is Stage.FEDERATION else []
        return next((look for look in looks if look not in self._looked), None)
