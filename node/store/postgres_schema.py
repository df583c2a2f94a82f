"""The PostgreSQL schema, its version, and the mark by which a schema of the database is recognised as ours.

Unlike in SQLite, edges hold ids themselves and not row numbers: several nodes write at once, and a row for every id
that is merely cited would make them wait for each other.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""Raised with every change of the tables; a schema of a newer version is not opened."""

MARK: Final = "tslg"
"""The table by which a schema is known to be ours; its only row holds the version and the count of telling changes."""

SCHEMA: Final = """
CREATE TABLE tslg (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    changes bigint NOT NULL DEFAULT 0
);

-- Every record that is held, and the places of those whose bytes were pruned: data, seal, kind and time are null there.
CREATE TABLE record (
    cid        bytea PRIMARY KEY,
    owner      bytea NOT NULL,
    seq        bigint NOT NULL,
    kind       text COLLATE "C",
    time       bigint,
    data       bytea,
    seal       bytea,
    attachment bytea
);
CREATE UNIQUE INDEX record_place ON record (owner, seq);
CREATE INDEX record_kind ON record (kind, owner, time, seq) WHERE data IS NOT NULL;

-- Written with its record and by nobody else, so no edge is there twice. One id an index: a record has few edges.
CREATE TABLE edge (
    child  bytea NOT NULL,
    class  text COLLATE "C" NOT NULL,
    parent bytea NOT NULL
);
CREATE INDEX edge_child ON edge (child);
CREATE INDEX edge_parent ON edge (parent);

-- Logs held completely from seq 0: the tree's peaks after `size` leaves, the last of which is `last`.
CREATE TABLE log (
    owner bytea PRIMARY KEY,
    size  bigint NOT NULL,
    last  bytea NOT NULL,
    peaks bytea NOT NULL
);

-- What a node verified behind a record itself; null edges: all of them.
CREATE TABLE verified (
    cid   bytea PRIMARY KEY,
    edges bigint
);

-- Heads of logs as others gave them. Sources are kept as bytes, since a text may hold what PostgreSQL takes in no text.
CREATE TABLE head (
    owner   bytea NOT NULL,
    size    bigint NOT NULL,
    root    bytea NOT NULL,
    record  bytea,
    source  bytea NOT NULL,
    seen_ms bigint NOT NULL
);
CREATE INDEX head_owner ON head (owner);

CREATE TABLE meta (
    key   text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);

-- Records that share one place of a log, kept beside it as proof of equivocation, the one in the log included.
CREATE TABLE rival (
    cid   bytea PRIMARY KEY,
    owner bytea NOT NULL,
    seq   bigint NOT NULL,
    data  bytea NOT NULL,
    seal  bytea NOT NULL
);
CREATE INDEX rival_place ON rival (owner, seq);

-- Which prune record committed to which records; `pending` ones still have their bytes, until they are dropped.
CREATE TABLE pruned (
    prune   bytea NOT NULL,
    record  bytea NOT NULL,
    pending boolean NOT NULL,
    PRIMARY KEY (prune, record)
);
CREATE INDEX pruned_record ON pruned (record);
CREATE INDEX pruned_pending ON pruned (prune, record) WHERE pending;

CREATE TABLE blob (
    digest bytea PRIMARY KEY,
    data   bytea NOT NULL
);
ALTER TABLE blob ALTER COLUMN data SET STORAGE EXTERNAL;
"""

TABLES: Final = ("record", "edge", "log", "verified", "head", "meta", "rival", "pruned", "blob")
"""All but the mark."""
