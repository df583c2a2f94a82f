"""Rebuilding an SQLite store's index from the records' own bytes: columns, edges and log states.

In one transaction, on a file of which a copy was made first. No record is invented and none is dropped: a row whose
bytes are not the record that its id says is left as it is, and told. Ids whose bytes were pruned keep their places.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tslg.node.store import queries
from tslg.node.store.engine import translated
from tslg.node.store.interface import Problem
from tslg.protocol.cid import Link
from tslg.protocol.errors import StoreError, TslgError
from tslg.protocol.log import Peaks
from tslg.protocol.record import Record, parse_as

_CHUNK = 1_000


def back_up(db: sqlite3.Connection, path: Path) -> None:
    """Copy the database to a new file at `path`. StoreError if there is one already, or it cannot be written."""
    if path.exists():
        raise StoreError(f"{path}: there already", code="TSLG-D-PATH", mend="move the earlier copy away")
    with translated(path):
        copy = sqlite3.connect(path)
        try:
            db.backup(copy)
        finally:
            copy.close()


def repair(db: sqlite3.Connection) -> list[Problem]:
    """Rebuild the index inside a transaction that the caller has begun; return what could not be mended."""
    problems: list[Problem] = []
    names = dict(db.execute("SELECT text, id FROM name"))
    db.execute("DELETE FROM edge")
    # Places are taken away first, or rows that swapped theirs would be in each other's way.
    db.execute("UPDATE record SET seq = -id WHERE data IS NOT NULL AND log IS NOT NULL")
    for start in range(0, _last(db) + 1, _CHUNK):
        rows = db.execute(
            "SELECT id, cid, data FROM record WHERE data IS NOT NULL AND id >= ? AND id < ?", (start, start + _CHUNK)
        ).fetchall()
        for row, cid, data in rows:
            try:
                record = parse_as(Link(cid), data)
            except TslgError as error:
                problems.append(Problem(error.code, f"the bytes are not the record: {error.detail}", Link(cid)))
                continue
            _rebuild(db, row, record, names)
    _states(db)
    return problems


def _last(db: sqlite3.Connection) -> int:
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM record").fetchone()
    return int(last)


def _rebuild(db: sqlite3.Connection, row: int, record: Record, names: dict[str, int]) -> None:
    log = row if record.agent is None else _row(db, record.agent)
    kind = _name(db, record.kind, names)
    db.execute(
        "UPDATE record SET log = ?, seq = ?, kind = ?, time = ? WHERE id = ?", (log, record.seq, kind, record.time, row)
    )
    for name, cited in record.preds.items():
        for edge in cited:
            values = (row, _name(db, name, names), _row(db, edge.cid))
            db.execute("INSERT INTO edge (child, class, parent) VALUES (?, ?, ?)", values)


def _row(db: sqlite3.Connection, cid: bytes) -> int:
    """Return the row of an id, giving it one if it has none: whatever is cited has one."""
    found = db.execute("SELECT id FROM record WHERE cid = ?", (cid,)).fetchone()
    if found is None:
        found = db.execute("INSERT INTO record (cid) VALUES (?) RETURNING id", (bytes(cid),)).fetchone()
    return int(found[0])


def _name(db: sqlite3.Connection, text: str, names: dict[str, int]) -> int:
    if text not in names:
        (names[text],) = db.execute("INSERT INTO name (text) VALUES (?) RETURNING id", (text,)).fetchone()
    return names[text]


def _states(db: sqlite3.Connection) -> None:
    """Make the states anew of the logs whose states were kept, as far as their ids reach without a gap."""
    for (log,) in db.execute("SELECT id FROM log").fetchall():
        peaks, last = Peaks(), None
        rows = db.execute("SELECT id, cid, seq, data IS NOT NULL FROM record WHERE log = ? ORDER BY seq", (log,))
        for row, cid, seq, held in rows:
            if seq != peaks.size:
                break
            peaks.append(cid)
            if held:
                last = (row, peaks.size, peaks.to_bytes())
        db.execute("DELETE FROM log WHERE id = ?", (log,))
        if last is not None:
            db.execute(queries.INSERT_STATE, (log, last[1], last[0], last[2]))
