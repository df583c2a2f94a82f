"""`tslg shards`: spread a data directory's lineage over several stores, and show what binds them together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tslg.node.cli.access import data_dir, data_option, find_record, read_home
from tslg.node.cli.output import emit, json_option, note

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.node.store.sharded import ShardedStore


@click.group()
def shards() -> None:
    """Spread a lineage over several stores, and show what binds them together."""


@shards.command()
@click.argument("count", type=click.IntRange(2, 64))
@click.option(
    "--span", type=click.IntRange(1), default=4096, show_default=True, help="Records of a log that lie together."
)
@click.option(
    "--postgresql",
    "databases",
    nargs=2,
    type=(click.IntRange(0, 63), str),
    multiple=True,
    metavar="NUMBER DSN",
    help="Keep this shard in a PostgreSQL database, in the schema tslg_shard_NUMBER; repeat.",
)
@data_option
@json_option
def split(count: int, span: int, databases: tuple[tuple[int, str], ...], data: Path | None, as_json: bool) -> int:
    """Split the data directory's store into COUNT shards. The old file stays beside them.

    Exit code: 0 if that was done, 1 if the copy was not right and the old store stays in place.
    """
    from tslg.node.cli.terminal import counting
    from tslg.node.store.lock import DataDirLock
    from tslg.node.store.naming import Named
    from tslg.node.store.shards import Layout
    from tslg.node.store.splitting import KEPT
    from tslg.node.store.splitting import split as split_store

    path, layout = data_dir(data), Layout(count, span)
    lock = DataDirLock(path)
    lock.acquire()
    try:
        with counting("splitting") as tick:
            named = {number: Named(dsn, f"tslg_shard_{number:02}") for number, dsn in databases}
            problems = split_store(path, layout, tick or (lambda count: None), named)
    finally:
        lock.release()
    for problem in problems:
        note(f"{problem.code}: {problem.detail}")
    if problems:
        return 1
    told = {"data": str(path), "shards": count, "span": span, "kept": KEPT}
    emit(told, as_json, f"{count} shards; the old store is {path / KEPT}, delete it when you have a backup")
    return 0


@shards.command()
@data_option
@json_option
def show(data: Path | None, as_json: bool) -> None:
    """Show the shards: how many records each holds, and of how many logs."""
    from tslg.node.cli.terminal import print_table
    from tslg.node.store.sharded import shard_path

    path = data_dir(data)
    with read_home(path) as home:
        store = _sharded(home)
        held = [[log.held for log in shard.logs()] for shard in store.shards]
        span = store.layout.span
        places = [
            str(getattr(shard, "place", shard_path(path, number).relative_to(path)))
            for number, shard in enumerate(store.shards)
        ]
    rows = [
        {"shard": number, "records": sum(one), "logs": len(one), "place": places[number]}
        for number, one in enumerate(held)
    ]
    if as_json:
        emit({"span": span, "shards": rows}, as_json, "")
    else:
        print_table(["shard", "records", "logs", "place"], [list(row.values()) for row in rows])


@shards.command()
@click.argument("record")
@data_option
@json_option
def crossings(record: str, data: Path | None, as_json: bool) -> int:
    """Show the edges of RECORD that lead into other shards, each with the proof that it leads into its log.

    Exit code: 0 if all proofs hold, 1 if one does not, 2 if one could not be made since its log is not held whole.
    """
    from tslg.protocol.cid import to_text

    with read_home(data_dir(data)) as home:
        store = _sharded(home)
        found = store.crossings(find_record(home.store, record))
        told = [
            {
                "class": row.name,
                "cid": to_text(row.parent),
                "log": None if proof is None else to_text(proof.owner),
                "seq": None if proof is None else proof.seq,
                "size": None if proof is None else proof.size,
                "root": None if proof is None else proof.root.hex(),
                "proof": None if proof is None else [item.hex() for item in proof.proof],
                "holds": None if proof is None else store.proves(proof),
            }
            for row, proof in found
        ]
    lines = [f"{one['class']} {one['cid']}: {_said(one['holds'], one['size'])}" for one in told]
    emit({"crossings": told}, as_json, "\n".join(lines) or "no edge of it leaves its shard")
    outcomes = {one["holds"] for one in told}
    return 1 if False in outcomes else 2 if None in outcomes else 0


def _said(holds: object, size: object) -> str:
    if holds is None:
        return "no proof: its log is not held whole"
    return f"proved in its log's tree of {size}" if holds else "the proof does not hold"


def _sharded(home: Home) -> ShardedStore:
    from tslg.node.store.sharded import ShardedStore
    from tslg.protocol.errors import UsageError

    if not isinstance(home.store, ShardedStore):
        raise UsageError(f"{home.path} has one store", mend="split it with `tslg shards split COUNT`")
    return home.store
