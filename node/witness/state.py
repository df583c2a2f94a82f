"""What a witness remembers: the logs that it knows, and of each the checkpoint that it cosigned last.

One SQLite file. A checkpoint is judged, cosigned and kept in one transaction that no other, in any process, overlaps;
the cosignature is handed out only once that is on disk. So no crash and no race makes a witness sign two histories.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from tslg.protocol.checkpoint import Checkpoint, Signed
from tslg.protocol.errors import StoreError
from tslg.protocol.note import NoteSignature, VerifierKey, parse_key
from tslg.protocol.witnessing import COSIGN, UNSEEN, Answer, Request, Seen, judge_tree, merge

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS log (
    origin TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    keys   TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cosigned (
    origin TEXT PRIMARY KEY REFERENCES log (origin),
    size   INTEGER NOT NULL,
    root   BLOB NOT NULL,
    time   INTEGER NOT NULL,
    note   BLOB NOT NULL
) WITHOUT ROWID;
"""
_BUSY_SECONDS: Final = 10

Cosign = Callable[[Checkpoint, int], Sequence[NoteSignature]]
"""Returns the cosignatures of a checkpoint at a time in seconds."""


class LogRow(NamedTuple):
    """A known log: its origin, its keys, and the size and time of what was cosigned last (None: nothing yet)."""

    origin: str
    keys: tuple[VerifierKey, ...]
    size: int | None
    time: int | None


class WitnessState:
    """The state in the file at `path`. Safe to use from several threads and processes. Raises StoreError throughout."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            # A rollback journal with every step synced: a witness writes little, and must never forget.
            for pragma in ("journal_mode = DELETE", "synchronous = EXTRA", "foreign_keys = ON"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def learn(
        self, origin: str, keys: Sequence[VerifierKey], most: int | None = None, most_keys: int | None = None
    ) -> bool:
        """Know a log by these keys from now on, beside those that it had; False if that is more than it shall know.

        Args:
            origin: the log's name.
            keys: its keys.
            most: how many logs there may be, None for any number.
            most_keys: how many keys it may have, None for any number.
        """
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                held = self._keys(origin)
                count = self._db.execute("SELECT count(*) FROM log").fetchone()[0]
                if held is None and most is not None and count >= most:
                    self._db.execute("ROLLBACK")
                    return False
                texts = dict.fromkeys(key.text for key in (*(held or ()), *keys))
                if most_keys is not None and len(texts) > max(most_keys, len(held or ())):
                    self._db.execute("ROLLBACK")
                    return False
                digest = hashlib.sha256(origin.encode()).hexdigest()
                query = (
                    "INSERT INTO log (origin, digest, keys) VALUES (?, ?, ?) "
                    "ON CONFLICT (origin) DO UPDATE SET keys = excluded.keys"
                )
                self._db.execute(query, (origin, digest, "\n".join(texts)))
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._undone(error) from error
        return True

    def keys(self, origin: str) -> tuple[VerifierKey, ...] | None:
        """Return the keys of a log, None if it is not known."""
        with self._lock:
            try:
                return self._keys(origin)
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def logs(self) -> list[LogRow]:
        """Return the known logs by origin."""
        query = "SELECT origin, keys, size, time FROM log LEFT JOIN cosigned USING (origin) ORDER BY origin"
        with self._lock:
            try:
                rows = self._db.execute(query).fetchall()
            except sqlite3.Error as error:
                raise self._failed(error) from error
        return [LogRow(origin, _read_keys(keys), size, time) for origin, keys, size, time in rows]

    def latest(self, digest: str) -> bytes | None:
        """Return the note that was cosigned last for the log whose origin has this SHA-256, in hex."""
        query = "SELECT note FROM log JOIN cosigned USING (origin) WHERE digest = ?"
        with self._lock:
            try:
                row = self._db.execute(query, (digest,)).fetchone()
            except sqlite3.Error as error:
                raise self._failed(error) from error
        return None if row is None else bytes(row[0])

    def submit(self, request: Request, own: Signed, cosign: Cosign, now: int) -> tuple[Answer, list[NoteSignature]]:
        """Judge a request against what was cosigned last and, if it extends that, cosign and keep it.

        Args:
            request: a request for a known log, by a key of it.
            own: its checkpoint with the log's own signatures alone, to be kept.
            cosign: makes the cosignatures.
            now: seconds since 1970. No log is cosigned at an earlier time than before, whatever the clock says.

        Returns:
            The answer, and the cosignatures, which are on disk.
        """
        head = own.checkpoint
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                row = self._db.execute(
                    "SELECT size, root, time FROM cosigned WHERE origin = ?", (head.origin,)
                ).fetchone()
                answer = judge_tree(request, UNSEEN if row is None else Seen(row[0], bytes(row[1])))
                if answer.status != COSIGN:
                    self._db.execute("ROLLBACK")
                    return answer, []
                time = now if row is None else max(now, row[2])
                lines = list(cosign(head, time))
                note = merge(own, [Signed(head, tuple(lines))]).to_bytes()
                query = "INSERT OR REPLACE INTO cosigned (origin, size, root, time, note) VALUES (?, ?, ?, ?, ?)"
                self._db.execute(query, (head.origin, head.size, head.root, time, note))
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._undone(error) from error
        return answer, lines

    def _keys(self, origin: str) -> tuple[VerifierKey, ...] | None:
        row = self._db.execute("SELECT keys FROM log WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else _read_keys(row[0])

    def _undone(self, error: sqlite3.Error) -> StoreError:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        return self._failed(error)

    def _failed(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"{self._path}: {error}", code="TSLG-D-WITNESS", mend="check the directory and its disk")


def _read_keys(text: str) -> tuple[VerifierKey, ...]:
    return tuple(map(parse_key, text.split("\n")))
