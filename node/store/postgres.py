"""A store in a PostgreSQL database, on which several nodes may work, each writing the logs of its own agents."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Self

from tslg.node.store import postgres_sql as queries
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
    Store,
    Verified,
    group_forks,
    incomplete,
    not_held,
    prefix_range,
)
from tslg.node.store.postgres_check import check_tables
from tslg.node.store.postgres_engine import Db, Place, Rows
from tslg.node.store.postgres_opening import prepare, recognise
from tslg.node.store.postgres_reader import Readers
from tslg.node.store.postgres_upkeep import copy_in, drop, empty, erase_traces, reclaim
from tslg.node.store.postgres_writer import Writer
from tslg.node.store.writer import Batch
from tslg.protocol.cid import Link, to_text
from tslg.protocol.errors import StoreError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.log import Peaks
from tslg.protocol.record import Record

_CHUNK: Final = 10_000
"""Ids asked for in one query."""
_PREFIX_CHUNK: Final = 1_000


class PostgresStore(Store):
    """A store in one schema of a database. Open it with `PostgresStore.open`."""

    def __init__(self, place: Place, writer: Writer | None) -> None:
        self.place = place
        self._writer = writer
        self._readers = Readers(place)
        self._group = None if writer is None else GroupCommit(writer.append)

    @classmethod
    def open(cls, place: Place, *, readonly: bool = False, alone: bool = False) -> Self:
        """Open the store at `place`, making its tables if need be and not `readonly`.

        Args:
            place: the database and schema.
            readonly: write nothing.
            alone: be the only process that writes the store, as whoever spreads logs over several stores must be.

        Raises:
            StoreError: `TSLG-D-SERVER`, `TSLG-D-PERMISSION`, `TSLG-D-NOT-A-STORE`, `TSLG-D-SCHEMA`, `TSLG-D-UNSAFE`,
                `TSLG-D-LOCKED`, or `TSLG-D-MISSING` if there is no such database, or nothing to read.
        """
        if readonly:
            recognise(place)
            return cls(place, None)
        prepare(place)
        return cls(place, Writer(place, alone=alone))

    # --- writing ---------------------------------------------------------------------------------------------------

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

    def claim(self, owner: Link) -> None:
        """See `Store.claim`: a lock at the server, which ends with this process."""
        self._writing().claim(owner)

    def changes(self) -> int:
        """See `Store.changes`."""
        return int(self._one(queries.CHANGES)[0])

    def set_attachment(self, cid: Link, attachment: bytes | None) -> None:
        """See `Store.set_attachment`."""

        def work(db: Db) -> None:
            if db.execute(queries.SET_ATTACHMENT, (attachment, cid)).rowcount == 0:
                raise not_held(cid)
            db.execute(queries.TOLD)

        self._writing().transaction(work)

    def erase(self, attachments: Mapping[Link, bytes | None], blobs: Iterable[bytes]) -> None:
        """See `Store.erase`. The server's write-ahead log, copies and backups are beyond it."""
        for cid, attachment in attachments.items():
            self.set_attachment(cid, attachment)
        self.drop_blobs(blobs)
        erase_traces(self.place)

    def keep_rivals(self, items: Sequence[tuple[Record, bytes]]) -> None:
        """See `Store.keep_rivals`."""
        rows = [(r.id, r.owner, r.seq, r.data, seal, r.owner, DEFAULT.rivals_per_log) for r, seal in items]

        def work(db: Db) -> None:
            for owner in sorted({row[1] for row in rows}):
                db.execute(queries.WAIT_FOR, (self.place.key(b"rivals", owner),))
            for row in rows:
                db.execute(queries.INSERT_RIVAL, row)
            db.execute(queries.TOLD)

        self._writing().transaction(work)

    def record_head(self, owner: Link, size: int, root: bytes, record: Link | None, source: str, seen_ms: int) -> None:
        """See `Store.record_head`."""
        new = SeenHead(owner, size, root, record, source, seen_ms)

        def work(db: Db) -> None:
            db.execute(queries.WAIT_FOR, (self.place.key(b"heads", owner),))
            known = _seen_heads(owner, db.execute(queries.HEADS, (owner,), binary=True).fetchall())
            db.execute(queries.DROP_HEADS, (owner,))
            for head in keep_heads(known, new, DEFAULT.heads_per_log):
                db.execute(
                    queries.INSERT_HEAD, (owner, head.size, head.root, head.record, _encode(head.source), head.seen_ms)
                )
            db.execute(queries.TOLD)

        self._writing().transaction(work)

    def set_meta(self, key: str, value: bytes) -> None:
        """See `Store.set_meta`."""
        self._write(queries.SET_META, (key, value))

    def keep_meta(self, key: str, value: bytes) -> bytes:
        """See `Store.keep_meta`."""
        self._write(queries.KEEP_META, (key, value))
        kept = self.get_meta(key)
        assert kept is not None
        return kept

    def change_meta(self, key: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """See `Store.change_meta`."""

        def work(db: Db) -> None:
            db.execute(queries.WAIT_FOR, (self.place.key(b"meta", key.encode()),))
            row = db.execute(queries.GET_META, (key,), binary=True).fetchone()
            value = change(None if row is None else row[0])
            if value is not None:
                db.execute(queries.SET_META, (key, value))

        self._writing().transaction(work)

    def set_verified(self, cid: Link, edges: int | None) -> None:
        """See `Store.set_verified`."""
        self._write(queries.SET_VERIFIED, (cid, edges))

    def begin_prune(self, prune: Link, cids: Sequence[Link]) -> None:
        """See `Store.begin_prune`."""
        self._write(queries.NOTE_PRUNED, (prune, sorted(map(bytes, cids))))

    def drop_pruned(self, limit: int) -> int:
        """See `Store.drop_pruned`."""

        def work(db: Db) -> int:
            rows = db.execute(queries.PENDING, (limit,), binary=True).fetchall()
            records = [record for _, record in rows]
            db.execute(queries.DROP_RECORDS, (records,))
            db.execute(queries.DROP_EDGES, (records,))
            db.execute(queries.DROPPED, ([prune for prune, _ in rows], records))
            return len(rows)

        return self._writing().transaction(work)

    def put_blob(self, data: bytes) -> bytes:
        """See `Store.put_blob`."""
        return self.put_blobs((data,))[0]

    def put_blobs(self, contents: Iterable[bytes]) -> list[bytes]:
        """See `Store.put_blobs`."""
        held = [(hashlib.sha256(data).digest(), data) for data in contents]

        def work(db: Db) -> None:
            for digest, data in sorted(held):
                db.execute(queries.PUT_BLOB, (digest, data))

        self._writing().transaction(work)
        return [digest for digest, _ in held]

    def drop_blobs(self, digests: Iterable[bytes]) -> int:
        """See `Store.drop_blobs`."""
        gone = sorted(map(bytes, digests))
        return self._writing().transaction(lambda db: db.execute(queries.DROP_BLOBS, (gone,)).rowcount)

    def reclaim(self) -> None:
        """See `Store.reclaim`: what was dropped makes room for what comes, beside whoever reads and writes."""
        self._writing()
        reclaim(self.place)

    # --- records ---------------------------------------------------------------------------------------------------

    def get(self, cid: Link) -> Entry | None:
        """See `Store.get`."""
        return self.get_many((cid,)).get(cid)

    def get_many(self, cids: Iterable[Link]) -> dict[Link, Entry]:
        """See `Store.get_many`."""
        rows = self._in_chunks(queries.GET_MANY, cids)
        return {Link(cid): Entry(data, seal, attachment) for cid, data, seal, attachment in rows}

    def has(self, cid: Link) -> bool:
        """See `Store.has`."""
        return bool(self._in_chunks(queries.HAS_MANY, (cid,)))

    def missing(self, cids: Iterable[Link]) -> list[Link]:
        """See `Store.missing`."""
        absent = dict.fromkeys(cids)
        for (cid,) in self._in_chunks(queries.HAS_MANY, absent):
            del absent[cid]
        return list(absent)

    def by_prefix(self, prefix: str, limit: int = 16) -> list[Link]:
        """See `Store.by_prefix`."""
        low, high = prefix_range(prefix)
        found: list[Link] = []
        while len(found) < limit and low < high:
            rows = self._rows(queries.BETWEEN, {"low": low, "high": high, "most": _PREFIX_CHUNK})
            found.extend(Link(cid) for (cid,) in rows if to_text(cid).startswith(prefix))
            if len(rows) < _PREFIX_CHUNK:
                break
            low = rows[-1][0] + b"\0"
        return found[:limit]

    def by_kind(self, kind: str, owner: Link | None = None, limit: int = 1000) -> list[Link]:
        """See `Store.by_kind`."""
        if owner is None:
            return self._links(queries.BY_KIND, (kind, limit))
        return self._links(queries.BY_KIND_OF, (kind, owner, limit))

    def mentioning(self, content: bytes, kinds: Collection[str], limit: int = 1000) -> list[Link]:
        """See `Store.mentioning`."""
        return self._links(queries.MENTIONING, (list(kinds), content, content, limit))

    # --- logs ------------------------------------------------------------------------------------------------------

    def log_state(self, owner: Link) -> LogState | None:
        """See `Store.log_state`."""
        row = self._one(queries.STATE, (owner,))
        if not row:
            return None
        size, last, last_time, peaks = row
        try:
            return LogState(owner, size, Link(last), last_time, Peaks.from_bytes(peaks, size))
        except ValueError as error:
            raise StoreError(
                f"{self.place}: {error}", code="TSLG-D-CORRUPT", mend="run `tslg fsck`", record=owner
            ) from error

    def logs(self) -> list[LogSummary]:
        """See `Store.logs`."""
        return [
            LogSummary(Link(owner), count, newest, whole) for owner, count, newest, whole in self._rows(queries.LOGS)
        ]

    def log_range(self, owner: Link, start: int, stop: int) -> list[tuple[Link, Entry]]:
        """See `Store.log_range`."""
        rows = self._rows(queries.RANGE, (owner, start, stop))
        return [(Link(cid), Entry(data, seal, attachment)) for cid, data, seal, attachment in rows]

    def at(self, owner: Link, seq: int) -> Link | None:
        """See `Store.at`."""
        return next(iter(self._links(queries.AT, (owner, seq))), None)

    def newest_seq(self, owner: Link) -> int | None:
        """See `Store.newest_seq`."""
        row = self._one(queries.NEWEST, (owner,))
        return int(row[0]) if row else None

    def leaves(self, owner: Link, size: int) -> list[bytes]:
        """See `Store.leaves`."""
        if not self._rows(queries.COMPLETE, (owner, size)):
            raise incomplete(owner, size)
        return [cid for (cid,) in self._rows(queries.LEAVES, (owner, size))]

    def ids(self, owner: Link, start: int, stop: int) -> list[Link]:
        """See `Shard.ids`."""
        return self._links(queries.IDS, (owner, start, stop))

    def log_rows(self, owner: Link, stop: int) -> list[LogRow]:
        """See `Store.log_rows`."""
        return [
            LogRow(Link(cid), seq, kind, time) for cid, seq, kind, time in self._rows(queries.LOG_ROWS, (owner, stop))
        ]

    # --- the graph -------------------------------------------------------------------------------------------------

    def ancestors(self, cid: Link, classes: Collection[str] | None = None, limit: int | None = None) -> list[Link]:
        """See `Store.ancestors`: one recursive query in the server."""
        return self._links(queries.ANCESTORS, {"cid": cid, "classes": _texts(classes), "limit": limit})

    def children(self, cid: Link, classes: Collection[str] | None = None) -> list[Link]:
        """See `Store.children`."""
        named = _texts(classes)
        return self._links(queries.CHILDREN, (cid, named, named))

    def parents(self, cids: Iterable[Link], classes: Collection[str] | None = None) -> list[EdgeRow]:
        """See `Store.parents`."""
        wanted, named = list(dict.fromkeys(cids)), _texts(classes)
        found: dict[bytes, list[EdgeRow]] = {}
        for start in range(0, len(wanted), _CHUNK):
            part = [bytes(cid) for cid in wanted[start : start + _CHUNK]]
            for child, name, parent in self._rows(queries.PARENTS, (part, named, named)):
                found.setdefault(child, []).append(EdgeRow(Link(child), name, Link(parent)))
        return [row for cid in wanted for row in found.get(cid, ())]

    def citing(
        self, cids: Iterable[Link], classes: Collection[str] | None = None, kinds: Collection[str] | None = None
    ) -> list[EdgeRow]:
        """See `Store.citing`."""
        wanted, named, made = list(dict.fromkeys(cids)), _texts(classes), _texts(kinds)
        found: dict[bytes, list[EdgeRow]] = {}
        for start in range(0, len(wanted), _CHUNK):
            part = [bytes(cid) for cid in wanted[start : start + _CHUNK]]
            for row in _edges(self._rows(queries.CITING, (part, named, named, made, made))):
                found.setdefault(row.parent, []).append(row)
        return [row for cid in wanted for row in found.get(cid, ())]

    def citations(self, owner: Link, stop: int, classes: Collection[str], kinds: Collection[str]) -> list[EdgeRow]:
        """See `Store.citations`."""
        return _edges(self._rows(queries.CITATIONS, (owner, stop, list(classes), list(kinds))))

    def stray_citations(self, classes: Collection[str], kinds: Collection[str]) -> list[EdgeRow]:
        """See `Shard.stray_citations`."""
        return _edges(self._rows(queries.STRAY_CITATIONS, (list(classes), list(kinds))))

    # --- what is beside records ------------------------------------------------------------------------------------

    def get_meta(self, key: str) -> bytes | None:
        """See `Store.get_meta`."""
        row = self._one(queries.GET_META, (key,))
        return row[0] if row else None

    def heads(self, owner: Link) -> list[SeenHead]:
        """See `Store.heads`."""
        return order_heads(_seen_heads(owner, self._rows(queries.HEADS, (owner,))))

    def forks(self, owner: Link | None = None) -> list[Fork]:
        """See `Store.forks`."""
        rows = self._rows(queries.RIVALS, {"owner": owner})
        return group_forks((Link(found), seq, Link(cid)) for found, seq, cid in rows)

    def pruned_by(self, cids: Iterable[Link]) -> dict[Link, Link]:
        """See `Store.pruned_by`."""
        rows = self._rows(queries.PRUNED_BY, (list(map(bytes, cids)),))
        return {Link(cid): Link(prune) for cid, prune in rows}

    def pruned_ids(self, prune: Link) -> list[Link]:
        """See `Store.pruned_ids`."""
        return self._links(queries.PRUNED_IDS, (prune,))

    def verified(self, cid: Link) -> Verified | None:
        """See `Store.verified`."""
        row = self._one(queries.VERIFIED, (cid,))
        return Verified(*row) if row else None

    def get_blob(self, digest: bytes) -> bytes | None:
        """See `Store.get_blob`."""
        row = self._one(queries.GET_BLOB, (digest,))
        if not row:
            return None
        data: bytes = row[0]
        if hashlib.sha256(data).digest() != digest:
            raise StoreError(
                f"{self.place}: blob {digest.hex()} is not what its name says",
                code="TSLG-D-BLOB",
                mend="restore it from a copy",
            )
        return data

    # --- the whole -------------------------------------------------------------------------------------------------

    def check(self) -> list[Problem]:
        """See `Store.check`."""
        return self._readers.run(check_tables)

    def fill(self, tables: Callable[[], Iterable[tuple[str, Iterable[Sequence[Any]]]]]) -> None:
        """Take in whole tables in one transaction, columns as in `postgres_schema`; `tables` may be asked again."""
        self._writing().transaction(lambda db: copy_in(db, tables()))

    def writers(self) -> list[str]:
        """Return the processes that have the store open for writing, as `HOST:PID`."""
        key = self.place.key(b"store")
        return [name for (name,) in self._rows(queries.WRITERS, (key >> 32 & 0xFFFFFFFF, key & 0xFFFFFFFF))]

    def empty(self) -> None:
        """Drop all that is held."""
        self._writing().transaction(empty)

    def drop(self) -> None:
        """Drop the schema with all that is in it."""
        self._writing().transaction(lambda db: drop(db, self.place))

    def close(self) -> None:
        """See `Store.close`."""
        self._readers.close()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _rows(self, query: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> Rows:
        return self._readers.rows(query, params)

    def _one(self, query: str, params: Sequence[Any] = ()) -> tuple[Any, ...]:
        return next(iter(self._readers.rows(query, params)), ())

    def _links(self, query: str, params: Sequence[Any] | Mapping[str, Any]) -> list[Link]:
        return [Link(cid) for (cid,) in self._readers.rows(query, params)]

    def _in_chunks(self, query: str, cids: Iterable[Link]) -> Rows:
        wanted = [bytes(cid) for cid in cids]
        starts = range(0, len(wanted), _CHUNK)
        return [row for start in starts for row in self._rows(query, {"cids": wanted[start : start + _CHUNK]})]

    def _write(self, query: str, params: Sequence[Any]) -> None:
        self._writing().transaction(lambda db: db.execute(query, params))

    def _writing(self) -> Writer:
        if self._writer is None:
            raise self._read_only()
        return self._writer

    def _read_only(self) -> StoreError:
        return StoreError(f"{self.place}: opened for reading", code="TSLG-D-READONLY", mend="open it for writing")


def _texts(classes: Collection[str] | None) -> list[str] | None:
    return None if classes is None else list(classes)


def _edges(rows: Rows) -> list[EdgeRow]:
    return [EdgeRow(Link(child), name, Link(parent)) for child, name, parent in rows]


def _encode(source: str) -> bytes:
    return source.encode("utf-8", "surrogatepass")


def _seen_heads(owner: Link, rows: Rows) -> list[SeenHead]:
    return [
        SeenHead(
            owner, size, root, None if record is None else Link(record), source.decode("utf-8", "surrogatepass"), ms
        )
        for size, root, record, source, ms in rows
    ]
