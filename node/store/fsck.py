"""The check of an SQLite store: the engine's own, then every record, edge and log state against the records' bytes."""

from __future__ import annotations

import sqlite3
from typing import Final

from tslg.node.store import queries
from tslg.node.store.check import Columns, check_entry, check_log_row, check_rival
from tslg.node.store.interface import Entry, Problem
from tslg.protocol.cid import Link

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
        problems.extend(check_rival(Link(cid), owner, seq, data))


def _check_logs(db: sqlite3.Connection, problems: list[Problem]) -> None:
    for owner, size, last, last_time, peaks in db.execute(queries.ALL_STATES):
        leaves = [Link(cid) for (cid,) in db.execute(queries.LEAVES, (owner, size))]
        problems.extend(check_log_row(owner, size, last, last_time, peaks, leaves))
