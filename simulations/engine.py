"""The event loop: virtual time in microseconds, one heap, and a running SHA-256 over everything that happens."""

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


class EventLog:
    """A digest over the events of a run: two runs are the same if and only if their digests are."""

    __slots__ = ("_buffer", "_event", "_hash")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._event = struct.Struct(">QHI").pack

    def event(self, time: int, tag: int, who: int) -> None:
        """Take in that something happened: when (µs), of which kind, to whom."""
        buffer = self._buffer
        buffer += self._event(time, tag, who)
        if len(buffer) > _FLUSH:
            self._hash.update(buffer)
            buffer.clear()

    def say(self, data: bytes) -> None:
        """Take in what came of an event: the id of a record, a verdict."""
        self._buffer += len(data).to_bytes(4, "big") + data

    def digest(self) -> str:
        """Return the digest of all so far, as hex."""
        hashed = self._hash.copy()
        hashed.update(self._buffer)
        return hashed.hexdigest()


class Loop:
    """Calls what is due in the order of time, and of asking where times are equal. Nothing else decides the order.

    Attributes:
        now: µs since the run began.
        events: how many were carried out.
        log: the digest of the run.
    """

    __slots__ = ("_count", "_heap", "_stopping", "events", "log", "now")

    def __init__(self) -> None:
        self.now = 0
        self.events = 0
        self.log = EventLog()
        self._heap: list[tuple[int, int, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._stopping = False

    def at(self, when: int, tag: int, who: int, call: Callable[..., None], *args: Any) -> None:
        """Have something called at a time (µs), at once if that is past."""
        self._count += 1
        heappush(self._heap, (when if when > self.now else self.now, self._count, tag, who, call, args))

    def after(self, delay: int, tag: int, who: int, call: Callable[..., None], *args: Any) -> None:
        """Have something called after a delay (µs)."""
        self._count += 1
        heappush(self._heap, (self.now + delay, self._count, tag, who, call, args))

    def stop(self) -> None:
        """Carry out nothing more: something is wrong."""
        self._stopping = True

    def run(self, until: int) -> None:
        """Carry out all that is due up to a time (µs)."""
        heap, event = self._heap, self.log.event
        count = 0
        while heap and heap[0][0] <= until and not self._stopping:
            when, _, tag, who, call, args = heappop(heap)
            self.now = when
            count += 1
            event(when, tag, who)
            call(*args)
        self.events += count
        if not self._stopping:
            self.now = max(self.now, until)

    @property
    def now_ms(self) -> int:
        """The wall clock, ms since 1970 UTC."""
        return EPOCH_MS + self.now // MILLISECOND
