"""The flat embodiment: one list of edges without classes, which are recovered from the records that they lead to.

A record of a flat federation names its predecessors under `any` alone. Whoever judges it recovers the classes first,
and every rule then reads it as if it had been written with them. An edge whose record is not at hand stays under `any`.
Normative text: docs/spec/flat.md, where the table below stands in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tslg.protocol.classes import ACTS, FLAT, Leads
from tslg.protocol.codec import Link
from tslg.protocol.kinds import KINDS
from tslg.protocol.record import Edge, Record
from tslg.protocol.recording import STEPS

_ABOUT: Final = ("target", "proposal")
"""Body fields that name a record which is weighed, whatever it is."""
_STARTING: Final = frozenset(("state", "genesis", "manifest", "manifest-amendment"))
_BY_KIND: Final[Mapping[str, str]] = {"consensus": "consensus", "joint-authorization": "joint"}

Find = Callable[[Link], Record | None]


class Recovered(Record):
    """A record of a flat federation, its edges put under the classes that were recovered."""

    __slots__ = ()


def recover(record: Record, find: Find) -> Record:
    """Return a record with the classes of its edges, as far as the records that they lead to are at hand.

    One that was written with classes, or without edges, is returned as it is.
    """
    edges = record.preds.get(FLAT)
    if edges is None:
        return record
    # One that was recovered in part keeps what it has: rules still look at every edge that is at hand.
    preds = {name: list(known) for name, known in record.preds.items() if name != FLAT}
    for edge in edges:
        cited = find(edge.cid)
        preds.setdefault(FLAT if cited is None else class_of(record, edge, cited), []).append(edge)
    classes = {name: tuple(preds[name]) for name in sorted(preds)}
    return tuple.__new__(Recovered, (*record[:10], classes, *record[11:]))


def recover_all(held: dict[Link, Record], chains: Iterable[Link], federation: Link) -> bool:
    """Recover the classes of all records of agents under flat manifests; tell whether there is such a manifest.

    Args:
        held: the records of a walk, which those with classes replace.
        chains: ids among which the manifest versions are.
        federation: whose own log has classes in any case.
    """
    flat = {id for id in chains if (one := held.get(id)) is not None and _is_flat(one)}
    for id, record in held.items() if flat else ():
        if FLAT in record.preds and record.manifest in flat and record.owner != federation:
            held[id] = recover(record, held.get)
    return bool(flat)


def _is_flat(record: Record) -> bool:
    return record.kind in ("manifest", "manifest-amendment") and record.body["envelope"].get("edges") == "flat"


def flatten(preds: Mapping[str, Iterable[Edge]]) -> dict[str, list[Edge]]:
    """Return edges by class as the one list in which a flat federation's record names them, each record once."""
    edges = {edge.cid: edge for cited in preds.values() for edge in cited}
    return {FLAT: [edges[id] for id in sorted(edges)]} if edges else {}


def class_of(record: Record, edge: Edge, cited: Record) -> str:
    """Return the class of an edge: the first row of the table that holds and that the citing record's kind allows."""
    kind = KINDS[record.kind]
    for name in _rows(record, edge, cited):
        if name in kind.allowed:
            return name
    return "prior" if edge.agent is None and "prior" in kind.allowed else "evidence"


def _rows(record: Record, edge: Edge, cited: Record) -> Iterable[str]:
    kind, own, to = record.kind, edge.agent is None, cited.kind
    if kind == "equivocation" or any(record.body.get(field) == edge.cid for field in _ABOUT):
        yield "evidence"
    act = ACTS.get(kind)
    if act is not None and _may_lead(KINDS[kind].leads[act], to):
        yield act
    if kind == "answer" and to == "delegation":
        yield "answers"
    if kind == to == "policy" and own and record.body.get("name", "") == cited.body.get("name"):
        yield "amends"
    if to == "policy" or (kind, to) == ("prune", "gc-policy"):
        yield "policy"
    if to == "delegation" and not own and cited.body.get("delegate") == record.agent:
        yield "delegation"
    if to in _BY_KIND:
        yield _BY_KIND[to]
    if kind == to == "artifact":
        yield "parent"
    if to == "decomposition" or (kind == "composite" and to in STEPS) or (kind == "summary" and own):
        yield "part"
    if to == "observation" and "sought" in cited.body:
        yield "absence"
    if own and (to in _STARTING or (kind in STEPS and to in STEPS and "after" in cited.body)):
        yield "prior"
    yield "evidence"


def _may_lead(where: Leads | None, to: str) -> bool:
    return where is None or where.kinds is None or to in where.kinds
