"""Questions to the graph that is held here about what holds now, what was considered, and which policy was in force.

The answers are as good as what is held: nothing is verified by asking. Normative text: docs/spec/corrections.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Final, NamedTuple

from tslg.node.store.interface import Store
from tslg.protocol.classes import ACTS, AUTHORITY, FLAT
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.flat import recover
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Record
from tslg.protocol.rules.context import superseded_by
from tslg.protocol.rules.together import FOR

MOST: Final = 10_000
"""Statements looked at for one answer; a record about which more is said is not one that people ask about."""
CONSIDERED: Final = ("counterfactual", "counters", "absence", "observes")
"""Classes of what was before an author and was not what it went by."""
_ACTS: Final = ("amends", "corrects", "retracts")
_WITHDRAWN_ONLY: Final = frozenset(AUTHORITY.split())


class Statement(NamedTuple):
    """One record that speaks of another's standing, and whether it stands itself.

    Attributes:
        record: the statement.
        act: `amends`, `corrects` or `retracts`.
        target: what it is about.
        stands: whether no retraction that stands withdraws it.
    """

    record: Record
    act: str
    target: Link
    stands: bool


class Conflict(NamedTuple):
    """Statements about one record that cannot all hold."""

    about: Link
    between: tuple[Link, ...]


class Operative(NamedTuple):
    """What holds now in place of a record.

    Attributes:
        record: what was asked about.
        holds: what holds now; empty if it was withdrawn.
        chain: every statement that leads there, nearest first, those that do not stand included.
        conflicts: statements that cannot all hold; then `holds` has them all.
    """

    record: Link
    holds: tuple[Link, ...]
    chain: tuple[Statement, ...]
    conflicts: tuple[Conflict, ...]


class Considered(NamedTuple):
    """One thing that was before an author: under which class it is cited (or `vote`), and the record, if it is held."""

    name: str
    id: Link
    record: Record | None


class PolicyAt(NamedTuple):
    """A policy under which a record was made.

    Attributes:
        policy: the version that it cites.
        versions: ids of all versions, the first one first.
        ended_by: held records that amended or retracted this version later.
    """

    policy: Record
    versions: tuple[Link, ...]
    ended_by: tuple[Record, ...]


def operative(store: Store, id: Link) -> Operative:
    """Follow corrections, amendments and retractions from a record to what holds now (COR-10 to COR-12).

    Raises:
        UsageError: the record is not held, or more than `MOST` statements are about it.
    """
    target = held(store, id)
    about = _statements(store, target)
    stands: dict[Link, bool] = {}
    holds: dict[Link, tuple[Link, ...]] = {}
    conflicts = []
    for one in _last_first(id, about):
        said = [(other, act) for other, act in about[one] if stands[other.id]]
        retracted = any(act == "retracts" for _, act in said)
        stands[one] = not retracted or _ends_authority(store, one)
        amendments = [other.id for other, act in said if act == "amends"]
        corrections = [other.id for other, act in said if act == "corrects"]
        if retracted:
            holds[one] = ()
        elif amendments:
            holds[one] = _union(holds[other] for other in amendments)
            if len(amendments) > 1:
                conflicts.append(Conflict(one, tuple(amendments)))
        else:
            holds[one] = _union([(one,), *(holds[other] for other in corrections)])
            conflicts += _disagreeing(store, one, holds[one][1:])
    chain = tuple(
        Statement(other, act, one, stands[other.id]) for one, others in about.items() for other, act in others
    )
    return Operative(id, holds[id], chain, tuple(conflicts))


def considered(store: Store, id: Link) -> list[Considered]:
    """Return what was before the author of a record and was not what it went by, votes against it included."""
    record = held(store, id)
    found = [Considered(name, edge.cid, _record(store, edge.cid)) for name in CONSIDERED for edge in record.edges(name)]
    agreed = [record] if record.kind == "consensus" else [_record(store, e.cid) for e in record.edges("consensus")]
    for consensus in filter(None, agreed):
        votes = [edge.cid for edge in consensus.edges("evidence") if edge.cid != consensus.body["proposal"]]
        for vote in filter(None, (_record(store, id) for id in votes)):
            if vote.body["vote"]["choice"] != FOR:
                found.append(Considered("vote", vote.id, vote))
    return found


def policy_at(store: Store, id: Link) -> list[PolicyAt]:
    """Return the policies under which a record was made, with their versions and what ended them later.

    A record that cites no policy was made under none.
    """
    record = held(store, id)
    found = []
    for edge in record.edges("policy"):
        policy = _record(store, edge.cid)
        if policy is None:
            raise _not_held(edge.cid)
        found.append(PolicyAt(policy, _versions(store, policy), _ended_by(store, policy.id)))
    return found


def held(store: Store, id: Link) -> Record:
    """Return a record that is held. Raises UsageError."""
    record = _record(store, id)
    if record is None:
        raise _not_held(id)
    return record


def _record(store: Store, id: Link) -> Record | None:
    entry = store.get(id)
    return None if entry is None else recover(disclosed(id, entry), lambda cited: _plain(store, cited))


def _plain(store: Store, id: Link) -> Record | None:
    """Return a record as it was written, whose own edges nobody asks for."""
    entry = store.get(id)
    return None if entry is None else disclosed(id, entry)


def _not_held(id: Link) -> UsageError:
    return UsageError("that record is not held here", code="TSLG-U-UNKNOWN", mend="fetch and verify it", record=id)


def _statements(store: Store, target: Record) -> dict[Link, list[tuple[Record, str]]]:
    """Return all that is said of a record, of what is said of it, and so on: by what it is about, nearest first."""
    about: dict[Link, list[tuple[Record, str]]] = {target.id: []}
    todo = [target]
    count = 0
    for one in todo:
        for other in sorted(
            filter(None, (_record(store, id) for id in store.children(one.id, (*_ACTS, FLAT)))), key=_when
        ):
            act = _act(other, one)
            if act is None:
                continue
            about[one.id].append((other, act))
            count += 1
            if other.id not in about:
                about[other.id] = []
                todo.append(other)
        if count > MOST:
            raise UsageError(f"more than {MOST} statements are about it", record=target.id)
    return about


def _act(statement: Record, target: Record) -> str | None:
    """Return under which class a record speaks of another: as its kind does, or as the next version of its kind."""
    act = ACTS.get(statement.kind, "amends" if statement.kind == target.kind else None)
    return act if act is not None and any(edge.cid == target.id for edge in statement.edges(act)) else None


def _last_first(start: Link, about: dict[Link, list[tuple[Record, str]]]) -> list[Link]:
    """Return the ids in an order in which all that is said of a record comes before it."""
    order: list[Link] = []
    seen: set[Link] = set()
    todo = [(start, False)]
    while todo:
        id, ready = todo.pop()
        if ready:
            order.append(id)
        elif id not in seen:
            seen.add(id)
            todo.append((id, True))
            todo.extend((other.id, False) for other, _ in about[id])
    return order


def _ends_authority(store: Store, id: Link) -> bool:
    """Whether a record is a retraction of authority, which nothing brings back."""
    record = held(store, id)
    if record.kind != "retraction":
        return False
    targets = (_record(store, edge.cid) for edge in record.edges("retracts"))
    return any(target is not None and target.kind in _WITHDRAWN_ONLY for target in targets)


def _disagreeing(store: Store, about: Link, corrections: Iterable[Link]) -> list[Conflict]:
    """Return the pairs of corrections that give different values for one name."""
    data = {id: held(store, id).body.get("data", {}) for id in corrections}
    return [
        Conflict(about, (a, b))
        for a, b in combinations(data, 2)
        if any(data[a][name] != data[b][name] for name in data[a].keys() & data[b].keys())
    ]


def _union(parts: Iterable[Iterable[Link]]) -> tuple[Link, ...]:
    return tuple(dict.fromkeys(id for part in parts for id in part))


def _versions(store: Store, policy: Record) -> tuple[Link, ...]:
    """Return the versions of a policy up to this one; where it amends several, the line of the newest of them."""
    line = [policy]
    while len(line) < MOST:
        before = [one for edge in line[-1].edges("amends") if (one := _record(store, edge.cid)) is not None]
        if not before:
            break
        line.append(max(before, key=lambda one: one.seq))
    return tuple(one.id for one in reversed(line))


def _ended_by(store: Store, id: Link) -> tuple[Record, ...]:
    children = filter(None, (_record(store, one) for one in store.children(id, ("amends", "retracts", FLAT))))
    return tuple(sorted((one for one in children if id in superseded_by(one)), key=_when))


def _when(record: Record) -> tuple[int, bytes]:
    return record.time, record.id
