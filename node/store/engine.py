"""SQLite connections: opening and recognising the file, its settings, and what its errors mean to a person."""

from __future__ import annotations

import errno
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tslg.node.store.schema import APPLICATION_ID, SCHEMA, UPGRADES, VERSION
from tslg.protocol.errors import StoreError

_BUSY_MS: Final = 10_000
"""How long a connection waits for another process: the writer is alone, but recovery after a crash takes time."""

_READERS: Final = 4
"""Idle read connections that are kept; more are opened when more threads read at once, and closed after."""
_WRITER_CACHE_KIB: Final = 32_000
_READER_CACHE_KIB: Final = 8_000
"""Pages that each connection keeps, on top of what the system keeps of the file: every idle reader holds on to its own,
and with the writer's bound they would grow with the file for long."""

_PERMIT: Final = "give this user the directory and its files; reading too needs to write beside them"

# SQLite's primary result code -> our code, what is wrong, what would mend it.
_ERRORS: Final = {
    sqlite3.SQLITE_PERM: ("TSLG-D-PERMISSION", "no permission", _PERMIT),
    sqlite3.SQLITE_READONLY: ("TSLG-D-PERMISSION", "not writable", _PERMIT),
    sqlite3.SQLITE_CANTOPEN: ("TSLG-D-OPEN", "cannot be opened", _PERMIT),
    sqlite3.SQLITE_NOTADB: ("TSLG-D-NOT-A-STORE", "not a database", "name a data directory, or restore this file"),
    sqlite3.SQLITE_CORRUPT: ("TSLG-D-CORRUPT", "damaged", "run `tslg fsck`, then restore it from a copy or from peers"),
    sqlite3.SQLITE_FULL: ("TSLG-D-FULL", "no space left on the disk", "free some space; nothing half-written is kept"),
    sqlite3.SQLITE_IOERR: ("TSLG-D-IO", "the disk failed a read or write", "check the disk and its free space"),
    sqlite3.SQLITE_BUSY: ("TSLG-D-BUSY", "another process holds it", "end the other process, or wait for it"),
    sqlite3.SQLITE_LOCKED: ("TSLG-D-BUSY", "another process holds it", "end the other process, or wait for it"),
    sqlite3.SQLITE_PROTOCOL: ("TSLG-D-BUSY", "another process holds it", "end the other process, or wait for it"),
}


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """Return the StoreError that says what an error of the engine means for the file at `path`."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    name, detail, mend = _ERRORS.get(code, ("TSLG-D-STORE", str(error), "run `tslg fsck`"))
    return StoreError(f"{path}: {detail}", code=name, mend=mend)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the engine's errors inside the block into StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error


def translate_os(error: OSError, path: Path) -> StoreError:
    """Return the StoreError that says what a file error means."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"{path}: no space left on the disk", code="TSLG-D-FULL", mend="free some space")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"{path}: no permission", code="TSLG-D-PERMISSION", mend=_PERMIT)
    return StoreError(f"{path}: {error.strerror}", code="TSLG-D-IO", mend="check the disk")


def make_directory(path: Path) -> None:
    """Make a data directory that only its owner can read, if it is not there.

    Raises:
        StoreError: `TSLG-D-DIRECTORY`.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path}: no directory can be made here: {error.strerror}",
            code="TSLG-D-DIRECTORY",
            mend="name a directory, or a place where this user may make one",
        ) from error


def is_file(path: Path) -> bool:
    """Tell whether there is a file at `path`.

    Raises:
        StoreError: `TSLG-D-PERMISSION` if that cannot be seen, `TSLG-D-OPEN` if there is something else.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise translate_os(error, path) from error
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path}: not a file", code="TSLG-D-OPEN", mend="name another data directory")
    return True


def connect(path: Path, *, readonly: bool) -> sqlite3.Connection:
    """Open one connection with our settings, without looking into the file. sqlite3.Error as the engine raises it."""
    mode = "ro" if readonly else "rwc"
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB if readonly else _WRITER_CACHE_KIB}")
    except BaseException:
        db.close()
        raise
    return db


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the write connection, making the tables in a new file.

    Raises:
        StoreError: as `recognise`.
    """
    with translated(path):
        db = connect(path, readonly=False)
    try:
        with translated(path):
            new = not recognise(db, path, upgrade=True)
            db.execute("PRAGMA journal_mode = WAL")
            if new:
                db.executescript(
                    f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
                    f" PRAGMA user_version = {VERSION}; COMMIT;"
                )
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA journal_size_limit = 67108864")
    except StoreError:
        db.close()
        raise
    return db


def recognise(db: sqlite3.Connection, path: Path, *, upgrade: bool = False) -> bool:
    """Tell whether the file has our tables, made into those of this version if `upgrade`; False for an empty database.

    Raises:
        StoreError: `TSLG-D-NOT-A-STORE` for another program's file, `TSLG-D-SCHEMA` for another version's.
    """
    with translated(path):
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == 0 and version == 0 and tables == 0:
        return False
    if application != APPLICATION_ID:
        raise StoreError(
            f"{path}: another program's database",
            code="TSLG-D-NOT-A-STORE",
            mend="name another data directory",
        )
    while upgrade and version in UPGRADES:
        with translated(path):
            db.executescript(f"BEGIN IMMEDIATE; {UPGRADES[version]}; PRAGMA user_version = {version + 1}; COMMIT;")
        version += 1
    if version != VERSION:
        raise StoreError(
            f"{path}: tables of version {version}, this program reads version {VERSION}",
            code="TSLG-D-SCHEMA",
            mend="open it once with a command that writes to it"
            if version in UPGRADES
            else "use the version of tslg that wrote it, or a newer one",
        )
    return True


class Readers:
    """Read connections, handed out one at a time to a thread.

    A connection per thread would outlive the short-lived threads that asynchronous callers use; one connection under a
    lock would make readers wait for each other's queries.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection. Errors of the engine inside the block become StoreError."""
        db = self.take()
        try:
            yield db
        except sqlite3.Error as error:
            raise translate(error, self._path) from error
        finally:
            self.give(db)

    def take(self) -> sqlite3.Connection:
        """Take an idle connection or open one; `give` must follow. StoreError `TSLG-D-CLOSED` after `close`."""
        try:
            return self._idle.pop()
        except IndexError:
            if self._closed:
                raise closed(self._path) from None
        with translated(self._path):
            return connect(self._path, readonly=True)

    def give(self, db: sqlite3.Connection) -> None:
        """Give a connection back. Its cursors must be exhausted or gone, or it would hold back checkpoints."""
        if self._closed or len(self._idle) >= _READERS:
            db.close()
        else:
            self._idle.append(db)

    def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


def closed(path: Path) -> StoreError:
    """Return the error of a call on a closed store."""
    return StoreError(f"{path}: closed", code="TSLG-D-CLOSED", mend="open the store again")
