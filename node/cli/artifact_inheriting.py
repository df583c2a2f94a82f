"""`tslg artifact inherits`, `affected` and `diff`: what reaches descendants, and what differs between two."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import read_home
from tslg.node.cli.artifact_finding import Labels, believe_option, believed_by, find_artifact, question
from tslg.node.cli.describing import plain
from tslg.node.cli.output import emit

if TYPE_CHECKING:
    from tslg.node.artifacts.properties import Affected, Properties
    from tslg.protocol.inheritance import Issue


@click.command()
@question("id")
@believe_option
def inherits(id: str, believed: Sequence[str], data: Path | None, as_json: bool) -> int:
    """Show what ID inherits, from whom and over which path, and what must be tested anew.

    Exit code: 0 nothing stands against its release, 1 something does, 2 something is not known.
    """
    from tslg.node.artifacts.properties import properties, told

    with read_home(data) as home:
        found = properties(home.store, find_artifact(home.store, id), believed_by(home, believed))
        labels = Labels(home.store)
        text = "" if as_json else "\n".join(_inherited(found, labels))
    emit(told(found), as_json, text)
    return 2 if found.unknown or found.withheld else 1 if found.obstacles else 0


def _inherited(found: Properties, labels: Labels) -> list[str]:
    lines = []
    for one in found.inherited:
        marks = [mark for mark, holds in (("withdrawn", one.withdrawn), ("unknown", one.unknown)) if holds]
        way = " → ".join(labels.of(one.path))
        lines.append(f"{one.issue.what}  {plain(one.issue.name)}{''.join(f' ({mark})' for mark in marks)}  from {way}")
    for resolved in found.resolved:
        where = ", ".join(labels.of(resolved.where))
        origin = labels.of([resolved.issue.origin])[0]
        lines.append(f"resolved  {resolved.issue.what} {plain(resolved.issue.name)} of {origin} in {where}")
    if found.licences.expression:
        lines.append(f"licences together  {plain(found.licences.expression, 400)}")
    for name, keys in found.licences.obligations.items():
        lines.append(f"obligation  {name}  by {', '.join(sorted(keys))}")
    lines += [f"safety  {found.safety.state}", f"compatibility  {found.compatibility.state}"]
    return lines + [f"against release  {plain(line, 400)}" for line in found.obstacles]


@click.command()
@question("id")
@click.option("--licence", multiple=True, metavar="SPDX", help="If this licence is revoked; repeat.")
@click.option("--restriction", multiple=True, help="What this restriction reaches; repeat.")
@click.option("--vulnerability", multiple=True, help="What this vulnerability reaches; repeat.")
@believe_option
def affected(id: str, believed: Sequence[str], data: Path | None, as_json: bool, **named: Sequence[str]) -> None:
    """List what must be retired if ID or a licence of it is revoked: everything that an issue of it reaches."""
    from tslg.node.artifacts.properties import affected as reach

    chosen = {(what, name) for what, names in named.items() for name in names}

    def wanted(issue: Issue) -> bool:
        return not chosen or (issue.what, issue.name) in chosen

    with read_home(data) as home:
        found = reach(home.store, find_artifact(home.store, id), wanted, believed_by(home, believed))
        labels = Labels(home.store)
        told = [_told_affected(one) for one in found]
        text = "" if as_json else "\n".join(line for one in found for line in _affected(one, labels))
    emit({"issues": told}, as_json, text or "it has no such issue: nothing is affected")


def _told_affected(one: Affected) -> dict[str, Any]:
    from tslg.node.artifacts.properties import told_issue
    from tslg.protocol.cid import to_text

    text = cache(to_text)
    return {
        **told_issue(one.issue),
        "affected": [
            {"artifact": text(id), "path": list(map(text, one.path(id)))}
            for id in one.reached
            if id != one.issue.origin
        ],
        "spared": list(map(to_text, one.spared)),
        "resolved": {to_text(id): list(map(to_text, by)) for id, by in one.resolved.items()},
    }


def _affected(one: Affected, labels: Labels) -> list[str]:
    lines = [f"{one.issue.what} {plain(one.issue.name)}:"]
    for id in one.reached:
        if id != one.issue.origin:
            lines.append(f"  affected  {' → '.join(labels.of(one.path(id)))}")
    return lines + [f"  spared    {name}" for name in labels.of(one.spared)]


@click.command()
@question("one", "other")
@believe_option
def diff(one: str, other: str, believed: Sequence[str], data: Path | None, as_json: bool) -> None:
    """Show what differs between ONE and OTHER, such as a champion and a failing canary."""
    from tslg.node.artifacts.comparing import differences, told

    with read_home(data) as home:
        store = home.store
        found = differences(store, find_artifact(store, one), find_artifact(store, other), believed_by(home, believed))
        labels = Labels(store)
        lines = [f"{name}: {first} → {second}" for name, (first, second) in told(found)["fields"].items()]
        lines += [f"file {change.how}: {change.path}" for change in found.files or ()]
        lines += [f"derives no more from {name}" for name in labels.of(found.only_one)]
        lines += [f"derives also from {name}" for name in labels.of(found.only_other)]
        lines += [f"no more {issue.what} {issue.name}" for issue in found.issues_one]
        lines += [f"new {issue.what} {issue.name}" for issue in found.issues_other]
        lines += [f"{score.suite} {score.name}: {score.one} → {score.other}" for score in found.scores]
        lines += [f"passed {name}: {first} → {second}" for name, (first, second) in found.passed.items()]
    emit(told(found), as_json, lambda: "\n".join(plain(line, 400) for line in lines) or "nothing")
