"""What a node answers to others: walks over its ancestry, and questions about its logs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

import trio

from tslg.node import kept_checkpoints
from tslg.node.access import REFUSAL, WITHHELD, Gate, Gatekeeper, OpenGate, bare
from tslg.node.chunking import in_thread
from tslg.node.net.errors import InvalidRequest, NotAvailable, RequestRefused
from tslg.node.sources import NewestRecord, StoreSource
from tslg.node.store.interface import Entry, Store
from tslg.node.withholding import Shown
from tslg.protocol import freshness, logproof
from tslg.protocol import record as records
from tslg.protocol.chains import rests_on
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.exchange import (
    WALK,
    Have,
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
    chunked,
    read_log_request,
    records_chunk,
    size_of,
)
from tslg.protocol.flat import recover
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.presenting import PresentReply, PresentRequest, read_present
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

P = TypeVar("P", Entry, Pair)


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
        keeper: decides who gets what; None where everybody gets everything.
    """

    def __init__(
        self,
        store: Store,
        locate: Locate,
        limits: Limits = DEFAULT,
        shown: Shown | None = None,
        keeper: Gatekeeper | None = None,
    ) -> None:
        self._store = store
        self._source = StoreSource(store)
        self._locate = locate
        self._limits = limits
        self._keeper = keeper
        self._open = OpenGate(shown)

    def _gate(self, peer: str) -> Gate:
        return self._open if self._keeper is None else self._keeper.gate(peer)

    async def walk(self, request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
        """Answer a walk: chains first, then ancestry, nearest first, then the end with heads and proofs."""
        try:
            asked = WalkRequest.from_bytes(request, self._limits)
        except MessageError as error:
            raise InvalidRequest(error.detail) from error
        gate = await trio.to_thread.run_sync(self._gate, peer)
        answer = _WalkAnswer(self._store, self._source, asked, self._limits, gate)
        async with aclosing(in_thread(answer.chunks(), self._limits.progress_timeout_ms / 3_000)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def close(self, asked: CloseRequest, peer: str) -> AsyncGenerator[bytes, None]:
        """Answer as a walk, without going behind what the asker holds with all that it rests on."""
        wanted = WalkRequest(asked.roots, have=tuple(Have(agent, size) for agent, size in asked.have))
        known = frozenset(asked.known)
        gate = await trio.to_thread.run_sync(self._gate, peer)
        answer = _WalkAnswer(self._store, self._source, wanted, self._limits, gate, known)
        async with aclosing(in_thread(answer.chunks(), self._limits.progress_timeout_ms / 3_000)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def log(self, request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
        """Answer a question about a log."""
        try:
            asked = read_present(request, self._limits) or read_log_request(request, self._limits)
        except MessageError as error:
            raise InvalidRequest(error.detail) from error
        if isinstance(asked, LocateRequest):
            found = await trio.to_thread.run_sync(lambda: list(self._locate(asked.agent)))
            yield LocateReply(tuple(found[:64])).to_bytes()
        elif isinstance(asked, PresentRequest):
            yield await trio.to_thread.run_sync(self._present, peer, asked)
        elif isinstance(asked, HeadRequest):
            yield await trio.to_thread.run_sync(self._head, asked.agent, peer)
        elif isinstance(asked, ProofsRequest):
            yield await trio.to_thread.run_sync(self._proofs, asked, peer)
        else:
            gate = await trio.to_thread.run_sync(self._gate, peer)
            async with aclosing(
                in_thread(self._range(asked, gate), self._limits.progress_timeout_ms / 3_000)
            ) as chunks:
                async for chunk in chunks:
                    yield chunk

    def answer(self, protocol: str, request: bytes, peer: str) -> Iterator[bytes]:
        """Answer a walk or a question about a log in the calling thread, for drivers without an event loop.

        Raises:
            InvalidRequest: it is none. NotAvailable, RequestRefused: as by `walk` and `log`.
        """
        gate = self._gate(peer)
        try:
            if protocol == WALK:
                asked = WalkRequest.from_bytes(request, self._limits)
                yield from _WalkAnswer(self._store, self._source, asked, self._limits, gate).chunks()
                return
            about = read_log_request(request, self._limits)
        except MessageError as error:
            raise InvalidRequest(error.detail) from error
        if isinstance(about, RangeRequest):
            yield from self._range(about, gate)
        elif isinstance(about, ProofsRequest):
            yield self._proofs(about, peer)
        elif isinstance(about, HeadRequest):
            yield self._head(about.agent, peer)
        else:
            yield LocateReply(tuple(list(self._locate(about.agent))[:64])).to_bytes()

    def _range(self, asked: RangeRequest, gate: Gate) -> Iterator[bytes]:
        """Yield the chunks of a range. Over gaps too: of a foreign log only what was once verified is held."""
        newest = self._store.newest_seq(asked.agent)
        end = min(asked.stop, -1 if newest is None else newest + 1)
        room = room_in(self._limits)
        kept_back: list[tuple[int, int]] = []
        for start in range(asked.start, end, CHUNK_RECORDS):
            pairs: list[Pair] = []
            for id, entry in self._store.log_range(asked.agent, start, min(end, start + CHUNK_RECORDS)):
                cut = gate.cut(id, entry)
                if cut is not WITHHELD:
                    pairs.append(cut)
                    continue
                seq = records.parse_as(id, entry.data).seq
                if kept_back and kept_back[-1][1] == seq:
                    kept_back[-1] = kept_back[-1][0], seq + 1
                else:
                    kept_back.append((seq, seq + 1))
            # Where all of a stretch is withheld, an empty chunk lets the asker see progress, or give up.
            for part in chunked(pairs, CHUNK_RECORDS, self._limits.chunk_bytes // 2) if pairs else [()]:
                chunk = records_chunk(part)
                room -= len(chunk)
                if room < 0 and start > asked.start:
                    # What does not fit is asked for again, from where this ends.
                    yield from _kept_back([(a, min(b, start)) for a, b in kept_back if a < start], self._limits)
                    return
                yield chunk
        yield from _kept_back(kept_back, self._limits)

    def _present(self, peer: str, asked: PresentRequest) -> bytes:
        try:
            bound = () if self._keeper is None else self._keeper.bindings.present(peer, asked.pairs)
        except TslgError as error:
            raise InvalidRequest("what was presented is not records of this federation") from error
        return PresentReply(tuple(bound)).to_bytes()

    def _head(self, agent: Link, peer: str) -> bytes:
        newest = self._source.newest(agent)
        if newest is None:
            raise NotAvailable("that log is not held whole here")
        cut = self._gate(peer).cut(newest.claim.record, newest.pair)
        if cut is WITHHELD:
            raise RequestRefused(REFUSAL)
        return HeadReply(newest.claim, cut).to_bytes()

    def _proofs(self, asked: ProofsRequest, peer: str) -> bytes:
        """Prove what was asked for. What the reader may not read is left out as what is not here is."""
        gate, needs = self._gate(peer), asked.needs
        if not gate.everything:
            known = gate.refused(needs.inclusion)
            held = self._store.get_many([id for id in needs.inclusion if id not in known])
            readable = {id for id, entry in held.items() if gate.reads(records.parse_as(id, entry.data))}
            needs = needs._replace(inclusion=tuple(id for id in needs.inclusion if id in readable))
        inclusion, consistency = self._source.proofs(asked.agent, needs)
        if not gate.everything:
            inclusion = [proof for proof in inclusion if proof.record in needs.inclusion]
        reply = ProofsReply(tuple(inclusion), tuple(consistency))
        return reply.within(self._limits.chunk_bytes).to_bytes()


def _kept_back(spans: Sequence[tuple[int, int]], limits: Limits) -> Iterator[bytes]:
    """Yield the chunk that says of which positions a range left something out, if it did."""
    if len(spans) > limits.withheld_spans:
        spans = [(spans[0][0], spans[-1][1])]
    if spans:
        yield WalkEnd(withheld=tuple(spans)).to_bytes()


class _WalkAnswer:
    """One walk over the store: what goes out, in order. With `known` it ends at what the asker holds."""

    def __init__(
        self,
        store: Store,
        source: StoreSource,
        asked: WalkRequest,
        limits: Limits,
        gate: Gate | None = None,
        known: frozenset[Link] | None = None,
    ) -> None:
        self._known = known
        self._gate = OpenGate() if gate is None else gate
        self._withheld: set[Link] = set()
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
            found = self._readable([(id, pairs[id]) for id in level if id in pairs])
            self._missing.extend(id for id in level if id not in pairs and id not in self._withheld)
            yield from self._send(self._chain_of([self._records[id] for id, _ in found]) + found)
            if self._traversal.done:
                break
            level = self._traversal.expand(self._steps)
        newest = self._newest()
        ends = self._readable([(one.claim.record, one.pair) for one in newest.values()], named=False)
        yield from self._send([*self._chain_of([self._records[id] for id, _ in ends]), *ends])
        yield from self._send(self._revocations())
        yield from map(records_chunk, self._split())
        yield self._end(newest, [id for id, _ in ends])

    def _readable(self, found: Sequence[tuple[Link, P]], *, named: bool = True) -> list[tuple[Link, P]]:
        """Return those of these records that the reader may read, parsed; note the others if somebody named them."""
        let = []
        for id, pair in found:
            record = self._records.get(id) or records.parse_as(id, pair[0])
            if not self._gate.reads(record):
                if named:
                    self._withheld.add(id)
                continue
            self._records[id] = record
            let.append((id, pair))
        return let

    def _read(self, level: Sequence[Link]) -> dict[Link, Entry]:
        """Read the records of a level that are held; of a narrow level, the nearest ancestors in the same go.

        Where some may be withheld nothing is read ahead, which would take as long as there is behind them, and those
        that are known to be withheld are not read at all.
        """
        if not self._gate.everything:
            self._withheld |= self._gate.refused(level)
            return self._store.get_many([id for id in level if id not in self._withheld])
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
            cut = self._gate.cut(id, pair, self._records.get(id))
            assert cut is not WITHHELD
            self._bytes += size_of(cut) + PAIR_BYTES
            if self._bytes > room_in(self._limits):
                # Breaking off says so: what was not sent is named as missing by the asker's own walk.
                self._traversal.level = []
                break
            self._sent.add(id)
            fresh.append(cut)
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
            for id, entry in self._readable(sorted(found.items()), named=False):
                todo.append(self._records[id])
                chain.insert(0, (id, entry))
        return chain

    def _steps(self, id: Link) -> Iterable[PlainStep]:
        record = self._records.get(id)
        if record is None or (self._known is not None and self._held_by_asker(id)):
            return ()
        if FLAT in record.preds and self._asked.classes is not None:
            held = self._store.get_many(edge.cid for edge in record.edges())
            # The class of an edge would tell the kind of a record that is withheld.
            cited = {
                one: parsed
                for one, entry in held.items()
                if self._gate.reads(parsed := records.parse_as(one, entry.data))
            }
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

    def _end(self, newest: Mapping[Link, NewestRecord], heads: Sequence[Link]) -> bytes:
        """Prove the order of just those records that the asker will hold of each log."""
        by_agent: dict[Link, list[Record]] = {}
        met = {self._records[id].owner for id in self._traversal.visited if id in self._records}
        beside = {id: bare(self._gate, id, pair) for agent in sorted(met) for id, pair in self._source.beside(agent)}
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
            # Proofs kept of earlier walks name records that this reader may not have.
            known = {record.id for record in distinct}
            inclusion.extend(proof for proof in made[0] if self._gate.everything or proof.record in known)
            consistency.extend(made[1])
        gone = self._store.pruned_by(self._missing)
        pruned = self._source.pruned([*gone][: self._limits.walk_roots])
        beside.update(self._source.pairs([*dict.fromkeys(proof.prune for proof in pruned)]))
        reasons = dict.fromkeys(self._missing, "absent") | dict.fromkeys(gone, "pruned")
        reasons |= dict.fromkeys(self._withheld, "withheld")
        missing = tuple(sorted(reasons.items()))
        claims = tuple(one.claim for one in newest.values())
        told = tuple(beside.values())[: self._limits.walk_roots]
        proofs = tuple(inclusion), tuple(consistency)
        end = WalkEnd(missing, claims, *proofs, told, tuple(notes), tuple(pruned))
        return end.within(self._limits.chunk_bytes).to_bytes()

    def _room_for(self, notes: Sequence[bytes]) -> bool:
        """Tell whether one more checkpoint leaves room in the last chunk for everything else."""
        return len(notes) < self._limits.checkpoints and sum(map(len, notes)) < self._limits.chunk_bytes // 8
