"""The write side of the SQLite store: one connection, one transaction at a time, row ids given out in memory."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from tslg.node.store import erasing, queries, repairing
from tslg.node.store.engine import closed, open_writer, translate, translated
from tslg.node.store.interface import NO_VALUES, NOTHING_ATTACHED, ForkError, LogState, Problem, check_state
from tslg.node.store.rows import Recent, Rows
from tslg.protocol.cid import Link
from tslg.protocol.record import Record

_RIVAL: Final = "SELECT cid FROM record WHERE log = (SELECT id FROM record WHERE cid = ?) AND seq = ? AND cid <> ?"
_UPSERT_LOG: Final = (
    "INSERT INTO log (id, size, last, peaks) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
    " SET size = excluded.size, last = excluded.last, peaks = excluded.peaks WHERE excluded.size > size"
)


class Batch(NamedTuple):
    """One caller's append."""

    items: Sequence[tuple[Record, bytes]]
    states: Sequence[LogState]
    attachments: Mapping[Link, bytes] = NOTHING_ATTACHED
    values: Mapping[str, bytes] = NO_VALUES


class Writer:
    """The write connection. Its own lock makes every method safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or make the file at `path`. StoreError as `engine.open_writer`."""
        self._path = path
        self._db: sqlite3.Connection | None = open_writer(path)
        self._lock = threading.Lock()
        self._recent = Recent()
        self._names: dict[str, int] = {}
        self._next = 0
        self._stale = True
        self._expect_new = True

    def close(self) -> None:
        """Close the connection; what was committed is already durable."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def rewrite(self) -> None:
        """Write the file anew, so that nothing in it or its log is left of what was overwritten. StoreError."""
        with self._lock:
            if self._db is None:
                raise closed(self._path)
            with translated(self._path):
                erasing.rewrite(self._db, self._path)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block in one durable transaction, or leave nothing of it. Errors of the engine become StoreError."""
        with self._lock:
            db = self._db
            if db is None:
                raise closed(self._path)
            try:
                db.execute("BEGIN IMMEDIATE")
                if self._stale:
                    self._refresh(db)
                yield db
                db.execute("COMMIT")
            except BaseException as error:
                self._stale = True
                self._recent.clear()
                if db.in_transaction:
                    db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise translate(error, self._path) from error
                raise

    def _refresh(self, db: sqlite3.Connection) -> None:
        """Read anew what is remembered of the tables, since a transaction was undone."""
        self._names = dict(db.execute("SELECT text, id FROM name"))
        (self._next,) = db.execute("SELECT coalesce(max(id), 0) + 1 FROM record").fetchone()
        self._stale = False

    def append(self, batches: Sequence[Batch]) -> None:
        """Store several callers' records and states in one transaction. Raises as `Store.append`, with nothing done.

        Own records are new ids: as long as that goes well they are inserted unasked, which saves a query for each.
        """
        fresh: dict[bytes, tuple[Record, bytes]] = {}
        states: list[LogState] = []
        attachments: dict[Link, bytes] = {}
        values: dict[str, bytes] = {}
        for batch in batches:
            attachments.update(batch.attachments)
            values.update(batch.values)
            states.extend(batch.states)
            for item in batch.items:
                fresh.setdefault(item[0].id, item)
        if not fresh and not states:
            return
        with self.transaction() as db:
            if self._expect_new:
                try:
                    self._append(db, fresh, states, attachments, values)
                    return
                except sqlite3.IntegrityError:
                    self._expect_new = False
                    db.execute("ROLLBACK")
                    db.execute("BEGIN IMMEDIATE")
                    self._refresh(db)
            try:
                self._append(db, fresh, states, attachments, values)
            except sqlite3.IntegrityError as error:
                self._raise_fork(db, fresh, error)

    def repair(self, copy: Path) -> list[Problem]:
        """Rebuild the index from the records' bytes, in one transaction, with a copy of the file made first."""
        with self._lock:
            if self._db is None:
                raise closed(self._path)
            repairing.back_up(self._db, copy)
        with self.transaction() as db:
            problems = repairing.repair(db)
            self._recent.clear()
            self._stale = True
        return problems

    def drop_pruned(self, limit: int) -> int:
        """Drop the bytes and edges of records that a prune record commits to; see `Store.drop_pruned`."""
        with self.transaction() as db:
            rows = db.execute(queries.PENDING, (limit,)).fetchall()
            for query in (queries.DROP_RECORD, queries.DROP_EDGES):
                db.executemany(query, ((record,) for _, record in rows))
            db.executemany(queries.DROPPED, rows)
            # What comes back later is written anew, and so must not be remembered as held.
            self._recent.clear()
        return len(rows)

    def reclaim(self) -> None:
        """Rewrite the file without what was dropped. A reader in the middle of something puts it off."""
        with self._lock:
            if self._db is None:
                raise closed(self._path)
            try:
                self._db.execute("VACUUM")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                    raise translate(error, self._path) from error

    def _append(
        self,
        db: sqlite3.Connection,
        fresh: Mapping[bytes, tuple[Record, bytes]],
        states: Sequence[LogState],
        attachments: Mapping[Link, bytes],
        values: Mapping[str, bytes],
    ) -> None:
        """Write records, states and values. sqlite3.IntegrityError if an id or a place expected to be new is not."""
        rows = Rows(db, self._recent, self._next)
        if not self._expect_new:
            rows.look_up(fresh, (cid for state in states for cid in (state.owner, state.last)))
            self._expect_new = not any(cid in rows.known for cid in fresh)
        for cid, (record, seal) in fresh.items():
            if cid not in rows.held and self._recent.get(cid) is None:
                self._add(rows, record, seal, attachments.get(record.id))
        rows.write()
        for state in states:
            self._put_state(db, rows, state, fresh)
        if values:
            db.executemany(queries.SET_META, values.items())
        self._next = rows.next
        self._recent.update(rows.added)

    def _add(self, rows: Rows, record: Record, seal: bytes, attachment: bytes | None) -> None:
        """Add a record and its edges to the rows to be written."""
        row = rows.place(record.id)
        log = row if record.agent is None else rows.find(record.agent)
        kind = self._names.get(record.kind) or self._name(rows.db, record.kind)
        rows.put(row, record.id, (log, record.seq, kind, record.time, record.data, seal, attachment))
        for name, cited in record.preds.items():
            class_id = self._names.get(name) or self._name(rows.db, name)
            for edge in cited:
                rows.edges.append((row, class_id, rows.find(edge.cid)))

    def _name(self, db: sqlite3.Connection, text: str) -> int:
        """Give a kind or class its row id."""
        row: int
        (row,) = db.execute("INSERT INTO name (text) VALUES (?) RETURNING id", (text,)).fetchone()
        self._names[text] = row
        return row

    def _put_state(
        self,
        db: sqlite3.Connection,
        rows: Rows,
        state: LogState,
        fresh: Mapping[bytes, tuple[Record, bytes]],
    ) -> None:
        """Keep a log's state once its last record is known to lie where it says."""
        last = rows.find(state.last)
        if state.last in fresh:
            record = fresh[state.last][0]
            place = (record.owner, record.seq, record.time)
        else:
            place = db.execute(
                "SELECT o.cid, r.seq, r.time FROM record r JOIN record o ON o.id = r.log WHERE r.id = ?", (last,)
            ).fetchone()
        check_state(state, place)
        db.execute(_UPSERT_LOG, (rows.find(state.owner), state.size, last, state.peaks.to_bytes()))

    def _raise_fork(
        self,
        db: sqlite3.Connection,
        fresh: Mapping[bytes, tuple[Record, bytes]],
        error: sqlite3.IntegrityError,
    ) -> NoReturn:
        """Find which record's place was taken and raise ForkError; `error` itself if it had another cause."""
        for record, _ in fresh.values():
            other = db.execute(_RIVAL, (record.owner, record.seq, record.id)).fetchone()
            if other is not None:
                raise ForkError(record, Link(other[0])) from None
        raise error
