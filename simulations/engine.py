"""The event loop: virtual time in microseconds, one queue, and a running SHA-256 over everything that happens."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

EPOCH_MS: Final = 1_700_000_000_000
"""The wall clock when a run begins, ms since 1970 UTC."""
SECOND: Final = 1_000_000
"""Microseconds: the loop's unit of time."""
MILLISECOND: Final = 1_000
_FLUSH: Final = 1 << 16
_SLOT: Final = 14
"""Events that are due in the same 2^14 µs are sorted together: fewer than a message takes, mostly."""
_Entry = tuple[int, int, int, int, Callable[..., None], tuple[Any, ...]]
"""When it is due, how many were asked for before it, its tag, whose it is, and what to call."""


class EventLog:
    """A digest over the events of a run: two runs are the same if and only if their digests are.

    The loop appends events to the buffer itself: there are more of them than calls can be afforded for.

    Attributes:
        buffer: what is not in the digest yet; cleared in place by `settle`.
        pack: makes of an event the bytes that stand for it: when (µs) it happened, of which kind, to whom.
    """

    __slots__ = ("_hash", "buffer", "pack")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.buffer = bytearray()
        self.pack = struct.Struct(">QHI").pack

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

    __slots__ = ("_count", "_due", "_later", "_slot", "_slots", "_soon", "_stopping", "_this", "events", "log", "now")

    def __init__(self) -> None:
        self.now = 0
        self.events = 0
        self.log = EventLog()
        self._count = 0
        self._slot = -1
        self._due: list[_Entry] = []
        """What is left of the slot that is carried out, last first."""
        self._soon: list[_Entry] = []
        """A heap of what was asked for since that slot was sorted, and belongs there."""
        self._later: dict[int, list[_Entry]] = {}
        self._slots: list[int] = []
        """A heap of the numbers of later slots."""
        self._this: _Entry = (0, 0, 0, 0, self.stop, ())
        self._stopping = False

    def at(self, when: int, tag: int, who: int, call: Callable[..., None], *args: Any) -> None:
        """Have something called at a time (µs), at once if that is past."""
        self._count += 1
        entry = when if when > self.now else self.now, self._count, tag, who, call, args
        others = self._later.get(entry[0] >> _SLOT)
        if others is not None:
            others.append(entry)
        else:
            self._put(entry)

    def after(self, delay: int, tag: int, who: int, call: Callable[..., None], *args: Any) -> None:
        """Have something called after a delay (µs)."""
        self._count += 1
        self._put((self.now + delay, self._count, tag, who, call, args))

    def again(self, delay: int) -> None:
        """Have what is being carried out called again after a delay (µs), as an event of its own."""
        self._count += 1
        _, _, tag, who, call, args = self._this
        entry = self.now + delay, self._count, tag, who, call, args
        # As `_put` does, without a call for each.
        others = self._later.get(entry[0] >> _SLOT)
        if others is not None:
            others.append(entry)
        else:
            self._put(entry)

    def _put(self, entry: _Entry) -> None:
        slot = entry[0] >> _SLOT
        others = self._later.get(slot)
        if others is not None:
            others.append(entry)
        elif slot <= self._slot:
            heappush(self._soon, entry)
        else:
            self._later[slot] = [entry]
            heappush(self._slots, slot)

    def stop(self) -> None:
        """Carry out nothing more: something is wrong."""
        self._stopping = True

    def run(self, until: int) -> None:
        """Carry out all that is due up to a time (µs)."""
        soon, log, pack = self._soon, self.log, self.log.pack
        buffer, due = log.buffer, self._due
        while not self._stopping:
            if soon and (not due or soon[0] < due[-1]):
                if soon[0][0] > until:
                    break
                entry = heappop(soon)
            elif due:
                if due[-1][0] > until:
                    break
                entry = due.pop()
            elif self._slots and self._slots[0] << _SLOT <= until:
                self._slot = heappop(self._slots)
                self._due = due = self._later.pop(self._slot)
                due.sort(reverse=True)
                log.settle()
                continue
            else:
                break
            self._this = entry
            now, _, tag, who, call, args = entry
            self.now = now
            self.events += 1
            buffer += pack(now, tag, who)
            call(*args)
        if not self._stopping:
            self.now = max(self.now, until)

    @property
    def now_ms(self) -> int:
        """The wall clock, ms since 1970 UTC."""
        return EPOCH_MS + self.now // MILLISECOND
