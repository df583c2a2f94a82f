"""What makes gossip cheap: the library reads byte by byte, and signs and checks with every message who sends it.

Measured on loopback: a message of 1 KiB cost its receiver some fifteen reads, ten frames back that widen its window,
and two signatures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from weakref import WeakKeyDictionary

import trio
from libp2p.abc import IHost, INetStream
from libp2p.peer.id import ID
from libp2p.peer.peerstore import env_to_send_in_RPC
from libp2p.pubsub import gossipsub, pubsub
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.utils import maybe_consume_signed_record

_PIECE_BYTES: Final = 64 * 1024
_RECORD_SECONDS: Final = 10.0
_PEERS: Final = 1_024

_own: WeakKeyDictionary[IHost, tuple[float, bytes]] = WeakKeyDictionary()
_taken: WeakKeyDictionary[IHost, dict[ID, bytes]] = WeakKeyDictionary()


class Pieces:
    """A stream that is read in large pieces, however small those are that its reader asks for."""

    def __init__(self, stream: INetStream) -> None:
        self._stream = stream
        self._left = memoryview(b"")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def read(self, n: int | None = None) -> bytes:
        """Return up to `n` bytes, of what came already if there is any."""
        if not self._left:
            self._left = memoryview(await self._stream.read(_PIECE_BYTES))
        piece = bytes(self._left[:n])
        self._left = self._left[len(piece) :]
        return piece


class ThriftyRouter(GossipSub):
    """A router that does not tell its neighbours which small messages it has got: that takes as much as a message."""

    async def _emit_idontwant_for_message(self, msg_id: bytes, topic_ids: Iterable[str]) -> None:
        """Tell nothing."""


def spare_signed_records() -> None:
    """Have the record of a host's addresses made now and then, and judged once, instead of with every message."""
    for module in (pubsub, gossipsub):
        vars(module)["env_to_send_in_RPC"] = _record_of
        vars(module)["maybe_consume_signed_record"] = _take_record


def _record_of(host: IHost) -> tuple[bytes, bool]:
    made, record = _own.get(host, (-_RECORD_SECONDS, b""))
    now = trio.current_time()
    if now - made < _RECORD_SECONDS:
        return record, False
    record, fresh = env_to_send_in_RPC(host)
    _own[host] = now, record
    return record, fresh


def _take_record(msg: rpc_pb2.RPC, host: IHost, peer_id: ID) -> bool:
    if not msg.HasField("senderRecord"):
        return True
    taken = _taken.setdefault(host, {})
    if taken.get(peer_id) == msg.senderRecord:
        return True
    holds = maybe_consume_signed_record(msg, host, peer_id)
    if holds:
        if len(taken) >= _PEERS:
            del taken[next(iter(taken))]
        taken[peer_id] = msg.senderRecord
    return holds
