"""The write side of the SQLite store: one connection, one transaction at a time, row ids given out in memory."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from tslg.node.store.engine import closed, open_writer, translate
from tslg.node.store.interface import ForkError, LogState, check_state
from tslg.protocol.cid import Link
from tslg.protocol.record import Record

_RECENT: Final = 32_768
"""Row ids remembered per generation, about 150 bytes each: the parents of new records are mostly recent ones."""

_SIZES: Final = (1, 2, 4, 8, 32, 128, 500)
"""Lengths of `IN` lists: few, so that each statement is compiled once."""

_FIND: Final = "SELECT cid, id, data IS NOT NULL FROM record WHERE cid IN ({marks})"
_RIVAL: Final = "SELECT cid FROM record WHERE log = (SELECT id FROM record WHERE cid = ?) AND seq = ? AND cid <> ?"
_INSERT_RECORD: Final = "INSERT INTO record (id, cid, log, seq, kind, time, data, seal) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_FILL_RECORD: Final = "UPDATE record SET log = ?, seq = ?, kind = ?, time = ?, data = ?, seal = ? WHERE id = ?"
_INSERT_EDGE: Final = "INSERT INTO edge (child, class, parent) VALUES (?, ?, ?)"
_UPSERT_LOG: Final = (
    "INSERT INTO log (id, size, last, peaks) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
    " SET size = excluded.size, last = excluded.last, peaks = excluded.peaks WHERE excluded.size > size"
)


class Batch(NamedTuple):
    """One caller's append."""

    items: Sequence[tuple[Record, bytes]]
    states: Sequence[LogState]


def in_lists(cids: Iterable[bytes]) -> Iterator[tuple[str, list[bytes | None]]]:
    """Yield (`?,?,…`, parameters) for `IN` lists over ids, padded with nulls, which match nothing."""
    values = [bytes(cid) for cid in cids]
    for start in range(0, len(values), _SIZES[-1]):
        chunk: list[bytes | None] = [*values[start : start + _SIZES[-1]]]
        size = next(size for size in _SIZES if size >= len(chunk))
        chunk.extend([None] * (size - len(chunk)))
        yield ",".join("?" * size), chunk


class _Recent:
    """Row ids of held records, bounded: two generations, the older one dropped when the newer is full."""

    def __init__(self) -> None:
        self._new: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}

    def get(self, cid: bytes) -> int | None:
        found = self._new.get(cid)
        return self._old.get(cid) if found is None else found

    def update(self, rows: dict[bytes, int]) -> None:
        if len(self._new) + len(rows) > _RECENT:
            self._old, self._new = self._new, {}
        self._new.update(rows)

    def clear(self) -> None:
        self._old, self._new = {}, {}


class Writer:
    """The write connection. Its own lock makes every method safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or make the file at `path`. StoreError as `engine.open_writer`."""
        self._path = path
        self._db: sqlite3.Connection | None = open_writer(path)
        self._lock = threading.Lock()
        self._recent = _Recent()
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
        for batch in batches:
            states.extend(batch.states)
            for item in batch.items:
                fresh.setdefault(item[0].id, item)
        if not fresh and not states:
            return
        with self.transaction() as db:
            if self._expect_new:
                try:
                    self._append(db, fresh, states)
                    return
                except sqlite3.IntegrityError:
                    self._expect_new = False
                    db.execute("ROLLBACK")
                    db.execute("BEGIN IMMEDIATE")
                    self._refresh(db)
            try:
                self._append(db, fresh, states)
            except sqlite3.IntegrityError as error:
                self._raise_fork(db, fresh, error)

    def _append(
        self, db: sqlite3.Connection, fresh: Mapping[bytes, tuple[Record, bytes]], states: Sequence[LogState]
    ) -> None:
        """Write records and states. sqlite3.IntegrityError if an id or a place expected to be new is not."""
        rows, items, new = self._resolve(db, fresh, states)
        self._insert(db, items, rows, new)
        for state in states:
            self._put_state(db, state, fresh, rows)
        self._recent.update({record.id: rows[record.id] for record, _ in items})

    def _resolve(
        self, db: sqlite3.Connection, fresh: Mapping[bytes, tuple[Record, bytes]], states: Iterable[LogState]
    ) -> tuple[dict[bytes, int], list[tuple[Record, bytes]], list[bytes]]:
        """Return (row id of every id mentioned, items that are not held, ids that had no row until now)."""
        rows: dict[bytes, int] = {}
        items: list[tuple[Record, bytes]] = []
        new: list[bytes] = []
        unknown: dict[bytes, None] = {}
        recent = self._recent.get
        for cid, item in fresh.items():
            row = recent(cid)
            if row is not None:
                rows[cid] = row
                continue
            items.append(item)
            if self._expect_new:
                new.append(cid)
            else:
                unknown[cid] = None
            for other in _mentioned(item[0]):
                if other not in rows and other not in fresh:
                    row = recent(other)
                    if row is None:
                        unknown[other] = None
                    else:
                        rows[other] = row
        for state in states:
            unknown.update((cid, None) for cid in (state.owner, state.last) if cid not in rows and cid not in fresh)
        held = self._look_up(db, unknown, rows) if unknown else frozenset()
        if not self._expect_new:
            self._expect_new = not any(record.id in rows for record, _ in items)
            items = [item for item in items if item[0].id not in held]
        new.extend(cid for cid in unknown if cid not in rows)
        rows.update(zip(new, range(self._next, self._next + len(new)), strict=True))
        self._next += len(new)
        return rows, items, new

    def _look_up(self, db: sqlite3.Connection, cids: Iterable[bytes], rows: dict[bytes, int]) -> frozenset[bytes]:
        """Add the row ids of those that have one to `rows`; return those that are held."""
        held = []
        for marks, values in in_lists(cids):
            for cid, row, here in db.execute(_FIND.format(marks=marks), values):
                rows[cid] = row
                if here:
                    held.append(cid)
        return frozenset(held)

    def _insert(
        self,
        db: sqlite3.Connection,
        items: Iterable[tuple[Record, bytes]],
        rows: Mapping[bytes, int],
        new: Iterable[bytes],
    ) -> None:
        """Write the rows of new ids, fill the rows of ids that were only cited until now, and write the edges."""
        inserts: list[tuple[Any, ...]] = []
        fills: list[tuple[Any, ...]] = []
        edges: list[tuple[int, int, int]] = []
        name = self._name
        absent = set(new)
        for record, seal in items:
            cid = record.id
            row = rows[cid]
            columns = (rows[record.owner], record.seq, name(db, record.kind), record.time, record.data, seal)
            if cid in absent:
                absent.remove(cid)
                inserts.append((row, bytes(cid), *columns))
            else:
                fills.append((*columns, row))
            for class_name, cited in record.preds.items():
                class_id = name(db, class_name)
                edges.extend([(row, class_id, rows[edge.cid]) for edge in cited])
        if absent:
            inserts.extend((rows[cid], bytes(cid), None, None, None, None, None, None) for cid in absent)
            inserts.sort(key=_row_id)
        db.executemany(_INSERT_RECORD, inserts)
        if fills:
            db.executemany(_FILL_RECORD, fills)
        db.executemany(_INSERT_EDGE, edges)

    def _name(self, db: sqlite3.Connection, text: str) -> int:
        """Return the row id of a kind's or class's name."""
        row = self._names.get(text)
        if row is None:
            (row,) = db.execute("INSERT INTO name (text) VALUES (?) RETURNING id", (text,)).fetchone()
            self._names[text] = row
        return row

    def _put_state(
        self,
        db: sqlite3.Connection,
        state: LogState,
        fresh: Mapping[bytes, tuple[Record, bytes]],
        rows: Mapping[bytes, int],
    ) -> None:
        """Keep a log's state once its last record is known to lie where it says."""
        last = rows[state.last]
        if state.last in fresh:
            record = fresh[state.last][0]
            place = (record.owner, record.seq, record.time)
        else:
            place = db.execute(
                "SELECT o.cid, r.seq, r.time FROM record r JOIN record o ON o.id = r.log WHERE r.id = ?", (last,)
            ).fetchone()
        check_state(state, place)
        db.execute(_UPSERT_LOG, (rows[state.owner], state.size, last, state.peaks.to_bytes()))

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


def _mentioned(record: Record) -> Iterator[bytes]:
    """Yield the ids whose rows a record's rows point to, without itself."""
    if record.agent is not None:
        yield record.agent
    for edges in record.preds.values():
        for edge in edges:
            yield edge.cid


def _row_id(row: tuple[Any, ...]) -> int:
    number: int = row[0]
    return number
