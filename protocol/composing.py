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
from tslg.protocol.limits import DEFAULT, Limits
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


def walk_of(verification: Record, find: Find, limit: int = DEFAULT.walk_edges, stops: Set[Link] = NOTHING) -> Replay:
    """Walk a verification's walk again, over at most `limit` edges."""
    depth = verification.body["depth"]
    return replay(verification.body["target"], limit if depth is None else min(depth, limit), find, stops)


def fit(verification: Record, find: Find, again: Replay) -> Fit:
    """Tell how a verification that says *valid* fits the records; one that does not may have lacked some of them.

    `again` is its walk, walked again: see `walk_of`.
    """
    body = verification.body
    if body["verdict"] != VALID:
        return Fit((), False)
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
        unread: verifications that were not looked at, since those before them took all the edges there are for it.
    """

    target: Link
    depth: int
    edges: int
    known: int
    whole: bool
    parts: tuple[Part, ...]
    agents: tuple[Link, ...]
    unread: int = 0


class _Replays:
    """Walks every walk again once, and all of them together over at most so many edges."""

    def __init__(self, find: Find, limits: Limits) -> None:
        self._find = find
        self._left = limits.composed_edges
        self._done: dict[tuple[Link, int | None, Set[Link]], Replay] = {}

    def of(self, verification: Record) -> Replay | None:
        """Return a verification's walk, None where no edges are left for it."""
        stops = stops_of(verification, self._find)
        key = (verification.body["target"], verification.body["depth"], stops)
        done = self._done.get(key)
        if done is None and self._left > 0:
            again = walk_of(verification, self._find, min(self._left, DEFAULT.walk_edges), stops)
            self._left -= 1 + len(again.edges)
            if self._left >= 0:
                done = self._done[key] = again
        return done


def compose(target: Link, verifications: Sequence[Record], find: Find, limits: Limits = DEFAULT) -> Composed:
    """Sum up verifications of a record and of its ancestors.

    A verification counts if it says *valid*, fits what is held, and nobody considered speaks against it: no other one
    cites it under `counters`, or found the same target invalid.
    """
    ancestry = replay(target, None, find)
    order = {id: place for place, id in enumerate(_discovered(target, ancestry.edges))}
    considered = [one for one in verifications if one.body["target"] in order]
    considered.sort(key=lambda one: (order[one.body["target"]], one.time, one.id))
    against = _Against(considered)
    replays = _Replays(find, limits)
    union: set[Covered] = set()
    parts, unread = [], 0
    for one in considered:
        disputed = against.of(one)
        if one.body["verdict"] != VALID:
            parts.append(Part(one, Fit((), False), disputed, False, 0))
            continue
        again = replays.of(one)
        if again is None:
            unread += 1
            continue
        fits = fit(one, find, again)
        counts = not fits.faults and not disputed
        fresh = set(again.edges) - union if counts else set()
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
        unread=unread,
    )


def stops_of(verification: Record, find: Find) -> frozenset[Link]:
    """Return the records behind which a verification did not look, since it relied on others there."""
    relied = map(find, verification.body.get("relied", ()))
    return frozenset(one.body["target"] for one in relied if one is not None and one.kind == "verification")


class _Against:
    """Who speaks against whom among verifications: by citing it, or by finding its target invalid where it did not."""

    def __init__(self, considered: Sequence[Record]) -> None:
        self._citing: dict[Link, list[Link]] = {}
        self._invalid: dict[Link, list[Link]] = {}
        for one in considered:
            for edge in one.preds.get("counters", ()):
                self._citing.setdefault(edge.cid, []).append(one.id)
            if one.body["verdict"] == INVALID:
                self._invalid.setdefault(one.body["target"], []).append(one.id)

    def of(self, one: Record) -> tuple[Link, ...]:
        """Return the ids of those that speak against one of them, sorted; nobody speaks against itself."""
        invalid = self._invalid.get(one.body["target"], []) if one.body["verdict"] != INVALID else []
        return tuple(sorted({*self._citing.get(one.id, []), *invalid} - {one.id}))


def _discovered(target: Link, edges: Iterable[Covered]) -> Iterator[Link]:
    return islice(dict.fromkeys([target, *(parent for _, _, parent in edges)]), DEFAULT.walk_edges)
