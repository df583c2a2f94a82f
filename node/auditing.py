"""One audit under way: what the walker wants is asked of peer after peer, and opened as it arrives."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

import trio

from tslg.node import kept_checkpoints
from tslg.node.doubting import Doubts
from tslg.node.finding.asking import Asker
from tslg.node.finding.resolver import Ask, Thing
from tslg.node.hedging import Begin, Hedge
from tslg.node.net.seam import peer_id_of
from tslg.node.pace import Pace
from tslg.node.pool import Pool
from tslg.node.sources import StoreSource
from tslg.node.store.interface import Store
from tslg.node.verifying import Outside, Tick, heads_for, quiet_collector, supply_proofs
from tslg.protocol.chains import rests_on
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.exchange import (
    LOG,
    WALK,
    HeadReply,
    HeadRequest,
    Pair,
    ProofsReply,
    ProofsRequest,
    RangeRequest,
    WalkEnd,
    WalkRequest,
    read_walk_chunk,
)
from tslg.protocol.limits import Limits
from tslg.protocol.logproof import Needs
from tslg.protocol.opening import Opened
from tslg.protocol.proofs import PrunedProof
from tslg.protocol.walker import OutsideHead, Walker

MOST_REPLIES: Final = 64
"""Replies in which one peer may hand over one log: 16 GiB."""


class Session:
    """One audit under way."""

    def __init__(
        self,
        store: Store | None,
        limits: Limits,
        walker: Walker,
        pool: Pool,
        asker: Asker,
        author: Link | None,
        tick: Tick | None,
        outside: Outside,
    ) -> None:
        self._authors = {} if author is None else {walker.target: author}
        self._outside = outside
        self._store = store
        self._limits = limits
        self._walker = walker
        self.asker = asker
        self._homes: dict[Link, str] = {}
        self._tick = tick
        self._pool = pool
        self._beside: list[Opened] = []
        self._pruned: list[PrunedProof] = []

    async def run(self) -> None:
        """Fetch until the walker wants nothing more, then what the logs need."""
        await self._fetch_all()
        await self._finish_logs()

    async def doubt(self, doubts: Doubts) -> bool:
        """Ask others about seals that do not hold; tell whether some of them were spoiled, so that one walks again."""
        others = await self.asker.others(self._limits.seal_witnesses) if self._walker.unsealed() else []
        return await doubts.look(self._walker, self._pool, others, self._store, self._fetch_alone, self._limits)

    async def _fetch_alone(self, address: str, ids: Sequence[Link]) -> None:
        request = WalkRequest(tuple(ids), None, 0).to_bytes()
        try:
            async with self.asker.asked(address, WALK, request) as chunks:
                async for chunk in chunks:
                    part = read_walk_chunk(chunk, self._limits)
                    if not isinstance(part, WalkEnd):
                        self._pool.take(part, address)
                        await trio.lowlevel.checkpoint()
        except TslgError as error:
            await self.asker.failed(Ask(peer_id_of(address), address, ()), error)

    def home_of(self, agent: Link) -> str | None:
        """Return the id of the peer that served an agent's log, None if nobody served the whole of it."""
        return self._homes.get(agent)

    async def _fetch_all(self) -> None:
        while lacking := self._hand_over_all():
            await self._fetch(lacking)
            for id in self._hand_over(lacking):
                self._walker.cannot(id, self._pool.reasons.get(id) or self.asker.reason(id))

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

    # --- records ---------------------------------------------------------------------------------------------------

    async def _fetch(self, wanted: Sequence[Link]) -> None:
        """Ask peer after peer for the ancestry of what is wanted, until all of it is there or nobody is left."""

        async def ask_one(ask: Ask, begin: Begin) -> None:
            things = set(ask.things)
            try:
                await self._walk(ask, [id for id in wanted if id in things], begin)
            except TslgError as error:
                await self.asker.failed(ask, error)

        await Hedge(self.asker, partial(self._lacking, wanted), ask_one).run()

    def _lacking(self, wanted: Sequence[Link]) -> dict[Thing, Link | None]:
        owner = self._walker.owner_of
        return {id: owner(id) or self._authors.get(id) for id in wanted if id not in self._pool.opened}

    async def _walk(self, ask: Ask, roots: Sequence[Link], begin: Begin) -> None:
        """Ask for an ancestry, and open it as it arrives; `begin` is called when it starts to."""
        request = WalkRequest(tuple(roots), None, self._walker.remaining).to_bytes()
        started, waited = trio.current_time(), 0.0
        pace = Pace(roots, ask.peer, self._limits)
        async with self.asker.asked(ask.address, WALK, request) as chunks:
            with pace.kept():
                async for chunk in chunks:
                    waited = waited or trio.current_time() - started
                    begin()
                    part = read_walk_chunk(chunk, self._limits)
                    if isinstance(part, WalkEnd):
                        self._take_end(ask, part)
                        continue
                    # Not for longer: the collector must not rest for as long as a peer takes its time.
                    with quiet_collector():
                        pace.take(one.record for one in self._pool.take(part, ask.address))
                    if self._tick is not None:
                        self._tick(len(self._pool.opened))
                    # A chunk takes milliseconds to open; others have their turn before the next.
                    await trio.lowlevel.checkpoint()
        self.asker.answered(ask, waited, something=any(id in self._pool.opened for id in roots))

    def _take_end(self, ask: Ask, end: WalkEnd) -> None:
        for claim in end.heads:
            self._homes.setdefault(claim.agent, ask.peer)
            self.asker.served(claim.agent, ask.peer)
        self.asker.has_not(ask.peer, [id for id, _ in end.missing])
        self._pool.note_end(end)
        self._beside.extend(self._pool.take(end.beside, ask.address))
        self._pruned.extend(end.pruned)
        self._walker.supply_proofs(end.inclusion, end.consistency)
        self._walker.supply_checkpoints(end.checkpoints)

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
        await trio.to_thread.run_sync(_weigh, walker, self._store)
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

    async def _fetch_head(self, agent: Link) -> None:
        async with aclosing(self.asker.log_holders(agent, "head")) as asks:
            async for ask in asks:
                started = trio.current_time()
                try:
                    request = HeadRequest(agent).to_bytes()
                    reply = HeadReply.from_bytes(await self.asker.request(ask.address, request), self._limits)
                    (opened,) = self._pool.take([reply.pair], ask.address)
                except TslgError as error:
                    await self.asker.failed(ask, error, lasting=False)
                    continue
                self.asker.answered(ask, trio.current_time() - started)
                if reply.head.agent == agent and opened.record.id == reply.head.record:
                    self._pool.note_head(reply.head)
                    self._homes[agent] = ask.peer
                    self.asker.served(agent, ask.peer)
                    return

    async def _fetch_log(self, agent: Link, size: int) -> None:
        async with aclosing(self.asker.log_holders(agent, "range")) as asks:
            async for ask in asks:
                start: int | None = 0
                try:
                    # A reply ends before it is too large; the next one goes on from there.
                    for _ in range(MOST_REPLIES):
                        if start is None or start >= size:
                            break
                        start = await self._fetch_range(ask, agent, start, size)
                except TslgError as error:
                    await self.asker.failed(ask, error, lasting=False)
                    continue
                return

    async def _fetch_range(self, ask: Ask, agent: Link, start: int, stop: int) -> int | None:
        """Ask for a stretch of a log; return the position behind the last record that came, None if none did."""
        after: int | None = None
        request = RangeRequest(agent, start, stop).to_bytes()
        async with self.asker.asked(ask.address, LOG, request) as chunks:
            async for chunk in chunks:
                for one in self._take_range(agent, ask, read_walk_chunk(chunk, self._limits)):
                    if one.record.owner == agent and start <= one.record.seq < stop:
                        after = max(after or 0, one.record.seq + 1)
                await trio.lowlevel.checkpoint()
        return after

    def _take_range(self, agent: Link, ask: Ask, part: list[Pair] | WalkEnd) -> list[Opened]:
        if isinstance(part, WalkEnd):
            self._walker.kept_back.update([agent] if part.withheld else [])
            return []
        taken = self._pool.take(part, ask.address)
        for one in taken:
            self._walker.supply_log(one)
        return taken

    async def _fetch_proofs(self, agent: Link, needs: Needs) -> None:
        """Ask for proofs in requests of bounded size, of each peer that may hold the log, until all are there."""
        async with aclosing(self.asker.log_holders(agent, "proofs")) as asks:
            async for ask in asks:
                try:
                    left = await self._proofs_of(ask, agent, needs)
                except TslgError as error:
                    await self.asker.failed(ask, error, lasting=False)
                    left = self._walker.wants_proofs().get(agent)
                if left is None:
                    return
                needs = left

    async def _proofs_of(self, ask: Ask, agent: Link, needs: Needs) -> Needs | None:
        """Ask one peer for these proofs of a log, as many at a time as a request may name; return what is lacking."""
        at, most = 0, self._limits.walk_roots
        while at < max(map(len, needs)):
            window = slice(at, at + most)
            request = ProofsRequest(agent, Needs(needs.inclusion[window], needs.consistency[window]))
            answer = await self.asker.request(ask.address, request.to_bytes())
            reply = ProofsReply.from_bytes(answer, self._limits)
            self._walker.supply_proofs(reply.inclusion, reply.consistency)
            left = self._walker.wants_proofs().get(agent)
            if left is None:
                return None
            # A reply holds as many proofs as fit: as long as some come, there may be more behind them.
            at = at if sum(map(len, left)) < sum(map(len, needs)) else at + most
            needs = left
        return needs


def _weigh(walker: Walker, store: Store | None) -> None:
    with quiet_collector():
        walker.weigh()
    # Of this node's own logs nobody else may be able to prove what is wanted.
    supply_proofs(walker, store)
