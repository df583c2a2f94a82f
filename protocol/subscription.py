"""Feeding a subscriber: a pure state machine that is told how far logs have grown and says what to send next.

It knows no records, reads no clock and touches no network. Normative: docs/spec/replication.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tslg.protocol.codec import Link
from tslg.protocol.limits import DEFAULT, Limits


class Send(NamedTuple):
    """Send the records of a log with start <= seq < stop, as far as they are held."""

    agent: Link
    start: int
    stop: int


class Caught(NamedTuple):
    """Say that these logs end here, where their sizes say; without any, give a sign of life."""

    sizes: tuple[tuple[Link, int], ...]


class Over(NamedTuple):
    """End the reply; `more` tells whether there would have been more."""

    more: bool


class Wait(NamedTuple):
    """Nothing to send until a log grows, or until then at the latest (ms)."""

    until_ms: int


class Subscription:
    """What to send to one subscriber, log by log, so that no reply is too large and none falls silent.

    Args:
        sizes: by agent, how many records the subscriber holds.
        live: whether to go on with what is appended.
        batch: records to send at a time.
        now_ms: the time.
        limits: `reply_bytes` bounds what is sent, `progress_timeout_ms` how long nothing may be.
    """

    def __init__(
        self, sizes: Mapping[Link, int], *, live: bool, batch: int, now_ms: int, limits: Limits = DEFAULT
    ) -> None:
        self._at = dict(sizes)
        self._ends = dict.fromkeys(self._at, 0)
        self._told: dict[Link, int] = {}
        self._behind: dict[Link, None] = {}
        self._live = live
        self._batch = batch
        self._most = limits.reply_bytes - 4 * limits.chunk_bytes
        self._sent = 0
        self._pause = limits.progress_timeout_ms // 3
        self._last_ms = now_ms

    def grew(self, agent: Link, size: int, start: int = 0) -> None:
        """Take note of a log's size; of one that is new to the subscription, `start` says what the other side holds."""
        at = self._at.setdefault(agent, start)
        if size > self._ends.get(agent, 0):
            self._ends[agent] = size
            self._told.pop(agent, None)
        if self._ends[agent] > at:
            self._behind[agent] = None

    @property
    def full(self) -> bool:
        """Whether the reply must end before more is sent."""
        return self._sent >= self._most

    def step(self, now_ms: int) -> Send | Caught | Over | Wait:
        """Say what to do next; `sent` must be told of everything that is sent."""
        if self.full:
            return Over(True)
        for agent in self._behind:
            start = self._at[agent]
            return Send(agent, start, min(self._ends[agent], start + self._batch))
        fresh = [(agent, size) for agent, size in sorted(self._ends.items()) if size and agent not in self._told]
        if fresh:
            self._told.update(fresh)
            return Caught(tuple(fresh))
        if not self._live:
            return Over(False)
        if now_ms - self._last_ms >= self._pause:
            return Caught(())
        return Wait(self._last_ms + self._pause)

    def read(self, agent: Link, stop: int) -> None:
        """Take note that the records of a log below `stop` were sent, as far as they are held; others have a turn."""
        self._at[agent] = stop
        self._behind.pop(agent, None)
        if stop < self._ends[agent]:
            self._behind[agent] = None

    def sent(self, size: int, now_ms: int) -> None:
        """Take note that a chunk of so many bytes was sent."""
        self._sent += size
        self._last_ms = now_ms
