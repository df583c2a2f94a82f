"""A gateway for IPFS clients: single blocks by CID over Bitswap 1.1 and 1.2, without taking any.

The library's own client answers on the asker's stream, where other implementations do not listen, and keeps what each
peer ever wanted without a bound; so its messages are used here, and nothing else of it. Specification:
https://specs.ipfs.tech/bitswap-protocol/ (wants, presences, blocks with a CID prefix, varint-delimited protobuf).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Final

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream
from libp2p.bitswap.messages import create_message
from libp2p.bitswap.pb.bitswap_pb2 import Message
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux.yamux import YamuxStream

from tslg.node.net.exchange import StreamBroken
from tslg.node.net.libp2p.muxer import shielded
from tslg.node.net.libp2p.streams import YamuxByteStream
from tslg.protocol.frames import FrameError, decode_varint, encode_varint
from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)

PROTOCOLS: Final = tuple(map(TProtocol, ("/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0")))
PREFIX_BYTES: Final = 4
"""Version, codec, hash and digest length: what of the ids that are served stands before the digest."""

Blocks = Callable[[bytes, str], bytes | None]
"""`blocks(cid, peer)`: the block with a binary CID as far as that peer may have it, else None. Called in a thread."""


class BlockGateway:
    """Answers wants of peers, each message on a stream of its own, with what `blocks` has."""

    def __init__(self, host: IHost, blocks: Blocks, limits: Limits) -> None:
        self._host = host
        self._blocks = blocks
        self._limits = limits
        self._busy: Counter[ID] = Counter()
        for protocol in PROTOCOLS:
            host.set_stream_handler(protocol, self._handle)

    async def _handle(self, stream: INetStream) -> None:
        """Answer what one stream brings. Whatever a peer sends, nothing escapes: it would end the node (defect 1)."""
        if not isinstance(stream, NetStream) or not isinstance(stream.muxed_stream, YamuxStream):
            raise TypeError("not a Yamux stream")
        own, peer = YamuxByteStream(stream.muxed_stream, self._limits), stream.muxed_conn.peer_id
        try:
            if self._busy[peer] < self._limits.requests_per_peer:
                self._busy[peer] += 1
                try:
                    await self._answer_all(own, peer)
                finally:
                    self._busy[peer] -= 1
                    if not self._busy[peer]:
                        del self._busy[peer]
        except (StreamBroken, BaseLibp2pError, trio.TooSlowError):
            _log.debug("bitswap: peer %s went away", peer)
        except (FrameError, DecodeError) as error:
            _log.warning("bitswap: peer %s sent no message: %s", peer, error, extra={"peer": str(peer)})
        except Exception as error:
            _log.error("bitswap: an answer to %s failed: %r", peer, error, extra={"peer": str(peer)})
        finally:
            await own.abort()

    async def _answer_all(self, stream: YamuxByteStream, peer: ID) -> None:
        async for data in self._messages(stream):
            message = Message()
            message.ParseFromString(data)
            wants = [one for one in message.wantlist.entries[: self._limits.block_wants] if not one.cancel]
            if wants:
                found = await trio.to_thread.run_sync(self._look_up, wants, str(peer))
                await self._send(peer, found)

    async def _messages(self, stream: YamuxByteStream) -> AsyncIterator[bytes]:
        """Yield the messages of a stream until it ends, or nothing comes for the time that a request has."""
        held = bytearray()
        while True:
            with trio.move_on_after(self._limits.progress_timeout_ms / 1000) as patience:
                data = await stream.receive()
            if patience.cancelled_caught or not data:
                return
            held += data
            while (message := _take(held, self._limits.request_bytes)) is not None:
                yield message

    def _look_up(
        self, wants: Iterable[Message.Wantlist.Entry], peer: str
    ) -> list[tuple[Message.Wantlist.Entry, bytes | None]]:
        return [(want, self._blocks(want.block, peer)) for want in wants]

    async def _send(self, peer: ID, found: list[tuple[Message.Wantlist.Entry, bytes | None]]) -> None:
        """Send blocks and presences on a stream of our own: the asker's is for what it asks."""
        seconds = self._limits.write_stall_ms / 1000
        for message in _answers(found, self._limits.chunk_bytes // 2):
            data = message.SerializeToString()
            # Defects 2 and 3: neither opening a stream nor writing to it may be cancelled half way.
            with shielded(seconds):
                stream = await self._host.new_stream(peer, list(PROTOCOLS))
                try:
                    await stream.write(encode_varint(len(data)) + data)
                    await stream.close()
                except BaseException:
                    await stream.reset()
                    raise


def _take(held: bytearray, most: int) -> bytes | None:
    """Take the first whole message off what is held, None if there is none yet. FrameError if it is too long."""
    header = decode_varint(held)
    if header is None:
        return None
    length, start = header
    if length > most:
        raise FrameError(f"a message of {length} bytes; the limit is {most}")
    if len(held) < start + length:
        return None
    message = bytes(held[start : start + length])
    del held[: start + length]
    return message


def _answers(found: Iterable[tuple[Message.Wantlist.Entry, bytes | None]], most: int) -> Iterator[Message]:
    """Yield messages of at most about `most` bytes of blocks each."""
    blocks: list[tuple[bytes, bytes]] = []
    presences: list[tuple[bytes, bool]] = []
    size = 0
    for want, block in found:
        if block is None:
            if want.sendDontHave:
                presences.append((want.block, False))
        elif want.wantType == Message.Wantlist.Have:
            presences.append((want.block, True))
        else:
            blocks.append((want.block[:PREFIX_BYTES], block))
            size += len(block)
        if size >= most:
            yield create_message(blocks_v110=blocks, block_presences=presences)
            blocks, presences, size = [], [], 0
    if blocks or presences:
        yield create_message(blocks_v110=blocks, block_presences=presences)
