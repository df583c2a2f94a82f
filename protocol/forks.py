"""What a walk makes of equivocation: which records are only shown as proof, and which places of a log are forked.

Normative text: docs/spec/pruning.md, section Equivocation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, Set
from operator import attrgetter
from typing import Final, NamedTuple

from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.report import ForkNote, Undetermined

Place = tuple[Link, int]
"""A log and a position in it."""


_SEQ: Final = attrgetter("seq")
_IN_ITS_LOG: Final = attrgetter("seq", "id")


class Confession(NamedTuple):
    """An author says at position `said_at` of its log that the log is forked from position `first` on."""

    agent: Link
    first: int
    said_at: int


class Outcome(NamedTuple):
    """What forks mean for a walk: findings by record, and what they leave undetermined."""

    findings: Mapping[Link, tuple[str, str]]
    undetermined: Sequence[Undetermined]


def only_shown(
    target: Link, accusations: Iterable[Record], find: Callable[[Link], Record | None], visited: Iterable[Link]
) -> Set[Link]:
    """Return the visited records to which only the evidence of equivocation records leads: nothing rests on them.

    Args:
        target: where the walk started.
        accusations: the equivocation records that it holds.
        find: the records that it holds.
        visited: the ids that it visited.
    """
    accusing = {record.id for record in accusations}
    known = set(visited)
    reached = {target}
    todo = [target]
    while todo:
        record = find(todo.pop())
        for name, edges in record.preds.items() if record is not None else ():
            if record is not None and record.id in accusing and name == "evidence":
                continue
            fresh = [edge[0] for edge in edges if edge[0] in known and edge[0] not in reached]
            reached.update(fresh)
            todo.extend(fresh)
    return known - reached


def shared_places(records: Iterable[Record]) -> dict[Place, list[Link]]:
    """Return the positions at which several of these records stand, each with their ids in order."""
    places: dict[Place, set[Link]] = {}
    for record in records:
        places.setdefault((record.owner, record.seq), set()).add(record.id)
    return {place: sorted(ids) for place, ids in sorted(places.items()) if len(ids) > 1}


def confessions(records: Iterable[Record]) -> list[Confession]:
    """Return what authors among these records say of forks of their own logs."""
    return [
        Confession(record.owner, record.body["seq"], record.seq)
        for record in records
        if record.kind == "equivocation" and record.body["agent"] == record.owner
    ]


def covered(place: Place, said: Iterable[Confession]) -> bool:
    """Tell whether an author confessed a fork: where it began, or what followed from that up to the confession."""
    agent, seq = place
    return any(one.agent == agent and one.first <= seq < one.said_at for one in said)


def confessed(places: Iterable[Place], said: Iterable[Confession]) -> Set[Place]:
    """Return those of the places that are `covered`, in one pass, since strangers say how many there are of both."""
    steps = sorted([(one.agent, one.first, 0, one.said_at) for one in said] + [(*place, 1, 0) for place in places])
    found: set[Place] = set()
    reach: dict[Link, int] = {}
    for agent, seq, is_place, said_at in steps:
        if not is_place:
            reach[agent] = max(said_at, reach.get(agent, 0))
        elif seq < reach.get(agent, 0):
            found.add((agent, seq))
    return found


def outcome(notes: Iterable[ForkNote], relied_on: Sequence[Record]) -> Outcome:
    """Judge what rests on a forked log: all that its author said from the first fork on is one of two histories.

    What it said before is common to both, and stands. Where the author confessed, it is undetermined what others were
    shown; where it did not, it is a finding.
    """
    findings: dict[Link, tuple[str, str]] = {}
    undetermined: list[Undetermined] = []
    by_log: dict[Link, list[Record]] = {}
    for record in sorted(relied_on, key=_IN_ITS_LOG):
        by_log.setdefault(record.owner, []).append(record)
    for note in notes:
        log = by_log.get(note.agent, [])
        at = bisect_left(log, note.seq, key=_SEQ)
        after = log[at] if at < len(log) else None
        if after is None:
            continue
        shown = " and ".join(cid.to_text(id) for id in note.records[:2])
        detail = f"its author sealed two records for position {note.seq} of its log: {shown}"
        if note.confessed:
            undetermined.append(Undetermined(after.id, f"forked: {detail}, and said so"))
        else:
            findings.setdefault(after.id, ("TSLG-V-FORK", detail))
    return Outcome(findings, undetermined)


def relied_on(held: Mapping[Link, Record], ids: Iterable[Link], shown: Container[Link]) -> Iterator[Record]:
    """Yield the records among these that are held and not only shown."""
    return (held[id] for id in dict.fromkeys(ids) if id in held and id not in shown)
