"""Recognising a store in a PostgreSQL schema, and making its tables where there is none."""

from __future__ import annotations

from typing import Final

from psycopg import sql

from tslg.node.store import postgres_sql as queries
from tslg.node.store.postgres_engine import Db, Place, translated
from tslg.node.store.postgres_schema import MARK, SCHEMA, VERSION
from tslg.protocol.errors import StoreError

_HAS_SCHEMA: Final = "SELECT FROM pg_namespace WHERE nspname = %s"


def recognise(place: Place) -> None:
    """Check that a schema holds a store that can be read.

    Raises:
        StoreError: `TSLG-D-MISSING`, `TSLG-D-NOT-A-STORE`, `TSLG-D-SCHEMA`; or as `postgres_engine.translate`.
    """
    with translated(place), place.connect(readonly=True) as db:
        if not _is_there(db, place):
            raise missing(place)


def prepare(place: Place) -> None:
    """Make the schema and its tables if they are not there. Several processes may do so at once.

    Raises:
        StoreError: `TSLG-D-UNSAFE` if the server would lose what it acknowledged; or as `recognise`.
    """
    with translated(place), place.connect(readonly=False) as db:
        _refuse_unsafe(db, place)
        if _is_there(db, place):
            return
        with db.transaction():
            db.execute(queries.WAIT_FOR, (place.key(b"schema"),))
            if not _is_there(db, place):
                if db.execute(_HAS_SCHEMA, (place.schema,)).fetchone() is None:
                    # Not asked for if it is there: a role may own a schema without the right to make others.
                    db.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(place.schema)))
                db.execute(SCHEMA)
                db.execute("INSERT INTO tslg (version) VALUES (%s)", (VERSION,))


def missing(place: Place) -> StoreError:
    """Return the error of reading a store that is not there."""
    return StoreError(f"{place}: no store here", code="TSLG-D-MISSING", mend="make one with `tslg store postgresql`")


def _is_there(db: Db, place: Place) -> bool:
    tables = {name for (name,) in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (place.schema,))}
    if not tables:
        return False
    if MARK not in tables:
        raise StoreError(f"{place}: another program's tables", code="TSLG-D-NOT-A-STORE", mend="name another schema")
    row = db.execute("SELECT version FROM tslg").fetchone()
    if row is None or row[0] != VERSION:
        raise StoreError(
            f"{place}: tables of version {row and row[0]}, this program reads version {VERSION}",
            code="TSLG-D-SCHEMA",
            mend="use the version of tslg that wrote it, or a newer one",
        )
    return True


def _refuse_unsafe(db: Db, place: Place) -> None:
    row = db.execute("SELECT current_setting('fsync'), current_setting('full_page_writes')").fetchone()
    if row != ("on", "on"):
        raise StoreError(
            f"{place}: a server with fsync or full_page_writes off loses what it acknowledged",
            code="TSLG-D-UNSAFE",
            mend="turn both on in postgresql.conf",
        )
