"""`tslg query rejections`, `refinements` and `led-to`: governed steps, read back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tslg.node.cli.access import HeldNames, brief, data_option, find_log, find_record, read_home
from tslg.node.cli.describing import plain, what, who
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tslg.node.cli.terminal import Counter
    from tslg.node.governing.leading import Led
    from tslg.node.governing.refinements import PolicyUse, Refusing
    from tslg.node.governing.reports import Group, Window
    from tslg.node.home import Home
    from tslg.protocol.codec import Link

C = TypeVar("C", bound=Callable[..., Any])

_DIMENSIONS = ("stage", "rule", "policy", "intent", "agent", "model", "hour", "day")
"""`reports.DIMENSIONS`, which `--help` need not import."""
_SHOWN = 6
"""Things of a kind that people are shown."""
_READ = 16 << 20
"""Bytes of a file that is also read as text and JSON."""


def _window_options(command: C) -> C:
    """Add what every question about steps is given."""
    for option in (
        json_option,
        data_option,
        click.option("--until", metavar="WHEN", help="Only before then.  [now]"),
        click.option("--since", metavar="WHEN", help="Only from then on: 12h or 7d ago, or an ISO 8601 time.  [ever]"),
        click.option("--policy", metavar="ID", help="Only under this policy."),
        click.option("--agent", "agents", multiple=True, metavar="NAME|ID", help="Only of this agent; repeat."),
    ):
        command = option(command)
    return command


@click.command()
@_window_options
@click.option(
    "--by",
    type=click.Choice(_DIMENSIONS),
    multiple=True,
    help="Count by this; repeat for all combinations.  [stage and rule]",
)
@click.option("--intent", help="Only of this intent.")
@click.option("--stage", help="Only at this stage.")
@click.option("--rule", help="Only by this rule.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many groups.")
def rejections(**options: Any) -> None:
    """Count the steps that were refused: by stage and rule, or by whatever --by says."""
    from tslg.node.cli.terminal import print_table
    from tslg.node.governing import reports

    by = options["by"] or ("stage", "rule")
    with read_home(options["data"]) as home, _counting() as tick:
        told = reports.rejections(home.store, by, _window(home, options), tick)
        names = HeldNames(home.store)
        groups = told.groups[: options["limit"]]
        rows = [_group_row(one, names) for one in groups]
    more = len(told.groups) > len(groups)
    if options["as_json"]:
        shown = [_group(one, by, told.total) for one in groups]
        emit({"rejections": told.total, "by": list(by), "groups": shown, "more": more}, True, "")
        return
    print_table((*by, "count", "newest", "why"), rows)
    if more:
        click.echo(f"more than {options['limit']}: see --limit", err=True)


def _group(one: Group, by: Sequence[str], total: int) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    assert one.newest is not None
    values = (to_text(value) if isinstance(value, bytes) else value for value in one.key)
    return {
        **dict(zip(by, values, strict=True)),
        "count": one.count,
        "share": round(one.count / total, 6),
        "newest": to_text(one.newest.id),
        "time": one.newest.time,
        "reason": one.reason,
    }


def _group_row(one: Group, names: HeldNames) -> list[object]:
    assert one.newest is not None
    key = [_said(value, names) for value in one.key]
    return [*key, one.count, brief(one.newest.id), one.reason]


def _said(value: str | Link, names: HeldNames) -> str:
    if not isinstance(value, bytes):
        return str(value)
    name = names.get(value)
    return brief(value) if name is None else name


@click.command()
@_window_options
def refinements(**options: Any) -> None:
    """Say what rejections tell of each policy: what refuses most, what never does, near misses, retries, gaps."""
    from tslg.node.governing.refinements import refinements as mined

    with read_home(options["data"]) as home, _counting() as tick:
        uses = mined(home.store, _window(home, options), tick)
        names = HeldNames(home.store)
        owners = [None if use.policy is None else who(use.policy.owner, names) for use in uses]
    if options["as_json"]:
        emit({"policies": [_use(use) for use in uses]}, True, "")
        return
    if not uses:
        click.echo("no governed steps")
    for use, owner in zip(uses, owners, strict=True):
        _tell_use(use, owner)


def _use(use: PolicyUse) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    admitted = use.steps["inference"] + use.steps["composite"]
    return {
        "policy": to_text(use.id),
        "name": None if use.policy is None else use.policy.body["name"],
        "document": use.document is not None,
        "steps": {"admitted": admitted, "rejected": use.steps["rejection"], "decomposed": use.steps["decomposition"]},
        "refusing": [_refusing(one) for one in use.refusing],
        "never_fired": use.never_fired,
        "unused": {
            "intents": use.unused_intents,
            "classes": use.unused_classes,
            "capabilities": use.unused_capabilities,
        },
        "gaps": dict(use.gaps.most_common()),
        "near_misses": [
            {"record": to_text(one.rejection.id), "reason": one.rejection.body.get("reason"), "alone": one.alone}
            for one in use.near_misses
        ],
        "retries": [{"rejection": to_text(one.rejection), "admitted": to_text(one.admitted)} for one in use.retries],
    }


def _refusing(one: Refusing) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    assert one.newest is not None
    return {
        "stage": one.stage,
        "rule": one.rule,
        "count": one.count,
        "retried": one.retried,
        "alone": one.alone,
        "alone_unknown": one.unknown,
        "newest": to_text(one.newest.id),
    }


def _tell_use(use: PolicyUse, owner: str | None) -> None:
    from tslg.node.cli.terminal import print_table

    name = "not held here" if use.policy is None else use.policy.body["name"]
    admitted, rejected = use.steps["inference"] + use.steps["composite"], use.steps["rejection"]
    broken = use.steps["decomposition"]
    click.echo(f"policy {plain(name)} of {owner or '?'}  {brief(use.id)}")
    click.echo(f"  {admitted} admitted, {rejected} rejected, {broken} decomposed")
    if use.document is None:
        click.echo("  its document is not at hand: rules and intents that never fire are not known")
    if use.refusing:
        columns = ("stage", "rule", "refused", "retried", "for this alone")
        rows = [[one.stage, one.rule, one.count, one.retried, _alone(one)] for one in use.refusing]
        print_table(columns, rows)
    for label, found in (
        ("rules that refused nothing", use.never_fired),
        ("intents that nothing asked for", use.unused_intents),
        ("classes that no step was given", use.unused_classes),
        ("capabilities that no admitted step used", use.unused_capabilities),
        ("intents that it does not name", [f"{intent} ({count})" for intent, count in use.gaps.most_common()]),
        ("near misses", [brief(one.rejection.id) for one in use.near_misses]),
        ("admitted when tried again", [brief(one.rejection) for one in use.retries]),
    ):
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            click.echo(f"  {label}: {plain(', '.join(found[:_SHOWN]), 400)}{more}")


def _alone(one: Refusing) -> str:
    return f"{one.alone}" + (f" to {one.alone + one.unknown}" if one.unknown else "")


@click.command(name="led-to")
@click.argument("output", metavar="ID|FILE|DIGEST")
@click.option("--class", "classes", multiple=True, help="Only over edges of this class; repeat.")
@click.option("--all", "everything", is_flag=True, help="List every record on the way, not steps alone.")
@click.option("--limit", type=click.IntRange(1), default=1_000, show_default=True, help="At most so many.")
@data_option
@json_option
def led_to(output: str, **options: Any) -> int:
    """List the steps that led to an output, nearest first, each with a way to it.

    The output is a record's id, a file with its content, or the content's SHA-256 in hex. Exit code 2 if no record here
    names that content, or if something on the way is not held.
    """
    from tslg.node.cli.query import checked_classes
    from tslg.node.cli.terminal import print_table
    from tslg.node.governing import leading
    from tslg.node.governing.reports import STEPS
    from tslg.protocol.cid import to_text
    from tslg.protocol.kinds import KINDS

    classes = checked_classes(options["classes"]) or leading.CLASSES
    kinds = KINDS.keys() if options["everything"] else STEPS
    with read_home(options["data"]) as home:
        roots = _roots(home, output)
        told = leading.led_to(home.store, roots, classes=classes, kinds=kinds, limit=options["limit"])
        names = HeldNames(home.store)
        steps = [_led(one, names) for one in told.steps]
    if options["as_json"]:
        answer: Mapping[str, Any] = {
            "roots": [to_text(id) for id in told.roots],
            "steps": steps,
            "missing": [to_text(id) for id in told.missing],
            "records": told.records,
            "more": told.more,
        }
        emit(answer, True, "")
    else:
        rows = [[one["depth"], one["name"] or "?", one["summary"], one["record"], _way(one["path"])] for one in steps]
        print_table(("depth", "by", "what", "record", "way"), rows)
        for id in told.missing:
            click.echo(f"not held here: {to_text(id)}", err=True)
        if not told.roots:
            click.echo("no record here names that content as what came of it", err=True)
        if told.more:
            click.echo(f"more than {options['limit']}: see --limit", err=True)
    return 2 if told.missing or not told.roots else 0


def _roots(home: Home, output: str) -> list[Link]:
    """Return the records of an output: the one that is named, or those that name a content."""
    from tslg.node.governing import leading

    if re.fullmatch(r"[0-9a-f]{64}", output):
        return leading.made_by(home.store, bytes.fromhex(output))
    path = Path(output)
    if len(output) < 256 and path.is_file():
        found = [id for digest in _digests(path) for id in leading.made_by(home.store, digest)]
        return list(dict.fromkeys(found))
    return [find_record(home.store, output)]


def _digests(path: Path) -> list[bytes]:
    """Return the digests of a file: of its bytes, of its text without the line's end, and of its JSON, if it is any."""
    import hashlib
    import json

    from tslg.node.governing.content import digest
    from tslg.protocol.errors import UsageError

    with path.open("rb") as file:
        found = [hashlib.file_digest(file, "sha256").digest()]
        file.seek(0)
        data = file.read(_READ + 1)
    if len(data) > _READ:
        return found
    found.append(hashlib.sha256(data.removesuffix(b"\n")).digest())
    try:
        found.append(digest(json.loads(data)))
    except (ValueError, RecursionError, UsageError):
        return found
    return found


def _led(one: Led, names: HeldNames) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    record = one.record
    return {
        "record": to_text(record.id),
        "kind": record.kind,
        "agent": to_text(record.owner),
        "name": names.get(record.owner),
        "time": record.time,
        "summary": _summary(record, names),
        "depth": len(one.path),
        "path": [{"class": hop.name, "cid": to_text(hop.record)} for hop in one.path],
    }


def _summary(record: Any, names: HeldNames) -> str:
    body = record.body
    if "model" not in body:
        return what(record, names)
    why = f": {body['stage']}" if "stage" in body else ""
    return f"{record.kind} {body.get('intent', '')} by {body['model']} {body.get('model_version', '')}{why}".strip()


def _way(path: Sequence[Mapping[str, str]]) -> str:
    return " > ".join(hop["class"] for hop in path)


def _window(home: Home, options: Mapping[str, Any]) -> Window:
    from tslg.node.governing.reports import Window

    return Window(
        owners=tuple(find_log(home.store, name) for name in options["agents"]),
        since=_moment(options["since"], home.clock()),
        until=_moment(options["until"], home.clock()),
        intent=options.get("intent"),
        stage=options.get("stage"),
        rule=options.get("rule"),
        policy=None if options["policy"] is None else find_record(home.store, options["policy"]),
    )


def _moment(text: str | None, now_ms: int) -> int | None:
    """Return a moment of the past: a length of time ago, or the time itself. Raises UsageError."""
    from tslg.node.cli.given import given_moment, given_span

    if text is None:
        return None
    return now_ms - given_span(text) if re.fullmatch(r"[0-9]{1,9}[smhd]", text) else given_moment(text, now_ms)


@contextmanager
def _counting() -> Iterator[Counter | None]:
    from tslg.node.cli.terminal import counting

    with counting("read") as tick:
        yield tick
