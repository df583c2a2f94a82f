"""Announcing a node's own logs: soon after they grow, not too often, and now and then for those who came later."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from tslg.node.heads import making
from tslg.node.home import Home
from tslg.protocol.announcing import HeadNews
from tslg.protocol.cid import short
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError, StoreError, UsageError
from tslg.protocol.limits import Limits
from tslg.protocol.log import Peaks

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Own:
    """What was announced last of one log, and when it is next."""

    due: float
    before: Peaks | None = None
    told: float = -math.inf


class Announcer:
    """Announces the logs of a node's agents.

    Args:
        home: the node's data directory.
        announce: publishes an announcement, of which it is told first.
        limits: bounds on what is told.
    """

    def __init__(self, home: Home, announce: Callable[[HeadNews], Awaitable[None]], limits: Limits) -> None:
        self._home = home
        self._announce = announce
        self._limits = limits
        self._every = 2 * limits.head_every_ms / 1000
        self._again = limits.head_again_ms / 1000
        self._logs: dict[Link, _Own] = {}
        self._wake = trio.Event()
        self._silent: set[Link] = set()

    def grew(self, agent: Link) -> None:
        """Note that an own log grew."""
        now = trio.current_time()
        own = self._logs.setdefault(agent, _Own(now))
        own.due = min(own.due, max(now, own.told + self._every))
        self._wake.set()

    async def run(self) -> None:
        """Announce what is due until cancelled."""
        for agent in self._home.agents:
            self.grew(agent.id)
        while True:
            self._wake = trio.Event()
            now = trio.current_time()
            for due in [one for one, own in self._logs.items() if own.due <= now]:
                await self._tell(due)
            next_due = min((own.due for own in self._logs.values()), default=now + self._again)
            with trio.move_on_at(next_due):
                await self._wake.wait()

    async def _tell(self, agent: Link) -> None:
        own = self._logs[agent]
        own.told = trio.current_time()
        own.due = own.told + self._again
        made = await trio.to_thread.run_sync(self._make, agent, own.before)
        if made is not None:
            news, own.before = made
            await self._announce(news)

    def _make(self, agent: Link, before: Peaks | None) -> tuple[HeadNews, Peaks] | None:
        """Make the announcement of a log; None if there is nobody who may or can speak for it."""
        home = self._home
        if home.ledger.blocked(agent) is not None:
            # Another history of it was seen, or a longer one: what it is here is not what it is.
            return None
        try:
            news, peaks = making.make(home.store, agent, home.keyring.note_key(agent), before, self._limits)
        except (CheckpointError, UsageError, StoreError) as error:
            self._say_once(agent, error.detail)
            return None
        if len(news.to_bytes()) > self._limits.announcement_bytes:
            self._say_once(agent, "its keys take more room than an announcement has")
            return None
        return news, peaks

    def _say_once(self, agent: Link, why: str) -> None:
        if agent not in self._silent:
            self._silent.add(agent)
            _log.warning("the log of %s is not announced: %s", short(agent), why, extra={"agent": short(agent)})
