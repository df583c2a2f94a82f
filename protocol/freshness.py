"""Holding a log that was read against heads of it that the reader knows from somewhere else.

No log can prove by itself that its tail was not cut off or its history written anew; a head that a witness, a peer or
the reader itself saw earlier can. Normative text: docs/spec/verification.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tslg.protocol.checkpoint import Signed
from tslg.protocol.codec import Link
from tslg.protocol.log import verify_consistency
from tslg.protocol.logproof import Span
from tslg.protocol.record import Head, Record


class OutsideHead(NamedTuple):
    """A head that the reader knows from somewhere else than the records it is handed.

    `source` is `witness` (a quorum cosigned it), `record` (another agent's record cites it), `peer`, `log` (the log's
    own node) or `gossip` (its agent announced it); `age_ms` is how long ago it was seen. `signed` is the checkpoint
    that states it, where whose key signed that is only known once the walk knows which keys were revoked.
    """

    agent: Link
    size: int
    root: bytes
    source: str
    age_ms: int
    signed: Signed | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """What was read of one log: its records, the tree after the newest (None if not computed), and span proofs."""

    records: Sequence[Record]
    end: Head | None
    consistency: Mapping[Span, Sequence[bytes]]

    @property
    def newest(self) -> Record:
        """The record read at the highest position."""
        return max(self.records, key=_position)

    @property
    def size(self) -> int:
        """How many records the log has at least."""
        return self.newest.seq + 1


class Doubt(NamedTuple):
    """What a head says against a log: for certain, or as far as the reader could learn.

    `code` is the finding if it is certain, or if whoever handed the log over claims to hold all of it.
    """

    certain: bool
    code: str
    reason: str
    detail: str


def spans(records: Sequence[Record], heads: Iterable[OutsideHead]) -> list[Span]:
    """Return the consistency proofs that lead from heads between the records to the next record's tree."""
    places = sorted(record.seq for record in records)
    sizes = {head.size for head in heads} - set(places)
    return sorted((size, next(place for place in places if place > size)) for size in sizes if 0 < size < places[-1])


def compared(records: Iterable[Record], heads: Iterable[OutsideHead]) -> set[Link]:
    """Return the records against whose tree these heads are held."""
    ordered = sorted(records, key=_position)
    found = (next((record.id for record in ordered if record.seq >= head.size), None) for head in heads)
    return {id for id in found if id is not None}


def hold_against(head: OutsideHead, log: Log) -> Doubt | None:
    """Tell what a head says against the log; None if the log has that head, or extends it provably."""
    if head.size > log.size:
        detail = f"the log ends at {log.size} records here, a head of {head.size} is known from a {head.source}"
        return Doubt(False, "TSLG-V-TAIL", "tail", detail)
    after = [record for record in log.records if record.seq >= head.size]
    if not after:
        if log.end is None or log.end.root == head.root:
            return None
        return _fork(head)
    tree = min(after, key=_position).log
    if tree is None or tree.size == head.size:
        return None if tree is None or tree.root == head.root else _fork(head)
    proof = log.consistency.get((head.size, tree.size))
    if proof is not None and verify_consistency(head.size, tree.size, head.root, tree.root, list(proof)):
        return None
    detail = f"nothing shows that the log extends the head of {head.size} records known from a {head.source}"
    return Doubt(False, "TSLG-V-FORK", "unproved", detail)


def shows(head: OutsideHead, log: Log) -> bool:
    """Tell whether what was read proves that the head is a state of this very log."""
    if head.size > log.size or (head.size == log.size and log.end is None):
        return False
    after = [record for record in log.records if record.seq >= head.size]
    # A record without a tree is the first of its log; what comes before it is nothing.
    return hold_against(head, log) is None and (not after or min(after, key=_position).log is not None)


def _fork(head: OutsideHead) -> Doubt:
    detail = f"another log of {head.size} records by this agent is known from a {head.source}"
    return Doubt(True, "TSLG-V-FORK", "fork", detail)


def _position(record: Record) -> int:
    return record.seq
