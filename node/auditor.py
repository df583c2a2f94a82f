"""The auditor: walks delegated ancestry over the network, across nodes that it trusts in nothing.

It asks one peer for a whole ancestry at once, verifies while records still arrive, asks others for what is missing, and
leaves every judgement to the walker. What no peer hands over is *undetermined*, with the reason.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import trio

from tslg.node import kept_checkpoints
from tslg.node.doubting import Doubts
from tslg.node.net.errors import ProtocolViolation
from tslg.node.net.seam import Network, peer_id_of
from tslg.node.pool import Pool
from tslg.node.sealing import Checks
from tslg.node.sources import StoreSource
from tslg.node.store.interface import Store
from tslg.node.verifying import Outside, Tick, Walked, heads_for, quiet_collector
from tslg.protocol.chains import rests_on
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
    ProofsReply,
    ProofsRequest,
    RangeRequest,
    WalkEnd,
    WalkRequest,
    read_walk_chunk,
)
from tslg.protocol.keys import Key
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.logproof import Needs
from tslg.protocol.opening import Opened
from tslg.protocol.proofs import PrunedProof
from tslg.protocol.record import Record
from tslg.protocol.report import Reliance, Report
from tslg.protocol.walker import OutsideHead, Walker

WORKERS: Final = 2
"""Threads that verify signatures in the end; while records arrive it is one less, beside the one that opens them."""


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
        post_quantum: bool = False,
        outside: Outside = (),
        known: Mapping[Link, Record] | None = None,
        relied: Mapping[Link, Reliance] | None = None,
        tick: Tick | None = None,
    ) -> Report:
        """Walk the ancestry of `target`, asking `peers` (addresses) first, and return the report.

        Args:
            target: the record's id.
            peers: addresses that end in `/p2p/<id>`, nearest to the record first.
            depth, signatures, log, post_quantum, known: as for `Walker`.
            outside: heads known from elsewhere, or what finds them once the walk knows the logs it met.
            tick: called with the number of records received.
        """
        return (
            await self.walk(
                target,
                peers,
                depth=depth,
                signatures=signatures,
                log=log,
                post_quantum=post_quantum,
                outside=outside,
                known=known,
                relied=relied,
                tick=tick,
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
        post_quantum: bool = False,
        outside: Outside = (),
        known: Mapping[Link, Record] | None = None,
        relied: Mapping[Link, Reliance] | None = None,
        tick: Tick | None = None,
    ) -> Walked:
        """Do as `audit`, and keep what was handed over, for a bundle or a store."""
        started = time.perf_counter()
        doubts = Doubts()
        round_trips = 0
        for _ in range(self._limits.seal_rounds):
            walker = Walker(
                target,
                self._federation,
                now_ms=self._clock(),
                depth=depth,
                signatures=signatures,
                log=log,
                post_quantum=post_quantum,
                known=known,
                relied=relied,
                limits=self._limits,
            )
            keys: dict[Link, Key] = {}
            with Checks(WORKERS, keys) as checks:
                pool = Pool(walker, keys, checks if signatures == "all" else None, doubts.better)
                session = _Session(self, walker, pool, sorted(peers, key=doubts.spoilers.__contains__), tick, outside)
                await session.run()
                # In a thread, so that the node goes on answering others meanwhile.
                report = await trio.to_thread.run_sync(_conclude, walker, checks)
            again = await session.doubt(doubts)
            round_trips += session.round_trips
            if not again:
                break
        report = doubts.lifted(report, pool).timed(time.perf_counter() - started, round_trips)
        agents = tuple(agent._replace(peer=session.home_of(agent.id)) for agent in report.agents)
        return Walked(replace(report, agents=agents), walker)


def _weigh(walker: Walker) -> None:
    with quiet_collector():
        walker.weigh()


def _conclude(walker: Walker, checks: Checks) -> Report:
    """Judge what was gathered while the last signatures are verified."""
    with quiet_collector():
        walker.judge()
        walker.settle(checks.settle())
        checks.add(walker.unchecked())
        walker.settle(checks.settle())
        return walker.finish()


class _Session:
    """One audit under way."""

    def __init__(
        self, auditor: Auditor, walker: Walker, pool: Pool, peers: Sequence[str], tick: Tick | None, outside: Outside
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
        self._pool = pool
        self._beside: list[Opened] = []
        self._pruned: list[PrunedProof] = []
        self.round_trips = 0

    async def run(self) -> None:
        """Fetch until the walker wants nothing more, then what the logs need."""
        await self._fetch_all()
        await self._finish_logs()

    async def doubt(self, doubts: Doubts) -> bool:
        """Ask others about seals that do not hold; tell whether some of them were spoiled, so that one walks again."""
        return await doubts.look(
            self._walker,
            self._pool,
            self._homes_of(self._walker.federation),
            self._store,
            self._fetch_alone,
            self._limits,
        )

    async def _fetch_alone(self, peer: str, ids: Sequence[Link]) -> None:
        self.round_trips += 1
        request = WalkRequest(tuple(ids), None, 0).to_bytes()
        try:
            async with self._network.request(peer, WALK, request, limits=self._limits) as chunks:
                async for chunk in chunks:
                    part = read_walk_chunk(chunk, self._limits)
                    if not isinstance(part, WalkEnd):
                        self._pool.take(part, peer)
                        await trio.lowlevel.checkpoint()
        except TslgError as error:
            await self._give_up(peer, error)

    def home_of(self, agent: Link) -> str | None:
        """Return the id of the peer that served an agent's log, None if nobody served the whole of it."""
        homes = self._homes.get(agent)
        return peer_id_of(homes[0]) if homes else None

    async def _fetch_all(self) -> None:
        while lacking := self._hand_over_all():
            await self._fetch(lacking)
            for id in self._hand_over(lacking):
                self._walker.cannot(id, self._reason(id))

    def _hand_over_all(self) -> list[Link]:
        """Feed the walker until it wants what is not at hand; return that."""
        lacking: list[Link] = []
        with quiet_collector():
            while not lacking and (wanted := self._walker.wants()):
                lacking = self._hand_over(wanted)
        return lacking

    def _hand_over(self, wanted: Sequence[Link]) -> list[Link]:
        """Give the walker what is at hand; return the rest."""
        opened = self._pool.opened
        if self._store is not None:
            self._pool.take(self._store.get_many([id for id in wanted if id not in opened]).values())
        lacking = []
        for id in wanted:
            one = opened.get(id)
            if one is None:
                lacking.append(id)
            else:
                self._walker.supply(one)
        return lacking

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
            except TslgError as error:
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
        """Ask for an ancestry, and open it as it arrives."""
        request = WalkRequest(tuple(roots), None, self._walker.remaining).to_bytes()
        self.round_trips += 1
        async with self._network.request(peer, WALK, request, limits=self._limits) as chunks:
            async for chunk in chunks:
                part = read_walk_chunk(chunk, self._limits)
                if isinstance(part, WalkEnd):
                    self._take_end(peer, part)
                    continue
                # Not for longer: the collector must not rest for as long as a peer takes its time.
                with quiet_collector():
                    self._pool.take(part, peer)
                if self._tick is not None:
                    self._tick(len(self._pool.opened))
                # A chunk takes milliseconds to open; others have their turn before the next.
                await trio.lowlevel.checkpoint()

    def _take_end(self, peer: str, end: WalkEnd) -> None:
        for claim in end.heads:
            self._homes.setdefault(claim.agent, []).append(peer)
        self._pool.note_end(end)
        self._beside.extend(self._pool.take(end.beside, peer))
        self._pruned.extend(end.pruned)
        self._walker.supply_proofs(end.inclusion, end.consistency)
        self._walker.supply_checkpoints(end.checkpoints)

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
        if self._store is not None:
            kept = (kept_checkpoints.read(self._store, agent) for agent in walker.met())
            walker.supply_checkpoints(note for note in kept if note is not None)
        if walker.log == "none":
            return
        self._supply_federation_head()
        for agent in walker.met():
            if agent == walker.federation:
                continue
            if self._pool.newest(agent) is None:
                if agent not in self._homes and agent not in self._located:
                    await self._locate(agent)
                await self._fetch_head(agent)
            newest = self._pool.newest(agent)
            if newest is not None:
                walker.supply_head(*newest, "peer")
            self._supply_revocations(agent)
        if self._store is not None:
            source = StoreSource(self._store)
            for agent in walker.met():
                proof = self._pool.prefer(source.beside(agent))
                self._prefer_chains(proof)
                for opened in proof:
                    walker.supply_beside(opened)
        for opened in self._beside:
            walker.supply_beside(opened)
        walker.supply_pruned(self._pruned)
        await self._fetch_all()
        for agent, size in walker.wants_logs().items():
            await self._fetch_log(agent, size)
        await trio.to_thread.run_sync(_weigh, walker)
        for agent, needs in walker.wants_proofs().items():
            await self._fetch_proofs(agent, needs)

    def _supply_federation_head(self) -> None:
        """Learn the newest manifest version from peers, and hold what they claim against what is held here."""
        walker, federation = self._walker, self._walker.federation
        own = None if self._store is None else StoreSource(self._store).newest(federation)
        if own is not None and own.claim.size > 1:
            walker.expect([OutsideHead(federation, own.claim.size, own.claim.root, "log", 0)])
        newest = self._pool.newest(federation)
        if newest is not None:
            walker.supply_head(*newest, "peer")
        elif own is not None:
            (opened,) = self._pool.take([own.pair])
            walker.supply_head(own.claim, opened, "log")

    def _supply_revocations(self, agent: Link) -> None:
        """Hand over the revocations of a log: those kept of earlier audits first, then what peers sent unasked."""
        if self._store is not None:
            ids = self._store.by_kind("revocation", agent, limit=self._limits.revocations)
            kept = self._pool.prefer(self._store.get_many(ids).items())
            self._prefer_chains(kept)
            for opened in kept:
                self._walker.supply_revocation(opened)
        for opened in self._pool.revocations.get(agent, ()):
            self._walker.supply_revocation(opened)

    def _prefer_chains(self, kept: Sequence[Opened]) -> None:
        """Take what kept records rest on from the store as well, where it is held: peers may have sent it spoiled."""
        assert self._store is not None
        seen: set[Link] = set()
        todo = kept
        while todo:
            wanted = {id for one in todo for id in rests_on(one.record)} - seen
            seen |= wanted
            todo = self._pool.prefer(self._store.get_many(sorted(wanted)).items())

    def _homes_of(self, agent: Link) -> list[str]:
        return [p for p in dict.fromkeys([*self._homes.get(agent, ()), *self._peers]) if p not in self._dead]

    async def _fetch_head(self, agent: Link) -> None:
        for peer in self._homes_of(agent):
            try:
                reply = HeadReply.from_bytes(await self._ask(peer, HeadRequest(agent).to_bytes()), self._limits)
                (opened,) = self._pool.take([reply.pair], peer)
            except (NetworkError, TslgError) as error:
                await self._note(peer, error)
                continue
            if reply.head.agent == agent and opened.record.id == reply.head.record:
                self._pool.note_head(reply.head)
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
                            for one in self._pool.take(part, peer):
                                self._walker.supply_log(one)
                            await trio.lowlevel.checkpoint()
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
