"""Peers that break a rule are named in the log: each peer and rule once a minute, however often it happens."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import trio

_log = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 60.0
_REMEMBERED: Final = 1_024
"""Peers and rules kept in mind: whoever comes under ever new ids fills a log in any case, and no more than this."""


class Offenders:
    """Whom the log named lately."""

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        self._clock = clock
        self._named: OrderedDict[tuple[str, str], float] = OrderedDict()

    def name(self, peer: str, rule: str, detail: str) -> None:
        """Name a peer and what it did, unless it was named for the same within the last minute."""
        now, key = self._clock(), (peer, rule)
        if now - self._named.get(key, -_AGAIN_SECONDS) < _AGAIN_SECONDS:
            return
        self._named[key] = now
        self._named.move_to_end(key)
        while len(self._named) > _REMEMBERED:
            self._named.popitem(last=False)
        _log.warning("peer %s: %s: %s", peer, rule, detail, extra={"peer": peer, "rule": rule})
