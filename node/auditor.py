"""The auditor: walks delegated ancestry over the network, across nodes that it trusts in nothing.

It asks one peer for a whole ancestry at once, verifies while records still arrive, asks others for what is missing, and
leaves every judgement to the walker. What no peer hands over is *undetermined*, with the reason.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import trio

from tslg.node.net.errors import ProtocolViolation
from tslg.node.net.seam import Network, peer_id_of
from tslg.node.store.interface import Store
from tslg.node.verifying import Outside, Tick, Walked, heads_for
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.exchange import (
    LOG,
    WALK,
    HeadReply,
    HeadRequest,
    LocateReply,
    LocateRequest,
    MessageError,
    Pair,
    ProofsReply,
    ProofsRequest,
    RangeRequest,
    WalkEnd,
    WalkRequest,
    read_walk_chunk,
)
from tslg.protocol.keys import Key, key_of
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.logproof import Needs
from tslg.protocol.opening import Opened, open_pair
from tslg.protocol.proofs import HeadClaim
from tslg.protocol.record import Record
from tslg.protocol.report import Report
from tslg.protocol.walker import Walker

WORKERS: Final = 2
"""Threads that open records while more arrive."""


@dataclass(slots=True)
class _Pool:
    """What peers have handed over so far, opened; nothing in it has been asked for until the walker wants it."""

    hash_name: str
    keys: dict[Link, Key]
    check: bool
    opened: dict[Link, Opened] = field(default_factory=dict)
    claims: dict[Link, HeadClaim] = field(default_factory=dict)
    reasons: dict[Link, str] = field(default_factory=dict)

    def open(self, pairs: Sequence[Pair], known: Mapping[Link, Record]) -> list[Opened]:
        """Open a chunk, in a worker thread; keys are learnt as they come, so that a chunk may hold its own."""
        results = []
        for data, seal in pairs:
            opened = open_pair(data, seal, self.hash_name, self.keys if self.check else None)
            key = key_of(opened.record)
            if key is not None:
                self.keys[opened.record.id] = key
            results.append(opened._replace(sealed=True) if opened.record.id in known else opened)
        return results


class Auditor:
    """Verifies records over a network.

    Args:
        network: how peers are reached; it must be running.
        federation: the federation's id, the only thing the auditor trusts.
        clock: ms since 1970 UTC.
        store: a store whose records are used before any peer is asked; None for an auditor who knows nothing.
        limits: bounds on what is taken from peers.
    """

    def __init__(
        self,
        network: Network,
        federation: Link,
        *,
        clock: Callable[[], int],
        store: Store | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self._network = network
        self._federation = federation
        self._clock = clock
        self._store = store
        self._limits = limits

    async def audit(
        self,
        target: Link,
        peers: Sequence[str],
        *,
        depth: int | None = None,
        signatures: str = "all",
        log: str = "visited",
        outside: Outside = (),
        known: Mapping[Link, Record] | None = None,
        tick: Tick | None = None,
    ) -> Report:
        """Walk the ancestry of `target`, asking `peers` (addresses) first, and return the report.

        Args:
            target: the record's id.
            peers: addresses that end in `/p2p/<id>`, nearest to the record first.
            depth, signatures, log, known: as for `Walker`.
            outside: heads known from elsewhere, or what finds them once the walk knows the logs it met.
            tick: called with the number of records received.
        """
        return (
            await self.walk(
                target, peers, depth=depth, signatures=signatures, log=log, outside=outside, known=known, tick=tick
            )
        ).report

    async def walk(
        self,
        target: Link,
        peers: Sequence[str],
        *,
        depth: int | None = None,
        signatures: str = "all",
        log: str = "visited",
        outside: Outside = (),
        known: Mapping[Link, Record] | None = None,
        tick: Tick | None = None,
    ) -> Walked:
        """Do as `audit`, and keep what was handed over, for a bundle or a store."""
        walker = Walker(
            target,
            self._federation,
            now_ms=self._clock(),
            depth=depth,
            signatures=signatures,
            log=log,
            known=known,
            limits=self._limits,
        )
        session = _Session(self, walker, peers, tick, outside)
        started = time.perf_counter()
        await session.run()
        report = walker.finish().timed(time.perf_counter() - started, session.round_trips)
        agents = tuple(agent._replace(peer=session.home_of(agent.id)) for agent in report.agents)
        return Walked(replace(report, agents=agents), walker)


class _Session:
    """One audit under way."""

    def __init__(
        self, auditor: Auditor, walker: Walker, peers: Sequence[str], tick: Tick | None, outside: Outside
    ) -> None:
        self._outside = outside
        self._network = auditor._network
        self._store = auditor._store
        self._limits = auditor._limits
        self._walker = walker
        self._peers = list(dict.fromkeys(peers))
        self._homes: dict[Link, list[str]] = {}
        self._located: set[Link] = set()
        self._dead: set[str] = set()
        self._asked: set[tuple[str, Link]] = set()
        self._tick = tick
        self._pool = _Pool(cid.hash_name(walker.target), walker.keys, walker.signatures == "all")
        self.round_trips = 0

    async def run(self) -> None:
        """Fetch until the walker wants nothing more, then what the logs need."""
        await self._fetch_all()
        await self._finish_logs()

    def home_of(self, agent: Link) -> str | None:
        """Return the id of the peer that served an agent's log, None if nobody served the whole of it."""
        homes = self._homes.get(agent)
        return peer_id_of(homes[0]) if homes else None

    async def _fetch_all(self) -> None:
        walker = self._walker
        while wanted := walker.wants():
            lacking = self._hand_over(wanted)
            if lacking:
                await self._fetch(lacking)
                for id in self._hand_over(lacking):
                    walker.cannot(id, self._reason(id))

    def _hand_over(self, wanted: Sequence[Link]) -> list[Link]:
        """Give the walker what is at hand; return the rest."""
        lacking = []
        for id in wanted:
            opened = self._pool.opened.get(id) or self._own(id)
            if opened is None:
                lacking.append(id)
            else:
                self._walker.supply(opened)
        return lacking

    def _own(self, id: Link) -> Opened | None:
        entry = None if self._store is None else self._store.get(id)
        if entry is None:
            return None
        return self._pool.open([entry], self._walker.known)[0]

    def _reason(self, id: Link) -> str:
        if id in self._pool.reasons:
            return self._pool.reasons[id]
        return "unreachable" if all(peer in self._dead for peer in self._peers) else "absent"

    # --- records ---------------------------------------------------------------------------------------------------

    async def _fetch(self, wanted: Sequence[Link]) -> None:
        """Ask peer after peer for the ancestry of what is wanted, until all of it is there or nobody is left."""
        lacking = [id for id in wanted if id not in self._pool.opened]
        while lacking:
            peer = self._next_peer(lacking)
            if peer is None:
                if not await self._locate_owners(lacking):
                    return
                continue
            roots = [id for id in lacking if (peer, id) not in self._asked][: self._limits.walk_roots]
            self._asked.update((peer, id) for id in roots)
            try:
                await self._walk(peer, roots)
            except* TslgError as failed:
                # What receives and what opens run side by side: either may fail, and both may.
                for error in failed.exceptions:
                    await self._give_up(peer, error)
            lacking = [id for id in lacking if id not in self._pool.opened]

    def _next_peer(self, lacking: Sequence[Link]) -> str | None:
        """Choose who is asked: the home of the records' agents if it is known, else whoever was not asked yet."""
        homes = [peer for id in lacking for peer in self._homes.get(self._owner(id) or id, ())]
        for peer in dict.fromkeys([*homes, *self._peers]):
            if peer not in self._dead and any((peer, id) not in self._asked for id in lacking):
                return peer
        return None

    def _owner(self, id: Link) -> Link | None:
        return self._walker.owner_of(id)

    async def _walk(self, peer: str, roots: Sequence[Link]) -> None:
        """Ask for an ancestry, and open it in worker threads while more arrives."""
        edges = self._walker.remaining
        request = WalkRequest(tuple(roots), None, edges).to_bytes()
        self.round_trips += 1
        send, receive = trio.open_memory_channel[list[Pair]](WORKERS)
        async with trio.open_nursery() as nursery:
            async with receive:
                for _ in range(WORKERS):
                    nursery.start_soon(self._open_chunks, receive.clone())
            async with send, self._network.request(peer, WALK, request, limits=self._limits) as chunks:
                async for chunk in chunks:
                    part = read_walk_chunk(chunk, self._limits)
                    if isinstance(part, WalkEnd):
                        self._take_end(peer, part)
                    else:
                        await send.send(part)

    async def _open_chunks(self, receive: trio.MemoryReceiveChannel[list[Pair]]) -> None:
        async with receive:
            async for pairs in receive:
                for opened in await trio.to_thread.run_sync(self._pool.open, pairs, self._walker.known):
                    self._pool.opened.setdefault(opened.record.id, opened)
                if self._tick is not None:
                    self._tick(len(self._pool.opened))

    def _take_end(self, peer: str, end: WalkEnd) -> None:
        for id, reason in end.missing:
            self._pool.reasons.setdefault(id, reason)
        for claim in end.heads:
            self._homes.setdefault(claim.agent, []).append(peer)
            held = self._pool.claims.get(claim.agent)
            if held is None or claim.size > held.size:
                self._pool.claims[claim.agent] = claim
        self._walker.supply_proofs(end.inclusion, end.consistency)

    async def _give_up(self, peer: str, error: Exception) -> None:
        self._dead.add(peer)
        if isinstance(error, ProtocolViolation | MessageError):
            await self._network.cut_off(peer)

    async def _locate_owners(self, lacking: Sequence[Link]) -> bool:
        """Ask who is known where the agents of these records live; tell whether a new address was learnt."""
        agents = {owner for id in lacking if (owner := self._owner(id)) is not None}
        before = len(self._peers)
        for agent in sorted(agents - self._located):
            await self._locate(agent)
        return len(self._peers) > before

    async def _locate(self, agent: Link) -> None:
        self._located.add(agent)
        for peer in list(self._peers):
            if peer in self._dead:
                continue
            try:
                reply = LocateReply.from_bytes(await self._ask(peer, LocateRequest(agent).to_bytes()))
            except (NetworkError, TslgError) as error:
                await self._note(peer, error)
                continue
            for address in reply.addresses:
                if address not in self._peers:
                    self._peers.append(address)
                if address not in self._homes.setdefault(agent, []):
                    self._homes[agent].append(address)
            if reply.addresses:
                return

    # --- logs ------------------------------------------------------------------------------------------------------

    async def _finish_logs(self) -> None:
        """Get the newest record and the order of every log that was met, from whoever serves the whole of it."""
        walker = self._walker
        walker.expect(heads_for(walker, self._outside))
        if walker.log == "none":
            return
        for agent in walker.met():
            if agent == walker.federation:
                continue
            if agent not in self._pool.claims:
                if agent not in self._homes and agent not in self._located:
                    await self._locate(agent)
                await self._fetch_head(agent)
            claim = self._pool.claims.get(agent)
            if claim is not None and claim.record in self._pool.opened:
                walker.supply_head(claim, self._pool.opened[claim.record], "peer")
        await self._fetch_all()
        for agent, size in walker.wants_logs().items():
            await self._fetch_log(agent, size)
        for agent, needs in walker.wants_proofs().items():
            await self._fetch_proofs(agent, needs)

    def _homes_of(self, agent: Link) -> list[str]:
        return [p for p in dict.fromkeys([*self._homes.get(agent, ()), *self._peers]) if p not in self._dead]

    async def _fetch_head(self, agent: Link) -> None:
        for peer in self._homes_of(agent):
            try:
                reply = HeadReply.from_bytes(await self._ask(peer, HeadRequest(agent).to_bytes()), self._limits)
                (opened,) = self._pool.open([reply.pair], self._walker.known)
            except (NetworkError, TslgError) as error:
                await self._note(peer, error)
                continue
            if reply.head.agent == agent and opened.record.id == reply.head.record:
                self._pool.opened.setdefault(opened.record.id, opened)
                self._pool.claims[agent] = reply.head
                self._homes.setdefault(agent, []).insert(0, peer)
                return

    async def _fetch_log(self, agent: Link, size: int) -> None:
        request = RangeRequest(agent, 0, size).to_bytes()
        for peer in self._homes_of(agent):
            self.round_trips += 1
            try:
                async with self._network.request(peer, LOG, request, limits=self._limits) as chunks:
                    async for chunk in chunks:
                        part = read_walk_chunk(chunk, self._limits)
                        if not isinstance(part, WalkEnd):
                            opened = await trio.to_thread.run_sync(self._pool.open, part, self._walker.known)
                            for one in opened:
                                self._walker.supply_log(one)
            except (NetworkError, TslgError) as error:
                await self._note(peer, error)
                continue
            return

    async def _fetch_proofs(self, agent: Link, needs: Needs) -> None:
        """Ask for proofs in requests of bounded size, of each peer that may hold the log, until all are there."""
        most = self._limits.walk_roots
        for peer in self._homes_of(agent):
            for part in range(max(math.ceil(len(needs.inclusion) / most), math.ceil(len(needs.consistency) / most))):
                window = slice(part * most, (part + 1) * most)
                request = ProofsRequest(agent, Needs(needs.inclusion[window], needs.consistency[window]))
                try:
                    reply = ProofsReply.from_bytes(await self._ask(peer, request.to_bytes()), self._limits)
                except (NetworkError, TslgError) as error:
                    await self._note(peer, error)
                    break
                self._walker.supply_proofs(reply.inclusion, reply.consistency)
            if agent not in self._walker.wants_proofs():
                return

    async def _ask(self, peer: str, request: bytes) -> bytes:
        """Send one request about a log whose reply is one chunk."""
        self.round_trips += 1
        async with self._network.request(peer, LOG, request, limits=self._limits) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def _note(self, peer: str, error: Exception) -> None:
        """A peer that has no answer is asked on; one that cannot be reached or breaks the protocol is not."""
        from tslg.node.net.errors import Answered

        if not isinstance(error, Answered):
            await self._give_up(peer, error)
