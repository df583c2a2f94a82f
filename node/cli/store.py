"""`tslg store`: where a data directory's lineage is kept, and moving it into a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import data_dir, data_option, existing_dir
from tslg.node.cli.output import emit, json_option, note

if TYPE_CHECKING:
    from tslg.node.store.interface import Store


@click.group()
def store() -> None:
    """Show where the lineage is kept, or keep it in a PostgreSQL database that several nodes share."""


@store.command()
@click.argument("dsn")
@click.option("--schema", default="tslg", show_default=True, help="The database's schema; each is a store of its own.")
@data_option
@json_option
def postgresql(dsn: str, schema: str, data: Path | None, as_json: bool) -> int:
    """Keep the lineage of the data directory in the PostgreSQL database DSN: a URL, or KEY=VALUE pairs.

    What the directory holds is copied there and checked; its old file stays beside. A new directory takes part in what
    the database holds already. The password is taken from PGPASSWORD, ~/.pgpass or a service file, never from DSN.

    Exit code: 0 if that was done, 1 if the copy was not right and the old store stays in place.
    """
    from tslg.node.cli.terminal import counting
    from tslg.node.store.lock import DataDirLock
    from tslg.node.store.moving import KEPT, move
    from tslg.node.store.naming import Named

    path, to = data_dir(data), Named(dsn, schema)
    to.place()
    lock = DataDirLock(path)
    lock.acquire()
    try:
        before = (path / KEPT).exists()
        with counting("copied") as tick:
            problems = move(path, to, tick or (lambda count: None))
    finally:
        lock.release()
    for problem in problems:
        note(f"{problem.code}: {problem.detail}")
    if problems:
        return 1
    kept = str(path / KEPT) if (path / KEPT).exists() and not before else None
    lines = [str(to.place())]
    if kept is not None:
        lines.append(f"the old store is {kept}, delete it when you have a backup")
    emit({"data": str(path), "schema": schema, "kept": kept}, as_json, "\n".join(lines))
    return 0


@store.command()
@data_option
@json_option
def show(data: Path | None, as_json: bool) -> None:
    """Show where the lineage is kept, how much there is, and which processes write there."""
    from tslg.node.store.opening import open_store

    path = existing_dir(data_dir(data))
    with open_store(path, readonly=True) as opened:
        logs = opened.logs()
        told = _place(path, opened) | {"records": sum(log.held for log in logs), "logs": len(logs)}
    lines = [told["where"], f"{told['records']} records in {told['logs']} logs"]
    lines += [f"written by {one}" for one in told["writers"]]
    emit(told, as_json, "\n".join(lines))


def _place(path: Path, opened: Store) -> dict[str, Any]:
    from tslg.node.store.opening import FILE
    from tslg.node.store.sharded import ShardedStore

    if isinstance(opened, ShardedStore):
        return {"kind": "shards", "where": f"{len(opened.shards)} shards in {path}", "writers": []}
    writers = getattr(opened, "writers", None)
    if writers is None:
        return {"kind": "sqlite", "where": str(path / FILE), "writers": []}
    return {"kind": "postgresql", "where": str(getattr(opened, "place", path)), "writers": writers()}
