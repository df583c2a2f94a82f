"""Yamux streams as `exchange.ByteStream`s: whole, bounded and safe to cancel (defects 6 and 7)."""

from __future__ import annotations

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.stream_muxer.exceptions import MuxedStreamEOF
from libp2p.stream_muxer.yamux.yamux import DEFAULT_WINDOW_SIZE, HEADER_SIZE, MAX_MESSAGE_SIZE, YamuxStream

from tslg.node.net import errors
from tslg.node.net.exchange import StreamBroken
from tslg.node.net.libp2p.muxer import forget_event, give_up, shielded
from tslg.protocol import frames
from tslg.protocol.limits import Limits

_READ_BYTES = 256 * 1024
_REPORT_BYTES = DEFAULT_WINDOW_SIZE // 4
"""What is read before the other side's window is opened again: often enough for it never to close."""
_FRAME_BYTES = MAX_MESSAGE_SIZE - HEADER_SIZE
_WINDOW_POLL_SECONDS = 0.002
_MULTISTREAM = "/multistream/1.0.0"


class YamuxByteStream:
    """A `ByteStream` over one Yamux stream."""

    def __init__(self, stream: YamuxStream, limits: Limits) -> None:
        self._stream = stream
        self._stall = limits.write_stall_ms / 1000
        self._unreported = 0
        self._sent_all = False
        self._heard_all = False

    async def receive(self) -> bytes:
        """See `exchange.ByteStream`.

        Defect 6: the library's `read_exactly` gives up after a hundred pieces, so frames are put together elsewhere.
        """
        conn = self._stream.conn
        try:
            data = await conn.read_stream(self._stream.stream_id, _READ_BYTES)
        except MuxedStreamEOF:
            forget_event(self._stream)
            self._heard_all = self._stream.recv_closed and not self._stream.reset_received
            if self._heard_all:
                return b""
            raise StreamBroken("the connection was lost") from None
        except BaseLibp2pError as error:
            raise StreamBroken(str(error)) from None
        self._unreported += len(data)
        if self._unreported >= _REPORT_BYTES:
            await self._open_window()
        return data

    async def send(self, data: bytes) -> None:
        """See `exchange.ByteStream`.

        Defect 7: a writer that meets a closed window gives up after 5 s. It never meets one if we wait for it first;
        how long to wait is the caller's to say.
        """
        view = memoryview(data)
        while view:
            while self._stream.send_window <= 0 and not self._stream.closed:
                await trio.sleep(_WINDOW_POLL_SECONDS)
            size = min(len(view), self._stream.send_window, _FRAME_BYTES)
            try:
                await self._stream.write(bytes(view[:size]))
            except BaseLibp2pError as error:
                raise StreamBroken(str(error)) from None
            view = view[size:]

    async def send_eof(self) -> None:
        """See `exchange.ByteStream`."""
        with shielded(self._stall):
            try:
                await self._stream.close()
            except BaseLibp2pError as error:
                raise StreamBroken(str(error)) from None
        self._sent_all = True

    async def wait_broken(self) -> None:
        """See `exchange.ByteStream`. Behind the end of what the other side sends, only a reset sets the event."""
        conn, stream = self._stream.conn, self._stream
        while stream.stream_id in conn.streams and not stream.reset_received:
            conn.stream_events[stream.stream_id] = event = trio.Event()
            await event.wait()

    async def abort(self) -> None:
        """See `exchange.ByteStream`."""
        if not (self._sent_all and self._heard_all):
            await give_up(self._stream, self._stall)

    async def _open_window(self) -> None:
        # What was read is out of the library's buffer: it must reach the caller, whatever becomes of the connection.
        with shielded(self._stall):
            try:
                await self._stream._auto_tune_and_send_window_update(bytes_read=self._unreported)
            except BaseLibp2pError:
                self._stream.closed = True
        self._unreported = 0


class RequestStream(YamuxByteStream):
    """The asker's side: agrees on the protocol without spending a round trip on it.

    The names of the negotiation go out together with the request; the answerer's echo comes before its reply.
    """

    def __init__(self, stream: YamuxStream, limits: Limits, protocol: str, peer: str) -> None:
        super().__init__(stream, limits)
        self._protocol = protocol
        self._peer = peer
        self._greeting = _line(_MULTISTREAM) + _line(protocol)
        self._greeted = False
        self._echo = bytearray()
        self._agreed = False

    async def send(self, data: bytes) -> None:
        """See `exchange.ByteStream`."""
        if not self._greeted:
            self._greeted = True
            data = self._greeting + data
        await super().send(data)

    async def receive(self) -> bytes:
        """See `exchange.ByteStream`. Raises NotServed or ProtocolViolation if the peer does not agree."""
        while True:
            data = await super().receive()
            if self._agreed:
                return data
            if not data:
                raise errors.Unreachable(f"peer {self._peer} closed the stream unanswered", peer=self._peer)
            self._echo += data
            if not self._check_echo():
                continue
            self._agreed = True
            if rest := bytes(self._echo[len(self._greeting) :]):
                return rest

    def _check_echo(self) -> bool:
        if self._echo.startswith(self._greeting):
            return True
        if self._echo.startswith(_line(_MULTISTREAM) + _line("na")):
            raise errors.NotServed(f"peer {self._peer} does not speak {self._protocol}", peer=self._peer)
        for answer in (self._greeting, _line(_MULTISTREAM) + _line("na")):
            if answer.startswith(self._echo):
                return False
        raise errors.ProtocolViolation(f"peer {self._peer} does not answer to the protocol's name", peer=self._peer)


def _line(text: str) -> bytes:
    data = text.encode() + b"\n"
    return frames.encode_varint(len(data)) + data
