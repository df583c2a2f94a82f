"""The order in which ancestry is walked, shared by whoever verifies a walk and whoever serves one.

Level by level from the target. Within a level, all edges of that level's records, sorted by class name, then cited id,
then citing id. `depth` counts edges traversed, those that lead to a record already visited included.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import NamedTuple

from tslg.protocol.codec import Link
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record


class Step(NamedTuple):
    """One typed edge, in the order of the walk. `agent` is whose log the parent lies in, None for the child's own."""

    name: str
    parent: Link
    child: Link
    agent: Link | None


PlainStep = tuple[str, Link, Link, Link | None]
"""The fields of a step; the walk handles millions of them, and names them only where somebody looks."""

EdgesOf = Callable[[Link], Iterable[PlainStep]]


def steps_of(record: Record, classes: Container[str] | None = None) -> list[PlainStep]:
    """Return the edges of a record, of these classes (None: all), as steps."""
    id = record.id
    if classes is None:
        return [(name, cid, id, agent) for name, edges in record.preds.items() for cid, agent, _ in edges]
    return [
        (name, cid, id, agent) for name, edges in record.preds.items() if name in classes for cid, agent, _ in edges
    ]


class Traversal:
    """A breadth-first walk that stops after `depth` edges and knows exactly what it left out.

    Attributes:
        visited: ids in the order of discovery, each with the step by which it was discovered (None for a root).
        traversed: edges traversed so far.
        rest: edges of the last level that the depth left out, in order.
        level: ids discovered and not yet expanded.
    """

    def __init__(self, roots: Sequence[Link], depth: int | None) -> None:
        self.depth = depth
        self.visited: dict[Link, PlainStep | None] = dict.fromkeys(roots)
        self.level: list[Link] = list(self.visited)
        self.traversed = 0
        self.rest: list[PlainStep] = []

    @property
    def done(self) -> bool:
        """Whether nothing is left to expand, or the depth is used up."""
        return not self.level or bool(self.rest) or (self.depth is not None and self.traversed >= self.depth)

    def expand(self, edges_of: EdgesOf) -> list[Link]:
        """Traverse the edges of the current level; return the ids discovered, which are the next level.

        `edges_of` gives the edges of a record, none for a record that could not be had.
        """
        steps = [step for id in self.level for step in edges_of(id)]
        if len(steps) > 1:
            steps.sort()
        if self.depth is not None and self.traversed + len(steps) > self.depth:
            room = self.depth - self.traversed
            steps, self.rest = steps[:room], steps[room:]
        self.traversed += len(steps)
        found: list[Link] = []
        visited = self.visited
        for step in steps:
            parent = step[1]
            if parent not in visited:
                visited[parent] = step
                found.append(parent)
        self.level = found
        return found

    def expand_whole(self, find: Callable[[Link], Record | None]) -> list[Link] | None:
        """Do as `expand` without sorting, where the depth has room for every edge of the level; None where it may not.

        Order then matters only for which step counts as the discovery, and that is the least of the level's.
        """
        if self.depth is not None and self.traversed + len(self.level) * DEFAULT.fan_in > self.depth:
            return None
        visited = self.visited
        found: dict[Link, None] = {}
        count = 0
        for id in self.level:
            record = find(id)
            if record is None:
                continue
            for name, edges in record[10].items():
                count += len(edges)
                for parent, agent, _ in edges:
                    if parent not in visited:
                        visited[parent] = (name, parent, id, agent)
                        found[parent] = None
                    elif parent in found:
                        known = visited[parent]
                        if known is not None and (name, id) < (known[0], known[2]):
                            visited[parent] = (name, parent, id, agent)
        self.traversed += count
        self.level = list(found)
        return self.level

    def path(self, id: Link) -> list[Step]:
        """Return the steps from a root to a visited record; empty for a root or an id that was not visited."""
        steps = []
        step = self.visited.get(id)
        while step is not None:
            steps.append(Step(*step))
            step = self.visited.get(step[2])
        return steps[::-1]
