"""How messages come and go: one JSON object a line, and never more of a line held than a message may have."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import trio

from tslg.node.adapters.mcp.messages import PARSE_ERROR, Id, Malformed, Message, encode, parse
from tslg.protocol.limits import DEFAULT, Limits

_PIECE: Final = 64 * 1024
_NAMED: Final = re.compile(rb'\{"jsonrpc":"2\.0","id":(?:(-?[0-9]{1,15})|"([ -!#-\[\]-~]{1,200})"),')
"""How a response begins as most libraries write it: tells whose answer a line was that is too long to be read."""


class Channel(Protocol):
    """One side of a conversation."""

    async def receive(self) -> Message | Malformed | None:
        """Return the next message, or what came instead of one; None where the other side is gone."""

    async def send(self, message: Message) -> None:
        """Hand a message over; waits while the other side does not read.

        Raises:
            trio.BrokenResourceError: the other side is gone.
        """


class Lines:
    """A channel over a pair of byte streams: newline-delimited JSON, the stdio transport of MCP.

    Args:
        incoming: what is read.
        outgoing: what is written.
        limits: `mcp_message_bytes` of one message.
    """

    def __init__(
        self, incoming: trio.abc.ReceiveStream, outgoing: trio.abc.SendStream, limits: Limits = DEFAULT
    ) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._most = limits.mcp_message_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._sending = trio.Lock()
        self._torn = False

    async def receive(self) -> Message | Malformed | None:
        """Return the next message, or what came instead of one; empty lines are passed over."""
        while True:
            line = await self._line()
            if isinstance(line, Malformed) or line is None:
                return line
            if line.strip():
                return parse(line)

    async def send(self, message: Message) -> None:
        """Write a message as one line; after one that was broken off there is no other."""
        data = encode(message)
        async with self._sending:
            if self._torn:
                raise trio.BrokenResourceError("a message was broken off")
            self._torn = True
            try:
                await self._outgoing.send_all(data)
            except trio.ClosedResourceError as error:
                raise trio.BrokenResourceError("closed on this side") from error
            self._torn = False

    async def _line(self) -> bytes | Malformed | None:
        """Return the next whole line; what stands behind the last line break when it ends was cut off."""
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if len(self._buffer) > self._most:
                return await self._pass_over()
            if not await self._more():
                return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return self._too_long(line) if len(line) > self._most else line

    async def _pass_over(self) -> Malformed | None:
        """Read to the end of a line that is too long, keeping none of it but its beginning."""
        start = bytes(self._buffer[:512])
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                del self._buffer[: end + 1]
                self._searched = 0
                return self._too_long(start)
            self._buffer.clear()
            self._searched = 0
            if not await self._more():
                return None

    def _too_long(self, start: bytes) -> Malformed:
        found = _NAMED.match(start)
        id: Id | None = None
        if found is not None:
            id = int(found[1]) if found[1] is not None else found[2].decode("ascii")
        return Malformed(PARSE_ERROR, f"it has more than {self._most} bytes", id)

    async def _more(self) -> bool:
        try:
            data = await self._incoming.receive_some(_PIECE)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        self._buffer += data
        return bool(data)


class FileIn(trio.abc.ReceiveStream):
    """A file descriptor of any kind, a pipe, a terminal or a file, read in a thread; it stays as it was, and open."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some bytes, none at the end."""
        try:
            data: bytes = await _left_behind(os.read, self._fd, max_bytes or _PIECE)
            return data
        except OSError as error:
            raise trio.BrokenResourceError(error.strerror) from error

    async def aclose(self) -> None:
        """Let it be."""


class FileOut(trio.abc.SendStream):
    """A file descriptor of any kind, written in a thread; it stays as it was, and open."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of it."""
        left = memoryview(data)
        while left:
            try:
                done: int = await _left_behind(os.write, self._fd, left)
            except OSError as error:
                raise trio.BrokenResourceError(error.strerror) from error
            left = left[done:]

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: whoever writes waits for its thread."""

    async def aclose(self) -> None:
        """Let it be."""


async def _left_behind(work: Callable[..., Any], *arguments: Any) -> Any:
    """Do what may block for ever in a thread that is left behind on cancellation."""
    run: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync
    return await run(work, *arguments, abandon_on_cancel=True)
