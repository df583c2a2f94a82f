"""What logs that are held whole have to say from a cursor on, in the order of each log, each record once.

A cursor names, for each log, how far it was read and which record came last, so that it holds against a log whose
history is another one by now. Normative text: docs/spec/streaming.md.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from tslg.node.api.values import to_json
from tslg.node.store.interface import Entry, LogState, Store
from tslg.protocol import cid, codec
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError, UsageError
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Record

BATCH: Final = 256
"""Records read before whoever reads has its turn."""


class Mark(NamedTuple):
    """How far a log was read: up to `next`, exclusively; `last` is the record at `next - 1`."""

    next: int
    last: Link


Cursor = Mapping[Link, Mark]
"""By log. One that is not in it was not read at all."""


class Item(NamedTuple):
    """One record that was admitted here, and how many of its log are held behind it."""

    record: Record
    behind: int


class Batch(NamedTuple):
    """What was read in one go, the cursor after it, and whether there may be more."""

    items: tuple[Item, ...]
    cursor: Cursor
    more: bool


class Feed:
    """Reads logs of a store. Not for several threads at once.

    Args:
        store: where the logs are held; only those that are held whole are read.
        logs: whose logs; None for all, the federation's included.
        kinds: which kinds of records; None for all.
        cursor: where to go on.

    Raises:
        UsageError: `TSLG-U-CURSOR`: a log is not held as far as the cursor says, or with another history.
    """

    def __init__(
        self,
        store: Store,
        *,
        logs: Iterable[Link] | None = None,
        kinds: Collection[str] | None = None,
        cursor: Cursor | None = None,
    ) -> None:
        self._store = store
        self._logs = None if logs is None else sorted(set(logs))
        self._kinds = kinds
        self._marks = dict(cursor or {})
        self._turn = 0
        for owner, mark in self._marks.items():
            _check(store, owner, mark)

    @property
    def cursor(self) -> Cursor:
        """Where reading goes on."""
        return dict(self._marks)

    def skip(self) -> None:
        """Go to the end of every log as it is now."""
        for state in self._states():
            self._marks[state.owner] = Mark(state.size, state.last)

    def behind(self) -> int:
        """Return how many records are held and not read yet."""
        return sum(state.size - self._next(state.owner) for state in self._states())

    def read(self) -> Batch:
        """Read on in the log whose turn it is; of a stretch without records that are wanted, only the cursor moves."""
        waiting = [state for state in self._states() if state.size > self._next(state.owner)]
        if not waiting:
            return Batch((), self.cursor, False)
        self._turn += 1
        state = waiting[self._turn % len(waiting)]
        start = self._next(state.owner)
        stop = min(state.size, start + BATCH)
        rows = self._store.log_range(state.owner, start, stop)
        last = self._store.at(state.owner, stop - 1)
        assert last is not None
        items = tuple(item for id, entry in rows if (item := self._item(id, entry, state.size)) is not None)
        self._marks[state.owner] = Mark(stop, last)
        return Batch(items, self.cursor, len(waiting) > 1 or stop < state.size)

    def _item(self, id: Link, entry: Entry, size: int) -> Item | None:
        record = disclosed(id, entry)
        if self._kinds is not None and record.kind not in self._kinds:
            return None
        return Item(record, size - record.seq - 1)

    def _states(self) -> list[LogState]:
        owners = [log.owner for log in self._store.logs() if log.complete] if self._logs is None else self._logs
        return [state for owner in owners if (state := self._store.log_state(owner)) is not None]

    def _next(self, owner: Link) -> int:
        mark = self._marks.get(owner)
        return 0 if mark is None else mark.next


def document(item: Item) -> dict[str, Any]:
    """Return a record as programs get it: where it stands, what it cites and says, and what of it is withheld."""
    record = item.record
    found: dict[str, Any] = {
        "record": cid.to_text(record.id),
        "agent": cid.to_text(record.owner),
        "seq": record.seq,
        "time": record.time,
        "kind": record.kind,
        "preds": {name: [cid.to_text(edge.cid) for edge in edges] for name, edges in record.preds.items()},
        "body": dict(record.body),
        "behind": item.behind,
    }
    if record.withheld:
        found["withheld"] = list(record.withheld)
    return found


def one_line(value: Mapping[str, Any]) -> bytes:
    """Return a document as JSON that every reader takes for one line: all but ASCII is escaped.

    What agents say may hold characters that some readers end lines at, and would go on as a line of its own there.
    """
    return json.dumps(to_json(value), separators=(",", ":")).encode("ascii")


def encode_cursor(cursor: Cursor) -> str:
    """Return a cursor as text without blanks."""
    value = [[owner, mark.next, mark.last] for owner, mark in sorted(cursor.items())]
    return base64.urlsafe_b64encode(codec.encode(value)).rstrip(b"=").decode("ascii")


def decode_cursor(text: str, most: int) -> Cursor:
    """Read a cursor of at most so many logs. Raises UsageError `TSLG-U-CURSOR`."""
    try:
        if len(text) > 256 * (most + 1):
            raise ValueError("too long")
        value = codec.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if type(value) is not list or len(value) > most:
            raise ValueError("no list of logs")
        return {owner: Mark(size, last) for owner, size, last in map(_entry, value)}
    except (ValueError, TypeError, binascii.Error, CodecError) as error:
        raise _broken(f"that is no cursor: {error!s:.80}", "give one that was handed out, or none") from error


def _entry(value: Any) -> tuple[Link, int, Link]:
    owner, size, last = value
    if not (type(owner) is Link and type(last) is Link and type(size) is int and size > 0):
        raise ValueError("an entry that is none")
    return owner, size, last


def _check(store: Store, owner: Link, mark: Mark) -> None:
    state = store.log_state(owner)
    if state is None or state.size < mark.next:
        size = 0 if state is None else state.size
        raise _broken(
            f"{mark.next} records of log {cid.short(owner)} were read, and {size} are held",
            "fetch back what was lost, or begin anew without the cursor",
            owner,
        )
    held = store.at(owner, mark.next - 1)
    if held != mark.last:
        raise _broken(
            f"the record read last at position {mark.next - 1} of log {cid.short(owner)} was {cid.short(mark.last)}, "
            "and is another one now",
            "the log's history was rewritten, or the data directory is another one: keep both, and find out",
            owner,
        )


def _broken(detail: str, mend: str, record: Link | None = None) -> UsageError:
    return UsageError(detail, code="TSLG-U-CURSOR", mend=mend, record=record)
