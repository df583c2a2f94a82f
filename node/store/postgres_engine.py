"""PostgreSQL sessions: where a database is, how it is reached, and what its errors mean to a person.

Passwords are for libpq to find, in the environment, a password file or a service file; what is kept and shown has none.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import conninfo, sql

from tslg.protocol.errors import StoreError

Db = psycopg.Connection[tuple[Any, ...]]
Rows = list[tuple[Any, ...]]

DEFAULT_SCHEMA: Final = "tslg"
PATIENCE_S: Final = 10.0
"""How long a server that is away, and locks that others hold, are waited for: about as long as a restart takes."""
_SECRET: Final = ("password", "sslpassword", "oauth_client_secret")
"""What may not be kept of a connection string."""
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SETTINGS: Final = {
    "lock_timeout": "10s",
    "bytea_output": "hex",
    # A machine that vanishes without a word must not keep its logs for the two hours that TCP gives it.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_DURABLY: Final = """
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"""
"""What is acknowledged is on the server's disk, whatever its default is."""
_SERVER: Final = "see whether the server runs and can be reached, then repeat"
_RIGHTS: Final = (
    "give the role this schema, or name the right one; passwords belong in PGPASSWORD, ~/.pgpass or a service file"
)

# SQLSTATE, or its first two characters -> our code, what is wrong, what would mend it.
_ERRORS: Final = {
    "08": ("TSLG-D-SERVER", "the database server went away", _SERVER),
    "25006": ("TSLG-D-READONLY", "it takes no writes", "name the primary server, not a copy of it"),
    "28": ("TSLG-D-PERMISSION", "the server lets this role not in", _RIGHTS),
    "3D": ("TSLG-D-MISSING", "there is no such database", "make it with createdb, or name another"),
    "3F": ("TSLG-D-MISSING", "no store in this schema", "make one with `tslg store postgresql`"),
    "40": ("TSLG-D-BUSY", "others write the same records", "repeat it"),
    "42501": ("TSLG-D-PERMISSION", "this role has no permission", _RIGHTS),
    "53100": ("TSLG-D-FULL", "no space left on the server's disk", "free some space; nothing half-written is kept"),
    "53": ("TSLG-D-BUSY", "the server has no room for another session", "raise max_connections, or end some sessions"),
    "55P03": ("TSLG-D-BUSY", "another session holds what is wanted", "end the other session, or wait for it"),
    "57": ("TSLG-D-SERVER", "the database server went away", _SERVER),
    "58": ("TSLG-D-IO", "the server's disk failed a read or write", "check the server's disk"),
    "XX001": ("TSLG-D-CORRUPT", "damaged", "run `tslg fsck`, then restore the database from a copy or from peers"),
    "XX002": ("TSLG-D-CORRUPT", "a damaged index", "run REINDEX on it"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store lies: a connection string without secrets, and a schema of that database."""

    dsn: str
    schema: str = DEFAULT_SCHEMA

    def __post_init__(self) -> None:
        try:
            given = conninfo.conninfo_to_dict(self.dsn)
        except psycopg.Error:
            # What cannot be read is not shown, not even as a cause, since it may hold a password.
            wrong = _no_place("that is no connection string of PostgreSQL", "write it like postgresql://HOST/DATABASE")
            raise wrong from None
        if any(given.get(key) for key in _SECRET):
            raise _no_place(
                "the connection string holds a password",
                "leave it out, and put it in PGPASSWORD, ~/.pgpass or a service file",
            )
        if not _NAME.fullmatch(self.schema) or self.schema.startswith("pg_"):
            raise _no_place(f"{self.schema[:80]!r} is no name for a schema", "take small letters, digits and _")

    def __str__(self) -> str:
        given = conninfo.conninfo_to_dict(self.dsn)
        shown = [f"{key}={given[key]}" for key in ("service", "host", "port", "dbname") if given.get(key)]
        return f"PostgreSQL {' '.join(shown) or 'by default'} schema={self.schema}"

    def connect(self, *, readonly: bool) -> Db:
        """Open a session with our settings, in autocommit, without looking into the schema. psycopg.Error."""
        given: dict[str, Any] = {
            "application_name": session_name(),
            "connect_timeout": 10,
            "client_encoding": "utf8",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        }
        named = conninfo.conninfo_to_dict(self.dsn)
        db: Db = psycopg.connect(self.dsn, **{**given, **{k: v for k, v in named.items() if k == "connect_timeout"}})
        try:
            db.autocommit = True
            settings = {**_SETTINGS, "search_path": self.schema}
            if readonly:
                settings["default_transaction_read_only"] = "on"
            db.execute(
                sql.SQL("SELECT {}").format(
                    sql.SQL(", ").join(
                        sql.SQL("set_config({}, {}, false)").format(sql.Literal(name), sql.Literal(value))
                        for name, value in settings.items()
                    )
                )
            )
            db.execute(_DURABLY)
        except BaseException:
            db.close()
            raise
        return db

    def key(self, *parts: bytes) -> int:
        """Return the number of the advisory lock that stands for something in this schema."""
        named = hashlib.sha256(b"\0".join([b"tslg", self.schema.encode(), *parts])).digest()
        return int.from_bytes(named[:8], "big", signed=True)


def _no_place(detail: str, mend: str) -> StoreError:
    return StoreError(detail, code="TSLG-D-DSN", mend=mend)


def session_name() -> str:
    """Return by what name a session of this process shows at the server: `tslg HOST:PID`."""
    return f"tslg {socket.gethostname()[:40]}:{os.getpid()}"


def translate(error: psycopg.Error, place: Place) -> StoreError:
    """Return the StoreError that says what an error of the server or the way to it means."""
    state = error.sqlstate or ""
    found = _ERRORS.get(state) or _ERRORS.get(state[:2])
    if found is None and not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        found = _unreached(str(error))
    code, detail, mend = found or (
        "TSLG-D-STORE",
        _one_line(error.diag.message_primary or str(error)),
        "run `tslg fsck`",
    )
    return StoreError(f"{place}: {detail}", code=code, mend=mend)


def _unreached(said: str) -> tuple[str, str, str]:
    """Tell why no session came about: libpq gives no code for that, only the server's words."""
    for words, state in (
        ("authentication failed", "28"),
        ('role "', "28"),
        ("no password supplied", "28"),
        ("no pg_hba.conf entry", "28"),
        ("does not exist", "3D"),
        ("too many clients", "53"),
        ("remaining connection slots", "53"),
    ):
        if words in said:
            return _ERRORS[state]
    return _ERRORS["08"]


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def is_gone(error: psycopg.Error, db: Db | None) -> bool:
    """Tell whether an error means that the session is gone, so that another one may do."""
    if db is None:
        return isinstance(error, psycopg.OperationalError) and _unreached(str(error)) is _ERRORS["08"]
    return db.closed or db.broken or (error.sqlstate or "").startswith(("57P", "08"))


@contextmanager
def translated(place: Place) -> Iterator[None]:
    """Turn the server's errors inside the block into StoreError."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, place) from error
