"""HTTP/1.1 for the project's own servers: h11 reads and writes the bytes, trio serves, every step has a deadline."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple

import h11
import trio

from tslg.node.httpd.messages import TEXT, Answer, Request, Response, Streaming
from tslg.node.tasks import background
from tslg.protocol.errors import TslgError

_log = logging.getLogger(__name__)

_HEAD_BYTES: Final = 16 * 1024
_READ_BYTES: Final = 64 * 1024
_BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, h11.LocalProtocolError)
"""How a connection ends that the other side, or a deadline, ended."""


class HttpLimits(NamedTuple):
    """Bounds on what clients may cost a server: bytes of a body, times in ms, and connections."""

    body_bytes: int
    request_ms: int
    idle_ms: int
    connections: int
    per_address: int


async def serve(answer: Answer, listeners: Sequence[trio.SocketListener], limits: HttpLimits) -> None:
    """Serve until cancelled."""
    slots = _Slots(limits)

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            with slots.taken(_address(stream)) as free:
                if free:
                    await _Connection(stream, answer, limits).run()

    await trio.serve_listeners(handle, list(listeners))


def _address(stream: trio.SocketStream) -> str:
    """Return the other side's address; of one that is gone already, or of a local socket, none."""
    try:
        peer = stream.socket.getpeername()
    except OSError:
        return ""
    return str(peer[0]) if isinstance(peer, tuple) else ""


class _Slots:
    """How many connections are open, in all and from each address; who finds none free is closed at once."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._open: Counter[str] = Counter()

    @contextmanager
    def taken(self, address: str) -> Iterator[bool]:
        """Take a slot while the block runs, if one is free."""
        free = self._open.total() < self._limits.connections
        if not free or self._open[address] >= self._limits.per_address:
            yield False
            return
        self._open[address] += 1
        try:
            yield True
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


class _Connection:
    """One connection: requests one after the other."""

    def __init__(self, stream: trio.SocketStream, answer: Answer, limits: HttpLimits) -> None:
        self._stream = stream
        self._answer = answer
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        self._streaming: Streaming | None = None

    async def run(self) -> None:
        """Answer until the other side has enough, breaks the protocol, or is too slow."""
        try:
            while await self._within(self._limits.idle_ms, self._await_data):
                if not await self._within(self._limits.request_ms, self._exchange):
                    return
                if self._streaming is not None:
                    return await self._stream_out(self._streaming)
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    return
                self._http.start_next_cycle()
        except _BROKEN:
            return

    async def _within(self, milliseconds: int, step: Callable[[], Awaitable[bool]]) -> bool:
        """Do one step, or give up on it: a deadline for all of it, which single bytes do not move."""
        done = False
        with trio.move_on_after(milliseconds / 1000):
            done = await step()
        return done

    async def _await_data(self) -> bool:
        """Wait for the first bytes of a request; False if the other side closed."""
        if self._http.trailing_data[0]:
            return True
        data = await self._stream.receive_some(_READ_BYTES)
        self._http.receive_data(data)
        return bool(data)

    async def _exchange(self) -> bool:
        head = await self._event()
        if not isinstance(head, h11.Request):
            return False
        body = await self._body() if _announced(head) <= self._limits.body_bytes else None
        if body is None:
            await self._respond(Response(413, TEXT, b"too long\n"), close=True)
            return False
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        request = Request(head.method.decode("ascii"), head.target.decode("ascii"), headers, body)
        try:
            response = await trio.to_thread.run_sync(self._answer, request)
        except TslgError as error:
            _log.error("a request was not answered: %s", error)
            response = Response(500, TEXT, b"the server cannot keep its state\n")
        if isinstance(response, Streaming):
            self._streaming = response
        else:
            await self._respond(response)
        return True

    async def _stream_out(self, response: Streaming) -> None:
        """Send chunks until there are none, or the client takes none in time or is gone; then end the connection."""
        headers = [("content-type", response.type), ("cache-control", "no-store"), ("connection", "close")]
        async with background() as nursery:
            nursery.start_soon(self._until_gone, nursery.cancel_scope)
            await self._send(h11.Response(status_code=response.status, headers=headers))
            try:
                async with aclosing(response.chunks()) as chunks:
                    async for chunk in chunks:
                        if not await self._within(self._limits.request_ms, partial(self._taken, chunk)):
                            return
            except TslgError as error:
                _log.error("a stream was broken off: %s", error)
                return
            await self._send(h11.EndOfMessage())

    async def _taken(self, chunk: bytes) -> bool:
        await self._send(h11.Data(data=chunk))
        return True

    async def _until_gone(self, scope: trio.CancelScope) -> None:
        """Cancel a stream when its client closes the connection; what else it may send is of no interest any more."""
        with suppress(*_BROKEN):
            while await self._stream.receive_some(_READ_BYTES):
                pass
        scope.cancel()

    async def _body(self) -> bytes | None:
        """Read a request's body; None if it is longer than any request."""
        parts: list[bytes] = []
        left = self._limits.body_bytes
        while True:
            event = await self._event()
            if isinstance(event, h11.EndOfMessage):
                return b"".join(parts)
            if not isinstance(event, h11.Data):
                raise h11.RemoteProtocolError("the connection ended within a request")
            left -= len(event.data)
            if left < 0:
                return None
            parts.append(bytes(event.data))

    async def _event(self) -> Any:
        """Return the next event of the connection: of h11's types, which share no base with its sentinels."""
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._stream.receive_some(_READ_BYTES))

    async def _respond(self, response: Response, *, close: bool = False) -> None:
        headers = [("content-type", response.type), ("content-length", str(len(response.body)))]
        if close:
            headers.append(("connection", "close"))
        await self._send(h11.Response(status_code=response.status, headers=headers))
        await self._send(h11.Data(data=response.body))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self._stream.send_all(data)


def _announced(request: h11.Request) -> int:
    """Return how long a request says that its body is; h11 has checked that it is a number."""
    return next((int(value) for name, value in request.headers if name == b"content-length"), 0)
