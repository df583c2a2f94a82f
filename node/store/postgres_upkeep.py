"""Upkeep of PostgreSQL tables: filling them, letting go of what was dropped, erasing what must not stay.

PostgreSQL writes a changed row beside the old one, which stays in the table's file until it is overwritten. So what is
to be gone needs the tables written anew, once nobody's snapshot can see the old rows any more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from psycopg import sql

from tslg.node.store.postgres_engine import PATIENCE_S, Db, Place, translated
from tslg.node.store.postgres_schema import TABLES
from tslg.protocol.errors import StoreError

_ERASED: Final = ("record", "blob")
"""The tables that hold what can be erased: attachments and blobs."""
_RECLAIMED: Final = ("record", "edge", "pruned", "blob")
_PAUSE_S: Final = 0.02
_LOOKING_BACK: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL
        AND age(backend_xmin) >= age(%s::text::xid)"""
"""Sessions whose snapshots may still see what this transaction number and those before it replaced."""


def copy_in(db: Db, tables: Iterable[tuple[str, Iterable[Sequence[Any]]]]) -> None:
    """Copy rows into tables, inside the caller's transaction."""
    with db.cursor() as cursor:
        for table, rows in tables:
            with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
                for row in rows:
                    copy.write_row(row)


def empty(db: Db) -> None:
    """Drop everything in the tables, inside the caller's transaction."""
    db.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(sql.Identifier, TABLES))))


def drop(db: Db, place: Place) -> None:
    """Drop a schema with all that is in it, inside the caller's transaction."""
    db.execute("SET LOCAL client_min_messages = warning")
    db.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(place.schema)))


def reclaim(place: Place) -> None:
    """Let what was dropped make room for what comes. Readers and writers go on beside it. StoreError."""
    with translated(place), place.connect(readonly=False) as db:
        for table in _RECLAIMED:
            db.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))


def erase_traces(place: Place) -> None:
    """Write the tables anew without anything that is not in them. Takes time with their size; others wait meanwhile.

    Raises:
        StoreError: `TSLG-D-BUSY` if others read on for long; calling it again finishes the work.
    """
    with translated(place), place.connect(readonly=False) as db:
        row = db.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
        assert row is not None
        until = time.monotonic() + PATIENCE_S
        while db.execute(_LOOKING_BACK, row).fetchone() != (0,):
            if time.monotonic() > until:
                raise StoreError(
                    f"{place}: sessions that began before still see what is to be erased",
                    code="TSLG-D-BUSY",
                    mend="end their transactions, and repeat",
                )
            time.sleep(_PAUSE_S)
        for table in _ERASED:
            db.execute(sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(table)))
