"""Asking peers what they heard, and answering them: a node that came later need not wait for the next announcement."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import trio

from tslg.node.heads.asking import PATIENCE_MS
from tslg.node.net.errors import InvalidRequest, NotServed, ProtocolViolation, Stalled
from tslg.node.net.seam import Network
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.exchange import MessageError
from tslg.protocol.heads import Heads
from tslg.protocol.limits import Limits
from tslg.protocol.recalling import HEADS, Recall, Recalled
from tslg.protocol.verdict import Verdict

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_AT_ONCE = 16


class Recalling:
    """Both sides of `/tslg/heads/1`.

    Args:
        heads: what was heard.
        hear: judges an announcement that came by a peer.
        limits: bounds on what is taken.
    """

    def __init__(self, heads: Heads, hear: Callable[[bytes, str], Verdict], limits: Limits) -> None:
        self._heads = heads
        self._hear = hear
        self._limits = limits
        self._epoch = os.urandom(16)
        self._asked: dict[str, Recall | None] = {}

    async def answer(self, request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
        """Answer what was heard since, in the order in which it was."""
        try:
            asked = Recall.from_bytes(request, self._limits)
        except MessageError as error:
            raise InvalidRequest(error.detail) from error
        since = asked.since if asked.epoch == self._epoch else 0
        room = self._limits.heads_recalled
        news: list[bytes] = []
        size = 0
        for revision, announcement in self._heads.since(since)[:room]:
            if news and size + len(announcement) > self._limits.chunk_bytes // 2:
                yield Recalled(self._epoch, since, tuple(news)).to_bytes()
                news, size = [], 0
            news.append(announcement)
            size += len(announcement)
            since = revision
        yield Recalled(self._epoch, since, tuple(news)).to_bytes()

    async def run(self, network: Network) -> None:
        """Ask every peer once when it is connected, and one of them in turn every now and then, until cancelled."""
        every = self._limits.head_ask_ms / 1000
        asked = trio.current_time()
        while True:
            peers = network.peers()
            fresh = [peer for peer in peers if peer not in self._asked]
            for peer in fresh:
                await self._ask(network, peer)
            if not fresh and peers and trio.current_time() - asked >= every:
                asked = trio.current_time()
                # Whoever was asked longest ago stands first.
                turn = [peer for peer in self._asked if peer in peers and self._asked[peer] is not None]
                if turn:
                    await self._ask(network, turn[0])
            await trio.sleep(min(every, _LOOK_SECONDS))

    async def _ask(self, network: Network, peer: str) -> None:
        """Ask one peer for what it heard since it was last asked. A peer that has no answer is not asked again."""
        known = self._asked.pop(peer, None) or Recall()
        if len(self._asked) >= 2 * self._limits.connections:
            del self._asked[next(iter(self._asked))]
        self._asked[peer] = known
        patience = min(PATIENCE_MS, self._limits.progress_timeout_ms)
        limits = replace(self._limits, reply_bytes=self._limits.heads_reply_bytes, progress_timeout_ms=patience)
        try:
            async with network.request(peer, HEADS, known.to_bytes(), limits=limits) as chunks:
                async for chunk in chunks:
                    part = Recalled.from_bytes(chunk, self._limits)
                    await self._take(part, peer)
                    self._asked[peer] = Recall(part.epoch, part.until)
        except (NotServed, Stalled):
            self._asked[peer] = None
        except (ProtocolViolation, MessageError) as error:
            _log.warning("peer %s is cut off: %s", peer, error.detail, extra={"peer": peer, "rule": error.code})
            await network.cut_off(peer)
        except (NetworkError, TslgError) as error:
            _log.debug("peer %s says nothing of heads: %s", peer, error)

    async def _take(self, part: Recalled, peer: str) -> None:
        offences = 0
        for number, announcement in enumerate(part.news):
            offences += self._hear(announcement, peer) is Verdict.REJECT
            if offences >= self._limits.announcement_offences:
                raise MessageError(f"it says that it heard {offences} announcements that do not hold")
            if number % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
