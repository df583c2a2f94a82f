"""`tslg query`: questions to the graph that is held here. Nothing is verified by asking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tslg.node.cli.access import HeldNames, data_option, find_record, read_home
from tslg.node.cli.composed import verified
from tslg.node.cli.describing import what, who
from tslg.node.cli.output import emit, json_option
from tslg.node.cli.query_heads import forks, heads
from tslg.node.cli.query_steps import led_to, refinements, rejections
from tslg.node.cli.standing import considered, operative, policy_at

if TYPE_CHECKING:
    from tslg.node.store.interface import Store
    from tslg.protocol.codec import Link

C = TypeVar("C", bound=Callable[..., Any])

LIMIT: Final = 1_000
"""Records of one answer unless more are asked for."""


@click.group()
def query() -> None:
    """Ask what a record rests on, what rests on it, and what holds now."""


query.add_command(operative)
query.add_command(considered)
query.add_command(policy_at)
query.add_command(verified)
query.add_command(heads)
query.add_command(forks)
query.add_command(rejections)
query.add_command(refinements)
query.add_command(led_to)


def _question(command: C) -> C:
    """Add what every question is given."""
    for option in (
        json_option,
        data_option,
        click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="At most so many."),
    ):
        command = option(command)
    return click.argument("id", metavar="ID")(command)


classes_option = click.option("--class", "classes", multiple=True, help="Only over edges of this class; repeat.")


@query.command()
@_question
@classes_option
def children(id: str, classes: tuple[str, ...], **options: Any) -> None:
    """List the records that cite ID."""
    _answer(id, lambda store, root, limit: store.children(root, checked_classes(classes)), options)


@query.command()
@_question
@classes_option
def ancestors(id: str, classes: tuple[str, ...], **options: Any) -> None:
    """List what ID derives from, nearest first."""
    _answer(id, lambda store, root, limit: store.ancestors(root, checked_classes(classes), limit), options)


@query.command()
@_question
@classes_option
def descendants(id: str, classes: tuple[str, ...], **options: Any) -> None:
    """List what derives from ID, nearest first."""
    _answer(id, lambda store, root, limit: store.descendants(root, checked_classes(classes), limit), options)


@query.command()
@_question
def evidence(id: str, **options: Any) -> None:
    """List the evidence of ID, and the evidence of that."""
    _answer(id, lambda store, root, limit: store.ancestors(root, ("evidence",), limit), options)


@query.command()
@_question
def policy(id: str, **options: Any) -> None:
    """List the policies that authorise ID, and what those rest on: delegations and the policies of others."""
    _answer(id, lambda store, root, limit: store.ancestors(root, ("policy", "delegation"), limit), options)


def checked_classes(classes: Sequence[str]) -> Sequence[str] | None:
    """Return the classes given, None for none. Raises UsageError for one that there is not."""
    from tslg.protocol.errors import UsageError
    from tslg.protocol.kinds import CLASSES

    for name in classes:
        if name not in CLASSES:
            raise UsageError(f"no class {name[:80]!r}", mend=f"the classes are {', '.join(CLASSES)}")
    return classes or None


def _answer(id: str, ask: Callable[[Store, Link, int], Iterable[Link]], options: dict[str, Any]) -> None:
    from tslg.node.cli.terminal import print_table
    from tslg.protocol.cid import to_text

    data: Path | None = options["data"]
    with read_home(data) as home:
        root = find_record(home.store, id)
        asked = list(ask(home.store, root, options["limit"] + 1))
        more, found = len(asked) > options["limit"], asked[: options["limit"]]
        names = HeldNames(home.store)
        answers = [_about(home.store, one, names) for one in found]
    if options["as_json"]:
        emit({"record": to_text(root), "found": answers, "more": more}, True, "")
        return
    print_table(("by", "what", "record"), [[a["name"] or "?", a["summary"], a["record"]] for a in answers])
    if more:
        click.echo(f"more than {options['limit']}: see --limit", err=True)


def _about(store: Store, id: Link, names: HeldNames) -> dict[str, Any]:
    from tslg.protocol.cid import to_text
    from tslg.protocol.opening import disclosed

    entry = store.get(id)
    if entry is None:
        return {"record": to_text(id), "held": False, "kind": None, "agent": None, "name": None, "summary": "not held"}
    record = disclosed(id, entry)
    return {
        "record": to_text(id),
        "held": True,
        "kind": record.kind,
        "agent": to_text(record.owner),
        "name": who(record.owner, names),
        "summary": what(record, names),
    }
