"""`tslg peers`: what a node knows of others, and what its operator says about them; also while the node runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import SHORT, data_dir, data_option, read_home
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.finding.book import Known
    from tslg.node.finding.listed import Listed


@click.group(invoke_without_command=True)
@data_option
@json_option
@click.pass_context
def peers(context: click.Context, data: Path | None, as_json: bool) -> None:
    """List the peers that a node knows: where they are, whose agents they have, how they answered.

    What add, forget, block and unblock say stands in peers.toml in the data directory, and reaches a node that runs
    within a few seconds.
    """
    if context.invoked_subcommand is None:
        _list(data, as_json)


@peers.command()
@click.argument("address", metavar="ADDRESS")
@data_option
@json_option
def add(address: str, data: Path | None, as_json: bool) -> None:
    """Keep in contact with the peer at ADDRESS, which ends in /p2p/<id>."""
    from tslg.node.net.libp2p.dialer import parse_address
    from tslg.protocol.errors import UsageError

    if parse_address(address)[1] is None:
        raise UsageError("that is a peer's id without an address", mend="use /ip4/<address>/tcp/<port>/p2p/<peer id>")
    _change(data, as_json, lambda listed: listed.adding(address))


@peers.command()
@click.argument("peer", metavar="PEER")
@data_option
@json_option
def forget(peer: str, data: Path | None, as_json: bool) -> None:
    """Do not keep in contact with PEER, an id or an address, any more."""
    _change(data, as_json, lambda listed: listed.forgetting(_checked(peer)))


@peers.command()
@click.argument("peer", metavar="PEER")
@data_option
@json_option
def block(peer: str, data: Path | None, as_json: bool) -> None:
    """Have nothing to do with PEER, an id or an address."""
    _change(data, as_json, lambda listed: listed.blocking(_checked(peer)))


@peers.command()
@click.argument("peer", metavar="PEER")
@data_option
@json_option
def unblock(peer: str, data: Path | None, as_json: bool) -> None:
    """Have to do with PEER, an id or an address, again."""
    _change(data, as_json, lambda listed: listed.unblocking(_checked(peer)))


def _folder(data: Path | None) -> Path | None:
    """Return the data directory, which may also be named before the subcommand."""
    parent = click.get_current_context().parent
    return data if data is not None or parent is None else parent.params.get("data")


def _checked(peer: str) -> str:
    """Return the id of a peer. Raises AddressError."""
    from tslg.node.net.libp2p.dialer import parse_peer

    return str(parse_peer(peer))


def _change(data: Path | None, as_json: bool, change: Callable[[Listed], Listed]) -> None:
    from tslg.node.cli.files import write_replacing
    from tslg.node.finding import listed

    folder = data_dir(_folder(data))
    with read_home(folder):
        before = listed.read(folder)
        after = change(before)
        if after != before:
            write_replacing(folder / listed.FILE, listed.to_text(after).encode())
    text = f"{len(after.known)} named, {len(after.blocked)} blocked" + ("" if after != before else "; as before")
    emit({"known": list(after.known), "blocked": list(after.blocked)}, as_json, text)


def _list(data: Path | None, as_json: bool) -> None:
    from tslg.node.cli.terminal import print_table
    from tslg.node.finding import listed
    from tslg.node.finding.book import Source
    from tslg.node.finding.finder import read_book
    from tslg.node.home import wall_clock

    with read_home(data) as home:
        book, said, now = read_book(home.store), listed.read(home.path), wall_clock()
    for address in said.known:
        book.hear(address, Source.STATIC, now)
    rows = [_row(one, said, now) for one in book]
    rows += [_blocked(peer) for peer in said.blocked if book.get(peer) is None]
    if as_json:
        emit({"peers": rows}, True, "")
    elif not rows:
        emit(None, False, "no peers are known yet")
    else:
        print_table(("peer", "address", "from", "agents", "score", "reached", ""), [_cells(row, now) for row in rows])


def _row(one: Known, said: Listed, now: int) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    return {
        "peer": one.peer,
        "addresses": [{"address": address, "from": str(source)} for address, source in one.addresses.items()],
        "agents": [to_text(agent) for agent in one.agents],
        "score": one.score,
        "reached_ms": one.reached_ms,
        "failed": one.failed,
        "blocked": one.peer in said.blocked,
        "shunned_until_ms": one.shunned_until if one.shunned_until > now else None,
        "why": one.why if one.shunned_until > now else None,
    }


def _blocked(peer: str) -> dict[str, Any]:
    empty: dict[str, Any] = {"peer": peer, "addresses": [], "agents": [], "score": 0, "reached_ms": None, "failed": 0}
    return empty | {"blocked": True, "shunned_until_ms": None, "why": None}


def _cells(row: dict[str, Any], now: int) -> tuple[object, ...]:
    first = row["addresses"][0] if row["addresses"] else {"address": "", "from": ""}
    agents = " ".join(agent[:SHORT] for agent in row["agents"][:2]) + (" …" if len(row["agents"]) > 2 else "")
    reached = "never" if row["reached_ms"] is None else f"{max(0, now - row['reached_ms']) // 60_000} min ago"
    state = "blocked" if row["blocked"] else "" if row["why"] is None else f"shunned: {row['why'][:60]}"
    place = first["address"].partition("/p2p/")[0]
    return row["peer"], place, first["from"], agents, row["score"], reached, state
