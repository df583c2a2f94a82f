"""The ancestry of a verified record as an indented tree: who, what, under which policy, on what evidence, by whom.

Ancestry is a graph: a record that several cite is drawn where it is first met and named where it is met again. Of large
ancestries the records nearest to the target are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final, NamedTuple

from tslg.node.cli.describing import plain, what, who
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.report import Report

LABELS: Final = {
    "policy": "under",
    "delegation": "by authority of",
    "evidence": "on",
    "amends": "amends",
    "corrects": "corrects",
    "retracts": "retracts",
    "consensus": "agreed on by",
    "joint": "authorised by",
    "counterfactual": "instead of",
    "counters": "in spite of",
    "absence": "in the absence of",
    "observes": "having seen",
    "part": "from",
    "parent": "derived from",
    "prior": "after",
}
"""How an edge of a class is introduced, in the order in which a record's edges are drawn."""
MOST_RECORDS: Final = 200
MOST_LEVELS: Final = 12
_SHORT: Final = 16


class _Todo(NamedTuple):
    """A record to draw: its id, the label of the edge to it, and the characters before it and before what follows."""

    id: Link
    label: str
    lead: str
    indent: str
    level: int


def tree_lines(report: Report, *, most: int = MOST_RECORDS, levels: int = MOST_LEVELS) -> list[str]:
    """Return the lines of the tree.

    Args:
        report: a finished report; `report.records` holds the verified records, nearest first.
        most: records drawn at most; the last line counts the others.
        levels: edges between the target and the deepest record drawn.
    """
    names = {agent.id: agent.name for agent in report.agents}
    faults = {item.record: item.reason for item in report.undetermined}
    faults |= {finding.record: f"{finding.code}: {finding.detail}" for finding in report.findings}
    chosen = frozenset(islice(report.records, most))
    drawn: set[Link] = set()
    lines: list[str] = []
    stack = [_Todo(report.target, "", "", "", 0)]
    while stack and len(lines) < 2 * most:
        todo = stack.pop()
        record = report.records.get(todo.id)
        start = f"{todo.lead}{todo.label}"
        if record is None:
            lines.append(f"{start}({plain(faults.get(todo.id, 'not verified'))})  {_short(todo.id)}")
            continue
        author = who(record.owner, names)
        if todo.id in drawn:
            lines.append(f"{start}{author}: {record.kind}, see above  {_short(todo.id)}")
            continue
        drawn.add(todo.id)
        children, hidden = _children(todo, report, chosen, faults, levels)
        more = f"  … {hidden} more" if hidden else ""
        lines.append(f"{start}{author}: {what(record, names)}  {_short(todo.id)}{more}")
        stack.extend(reversed(children))
    left = len(report.records) - len(drawn)
    if left > 0:
        lines.append(f"… {left} more records")
    return lines


def _children(
    todo: _Todo, report: Report, chosen: frozenset[Link], faults: Mapping[Link, str], levels: int
) -> tuple[list[_Todo], int]:
    """Return the cited records that are drawn below one, and the number of edges that are not."""
    record = report.records[todo.id]
    names = [*(name for name in LABELS if name in record.preds), *sorted(record.preds.keys() - LABELS.keys())]
    edges = [(LABELS.get(name, name), edge.cid) for name in names for edge in record.preds[name]]
    shown = [edge for edge in edges if todo.level < levels and (edge[1] in chosen or edge[1] in faults)]
    children = []
    for index, (label, id) in enumerate(shown):
        last = index == len(shown) - 1
        lead = f"{todo.indent}{'└─ ' if last else '├─ '}"
        indent = f"{todo.indent}{'   ' if last else '│  '}"
        children.append(_Todo(id, f"{label} ", lead, indent, todo.level + 1))
    return children, len(edges) - len(shown)


def _short(id: Link) -> str:
    return to_text(id)[:_SHORT]
