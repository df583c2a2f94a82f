"""What a node puts up with from the peers that hand announcements on to it: how many, and how many wrong ones."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)

_UNIT_BYTES: Final = 4096
"""A large announcement counts as several."""
_WINDOW_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Account:
    """What one neighbour has left, and what it did since the window began."""

    left: float
    filled: float
    began: float
    offences: int = 0
    named: bool = False


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

    def may(self, peer: str, size: int, now: float) -> bool:
        """Tell whether one more announcement of `size` bytes is looked at; `now` in seconds from anywhere.

        One that brings more than that is named in the log, once a minute.
        """
        account = self._account(peer, now)
        rate = self._limits.announcements_per_second
        account.left = min(2.0 * rate, account.left + (now - account.filled) * rate)
        account.filled = now
        cost = 1 + size // _UNIT_BYTES
        if account.left >= cost:
            account.left -= cost
            return True
        if not account.named:
            account.named = True
            _log.warning(
                "peer %s announces more than %d a second: the rest is dropped",
                peer,
                rate,
                extra={"peer": peer, "rule": "announcements_per_second"},
            )
        return False

    async def offends(self, peer: str, now: float) -> None:
        """Note that a neighbour handed on what it should not have; whoever goes on is cut off, and named in the log."""
        account = self._account(peer, now)
        account.offences += 1
        if account.offences == self._limits.announcement_offences:
            _log.warning(
                "peer %s is cut off: it handed on %d announcements that do not hold",
                peer,
                account.offences,
                extra={"peer": peer, "rule": "announcement_offences"},
            )
            await self._cut_off(peer)

    def _account(self, peer: str, now: float) -> _Account:
        account = self._accounts.get(peer)
        if account is None:
            if len(self._accounts) >= 2 * self._limits.connections:
                oldest = min(self._accounts, key=lambda one: self._accounts[one].filled)
                del self._accounts[oldest]
            account = self._accounts[peer] = _Account(2.0 * self._limits.announcements_per_second, now, now)
        elif now - account.began > _WINDOW_SECONDS:
            account.began, account.offences, account.named = now, 0, False
        return account
