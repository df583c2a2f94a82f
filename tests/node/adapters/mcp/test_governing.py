"""One's own MCP server, governed where it runs."""

from __future__ import annotations

import pytest
import trio
from mcp import Client
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, ListToolsResult, TextContent, Tool
from mcp_gates import Books

import tslg
from tslg.node import quick
from tslg.node.adapters.mcp.governing import govern
from tslg.protocol.cid import to_text
from tslg.protocol.errors import StoreError


def calculator(ran):
    server = MCPServer("calculator", version="3", log_level="CRITICAL")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add."""
        ran.append((a, b))
        if b == 0:
            raise MCPError(code=-32000, message="no zero")
        return a + b

    @server.tool()
    async def wait() -> str:
        """Wait for ever."""
        ran.append("wait")
        await trio.sleep_forever()
        return ""

    return server


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("own") / "data"


@pytest.fixture(scope="module")
def gate(policy, data):
    yield tslg.gate("own-server", policy=policy, data=data)
    quick._homes.pop(data).close()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_calls_are_judged_recorded_and_answered(gate, data, steps, mode):
    ran = []
    async with Client(govern(calculator(ran), gate), mode=mode) as client:
        added = await client.call_tool("add", {"a": 1, "b": 2})
        refused = await client.call_tool("add", {"a": 1000, "b": 2})
        with pytest.raises(MCPError, match="no zero"):
            await client.call_tool("add", {"a": 1, "b": 0})
        with pytest.raises(MCPError, match="differ in case"):
            await client.call_tool("add", {"a": 1, "A": 1000, "b": 2})
    assert ran == [(1, 2), (1, 0)]
    assert added.structured_content == {"result": 3}
    assert refused.is_error and "we add small numbers only" in refused.content[0].text
    made = steps(data, "own-server")[-5:]
    assert [record.kind for record in made] == ["inference", "observation", "rejection", "inference", "observation"]
    assert set(made[0].body["inputs"]) == {"arguments", "tool"}
    assert made[0].body["model_version"] == "3"
    assert added.meta["tslg/record"] == to_text(made[0].id) and added.meta["tslg/result"] == to_text(made[1].id)


async def test_a_server_of_the_lower_level_is_governed_alike():
    async def listed(ctx, params):
        return ListToolsResult(tools=[Tool(name="echo", input_schema={"type": "object"})])

    async def called(ctx, params):
        return CallToolResult(content=[TextContent(type="text", text="hello")])

    books = Books()
    server = Server("low", version="1", on_list_tools=listed, on_call_tool=called)
    async with Client(govern(server, books)) as client:
        await client.list_tools()
        result = await client.call_tool("echo", {})
    assert result.content[0].text == "hello" and result.meta["tslg/result"]
    assert "tool" in books.candidates[0].inputs and books.candidates[0].model == "low"


async def test_what_cannot_be_recorded_does_not_run_and_its_result_does_not_leave():
    ran, books = [], Books()
    books.fails["call"] = StoreError("the disk is full")
    async with Client(govern(calculator(ran), books)) as client:
        result = await client.call_tool("add", {"a": 1, "b": 2})
        assert result.is_error and "the disk is full" in result.content[0].text and ran == []
        books.fails = {"result": StoreError("the disk is full")}
        result = await client.call_tool("add", {"a": 40, "b": 2})
        assert result.is_error and "not handed on" in result.content[0].text
        assert result.structured_content is None and ran == [(40, 2)]


async def test_a_cancelled_call_has_its_end_in_the_log():
    ran, books = [], Books()
    async with Client(govern(calculator(ran), books)) as client:
        with trio.move_on_after(0.2):
            await client.call_tool("wait", {})
        with trio.fail_after(5):
            while ("result", "wait") not in books.written:
                await trio.sleep(0.01)
    assert ran == ["wait"]
