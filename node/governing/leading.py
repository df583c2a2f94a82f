"""Which steps led to an output: from a record, or from a content by its digest, back over what each rests on.

Nothing is verified by asking; `tslg verify` does that. See docs/guide/read-back.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tslg.node.governing.reports import STEPS
from tslg.node.store.interface import Store
from tslg.protocol.codec import Link
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Record

CLASSES: Final = ("evidence", "parent", "part", "prior")
"""Classes under which a record cites what it came of."""
PRODUCT: Final = "part of"
"""In a path, the way from a decomposition to what it was broken down into, which cites it."""
MAKING: Final = ("action", "artifact", "composite", "decision", "decomposition", "inference", "observation", "state")
"""Kinds of records that can name a content as what came of them."""


class Hop(NamedTuple):
    """One edge on the way from an output: its class, and the record that it leads to."""

    name: str
    record: Link


class Led(NamedTuple):
    """One step that led to an output: its record, and a shortest way to it."""

    record: Record
    path: tuple[Hop, ...]


@dataclass(slots=True)
class Leading:
    """What led to an output.

    Attributes:
        roots: the records that the output came of.
        steps: what led to them, the nearest first; the roots that are steps are among them.
        missing: records that are cited on the way and not held here.
        records: how many records were met.
        more: whether there was more than was asked for.
    """

    roots: list[Link] = field(default_factory=list)
    steps: list[Led] = field(default_factory=list)
    missing: list[Link] = field(default_factory=list)
    records: int = 0
    more: bool = False


def made_by(store: Store, content: bytes) -> list[Link]:
    """Return the records that name a content, by its SHA-256, as what came of them: oldest first, by claimed time."""
    ids = store.mentioning(content, MAKING)
    found = [disclosed(id, entry) for id, entry in store.get_many(ids).items()]
    return [one.id for one in sorted(found, key=lambda one: (one.time, one.seq, one.id)) if _makes(one, content)]


def led_to(
    store: Store,
    roots: Sequence[Link],
    *,
    classes: Collection[str] = CLASSES,
    kinds: Collection[str] = STEPS,
    limit: int = 1000,
    most_records: int = 1_000_000,
) -> Leading:
    """Walk back from records, breadth first, and return the steps met, each with a shortest way to it.

    Args:
        store: where to look.
        roots: the records that an output came of.
        classes: over which edges.
        kinds: what to return.
        limit: at most so many.
        most_records: how far to look.
    """
    told = Leading(list(dict.fromkeys(roots)))
    came: dict[Link, tuple[Link, str] | None] = dict.fromkeys(told.roots)
    level = told.roots
    while level:
        held = {id: disclosed(id, entry) for id, entry in store.get_many(level).items()}
        told.missing += [id for id in level if id not in held]
        for id in level:
            if id in held and held[id].kind in kinds:
                if len(told.steps) >= limit:
                    told.more = True
                    return told
                told.steps.append(Led(held[id], _path(came, id)))
        told.records += len(held)
        if len(came) > most_records:
            told.more = True
            return told
        level = []
        for child, name, parent in _edges(store, held, classes, came):
            if parent not in came:
                came[parent] = child, name
                level.append(parent)
    return told


def _edges(
    store: Store, held: Mapping[Link, Record], classes: Collection[str], came: Mapping[Link, object]
) -> Iterator[tuple[Link, str, Link]]:
    """Yield what records rest on; of a decomposition that the output came of, what it was broken down into too."""
    yield from store.parents(held, classes)
    for id, record in held.items():
        if record.kind == "decomposition" and came[id] is None and "part" in classes:
            for child in store.children(id, ("part",)):
                yield id, PRODUCT, child


def _path(came: Mapping[Link, tuple[Link, str] | None], id: Link) -> tuple[Hop, ...]:
    """Return the way from an output's own record to one that was met."""
    hops: list[Hop] = []
    while (step := came[id]) is not None:
        hops.append(Hop(step[1], id))
        id = step[0]
    return tuple(reversed(hops))


def _makes(record: Record, content: bytes) -> bool:
    """Tell whether a record names a content otherwise than as what it consumed."""
    todo: list[Any] = [value for name, value in record.body.items() if name not in ("inputs", "input")]
    while todo:
        value = todo.pop()
        if value == content:
            return True
        if isinstance(value, Mapping):
            todo.extend(value.values())
        elif isinstance(value, list | tuple):
            todo.extend(value)
    return False
