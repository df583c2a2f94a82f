"""What is inherited and what must be found out anew: computed for one artifact from all that it derives from.

Licence obligations, restrictions and vulnerabilities are inherited until a record resolves them. Scores, safety and
compatibility are those of evaluations of the very package. Normative text: docs/spec/artifacts.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple

from tslg.node.artifacts import graph
from tslg.node.artifacts.licences import Combination, combine, read
from tslg.node.store.interface import Store
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.inheritance import Facts, Inheritance, Issue, reached
from tslg.protocol.record import Record

INHERITED: Final[Mapping[str, str]] = {
    "licences": "licence",
    "restrictions": "restriction",
    "vulnerabilities": "vulnerability",
}
"""Fields of an artifact that its descendants inherit, and what the issues of each are called."""
_NOTHING: Final[frozenset[Issue]] = frozenset()
_WITHHELD: Final[Mapping[str, Any]] = {"digest": None}
TO_BE_TESTED: Final = "to be tested"

Believed = Collection[Link] | None
"""Agents whose evaluations resolve issues and test; None for everybody but the author of the artifact."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """One issue that reaches an artifact.

    Attributes:
        issue: from which ancestor, what, and its name.
        withdrawn: the licence was withdrawn by an advisory.
        unknown: nobody can say what the licence asks.
    """

    issue: Issue
    withdrawn: bool
    unknown: bool
    _paths: Inheritance = field(repr=False)

    @property
    def path(self) -> tuple[Link, ...]:
        """The artifacts over which it came, from the ancestor to the artifact; the shortest way that is free."""
        return self._paths.path(self.issue)


class Resolved(NamedTuple):
    """One issue of the ancestry that does not reach the artifact: where it ends, and the evaluations that say so."""

    issue: Issue
    where: tuple[Link, ...]
    by: tuple[Link, ...]


class Tested(NamedTuple):
    """What is known of something that is never inherited: `passed`, `failed` or `to be tested`, and by which record."""

    state: str
    by: Link | None


class Properties(NamedTuple):
    """Everything computed for one artifact.

    Attributes:
        artifact: which.
        inherited: the issues that reach it, nearest first.
        resolved: those of its ancestry that do not.
        licences: what its licences ask together.
        unknown: ancestors of which nothing is held.
        withheld: ancestors that do not show one of these fields, and its name.
        evaluations: those of the very package, oldest first.
        safety, compatibility: what the evaluations of the very package that count say of it.
    """

    artifact: Link
    inherited: Sequence[Inherited]
    resolved: Sequence[Resolved]
    licences: Combination
    unknown: Sequence[Link]
    withheld: Sequence[tuple[Link, str]]
    evaluations: Sequence[Record]
    safety: Tested
    compatibility: Tested

    def of(self, what: str) -> list[Inherited]:
        """Return the issues of one kind that reach it: `licence`, `restriction` or `vulnerability`."""
        return [one for one in self.inherited if one.issue.what == what]

    @property
    def obstacles(self) -> list[str]:
        """Everything that keeps it from being released without somebody's decision, one line each."""
        found = [f"{one.issue.what} {one.issue.name}" for one in self.inherited if one.issue.what != "licence"]
        found += [f"licence {one.issue.name} was withdrawn" for one in self.of("licence") if one.withdrawn]
        found += [f"licence {one.issue.name} is unknown" for one in self.of("licence") if one.unknown]
        found += [f"{' and '.join(one.licences)}: {one.why}" for one in self.licences.conflicts]
        found += [f"ancestor {to_text(id)} is not held" for id in self.unknown]
        found += [f"ancestor {to_text(id)} withholds its {name}" for id, name in self.withheld]
        found += [f"{name} {TO_BE_TESTED}" for name, one in self._tested() if one.state == TO_BE_TESTED]
        return found + [f"{name} failed" for name, one in self._tested() if one.state == "failed"]

    def _tested(self) -> tuple[tuple[str, Tested], ...]:
        return ("safety", self.safety), ("compatibility", self.compatibility)


class Ancestry:
    """What is held of some artifacts, read once: facts for inheritance, and what was said."""

    def __init__(self, store: Store, ids: Iterable[Link], believed: Believed = None) -> None:
        wanted = list(dict.fromkeys(ids))
        self.said = graph.said(store, wanted)
        self.facts: dict[Link, Facts] = {}
        self.withheld: list[tuple[Link, str]] = []
        self._owners: dict[Link, Link] = {}
        self._packages: dict[Link, bytes | None] = {}
        self._believed = believed
        for one in graph.held_artifacts(store, wanted):
            self._owners[one.id] = one.owner
            self._packages[one.id] = one.body.get("package", _WITHHELD)["digest"]
            self.withheld += [(one.id, name) for name in INHERITED if name in one.withheld]
            self.facts[one.id] = self._facts(one)

    def counts(self, evaluation: Record) -> bool:
        """Tell whether an evaluation resolves issues and tests: whoever makes something does not judge it.

        What was stored before its target came was never held against that: it may be of another package.
        """
        package = self._packages[evaluation.body["target"]]
        if package is not None and evaluation.body.get("package", package) != package:
            return False
        if self._believed is not None:
            return evaluation.owner in self._believed
        return evaluation.owner != self._owners[evaluation.body["target"]]

    def counting(self, id: Link) -> list[Record]:
        """Return the evaluations of an artifact that count, oldest first."""
        return [one for one in self.said.evaluations.get(id, ()) if self.counts(one)]

    def withdrawn(self, issue: Issue) -> bool:
        """Tell whether a licence was withdrawn from the artifact that it comes from."""
        advisories = self.said.advisories.get(issue.origin, ())
        return issue.what == "licence" and any(issue.name in one.body["withdrawn"] for one in advisories)

    def resolving(self, issue: Issue, id: Link) -> list[Link]:
        """Return the evaluations of an artifact that resolve an issue in it."""
        return [one.id for one in self.counting(id) if issue in _resolves(one)]

    def _facts(self, record: graph.Held) -> Facts:
        body = record.body
        issues = [(what, name) for kept, what in INHERITED.items() for name in body.get(kept, ())]
        advisories = self.said.advisories.get(record.id)
        for one in advisories or ():
            issues += [(what, name) for kept, what in INHERITED.items() for name in one.body.get(kept, ())]
            issues += [("licence", name) for name in one.body["withdrawn"]]
        if advisories:
            # Those of a record are in order, and each there once, already.
            issues = sorted(set(issues))
        resolved = _NOTHING
        if record.id in self.said.evaluations:
            resolved = frozenset(issue for one in self.counting(record.id) for issue in _resolves(one))
        return Facts(record.parents, tuple(issues), resolved)


def properties(store: Store, id: Link, believed: Believed = None) -> Properties:
    """Compute what an artifact inherits, and what is known of it by itself. Raises UsageError as `graph.artifact`."""
    graph.artifact(store, id)
    ancestry = Ancestry(store, [id, *graph.ancestors(store, id)], believed)
    found = Inheritance(id, ancestry.facts)
    inherited = [_inherited(found, issue, ancestry) for issue in found.issues]
    resolved = [
        Resolved(issue, tuple(where), tuple(by for one in where for by in ancestry.resolving(issue, one)))
        for issue in found.resolved
        for where in (found.where(issue),)
    ]
    licences = [one for one in found.issues if one.what == "licence"]
    from_parents = {issue.name for issue in licences if issue.origin != id}
    return Properties(
        id,
        inherited,
        resolved,
        combine({issue.name for issue in licences}, derived=from_parents),
        found.unknown,
        sorted(ancestry.withheld),
        ancestry.said.evaluations.get(id, ()),
        _tested(ancestry.counting(id), "safety"),
        _tested(ancestry.counting(id), "compatibility"),
    )


def _inherited(found: Inheritance, issue: Issue, ancestry: Ancestry) -> Inherited:
    licence = read(issue.name) if issue.what == "licence" else None
    unknown = issue.what == "licence" and (licence is None or bool(licence.unknown or licence.untold))
    return Inherited(issue, ancestry.withdrawn(issue), unknown, found)


def _tested(evaluations: Sequence[Record], what: str) -> Tested:
    """Return what the evaluators say: one who says last that it failed is not outvoted."""
    last = {one.owner: one for one in sorted(evaluations, key=lambda one: one.seq) if what in _judged(one)}
    for state in ("failed", "passed"):
        for one in sorted(last.values(), key=lambda one: one.id):
            if what in one.body[state]:
                return Tested(state, one.id)
    return Tested(TO_BE_TESTED, None)


def _judged(evaluation: Record) -> set[str]:
    return {*evaluation.body["passed"], *evaluation.body["failed"]}


def _resolves(evaluation: Record) -> frozenset[Issue]:
    entries = evaluation.body.get("resolves", ())
    return frozenset(Issue(one["origin"], one["what"], one["name"]) for one in entries)


class Affected(NamedTuple):
    """What one issue of an artifact reaches.

    Attributes:
        issue: which.
        came: the artifact and all descendants that the issue reaches, nearest first, and from where it came to each.
        spared: descendants that it does not reach, because it is resolved on every path.
        resolved: by artifact in which it is resolved, the evaluations that say so.
    """

    issue: Issue
    came: Mapping[Link, Link | None]
    spared: Sequence[Link]
    resolved: Mapping[Link, Sequence[Link]]

    @property
    def reached(self) -> list[Link]:
        """The artifact and all descendants that the issue reaches, nearest first."""
        return list(self.came)

    def path(self, id: Link) -> tuple[Link, ...]:
        """Return the artifacts over which the issue came to one of them, from its origin on."""
        path = [id]
        while (before := self.came[path[-1]]) is not None:
            path.append(before)
        return tuple(reversed(path))


Wanted = Callable[[Issue], bool]


def affected(store: Store, origin: Link, wanted: Wanted | None = None, believed: Believed = None) -> list[Affected]:
    """Return what the issues of an artifact reach, those of its licences, or whichever are `wanted`.

    It answers what must be retired if a licence or a data set is revoked. Raises UsageError as `graph.artifact`.
    """
    graph.artifact(store, origin)
    below = graph.descendants(store, origin)
    ancestry = Ancestry(store, [origin, *below], believed)
    children: dict[Link, list[Link]] = {}
    for id, facts in ancestry.facts.items():
        for parent in facts.parents:
            children.setdefault(parent, []).append(id)
    issues = [Issue(origin, what, name) for what, name in ancestry.facts[origin].issues]
    return [_affected(one, ancestry, children, below) for one in issues if wanted is None or wanted(one)]


def _affected(
    issue: Issue, ancestry: Ancestry, children: Mapping[Link, Sequence[Link]], below: Sequence[Link]
) -> Affected:
    resolved = {id: ancestry.resolving(issue, id) for id, facts in ancestry.facts.items() if issue in facts.resolved}
    came = reached(issue, children, resolved)
    return Affected(issue, came, [id for id in below if id not in came], resolved)


def told(one: Properties) -> dict[str, Any]:
    """Return properties as JSON has them: every entry with its origin and its path."""
    # Of a long chain each artifact is on the paths of all before it.
    text = cache(to_text)
    return {
        "artifact": to_text(one.artifact),
        "licences": {
            "expression": one.licences.expression,
            "obligations": {name: sorted(keys) for name, keys in one.licences.obligations.items()},
            "conflicts": [{"licences": list(found.licences), "why": found.why} for found in one.licences.conflicts],
            "under": None if one.licences.under is None else list(one.licences.under),
        },
        "inherited": [
            {
                **told_issue(found.issue),
                "path": list(map(text, found.path)),
                "withdrawn": found.withdrawn,
                "unknown": found.unknown,
            }
            for found in one.inherited
        ],
        "resolved": [
            {
                **told_issue(found.issue),
                "where": list(map(to_text, found.where)),
                "by": list(map(to_text, found.by)),
            }
            for found in one.resolved
        ],
        "evaluations": [told_evaluation(found) for found in one.evaluations],
        "safety": _told_test(one.safety),
        "compatibility": _told_test(one.compatibility),
        "unknown": list(map(to_text, one.unknown)),
        "withheld": [{"artifact": to_text(id), "field": name} for id, name in one.withheld],
        "obstacles": one.obstacles,
    }


def told_issue(issue: Issue) -> dict[str, str]:
    """Return an issue as JSON has it."""
    return {"what": issue.what, "name": issue.name, "origin": to_text(issue.origin)}


def told_evaluation(record: Record) -> dict[str, Any]:
    """Return an evaluation as JSON has it."""
    body = record.body
    return {
        "record": to_text(record.id),
        "by": to_text(record.owner),
        "suite": body.get("suite"),
        "suite_digest": body["suite_digest"].hex() if "suite_digest" in body else None,
        "scores": body.get("scores"),
        "passed": body["passed"],
        "failed": body["failed"],
    }


def _told_test(one: Tested) -> dict[str, str | None]:
    return {"state": one.state, "by": None if one.by is None else to_text(one.by)}
