"""`tslg record`: record what an agent does, from a shell. Each command appends one record and prints its id."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tslg.node.cli.access import FILE, find_record
from tslg.node.cli.given import given_amounts, given_map, given_moment
from tslg.node.cli.recording import WEIGHED, agent_id, author_of, cites, claims_of, common, done
from tslg.node.cli.stating import STATEMENTS

_POLICY_CITES: Final = ("under", "amends", "delegation", "consensus", "joint")
C = TypeVar("C", bound=Callable[..., Any])


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


for statement in STATEMENTS:
    record.add_command(statement)


@record.command()
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--name", help="A name for the state.")
@click.option("--data-json", metavar="JSON", help="The state as a JSON map.")
@cites("policy", "evidence", "delegation", *WEIGHED)
@_scope
@common
def state(pairs: tuple[str, ...], name: str | None, data_json: str | None, **options: Any) -> None:
    """Record the state that the agent is in from here on."""
    if options.pop("principal") is not None:
        raise click.UsageError("a state is nobody else's: --principal is for actions and decisions")
    with author_of(options) as author:
        done(author.agent.state(given_map(pairs, data_json), name=name, **claims_of(author, options)), options)


@record.command()
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--input-json", metavar="JSON", help="The input as a JSON map.")
@click.option("--output-json", metavar="JSON", help="The output as a JSON map.")
@cites("policy", "evidence", "delegation", *WEIGHED)
@_scope
@common
def act(name: str, pairs: tuple[str, ...], input_json: str | None, output_json: str | None, **options: Any) -> None:
    """Record the action NAME; the pairs are its input."""
    given = given_map(pairs, input_json) or None
    output = None if output_json is None else given_map((), output_json)
    with author_of(options) as author:
        done(author.agent.act(name, given, output, **claims_of(author, options)), options)


@record.command()
@click.argument("name")
@click.argument("outcome")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--reason", help="Why.")
@click.option("--data-json", metavar="JSON", help="Further data as a JSON map.")
@cites("policy", "evidence", "delegation", *WEIGHED)
@_scope
@common
def decide(
    name: str, outcome: str, pairs: tuple[str, ...], reason: str | None, data_json: str | None, **options: Any
) -> None:
    """Record the decision NAME and its OUTCOME, on --evidence."""
    data = given_map(pairs, data_json) or None
    with author_of(options) as author:
        made = author.agent.decide(name, outcome, reason=reason, data=data, **claims_of(author, options))
        done(made, options)


@record.command()
@click.argument("source")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data-json", metavar="JSON", help="What was perceived, as a JSON map.")
@click.option("--content", type=FILE, help="A file that was perceived; it goes into the blob store.")
@click.option("--media-type", default="application/octet-stream", show_default=True, help="Its media type.")
@click.option("--sought", help="What was looked for and not found there.")
@cites("evidence", "delegation", "observes")
@common
def observe(
    source: str, pairs: tuple[str, ...], data_json: str | None, content: Path | None, media_type: str, **options: Any
) -> None:
    """Record something perceived from SOURCE."""
    data = given_map(pairs, data_json) or None
    payload = None if content is None else content.read_bytes()
    with author_of(options) as author:
        made = author.agent.observe(
            source,
            data,
            content=payload,
            media_type=media_type,
            sought=options["sought"],
            evidence=author.ids(options["evidence"]),
            delegation=author.ids(options["delegation"]),
            observes=author.ids(options["observes"]),
        )
        done(made, options)


@record.command()
@click.argument("name")
@click.option("--capability", multiple=True, help="What it allows; repeat.")
@click.option("--limit", multiple=True, metavar="NAME=NUMBER", help="The most that may be spent; repeat.")
@click.option("--class", "classes", multiple=True, help="A governance class that may be claimed; repeat.")
@click.option("--tier", "tiers", multiple=True, help="A tier that may be claimed; repeat.")
@click.option("--not-before", metavar="MOMENT", help="From when it holds: 2030-01-31T12:00:00Z, 7d, or ms.")
@click.option("--not-after", metavar="MOMENT", help="Until when it holds.")
@cites(*_POLICY_CITES)
@click.option("--adopt", is_flag=True, help="Act under it from here on, where no other policy is named.")
@click.option("--confidential", is_flag=True, help="Keep capabilities and limits to oneself; see `tslg opening`.")
@click.option("--vocabulary", type=FILE, help="All capabilities that are known, one a line, for a confidential policy.")
@common
def policy(name: str, not_before: str | None, not_after: str | None, adopt: bool, **options: Any) -> None:
    """Record the policy NAME, to act under, to narrow, or to grant."""
    from tslg.node.cli.given import given_lines
    from tslg.node.home import wall_clock

    window = [None if text is None else given_moment(text, wall_clock()) for text in (not_before, not_after)]
    with author_of(options) as author:
        cited: dict[str, Any] = {name: author.ids(options[name]) for name in _POLICY_CITES}
        made = author.agent.policy(
            name,
            capabilities=options["capability"],
            limits=given_amounts(options["limit"]),
            classes=options["classes"],
            tiers=options["tiers"],
            not_before=window[0],
            not_after=window[1],
            **cited,
            confidential=options["confidential"],
            vocabulary=None if options["vocabulary"] is None else given_lines(options["vocabulary"]),
        )
        if adopt:
            author.agent.adopt(made)
        done(made, options)


@record.command()
@click.argument("to", metavar="AGENT")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--task-json", metavar="JSON", help="The task as a JSON map.")
@click.option("--grant", required=True, metavar="ID", help="The policy under which it may be done.")
@click.option("--expires", default="1d", show_default=True, metavar="MOMENT", help="Until when.")
@click.option("--hops", default=0, show_default=True, type=click.IntRange(0), help="How often it may be passed on.")
@cites("evidence", "delegation", "consensus", "joint")
@common
def delegate(to: str, pairs: tuple[str, ...], task_json: str | None, **options: Any) -> None:
    """Record that a task is handed to AGENT, an id. `tslg delegate` also sends it there."""
    from tslg.node.home import wall_clock

    task = given_map(pairs, task_json)
    expires = given_moment(options["expires"], wall_clock())
    with author_of(options) as author:
        made = author.agent.delegate(
            agent_id(author.home, to),
            task,
            find_record(author.home.store, options["grant"]),
            expires=expires,
            hops=options["hops"],
            evidence=author.ids(options["evidence"]),
            delegation=author.ids(options["delegation"]),
            consensus=author.ids(options["consensus"]),
            joint=author.ids(options["joint"]),
        )
        done(made, options)


@record.command()
@click.argument("first", type=click.IntRange(0))
@click.argument("last", type=click.IntRange(0))
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@cites("part")
@common
def summary(first: int, last: int, pairs: tuple[str, ...], **options: Any) -> None:
    """Sum up the positions FIRST to LAST of the agent's log; --part cites records that represent them."""
    with author_of(options) as author:
        done(author.agent.summary(first, last, author.ids(options["part"]), data=given_map(pairs) or None), options)


@record.command()
@click.argument("accused", metavar="AGENT")
@click.option("--seq", type=click.IntRange(0), help="The position.  [the first that is known]")
@click.option("--reason", help="How it came to it, as far as you know.")
@common
def equivocation(accused: str, seq: int | None, reason: str | None, **options: Any) -> None:
    """Publish the proof, kept here, that AGENT sealed two records for one position of its log.

    Of the recording agent itself it is a confession, after which it can record again.
    """
    with author_of(options) as author:
        made = author.agent.equivocation(agent_id(author.home, accused), seq, reason=reason)
        done(made, options)
