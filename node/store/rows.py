"""The rows of one transaction: row ids for the ids in it, and what is to be written under them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tslg.protocol.record import Record

_RECENT: Final = 32_768
"""Row ids remembered per generation, about 150 bytes each: the parents of new records are mostly recent ones."""

_SIZES: Final = (1, 2, 4, 8, 32, 128, 500)
"""Lengths of `IN` lists: few, so that each statement is compiled once."""

_FIND_ONE: Final = "SELECT id FROM record WHERE cid = ?"
_FIND: Final = "SELECT cid, id, data IS NOT NULL FROM record WHERE cid IN ({marks})"
_INSERT_RECORD: Final = (
    "INSERT INTO record (id, cid, log, seq, kind, time, data, seal, attachment) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_FILL_RECORD: Final = (
    "UPDATE record SET log = ?, seq = ?, kind = ?, time = ?, data = ?, seal = ?, attachment = ?"
    " WHERE id = ? AND data IS NULL"
)
_INSERT_EDGE: Final = "INSERT INTO edge (child, class, parent) VALUES (?, ?, ?)"
_ONLY_CITED: Final = (None, None, None, None, None, None, None)


def in_lists(cids: Iterable[bytes]) -> Iterator[tuple[str, list[bytes | None]]]:
    """Yield (`?,?,…`, parameters) for `IN` lists over ids, padded with nulls, which match nothing."""
    values = [bytes(cid) for cid in cids]
    for start in range(0, len(values), _SIZES[-1]):
        chunk: list[bytes | None] = [*values[start : start + _SIZES[-1]]]
        size = next(size for size in _SIZES if size >= len(chunk))
        chunk.extend([None] * (size - len(chunk)))
        yield ",".join("?" * size), chunk


class Recent:
    """Row ids of held records, bounded: two generations, the older one dropped when the newer is full."""

    def __init__(self) -> None:
        self._new: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}

    def get(self, cid: bytes) -> int | None:
        """Return the row id of a held record, None if it is not remembered."""
        found = self._new.get(cid)
        return self._old.get(cid) if found is None else found

    def update(self, rows: dict[bytes, int]) -> None:
        """Remember row ids of held records."""
        if len(self._new) + len(rows) > _RECENT:
            self._old, self._new = self._new, {}
        self._new.update(rows)

    def clear(self) -> None:
        """Forget everything."""
        self._old, self._new = {}, {}


class Rows:
    """Gathers what one transaction writes.

    Attributes:
        db: the write connection, inside the transaction.
        next: the next free row id.
        known: row ids looked up or given out here.
        held: those of the ids looked up that are held.
        added: row ids of the records put here.
        edges: (child, class, parent) to be written.
    """

    __slots__ = ("_fills", "_inserts", "_looked_up", "_recent", "added", "db", "edges", "held", "known", "next")

    def __init__(self, db: sqlite3.Connection, recent: Recent, next_row: int) -> None:
        self.db = db
        self.next = next_row
        self.known: dict[bytes, int] = {}
        self.held: set[bytes] = set()
        self.added: dict[bytes, int] = {}
        self.edges: list[tuple[int, int, int]] = []
        self._recent = recent
        self._inserts: dict[int, tuple[Any, ...]] = {}
        self._fills: list[tuple[Any, ...]] = []
        self._looked_up = False

    def look_up(self, fresh: Mapping[bytes, tuple[Record, bytes]], others: Iterable[bytes]) -> None:
        """Ask the tables at once for every id of this transaction: records, what they mention, and `others`."""
        asked: dict[bytes, None] = dict.fromkeys(others)
        for cid, (record, _) in fresh.items():
            asked[cid] = None
            if record.agent is not None:
                asked[record.agent] = None
            asked.update((edge.cid, None) for edges in record.preds.values() for edge in edges)
        recent = self._recent.get
        for marks, values in in_lists(cid for cid in asked if recent(cid) is None):
            for cid, row, held in self.db.execute(_FIND.format(marks=marks), values):
                self.known[cid] = row
                if held:
                    self.held.add(cid)
        self._looked_up = True

    def find(self, cid: bytes) -> int:
        """Return the row id of a cited id, giving it one if it has none."""
        row = self.known.get(cid)
        if row is None:
            row = self._recent.get(cid)
            if row is None:
                row = self._find_or_cite(cid)
        return row

    def _find_or_cite(self, cid: bytes) -> int:
        found = None if self._looked_up else self.db.execute(_FIND_ONE, (cid,)).fetchone()
        if found is None:
            row = self.place(cid)
            self._inserts[row] = (row, bytes(cid), *_ONLY_CITED)
        else:
            row = self.known[cid] = found[0]
        return row

    def place(self, cid: bytes) -> int:
        """Return the row id under which a record is to be put."""
        row = self.known.get(cid)
        if row is None:
            row = self.known[cid] = self.next
            self.next = row + 1
            self._inserts[row] = ()
        return row

    def put(self, row: int, cid: bytes, columns: tuple[Any, ...]) -> None:
        """Put a record's columns (from `log` on) into its row, which is new or was only cited until now."""
        self.added[cid] = row
        if row in self._inserts:
            self._inserts[row] = (row, bytes(cid), *columns)
        else:
            self._fills.append((*columns, row))

    def write(self) -> None:
        """Write it all. sqlite3.IntegrityError if an id or a place in a log is taken."""
        self.db.executemany(_INSERT_RECORD, self._inserts.values())
        if self._fills:
            self.db.executemany(_FILL_RECORD, self._fills)
        self.db.executemany(_INSERT_EDGE, self.edges)
