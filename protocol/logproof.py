"""Proving that the records of one agent that a walk visited lie in one append-only log, without the rest of the log.

The records are sorted by position and split into runs of neighbours. A run that starts at 0 starts from the empty tree.
Any other run starts from the inclusion proof of its first record as the last leaf of the tree that ends with it, which
consists of the peaks of the tree before it. Along a run each id is appended and each `log.root` compared. Between two
runs a consistency proof leads from the tree after the one to the tree before the other.
Normative text: docs/spec/log.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import Final, NamedTuple

from tslg.protocol.codec import Link
from tslg.protocol.log import Peaks, Tree, verify_consistency
from tslg.protocol.proofs import ConsistencyProof, InclusionProof
from tslg.protocol.record import Head, Record

Span = tuple[int, int]
POSITION: Final = itemgetter(4)
"""`seq`, which is asked of every record of a walk; by name it takes twice as long."""


class Needs(NamedTuple):
    """Which proofs one log needs: inclusion of these records as last leaves, consistency from size to size."""

    inclusion: tuple[Link, ...]
    consistency: tuple[Span, ...]


class Fault(NamedTuple):
    """A rule of the log that a record breaks for certain."""

    code: str
    record: Link
    detail: str


@dataclass(slots=True)
class LogCheck:
    """What is known of one agent's log.

    Attributes:
        faults: broken rules.
        unproved: first records of runs that could not be tied to the run before them.
        segments: runs proved to lie in one tree; each list is in order of position.
        end: size and root of the tree after the newest record, None where it could not be computed.
    """

    faults: list[Fault] = field(default_factory=list)
    unproved: list[Link] = field(default_factory=list)
    segments: list[list[Record]] = field(default_factory=list)
    end: Head | None = None


def runs(records: Iterable[Record]) -> list[list[Record]]:
    """Split records of one log, in any order and without two at one position, into runs of neighbours."""
    found: list[list[Record]] = []
    expected = -1
    for record in sorted(records, key=POSITION):
        if record.seq != expected:
            found.append([])
        found[-1].append(record)
        expected = record.seq + 1
    return found


def needs(records: Iterable[Record]) -> Needs:
    """Return the proofs that tie these records of one log together."""
    split = runs(records)
    inclusion = tuple(run[0].id for run in split if run[0].seq > 0)
    consistency = tuple((left[-1].seq + 1, right[0].seq) for left, right in pairwise(split))
    return Needs(inclusion, consistency)


def make(agent: Link, records: Iterable[Record], needed: Needs) -> tuple[list[InclusionProof], list[ConsistencyProof]]:
    """Make the proofs that are needed of a log from all its records, as far as these reach."""
    ids = [record.id for record in sorted(records, key=POSITION)]
    tree, sizes = Tree(ids), {id: position + 1 for position, id in enumerate(ids)}
    inclusion = [
        InclusionProof(id, sizes[id], tuple(tree.inclusion_proof(sizes[id] - 1, sizes[id]))) for id in needed.inclusion
    ]
    spans = [(old, new) for old, new in needed.consistency if new <= tree.size]
    return inclusion, [ConsistencyProof(agent, old, new, tuple(tree.consistency_proof(old, new))) for old, new in spans]


def check(
    records: Sequence[Record],
    inclusion: Mapping[Link, Sequence[bytes]],
    consistency: Mapping[Span, Sequence[bytes]],
    compared: Set[Link] | None = None,
) -> LogCheck:
    """Check the order of records of one log, with whatever proofs are there.

    A proof that does not hold counts as one that is missing: whoever served it may lie. A root that does not follow
    from signed neighbours is a fault of the author. With `compared`, roots are compared at these records and at the
    end of each run alone, which still commits to every id before.
    """
    result = LogCheck()
    before: Head | None = None
    for run in runs(records):
        first = run[0]
        tied = not result.segments or _consistent(before, first, consistency)
        if not tied:
            result.unproved.append(first.id)
        if result.segments:
            _check_times(result.segments[-1][-1], first, result)
        if tied and result.segments:
            result.segments[-1].extend(run)
        else:
            result.segments.append(list(run))
        before = _follow(run, inclusion, result, compared)
    result.end = before
    return result


def _consistent(before: Head | None, first: Record, consistency: Mapping[Span, Sequence[bytes]]) -> bool:
    if before is None or first.log is None:
        return False
    proof = consistency.get((before.size, first.seq))
    return proof is not None and verify_consistency(before.size, first.seq, before.root, first.log.root, list(proof))


def _follow(
    run: list[Record],
    inclusion: Mapping[Link, Sequence[bytes]],
    result: LogCheck,
    compared: Set[Link] | None,
) -> Head | None:
    """Follow the tree along one run; return the tree after it, None where it could not be followed."""
    first, last = run[0], run[-1]
    _check_links(run, result)
    peaks = _start(first, inclusion)
    if peaks is None:
        if first.id not in result.unproved:
            result.unproved.append(first.id)
        return None
    peaks.append(first.id)
    rest = run[1:]
    roots: list[bytes | None] = [None] * len(rest)
    for index in range(len(rest)) if compared is None else _few(rest, compared):
        head = rest[index][9]
        roots[index] = b"" if head is None else head[1]
    wrong = peaks.follow([record[0] for record in rest], roots)
    if wrong is not None:
        result.faults.append(Fault("TSLG-A-HEAD", rest[wrong].id, "`log.root` is not the root of the log before it"))
        return None
    return Head(last.seq + 1, peaks.root())


def _few(rest: Sequence[Record], compared: Set[Link]) -> Iterable[int]:
    """Return which of these records are compared: those that are named, and the last."""
    named = [index for index, record in enumerate(rest) if record[0] in compared] if compared else []
    return [*named, *range(len(rest))[-1:]]


def _start(first: Record, inclusion: Mapping[Link, Sequence[bytes]]) -> Peaks | None:
    if first.log is None:
        return Peaks()
    proof = inclusion.get(first.id)
    if proof is None:
        return None
    try:
        peaks = Peaks.from_last_inclusion(first.seq, list(proof))
    except ValueError:
        return None
    return peaks if peaks.root() == first.log.root else None


def _check_links(run: list[Record], result: LogCheck) -> None:
    for previous, record in pairwise(run):
        if record[5] != previous[0]:
            result.faults.append(Fault("TSLG-A-PREV", record.id, "`prev` is not the record before it"))
        if record[6] < previous[6]:
            _check_times(previous, record, result)


def _check_times(earlier: Record, record: Record, result: LogCheck) -> None:
    if record.time < earlier.time:
        detail = f"its time {record.time} is before the {earlier.time} of an earlier record of its log"
        result.faults.append(Fault("TSLG-A-TIME", record.id, detail))
