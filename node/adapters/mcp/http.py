"""An MCP server behind a URL: the streamable HTTP transport of MCP's own library, with a bound on what is read."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import httpx2
import trio
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import MCP_DEFAULT_SSE_READ_TIMEOUT, MCP_DEFAULT_TIMEOUT
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    find_invalid_x_mcp_header,
    mcp_param_headers,
    x_mcp_header_map,
)
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp.types import jsonrpc_message_adapter

from tslg.node.adapters.mcp import messages
from tslg.node.adapters.mcp.messages import PARSE_ERROR, Malformed, Message
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT, Limits

_log = logging.getLogger(__name__)
_EVENTS: Final = "text/event-stream"
_NAMES: Final = 8 * 1024
"""Characters of the names of one tool's headers: servers take no more of all headers of a request."""


class Remote:
    """The channel to a server behind a URL. `remote` opens and closes it."""

    def __init__(self, incoming: Any, outgoing: Any, limits: Limits) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._stamps = Stamps(limits)

    @property
    def status(self) -> int | None:
        """Return None: only the server's host knows."""
        return None

    async def receive(self) -> Message | Malformed | None:
        """Return what the server says next, None once the conversation is over."""
        try:
            came = await self._incoming.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            return None
        if not isinstance(came, SessionMessage):
            return Malformed(PARSE_ERROR, "it is no JSON-RPC 2.0 object")
        message = messages.parse(came.message.model_dump_json(by_alias=True, exclude_unset=True).encode())
        if not isinstance(message, Malformed):
            self._stamps.heard(message)
        return message

    async def send(self, message: Message) -> None:
        """Say something to the server. Raises trio.BrokenResourceError."""
        headers = self._stamps.headers(message)
        parsed = jsonrpc_message_adapter.validate_python(message, by_name=False)
        try:
            await self._outgoing.send(SessionMessage(parsed, ClientMessageMetadata(headers=headers)))
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise trio.BrokenResourceError("the conversation is over") from error

    async def finish(self) -> None:
        """End the conversation."""
        await self._outgoing.aclose()
        await self._incoming.aclose()


class Stamps:
    """What HTTP headers repeat of a message: its protocol version, method, name, and arguments so declared."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._most = limits.mcp_tools
        self._version: str | None = None
        self._declared: dict[str, dict[tuple[str, ...], str]] = {}

    def heard(self, message: Mapping[str, Any]) -> None:
        """Take note of the version that a server settles on, and of arguments that it wants in headers."""
        result = message.get("result")
        if not isinstance(result, dict):
            return
        if isinstance(version := result.get("protocolVersion"), str) and "serverInfo" in result:
            self._version = version
        tools = result.get("tools")
        for tool in tools if isinstance(tools, list) else ():
            schema = tool.get("inputSchema") if isinstance(tool, dict) else None
            name = tool.get("name") if isinstance(tool, dict) else None
            if not isinstance(name, str) or find_invalid_x_mcp_header(schema) is not None:
                continue
            found = x_mcp_header_map(schema)
            self._declared.pop(name, None)
            small = sum(len(header) + sum(map(len, path)) for path, header in found.items()) <= _NAMES
            if found and small and len(self._declared) < self._most:
                self._declared[name] = found

    def headers(self, message: Mapping[str, Any]) -> dict[str, str]:
        """Return the headers of a message: for protocol 2026-07-28 all of them, before that its version."""
        method, params = message.get("method"), messages.parameters(message)
        meta = params.get("_meta")
        modern = meta.get(messages.VERSION) if isinstance(meta, dict) else None
        if method == "initialize":
            return {}
        if not isinstance(modern, str) or not isinstance(method, str):
            return {} if self._version is None else {MCP_PROTOCOL_VERSION_HEADER: self._version}
        found = {
            MCP_PROTOCOL_VERSION_HEADER: encode_header_value(modern),
            MCP_METHOD_HEADER: encode_header_value(method),
        }
        if isinstance(name := params.get(NAME_BEARING_METHODS.get(method, "")), str):
            found[MCP_NAME_HEADER] = encode_header_value(name)
            arguments = params.get("arguments")
            if method == messages.CALL and name in self._declared and isinstance(arguments, dict):
                found.update(mcp_param_headers(self._declared[name], arguments))
        return found


@asynccontextmanager
async def remote(url: str, headers: Mapping[str, str], limits: Limits = DEFAULT) -> AsyncIterator[Remote]:
    """Speak to the server behind a URL for the length of a block.

    Args:
        url: where it is.
        headers: sent with every request, such as `Authorization`; they are not logged.
        limits: `mcp_message_bytes` of one message.

    Raises:
        UsageError: that is no URL.
    """
    if httpx2.URL(url).scheme not in ("http", "https"):
        raise UsageError(f"{url[:200]} is no URL of an MCP server", mend="give one that begins with https://")
    # That library logs messages, and what is wrong in them, in full.
    logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)
    client = _Client(limits.mcp_message_bytes, headers=dict(headers), timeout=_timeout())
    async with (
        client,
        streamable_http_client(url, http_client=client, max_sse_event_size=limits.mcp_message_bytes) as streams,
    ):
        yield Remote(*streams, limits)


def _timeout() -> httpx2.Timeout:
    return httpx2.Timeout(MCP_DEFAULT_TIMEOUT, read=MCP_DEFAULT_SSE_READ_TIMEOUT)


class _Client(httpx2.AsyncClient):
    """A client to whom a server that is not there is one that answers 503, and an endless answer a broken one.

    The transport above it knows what to make of either, and would end the conversation at an exception.
    """

    def __init__(self, most: int, **options: Any) -> None:
        super().__init__(**options)
        self._most = most

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request; never raises TransportError."""
        try:
            response = await super().send(request, **options)
        except httpx2.TransportError as error:
            _log.warning("the server cannot be reached: %s", type(error).__name__)
            return httpx2.Response(503, request=request)
        # A stream of events has a bound of its own, for each event.
        if not response.headers.get("content-type", "").lower().startswith(_EVENTS):
            response.stream = _Bounded(response.stream, self._most)
        return response


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: Any, most: int) -> None:
        self._stream = stream
        self._left = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                self._left -= len(piece)
                if self._left < 0:
                    raise httpx2.StreamError("the answer is longer than a message may be")
                yield piece
        except httpx2.TransportError as error:
            raise httpx2.StreamError("the answer was cut off") from error

    async def aclose(self) -> None:
        await self._stream.aclose()
