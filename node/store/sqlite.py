"""The default store: SQLite in write-ahead mode, every commit synced, with the blobs beside it as files."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Self

from tslg.node.store import queries
from tslg.node.store.blobs import FileBlobs
from tslg.node.store.engine import Readers, is_file, make_directory, recognise
from tslg.node.store.fsck import check_tables
from tslg.node.store.group import GroupCommit
from tslg.node.store.heads import keep_heads, order_heads
from tslg.node.store.interface import (
    NO_VALUES,
    NOTHING_ATTACHED,
    EdgeRow,
    Entry,
    Fork,
    LogRow,
    LogState,
    LogSummary,
    Problem,
    SeenHead,
    Verified,
    group_forks,
    incomplete,
    not_held,
    prefix_range,
)
from tslg.node.store.rows import in_lists
from tslg.node.store.sqlite_graph import FIRST, SqliteGraph, links
from tslg.node.store.writer import Batch, Writer
from tslg.protocol.cid import Link, to_text
from tslg.protocol.errors import StoreError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.log import Peaks
from tslg.protocol.record import Record


class SqliteStore(SqliteGraph):
    """A store in a data directory. Open it with `SqliteStore.open`."""

    def __init__(self, path: Path, writer: Writer | None) -> None:
        self._path = path
        self._writer = writer
        super().__init__(Readers(path))
        self._blobs = FileBlobs(path.parent / "blobs")
        self._group = None if writer is None else GroupCommit(writer.append)

    @classmethod
    def open(cls, path: str | Path, *, readonly: bool = False) -> Self:
        """Open the store in the file at `path`, making it and its directory if need be and not `readonly`.

        The blobs lie in the directory `blobs` beside the file. For writing the caller holds the `DataDirLock` of the
        file's directory; readers, in any process, need none.

        Raises:
            StoreError: `TSLG-D-DIRECTORY`, `TSLG-D-OPEN`, `TSLG-D-PERMISSION`, `TSLG-D-NOT-A-STORE`,
                `TSLG-D-CORRUPT`, `TSLG-D-SCHEMA`, or `TSLG-D-MISSING` if there is nothing to read.
        """
        path = Path(path)
        if not readonly:
            make_directory(path.parent)
        exists = is_file(path)
        if readonly and not exists:
            raise _no_store(path)
        if not readonly:
            store = cls(path, Writer(path))
            store._blobs.clear_unfinished()
            return store
        store = cls(path, None)
        try:
            with store._readers.use() as db:
                if not recognise(db, path):
                    raise _no_store(path)
        except StoreError:
            store.close()
            raise
        return store

    def append(
        self,
        items: Sequence[tuple[Record, bytes]],
        states: Sequence[LogState] = (),
        attachments: Mapping[Link, bytes] = NOTHING_ATTACHED,
        values: Mapping[str, bytes] = NO_VALUES,
    ) -> None:
        """See `Store.append`. Threads that call it at the same time share a transaction."""
        if self._group is None:
            raise self._read_only()
        self._group.submit(Batch(items, states, attachments, values))

    def set_attachment(self, cid: Link, attachment: bytes | None) -> None:
        """See `Store.set_attachment`."""
        with self._write() as db:
            if db.execute(queries.SET_ATTACHMENT, (attachment, cid)).rowcount == 0:
                raise not_held(cid)

    def erase(self, attachments: Mapping[Link, bytes | None], blobs: Iterable[bytes]) -> None:
        """See `Store.erase`."""
        for cid, attachment in attachments.items():
            self.set_attachment(cid, attachment)
        if self._writer is None:
            raise self._read_only()
        self._writer.rewrite()
        self._blobs.erase(blobs)

    def get(self, cid: Link) -> Entry | None:
        """See `Store.get`."""
        with self._readers.use() as db:
            row = db.execute(queries.GET, (cid,)).fetchone() or db.execute(queries.GET_RIVAL, (cid,)).fetchone()
        return None if row is None else Entry(*row)

    def get_many(self, cids: Iterable[Link]) -> dict[Link, Entry]:
        """See `Store.get_many`."""
        found: dict[Link, Entry] = {}
        wanted = tuple(cids)
        with self._readers.use() as db:
            for query in (queries.GET_MANY, queries.GET_RIVALS):
                for marks, values in in_lists(wanted):
                    for cid, data, seal, attachment in db.execute(query.format(marks=marks), values):
                        found[Link(cid)] = Entry(data, seal, attachment)
                if len(found) >= len(wanted):
                    break
        return found

    def has(self, cid: Link) -> bool:
        """See `Store.has`."""
        with self._readers.use() as db:
            row = db.execute(queries.HAS, (cid,)).fetchone() or db.execute(queries.HAS_RIVAL, (cid,)).fetchone()
        return row is not None

    def missing(self, cids: Iterable[Link]) -> list[Link]:
        """See `Store.missing`."""
        absent = dict.fromkeys(cids)
        with self._readers.use() as db:
            for query in (queries.HAS_MANY, queries.HAS_RIVALS) if absent else ():
                for marks, values in in_lists(tuple(absent)):
                    for (cid,) in db.execute(query.format(marks=marks), values):
                        del absent[cid]
        return list(absent)

    def log_state(self, owner: Link) -> LogState | None:
        """See `Store.log_state`."""
        with self._readers.use() as db:
            row = db.execute(queries.STATE, (owner,)).fetchone()
        if row is None:
            return None
        size, last, last_time, peaks = row
        try:
            return LogState(owner, size, Link(last), last_time, Peaks.from_bytes(peaks, size))
        except ValueError as error:
            raise StoreError(
                f"{self._path}: {error}", code="TSLG-D-CORRUPT", mend="run `tslg fsck`", record=owner
            ) from error

    def logs(self) -> list[LogSummary]:
        """See `Store.logs`."""
        with self._readers.use() as db:
            rows = db.execute(queries.LOGS).fetchall()
        return [LogSummary(Link(owner), count, newest, bool(complete)) for owner, count, newest, complete in rows]

    def log_range(self, owner: Link, start: int, stop: int) -> list[tuple[Link, Entry]]:
        """See `Store.log_range`."""
        with self._readers.use() as db:
            rows = db.execute(queries.RANGE, (owner, start, stop)).fetchall()
        return [(Link(cid), Entry(data, seal, attachment)) for cid, data, seal, attachment in rows]

    def at(self, owner: Link, seq: int) -> Link | None:
        """See `Store.at`."""
        with self._readers.use() as db:
            row = db.execute(queries.AT, (owner, seq)).fetchone()
        return None if row is None else Link(row[0])

    def newest_seq(self, owner: Link) -> int | None:
        """See `Store.newest_seq`."""
        with self._readers.use() as db:
            row = db.execute(queries.NEWEST, (owner,)).fetchone()
        return None if row is None else int(row[0])

    def leaves(self, owner: Link, size: int) -> list[bytes]:
        """See `Store.leaves`."""
        with self._readers.use() as db:
            if db.execute(queries.COMPLETE, (owner, size)).fetchone() is None:
                raise incomplete(owner, size)
            return list(map(FIRST, db.execute(queries.LEAVES, (owner, size))))

    def ids(self, owner: Link, start: int, stop: int) -> list[Link]:
        """Return the ids held of a log with start <= seq < stop, by seq."""
        with self._readers.use() as db:
            return links(db.execute(queries.IDS, (owner, start, stop)))

    def by_prefix(self, prefix: str, limit: int = 16) -> list[Link]:
        """See `Store.by_prefix`."""
        low, high = prefix_range(prefix)
        found: list[Link] = []
        with self._readers.use() as db, closing(db.execute(queries.BETWEEN, (low, high))) as rows:
            for (cid,) in rows:
                if len(found) >= limit:
                    break
                if to_text(cid).startswith(prefix):
                    found.append(Link(cid))
        return found

    def by_kind(self, kind: str, owner: Link | None = None, limit: int = 1000) -> list[Link]:
        """See `Store.by_kind`."""
        with self._readers.use() as db:
            if owner is None:
                return links(db.execute(queries.BY_KIND.format(owner=""), (kind, limit)))
            return links(db.execute(queries.BY_KIND.format(owner=queries.OF_OWNER), (kind, owner, limit)))

    def mentioning(self, content: bytes, kinds: Collection[str], limit: int = 1000) -> list[Link]:
        """See `Store.mentioning`."""
        query = queries.MENTIONING.format(marks=",".join("?" * len(kinds)))
        with self._readers.use() as db:
            return links(db.execute(query, (*kinds, content, content, limit)))

    def get_meta(self, key: str) -> bytes | None:
        """See `Store.get_meta`."""
        with self._readers.use() as db:
            row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def set_meta(self, key: str, value: bytes) -> None:
        """See `Store.set_meta`."""
        with self._write() as db:
            db.execute(queries.SET_META, (key, value))

    def record_head(self, owner: Link, size: int, root: bytes, record: Link | None, source: str, seen_ms: int) -> None:
        """See `Store.record_head`."""
        new = SeenHead(owner, size, root, record, source, seen_ms)
        with self._write() as db:
            keep = keep_heads(_read_heads(db, owner), new, DEFAULT.heads_per_log)
            db.execute("DELETE FROM head WHERE owner = ?", (owner,))
            db.executemany(
                "INSERT INTO head (owner, size, root, record, source, seen_ms) VALUES (?, ?, ?, ?, ?, ?)", keep
            )

    def heads(self, owner: Link) -> list[SeenHead]:
        """See `Store.heads`."""
        with self._readers.use() as db:
            return order_heads(_read_heads(db, owner))

    def keep_rivals(self, items: Sequence[tuple[Record, bytes]]) -> None:
        """See `Store.keep_rivals`."""
        with self._write() as db:
            for record, seal in items:
                row = (record.id, record.owner, record.seq, record.data, seal)
                db.execute(queries.INSERT_RIVAL, (*row, record.owner, DEFAULT.rivals_per_log))

    def forks(self, owner: Link | None = None) -> list[Fork]:
        """See `Store.forks`."""
        with self._readers.use() as db:
            rows = db.execute(queries.RIVALS, (owner, owner)).fetchall()
        return group_forks((Link(found), seq, Link(cid)) for found, seq, cid in rows)

    def log_rows(self, owner: Link, stop: int) -> list[LogRow]:
        """See `Store.log_rows`."""
        with self._readers.use() as db:
            rows = db.execute(queries.LOG_ROWS, (owner, stop)).fetchall()
        return [LogRow(Link(cid), seq, kind, time) for cid, seq, kind, time in rows]

    def citations(self, owner: Link, stop: int, classes: Collection[str], kinds: Collection[str]) -> list[EdgeRow]:
        """See `Store.citations`."""
        return self._citations(queries.CITATIONS, (owner, stop), classes, kinds)

    def stray_citations(self, classes: Collection[str], kinds: Collection[str]) -> list[EdgeRow]:
        """Return the edges of these classes, or from records of these kinds, to ids whose place is not known here."""
        return self._citations(queries.STRAY_CITATIONS, (), classes, kinds)

    def _citations(
        self, query: str, values: tuple[object, ...], classes: Collection[str], kinds: Collection[str]
    ) -> list[EdgeRow]:
        with self._readers.use() as db:
            ids = dict(db.execute("SELECT text, id FROM name"))
            named, made = ([ids[text] for text in texts if text in ids] for texts in (classes, kinds))
            marks = {"classes": ",".join("?" * len(named)), "kinds": ",".join("?" * len(made))}
            rows = db.execute(query.format(**marks), (*values, *named, *made)).fetchall()
        return [EdgeRow(Link(child), name, Link(parent)) for child, name, parent in rows]

    def begin_prune(self, prune: Link, cids: Sequence[Link]) -> None:
        """See `Store.begin_prune`."""
        with self._write() as db:
            # In a shard the prune record itself may be known by its id alone.
            db.execute(queries.NAME_ID, (prune,))
            db.executemany(queries.NOTE_PRUNED, ((prune, cid) for cid in cids))

    def drop_pruned(self, limit: int) -> int:
        """See `Store.drop_pruned`."""
        if self._writer is None:
            raise self._read_only()
        return self._writer.drop_pruned(limit)

    def pruned_by(self, cids: Iterable[Link]) -> dict[Link, Link]:
        """See `Store.pruned_by`."""
        found: dict[Link, Link] = {}
        with self._readers.use() as db:
            for marks, values in in_lists(tuple(cids)):
                for cid, prune in db.execute(queries.PRUNED_BY.format(marks=marks), values):
                    found[Link(cid)] = Link(prune)
        return found

    def pruned_ids(self, prune: Link) -> list[Link]:
        """See `Store.pruned_ids`."""
        with self._readers.use() as db:
            return links(db.execute(queries.PRUNED_IDS, (prune,)))

    def drop_blobs(self, digests: Iterable[bytes]) -> int:
        """See `Store.drop_blobs`."""
        if self._writer is None:
            raise self._read_only()
        return self._blobs.drop(digests)

    def reclaim(self) -> None:
        """See `Store.reclaim`."""
        if self._writer is None:
            raise self._read_only()
        self._writer.reclaim()

    def set_verified(self, cid: Link, edges: int | None) -> None:
        """See `Store.set_verified`."""
        self.set_all_verified([cid], edges)

    def set_all_verified(self, cids: Iterable[Link], edges: int | None) -> None:
        """See `Store.set_all_verified`."""
        rows = [(cid, edges) for cid in cids]
        with self._write() as db:
            db.executemany("INSERT OR REPLACE INTO verified (cid, edges) VALUES (?, ?)", rows)

    def verified(self, cid: Link) -> Verified | None:
        """See `Store.verified`."""
        with self._readers.use() as db:
            row = db.execute("SELECT edges FROM verified WHERE cid = ?", (cid,)).fetchone()
        return None if row is None else Verified(*row)

    def put_blob(self, data: bytes) -> bytes:
        """See `Store.put_blob`."""
        if self._writer is None:
            raise self._read_only()
        return self._blobs.put(data)

    def put_blobs(self, contents: Iterable[bytes]) -> list[bytes]:
        """See `Store.put_blobs`."""
        if self._writer is None:
            raise self._read_only()
        return self._blobs.put_all(contents)

    def get_blob(self, digest: bytes) -> bytes | None:
        """See `Store.get_blob`."""
        return self._blobs.get(digest)

    def check(self) -> list[Problem]:
        """See `Store.check`."""
        with self._readers.use() as db:
            return check_tables(db) + self._blobs.check()

    def repair(self, copy: Path) -> list[Problem]:
        """Rebuild columns, edges and log states from the records' bytes; the file as it was is copied to `copy` first.

        Returns what is wrong with records themselves, which nothing here can mend. StoreError as for any write.
        """
        if self._writer is None:
            raise self._read_only()
        return self._writer.repair(copy)

    def close(self) -> None:
        """See `Store.close`."""
        self._readers.close()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write(self) -> AbstractContextManager[sqlite3.Connection]:
        if self._writer is None:
            raise self._read_only()
        return self._writer.transaction()

    def _read_only(self) -> StoreError:
        return StoreError(f"{self._path}: opened for reading", code="TSLG-D-READONLY", mend="open it for writing")


def _no_store(path: Path) -> StoreError:
    return StoreError(f"{path}: no store here", code="TSLG-D-MISSING", mend="name the data directory")


def _read_heads(db: sqlite3.Connection, owner: Link) -> list[SeenHead]:
    rows = db.execute("SELECT size, root, record, source, seen_ms FROM head WHERE owner = ?", (owner,)).fetchall()
    return [
        SeenHead(owner, size, root, None if record is None else Link(record), source, seen_ms)
        for size, root, record, source, seen_ms in rows
    ]
