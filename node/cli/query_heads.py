"""`tslg query heads` and `forks`: what a node knows of logs beyond their records: newest heads, and two histories."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import HeldNames, data_option, find_log, read_home
from tslg.node.cli.describing import plain, who
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.heads.kept import Kept
    from tslg.node.home import Home
    from tslg.node.store.interface import Store
    from tslg.protocol.codec import Link

_POLL_SECONDS: Final = 1.0
_COLUMNS: Final = ("agent", "records", "heard", "announced by", "forked")


@click.command()
@click.argument("agent", metavar="[NAME|ID]", required=False)
@click.option("--follow", is_flag=True, help="Go on with what is heard from now on, until Ctrl-C.")
@data_option
@json_option
def heads(agent: str | None, follow: bool, data: Path | None, as_json: bool) -> None:
    """List the newest heads of logs that their agents announced, as a node with gossip heard them.

    A head says for how many records its agent signed, not that they are held here. With --follow and --json there is
    one document a line.
    """
    from tslg.node.cli.terminal import print_table

    with read_home(data) as home:
        told = list(_heads(home, agent))
    if not follow:
        if as_json:
            emit({"heads": told}, True, "")
        else:
            print_table(_COLUMNS, [_row(one) for one in told])
        return
    said: dict[str, tuple[int, bool]] = {}
    try:
        while True:
            for one in told:
                if said.get(one["agent"]) != (one["size"], one["forked"]):
                    said[one["agent"]] = one["size"], one["forked"]
                    click.echo(json.dumps(one) if as_json else _line(one))
            time.sleep(_POLL_SECONDS)
            with read_home(data) as home:
                told = list(_heads(home, agent))
    except KeyboardInterrupt:
        return


@click.command()
@click.argument("agent", metavar="[NAME|ID]", required=False)
@data_option
@json_option
def forks(agent: str | None, data: Path | None, as_json: bool) -> None:
    """List the logs of which two histories were signed: positions with two records, kept here or announced as proof.

    Where only two signed states are known, the position at which they part is not.
    """
    from tslg.node.cli.terminal import print_table

    with read_home(data) as home:
        wanted = None if agent is None else _wanted(home.store, agent)
        told = list(_forks(home.store, wanted))
    if as_json:
        emit({"forks": told}, True, "")
        return
    rows = [[one["name"] or "?", "?" if one["seq"] is None else one["seq"], _proof(one)] for one in told]
    print_table(("agent", "seq", "record"), rows)


def _heads(home: Home, agent: str | None) -> Iterator[dict[str, Any]]:
    from tslg.node.heads import kept
    from tslg.protocol.cid import to_text

    names, now_ms = HeldNames(home.store), home.clock()
    found = [
        {
            "agent": to_text(entry.agent),
            "name": names.get(entry.agent) or _name_in(entry),
            "size": newest.size,
            "root": newest.root.hex(),
            "age_ms": max(0, now_ms - newest.seen_ms),
            "peer": newest.peer,
            "via": newest.via,
            "forked": entry.fork is not None,
        }
        for entry in kept.read(home.store)
        if (newest := entry.newest) is not None
    ]
    for one in sorted(found, key=lambda one: (str(one["name"]), str(one["agent"]))):
        if agent is None or one["name"] == agent or str(one["agent"]).startswith(agent):
            yield one


def _forks(store: Store, wanted: Link | None) -> Iterator[dict[str, Any]]:
    """Yield the proofs by records that are kept, then what was announced of other logs."""
    from tslg.node.heads import kept
    from tslg.protocol.announcing import StatesNews
    from tslg.protocol.checkpoint import parse_log
    from tslg.protocol.cid import hash_name, to_text
    from tslg.protocol.record import parse

    names = HeldNames(store)
    held = store.forks(wanted)
    for fork in held:
        for id in fork.records:
            yield _fork(fork.owner, who(fork.owner, names), fork.seq, to_text(id))
    known = {fork.owner for fork in held}
    for entry, news in kept.forked(kept.read(store)):
        if entry.agent in known or (wanted is not None and entry.agent != wanted):
            continue
        name = names.get(entry.agent) or _name_in(entry)
        if isinstance(news, StatesNews):
            sizes = [parse_log(note).checkpoint.size for note in news.notes]
            yield _fork(entry.agent, name, None, None, sizes)
            continue
        for data, _ in news.records:
            record = parse(data, hash_name(entry.agent))
            yield _fork(entry.agent, name, record.seq, to_text(record.id))


def _fork(
    agent: Link, name: str | None, seq: int | None, record: str | None, sizes: list[int] | None = None
) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    return {"agent": to_text(agent), "name": name, "seq": seq, "record": record, "sizes": sizes}


def _proof(one: dict[str, Any]) -> str:
    if one["sizes"] is None:
        return str(one["record"])
    return "two signed states, of {} and {} records".format(*one["sizes"])


def _wanted(store: Store, text: str) -> Link:
    """Return the log that is named, which may be one that was only heard of. Raises UsageError."""
    from tslg.node.heads import kept
    from tslg.protocol.cid import to_text

    for entry in kept.read(store):
        if to_text(entry.agent) == text or _name_in(entry) == text:
            return entry.agent
    return find_log(store, text)


def _name_in(entry: Kept) -> str | None:
    """Return the name in a log's genesis, which the announcement told."""
    from tslg.protocol.record import parse_as

    name = parse_as(entry.agent, entry.told[0][0]).body.get("name")
    return name if isinstance(name, str) else None


def _line(one: dict[str, Any]) -> str:
    return "  ".join(plain(str(cell)) for cell in _row(one)).rstrip()


def _row(one: dict[str, Any]) -> list[Any]:
    forked = "forked" if one["forked"] else ""
    return [one["name"] or "?", one["size"], f"{one['age_ms'] // 1000} s ago", one["peer"], forked]
