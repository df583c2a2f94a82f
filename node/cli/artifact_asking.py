"""Questions about artifacts: `tslg artifact show`, `list`, `aliases`, `inherits`, `affected` and the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tslg.node.cli.access import SHORT, HeldNames, data_option, find_log, read_home
from tslg.node.cli.artifact_finding import Labels, find_artifact, question
from tslg.node.cli.artifact_inheriting import affected, diff, inherits
from tslg.node.cli.describing import plain, who
from tslg.node.cli.files import replacing
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.protocol.codec import Link

C = TypeVar("C", bound=Callable[..., Any])

LIMIT: Final = 1_000
"""Artifacts of one answer unless more are asked for."""


@click.command()
@question("id")
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
@question("id")
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
@question("id")
@click.option("--named", is_flag=True, help="Also steps that name it as their model's version; all are looked through.")
def uses(id: str, named: bool, data: Path | None, as_json: bool) -> None:
    """List the records of what was done with ID: requests, actions, decisions."""
    from tslg.node.artifacts import graph

    with read_home(data) as home:
        _answer(home, graph.uses(home.store, find_artifact(home.store, id), named=named), as_json)


@click.command()
@question("id")
def sources(id: str, data: Path | None, as_json: bool) -> None:
    """List the parents, data sets and others that contributed to ID, by type."""
    from tslg.node.artifacts import graph
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        found = graph.contributing(home.store, find_artifact(home.store, id))
        labels = Labels(home.store)
        lines = [f"{plain(kind, 40)}: {', '.join(labels.of(ids))}" for kind, ids in found.items()]
    emit({kind: list(map(to_text, ids)) for kind, ids in found.items()}, as_json, lambda: "\n".join(lines))


@click.command()
@question("one", "other")
def shared(one: str, other: str, data: Path | None, as_json: bool) -> None:
    """List what ONE and OTHER both derive from."""
    from tslg.node.artifacts import graph

    with read_home(data) as home:
        store = home.store
        _answer(home, graph.shared(store, find_artifact(store, one), find_artifact(store, other)), as_json)


def _walk(name: str, text: str) -> click.Command:
    """Make a question whose answer is a list of artifacts: what `graph` has under that name."""

    @click.command(name=name, help=text)
    @question("id")
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
