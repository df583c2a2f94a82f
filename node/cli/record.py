"""`tslg record`: record what an agent does, from a shell. Each command appends one record and prints its id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from tslg.node.cli.access import FILE, data_option, find_log, find_record, write_home
from tslg.node.cli.given import given_amounts, given_map, given_moment
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.agent import BlockingAgent
    from tslg.node.home import Home
    from tslg.protocol.codec import Link
    from tslg.protocol.record import Record

C = TypeVar("C", bound=Callable[..., Any])


class Author(NamedTuple):
    """Who records, and where."""

    home: Home
    agent: BlockingAgent

    def ids(self, texts: Iterable[str]) -> list[Link] | None:
        """Return the records that are cited, by id or its beginning; None for none."""
        return [find_record(self.home.store, text) for text in texts] or None


def _common(command: C) -> C:
    command = json_option(command)
    command = click.option("--agent", "author", help="The agent that records, by name.  [the only one here]")(command)
    return data_option(command)


def _cites(*names: str) -> Callable[[C], C]:
    """Add options for the records cited under these classes."""

    def add(command: C) -> C:
        for name in reversed(names):
            command = click.option(f"--{name}", multiple=True, metavar="ID", help=f"Cite as {name}; repeat.")(command)
        return command

    return add


def _scope(command: C) -> C:
    """Add what a record claims of its policies."""
    for option in (
        click.option("--principal", metavar="AGENT", help="For whom it is done, if not for oneself."),
        click.option("--tier", help="The capability tier claimed."),
        click.option("--class", "class_", help="The governance class claimed."),
        click.option("--spends", multiple=True, metavar="NAME=NUMBER", help="An amount spent; repeat."),
        click.option("--uses", multiple=True, metavar="CAPABILITY", help="A capability used; repeat."),
    ):
        command = option(command)
    return command


@click.group()
def record() -> None:
    """Append one record to an agent's log.

    Maps are given as KEY=TEXT, or KEY:=JSON for numbers, lists and maps. Ids may be shortened.
    """


@record.command()
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--name", help="A name for the state.")
@click.option("--data-json", metavar="JSON", help="The state as a JSON map.")
@_cites("policy", "evidence", "delegation")
@_scope
@_common
def state(pairs: tuple[str, ...], name: str | None, data_json: str | None, **options: Any) -> None:
    """Record the state that the agent is in from here on."""
    if options.pop("principal") is not None:
        raise click.UsageError("a state is nobody else's: --principal is for actions and decisions")
    with _author(options) as author:
        _done(author.agent.state(given_map(pairs, data_json), name=name, **_claims(author, options)), options)


@record.command()
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--input-json", metavar="JSON", help="The input as a JSON map.")
@click.option("--output-json", metavar="JSON", help="The output as a JSON map.")
@_cites("policy", "evidence", "delegation")
@_scope
@_common
def act(name: str, pairs: tuple[str, ...], input_json: str | None, output_json: str | None, **options: Any) -> None:
    """Record the action NAME; the pairs are its input."""
    given = given_map(pairs, input_json) or None
    output = None if output_json is None else given_map((), output_json)
    with _author(options) as author:
        _done(author.agent.act(name, given, output, **_claims(author, options)), options)


@record.command()
@click.argument("name")
@click.argument("outcome")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--reason", help="Why.")
@click.option("--data-json", metavar="JSON", help="Further data as a JSON map.")
@_cites("policy", "evidence", "delegation")
@_scope
@_common
def decide(
    name: str, outcome: str, pairs: tuple[str, ...], reason: str | None, data_json: str | None, **options: Any
) -> None:
    """Record the decision NAME and its OUTCOME, on --evidence."""
    data = given_map(pairs, data_json) or None
    with _author(options) as author:
        made = author.agent.decide(name, outcome, reason=reason, data=data, **_claims(author, options))
        _done(made, options)


@record.command()
@click.argument("source")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data-json", metavar="JSON", help="What was perceived, as a JSON map.")
@click.option("--content", type=FILE, help="A file that was perceived; it goes into the blob store.")
@click.option("--media-type", default="application/octet-stream", show_default=True, help="Its media type.")
@_cites("evidence", "delegation")
@_common
def observe(
    source: str, pairs: tuple[str, ...], data_json: str | None, content: Path | None, media_type: str, **options: Any
) -> None:
    """Record something perceived from SOURCE."""
    data = given_map(pairs, data_json) or None
    payload = None if content is None else content.read_bytes()
    with _author(options) as author:
        made = author.agent.observe(
            source,
            data,
            content=payload,
            media_type=media_type,
            evidence=author.ids(options["evidence"]),
            delegation=author.ids(options["delegation"]),
        )
        _done(made, options)


@record.command()
@click.argument("name")
@click.option("--capability", multiple=True, help="What it allows; repeat.")
@click.option("--limit", multiple=True, metavar="NAME=NUMBER", help="The most that may be spent; repeat.")
@click.option("--class", "classes", multiple=True, help="A governance class that may be claimed; repeat.")
@click.option("--tier", "tiers", multiple=True, help="A tier that may be claimed; repeat.")
@click.option("--not-before", metavar="MOMENT", help="From when it holds: 2030-01-31T12:00:00Z, 7d, or ms.")
@click.option("--not-after", metavar="MOMENT", help="Until when it holds.")
@_cites("under", "delegation")
@click.option("--adopt", is_flag=True, help="Act under it from here on, where no other policy is named.")
@_common
def policy(name: str, not_before: str | None, not_after: str | None, adopt: bool, **options: Any) -> None:
    """Record the policy NAME, to act under, to narrow, or to grant."""
    from tslg.node.home import wall_clock

    window = [None if text is None else given_moment(text, wall_clock()) for text in (not_before, not_after)]
    with _author(options) as author:
        made = author.agent.policy(
            name,
            capabilities=options["capability"],
            limits=given_amounts(options["limit"]),
            classes=options["classes"],
            tiers=options["tiers"],
            not_before=window[0],
            not_after=window[1],
            under=author.ids(options["under"]),
            delegation=author.ids(options["delegation"]),
        )
        if adopt:
            author.agent.adopt(made)
        _done(made, options)


@record.command()
@click.argument("to", metavar="AGENT")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--task-json", metavar="JSON", help="The task as a JSON map.")
@click.option("--grant", required=True, metavar="ID", help="The policy under which it may be done.")
@click.option("--expires", default="1d", show_default=True, metavar="MOMENT", help="Until when.")
@click.option("--hops", default=0, show_default=True, type=click.IntRange(0), help="How often it may be passed on.")
@_cites("evidence", "delegation")
@_common
def delegate(to: str, pairs: tuple[str, ...], task_json: str | None, **options: Any) -> None:
    """Record that a task is handed to AGENT, an id. `tslg delegate` also sends it there."""
    from tslg.node.home import wall_clock

    task = given_map(pairs, task_json)
    expires = given_moment(options["expires"], wall_clock())
    with _author(options) as author:
        made = author.agent.delegate(
            agent_id(author.home, to),
            task,
            find_record(author.home.store, options["grant"]),
            expires=expires,
            hops=options["hops"],
            evidence=author.ids(options["evidence"]),
            delegation=author.ids(options["delegation"]),
        )
        _done(made, options)


def agent_id(home: Home, text: str) -> Link:
    """Return the id of an agent: whole, of which nothing need be held, or by name or beginning of one that is."""
    from tslg.protocol.cid import from_text
    from tslg.protocol.errors import CidError

    try:
        return from_text(text)
    except CidError:
        return find_log(home.store, text)


def chosen_agent(home: Home, name: str | None) -> BlockingAgent:
    """Return the agent of this name, or the only one there is.

    Raises:
        UsageError: there is none, or several and none is named.
    """
    from tslg.protocol.errors import UsageError

    names = ", ".join(agent.name for agent in home.agents)
    found = [agent for agent in home.agents if name is None or agent.name == name]
    if len(found) == 1:
        return found[0]
    if not home.agents:
        raise UsageError(f"no agents in {home.path}", mend="make one with `tslg agent new NAME`")
    if name is None:
        raise UsageError(f"several agents are here: {names}", code="TSLG-U-AMBIGUOUS", mend="name one with --agent")
    raise UsageError(f"no agent {name[:80]!r} here", code="TSLG-U-UNKNOWN", mend=f"there are {names}")


@contextmanager
def _author(options: Mapping[str, Any]) -> Iterator[Author]:
    with write_home(options["data"]) as home:
        yield Author(home, chosen_agent(home, options["author"]))


def _claims(author: Author, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record cites and claims, as arguments of the agent's methods."""
    claims: dict[str, Any] = {name: author.ids(options[name]) for name in ("policy", "evidence", "delegation")}
    if options["uses"]:
        claims["uses"] = options["uses"]
    if options["spends"]:
        claims["spends"] = given_amounts(options["spends"])
    for name in ("class_", "tier"):
        if options[name] is not None:
            claims[name] = options[name]
    if options.get("principal") is not None:
        claims["principal"] = agent_id(author.home, options["principal"])
    return claims


def _done(made: Record, options: Mapping[str, Any]) -> None:
    from tslg.protocol.cid import to_text

    id = to_text(made.id)
    emit({"record": id, "kind": made.kind, "agent": to_text(made.owner), "seq": made.seq}, options["as_json"], id)
