"""`tslg record correct|amend|retract|propose|vote|conclude`: commands that are all built from one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from tslg.node.cli.access import find_record
from tslg.node.cli.given import given_map
from tslg.node.cli.recording import WEIGHED, Author, agent_id, author_of, cites, common, done

if TYPE_CHECKING:
    from tslg.protocol.codec import Link
    from tslg.protocol.record import Record

Given = dict[str, Any]


class Statement(NamedTuple):
    """One command: its name and help, its parameters, the classes that it may cite, and the call that it makes."""

    name: str
    help: str
    parameters: tuple[Callable[..., Any], ...]
    cites: tuple[str, ...]
    call: Callable[[Author, Given, Given], Record]


def _id(author: Author, text: str) -> Link:
    return find_record(author.home.store, text)


def _map(given: Given) -> dict[str, Any]:
    return given_map(given["pairs"], given["data_json"])


def _electors(author: Author, given: Given) -> list[Link] | None:
    return [agent_id(author.home, text) for text in given["elector"]] or None


_ID: Final = click.argument("target", metavar="ID")
_PAIRS: Final = (
    click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]..."),
    click.option("--data-json", metavar="JSON", help="The same as a JSON map."),
)
_WHY: Final = click.option("--reason", required=True, help="Why.")
_ELECTOR: Final = click.option("--elector", multiple=True, metavar="AGENT", help="Who may vote; repeat.")
_STATED: Final = ("policy", "evidence", "delegation", *WEIGHED)

TABLE: Final = (
    Statement(
        "correct",
        "Put right what the record ID states as fact; the pairs say what holds instead.",
        (_ID, *_PAIRS, _WHY),
        _STATED,
        lambda by, given, cited: by.agent.correct(
            _id(by, given["target"]), _map(given), reason=given["reason"], **cited
        ),
    ),
    Statement(
        "amend",
        "Supersede the record ID, which stays as it is, by what the pairs say.",
        (_ID, *_PAIRS, _WHY),
        _STATED,
        lambda by, given, cited: by.agent.amend(_id(by, given["target"]), _map(given), reason=given["reason"], **cited),
    ),
    Statement(
        "retract",
        "Withdraw the record ID. A policy or delegation that is withdrawn authorises nothing from here on.",
        (_ID, _WHY),
        _STATED,
        lambda by, given, cited: by.agent.retract(_id(by, given["target"]), reason=given["reason"], **cited),
    ),
    Statement(
        "propose",
        "Propose NAME, the pairs, for the --elector agents to vote on.",
        (
            click.argument("name"),
            *_PAIRS,
            _ELECTOR,
            click.option("--threshold", required=True, type=click.IntRange(1), help="How many must be for it."),
        ),
        ("policy", "evidence", "delegation"),
        lambda by, given, cited: by.agent.propose(
            given["name"], _map(given), electorate=_electors(by, given) or [], threshold=given["threshold"], **cited
        ),
    ),
    Statement(
        "vote",
        "Vote on the proposal ID.",
        (
            _ID,
            click.argument("outcome", type=click.Choice(["for", "against", "abstain"])),
            click.option("--reason", help="Why."),
        ),
        ("policy", "delegation"),
        lambda by, given, cited: by.agent.vote(
            _id(by, given["target"]), given["outcome"], reason=given["reason"], **cited
        ),
    ),
    Statement(
        "conclude",
        "Commit the proposal ID by the VOTES that were cast, those against it too.",
        (
            _ID,
            click.argument("votes", nargs=-1, metavar="VOTES..."),
            _ELECTOR,
            click.option("--threshold", type=click.IntRange(1), help="Where the proposal does not say it."),
        ),
        ("policy",),
        lambda by, given, cited: by.agent.conclude(
            _id(by, given["target"]),
            [_id(by, vote) for vote in given["votes"]],
            electorate=_electors(by, given),
            threshold=given["threshold"],
            **cited,
        ),
    ),
)
"""The commands, in the order in which people need them."""


def _command(one: Statement) -> click.Command:
    def run(**given: Any) -> None:
        with author_of(given) as author:
            cited = {name: author.ids(given[name]) for name in one.cites if given[name]}
            done(one.call(author, given, cited), given)

    wrapped: Callable[..., Any] = cites(*one.cites)(common(run))
    for parameter in reversed(one.parameters):
        wrapped = parameter(wrapped)
    return click.command(one.name, help=one.help)(wrapped)


STATEMENTS: Final = tuple(map(_command, TABLE))
