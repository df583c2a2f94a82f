"""Questions to the graph of artifacts that is held here: what derives from what, what was made together, who used it.

The answers are as good as what is held: nothing is verified by asking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tslg.node import standing
from tslg.node.store.interface import Store
from tslg.protocol import codec
from tslg.protocol.cid import to_text
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.flat import recover
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Record

PARENT: Final = ("parent",)
_CHUNK: Final = 5_000
_STEP: Final = 1_000
USES: Final = ("inference", "rejection", "decomposition", "composite", "action", "decision")
"""Kinds of records that are made with an artifact."""
_STEPS: Final = ("inference", "decomposition", "composite")
_SCANNED: Final = 100_000
"""Steps looked through for those that name a version without citing its record."""


class Said(NamedTuple):
    """What counts of what was said of some artifacts: by artifact, the oldest first."""

    evaluations: Mapping[Link, Sequence[Record]]
    advisories: Mapping[Link, Sequence[Record]]


class Held(NamedTuple):
    """What counts of one artifact: whose it is, what it derives from, its body, and which fields nothing shows."""

    id: Link
    owner: Link
    parents: tuple[Link, ...]
    body: Mapping[str, Any]
    withheld: frozenset[str]


def load(store: Store, ids: Iterable[Link]) -> dict[Link, Record]:
    """Return those of these records that are held, with what is disclosed of them, and edges by class."""
    found = _plain(store, ids)
    flat = [one for one in found.values() if FLAT in one.preds]
    if flat:
        cited = {edge.cid for one in flat for edge in one.edges()}
        known = {**_plain(store, cited - found.keys()), **found}
        found |= {one.id: recover(one, known.get) for one in flat}
    return found


def _plain(store: Store, ids: Iterable[Link]) -> dict[Link, Record]:
    wanted = list(dict.fromkeys(ids))
    found: dict[Link, Record] = {}
    for start in range(0, len(wanted), _CHUNK):
        for id, entry in store.get_many(wanted[start : start + _CHUNK]).items():
            found[id] = disclosed(id, entry)
    return found


def held_artifacts(store: Store, ids: Iterable[Link]) -> Iterator[Held]:
    """Yield what counts of those of these artifacts that are held, in no particular order.

    What the store holds was admitted: a record with all of its fields and classes in plain is not judged again. They
    are read one at a time, since thousands of maps at once keep the collector busy.
    """
    wanted = list(dict.fromkeys(ids))
    for start in range(0, len(wanted), _STEP):
        others = []
        for id, entry in store.get_many(wanted[start : start + _STEP]).items():
            value = codec.decode_unchecked(entry.data)
            if _is_partial(value):
                others.append(id)
            elif value["kind"] == "artifact":
                parents = tuple(edge["cid"] for edge in value["preds"].get("parent", ()))
                yield Held(id, value["agent"], parents, value["body"], frozenset())
        for id, one in load(store, others).items():
            if one.kind == "artifact":
                yield Held(id, one.owner, own_parents(one), one.body, frozenset(one.withheld))


def _is_partial(value: Any) -> bool:
    """Tell whether a record's classes must be recovered, or its fields disclosed."""
    return FLAT in value["preds"] or (value["kind"] == "artifact" and "licences" not in value["body"])


def artifact(store: Store, id: Link) -> Record:
    """Return an artifact's record. Raises UsageError for what is none, or is not held."""
    record = load(store, [id]).get(id)
    if record is None:
        raise UsageError(f"{to_text(id)} is not held here", code="TSLG-U-UNKNOWN", mend="fetch it first", record=id)
    if record.kind != "artifact":
        raise UsageError(f"that is no artifact but a {record.kind}", mend="`tslg artifact list` lists them", record=id)
    return record


def children(store: Store, id: Link) -> list[Link]:
    """Return what derives from an artifact directly, by id."""
    return store.children(id, PARENT)


def ancestors(store: Store, id: Link, limit: int | None = None) -> list[Link]:
    """Return everything that an artifact derives from, nearest first."""
    return store.ancestors(id, PARENT, limit)


def descendants(store: Store, id: Link, limit: int | None = None) -> list[Link]:
    """Return everything that derives from an artifact, nearest first."""
    return store.descendants(id, PARENT, limit)


def shared(store: Store, one: Link, other: Link) -> list[Link]:
    """Return what two artifacts both derive from, each other included, by id."""
    found = store.shared_ancestors(one, other, PARENT)
    # One of them may derive from the other.
    ends = [id for id, below in ((one, other), (other, one)) if id in store.ancestors(below, PARENT)]
    return sorted({*found, *ends})


def sharing(store: Store, ancestor: Link, lifecycle: Iterable[str] | None = None) -> list[Link]:
    """Return the artifacts that share an ancestor, nearest first; of these first states only, if any are named."""
    found = descendants(store, ancestor)
    if lifecycle is None:
        return found
    wanted, records = set(lifecycle), load(store, found)
    return [id for id in found if id in records and records[id].body["lifecycle"] in wanted]


def contributing(store: Store, id: Link) -> dict[str, list[Link]]:
    """Return the ancestors of an artifact by their type, such as `dataset` or `model`, nearest first.

    Those that are not held, or whose type is withheld, are under `unknown`.
    """
    found = ancestors(store, id)
    records = load(store, found)
    by_type: dict[str, list[Link]] = {}
    for one in found:
        kind = records[one].body.get("type") if one in records else None
        by_type.setdefault(kind if isinstance(kind, str) else "unknown", []).append(one)
    return dict(sorted(by_type.items()))


def cohort(store: Store, id: Link) -> list[Link]:
    """Return the members of a batch, by the record that started it or by one of them; empty for one of no batch."""
    record = load(store, [id]).get(id)
    start = id if record is None or record.kind != "artifact" else record.body.get("cohort")
    if start is None:
        return []
    members = [row.child for row in store.citing([start], ("evidence",), ("artifact",))]
    held = load(store, members)
    return [one for one in members if one in held and held[one].body.get("cohort") == start]


def uses(store: Store, id: Link, *, named: bool = False) -> list[Link]:
    """Return the records of what was done with an artifact: those that cite it, inferences and actions among them.

    With `named`, also steps of inference that only name it as their model's version, by id or content hash: all steps
    held are looked through.
    """
    record = artifact(store, id)
    found = dict.fromkeys(row.child for row in store.citing([id], None, USES))
    if named:
        digest = record.body["package"]["digest"].hex()
        versions = {to_text(id), digest, f"sha256:{digest}"}
        for kind in _STEPS:
            steps = load(store, store.by_kind(kind, limit=_SCANNED))
            found.update(dict.fromkeys(one for one, step in steps.items() if _version(step) in versions))
    return list(found)


def _version(step: Record) -> str | None:
    version = step.body.get("model_version")
    return version if isinstance(version, str) else None


def said(store: Store, targets: Iterable[Link]) -> Said:
    """Return the evaluations and advisories of artifacts that their authors did not retract."""
    about = dict.fromkeys(targets)
    rows = store.citing(about, ("evidence",), ("evaluation", "advisory"))
    records = load(store, (row.child for row in rows))
    for row in store.citing(records, ("retracts",), ("retraction",)):
        if row.parent in records and not standing.operative(store, row.parent).holds:
            del records[row.parent]
    sorted_in: tuple[dict[Link, list[Record]], dict[Link, list[Record]]] = ({}, {})
    for record in sorted(records.values(), key=lambda one: (one.time, one.id)):
        if record.body["target"] in about:
            sorted_in[record.kind == "advisory"].setdefault(record.body["target"], []).append(record)
    return Said(*sorted_in)


def own_parents(record: Record) -> tuple[Link, ...]:
    """Return what an artifact derives from directly."""
    return tuple(edge.cid for edge in record.preds.get("parent", ()))
