"""Move a data directory's store from its file into a database, so that a crash leaves the one or the other whole."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tslg.node.store.engine import connect, is_file, translated
from tslg.node.store.interface import Problem
from tslg.node.store.naming import Named, named
from tslg.node.store.opening import FILE
from tslg.node.store.sharded import CATALOG
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol.errors import StoreError

if TYPE_CHECKING:
    from tslg.node.store.postgres import PostgresStore

KEPT: Final = "tslg.sqlite.before-move"
"""What the old store's file is called afterwards; it is for the operator to delete."""
_STEP: Final = 1_000

Tick = Callable[[int], None]

# What each table of the database gets, in the order of its columns, out of a file that has row numbers in place of ids.
_TABLES: Final = {
    "record": """
        SELECT record.cid, owner.cid, record.seq, name.text, record.time, record.data, record.seal, record.attachment
        FROM record JOIN record AS owner ON owner.id = record.log LEFT JOIN name ON name.id = record.kind
        ORDER BY record.id""",
    "edge": """
        SELECT child.cid, name.text, parent.cid FROM edge JOIN record AS child ON child.id = edge.child
        JOIN name ON name.id = edge.class JOIN record AS parent ON parent.id = edge.parent""",
    "log": """
        SELECT owner.cid, log.size, last.cid, log.peaks FROM log JOIN record AS owner ON owner.id = log.id
        JOIN record AS last ON last.id = log.last""",
    "verified": "SELECT cid, edges FROM verified",
    "head": "SELECT owner, size, root, record, CAST(source AS BLOB), seen_ms FROM head",
    "meta": "SELECT key, value FROM meta",
    "rival": "SELECT cid, owner, seq, data, seal FROM rival",
    "pruned": """
        SELECT prune.cid, record.cid, pruned.pending FROM pruned JOIN record AS prune ON prune.id = pruned.prune
        JOIN record ON record.id = pruned.record""",
}


def move(directory: Path, to: Named, tick: Tick = lambda count: None) -> list[Problem]:
    """Copy everything into the database, check all of it, and name it as the directory's store.

    Args:
        directory: the data directory, whose lock the caller holds. One without a store gets an empty one.
        to: the database; its schema must not hold records if the directory does.
        tick: called with the number of rows copied so far.

    Returns:
        What the check of the copy found: nothing, or the old store stays in place and the copy is taken back.

    Raises:
        StoreError: `TSLG-D-MOVED` if the directory names a database already, is sharded, or the schema holds records;
            or as `PostgresStore.open`.
    """
    if named(directory) is not None or is_file(directory / CATALOG):
        raise _cannot(f"{directory} names another store already", "it cannot be moved again")
    full = is_file(directory / FILE)
    with to.open(alone=full) as target:
        if full:
            if target.logs():
                raise _cannot(f"{target.place} holds records already", "name another schema")
            # Opening it for writing brings an older file up to date, and takes in what a crash left in its log.
            SqliteStore.open(directory / FILE).close()
            _copy(directory, target, tick)
            problems = target.check()
            if problems:
                target.empty()
                return problems
        to.write(directory)
    if full:
        for suffix in ("", "-wal", "-shm"):
            old = directory / (FILE + suffix)
            if old.exists():
                old.rename(directory / (KEPT + suffix))
    return []


def _copy(directory: Path, target: PostgresStore, tick: Tick) -> None:
    path = directory / FILE
    with translated(path), closing(connect(path, readonly=True)) as source:
        count = itertools.count(1)
        target.fill(lambda: ((table, _rows(source, table, query, count, tick)) for table, query in _TABLES.items()))
    for path in sorted((directory / "blobs").glob("[0-9a-f][0-9a-f]/*")):
        target.put_blob(path.read_bytes())


def _rows(
    source: sqlite3.Connection, table: str, query: str, count: Iterator[int], tick: Tick
) -> Iterator[Sequence[Any]]:
    for row in source.execute(query):
        yield (*row[:-1], bool(row[-1])) if table == "pruned" else row
        done = next(count)
        if done % _STEP == 0:
            tick(done)


def _cannot(detail: str, mend: str) -> StoreError:
    return StoreError(detail, code="TSLG-D-MOVED", mend=mend)
