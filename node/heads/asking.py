"""Asking peers how two heads of a log go together, and which record they hold at one place. Nothing is believed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import trio

from tslg.node.net.errors import ProtocolViolation, Stalled, Unreachable
from tslg.node.net.seam import Network
from tslg.node.schemes import Schemes
from tslg.protocol import extending
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.exchange import (
    LOG,
    MessageError,
    Pair,
    ProofsReply,
    ProofsRequest,
    RangeRequest,
    WalkEnd,
    read_walk_chunk,
)
from tslg.protocol.limits import Limits
from tslg.protocol.logproof import Needs
from tslg.protocol.record import Record

_log = logging.getLogger(__name__)

PATIENCE_MS: Final = 3_000
"""How long a peer may take over one question: others wait meanwhile, and another peer may know."""
SHUNNED_SECONDS: Final = 60.0
"""How long a peer is not asked that did not answer in that time: who stalls delays all else but once a minute."""


class Asking:
    """Questions to peers about logs.

    Args:
        network: how peers are reached; it must be running.
        schemes: reads records.
        limits: bounds on what is taken.
    """

    def __init__(self, network: Network, schemes: Schemes, limits: Limits) -> None:
        self._network = network
        self._schemes = schemes
        self._limits = replace(limits, progress_timeout_ms=min(PATIENCE_MS, limits.progress_timeout_ms))
        self._shunned: dict[str, float] = {}

    def willing(self, peer: str) -> bool:
        """Tell whether a peer may be asked: one that did not answer is left alone for a while."""
        return trio.current_time() >= self._shunned.get(peer, 0.0)

    async def path(self, peer: str, agent: Link, old_size: int, size: int) -> tuple[bytes, ...] | None:
        """Return the path between two sizes of a log as a peer has it, None if it has none."""
        spans = extending.spans_for(old_size, size)
        try:
            data = await self._one(peer, ProofsRequest(agent, Needs((), spans)).to_bytes())
            found = extending.path_from(agent, old_size, size, ProofsReply.from_bytes(data, self._limits).consistency)
        except (NetworkError, TslgError) as error:
            await self._note(peer, error)
            return None
        if found is None and size == old_size + 1:
            # The proof from a complete tree to one leaf more says nothing of that tree; the record there does.
            held = await self.record(peer, agent, old_size)
            if held is not None and held[0].log is not None:
                return extending.path_by_last(held[0].log.root, held[0].id)
        return found

    async def record(self, peer: str, agent: Link, seq: int) -> tuple[Record, bytes] | None:
        """Return the record at one place of a log as a peer has it, with its seal; None if it has none."""
        pairs: list[Pair] = []
        try:
            async with self._network.request(
                peer, LOG, RangeRequest(agent, seq, seq + 1).to_bytes(), limits=self._limits
            ) as chunks:
                async for chunk in chunks:
                    # An answer of nothing is one empty chunk.
                    part = read_walk_chunk(chunk, self._limits) if chunk else []
                    if isinstance(part, WalkEnd) or len(pairs) + len(part) > 1:
                        raise MessageError("more than one record of one place")
                    pairs.extend(part)
            if not pairs:
                return None
            (record,) = self._schemes.read([pairs[0][0]])
        except (NetworkError, TslgError) as error:
            await self._note(peer, error)
            return None
        return (record, pairs[0][1]) if (record.owner, record.seq) == (agent, seq) else None

    async def _one(self, peer: str, request: bytes) -> bytes:
        async with self._network.request(peer, LOG, request, limits=self._limits) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def _note(self, peer: str, error: TslgError) -> None:
        """A peer that breaks the protocol is cut off; one that has no answer, or cannot be reached, is passed over."""
        if isinstance(error, ProtocolViolation | MessageError):
            _log.warning("peer %s is cut off: %s", peer, error.detail, extra={"peer": peer, "rule": error.code})
            await self._network.cut_off(peer)
            return
        _log.debug("peer %s has no answer: %s", peer, error)
        if isinstance(error, Stalled | Unreachable):
            if len(self._shunned) >= 2 * self._limits.connections:
                del self._shunned[next(iter(self._shunned))]
            self._shunned[peer] = trio.current_time() + SHUNNED_SECONDS


def each_once(peers: Iterable[str], own: Iterable[str]) -> list[str]:
    """Return peers, named by id or address, without repeats and without this node itself."""
    mine = {peer.rpartition("/p2p/")[2] for peer in own}
    return [peer for peer in dict.fromkeys(peers) if peer and peer.rpartition("/p2p/")[2] not in mine]
