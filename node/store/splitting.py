"""Split a data directory's store into shards, so that a crash at any moment leaves the one or the other whole."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from tslg.node.store.engine import is_file
from tslg.node.store.interface import Problem
from tslg.node.store.naming import Named
from tslg.node.store.opening import FILE
from tslg.node.store.sharded import CATALOG, FOLDER, ShardedStore
from tslg.node.store.shards import Layout
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol.cid import Link
from tslg.protocol.errors import StoreError
from tslg.protocol.record import Record, parse_as

CHUNK: Final = 500
KEPT: Final = "tslg.sqlite.before-split"
"""What the old store's file is called afterwards; it is for the operator to delete."""
_WORK: Final = "split.unfinished"
_BESIDE: Final = ("meta", "head", "verified", "rival")
"""Tables that hold no records; the catalog takes them over as they are."""

Tick = Callable[[int], None]


@runtime_checkable
class Emptied(Protocol):
    """A store that does not go with its directory, and has to be emptied if it is given up."""

    def empty(self) -> None:
        """Drop all that is held."""


def split(
    directory: Path,
    layout: Layout,
    tick: Tick = lambda count: None,
    databases: Mapping[int, Named] | None = None,
) -> list[Problem]:
    """Copy everything into shards, check all of it, and put the shards in the store's place.

    Args:
        directory: the data directory, whose lock the caller holds.
        layout: how many shards, and how many records of a log lie together.
        tick: called with the number of records copied so far.
        databases: by number, the shards that are not to be files in the directory.

    Returns:
        What the check of the copy found: nothing, or the old store stays in place.

    Raises:
        StoreError: `TSLG-D-SHARDS` if it is sharded already; or as `SqliteStore.open`.
    """
    if is_file(directory / CATALOG):
        raise StoreError(f"{directory} is sharded already", code="TSLG-D-SHARDS", mend="it cannot be split again")
    work = directory / _WORK
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    with (
        SqliteStore.open(directory / FILE, readonly=True) as source,
        ShardedStore.create(work, layout, databases) as target,
    ):
        _copy(source, target, tick)
        problems = target.check()
        if problems:
            for shard in target.shards:
                if isinstance(shard, Emptied):
                    shard.empty()
    if problems:
        shutil.rmtree(work)
        return problems
    _copy_beside(directory / FILE, work / CATALOG)
    _put_in_place(directory, work)
    return []


def _copy(source: SqliteStore, target: ShardedStore, tick: Tick) -> None:
    count = 0
    for chunk in _in_order(source):
        owner = chunk[0][0].owner
        attached = {
            record.id: entry.attachment
            for record, _ in chunk
            if (entry := source.get(record.id)) is not None and entry.attachment is not None
        }
        state = source.log_state(owner)
        done = state is not None and chunk[-1][0].seq == state.size - 1
        target.append(chunk, [state] if state is not None and done else [], attached)
        count += len(chunk)
        tick(count)


def _in_order(source: SqliteStore) -> Iterator[list[tuple[Record, bytes]]]:
    """Yield every record with its seal, log by log, in chunks of one log."""
    for log in source.logs():
        if log.complete and log.held <= log.newest:
            raise StoreError(
                "the store has let go of records, whose places shards cannot take over",
                code="TSLG-D-SHARDS",
                mend="split a directory before it is pruned",
                record=log.owner,
            )
        for start in range(0, log.newest + 1, CHUNK):
            stretch = source.log_range(log.owner, start, start + CHUNK)
            if stretch:
                yield [(parse_as(Link(id), entry.data), entry.seal) for id, entry in stretch]


def _copy_beside(source: Path, catalog: Path) -> None:
    with closing(sqlite3.connect(catalog)) as db:
        db.execute("ATTACH DATABASE ? AS old", (str(source),))
        with db:
            for table in _BESIDE:
                db.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM old.{table}")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _put_in_place(directory: Path, work: Path) -> None:
    """Move the shards into place; the catalog comes last, since it is what makes a directory a sharded one."""
    shutil.rmtree(directory / FOLDER, ignore_errors=True)
    (work / FOLDER).rename(directory / FOLDER)
    (work / CATALOG).rename(directory / CATALOG)
    for suffix in ("", "-wal", "-shm"):
        old = directory / (FILE + suffix)
        if old.exists():
            old.rename(directory / (KEPT + suffix))
    shutil.rmtree(work)
