"""What a descendant inherits: issues that reach it from its ancestors over paths on which nothing resolves them.

Pure: it is handed what is known of each artifact of an ancestry, and asks for nothing. Its work grows with the edges of
the ancestry, times the issues that something resolves divided by the bits of a machine word.
Normative text: docs/spec/artifacts.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tslg.protocol.codec import Link


class Issue(NamedTuple):
    """What descendants inherit: of which artifact; `licence`, `restriction` or `vulnerability`; and its name."""

    origin: Link
    what: str
    name: str


class Facts(NamedTuple):
    """What is known of one artifact.

    Attributes:
        parents: what it derives from.
        issues: what and name of the issues that it is the origin of, sorted, each once.
        resolved: issues of whichever origin that are resolved in it.
    """

    parents: tuple[Link, ...] = ()
    issues: tuple[tuple[str, str], ...] = ()
    resolved: frozenset[Issue] = frozenset()


class Inheritance:
    """What one artifact inherits, itself included.

    Attributes:
        target: the artifact.
        issues: the issues that reach it, nearest origin first, then by what and name.
        resolved: issues of its ancestry that reach it over no path.
        unknown: artifacts of its ancestry of which nothing is known: what they hand down is not told.
    """

    def __init__(self, target: Link, facts: Mapping[Link, Facts]) -> None:
        self.target = target
        self._facts = facts
        self._next = _towards(target, facts, frozenset())
        self.unknown = [id for id in self._next if id not in facts]
        every = [Issue(id, what, name) for id in self._next if id in facts for what, name in facts[id].issues]
        contested = {issue for id in self._next if id in facts for issue in facts[id].resolved} & set(every)
        reaching = self._reaching(sorted(contested)) if contested else frozenset[Issue]()
        self.issues = [issue for issue in every if issue not in contested or issue in reaching]
        self.resolved = [issue for issue in every if issue in contested and issue not in reaching]
        self._contested = contested

    def path(self, issue: Issue) -> tuple[Link, ...]:
        """Return a shortest path over which an issue that reaches the target does so, from its origin to the target."""
        towards = self._next
        if issue in self._contested:
            towards = _towards(self.target, self._facts, frozenset(self.where(issue)))
        steps = [issue.origin]
        while steps[-1] != self.target:
            following = towards[steps[-1]]
            assert following is not None
            steps.append(following)
        return tuple(steps)

    def where(self, issue: Issue) -> list[Link]:
        """Return the artifacts of the ancestry in which an issue is resolved, nearest first."""
        return [id for id in self._next if id in self._facts and issue in self._facts[id].resolved]

    def _reaching(self, contested: Iterable[Issue]) -> frozenset[Issue]:
        """Return which of these issues reach the target: all at once, one bit each, parents before children."""
        bits = {issue: 1 << number for number, issue in enumerate(contested)}
        masks: dict[Link, int] = {}
        for id in _parents_first(self._next, self._facts):
            facts = self._facts.get(id, _NOTHING)
            mask = 0
            for parent in facts.parents:
                mask |= masks[parent]
            for what, name in facts.issues:
                mask |= bits.get(Issue(id, what, name), 0)
            for issue in facts.resolved:
                mask &= ~bits.get(issue, 0)
            masks[id] = mask
        found = masks[self.target]
        return frozenset(issue for issue, bit in bits.items() if found & bit)


_NOTHING = Facts()


def _towards(target: Link, facts: Mapping[Link, Facts], without: frozenset[Link]) -> dict[Link, Link | None]:
    """Return the ancestry breadth first, and for each artifact the next one on a shortest way to the target."""
    if target in without:
        return {}
    found: dict[Link, Link | None] = {target: None}
    todo = deque((target,))
    while todo:
        id = todo.popleft()
        for parent in sorted(facts.get(id, _NOTHING).parents):
            if parent not in found and parent not in without:
                found[parent] = id
                todo.append(parent)
    return found


def _parents_first(ancestry: Iterable[Link], facts: Mapping[Link, Facts]) -> list[Link]:
    """Return an ancestry in an order in which every artifact comes after its parents."""
    children: dict[Link, list[Link]] = {id: [] for id in ancestry}
    waiting: dict[Link, int] = {}
    for id in children:
        parents = set(facts.get(id, _NOTHING).parents)
        waiting[id] = len(parents)
        for parent in parents:
            children[parent].append(id)
    ready = deque(id for id, count in waiting.items() if count == 0)
    order = []
    while ready:
        id = ready.popleft()
        order.append(id)
        for child in children[id]:
            waiting[child] -= 1
            if waiting[child] == 0:
                ready.append(child)
    return order


def reached(issue: Issue, children: Mapping[Link, Iterable[Link]], resolved: Iterable[Link]) -> dict[Link, Link | None]:
    """Return the descendants that an issue reaches, its origin first, each with the artifact from which it came there.

    Args:
        issue: from its origin on.
        children: by artifact, what derives from it.
        resolved: artifacts in which the issue is resolved.
    """
    closed = frozenset(resolved)
    if issue.origin in closed:
        return {}
    found: dict[Link, Link | None] = {issue.origin: None}
    todo = deque((issue.origin,))
    while todo:
        id = todo.popleft()
        for child in sorted(children.get(id, ())):
            if child not in found and child not in closed:
                found[child] = id
                todo.append(child)
    return found
