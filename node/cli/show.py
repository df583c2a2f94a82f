"""`tslg log` and `tslg show`: what is held here, log by log and record by record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import HeldNames, data_option, find_log, held_record, owner_name, read_home
from tslg.node.cli.describing import dag_json, plain, what, when
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.node.store.interface import Entry, Store
    from tslg.protocol.codec import Link
    from tslg.protocol.record import Record

_CHUNK = 1_000


@click.command()
@click.argument("agent", required=False, metavar="[NAME|ID]")
@click.option("--last", type=click.IntRange(1), help="Only the newest so many records.")
@data_option
@json_option
def log(agent: str | None, last: int | None, data: Path | None, as_json: bool) -> None:
    """List the logs held here, or the records of one."""
    with read_home(data) as home:
        if agent is None:
            _list_logs(home, as_json)
        else:
            _list_records(home.store, find_log(home.store, agent), last, as_json)


def _list_logs(home: Home, as_json: bool) -> None:
    from tslg.node.cli.terminal import print_table
    from tslg.protocol.cid import to_text

    found = [
        {
            "owner": to_text(log.owner),
            "name": owner_name(home.store, log.owner),
            "records": log.held,
            "newest": log.newest,
            "complete": log.complete,
        }
        for log in home.store.logs()
    ]
    if as_json:
        emit({"federation": to_text(home.federation), "logs": found}, True, "")
        return
    rows = [
        [one["name"] or "?", one["records"], one["newest"], "yes" if one["complete"] else "no", one["owner"]]
        for one in found
    ]
    print_table(("name", "records", "newest", "whole", "id"), rows)


def _list_records(store: Store, owner: Link, last: int | None, as_json: bool) -> None:
    from tslg.node.cli.terminal import print_table
    from tslg.protocol.cid import to_text

    newest = next(summary.newest for summary in store.logs() if summary.owner == owner)
    start = 0 if last is None else max(0, newest + 1 - last)
    names = HeldNames(store)
    found = []
    for at in range(start, newest + 1, _CHUNK):
        for id, entry in store.log_range(owner, at, min(at + _CHUNK, newest + 1)):
            found.append(_line(id, entry, names))
    if as_json:
        emit({"owner": to_text(owner), "name": owner_name(store, owner), "records": found}, True, "")
        return
    rows = [[one["seq"], when(one["time"]), one["summary"], one["record"]] for one in found]
    print_table(("seq", "time claimed", "what", "record"), rows)


def _line(id: Link, entry: Entry, names: HeldNames) -> dict[str, Any]:
    from tslg.protocol.cid import to_text
    from tslg.protocol.opening import disclosed

    record = disclosed(id, entry)
    return {
        "record": to_text(id),
        "kind": record.kind,
        "seq": record.seq,
        "time": record.time,
        "summary": what(record, names),
    }


@click.command()
@click.argument("id", metavar="ID")
@click.option("--raw", is_flag=True, help="Write the record's bytes, which its id is the hash of.")
@data_option
@json_option
def show(id: str, raw: bool, data: Path | None, as_json: bool) -> None:
    """Show one record: who, when, on what, and what it says."""
    with read_home(data) as home:
        record = held_record(home.store, id)
        entry = home.store.get(record.id)
        assert entry is not None
        if raw:
            click.echo(record.data, nl=False)
            return
        document = _document(home.store, record, entry)
        names = HeldNames(home.store)
        emit(document, as_json, lambda: "\n".join(_lines(record, document, names)))


def _document(store: Store, record: Record, entry: Entry) -> dict[str, Any]:
    """Return the record as DAG-JSON, with its id, its seal, and its bytes for whoever needs them exactly."""
    from base64 import b64encode

    from tslg.protocol import codec
    from tslg.protocol import seal as seals
    from tslg.protocol.cid import to_text

    parsed = seals.parse(entry.seal)
    document: dict[str, Any] = {
        "id": to_text(record.id),
        "record": dag_json(codec.decode(record.data)),
        "seal": [{"alg": one.alg, "key": to_text(one.kid)} for one in parsed.signatures],
        "verified": _verified(store, record),
        "data": b64encode(record.data).decode(),
        "seal_data": b64encode(entry.seal).decode(),
    }
    if record.commitment is not None:
        committed = record.commitment
        document["disclosed"] = dag_json({name: record.body[name] for name in committed.names if name in record.body})
        document["withheld"] = list(record.withheld)
        document["redacted_by"] = list(map(to_text, committed.redacted))
        document["attachment_data"] = None if entry.attachment is None else b64encode(entry.attachment).decode()
    return document


def _verified(store: Store, record: Record) -> Any:
    """Return what this node verified behind a foreign record: a number of edges, `all`, or None for nothing noted."""
    noted = store.verified(record.id)
    if noted is None:
        return None
    return "all" if noted.edges is None else noted.edges


def _lines(record: Record, document: dict[str, Any], names: HeldNames) -> list[str]:
    import json

    from tslg.protocol.cid import to_text
    from tslg.protocol.signatures import Alg

    algs = [Alg(one["alg"]).name if one["alg"] in Alg.__members__.values() else one["alg"] for one in document["seal"]]
    lines = [
        f"id        {document['id']}",
        f"what      {what(record, names)}",
        f"who       {plain(names.get(record.owner) or '?')}  {to_text(record.owner)}",
        f"position  {record.seq} of its log",
        f"time      {when(record.time)} (claimed)",
        f"seal      {', '.join(map(str, algs))} (not verified by showing it: `tslg verify`)",
    ]
    if document["verified"] is not None:
        lines.append(f"verified  {document['verified']} edges behind it, by this node")
    for name, edges in record.preds.items():
        for edge in edges:
            whose = "" if edge.agent is None else f"  of {plain(names.get(edge.agent) or to_text(edge.agent))}"
            lines.append(f"{name:<9} {to_text(edge.cid)}{whose}")
    if record.withheld:
        lines.append(f"withheld  {', '.join(record.withheld)}")
        lines += [f"redacted  by {by}" for by in document["redacted_by"]]
    body = json.dumps(dag_json(dict(record.body)), ensure_ascii=False, indent=2)
    lines += ["body", *(f"  {plain(line, 10_000)}" for line in body.splitlines())]
    return lines
