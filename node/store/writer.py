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

_SIZES: Final = (1, 4, 16, 64, 500)
"""Lengths of `IN` lists: few, so that each statement is compiled once."""

_FIND: Final = "SELECT cid, id, data IS NOT NULL FROM record WHERE cid IN ({marks})"
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
        self._seen = -1

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
                self._refresh(db)
                yield db
                db.execute("COMMIT")
            except BaseException as error:
                self._seen = -1
                if db.in_transaction:
                    db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise translate(error, self._path) from error
                raise

    def _refresh(self, db: sqlite3.Connection) -> None:
        """Forget what is remembered of the tables if a transaction was undone or another connection wrote."""
        (version,) = db.execute("PRAGMA data_version").fetchone()
        if version != self._seen:
            self._recent.clear()
            self._names = dict(db.execute("SELECT text, id FROM name"))
            (self._next,) = db.execute("SELECT coalesce(max(id), 0) + 1 FROM record").fetchone()
            self._seen = version

    def append(self, batches: Sequence[Batch]) -> None:
        """Store several callers' records and states in one transaction. Raises as `Store.append`, with nothing done."""
        fresh: dict[bytes, tuple[Record, bytes]] = {}
        states: list[LogState] = []
        for batch in batches:
            states.extend(batch.states)
            for item in batch.items:
                fresh.setdefault(item[0].id, item)
        if not fresh and not states:
            return
        with self.transaction() as db:
            rows, held, new = self._resolve(db, fresh, states)
            for cid in held:
                del fresh[cid]
            try:
                self._insert(db, fresh, rows, new)
            except sqlite3.IntegrityError as error:
                self._raise_fork(db, fresh, rows, error)
            for state in states:
                self._put_state(db, state, fresh, rows)
            self._recent.update({cid: rows[cid] for cid in fresh})

    def _resolve(
        self, db: sqlite3.Connection, fresh: Mapping[bytes, tuple[Record, bytes]], states: Iterable[LogState]
    ) -> tuple[dict[bytes, int], set[bytes], list[bytes]]:
        """Return (row id of every id mentioned, those of `fresh` that are held, ids that had no row until now)."""
        rows: dict[bytes, int] = {}
        held: set[bytes] = set()
        unknown: dict[bytes, None] = {}
        recent = self._recent.get
        for cid, (record, _) in fresh.items():
            row = recent(cid)
            if row is not None:
                rows[cid] = row
                held.add(cid)
                continue
            unknown[cid] = None
            for other in _mentioned(record):
                if other not in rows and other not in fresh:
                    row = recent(other)
                    if row is None:
                        unknown[other] = None
                    else:
                        rows[other] = row
        for state in states:
            unknown.update((cid, None) for cid in (state.owner, state.last) if cid not in rows)
        for marks, values in in_lists(unknown):
            for cid, row, here in db.execute(_FIND.format(marks=marks), values):
                rows[cid] = row
                if here and cid in fresh:
                    held.add(cid)
        new = [cid for cid in unknown if cid not in rows]
        rows.update(zip(new, range(self._next, self._next + len(new)), strict=True))
        self._next += len(new)
        return rows, held, new

    def _insert(
        self,
        db: sqlite3.Connection,
        fresh: Mapping[bytes, tuple[Record, bytes]],
        rows: Mapping[bytes, int],
        new: Iterable[bytes],
    ) -> None:
        """Write the rows of new ids, fill the rows of ids that were only cited until now, and write the edges."""
        inserts: list[tuple[Any, ...]] = []
        fills: list[tuple[Any, ...]] = []
        edges: list[tuple[int, int, int]] = []
        name = self._name
        absent = set(new)
        for cid, (record, seal) in fresh.items():
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
        rows: Mapping[bytes, int],
        error: sqlite3.IntegrityError,
    ) -> NoReturn:
        """Find which record's place was taken and raise ForkError; `error` itself if it had another cause."""
        for cid, (record, _) in fresh.items():
            other = db.execute(
                "SELECT cid FROM record WHERE log = ? AND seq = ? AND id <> ?",
                (rows[record.owner], record.seq, rows[cid]),
            ).fetchone()
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
