"""What commands do with others' verifications: rely on them, deepen them, publish one's own, and sum them up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from tslg.node.cli.access import HeldNames, brief, data_option, find_log, find_record, read_home, whole_id
from tslg.node.cli.describing import who
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.composing import Relying
    from tslg.node.home import Home
    from tslg.node.store.interface import Store
    from tslg.protocol.codec import Link
    from tslg.protocol.composing import Find
    from tslg.protocol.record import Record
    from tslg.protocol.report import Report

C = TypeVar("C", bound=Callable[..., Any])

record_option = click.option(
    "--record", "recorder", metavar="AGENT", help="Publish the report as a verification of this agent, by name."
)


def composing_options(command: C) -> C:
    """Add the options that build on others' verifications."""
    for option in (
        record_option,
        click.option("--deepen", metavar="ID", help="Hold this verification of the same record to what is found."),
        click.option("--trust", "trusted", metavar="AGENT", multiple=True, help="… by this agent; repeat."),
        click.option(
            "--rely", "relied", metavar="ID", multiple=True, help="Do not walk behind what this verification covers, …"
        ),
    ):
        command = option(command)
    return command


class Earlier(NamedTuple):
    """Others' verifications that a walk builds on: those relied on, and one to be held to what is found."""

    relying: Relying
    deepened: Record | None
    behind: Mapping[Link, Record]
    """What the deepened one relied on, by id."""


def earlier(store: Store | None, options: Mapping[str, Any], walk: Callable[[Link], Report]) -> Earlier:
    """Verify the verifications that are named, by whole ids where there is no store. Raises UsageError, CidError."""
    from tslg.node.composing import Relying
    from tslg.protocol.errors import CidError

    def named(text: str) -> Link:
        return whole_id(text) if store is None else find_record(store, text)

    def agent(text: str) -> Link:
        try:
            return whole_id(text)
        except CidError:
            if store is None:
                raise
            return find_log(store, text)

    relying = Relying([agent(text) for text in options["trusted"]])
    for text in options["relied"]:
        relying.add(named(text), walk)
    if options["deepen"] is None:
        return Earlier(relying, None, {})
    unbiased = Relying(None)
    return Earlier(relying, unbiased.add(named(options["deepen"]), walk), unbiased.records)


def publish(home: Home, name: str, report: Report, deepened: Record | None = None, against: bool = False) -> Record:
    """Record the report as a verification by the agent of this name, which cites the one that it goes on from."""
    from tslg.node.adopting import note_verified
    from tslg.node.cli.recording import chosen_agent

    note_verified(home.store, report)
    agent = chosen_agent(home, name)
    if deepened is None:
        return agent.verification(report)
    # Without classes nothing can be cited as speaking against: that the verdicts differ has to say it.
    against = against and home.manifest.envelope.edges == "typed"
    return agent.verification(report, counters=deepened) if against else agent.verification(report, evidence=deepened)


def concluded(report: Report, before: Earlier, find: Find) -> tuple[Report, dict[str, Any], bool]:
    """Hold the earlier verification to the report; return the report, what is told of it, and whether it is refuted."""
    from tslg.node.composing import contradicts, hold_to
    from tslg.protocol.cid import to_text

    if before.deepened is None:
        return report, {}, False
    earlier_one = before.deepened
    judged, fits = hold_to(report, earlier_one, find, before.behind)
    against = contradicts(report, earlier_one, fits)
    told = {
        "record": to_text(earlier_one.id),
        "agent": to_text(earlier_one.owner),
        "depth": earlier_one.body["depth"],
        "edges": earlier_one.body["edges"],
        "verdict": earlier_one.body["verdict"],
        "confirmed": not against and not fits.missing,
    }
    return judged, {"deepened": told}, against


@click.command("verified")
@click.argument("id", metavar="ID")
@click.option("--trust", "trusted", metavar="AGENT", multiple=True, help="Only what these agents verified; repeat.")
@data_option
@json_option
def verified(id: str, trusted: Iterable[str], data: Path | None, as_json: bool) -> None:
    """Sum up how deep ID has been verified in total, and by whom, from the verifications held here."""
    from tslg.node import composing
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        names = HeldNames(home.store)
        chosen = [find_log(home.store, text) for text in trusted]
        sum_ = composing.verified(home.store, find_record(home.store, id), chosen or None)
        parts = [
            {
                "record": to_text(part.record.id),
                "agent": to_text(part.record.owner),
                "name": who(part.record.owner, names),
                "target": to_text(part.record.body["target"]),
                "verdict": part.record.body["verdict"],
                "depth": part.record.body["depth"],
                "edges": part.record.body["edges"],
                "frontier": [to_text(entry["record"]) for entry in part.record.body["frontier"]],
                "relied": [to_text(one) for one in part.record.body.get("relied", ())],
                "faults": list(part.fit.faults),
                "disputed_by": [to_text(one) for one in part.disputed_by],
                "counts": part.counts,
                "adds": part.covers,
            }
            for part in sum_.parts
        ]
        by = [{"agent": to_text(agent), "name": who(agent, names)} for agent in sum_.agents]
    told = {
        "record": to_text(sum_.target),
        "depth": sum_.depth,
        "edges": sum_.edges,
        "known": sum_.known,
        "whole": sum_.whole,
        "unread": sum_.unread,
        "by": by,
        "verifications": parts,
    }
    if as_json:
        emit(told, True, "")
        return
    _print(told, parts, sum_.target)


def _print(told: Mapping[str, Any], parts: list[dict[str, Any]], target: Link) -> None:
    from tslg.node.cli.terminal import print_table
    from tslg.protocol.cid import from_text, to_text

    by = ", ".join(one["name"] for one in told["by"]) or "nobody"
    extent = "all" if told["whole"] else f"the first {told['depth']}"
    click.echo(f"{extent} of {told['known']} edges verified, by {by}")
    if told["unread"]:
        click.echo(f"{told['unread']} more were not looked at: their walks are too long; name agents with --trust")
    if not parts:
        return
    rows = []
    for one in parts:
        about = "it" if one["target"] == to_text(target) else brief(from_text(one["target"]))
        doubt = "; ".join(one["faults"]) or ("disputed" if one["disputed_by"] else "")
        depth = "all" if one["depth"] is None else one["depth"]
        rows.append([one["name"], about, one["verdict"], depth, one["edges"], one["adds"], doubt, one["record"]])
    print_table(("by", "of", "verdict", "depth", "edges", "adds", "but", "verification"), rows)
