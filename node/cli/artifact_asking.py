"""Questions about artifacts: `tslg artifact show`, `list`, `aliases`, `inherits`, `affected` and the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tslg.node.cli.access import SHORT, HeldNames, data_option, find_log, find_record, read_home
from tslg.node.cli.describing import plain, who
from tslg.node.cli.files import replacing
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.artifacts.properties import Affected, Properties
    from tslg.node.home import Home
    from tslg.node.store.interface import Store
    from tslg.protocol.codec import Link

C = TypeVar("C", bound=Callable[..., Any])

LIMIT: Final = 1_000
"""Artifacts of one answer unless more are asked for."""
SEARCHED: Final = 100_000
"""Artifacts among which one is looked for by its name."""


def find_artifact(store: Store, text: str) -> Link:
    """Return the artifact that is named: by id or its beginning, by AGENT:ALIAS, or by its name.

    Raises:
        UsageError: `TSLG-U-UNKNOWN` or `TSLG-U-AMBIGUOUS`.
    """
    from tslg.node.artifacts import course, graph
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import CidError, UsageError

    agent, colon, alias = text.partition(":")
    if colon and agent:
        points = course.points_at(store, alias, find_log(store, agent))
        if points is None:
            raise UsageError(f"{agent[:40]} has no alias {alias[:40]!r}", code="TSLG-U-UNKNOWN", mend="see aliases")
        return points
    if _is_whole(text):
        return find_record(store, text)
    held = graph.load(store, store.by_kind("artifact", limit=SEARCHED))
    named = {id for id, one in held.items() if one.body.get("name") == text}
    try:
        # A name may look like the beginning of an id; then it must be the only thing that is meant.
        named.add(find_record(store, text))
    except (CidError, UsageError) as error:
        if error.code == "TSLG-U-AMBIGUOUS" and not named:
            raise
    if len(named) == 1:
        return named.pop()
    if not named:
        raise UsageError(
            f"no artifact here is named {text[:80]!r}", code="TSLG-U-UNKNOWN", mend="`tslg artifact list` lists them"
        )
    listed = ", ".join(to_text(id) for id in sorted(named)[:8])
    raise UsageError(f"several are meant by {text[:80]!r}: {listed}", code="TSLG-U-AMBIGUOUS", mend="give the id")


def _is_whole(text: str) -> bool:
    from tslg.protocol import cid
    from tslg.protocol.errors import CidError

    try:
        cid.from_text(text)
    except CidError:
        return False
    return True


def _question(*arguments: str) -> Callable[[C], C]:
    """Add the artifacts that a question is about, and what every question is given."""

    def add(command: C) -> C:
        command = data_option(json_option(command))
        for name in reversed(arguments):
            command = click.argument(name, metavar=name.upper())(command)
        return command

    return add


believe_option = click.option(
    "--believe", "believed", multiple=True, metavar="AGENT", help="Whose evaluations count.  [all but the author's]"
)


def _believed(home: Home, names: Sequence[str]) -> frozenset[Link] | None:
    return frozenset(find_log(home.store, name) for name in names) if names else None


@click.command()
@_question("id")
def show(id: str, data: Path | None, as_json: bool) -> None:
    """Show the lineage record of ID: each field of it, and who says what."""
    from tslg.node.artifacts import course

    with read_home(data) as home:
        told = course.lineage_record(home.store, find_artifact(home.store, id))
    emit(told, as_json, lambda: "\n".join(_lines(told)))


def _lines(told: dict[str, Any]) -> list[str]:
    width = max(map(len, told))
    return [
        f"{name.ljust(width)}  {plain(_said(value), 400)}" for name, value in told.items() if value not in (None, [])
    ]


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_said(item)} ({key[:SHORT]})" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_said_item, value))
    return str(value)


def _said_item(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return " ".join(str(item) for item in value.values() if item not in (None, []))


@click.command(name="list")
@click.option("--type", "type_", help="Only of this type.")
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="At most so many.")
@data_option
@json_option
def list_(type_: str | None, limit: int, data: Path | None, as_json: bool) -> None:
    """List artifacts, newest first."""
    from tslg.node.artifacts import graph

    with read_home(data) as home:
        ids = home.store.by_kind("artifact", limit=limit)
        held = graph.load(home.store, ids)
        wanted = [id for id in ids if id in held and (type_ is None or held[id].body.get("type") == type_)]
        _answer(home, wanted, as_json)


@click.command()
@data_option
@json_option
def aliases(data: Path | None, as_json: bool) -> None:
    """List where aliases point, and since which release."""
    from tslg.node.artifacts import course
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        names = HeldNames(home.store)
        told = [
            {
                "agent": who(one.owner, names),
                "alias": one.body["alias"],
                "target": to_text(one.body["target"]),
                "rollback": to_text(one.body["rollback"]) if "rollback" in one.body else None,
                "release": to_text(one.id),
            }
            for one in course.aliases(home.store)
        ]
    emit({"aliases": told}, as_json, lambda: "\n".join(f"{_alias(one)} → {one['target']}" for one in told))


def _alias(one: dict[str, Any]) -> str:
    return plain(f"{one['agent']}:{one['alias']}")


@click.command()
@_question("id")
@believe_option
def inherits(id: str, believed: Sequence[str], data: Path | None, as_json: bool) -> int:
    """Show what ID inherits, from whom and over which path, and what must be tested anew.

    Exit code: 0 nothing stands against its release, 1 something does, 2 something is not known.
    """
    from tslg.node.artifacts.properties import properties, told

    with read_home(data) as home:
        found = properties(home.store, find_artifact(home.store, id), _believed(home, believed))
        labels = _Labels(home.store)
        text = "" if as_json else "\n".join(_inherited(found, labels))
    emit(told(found), as_json, text)
    return 2 if found.unknown or found.withheld else 1 if found.obstacles else 0


class _Labels:
    """The names of artifacts, each looked up once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, ids: Iterable[Link]) -> list[str]:
        """Return names, or the beginning of ids where they are not known."""
        from tslg.node.artifacts import graph
        from tslg.protocol.cid import to_text

        wanted = list(ids)
        held = graph.load(self._store, wanted)
        return [
            plain(str(held[id].body.get("name", to_text(id)[:SHORT])), 40) if id in held else to_text(id)[:SHORT]
            for id in wanted
        ]


def _inherited(found: Properties, labels: _Labels) -> list[str]:
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
@_question("id")
@click.option("--licence", multiple=True, metavar="SPDX", help="If this licence is revoked; repeat.")
@click.option("--restriction", multiple=True, help="What this restriction reaches; repeat.")
@click.option("--vulnerability", multiple=True, help="What this vulnerability reaches; repeat.")
@believe_option
def affected(id: str, believed: Sequence[str], data: Path | None, as_json: bool, **named: Sequence[str]) -> None:
    """List what must be retired if ID or a licence of it is revoked: everything that an issue of it reaches."""
    from tslg.node.artifacts.properties import affected as reach
    from tslg.protocol.inheritance import Issue

    chosen = {(what, name) for what, names in named.items() for name in names}

    def wanted(issue: Issue) -> bool:
        return not chosen or (issue.what, issue.name) in chosen

    with read_home(data) as home:
        found = reach(home.store, find_artifact(home.store, id), wanted, _believed(home, believed))
        labels = _Labels(home.store)
        told = [_told_affected(one) for one in found]
        text = "" if as_json else "\n".join(line for one in found for line in _affected(one, labels))
    emit({"issues": told}, as_json, text or "it has no such issue: nothing is affected")


def _told_affected(one: Affected) -> dict[str, Any]:
    from tslg.node.artifacts.properties import told_issue
    from tslg.protocol.cid import to_text

    return {
        **told_issue(one.issue),
        "affected": [
            {"artifact": to_text(id), "path": list(map(to_text, one.path(id)))}
            for id in one.reached
            if id != one.issue.origin
        ],
        "spared": list(map(to_text, one.spared)),
        "resolved": {to_text(id): list(map(to_text, by)) for id, by in one.resolved.items()},
    }


def _affected(one: Affected, labels: _Labels) -> list[str]:
    lines = [f"{one.issue.what} {plain(one.issue.name)}:"]
    for id in one.reached:
        if id != one.issue.origin:
            lines.append(f"  affected  {' → '.join(labels.of(one.path(id)))}")
    return lines + [f"  spared    {name}" for name in labels.of(one.spared)]


@click.command()
@_question("one", "other")
@believe_option
def diff(one: str, other: str, believed: Sequence[str], data: Path | None, as_json: bool) -> None:
    """Show what differs between ONE and OTHER, such as a champion and a failing canary."""
    from tslg.node.artifacts.comparing import differences, told

    with read_home(data) as home:
        store = home.store
        found = differences(store, find_artifact(store, one), find_artifact(store, other), _believed(home, believed))
        labels = _Labels(store)
        lines = [f"{name}: {first} → {second}" for name, (first, second) in told(found)["fields"].items()]
        lines += [f"file {change.how}: {change.path}" for change in found.files or ()]
        lines += [f"derives no more from {name}" for name in labels.of(found.only_one)]
        lines += [f"derives also from {name}" for name in labels.of(found.only_other)]
        lines += [f"no more {issue.what} {issue.name}" for issue in found.issues_one]
        lines += [f"new {issue.what} {issue.name}" for issue in found.issues_other]
        lines += [f"{score.suite} {score.name}: {score.one} → {score.other}" for score in found.scores]
        lines += [f"passed {name}: {first} → {second}" for name, (first, second) in found.passed.items()]
    emit(told(found), as_json, lambda: "\n".join(plain(line, 400) for line in lines) or "nothing")


@click.command()
@_question("id")
def rebuildable(id: str, data: Path | None, as_json: bool) -> int:
    """Tell whether the package of ID, and its evaluations, can be put together again, and what is lacking.

    Exit code: 0 the package can be, 1 it cannot.
    """
    from tslg.node.artifacts.rebuilding import rebuildable as ask
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        found = ask(home.store, find_artifact(home.store, id))
    kept = None if found.kept is None else list(found.kept)
    told = {
        "possible": found.possible,
        "missing": kept,
        "operator": list(found.operator),
        "evaluations": {to_text(one): list(lacking) for one, lacking in found.evaluations.items()},
    }
    lines = [f"from what is kept: {'yes' if found.kept == () else 'no'}"]
    lines += [f"  {path} is not kept" for path in found.kept or ()] or ([] if kept is not None else ["  no listing"])
    lines += [f"by its operator: {'no' if found.operator else 'yes'}", *(f"  {line}" for line in found.operator)]
    for one, lacking in found.evaluations.items():
        lines += [f"evaluation {to_text(one)[:SHORT]}: {'; '.join(lacking) or 'yes'}"]
    emit(told, as_json, lambda: "\n".join(plain(line, 400) for line in lines))
    return 0 if found.possible else 1


@click.command()
@_question("id")
@click.option("--named", is_flag=True, help="Also steps that name it as their model's version; all are looked through.")
def uses(id: str, named: bool, data: Path | None, as_json: bool) -> None:
    """List the records of what was done with ID: requests, actions, decisions."""
    from tslg.node.artifacts import graph

    with read_home(data) as home:
        _answer(home, graph.uses(home.store, find_artifact(home.store, id), named=named), as_json)


@click.command()
@_question("id")
def sources(id: str, data: Path | None, as_json: bool) -> None:
    """List the parents, data sets and others that contributed to ID, by type."""
    from tslg.node.artifacts import graph
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        found = graph.contributing(home.store, find_artifact(home.store, id))
        labels = _Labels(home.store)
        lines = [f"{plain(kind, 40)}: {', '.join(labels.of(ids))}" for kind, ids in found.items()]
    emit({kind: list(map(to_text, ids)) for kind, ids in found.items()}, as_json, lambda: "\n".join(lines))


@click.command()
@_question("one", "other")
def shared(one: str, other: str, data: Path | None, as_json: bool) -> None:
    """List what ONE and OTHER both derive from."""
    from tslg.node.artifacts import graph

    with read_home(data) as home:
        store = home.store
        _answer(home, graph.shared(store, find_artifact(store, one), find_artifact(store, other)), as_json)


def _walk(name: str, text: str) -> click.Command:
    """Make a question whose answer is a list of artifacts: what `graph` has under that name."""

    @click.command(name=name, help=text)
    @_question("id")
    def walk(id: str, data: Path | None, as_json: bool) -> None:
        from tslg.node.artifacts import graph

        with read_home(data) as home:
            _answer(home, getattr(graph, name)(home.store, find_artifact(home.store, id)), as_json)

    return walk


def _answer(home: Home, ids: Sequence[Link], as_json: bool) -> None:
    from tslg.node.artifacts import graph
    from tslg.node.cli.terminal import print_table
    from tslg.protocol.cid import to_text

    held = graph.load(home.store, ids)
    names = HeldNames(home.store)
    told = [
        {
            "record": to_text(id),
            "kind": held[id].kind if id in held else None,
            "name": held[id].body.get("name") if id in held else None,
            "type": held[id].body.get("type") if id in held else None,
            "by": who(held[id].owner, names) if id in held else None,
        }
        for id in ids
    ]
    if as_json:
        emit({"found": told}, True, "")
        return
    rows = [
        [one["name"] or one["kind"] or "?", one["type"] or one["kind"] or "not held", one["by"] or "?", one["record"]]
        for one in told
    ]
    print_table(("name", "type", "by", "record"), rows)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--agent", "author", help="Whose states count.")
@data_option
@json_option
def summaries(file: Path, author: str | None, data: Path | None, as_json: bool) -> None:
    """Write a summary of every artifact to FILE, one JSON document a line, to search in; none of it is evidence."""
    import io

    from tslg.node.artifacts.archiving import write_summaries

    with read_home(data) as home, replacing(file) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
        count = write_summaries(home.store, text, None if author is None else find_log(home.store, author))
        text.detach()
    emit({"summaries": count}, as_json, f"{count} summaries")


QUESTIONS: Final = (
    show,
    list_,
    aliases,
    _walk("children", "List what derives from ID directly."),
    _walk("ancestors", "List everything that ID derives from, nearest first."),
    _walk("descendants", "List everything that derives from ID, nearest first."),
    _walk("cohort", "List the batch in which ID was made."),
    shared,
    sources,
    inherits,
    affected,
    diff,
    uses,
    rebuildable,
    summaries,
)
"""The commands that only read."""
