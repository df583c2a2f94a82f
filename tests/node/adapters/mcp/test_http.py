"""The relay before a real MCP server behind a URL, with a real client, in both eras of the protocol."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest
import trio
import trio.testing
import uvicorn
from mcp import Client
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter
from mcp_gates import Books

from tslg.node.adapters.mcp.channels import Lines
from tslg.node.adapters.mcp.http import Stamps, remote
from tslg.node.adapters.mcp.judging import Judge
from tslg.node.adapters.mcp.relay import Relay
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT

LIMITS = replace(DEFAULT, mcp_message_bytes=64 * 1024)


def calculator():
    server = MCPServer("calculator", version="3", log_level="CRITICAL")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    @server.tool()
    async def count(to: int, ctx: Context) -> str:
        """Count."""
        for n in range(to):
            await ctx.report_progress(n + 1, to)
        return "counted"

    @server.tool()
    def much() -> str:
        """Say more than may be said."""
        return "x" * 200_000

    @server.resource("note://today")
    def today() -> str:
        """A note."""
        return "rain"

    return server


class Serving(uvicorn.Server):
    """A server in a thread."""

    def __init__(self, app):
        super().__init__(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", loop="asyncio"))
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        while not self.started:
            assert self.thread.is_alive()
            threading.Event().wait(0.01)
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}/mcp"

    def __exit__(self, *_):
        self.should_exit = True
        self.thread.join(10)


@pytest.fixture(scope="module", params=[True, False], ids=["json", "events"])
def url(request):
    with Serving(calculator().streamable_http_app(json_response=request.param)) as address:
        yield address


@asynccontextmanager
async def through(url, gate):
    """Return a transport whose other end is a relay before that server."""
    ours, theirs = trio.testing.memory_stream_pair()
    lines = Lines(theirs, theirs)
    incoming, read = anyio.create_memory_object_stream(0)
    write, outgoing = anyio.create_memory_object_stream(0)

    async def hear():
        while (message := await lines.receive()) is not None:
            await incoming.send(SessionMessage(jsonrpc_message_adapter.validate_python(message)))

    async def say():
        async for one in outgoing:
            await lines.send(one.message.model_dump(by_alias=True, exclude_unset=True, mode="json"))

    async with remote(url, {}, LIMITS) as server, trio.open_nursery() as nursery, read, write, incoming, outgoing:
        relay = Relay(Lines(ours, ours), server, Judge(gate), LIMITS)
        nursery.start_soon(relay.run)
        nursery.start_soon(hear)
        nursery.start_soon(say)
        yield read, write
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_real_client_sees_a_server_behind_a_url_through_it(url, mode):
    gate, seen = Books("much"), []

    async def progressed(done, total, message):
        seen.append(done)

    with trio.fail_after(30):
        async with Client(through(url, gate), mode=mode) as client:
            assert len((await client.list_tools()).tools) == 3
            assert (await client.read_resource("note://today")).contents[0].text == "rain"
            added = await client.call_tool("add", {"a": 1, "b": 2})
            assert added.structured_content == {"result": 3}
            assert added.meta["tslg/record"] and added.meta["tslg/result"]
            refused = await client.call_tool("much", {})
            assert refused.is_error and "not in this house" in refused.content[0].text
            await client.call_tool("count", {"to": 2}, progress_callback=progressed)
    assert gate.written == [
        ("call", "add"),
        ("result", "add"),
        ("call", "much"),
        ("call", "count"),
        ("result", "count"),
    ]
    assert gate.candidates[0].model == "calculator"
    assert set(gate.candidates[0].inputs) == {"arguments", "tool"}


async def test_an_answer_without_end_is_not_read(url):
    gate = Books()
    with trio.fail_after(30):
        async with Client(through(url, gate), mode="legacy") as client:
            with pytest.raises(Exception, match=r"longer than|SSE|cannot be read|Failed"):
                await client.call_tool("much", {})
            assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
    assert gate.written[:2] == [("call", "much"), ("result", "much")]


async def test_a_server_that_is_not_there_is_an_error_and_no_end():
    with trio.fail_after(30):
        async with remote("http://127.0.0.1:9/mcp", {}, LIMITS) as server:
            for id in (1, 2):
                await server.send({"jsonrpc": "2.0", "id": id, "method": "ping"})
                assert (await server.receive())["error"]["message"] == "Server returned an error response"
            await server.finish()
            assert await server.receive() is None
            with pytest.raises(trio.BrokenResourceError):
                await server.send({"jsonrpc": "2.0", "id": 3, "method": "ping"})


async def test_no_address_is_told_of():
    with pytest.raises(UsageError):
        async with remote("ftp://example.org", {}):
            pass


def test_headers_repeat_what_the_protocol_wants_repeated():
    stamps = Stamps()
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "größe", "arguments": {"region": "eu"}},
    }
    assert stamps.headers(call) == {}
    stamps.heard({"result": {"protocolVersion": "2025-06-18", "serverInfo": {}}})
    assert stamps.headers(call) == {"mcp-protocol-version": "2025-06-18"}
    assert stamps.headers({"method": "initialize"}) == {}
    stamps.heard(
        {
            "result": {
                "tools": [
                    {
                        "name": "größe",
                        "inputSchema": {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}},
                    },
                    {"name": "bad", "inputSchema": {"properties": {"r": {"type": "array", "x-mcp-header": "R"}}}},
                    {
                        "name": "long",
                        "inputSchema": {"properties": {"r": {"type": "string", "x-mcp-header": "R" * 9_000}}},
                    },
                    7,
                ]
            }
        }
    )
    modern = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    long = stamps.headers({**call, "params": {"name": "long", "arguments": {"r": "x"}, "_meta": modern}})
    assert set(long) == {"mcp-protocol-version", "mcp-method", "mcp-name"}
    found = stamps.headers({**call, "params": {**call["params"], "_meta": modern}})
    assert found.pop("mcp-name").startswith("=?base64?")
    assert found == {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "Mcp-Param-Region": "eu"}
