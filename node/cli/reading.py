"""`tslg access`: who may read which records of one's own, by whose word, and under which peer one reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tslg.node.cli.access import data_option, find_log, held_record, read_home, write_home
from tslg.node.cli.output import emit, json_option
from tslg.node.cli.recording import agent_id, author_of, chosen_agent, common, done

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.protocol.access import Reader
    from tslg.protocol.access_rules import Grant, Readers
    from tslg.protocol.codec import Link

C = TypeVar("C", bound=Callable[..., Any])

STRANGER: Final = "stranger"
"""Who is bound to no agent, as a reader to ask about."""
_GROUPS: Final = ("anyone", "members", "parties")


@click.group()
def access() -> None:
    """Say who may read which records, and ask who may."""


def _about(command: C) -> C:
    """Add what a rule is about and whom it names."""
    options = (
        click.argument("records", metavar="[ID]...", nargs=-1),
        click.option(
            "--to",
            "readers",
            multiple=True,
            metavar="READER",
            help="anyone, members, parties, an agent, or the id of a peer set; repeat.",
        ),
        click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only records of this kind; repeat."),
        click.option("--from", "first", type=click.IntRange(0), help="Only from this position of the log on."),
        click.option("--through", "last", type=click.IntRange(0), help="Only up to this position of the log."),
        click.option("--field", "fields", multiple=True, metavar="NAME", help="Only this committed field; repeat."),
        click.option("--until", metavar="WHEN", help="When it ends: 12h, 7d, or an ISO 8601 time.  [never]"),
        click.option("--reason", help="Why."),
    )
    for option in reversed(options):
        command = option(command)
    return common(command)


@access.command()
@_about
def grant(**given: Any) -> None:
    """Let the readers in --to read records of an agent's log, or all of it.

    Prints the id of the access rule, which `tslg access revoke` takes back.
    """
    _record("grant", given)


@access.command()
@_about
def restrict(**given: Any) -> None:
    """Keep records of an agent's log, or all of it, from everybody but the readers in --to."""
    _record("restrict", given)


def _record(effect: str, given: Mapping[str, Any]) -> None:
    from tslg.node.cli.given import given_moment
    from tslg.protocol.errors import UsageError

    if effect == "grant" and not given["readers"]:
        raise UsageError("a grant to nobody", mend="name readers with --to")
    with author_of(given) as author:
        made = author.agent.access_rule(
            effect,
            **_readers(author.home, given["readers"]),
            records=author.ids(given["records"]),
            kinds=given["kinds"] or None,
            first=given["first"],
            last=given["last"],
            fields=given["fields"] or None,
            expires=None if given["until"] is None else given_moment(given["until"], author.home.clock()),
            reason=given["reason"],
        )
        done(made, given)


def _readers(home: Home, texts: Sequence[str]) -> dict[str, list[Any]]:
    """Sort readers by what they are: groups, peer sets that are held, and agents."""
    found: dict[str, list[Any]] = {"agents": [], "groups": [], "peers": []}
    for text in texts:
        if text in _GROUPS:
            found["groups"].append(text)
            continue
        id = agent_id(home, text)
        held = home.ledger.context.record(id)
        found["peers" if held is not None and held.kind == "peer-set" else "agents"].append(id)
    return found


@access.command()
@click.argument("rule", metavar="RULE")
@click.option("--reason", required=True, help="Why.")
@common
def revoke(rule: str, **given: Any) -> None:
    """Take the access rule RULE back, by a retraction of it."""
    from tslg.protocol.errors import UsageError

    with author_of(given) as author:
        held = held_record(author.home.store, rule)
        if held.kind != "access-rule":
            raise UsageError(f"that is no access rule but a {held.kind}", mend="`tslg access list` lists them")
        done(author.agent.retract(held.id, reason=given["reason"]), given)


@access.command()
@click.option("--peer", metavar="ID", help="The peer id.  [that of this data directory's node]")
@click.option("--address", "addresses", multiple=True, metavar="MULTIADDR", help="Where it answers; repeat.")
@common
def bind(peer: str | None, addresses: tuple[str, ...], **given: Any) -> None:
    """Bind a peer id to an agent: whoever asks under it reads what the agent may."""
    from tslg.node.binding import peer_bytes, peer_of_seed

    with write_home(given["data"]) as home:
        id = peer_of_seed(home.peer_seed()) if peer is None else peer_bytes(peer)
        done(chosen_agent(home, given["author"]).register_peer(id, addresses), given)


@access.command()
@click.argument("registration", metavar="ID")
@click.option("--reason", required=True, help="Why.")
@common
def unbind(registration: str, **given: Any) -> None:
    """End the binding that the registration ID made."""
    from tslg.protocol.errors import UsageError

    with write_home(given["data"]) as home:
        held = held_record(home.store, registration)
        if "peer_id" not in held.body:
            raise UsageError(f"that {held.kind} binds no peer", mend="`tslg access list` lists those that do")
        done(chosen_agent(home, given["author"]).revoke(held.id, given["reason"]), given)


@access.command(name="list")
@click.argument("agent", metavar="[AGENT]", required=False)
@data_option
@json_option
def list_(agent: str | None, **given: Any) -> None:
    """List what agents held here say of who may read their records, and which peers they bound."""
    from tslg.node.access import gatekeeper

    with read_home(given["data"]) as home:
        keeper, now = gatekeeper(home), home.clock()
        owners = [log.owner for log in home.store.logs()] if agent is None else [find_log(home.store, agent)]
        rules = [(owner, one, gone) for owner in owners for one, gone in keeper.rules(owner)]
        told = {
            "open": keeper.access() is None,
            "rules": [_rule(owner, one, gone, now) for owner, one, gone in rules],
            "peers": [entry for owner in owners for entry in _peers(home, owner)],
        }
    emit(told, given["as_json"], lambda: "\n".join(_lines(told)))


def _rule(owner: Link, one: Grant, retracted: bool, now: int) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    state = "retracted" if retracted else "expired" if one.expires is not None and one.expires < now else "in force"
    return {
        "rule": to_text(one.id),
        "agent": to_text(owner),
        "effect": "grant" if one.grants else "restrict",
        "readers": _names(one.readers),
        "records": None if one.records is None else sorted(map(to_text, one.records)),
        "kinds": None if one.kinds is None else sorted(one.kinds),
        "first": one.first,
        "last": one.last,
        "fields": None if one.fields is None else sorted(one.fields),
        "expires": one.expires,
        "state": state,
    }


def _names(readers: Readers) -> list[str]:
    from tslg.protocol.cid import to_text

    return [*sorted(readers.groups), *sorted(map(to_text, readers.agents | readers.peers))]


def _peers(home: Home, owner: Link) -> list[dict[str, Any]]:
    """Return the peers that an agent bound, and whether they still are."""
    from tslg.protocol.cid import to_text
    from tslg.protocol.limits import DEFAULT

    ids = home.store.by_kind("registration", owner, limit=DEFAULT.access_rules)
    held = [record for id in ids if (record := home.ledger.context.record(id)) is not None]
    ends = home.ledger.context.revocations(owner).ends
    return [
        {
            "registration": to_text(one.id),
            "agent": to_text(owner),
            "peer_id": one.body["peer_id"].hex(),
            "state": "ended" if one.id in ends or one.key in ends else "in force",
        }
        for one in sorted(held, key=lambda one: one.seq)
        if "peer_id" in one.body
    ]


def _lines(told: Mapping[str, Any]) -> list[str]:
    from tslg.node.cli.access import SHORT
    from tslg.node.cli.describing import when

    lines = ["the manifest lets anybody read everything"] if told["open"] else []
    for one in told["rules"]:
        about = [f"{name} {' '.join(one[name])}" for name in ("kinds", "fields") if one[name] is not None]
        count = 0 if one["records"] is None else len(one["records"])
        about += [f"{count} record{'s' if count != 1 else ''}"] if count else []
        about += [f"from {one['first']}"] if one["first"] is not None else []
        about += [f"through {one['last']}"] if one["last"] is not None else []
        until = "" if one["expires"] is None else f" until {when(one['expires'])}"
        readers = " ".join(one["readers"]) or "nobody"
        what = ", ".join(about) or "everything"
        lines.append(f"{one['rule'][:SHORT]}  {one['state']:<9}  {one['effect']} {what} to {readers}{until}")
    for one in told["peers"]:
        lines.append(f"{one['registration'][:SHORT]}  {one['state']:<9}  peer {one['peer_id']}")
    return lines or ["nobody says anything"]


@access.command()
@click.argument("record", metavar="ID")
@click.argument("reader", metavar="READER")
@data_option
@json_option
def explain(record: str, reader: str, **given: Any) -> int:
    """Say what READER, an agent or `stranger`, would get of the record ID from this node, and by which rule.

    Exit code: 0 the record, with all fields or some; 2 nothing.
    """
    from tslg.node.access import gatekeeper
    from tslg.protocol.cid import to_text

    with read_home(given["data"]) as home:
        held = held_record(home.store, record)
        found = gatekeeper(home).explain(reader_of(home, reader), held)
    gets = "withheld" if not found.readable else "some fields" if found.hidden else "everything"
    told = {"record": to_text(held.id), "gets": gets, "hidden": sorted(found.hidden), "why": found.why}
    hidden = f" but {', '.join(told['hidden'])}" if found.hidden else ""
    text = {"withheld": "withheld", "some fields": f"readable{hidden}", "everything": "readable"}[gets]
    emit(told, given["as_json"], f"{text}: {found.why}")
    return 0 if found.readable else 2


def reader_of(home: Home, text: str) -> Reader:
    """Return a reader that is named: an agent, or `stranger`."""
    from tslg.protocol.access import STRANGER as NOBODY
    from tslg.protocol.access import Reader

    return NOBODY if text == STRANGER else Reader(frozenset((agent_id(home, text),)))
