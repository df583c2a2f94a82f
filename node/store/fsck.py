"""The check of an SQLite store: the engine's own, then every record, edge and log state against the records' bytes."""

from __future__ import annotations

import sqlite3
from typing import Final

from tslg.node.store import queries
from tslg.node.store.check import Columns, check_entry, check_log
from tslg.node.store.interface import Entry, LogState, Problem
from tslg.protocol.cid import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.log import Peaks
from tslg.protocol.record import parse_as

_FINDINGS: Final = 100
"""How many of the engine's own findings are taken over: a damaged file can have one for every page."""


def check_tables(db: sqlite3.Connection) -> list[Problem]:
    """Return what is wrong with the tables; where the engine cannot read on, that is the last finding."""
    problems: list[Problem] = []
    try:
        db.execute("BEGIN")
        _check_engine(db, problems)
        _check_records(db, problems)
        _check_logs(db, problems)
        _check_rivals(db, problems)
    except sqlite3.DatabaseError as error:
        problems.append(Problem("TSLG-D-CORRUPT", f"the file cannot be read on from here: {error}"))
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    return problems


def _check_engine(db: sqlite3.Connection, problems: list[Problem]) -> None:
    for (line,) in db.execute(f"PRAGMA integrity_check({_FINDINGS})"):
        if line != "ok":
            problems.append(Problem("TSLG-D-CORRUPT", line))
    for table, row, *_ in db.execute("PRAGMA foreign_key_check"):
        problems.append(Problem("TSLG-D-CORRUPT", f"row {row} of {table} points to nothing"))


def _check_records(db: sqlite3.Connection, problems: list[Problem]) -> None:
    for row, cid, data, seal, attachment, owner, seq, kind, time in db.execute(queries.ALL_RECORDS):
        edges = [(name, Link(parent)) for name, parent in db.execute(queries.EDGES_OF, (row,))]
        columns = Columns(None if owner is None else Link(owner), seq, kind, time)
        problems.extend(check_entry(Link(cid), Entry(data, seal, attachment), columns, edges))
    for (cid,) in db.execute(queries.STRAY_EDGES):
        problems.append(Problem("TSLG-D-EDGES", "edges of a record that is not held", Link(cid)))


def _check_rivals(db: sqlite3.Connection, problems: list[Problem]) -> None:
    for cid, owner, seq, data, _ in db.execute(queries.ALL_RIVALS):
        try:
            record = parse_as(Link(cid), data)
        except TslgError as error:
            problems.append(Problem(error.code, f"the bytes are not the record: {error.detail}", Link(cid)))
            continue
        if (record.owner, record.seq) != (owner, seq):
            problems.append(Problem("TSLG-D-COLUMNS", "log or seq differ from the record's bytes", Link(cid)))


def _check_logs(db: sqlite3.Connection, problems: list[Problem]) -> None:
    for owner, size, last, last_time, peaks in db.execute(queries.ALL_STATES):
        leaves = [Link(cid) for (cid,) in db.execute(queries.LEAVES, (owner, size))]
        try:
            state = LogState(Link(owner), size, Link(last), last_time, Peaks.from_bytes(peaks, size))
        except ValueError as error:
            problems.append(Problem("TSLG-D-STATE", f"a log's state cannot be read: {error}", Link(owner)))
            continue
        problems.extend(check_log(state, leaves))
