"""The event loop: virtual time in microseconds, one queue, and a running SHA-256 over everything that happens."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from heapq import heappop, heappush
from operator import itemgetter
from typing import Any, Final

EPOCH_MS: Final = 1_700_000_000_000
"""The wall clock when a run begins, ms since 1970 UTC."""
SECOND: Final = 1_000_000
"""Microseconds: the loop's unit of time."""
MILLISECOND: Final = 1_000
_FLUSH: Final = 1 << 16
_SLOT: Final = 14
"""Events that are due in the same 2^14 µs are sorted together: fewer than a message takes, mostly."""
Call = Callable[..., int | None]
"""What is called; it may return after how many µs it is to be called again, as an event of its own."""
_Entry = tuple[int, int, int, Call, tuple[Any, ...]]
"""When it is due, its tag, whose it is, and what to call."""
_WHEN: Final = itemgetter(0)


class EventLog:
    """A digest over the events of a run: two runs are the same if and only if their digests are.

    Attributes:
        buffer: what is not in the digest yet; cleared in place by `settle`.
        pack: makes of an event the bytes that stand for it.
    """

    __slots__ = ("_hash", "buffer", "pack")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.buffer = bytearray()
        self.pack = struct.Struct(">QHI").pack

    def event(self, time: int, tag: int, who: int) -> None:
        """Take in that something happened: when (µs), of which kind, to whom."""
        self.buffer += self.pack(time, tag, who)
        self.settle()

    def say(self, data: bytes) -> None:
        """Take in what came of an event: the id of a record, a verdict."""
        self.buffer += len(data).to_bytes(4, "big") + data

    def settle(self) -> None:
        """Hash what was taken in, if it is worth that."""
        if len(self.buffer) > _FLUSH:
            self._hash.update(self.buffer)
            self.buffer.clear()

    def digest(self) -> str:
        """Return the digest of all so far, as hex."""
        hashed = self._hash.copy()
        hashed.update(self.buffer)
        return hashed.hexdigest()


class Loop:
    """Calls what is due in the order of time, and of asking where times are equal. Nothing else decides the order.

    What is due later lies in slots of time, unsorted; a slot is sorted when its time comes. One heap of all would be
    far larger than a processor's caches, and each step through it would wait for memory.

    Attributes:
        now: µs since the run began.
        events: how many were carried out.
        log: the digest of the run.
    """

    __slots__ = ("_count", "_due", "_later", "_slot", "_slots", "_soon", "_stopping", "events", "log", "now")

    def __init__(self) -> None:
        self.now = 0
        self.events = 0
        self.log = EventLog()
        self._count = 0
        self._slot = -1
        self._due: list[_Entry] = []
        """What is left of the slot that is carried out, last first."""
        self._soon: list[tuple[int, int, _Entry]] = []
        """A heap of what was asked for since that slot was sorted, and belongs there; after what is due when it is."""
        self._later: dict[int, list[_Entry]] = {}
        """Later slots, each in the order of asking."""
        self._slots: list[int] = []
        """A heap of the numbers of later slots."""
        self._stopping = False

    def at(self, when: int, tag: int, who: int, call: Call, *args: Any) -> None:
        """Have something called at a time (µs), at once if that is past."""
        self._put((when if when > self.now else self.now, tag, who, call, args))

    def after(self, delay: int, tag: int, who: int, call: Call, *args: Any) -> None:
        """Have something called after a delay (µs)."""
        self._put((self.now + delay, tag, who, call, args))

    def _put(self, entry: _Entry) -> None:
        slot = entry[0] >> _SLOT
        others = self._later.get(slot)
        if others is not None:
            others.append(entry)
        elif slot <= self._slot:
            self._count += 1
            heappush(self._soon, (entry[0], self._count, entry))
        else:
            self._later[slot] = [entry]
            heappush(self._slots, slot)

    def stop(self) -> None:
        """Carry out nothing more: something is wrong."""
        self._stopping = True

    def run(self, until: int) -> None:
        """Carry out all that is due up to a time (µs)."""
        soon, later, log, pack = self._soon, self._later, self.log, self.log.pack
        buffer, due = log.buffer, self._due
        while not self._stopping:
            if soon and (not due or soon[0][0] < due[-1][0]):
                if soon[0][0] > until:
                    break
                entry = heappop(soon)[2]
            elif due:
                if due[-1][0] > until:
                    break
                entry = due.pop()
            elif self._slots and self._slots[0] << _SLOT <= until:
                due = self._open()
                log.settle()
                continue
            else:
                break
            now, tag, who, call, args = entry
            self.now = now
            self.events += 1
            # As `EventLog.event` does, without a call for each.
            buffer += pack(now, tag, who)
            delay = call(*args)
            if delay is not None:
                entry = now + delay, tag, who, call, args
                others = later.get(entry[0] >> _SLOT)
                if others is not None:
                    others.append(entry)
                else:
                    self._put(entry)
        if not self._stopping:
            self.now = max(self.now, until)

    def _open(self) -> list[_Entry]:
        """Sort the next slot, and return it."""
        self._slot = heappop(self._slots)
        self._due = due = self._later.pop(self._slot)
        # What is due at one time stays in the order of asking.
        due.sort(key=_WHEN)
        due.reverse()
        return due

    @property
    def now_ms(self) -> int:
        """The wall clock, ms since 1970 UTC."""
        return EPOCH_MS + self.now // MILLISECOND
