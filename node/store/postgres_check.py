"""The check of a PostgreSQL store: records, edges, log states and blobs against the records' bytes, in one snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import psycopg

from tslg.node.store import postgres_sql as queries
from tslg.node.store.check import Columns, check_entry, check_log_row, check_rival
from tslg.node.store.interface import Entry, Problem
from tslg.node.store.postgres_engine import Db
from tslg.protocol.cid import Link

_CHUNK: Final = 1_000
"""Records fetched at a time."""


def check_tables(db: Db) -> list[Problem]:
    """Return what is wrong with the tables; where the server cannot read on, that is the last finding."""
    problems: list[Problem] = []
    try:
        with db.transaction():
            db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            _check_records(db, problems)
            _check_logs(db, problems)
            _check_rivals(db, problems)
            _check_blobs(db, problems)
    except (psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted, psycopg.errors.InternalError_) as error:
        said = error.diag.message_primary or "damaged"
        problems.append(Problem("TSLG-D-CORRUPT", f"the tables cannot be read on from here: {said}"))
    return problems


def _streamed(db: Db, query: str, size: int = _CHUNK) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query without holding them all."""
    with db.cursor("check", binary=True) as cursor:
        cursor.itersize = size
        cursor.execute(query)
        yield from cursor


def _check_records(db: Db, problems: list[Problem]) -> None:
    for cid, data, seal, attachment, owner, seq, kind, time, classes, parents in _streamed(db, queries.ALL_RECORDS):
        edges = zip(classes, map(Link, parents), strict=True)
        columns = Columns(Link(owner), seq, kind, time)
        problems.extend(check_entry(Link(cid), Entry(data, seal, attachment), columns, edges))
    for (cid,) in _streamed(db, queries.STRAY_EDGES):
        problems.append(Problem("TSLG-D-EDGES", "edges of a record that is not held", Link(cid)))


def _check_logs(db: Db, problems: list[Problem]) -> None:
    for owner, size, last, last_time, peaks in db.execute(queries.ALL_STATES, binary=True).fetchall():
        leaves = [Link(cid) for (cid,) in db.execute(queries.LEAVES, (owner, size), binary=True)]
        problems.extend(check_log_row(owner, size, last, last_time, peaks, leaves))


def _check_rivals(db: Db, problems: list[Problem]) -> None:
    for cid, owner, seq, data in _streamed(db, queries.ALL_RIVALS):
        problems.extend(check_rival(Link(cid), owner, seq, data))


def _check_blobs(db: Db, problems: list[Problem]) -> None:
    for digest, data in _streamed(db, queries.ALL_BLOBS, 1):
        if hashlib.sha256(data).digest() != digest:
            problems.append(Problem("TSLG-D-BLOB", f"blob {digest.hex()}: not what its name says"))
