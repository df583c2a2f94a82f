"""One request and its reply over a stream of bytes: the same code for every network.

A network brings the streams and says who is at the other end; this module brings the frames, the limits and the errors.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Protocol

import trio

from tslg.node.net import errors
from tslg.node.net.offenders import Offenders
from tslg.node.net.seam import Handler
from tslg.protocol import frames
from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)

_STEP_BYTES = 16 * 1024
"""What counts as progress within one chunk: one byte now and then must not keep a request alive."""


class StreamBroken(Exception):
    """The stream was reset, or the connection below it is gone."""


class ByteStream(Protocol):
    """A stream in both directions whose two sides close one by one. Every method may be cancelled."""

    async def receive(self) -> bytes:
        """The next bytes, or b"" once the other side has closed in good order; else StreamBroken."""
        ...

    async def send(self, data: bytes) -> None:
        """Send all of `data`; StreamBroken if the other side is gone."""
        ...

    async def send_eof(self) -> None:
        """Close this side; StreamBroken if the other side is gone."""
        ...

    async def wait_broken(self) -> None:
        """Return when the other side, which has closed, gives up on hearing from us too."""
        ...

    async def abort(self) -> None:
        """Give the stream up, whatever its state. Never fails, and does its work even when cancelled."""
        ...


class Reply:
    """The payloads of one reply, in order. Waiting for the peer is limited, the time its reader takes is not."""

    def __init__(self, stream: ByteStream, peer: str, limits: Limits) -> None:
        self._stream = stream
        self._peer = peer
        self._timeout = limits.progress_timeout_ms / 1000
        self._patience = self._timeout
        self._step = 0
        self._decoder = frames.ReplyDecoder(limits.chunk_bytes, limits.reply_bytes)
        self._ready: Iterator[frames.Chunk] = iter(())
        self.complete = False

    def __aiter__(self) -> Reply:
        return self

    async def __anext__(self) -> bytes:
        while not self.complete:
            with self._violations():
                chunk = next(self._ready, None)
            if chunk is None:
                await self._receive()
            elif chunk.code == frames.OK:
                self._patience, self._step = self._timeout, 0
                return chunk.payload
            else:
                raise errors.from_chunk(chunk, self._peer)
        raise StopAsyncIteration

    async def _receive(self) -> None:
        asked = trio.current_time()
        with trio.move_on_after(self._patience) as wait:
            try:
                data = await self._stream.receive()
            except StreamBroken:
                raise errors.Unreachable(
                    f"peer {self._peer} went away before its reply was complete", peer=self._peer
                ) from None
        if wait.cancelled_caught:
            raise errors.Stalled(f"peer {self._peer} sent nothing for {self._timeout:g} s", peer=self._peer)
        self._patience -= trio.current_time() - asked
        self._step += len(data)
        if self._step >= _STEP_BYTES:
            self._patience, self._step = self._timeout, 0
        if data:
            self._ready = self._decoder.feed(data)
            return
        with self._violations():
            self._decoder.finish()
        self.complete = True

    @contextmanager
    def _violations(self) -> Iterator[None]:
        try:
            yield
        except frames.FrameError as error:
            raise errors.ProtocolViolation(f"peer {self._peer}: {error.detail}", peer=self._peer) from None


async def ask(stream: ByteStream, payload: bytes, peer: str, limits: Limits) -> Reply:
    """Send a request on a new stream. Raises Unreachable or Stalled; the caller aborts the stream in the end."""
    timeout = limits.progress_timeout_ms / 1000
    with trio.move_on_after(timeout) as wait:
        try:
            await stream.send(frames.encode_request(payload))
            await stream.send_eof()
        except StreamBroken:
            raise errors.Unreachable(f"peer {peer} went away before it took the request", peer=peer) from None
    if wait.cancelled_caught:
        raise errors.Stalled(f"peer {peer} did not take the request within {timeout:g} s", peer=peer)
    return Reply(stream, peer, limits)


class Asking:
    """Holds back own requests, so that no peer gets more of them at a time than it would answer."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.requests_per_peer
        self._gates: dict[str, trio.CapacityLimiter] = {}

    @asynccontextmanager
    async def turn(self, peer: str) -> AsyncIterator[None]:
        """Wait for a turn with `peer`, and have it for the length of the block."""
        gate = self._gates.setdefault(peer, trio.CapacityLimiter(self._limit))
        try:
            async with _borrowed(gate):
                yield
        finally:
            statistics = gate.statistics()
            if not statistics.borrowed_tokens and not statistics.tasks_waiting:
                self._gates.pop(peer, None)


@asynccontextmanager
async def _borrowed(gate: trio.CapacityLimiter) -> AsyncIterator[None]:
    # One task may hold several requests open at once, which a limiter counted by task would refuse.
    borrower = object()
    await gate.acquire_on_behalf_of(borrower)
    try:
        yield
    finally:
        gate.release_on_behalf_of(borrower)


class Serving:
    """The handlers of one node, and how many requests of each peer are being answered."""

    def __init__(self, limits: Limits, offenders: Offenders) -> None:
        self._limits = limits
        self._active: Counter[str] = Counter()
        self.handlers: dict[str, Handler] = {}
        self.answered: Counter[tuple[str, int | None]] = Counter()
        """How many requests of each protocol ended with which code, None for those that were given up."""
        self._offenders = offenders

    async def answer(self, stream: ByteStream, protocol: str, peer: str) -> None:
        """Read a request and answer it; the caller aborts the stream in the end.

        Whatever goes wrong, in the handler or with the peer, ends this reply and nothing else.
        """
        busy = self._active[peer] >= self._limits.requests_per_peer
        self._active[peer] += 1
        code: int | None = None
        try:
            request = await self._read_request(stream, peer)
            digest = hashlib.sha256(request).digest()
            self._offenders.often(peer, "repeats", f"{protocol}: one request again and again", digest)
            if busy:
                raise errors.Busy("too many requests at a time")
            await self._run(self.handlers[protocol], request, peer, stream)
            code = frames.OK
        except StreamBroken as error:
            self._offenders.often(peer, "gives-up", "requests begun and given up")
            _log.debug("a request of %s for %s was given up: %s", peer, protocol, error)
        except errors.Answered as error:
            # With a peer it is what another peer answered to us, which is no business of this one.
            own = error if not error.peer else errors.ServerError("a peer that was needed did not answer")
            if isinstance(own, errors.InvalidRequest):
                self._offenders.name(peer, own.code, f"{protocol}: {own.detail}")
            code = own.wire_code
            await self._refuse(stream, own)
        except Exception as error:
            _log.error("the handler of %s failed: %r", protocol, error)
            _log.debug("the handler of %s failed", protocol, exc_info=error)
            code = frames.SERVER_ERROR
            await self._refuse(stream, errors.ServerError("the handler failed"))
        finally:
            self.answered[protocol, code] += 1
            self._active[peer] -= 1
            if not self._active[peer]:
                del self._active[peer]

    async def _run(self, handler: Handler, request: bytes, peer: str, stream: ByteStream) -> None:
        """Run the handler for as long as the asker is there to listen."""
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await stream.wait_broken()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            try:
                await self._send_reply(handler, request, peer, stream)
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _send_reply(self, handler: Handler, request: bytes, peer: str, stream: ByteStream) -> None:
        sent = False
        async with aclosing(handler(request, peer)) as payloads:
            async for payload in payloads:
                if len(payload) > self._limits.chunk_bytes:
                    raise ValueError(f"a payload of {len(payload)} bytes; the limit is {self._limits.chunk_bytes}")
                await self._send(stream, frames.encode_chunk(frames.OK, payload))
                sent = True
        if not sent:
            await self._send(stream, frames.encode_chunk(frames.OK, b""))
        await self._send_eof(stream)

    async def _read_request(self, stream: ByteStream, peer: str) -> bytes:
        decoder = frames.RequestDecoder(self._limits.request_bytes)
        try:
            with trio.fail_after(self._limits.progress_timeout_ms / 1000):
                while data := await stream.receive():
                    decoder.feed(data)
            return decoder.finish()
        except trio.TooSlowError:
            self._offenders.name(peer, errors.Stalled.code, "a request that does not come")
            raise StreamBroken("the request did not come in time") from None
        except frames.FrameError as error:
            raise errors.InvalidRequest(error.detail) from None

    async def _refuse(self, stream: ByteStream, error: errors.Answered) -> None:
        try:
            await self._send(stream, errors.to_chunk(error))
            await self._send_eof(stream)
        except StreamBroken as broken:
            _log.debug("%s could not be told: %s", error, broken)

    async def _send(self, stream: ByteStream, data: bytes) -> None:
        with trio.move_on_after(self._limits.write_stall_ms / 1000) as wait:
            await stream.send(data)
        if wait.cancelled_caught:
            raise StreamBroken("the peer takes nothing")

    async def _send_eof(self, stream: ByteStream) -> None:
        with trio.move_on_after(self._limits.write_stall_ms / 1000) as wait:
            await stream.send_eof()
        if wait.cancelled_caught:
            raise StreamBroken("the peer takes nothing")
