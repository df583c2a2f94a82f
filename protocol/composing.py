"""What verifications of one ancestry come to together: what each covered, whether its record fits, and the sum of all.

Walks are deterministic, so that whoever holds the records can walk again, without any signature, what a verification
says it walked: its edges, its records and its frontier must come out the same. Normative: docs/spec/composing.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from tslg.protocol.codec import Link
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record
from tslg.protocol.report import INVALID, VALID, frontier
from tslg.protocol.traversal import EdgesOf, PlainStep, Traversal, steps_of

Find = Callable[[Link], Record | None]
Covered = tuple[Link, str, Link]
"""One edge: the citing record, the class, the cited one."""
NOTHING: Final[frozenset[Link]] = frozenset()


class Replay(NamedTuple):
    """A walk walked again: its edges in order, the records visited, those at which it stopped, and what is not held."""

    edges: tuple[Covered, ...]
    visited: frozenset[Link]
    stopped: frozenset[Link]
    missing: frozenset[Link]


def replay(target: Link, depth: int | None, find: Find, stops: Set[Link] = NOTHING) -> Replay:
    """Walk again from `target` over at most `depth` edges, and never behind `stops` (docs/spec/verification.md)."""
    traversal = Traversal([target], DEFAULT.walk_edges if depth is None else depth)
    edges: list[Covered] = []
    while not traversal.done:
        steps: list[PlainStep] = []
        for id in traversal.level:
            record = find(id)
            if record is not None and id not in stops:
                steps += steps_of(record)
        steps.sort()
        traversal.expand(_given(steps))
        taken = steps[: len(steps) - len(traversal.rest)]
        edges += [(child, name, parent) for name, parent, child, _ in taken]
    held = {id: record for id in traversal.visited if (record := find(id)) is not None}
    ends = (*traversal.level, *(stops & held.keys()))
    stopped = {step[2] for step in traversal.rest} | {id for id in ends if id in held and held[id].preds}
    return Replay(
        tuple(edges), frozenset(traversal.visited), frozenset(stopped), frozenset(traversal.visited - held.keys())
    )


def _given(steps: list[PlainStep]) -> EdgesOf:
    """Return what hands over the steps of one level, all with its first record: they are sorted anyway."""
    waiting = [steps]
    return lambda id: waiting.pop() if waiting else ()


class Fit(NamedTuple):
    """How a verification's record fits what is held: what is wrong with it, and whether something is not held."""

    faults: tuple[str, ...]
    missing: bool


def fit(verification: Record, find: Find, stops: Set[Link] = NOTHING) -> Fit:
    """Tell how a verification that says *valid* fits the records; one that does not may have lacked some of them."""
    body = verification.body
    if body["verdict"] != VALID:
        return Fit((), False)
    again = replay(body["target"], body["depth"], find, stops)
    if again.missing:
        return Fit(_frontier_faults(body, find), True)
    held = {id: record for id in again.visited if (record := find(id)) is not None}
    faults = list(_frontier_faults(body, find))
    if body["edges"] != len(again.edges):
        faults.append(f"{body['edges']} edges, a walk of that depth has {len(again.edges)}")
    if body["records"] != len(held):
        faults.append(f"{body['records']} records, a walk of that depth has {len(held)}")
    if body["frontier"] != [entry._asdict() for entry in frontier(again.stopped, held)] and not faults:
        faults.append("its frontier is not where a walk of that depth stops")
    return Fit(tuple(faults), False)


def _frontier_faults(body: Mapping[str, Any], find: Find) -> tuple[str, ...]:
    for entry in body["frontier"]:
        record = find(entry["record"])
        if record is not None and not commits(entry, record):
            return ("its frontier commits to another log than the record that it names",)
    return ()


def commits(entry: Mapping[str, Any], record: Record) -> bool:
    """Tell whether an entry of a frontier says of a record what the record itself says."""
    log = record.log
    return record.owner == entry["agent"] and log is not None and (log.size, log.root) == (entry["size"], entry["root"])


@dataclass(frozen=True, slots=True)
class Part:
    """One verification in the sum: its record, how it fits, and who speaks against it.

    `covers` is the number of edges of the ancestry that it adds to the sum, 0 if it does not count.
    """

    record: Record
    fit: Fit
    disputed_by: tuple[Link, ...]
    counts: bool
    covers: int


@dataclass(frozen=True, slots=True)
class Composed:
    """How deep a record was verified in total, and by whom.

    Attributes:
        target: the record.
        depth: how many edges of its ancestry, in the order of a walk, are verified without a gap.
        edges: how many edges of it are verified in all.
        known: how many there are, as far as is held.
        whole: whether all of them are verified and none is missing.
        parts: every verification considered, nearest target first, then by time.
        agents: whose verifications count.
    """

    target: Link
    depth: int
    edges: int
    known: int
    whole: bool
    parts: tuple[Part, ...]
    agents: tuple[Link, ...]


def compose(target: Link, verifications: Sequence[Record], find: Find) -> Composed:
    """Sum up verifications of a record and of its ancestors.

    A verification counts if it says *valid*, fits what is held, and nobody considered speaks against it: no other one
    cites it under `counters`, or found the same target invalid.
    """
    ancestry = replay(target, None, find)
    order = {id: place for place, id in enumerate(_discovered(target, ancestry.edges))}
    considered = [one for one in verifications if one.body["target"] in order]
    considered.sort(key=lambda one: (order[one.body["target"]], one.time, one.id))
    union: set[Covered] = set()
    parts = []
    for one in considered:
        stops = stops_of(one, find)
        fits = fit(one, find, stops)
        disputed = tuple(other.id for other in considered if _speaks_against(other, one))
        counts = one.body["verdict"] == VALID and not fits.faults and not disputed
        covered = replay(one.body["target"], one.body["depth"], find, stops).edges if counts else ()
        fresh = set(covered) - union
        union |= fresh
        parts.append(Part(one, fits, disputed, counts, len(fresh)))
    depth = next((place for place, edge in enumerate(ancestry.edges) if edge not in union), len(ancestry.edges))
    return Composed(
        target=target,
        depth=depth,
        edges=len(union),
        known=len(ancestry.edges),
        whole=depth == len(ancestry.edges) and not ancestry.missing and any(part.counts for part in parts),
        parts=tuple(parts),
        agents=tuple(sorted({part.record.owner for part in parts if part.counts})),
    )


def stops_of(verification: Record, find: Find) -> frozenset[Link]:
    """Return the records behind which a verification did not look, since it relied on others there."""
    relied = map(find, verification.body.get("relied", ()))
    return frozenset(one.body["target"] for one in relied if one is not None and one.kind == "verification")


def _speaks_against(other: Record, one: Record) -> bool:
    if other.id == one.id:
        return False
    if any(edge.cid == one.id for edge in other.preds.get("counters", ())):
        return True
    same: bool = other.body["target"] == one.body["target"]
    return same and other.body["verdict"] == INVALID != one.body["verdict"]


def _discovered(target: Link, edges: Iterable[Covered]) -> Iterator[Link]:
    return islice(dict.fromkeys([target, *(parent for _, _, parent in edges)]), DEFAULT.walk_edges)
