"""The SQLite schema, its version, and the marks by which a file is recognised as ours.

Integer row ids stand for ids everywhere but in `record.cid`: edges are three small integers, which makes inserts and
graph queries about twice as fast as 36-byte keys do. A log's row id is that of its owner's first record.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x74736C67
"""`tslg` in ASCII, in the file's header."""

VERSION: Final = 3
"""Raised with every change of the tables; a file of a newer version is not opened."""

_FORKS_AND_PRUNING: Final = """
-- Records that share one place of a log, kept beside it as proof of equivocation, the one in the log included.
CREATE TABLE IF NOT EXISTS rival (
    cid   BLOB PRIMARY KEY,
    owner BLOB NOT NULL,
    seq   INTEGER NOT NULL,
    data  BLOB NOT NULL,
    seal  BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS rival_place ON rival (owner, seq);

-- Which prune record committed to which records; `pending` ones still have their bytes, until they are dropped.
CREATE TABLE IF NOT EXISTS pruned (
    prune   INTEGER NOT NULL REFERENCES record (id),
    record  INTEGER NOT NULL REFERENCES record (id),
    pending INTEGER NOT NULL,
    PRIMARY KEY (prune, record)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pruned_record ON pruned (record);
CREATE INDEX IF NOT EXISTS pruned_pending ON pruned (prune, record) WHERE pending = 1;
"""

SCHEMA: Final = f"""
-- Every id that is held or cited. Cited and not held: all but id and cid are null, until the record comes.
-- No row is ever deleted, so that a row id stands for one id for good, which readers rely on.
CREATE TABLE record (
    id   INTEGER PRIMARY KEY,
    cid  BLOB NOT NULL UNIQUE,
    log  INTEGER REFERENCES record (id),
    seq  INTEGER,
    kind INTEGER REFERENCES name (id),
    time INTEGER,
    data BLOB,
    seal BLOB,
    attachment BLOB
);
CREATE UNIQUE INDEX record_place ON record (log, seq) WHERE log IS NOT NULL;
CREATE INDEX record_kind ON record (kind, log, time, seq) WHERE kind IS NOT NULL;

-- Kinds and predecessor classes.
CREATE TABLE name (
    id   INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
);

CREATE TABLE edge (
    child  INTEGER NOT NULL REFERENCES record (id),
    class  INTEGER NOT NULL REFERENCES name (id),
    parent INTEGER NOT NULL REFERENCES record (id),
    PRIMARY KEY (child, class, parent)
) WITHOUT ROWID;
CREATE INDEX edge_reverse ON edge (parent, class, child);

-- Logs held completely from seq 0: the tree's peaks after `size` leaves, the last of which is `last`.
CREATE TABLE log (
    id    INTEGER PRIMARY KEY REFERENCES record (id),
    size  INTEGER NOT NULL,
    last  INTEGER NOT NULL REFERENCES record (id),
    peaks BLOB NOT NULL
);

-- What this node verified behind a record itself; null edges: all of them.
CREATE TABLE verified (
    cid   BLOB PRIMARY KEY,
    edges INTEGER
) WITHOUT ROWID;

-- Heads of logs as others gave them. Owners are ids here: nothing of their logs need be held.
CREATE TABLE head (
    owner   BLOB NOT NULL,
    size    INTEGER NOT NULL,
    root    BLOB NOT NULL,
    record  BLOB,
    source  TEXT NOT NULL,
    seen_ms INTEGER NOT NULL
);
CREATE INDEX head_owner ON head (owner);

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
{_FORKS_AND_PRUNING}"""

UPGRADES: Final = {1: "ALTER TABLE record ADD COLUMN attachment BLOB", 2: _FORKS_AND_PRUNING}
"""By version, what makes a file of it one of the next version; whoever opens it for writing does that first."""
