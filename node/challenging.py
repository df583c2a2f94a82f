"""Answering claims about a log from a node's store, and checking answers that others gave."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tslg.node.access import Gate
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.store.interface import Store, incomplete
from tslg.node.verifying import verify, walk
from tslg.protocol import challenge
from tslg.protocol import record as records
from tslg.protocol.bundle import Bundle
from tslg.protocol.challenge import HERE, NEVER, PRUNED, REDACTED, Answer
from tslg.protocol.cid import Link, to_text
from tslg.protocol.commitment import CommittedSet
from tslg.protocol.errors import TslgError, UsageError
from tslg.protocol.log import Tree
from tslg.protocol.record import Record

_PRUNES: Final = 1_000
"""Prune records of one log that an answer denies a record in; their commitments are looked at one by one."""


def answer(store: Store, federation: Link, id: Link, claimed: Record | None, *, now_ms: int) -> Answer:
    """Answer whether a record is, was, or never was in its log.

    Args:
        store: holds the log whole.
        federation: the federation's id.
        id: the record's id.
        claimed: the record, where the challenger handed it in; of one that was never here nothing else tells its place.
        now_ms: the node's clock.

    Raises:
        UsageError: `TSLG-U-CHALLENGE`: it cannot be told: the record is not known here and was not handed in, or the
            log does not reach its position yet. StoreError: the log is not held whole.
    """
    owner, seq = _place(store, id, claimed)
    state = store.log_state(owner)
    if state is None:
        raise incomplete(owner, seq + 1)
    found = store.at(owner, seq)
    if found is None or seq >= state.size:
        raise _unknown(f"the log of {to_text(owner)} ends at {state.size} records, before position {seq}", id)
    leaves = store.leaves(owner, state.size)
    inclusion: tuple[bytes, ...] = ()
    if seq < state.size - 1:
        inclusion = tuple(Tree(leaves[:-1]).inclusion_proof(seq))
    plain = Answer(NEVER, federation, owner, id, seq, state.last, found, inclusion)
    return _with_records(store, _judged(store, plain), now_ms)


def for_reader(given: Answer, gate: Gate) -> Answer:
    """Return an answer that a reader may have: one of whose records nothing is kept from it.

    Raises:
        UsageError: `TSLG-U-WITHHELD`: it rests on a record that this reader may not read.
    """
    for id, (data, _) in given.records.items():
        if not gate.reads(records.parse_as(id, data)):
            mend = "its author can grant that by `tslg access grant`"
            raise UsageError("the answer shows a record that is withheld", code="TSLG-U-WITHHELD", mend=mend, record=id)
    return given


def _place(store: Store, id: Link, claimed: Record | None) -> tuple[Link, int]:
    """Return the log and the position that a record claims, or at which it is remembered."""
    if claimed is not None:
        return claimed.owner, claimed.seq
    entry = store.get(id)
    if entry is not None:
        record = records.parse_as(id, entry.data)
        return record.owner, record.seq
    prune = store.pruned_by([id]).get(id)
    kept = None if prune is None else store.get(prune)
    if prune is None or kept is None:
        raise _unknown("nothing is known here of that record, not even whose it was", id)
    owner = records.parse_as(prune, kept.data).owner
    state = store.log_state(owner)
    rows = store.log_rows(owner, 0 if state is None else state.size)
    return owner, next(row.seq for row in rows if row.cid == id)


def _judged(store: Store, plain: Answer) -> Answer:
    if plain.found != plain.record:
        prunes = store.by_kind("prune", plain.agent, limit=_PRUNES)
        denied = {}
        for prune in prunes:
            ids = store.pruned_ids(prune)
            absence = CommittedSet(ids).absence(plain.record) if ids else None
            if absence is not None:
                denied[prune] = absence
        return replace(plain, denied=denied)
    redaction = _redaction(store, plain.record)
    if redaction is not None:
        return replace(plain, verdict=REDACTED, redaction=redaction)
    if store.get(plain.record) is not None:
        return replace(plain, verdict=HERE)
    gone_by = store.pruned_by([plain.record]).get(plain.record)
    if gone_by is None:
        raise _unknown("its bytes are not held here, and no prune record says why", plain.record)
    member = CommittedSet(store.pruned_ids(gone_by)).member(plain.record)
    return replace(plain, verdict=PRUNED, prune=gone_by, member=member)


def _redaction(store: Store, id: Link) -> Link | None:
    for child, entry in store.get_many(store.children(id, ("evidence",))).items():
        record = records.parse_as(child, entry.data)
        if record.kind == "redaction" and record.body["target"] == id:
            return child
    return None


def _with_records(store: Store, given: Answer, now_ms: int) -> Answer:
    """Add what a stranger needs to check the seals that an answer rests on."""
    wanted = [*given.named, *([given.record] if given.verdict == HERE else [])]
    found: dict[Link, tuple[bytes, bytes]] = {}
    for id in wanted:
        walked = walk(StoreSource(store), id, given.federation, now_ms=now_ms, depth=0, log="none")
        found |= {one.record.id: (one.record.data, one.seal) for one in walked.walker.opened()}
    return replace(given, records=found)


def check(given: Answer, federation: Link, now_ms: int) -> str | None:
    """Return what is wrong with an answer that somebody gave, None if it holds; only the federation is trusted."""
    if given.federation != federation:
        return "it is about another federation"
    source = BundleSource(_bundle(given))
    sealed: dict[Link, Record] = {}
    for id in given.named:
        report = verify(source, id, federation, now_ms=now_ms, depth=0, log="none")
        if not report.findings and id in report.records:
            sealed[id] = report.records[id]
    if given.record in given.records:
        try:
            records.parse_as(given.record, given.records[given.record][0])
        except TslgError as error:
            return f"what is with it is not the record: {error.detail}"
    return challenge.fault(given, sealed)


def _bundle(given: Answer) -> Bundle:
    return Bundle(
        root=given.head,
        federation=given.federation,
        manifest=given.federation,
        targets=(given.head,),
        heads=(),
        inclusion=(),
        consistency=(),
        checkpoints=(),
        records=given.records,
        attachments={},
        absent=[],
        broken=[],
    )


def _unknown(detail: str, id: Link) -> UsageError:
    mend = "hand in the record's bytes with --file, or ask whoever holds its log"
    return UsageError(detail, code="TSLG-U-CHALLENGE", mend=mend, record=id)
