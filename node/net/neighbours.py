"""What a node puts up with from the peers that hand announcements on to it: how many, and how many wrong ones."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tslg.protocol.budget import Bucket
from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)

_UNIT_BYTES: Final = 4096
"""A large announcement counts as several."""
_WINDOW_MS: Final = 60_000


@dataclass(slots=True)
class _Account:
    """What one neighbour has left, and what it did since the window began."""

    budget: Bucket
    began_ms: int
    offences: int = 0


class Neighbours:
    """The accounts of a node's neighbours.

    Args:
        limits: bounds on each.
        cut_off: ends all dealings with a neighbour.
    """

    def __init__(self, limits: Limits, cut_off: Callable[[str], Awaitable[None]]) -> None:
        self._limits = limits
        self._cut_off = cut_off
        self._accounts: dict[str, _Account] = {}

    def may(self, peer: str, size: int, now_ms: int) -> bool:
        """Tell whether one more announcement of `size` bytes is looked at; `now_ms` counts from anywhere.

        One that brings more than that is named in the log, once a minute.
        """
        budget = self._account(peer, now_ms).budget
        if budget.take(now_ms, 1 + size // _UNIT_BYTES):
            return True
        if budget.named_ms is None or now_ms - budget.named_ms >= _WINDOW_MS:
            budget.named_ms = now_ms
            _log.warning(
                "peer %s announces more than %d a second: the rest is dropped",
                peer,
                self._limits.announcements_per_second,
                extra={"peer": peer, "rule": "announcements_per_second"},
            )
        return False

    async def offends(self, peer: str, now_ms: int) -> None:
        """Note that a neighbour handed on what it should not have; whoever goes on is cut off, and named in the log."""
        account = self._account(peer, now_ms)
        account.offences += 1
        if account.offences == self._limits.announcement_offences:
            _log.warning(
                "peer %s is cut off: it handed on %d announcements that do not hold",
                peer,
                account.offences,
                extra={"peer": peer, "rule": "announcement_offences"},
            )
            await self._cut_off(peer)

    def _account(self, peer: str, now_ms: int) -> _Account:
        account = self._accounts.get(peer)
        if account is None:
            if len(self._accounts) >= 2 * self._limits.connections:
                del self._accounts[min(self._accounts, key=lambda one: self._accounts[one].budget.filled_ms)]
            rate = self._limits.announcements_per_second
            account = self._accounts[peer] = _Account(Bucket(2 * rate, 1000 / rate, now_ms), now_ms)
        elif now_ms - account.began_ms > _WINDOW_MS:
            account.began_ms, account.offences = now_ms, 0
        return account
