"""What a node answers to others: walks over its ancestry, and questions about its logs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Final

import trio

from tslg.node import kept_checkpoints
from tslg.node.net.errors import InvalidRequest, NotAvailable
from tslg.node.sources import NewestRecord, StoreSource
from tslg.node.store.interface import Entry, Store
from tslg.node.withholding import Shown, cut_pair
from tslg.protocol import freshness, logproof
from tslg.protocol import record as records
from tslg.protocol.chains import rests_on
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.exchange import (
    Have,
    HeadReply,
    HeadRequest,
    LocateReply,
    LocateRequest,
    MessageError,
    Pair,
    ProofsReply,
    ProofsRequest,
    WalkEnd,
    WalkRequest,
    chunked,
    read_log_request,
    records_chunk,
    size_of,
)
from tslg.protocol.flat import recover
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.proofs import ConsistencyProof, InclusionProof
from tslg.protocol.pushing import CloseRequest
from tslg.protocol.record import Record
from tslg.protocol.traversal import PlainStep, Traversal, steps_of

CHUNK_RECORDS: Final = 256
"""Records in a chunk: large enough to amortise a chunk, small enough that the asker can verify while it receives."""
PAIR_BYTES: Final = 32
"""What a record takes in a chunk beside its bytes, its seal's and its attachment's, at most."""
READ_AHEAD: Final = 1_000
"""Ancestors read from the store in one go: a long chain has thousands of levels, each of which would be a query."""


def room_in(limits: Limits) -> int:
    """Return how many bytes of records fit into one reply, with what comes after them."""
    return limits.reply_bytes - 4 * limits.chunk_bytes


Locate = Callable[[Link], Iterable[str]]


class Server:
    """Answers `/tslg/walk/1` and `/tslg/log/1` from a store.

    Args:
        store: what is served; the work is done in threads.
        locate: says at which addresses an agent's own node was last known.
        limits: bounds on each answer.
        shown: which committed fields anybody may see; None for all that are held.
    """

    def __init__(self, store: Store, locate: Locate, limits: Limits = DEFAULT, shown: Shown | None = None) -> None:
        self._store = store
        self._source = StoreSource(store)
        self._locate = locate
        self._limits = limits
        self._shown = shown

    async def walk(self, request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
        """Answer a walk: chains first, then ancestry, nearest first, then the end with heads and proofs."""
        try:
            asked = WalkRequest.from_bytes(request, self._limits)
        except MessageError as error:
            raise InvalidRequest(error.detail) from error
        answer = _WalkAnswer(self._store, self._source, asked, self._limits, self._shown)
        async with aclosing(_in_thread(answer.chunks())) as chunks:
            async for chunk in chunks:
                yield chunk

    async def close(self, asked: CloseRequest, peer: str) -> AsyncGenerator[bytes, None]:
        """Answer as a walk, without going behind what the asker holds with all that it rests on."""
        wanted = WalkRequest(asked.roots, have=tuple(Have(agent, size) for agent, size in asked.have))
        known = frozenset(asked.known)
        answer = _WalkAnswer(self._store, self._source, wanted, self._limits, self._shown, known)
        async with aclosing(_in_thread(answer.chunks())) as chunks:
            async for chunk in chunks:
                yield chunk

    async def log(self, request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
        """Answer a question about a log."""
        try:
            asked = read_log_request(request, self._limits)
        except MessageError as error:
            raise InvalidRequest(error.detail) from error
        if isinstance(asked, LocateRequest):
            found = await trio.to_thread.run_sync(lambda: list(self._locate(asked.agent)))
            yield LocateReply(tuple(found[:64])).to_bytes()
        elif isinstance(asked, HeadRequest):
            yield await trio.to_thread.run_sync(self._head, asked.agent)
        elif isinstance(asked, ProofsRequest):
            yield await trio.to_thread.run_sync(self._proofs, asked)
        else:
            newest = await trio.to_thread.run_sync(self._store.newest_seq, asked.agent)
            end = min(asked.stop, -1 if newest is None else newest + 1)
            room = room_in(self._limits)
            # Over gaps too: of a foreign log only what was once verified is held, of a pruned one what is left.
            for start in range(asked.start, end, CHUNK_RECORDS):
                stop = min(end, start + CHUNK_RECORDS)
                rows = await trio.to_thread.run_sync(self._store.log_range, asked.agent, start, stop)
                pairs = [cut_pair(id, entry, self._shown) for id, entry in rows]
                for part in chunked(pairs, CHUNK_RECORDS, self._limits.chunk_bytes // 2):
                    chunk = records_chunk(part)
                    room -= len(chunk)
                    if room < 0 and start > asked.start:
                        # What does not fit is asked for again, from where this ends.
                        return
                    yield chunk

    def _head(self, agent: Link) -> bytes:
        newest = self._source.newest(agent)
        if newest is None:
            raise NotAvailable("that log is not held whole here")
        return HeadReply(newest.claim, cut_pair(newest.claim.record, newest.pair, self._shown)).to_bytes()

    def _proofs(self, asked: ProofsRequest) -> bytes:
        inclusion, consistency = self._source.proofs(asked.agent, asked.needs)
        reply = ProofsReply(tuple(inclusion), tuple(consistency))
        return reply.within(self._limits.chunk_bytes).to_bytes()


async def _in_thread(chunks: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    while (chunk := await trio.to_thread.run_sync(next, chunks, None)) is not None:
        yield chunk


class _WalkAnswer:
    """One walk over the store: what goes out, in order. With `known` it ends at what the asker holds."""

    def __init__(
        self,
        store: Store,
        source: StoreSource,
        asked: WalkRequest,
        limits: Limits,
        shown: Shown | None = None,
        known: frozenset[Link] | None = None,
    ) -> None:
        self._known = known
        self._shown = shown
        self._store = store
        self._source = source
        self._asked = asked
        self._limits = limits
        self._most_edges = limits.walk_edges if asked.edges is None else asked.edges
        self._traversal = Traversal(asked.roots, self._most_edges)
        self._records: dict[Link, Record] = {}
        self._sent: set[Link] = set()
        self._chains: set[Link] = set()
        self._missing: list[Link] = []
        self._revoking: list[Link] = []
        self._have = {have.agent: have.size for have in asked.have}
        self._bytes = 0
        self._waiting: Sequence[Pair] = ()
        self._ahead: dict[Link, Entry] = {}
        self._reads_ahead = known is None

    def chunks(self) -> Iterator[bytes]:
        """Yield the reply's chunks. Chains that a level needs go out before the level."""
        level = list(self._asked.roots)
        while level:
            pairs = self._read(level)
            self._missing.extend(id for id in level if id not in pairs)
            found = [(id, pairs[id]) for id in level if id in pairs]
            for id, entry in found:
                self._records[id] = records.parse_as(id, entry.data)
            yield from self._send(self._chain_of([self._records[id] for id, _ in found]) + found)
            if self._traversal.done:
                break
            level = self._traversal.expand(self._steps)
        newest = self._newest()
        for one in newest.values():
            self._records[one.claim.record] = records.parse_as(one.claim.record, one.pair[0])
        chain = self._chain_of([self._records[one.claim.record] for one in newest.values()])
        yield from self._send([*chain, *((one.claim.record, one.pair) for one in newest.values())])
        yield from self._send(self._revocations())
        yield from map(records_chunk, self._split())
        yield self._end(newest)

    def _read(self, level: Sequence[Link]) -> dict[Link, Entry]:
        """Read the records of a level that are held; of a narrow level, the nearest ancestors in the same go."""
        ahead = self._ahead
        found = {id: ahead.pop(id) for id in level if id in ahead}
        lacking = [id for id in level if id not in found]
        if not lacking:
            return found
        if self._reads_ahead and len(lacking) < CHUNK_RECORDS // 4:
            room = min(READ_AHEAD, self._most_edges - self._traversal.traversed)
            ids = self._store.ancestors(lacking[0], self._asked.classes, room)
            fresh = [id for id in ids if id not in self._traversal.visited and id not in ahead]
            # Where ways meet again and again, most of what a query finds was read before: no more of them.
            self._reads_ahead = 2 * len(fresh) >= len(ids)
            ahead.update(self._store.get_many(fresh))
        found.update(self._store.get_many(lacking))
        return found

    def _send(self, items: Sequence[tuple[Link, Pair]]) -> Iterator[bytes]:
        fresh = []
        for id, pair in items:
            if id in self._sent or self._held_by_asker(id):
                continue
            self._bytes += size_of(pair) + PAIR_BYTES
            if self._bytes > room_in(self._limits):
                # Breaking off says so: what was not sent is named as missing by the asker's own walk.
                self._traversal.level = []
                break
            self._sent.add(id)
            fresh.append(cut_pair(id, pair, self._shown))
        self._waiting = [*self._waiting, *fresh]
        if len(self._waiting) >= CHUNK_RECORDS:
            *full, self._waiting = self._split()
            yield from map(records_chunk, full)

    def _split(self) -> list[Sequence[Pair]]:
        """Split what waits. Levels may be as narrow as one record, and a chunk for each would cost more than it."""
        return list(chunked(self._waiting, CHUNK_RECORDS, self._limits.chunk_bytes // 2))

    def _held_by_asker(self, id: Link) -> bool:
        if self._known is not None and id in self._known:
            return True
        record = self._records.get(id)
        return record is not None and record.seq < self._have.get(record.owner, 0)

    def _chain_of(self, level: list[Record]) -> list[tuple[Link, Entry]]:
        """Return the manifest and key chains of these records, as far as they were not sent yet."""
        chain: list[tuple[Link, Entry]] = []
        todo = level
        while todo:
            wanted = {id for record in todo for id in rests_on(record)} - self._chains
            self._chains |= wanted
            found = self._store.get_many(sorted(wanted)) if wanted else {}
            todo = []
            for id, entry in sorted(found.items()):
                record = self._records[id] = records.parse_as(id, entry.data)
                todo.append(record)
                chain.insert(0, (id, entry))
        return chain

    def _steps(self, id: Link) -> Iterable[PlainStep]:
        record = self._records.get(id)
        if record is None or (self._known is not None and self._held_by_asker(id)):
            return ()
        if FLAT in record.preds and self._asked.classes is not None:
            held = self._store.get_many(edge.cid for edge in record.edges())
            cited = {one: records.parse_as(one, entry.data) for one, entry in held.items()}
            record = recover(record, cited.get)
        return steps_of(record, self._asked.classes)

    def _newest(self) -> dict[Link, NewestRecord]:
        """Return the newest record of every log that was met and is held whole, the federation's included."""
        records = self._records
        met = {records[id].owner for id in self._traversal.visited if id in records}
        met |= {id for id in self._chains if id in records and records[id].kind == "manifest"}
        found = {agent: self._source.newest(agent) for agent in sorted(met)}
        return {agent: newest for agent, newest in found.items() if newest is not None}

    def _revocations(self) -> list[tuple[Link, Pair]]:
        """Return the revocations in every log that was met, after the chains that they rest on."""
        met = {self._records[id].owner for id in self._traversal.visited if id in self._records}
        found = {id: pair for agent in sorted(met) for id, pair in self._source.revocations(agent).items()}
        for id, pair in found.items():
            self._records[id] = records.parse_as(id, pair[0])
        self._revoking = list(found)
        return [*self._chain_of([self._records[id] for id in found]), *found.items()]

    def _end(self, newest: Mapping[Link, NewestRecord]) -> bytes:
        """Prove the order of just those records that the asker will hold of each log."""
        by_agent: dict[Link, list[Record]] = {}
        met = {self._records[id].owner for id in self._traversal.visited if id in self._records}
        beside = {id: pair for agent in sorted(met) for id, pair in self._source.beside(agent)}
        heads = [one.claim.record for one in newest.values()]
        for id in (*self._traversal.visited, *self._chains, *heads, *self._revoking):
            record = self._records.get(id)
            if record is not None and (id not in beside or self._store.at(record.owner, record.seq) == id):
                by_agent.setdefault(record.owner, []).append(record)
        inclusion: list[InclusionProof] = []
        consistency: list[ConsistencyProof] = []
        notes: list[bytes] = []
        for agent, held in sorted(by_agent.items()):
            distinct = list({record.id: record for record in held}.values())
            needed = logproof.needs(distinct)
            signed = kept_checkpoints.kept(self._store, agent)
            if signed is not None and self._room_for(notes):
                notes.append(signed.to_bytes())
                stated = signed.checkpoint
                head = freshness.OutsideHead(agent, stated.size, stated.root, "witness", 0)
                spans = freshness.spans(distinct, [head])
                needed = needed._replace(consistency=tuple(dict.fromkeys((*needed.consistency, *spans))))
            made = self._source.proofs(agent, needed)
            inclusion.extend(made[0])
            consistency.extend(made[1])
        gone = self._store.pruned_by(self._missing)
        pruned = self._source.pruned([*gone][: self._limits.walk_roots])
        beside.update(self._source.pairs([*dict.fromkeys(proof.prune for proof in pruned)]))
        missing = tuple((id, "pruned" if id in gone else "absent") for id in sorted(self._missing))
        claims = tuple(one.claim for one in newest.values())
        told = tuple(beside.values())[: self._limits.walk_roots]
        proofs = tuple(inclusion), tuple(consistency)
        end = WalkEnd(missing, claims, *proofs, told, tuple(notes), tuple(pruned))
        return end.within(self._limits.chunk_bytes).to_bytes()

    def _room_for(self, notes: Sequence[bytes]) -> bool:
        """Tell whether one more checkpoint leaves room in the last chunk for everything else."""
        return len(notes) < self._limits.checkpoints and sum(map(len, notes)) < self._limits.chunk_bytes // 8
