"""A report for people: the verdict first, then its reasons, how far the walk went, and what is known of freshness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import click

from tslg.node.cli.describing import plain, when, who
from tslg.node.cli.tree import tree_lines
from tslg.protocol.cid import to_text
from tslg.protocol.report import INVALID, UNDETERMINED, VALID, Finding, Freshness, NewestManifest, Report

T = TypeVar("T")

COLOURS: Final = {VALID: "green", INVALID: "red", UNDETERMINED: "yellow"}
WITHHELD: Final = (
    "what is withheld its author can let you read: see `tslg access grant`; ask as an agent that may by `--as DIR`"
)
"""What mends that something was withheld."""
_MOST: Final = 20
"""Entries of one list that are shown to people; `--json` has all."""


def report_text(report: Report, *, tree: bool = True, notes: Sequence[str] = ()) -> str:
    """Return the report as text; colours are dropped by `click.echo` where there is no terminal."""
    lines = [click.style(report.verdict, fg=COLOURS[report.verdict], bold=True) + f"  {to_text(report.target)}"]
    lines += reasons(report)
    lines += notes
    lines.append("")
    if tree and report.records:
        lines += [*tree_lines(report), ""]
    lines += [f"{name:<10} {line}" for name, line in facts(report)]
    return "\n".join(lines)


def reasons(report: Report) -> list[str]:
    """Return why the verdict is not `valid`, a line each."""
    lines = [line for finding in _cut(report.findings) for line in _finding(finding)]
    lines += _rest(report.findings)
    lines += [f"  {plain(item.reason, 300)}  {to_text(item.record)}" for item in _cut(report.undetermined)]
    lines += _rest(report.undetermined)
    if any(_kept_back(item.reason) for item in report.undetermined):
        lines.append(f"    {WITHHELD}")
    return lines


def _kept_back(reason: str) -> bool:
    return reason == "withheld" or (reason.startswith("withheld: ") and reason.endswith("records of its log"))


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """Yield (name, text) for what was walked and how, what was left out, and what is known of each log's tail."""
    names = {agent.id: agent.name for agent in report.agents}
    depth = "all edges" if report.depth is None else f"at most {report.depth} edges"
    yield "walked", f"{report.edges} edges, {depth}; {_count(len(report.records), 'record')} verified"
    seals = "every seal" if report.signatures == "all" else "the newest seal of each log, which covers the rest"
    order = {"visited": "the records visited lie in one log each", "full": "whole logs", "none": "not checked"}
    yield "checked", f"{seals}; order: {order[report.log]}"
    cost = f"{report.seconds:.3f} s"
    if report.round_trips is not None:
        cost += f", {_count(report.round_trips, 'round trip')}"
    yield "cost", cost
    if report.verdict == UNDETERMINED:
        for peer, outcome in _cut(report.asked):
            yield "asked", f"{plain(peer, 80)}: {outcome}"
    for agent in _cut(report.agents):
        yield "agent", f"{who(agent.id, names)}  {_count(agent.records, 'record')}  {to_text(agent.id)}"
    for hidden in _cut(report.undisclosed):
        redacted = f", redacted by {' and '.join(map(to_text, hidden.redacted_by))}" if hidden.redacted_by else ""
        yield "withheld", f"{', '.join(hidden.fields)} of {to_text(hidden.record)}{redacted}"
    for entry in _cut(report.frontier):
        yield (
            "stopped",
            f"{who(entry.agent, names)} at {to_text(entry.record)}, whose log commits to {entry.size} before",
        )
    for one in _cut(report.relied):
        depth = "all edges" if one.depth is None else f"at most {one.depth} edges"
        said = f"which walked {one.edges} edges, {depth}"
        yield "relied", f"on {who(one.agent, names)} for {to_text(one.target)}, {said}  {to_text(one.record)}"
    for item in _cut(report.freshness):
        yield "freshness", f"{who(item.agent, names)}: {freshness_text(item)}"
    if report.manifest is not None and (report.manifest.version > 1 or report.manifest.expires is not None):
        yield "manifest", manifest_text(report.manifest)
    for note in _cut(report.forks):
        said = "which its author confessed" if note.confessed else "which convicts its author"
        yield "forked", f"{who(note.agent, names)} sealed {len(note.records)} records for position {note.seq}, {said}"
    yield "digest", report.digest.hex()


def manifest_text(newest: NewestManifest) -> str:
    """Return which manifest version is the newest known, and how long it is good for."""
    until = "never expires" if newest.expires is None else f"expires {when(newest.expires)}"
    return f"version {newest.version} is the newest known, {until}  {to_text(newest.record)}"


def freshness_text(item: Freshness) -> str:
    """Return what is known of one log's tail, never nothing."""
    if item.source == "nobody":
        return f"tail unknown: nobody vouches that record {item.size} is the newest"
    age = "" if not item.age_ms else f", {item.age_ms / 1000:.0f} s ago"
    source = "the log's own node" if item.source == "log" else f"a {plain(item.source)}"
    return f"a head of {_count(item.size, 'record')} known from {source}{age}"


def _finding(finding: Finding) -> list[str]:
    lines = [f"  {finding.code}: {plain(finding.detail, 300)}  {to_text(finding.record)}"]
    if finding.path:
        steps = [f"{step.name} {to_text(step.parent)[:16]}" for step in finding.path[:8]]
        lines.append(f"    path: {' → '.join(steps)}{' → …' if len(finding.path) > 8 else ''}")
    return lines


def _cut(items: Sequence[T]) -> Sequence[T]:
    return items[:_MOST]


def _rest(items: Sequence[object]) -> list[str]:
    return [f"  … {len(items) - _MOST} more, see --json"] if len(items) > _MOST else []


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
