"""The book of peers: where each was heard to be, whose agents it is said to have, and how it answered.

Hearsay, all of it: an address leads to a peer or it does not, and costs one dial. Bounded, since strangers write in it:
what was never reached goes first. Kept over restarts as one value. Nothing here reads a clock; times are ms since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from tslg.node.net.errors import AddressError
from tslg.node.net.reach import ADDRESS_CHARACTERS
from tslg.node.net.seam import peer_id_of
from tslg.protocol import codec
from tslg.protocol.cid import is_record_id
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError
from tslg.protocol.limits import DEFAULT, Limits

SHUNNED_MS: Final = 24 * 60 * 60 * 1000
"""How long a peer that broke a rule is not asked again; it may have been repaired by then."""
AGENTS_PER_PEER: Final = 256
"""Agents that one peer is noted for."""
_SLOW_MS: Final = 2_000
_COUNTED: Final = 5
"""Of each kind of outcome so many count: what was long ago must not outweigh what is."""


class Source(StrEnum):
    """Where an address is from, the most telling first."""

    STATIC = "static"
    MET = "met"
    REGISTERED = "registered"
    TOLD = "told"
    MDNS = "mdns"
    DHT = "dht"


class Outcome(StrEnum):
    """What came of asking a peer."""

    ANSWERED = "answered"
    NOTHING = "nothing"
    FAILED = "failed"
    BROKE = "broke"


@dataclass(slots=True)
class Known:
    """What is noted of one peer."""

    peer: str
    addresses: dict[str, Source] = field(default_factory=dict)
    """The best first."""
    agents: dict[Link, None] = field(default_factory=dict)
    heard_ms: int = 0
    reached_ms: int | None = None
    answered: int = 0
    nothing: int = 0
    failed: int = 0
    """In a row."""
    slow_ms: int = 0
    """How long it takes to answer, by and by."""
    shunned_until: int = 0
    why: str = ""

    @property
    def score(self) -> int:
        """How well it answered so far: 0 for a stranger."""
        slow = 5 if self.slow_ms > _SLOW_MS else 0
        return 10 * self.answered - 2 * self.nothing - 10 * self.failed - slow

    @property
    def worth(self) -> tuple[bool, bool, int, int]:
        """What it is kept for, the greater the longer."""
        static = Source.STATIC in self.addresses.values()
        # Whoever broke a rule is not forgotten sooner because many others are heard of.
        met = self.reached_ms is not None or self.shunned_until > 0
        return static, met, self.reached_ms or 0, self.heard_ms


class Book:
    """Peers by id. `changed` tells whether there is anything to keep; `to_bytes` resets it."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._peers: dict[str, Known] = {}
        self._by_agent: dict[Link, dict[str, None]] = {}
        self.changed = False

    def __iter__(self) -> Iterator[Known]:
        """All that are noted, the best first."""
        return iter(sorted(self._peers.values(), key=lambda one: (one.reached_ms is None, -one.score, one.peer)))

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, peer: str) -> Known | None:
        """What is noted of a peer."""
        return self._peers.get(peer)

    def hear(self, address: str, source: Source, now_ms: int, agent: Link | None = None) -> None:
        """Note an address and, if it was said, whose; text that is no address is passed over."""
        try:
            peer = peer_id_of(address)
        except AddressError:
            return
        if len(address) > ADDRESS_CHARACTERS or not address.startswith("/"):
            return
        known = self._peers.setdefault(peer, Known(peer))
        known.heard_ms = max(known.heard_ms, now_ms)
        before = known.addresses.get(address)
        if before is None or list(Source).index(source) < list(Source).index(before):
            known.addresses[address] = source
        self._bound_addresses(known)
        if agent is not None:
            self._note_agent(known, agent)
        self.changed = True
        self._bound(known)

    def _bound_addresses(self, known: Known) -> None:
        """Keep the most telling addresses, and of those the first: a flood of others does not push them out."""
        most, order = self._limits.peer_addresses, list(Source)
        if len(known.addresses) > most:
            best = sorted(known.addresses.items(), key=lambda item: order.index(item[1]))[:most]
            known.addresses = dict(best)

    def _note_agent(self, known: Known, agent: Link) -> None:
        peers = self._by_agent.setdefault(agent, {})
        if known.peer not in peers and len(peers) >= self._limits.peer_addresses:
            stale = [peer for peer in peers if self._peers[peer].reached_ms is None]
            if not stale:
                return
            self._unlink(self._peers[stale[0]], agent)
        if agent not in known.agents and len(known.agents) >= AGENTS_PER_PEER:
            self._unlink(known, next(iter(known.agents)))
        known.agents[agent] = None
        self._by_agent.setdefault(agent, {})[known.peer] = None

    def _unlink(self, known: Known, agent: Link) -> None:
        known.agents.pop(agent, None)
        peers = self._by_agent.get(agent, {})
        peers.pop(known.peer, None)
        if not peers:
            self._by_agent.pop(agent, None)

    def _bound(self, newest: Known) -> None:
        while len(self._peers) > self._limits.peers_known:
            worst = min((one for one in self._peers.values() if one is not newest), key=lambda one: one.worth)
            self.forget(worst.peer)

    def forget(self, peer: str) -> bool:
        """Drop all that is noted of a peer; tell whether there was anything."""
        known = self._peers.pop(peer, None)
        if known is None:
            return False
        for agent in list(known.agents):
            self._unlink(known, agent)
        self.changed = True
        return True

    def reached(self, address: str, now_ms: int) -> None:
        """Note that a peer was reached at an address, which is its best from now on."""
        self.hear(address, Source.MET, now_ms)
        known = self._peers.get(_peer_of(address))
        if known is not None:
            # By its id alone a peer is reached that is connected already, which says nothing about where it is.
            if (source := known.addresses.pop(address, None)) is not None:
                known.addresses = {address: source, **known.addresses}
            known.reached_ms, known.failed, self.changed = now_ms, 0, True

    def unreached(self, address: str) -> None:
        """Note that a dial came to nothing; the address is the peer's last from now on."""
        known = self._peers.get(_peer_of(address))
        if known is None:
            return
        if address in known.addresses:
            known.addresses[address] = known.addresses.pop(address)
        known.failed = min(known.failed + 1, _COUNTED)
        self.changed = True

    def outcome(self, peer: str, outcome: Outcome, now_ms: int, took_ms: int = 0, why: str = "") -> None:
        """Note what came of asking a peer. One that broke a rule is shunned for a day, for the reason given."""
        known = self._peers.get(peer)
        if known is None:
            if outcome is not Outcome.BROKE:
                return
            known = self._peers[peer] = Known(peer, heard_ms=now_ms)
        self.changed = True
        if outcome is Outcome.ANSWERED:
            known.answered, known.nothing = min(known.answered + 1, _COUNTED), max(known.nothing - 1, 0)
            known.failed, known.reached_ms = 0, now_ms
            known.slow_ms = (3 * known.slow_ms + took_ms) // 4
        elif outcome is Outcome.NOTHING:
            known.nothing, known.failed, known.reached_ms = min(known.nothing + 1, _COUNTED), 0, now_ms
        elif outcome is Outcome.FAILED:
            known.failed = min(known.failed + 1, _COUNTED)
        else:
            known.shunned_until, known.why, known.answered = now_ms + SHUNNED_MS, why[:200], 0
        self._bound(known)

    def shunned(self, peer: str, now_ms: int) -> bool:
        """Whether a peer broke a rule not long ago."""
        known = self._peers.get(peer)
        return known is not None and known.shunned_until > now_ms

    def score(self, peer: str) -> int:
        """How well a peer answered so far: 0 for a stranger."""
        known = self._peers.get(peer)
        return 0 if known is None else known.score

    def of_agent(self, agent: Link, now_ms: int) -> list[str]:
        """Addresses of peers that are said to have an agent, the best first. May be called from any thread."""
        held = [self._peers.get(peer) for peer in list(self._by_agent.get(agent, ()))]
        peers = [one for one in held if one is not None and one.shunned_until <= now_ms]
        peers.sort(key=lambda one: (-one.score, -(one.reached_ms or 0)))
        return [address for one in peers for address in list(one.addresses)]

    def to_bytes(self) -> bytes:
        """All of it, as one value."""
        self.changed = False
        return codec.encode([_to_map(one) for one in self._peers.values()])

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT) -> Book:
        """Read what `to_bytes` made. What cannot be read, of another version for instance, is an empty book."""
        book = cls(limits)
        try:
            rows = [_from_map(row) for row in codec.decode(data)]
        except (CodecError, KeyError, TypeError, ValueError):
            return book
        for known in rows[: limits.peers_known]:
            agents, known.agents = list(known.agents), {}
            book._peers[known.peer] = known
            for agent in agents:
                book._note_agent(known, agent)
        return book


def admitted(addresses: Iterable[str], may_dial: Callable[[str], bool], limits: Limits = DEFAULT) -> list[str]:
    """Return those of the addresses that others gave which may be dialled, once each and not too many."""
    return [address for address in dict.fromkeys(addresses) if may_dial(address)][: limits.found_addresses]


def _peer_of(address: str) -> str:
    return address.rpartition("/p2p/")[2]


_COUNTS: Final = ("heard_ms", "answered", "nothing", "failed", "slow_ms", "shunned_until")


def _to_map(known: Known) -> dict[str, Any]:
    return {
        "peer": known.peer,
        "addresses": [[address, str(source)] for address, source in known.addresses.items()],
        "agents": list(known.agents),
        "reached_ms": known.reached_ms,
        "why": known.why,
        **{name: getattr(known, name) for name in _COUNTS},
    }


def _from_map(row: Any) -> Known:
    addresses = {str(address): Source(source) for address, source in row["addresses"]}
    agents = {agent: None for agent in row["agents"] if is_record_id(agent)}
    reached = None if row["reached_ms"] is None else int(row["reached_ms"])
    counts = {name: int(row[name]) for name in _COUNTS}
    return Known(str(row["peer"]), addresses, agents, reached_ms=reached, why=str(row["why"]), **counts)
