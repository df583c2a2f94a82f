"""The write side of the PostgreSQL store: one session, which also holds the locks on the logs that this process writes.

A lock lives as long as its session. So what is written through the session is written under its locks, and a process
that dies, or whose session the server gave up, can write no log that another one has taken over.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors

from tslg.node.store import postgres_sql as queries
from tslg.node.store.interface import ForkError, LogState, check_state
from tslg.node.store.neighbours import telling
from tslg.node.store.postgres_engine import PATIENCE_S, Db, Place, is_gone, translate
from tslg.node.store.postgres_reader import FIRST_PAUSE_S, LONGEST_PAUSE_S, closed
from tslg.node.store.writer import Batch
from tslg.protocol.cid import Link, to_text
from tslg.protocol.errors import StoreError
from tslg.protocol.record import Record

T = TypeVar("T")
_log: Final = logging.getLogger(__name__)
_ATTEMPTS: Final = 8
"""How often a transaction is run again that lost a race against another session's."""
_COPIED_FROM: Final = 32
"""Records from which on copying pays for the ways to the server that it needs."""
_RECORD_COLUMNS: Final = len(queries.RECORD_TYPES)
_TAKE_OVER_S: Final = 1.0
"""How long a lock is waited for: the server needs a moment to see that the process which held it has died."""
_RACES: Final = (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation)


class Writer:
    """The write session. Its own lock makes every method safe to call from any thread.

    A transaction that was cut off is run again on a new session. Whatever this writes may be written twice without
    being there twice, so it does not matter whether the server had committed it before it went away.
    """

    def __init__(self, place: Place, *, alone: bool) -> None:
        """Open a session on a schema that has its tables; `alone` is to be the only process that writes the store.

        Raises:
            StoreError: `TSLG-D-LOCKED` if that is not to be had; or as `postgres_engine.translate`.
        """
        self._place = place
        self._lock = threading.RLock()
        self._db: Db | None = None
        self._closed = False
        self._myself: tuple[Any, ...] = ()
        self._claims: dict[Link, int] = {}
        self._lost: set[Link] = set()
        self._alone = alone
        self._expect_new = True
        self.transaction(lambda db: None)

    # --- sessions --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the session, and with it let go of its locks."""
        with self._lock:
            self._closed = True
            self._drop()

    def transaction(self, work: Callable[[Db], T]) -> T:
        """Run `work` in one durable transaction, or leave nothing of it; again if it lost a race or its session.

        Raises:
            StoreError: `TSLG-D-UNKNOWN` if the server went away while it committed and did not come back; or as
                `postgres_engine.translate`, with nothing done.
        """
        return self._insistently(lambda: self._once(work))

    def _once(self, work: Callable[[Db], T]) -> T:
        db = self._session()
        with db.transaction():
            return work(db)

    def _insistently(self, attempt: Callable[[], T]) -> T:
        with self._lock:
            until, pause, races, unsure = time.monotonic() + PATIENCE_S, FIRST_PAUSE_S, 0, False
            while True:
                begun = self._db is not None
                try:
                    return attempt()
                except _RACES as error:
                    races += 1
                    if races >= _ATTEMPTS:
                        raise translate(error, self._place) from error
                    time.sleep(random.uniform(0, 0.01 * races))
                except psycopg.Error as error:
                    if not is_gone(error, self._db):
                        raise translate(error, self._place) from error
                    unsure = unsure or begun
                    self._drop()
                    if time.monotonic() + pause > until:
                        raise self._given_up(error, unsure) from error
                    _log.warning("%s: the session is gone, trying again", self._place)
                    time.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)

    def _given_up(self, error: psycopg.Error, unsure: bool) -> StoreError:
        known = translate(error, self._place)
        if not unsure:
            return known
        return StoreError(
            f"{self._place}: the server went away before it said whether this is stored",
            code="TSLG-D-UNKNOWN",
            mend="repeat it once the server is back; nothing is stored twice",
        )

    def _session(self) -> Db:
        if self._closed:
            raise closed(self._place)
        if self._db is None:
            db = self._place.connect(readonly=False)
            try:
                self._end_own_ghost(db)
                self._take_place(db)
                self._lost = {owner for owner, key in self._claims.items() if not self._take(db, key)}
            except BaseException:
                db.close()
                raise
            self._myself = db.execute(queries.MYSELF).fetchone() or ()
            self._db = db
        return self._db

    def _end_own_ghost(self, db: Db) -> None:
        """End this process's earlier session, should the server not have noticed yet that it is gone."""
        if self._myself:
            db.execute(queries.END_OWN, self._myself)

    def _take_place(self, db: Db) -> None:
        key = self._place.key(b"store")
        if not self._take(db, key, shared=not self._alone):
            raise self._held(db, key, f"{self._place} is in use")

    def _drop(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    # --- locks -----------------------------------------------------------------------------------------------------

    def claim(self, owner: Link) -> None:
        """Become the only process that writes a log, until this is closed or its session ends. See `Store.claim`."""

        def take() -> None:
            db = self._session()
            if owner in self._claims and owner not in self._lost:
                return
            key = self._place.key(b"log", owner)
            if not self._take(db, key):
                raise self._held(db, key, f"log {to_text(owner)} is written elsewhere", owner)
            self._claims[owner] = key
            self._lost.discard(owner)

        self._insistently(take)

    def _take(self, db: Db, key: int, *, shared: bool = False) -> bool:
        query = queries.TRY_SHARED if shared else queries.TRY_ALONE
        until = time.monotonic() + _TAKE_OVER_S
        while not _scalar(db, query, (key,)):
            if time.monotonic() > until:
                return False
            time.sleep(FIRST_PAUSE_S)
        return True

    def _held(self, db: Db, key: int, detail: str, owner: Link | None = None) -> StoreError:
        holder = db.execute(queries.HOLDER, (key >> 32 & 0xFFFFFFFF, key & 0xFFFFFFFF)).fetchone()
        name, session = holder or ("a session that just ended", 0)
        return StoreError(
            f"{detail}, by {name} (session {session})",
            code="TSLG-D-LOCKED",
            mend="end that process; its lock ends with it",
            record=owner,
        )

    def _check_claims(self, db: Db, owners: Iterable[Link], items: Mapping[bytes, tuple[Record, bytes]]) -> None:
        """Refuse to write a log whose lock was lost, unless what is to be written had been stored before that."""
        for owner in self._lost.intersection(owners):
            if self._take(db, self._claims[owner]):
                self._lost.discard(owner)
                continue
            own = [cid for cid, (record, _) in items.items() if record.owner == owner]
            stored = db.execute(queries.HAS_MANY, {"cids": own}, binary=True).fetchall()
            if not own or len(stored) < len(own):
                raise self._held(db, self._claims[owner], f"log {to_text(owner)} was taken over", owner)

    # --- appending -------------------------------------------------------------------------------------------------

    def append(self, batches: Sequence[Batch]) -> None:
        """Store several callers' records and states in one transaction. Raises as `Store.append`, with nothing done."""
        fresh: dict[bytes, tuple[Record, bytes]] = {}
        states: dict[Link, LogState] = {}
        asked: list[LogState] = []
        attachments: dict[Link, bytes] = {}
        values: dict[str, bytes] = {}
        for batch in batches:
            attachments.update(batch.attachments)
            values.update(batch.values)
            asked.extend(batch.states)
            for item in batch.items:
                fresh.setdefault(bytes(item[0].id), item)
        for state in asked:
            if state.owner not in states or states[state.owner].size < state.size:
                states[state.owner] = state
        if fresh or states:
            rows = _Columns(fresh, attachments)
            self._insistently(lambda: self._append(fresh, states, asked, rows, values))

    def _append(
        self,
        fresh: Mapping[bytes, tuple[Record, bytes]],
        states: Mapping[Link, LogState],
        asked: Sequence[LogState],
        rows: _Columns,
        values: Mapping[str, bytes],
    ) -> None:
        db = self._session()
        if self._lost:
            self._check_claims(db, {*states, *(record.owner for record, _ in fresh.values())}, fresh)
        _check_states(db, asked, fresh)
        kept = [*states.values()]

        def beside() -> None:
            if kept:
                db.execute(queries.UPSERT_LOG, _state_columns(kept))
            for item in values.items():
                db.execute(queries.SET_META, item)
            if telling(record for record, _ in fresh.values()):
                db.execute(queries.TOLD)

        if len(fresh) >= _COPIED_FROM and self._expect_new:
            try:
                with db.transaction():
                    rows.copy_into(db)
                    beside()
                return
            except errors.UniqueViolation:
                self._expect_new = False
        try:
            # In a pipeline, the whole transaction costs one way to the server and back.
            with db.pipeline(), db.transaction():
                made = db.execute(queries.INSERT, rows.values) if fresh else None
                beside()
        except errors.UniqueViolation:
            self._raise_fork(db, fresh)
            raise
        self._expect_new = self._expect_new or (made is not None and made.rowcount == rows.edges)

    def _raise_fork(self, db: Db, fresh: Mapping[bytes, tuple[Record, bytes]]) -> None:
        """Find which record's place was taken and raise ForkError; return if none was, as after a race."""
        places: dict[tuple[Link, int], Record] = {}
        for cid, (record, _) in fresh.items():
            held = places.setdefault((record.owner, record.seq), record)
            if held is not record:
                raise ForkError(record, held.id)
            other = db.execute(queries.RIVAL_OF, (record.owner, record.seq, cid), binary=True).fetchone()
            if other is not None:
                raise ForkError(record, Link(other[0])) from None


class _Columns:
    """Records in the order of their ids and their edges, as columns."""

    __slots__ = ("edges", "values")

    def __init__(self, fresh: Mapping[bytes, tuple[Record, bytes]], attachments: Mapping[Link, bytes]) -> None:
        items = sorted(fresh.items())
        records = [record for _, (record, _) in items]
        edges = [
            (bytes(record.id), name, bytes(edge.cid))
            for record in records
            for name, cited in record.preds.items()
            for edge in cited
        ]
        self.edges = len(edges)
        self.values = (
            [cid for cid, _ in items],
            [bytes(record.owner) for record in records],
            [record.seq for record in records],
            [record.kind for record in records],
            [record.time for record in records],
            [record.data for record in records],
            [seal for _, (_, seal) in items],
            [attachments.get(record.id) for record in records],
            [child for child, _, _ in edges],
            [name for _, name, _ in edges],
            [parent for _, _, parent in edges],
        )

    def copy_into(self, db: Db) -> None:
        """Copy all of it, which costs a third less than inserting; UniqueViolation if not all is new."""
        with db.cursor() as cursor:
            for query, types, columns in (
                (queries.COPY_RECORDS, queries.RECORD_TYPES, self.values[:_RECORD_COLUMNS]),
                (queries.COPY_EDGES, queries.EDGE_TYPES, self.values[_RECORD_COLUMNS:]),
            ):
                with cursor.copy(query) as copy:
                    copy.set_types(types)
                    for row in zip(*columns, strict=True):
                        copy.write_row(row)


def _state_columns(states: Sequence[LogState]) -> tuple[list[Any], ...]:
    ordered = sorted(states, key=lambda state: state.owner)
    return (
        [bytes(state.owner) for state in ordered],
        [state.size for state in ordered],
        [bytes(state.last) for state in ordered],
        [state.peaks.to_bytes() for state in ordered],
    )


def _check_states(db: Db, states: Sequence[LogState], fresh: Mapping[bytes, tuple[Record, bytes]]) -> None:
    """Refuse states whose last records are not where they say. StoreError `TSLG-D-STATE`."""
    elsewhere = [bytes(state.last) for state in states if state.last not in fresh]
    places: dict[bytes, tuple[Link, int, int]] = {}
    if elsewhere:
        for cid, owner, seq, made in db.execute(queries.PLACES, (elsewhere,), binary=True):
            places[cid] = (owner, seq, made)
    for state in states:
        if state.last in fresh:
            record = fresh[state.last][0]
            check_state(state, (record.owner, record.seq, record.time))
        else:
            check_state(state, places.get(state.last))


def _scalar(db: Db, query: str, params: Sequence[Any]) -> Any:
    row = db.execute(query, params).fetchone()
    return None if row is None else row[0]
