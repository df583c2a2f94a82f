"""The read side of the PostgreSQL store: sessions lent one query at a time, and replaced when the server was away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg

from tslg.node.store.postgres_engine import PATIENCE_S, Db, Place, Rows, is_gone, translate
from tslg.protocol.errors import StoreError

_IDLE: Final = 4
"""Idle sessions that are kept; more are opened when more threads read at once, and closed after."""
FIRST_PAUSE_S: Final = 0.05
"""How long the first pause before another attempt is; each is twice as long as the one before, up to the longest."""
LONGEST_PAUSE_S: Final = 0.5

T = TypeVar("T")
Params = Sequence[Any] | Mapping[str, Any]


class Readers:
    """Sessions for reading. Safe for threads."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._idle: list[Db] = []
        self._closed = False

    def rows(self, query: str, params: Params = ()) -> Rows:
        """Run one query and return its rows. Raises StoreError."""
        return self.run(lambda db: db.execute(query, params, binary=True).fetchall())

    def run(self, work: Callable[[Db], T]) -> T:
        """Read something; again on another session if the one that was lent is gone. Raises StoreError."""
        until = time.monotonic() + PATIENCE_S
        pause = FIRST_PAUSE_S
        while True:
            try:
                with self.use() as db:
                    return work(db)
            except _Gone as gone:
                if time.monotonic() + pause > until:
                    raise translate(gone.error, self._place) from gone.error
                if gone.fresh:
                    time.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)

    @contextmanager
    def use(self) -> Iterator[Db]:
        """Lend a session. Errors of the server inside the block become StoreError, that it is gone `_Gone`."""
        db: Db | None = None
        fresh = not self._idle
        try:
            db = self._take()
            yield db
        except psycopg.Error as error:
            if is_gone(error, db):
                self._drop_idle()
                raise _Gone(error, self._place, fresh) from error
            raise translate(error, self._place) from error
        finally:
            if db is not None:
                self._give(db)

    def _take(self) -> Db:
        try:
            return self._idle.pop()
        except IndexError:
            if self._closed:
                raise closed(self._place) from None
        return self._place.connect(readonly=True)

    def _give(self, db: Db) -> None:
        if self._closed or db.closed or len(self._idle) >= _IDLE:
            db.close()
        else:
            self._idle.append(db)

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        self._closed = True
        self._drop_idle()


class _Gone(StoreError):
    """A session that ended under a query, with the server's own error, and whether it was opened for this query."""

    def __init__(self, error: psycopg.Error, place: Place, fresh: bool) -> None:
        known = translate(error, place)
        super().__init__(known.detail, code=known.code, mend=known.mend)
        self.error = error
        self.fresh = fresh


def closed(place: Place) -> StoreError:
    """Return the error of a call on a closed store."""
    return StoreError(f"{place}: closed", code="TSLG-D-CLOSED", mend="open the store again")
