"""Peers that break a rule, or do what is allowed far too often, are named in the log: each once a minute."""

from __future__ import annotations

import logging
import math
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Final

import trio

_log = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 60.0
_REMEMBERED: Final = 1_024
"""Peers and rules kept in mind: whoever comes under ever new ids fills a log in any case, and no more than this."""


_OFTEN: Final = 300
"""What a peer may do in a minute, five times a second, before it is named for doing it too often."""


class Offenders:
    """Whom the log named lately, and how often peers did what may be done, but not without end."""

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        self._clock = clock
        self._named: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._counts: defaultdict[str, Counter[tuple[str, bytes]]] = defaultdict(Counter)
        self._counting_since = -math.inf

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

    def often(self, peer: str, rule: str, detail: str, what: bytes = b"") -> None:
        """Count something that is allowed, and name the peer that does it more than 300 times a minute.

        Args:
            peer: who does it.
            rule, detail: what it is named for.
            what: tells apart what is counted for itself, such as a request's digest.
        """
        now = self._clock()
        if now - self._counting_since >= _AGAIN_SECONDS:
            self._counts.clear()
            self._counting_since = now
        counts = self._counts[rule]
        if len(counts) >= _REMEMBERED:
            counts.clear()
        counts[peer, what] += 1
        if counts[peer, what] > _OFTEN:
            self.name(peer, rule, f"{detail}, more than {_OFTEN} times within a minute")
