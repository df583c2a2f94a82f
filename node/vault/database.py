"""The two files of a vault: `keys.sqlite`, small, in which destroyed is destroyed, and `data.sqlite` of ciphertexts.

A plaintext is destroyed by destroying its wrapped key: the file of keys is small enough to be written anew each time,
so that no page of it, and nothing of its log, holds the key any more. Ciphertexts without a key only take up room.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tslg.node.store.engine import connect, is_file, make_directory, translate, translated
from tslg.node.store.erasing import rewrite
from tslg.protocol.codec import Link
from tslg.protocol.errors import StoreError

FOLDER: Final = "vault"
KEYS: Final = "keys.sqlite"
DATA: Final = "data.sqlite"
_APPLICATION: Final = 0x74766C74
_VERSION: Final = 1
WRITING, PENDING, KEPT, SHREDDED, GONE = range(5)
"""States of an entry: being written; written, its record unknown; kept; without its key; without its bytes too."""

_KEYS_SCHEMA: Final = """
CREATE TABLE setting(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE tenant(
    owner BLOB NOT NULL, version INTEGER NOT NULL, wrapped BLOB NOT NULL, PRIMARY KEY(owner, version)
) WITHOUT ROWID;
CREATE TABLE entry(
    id INTEGER PRIMARY KEY AUTOINCREMENT, mark BLOB NOT NULL, owner BLOB NOT NULL, record BLOB, name TEXT NOT NULL,
    digest BLOB NOT NULL, size INTEGER NOT NULL, since INTEGER NOT NULL, created INTEGER NOT NULL,
    state INTEGER NOT NULL, version INTEGER NOT NULL, wrapped BLOB, ended INTEGER, redaction BLOB
);
CREATE UNIQUE INDEX entry_of_record ON entry(record, name) WHERE record IS NOT NULL;
CREATE INDEX entry_unsettled ON entry(state) WHERE state IN (0, 1, 3);
CREATE INDEX entry_version ON entry(owner, version) WHERE wrapped IS NOT NULL;
"""
_DATA_SCHEMA: Final = """
CREATE TABLE chunk(entry INTEGER NOT NULL, place INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE(entry, place));
"""


class Entry(NamedTuple):
    """One plaintext: of which record and which part, and what is left of it.

    Attributes:
        id: its number in this vault.
        mark: 16 random bytes that its chunks are bound to.
        owner: the agent in whose log its record lies.
        record: that record; None until it is known.
        name: `output`, `scratch`, `activations`, `tools`, `facts`, or `inputs/` and the input's name.
        digest: SHA-256 of the plaintext.
        size: of the plaintext, bytes.
        since: the log's size when it was put here.
        created: ms since 1970 UTC.
        state: `WRITING` to `GONE`.
        version: of the tenant key that wraps its key.
        wrapped: its key; None once it is destroyed.
        ended: when it was destroyed, ms.
        redaction: the record that says so, if one does.
    """

    id: int
    mark: bytes
    owner: Link
    record: Link | None
    name: str
    digest: bytes
    size: int
    since: int
    created: int
    state: int
    version: int
    wrapped: bytes | None
    ended: int | None
    redaction: Link | None


COLUMNS: Final = ", ".join(Entry._fields)


def entry_of(row: Sequence[object]) -> Entry:
    """Return the entry of a row of `COLUMNS`."""
    read = Entry(*row)  # type: ignore[arg-type]
    return read._replace(
        owner=Link(read.owner),
        record=None if read.record is None else Link(read.record),
        redaction=None if read.redaction is None else Link(read.redaction),
    )


class Database:
    """The connections to both files. One process writes them; another may read meanwhile.

    Raises:
        StoreError: as a store's.
    """

    def __init__(self, folder: Path, *, readonly: bool = False) -> None:
        if not readonly:
            make_directory(folder)
        self.keys_path, self.data_path = folder / KEYS, folder / DATA
        self.readonly = readonly
        self._keys_lock, self._data_lock = threading.RLock(), threading.RLock()
        self._keys = _open(self.keys_path, _KEYS_SCHEMA, readonly)
        try:
            self._data = _open(self.data_path, _DATA_SCHEMA, readonly)
        except BaseException:
            self._keys.close()
            raise

    @contextmanager
    def keys(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to the file of keys, for reading or, one statement each, for writing."""
        with self._keys_lock, translated(self.keys_path):
            yield self._keys

    @contextmanager
    def changing_keys(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Commit what is done in the block, or nothing of it.

        What is not `durable` outlives this process at once, and a power failure from the next durable commit on.
        """
        with self._keys_lock:
            if not durable:
                self._keys.execute("PRAGMA synchronous = NORMAL")
            try:
                with _transaction(self._keys, self.keys_path):
                    yield self._keys
            finally:
                if not durable:
                    self._keys.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def changing_data(self) -> Iterator[sqlite3.Connection]:
        """As `changing_keys`, for the ciphertexts."""
        with self._data_lock, _transaction(self._data, self.data_path):
            yield self._data

    def setting(self, name: str) -> bytes | None:
        """Return a setting of the vault, None if it is not made."""
        with self.keys() as keys:
            row = keys.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    @staticmethod
    def set(keys: sqlite3.Connection, name: str, value: bytes) -> None:
        """Make a setting, inside the transaction under way."""
        keys.execute("INSERT OR REPLACE INTO setting(name, value) VALUES (?, ?)", (name, value))

    def chunk(self, entry: int, place: int) -> bytes | None:
        """Return one chunk of a ciphertext, None if there is none at that place."""
        with self._data_lock, translated(self.data_path):
            row = self._data.execute("SELECT data FROM chunk WHERE entry = ? AND place = ?", (entry, place)).fetchone()
        return None if row is None else bytes(row[0])

    def drop_chunks(self, entries: Sequence[int]) -> None:
        """Let go of ciphertexts that have no key any more."""
        with self.changing_data() as data:
            data.executemany("DELETE FROM chunk WHERE entry = ?", [(id,) for id in entries])

    def stray_chunks(self, above: int, known: Collection[int]) -> list[int]:
        """Return the entries with numbers above this that have chunks and are not known."""
        with self._data_lock, translated(self.data_path):
            rows = self._data.execute("SELECT DISTINCT entry FROM chunk WHERE entry > ?", (above,)).fetchall()
        return [id for (id,) in rows if id not in known]

    def newest_chunk(self) -> int:
        """Return the highest number of an entry that has chunks, 0 if there is none."""
        with self._data_lock, translated(self.data_path):
            (newest,) = self._data.execute("SELECT max(entry) FROM chunk").fetchone()
        return newest or 0

    def rewrite_keys(self) -> None:
        """Leave nothing of destroyed keys in the file or its log. Raises StoreError `TSLG-D-BUSY`: repeat it."""
        with self._keys_lock, translated(self.keys_path):
            rewrite(self._keys, self.keys_path)

    def close(self) -> None:
        """Close both files."""
        with self._keys_lock, self._data_lock:
            self._keys.close()
            self._data.close()


def exists(folder: Path) -> bool:
    """Tell whether there is a vault. Raises StoreError if that cannot be seen."""
    return is_file(folder / KEYS)


def _open(path: Path, schema: str, readonly: bool) -> sqlite3.Connection:
    try:
        db = connect(path, readonly=readonly)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    try:
        with translated(path):
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if not readonly and application == version == tables == 0:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(
                    f"BEGIN IMMEDIATE; {schema} PRAGMA application_id = {_APPLICATION};"
                    f" PRAGMA user_version = {_VERSION}; COMMIT;"
                )
            elif (application, version) != (_APPLICATION, _VERSION):
                raise StoreError(
                    f"{path}: not a file of a vault that this version reads",
                    code="TSLG-D-NOT-A-STORE",
                    mend="restore it from a backup",
                )
            if not readonly:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException:
        db.close()
        raise
    if not readonly:
        path.chmod(0o600)
    return db


@contextmanager
def _transaction(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    with translated(path):
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
