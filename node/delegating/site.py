"""What both sides of delegations need of the node that they belong to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from tslg.node.ledger import Ledger
from tslg.node.net.errors import Busy, NotAvailable, ProtocolViolation, RequestRefused
from tslg.node.net.seam import Network, peer_id_of
from tslg.node.verifying import Walked
from tslg.protocol import signatures
from tslg.protocol.codec import Link
from tslg.protocol.delegating import Proof, State, vouched
from tslg.protocol.errors import NetworkError
from tslg.protocol.exchange import DELEGATE, MessageError
from tslg.protocol.keys import Key
from tslg.protocol.limits import Limits
from tslg.protocol.record import Record
from tslg.protocol.report import INVALID, VALID, Report

NOT_YOURS = "nothing here is for this peer"
"""What everybody is told who does not speak for the agent concerned, whether there is anything or not."""


ADDRESSES_TAKEN: Final = 4
"""Addresses of a peer that are taken from it: a node has few interfaces, and each may be dialled on its word."""


class Walk(Protocol):
    """Audits a record as any stranger would, and keeps nothing."""

    async def __call__(self, target: Link, peers: Sequence[str], *, depth: int | None = None) -> Walked:
        """Return the finished walk."""


@dataclass
class Site:
    """A node as delegations see it.

    Attributes:
        ledger: its ledger, with its store.
        network: how peers are reached.
        clock: ms since 1970 UTC.
        walk, keep: audit a record; and keep what a valid walk verified.
        known, search: where an agent's node may be, best guess first; hearsay. The second asks others.
        limits: bounds.
        chance: numbers in [0, 1).
    """

    ledger: Ledger
    network: Network
    clock: Callable[[], int]
    walk: Walk
    keep: Callable[[Walked, Sequence[str]], Awaitable[Report]]
    known: Callable[[Link], Awaitable[Sequence[str]]]
    search: Callable[[Link], Awaitable[Sequence[str]]]
    limits: Limits
    chance: Callable[[], float]
    _checking: dict[str, int] = field(default_factory=dict)

    async def places(self, agent: Link, named: Sequence[str]) -> AsyncGenerator[str]:
        """Yield where an agent's node may be, as named first, and where others say only if that is asked for too."""
        seen = set(self.network.addresses)
        for find in (None, self.known, self.search):
            for address in named if find is None else await find(agent):
                if address not in seen:
                    seen.add(address)
                    yield address

    @asynccontextmanager
    async def check(self, peer: str) -> AsyncIterator[None]:
        """Fetch and verify something for a peer, which may be anybody. Raises Busy if too much of that is under way."""
        taken = self._checking.get(peer, 0)
        under_way = sum(self._checking.values())
        if taken >= self.limits.delegation_checks_per_peer or under_way >= self.limits.delegation_checks:
            raise Busy("too many delegations are being verified")
        self._checking[peer] = taken + 1
        try:
            yield
        finally:
            self._checking[peer] -= 1
            if not self._checking[peer]:
                del self._checking[peer]

    def only_of(self, peer: str, addresses: Sequence[str]) -> list[str]:
        """Return a peer, which is connected, and a few of the addresses that it gave for itself, to be dialled later.

        What it gave for others is left out, and so is what a node may not dial for others at all.
        """
        found = []
        for address in addresses:
            try:
                if peer_id_of(address) == peer and self.network.may_dial(address):
                    found.append(address)
            except NetworkError:
                continue
        return [peer, *found[:ADDRESSES_TAKEN]]

    async def verified(self, id: Link, peers: Sequence[str], depth: int | None = None) -> Walked:
        """Return a walk that found a record valid.

        Raises:
            NotAvailable: it could not be had whole. RequestRefused: it is not valid.
        """
        walked = await self.walk(id, peers, depth=depth)
        if walked.report.verdict == VALID:
            return walked
        said = f"the record is {walked.report.verdict}: {why(walked.report)}"
        raise RequestRefused(said) if walked.report.verdict == INVALID else NotAvailable(said)

    async def hear(self, peer: str, request: bytes, take: Callable[[State], Awaitable[bool]]) -> None:
        """Send a request and hand what is answered to `take`, until that returns False or the reply ends.

        Raises:
            PeerError: the peer cannot be reached, refuses, or breaks off.
        """
        async with self.network.request(peer, DELEGATE, request, limits=self.limits) as chunks:
            async for chunk in chunks:
                try:
                    said = State.from_bytes(chunk, self.limits)
                except MessageError as error:
                    raise ProtocolViolation(f"peer {peer}: {error.detail}", peer=peer) from None
                if not await take(said):
                    return

    def proof(self, delegation: Link, agent: Link) -> Proof:
        """Let an own agent vouch for this node about a delegation. Called in a thread."""
        signed = self.ledger.sign(agent, vouched(delegation, self.network.peer_id))
        return Proof(Link(signed.kid), signed.value)

    def vouches(self, proof: Proof, delegation: Record, peer: str, more: dict[Link, Key]) -> bool:
        """Tell whether the delegator's key vouches for a peer. Called in a thread; `more` holds keys just verified."""
        key = self.ledger.context.key(proof.key) or more.get(proof.key)
        if key is None or key.owner != delegation.owner:
            return False
        if proof.key in self.ledger.context.revocations(delegation.owner).ends:
            return False
        return signatures.verify(key.alg, key.public, vouched(delegation.id, peer), proof.signature)


def why(report: Report) -> str:
    """Return what speaks against a report's target, in one line."""
    reasons = [finding.code for finding in report.findings] + [item.reason for item in report.undetermined]
    return ", ".join(dict.fromkeys(reasons)) or "no reason"


class Changes:
    """Who waits for a delegation to change."""

    def __init__(self) -> None:
        self._events: dict[Link, trio.Event] = {}

    def ring(self, delegation: Link) -> None:
        """Wake whoever waits for it."""
        event = self._events.pop(delegation, None)
        if event is not None:
            event.set()

    def next(self, delegation: Link) -> trio.Event:
        """Return the event of its next change."""
        return self._events.setdefault(delegation, trio.Event())
