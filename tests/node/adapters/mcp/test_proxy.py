"""`tslg mcp proxy` before a real MCP server, with a real MCP client, and killed at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tslg.node.governing.content import digest
from tslg.protocol.cid import to_text

ROOT = Path(__file__).resolve().parents[4]
SERVER = ROOT / "tests" / "support" / "mcp_calculator.py"
ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def command(policy, data, *server, options=()):
    proxy = [
        sys.executable,
        "-m",
        "tslg.node.cli",
        "mcp",
        "proxy",
        "--policy",
        policy,
        "--data",
        data,
        "--agent",
        "bot",
    ]
    return [*map(str, proxy), *options, "--", *server]


async def test_a_real_client_sees_a_real_server_through_it(policy, steps, tmp_path):
    program, *arguments = command(policy, tmp_path / "data", sys.executable, str(SERVER))
    there = stdio_client(StdioServerParameters(command=program, args=arguments, env=ENV))
    seen = []

    async def progressed(done, total, message):
        seen.append((done, total))

    with trio.fail_after(60):
        async with Client(there) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["add", "tell", "count", "leave"]
            assert (await client.read_resource("note://today")).contents[0].text == "rain"
            assert (await client.get_prompt("greet", {"name": "Ada"})).messages[0].content.text == "Greet Ada"
            added = await client.call_tool("add", {"a": 1, "b": 2})
            assert added.structured_content == {"result": 3} and not added.is_error
            refused = await client.call_tool("add", {"a": 1000, "b": 2})
            assert refused.is_error and "we add small numbers only" in refused.content[0].text
            broken = await client.call_tool("tell", {"path": "file"})
            assert broken.is_error and broken.meta["tslg/result"]
            await client.call_tool("count", {"to": 3}, progress_callback=progressed)
            assert seen == [(1, 3), (2, 3), (3, 3)]
    made = steps(tmp_path / "data", "bot")
    assert [(record.kind, record.body.get("intent", record.body.get("source"))) for record in made] == [
        ("inference", "add"),
        ("observation", "add"),
        ("rejection", "add"),
        ("inference", "tell"),
        ("observation", "tell"),
        ("inference", "count"),
        ("observation", "count"),
    ]
    first, result, refusal = made[:3]
    assert added.meta["tslg/record"] == to_text(first.id) and added.meta["tslg/result"] == to_text(result.id)
    assert refused.meta["tslg/record"] == to_text(refusal.id)
    assert (first.body["model"], first.body["model_version"], first.body["grain"]) == ("calculator", "3", "call")
    assert first.body["inputs"]["arguments"] == digest({"a": 1, "b": 2})
    assert set(first.body["inputs"]) == {"arguments", "tool"}
    assert [edge.cid for edge in result.edges("evidence")] == [first.id]


def test_a_server_that_dies_is_told_of_and_the_command_fails(policy, tmp_path):
    asked = [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "x", "version": "1"},
            },
        },
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "leave", "arguments": {}}},
    ]
    with subprocess.Popen(
        command(policy, tmp_path / "data", sys.executable, str(SERVER), options=["--json"]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENV,
    ) as proxy:
        proxy.stdin.write(b"".join(json.dumps(one).encode() + b"\n" for one in asked))
        proxy.stdin.flush()
        told = [json.loads(proxy.stdout.readline()) for _ in range(2)]
        assert proxy.wait(30) == 3
        assert told[0]["result"]["serverInfo"]["name"] == "calculator"
        assert "Called: the MCP server ended" in told[1]["result"]["content"][0]["text"]
        assert json.loads(proxy.stderr.read().splitlines()[-1]) == {"ended": "server", "status": 7}


COUNTING = """
import json, sys
with open(sys.argv[1], "a", buffering=1) as file:
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["method"] == "tools/call":
            file.write(f"{asked['params']['arguments']['n']}\\n")
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": {"content": []}}), flush=True)
"""
"""A server that writes down every call that it hears of."""


def killed(policy, data, heard, calls, after, pause):
    """Have calls pipelined through a proxy that is killed once the server has heard of so many."""
    server = [sys.executable, "-c", COUNTING, str(heard)]
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": {"name": "t", "arguments": {"n": n}}})
        for n in calls
    ]
    with subprocess.Popen(
        command(policy, data, *server), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENV
    ) as proxy:
        proxy.stdin.write("\n".join([*lines, ""]).encode())
        proxy.stdin.flush()
        for _ in range(after):
            assert proxy.stdout.readline()
        if pause:
            proxy.send_signal(signal.SIGSTOP)
            proxy.send_signal(signal.SIGCONT)
        proxy.kill()
        return [json.loads(line)["id"] for line in proxy.stdout]


def check_kills(policy, steps, tmp_path, kills, chance):
    data, heard = tmp_path / "data", tmp_path / "heard"
    for kill in range(kills):
        killed(policy, data, heard, range(kill * 100, kill * 100 + 40), chance.randrange(1, 20), chance.random() < 0.5)
    called = [int(line) for line in heard.read_text().split()]
    recorded = {record.body["inputs"]["arguments"] for record in steps(data, "bot") if record.kind == "inference"}
    assert len(called) >= kills
    assert {digest({"n": n}) for n in called} <= recorded


def test_no_call_is_forwarded_without_its_record_however_the_proxy_dies(policy, steps, tmp_path):
    check_kills(policy, steps, tmp_path, 2, random.Random(7))


@pytest.mark.slow
def test_no_call_is_forwarded_without_its_record_however_often_the_proxy_dies(policy, steps, tmp_path):
    check_kills(policy, steps, tmp_path, 40, random.Random(8))


@pytest.mark.slow
def test_a_child_outlives_its_proxy_by_no_grandchild(policy, tmp_path):
    pids = tmp_path / "pids"
    script = f"sleep 100 & echo $! > {pids}; cat > /dev/null; sleep 100"
    with subprocess.Popen(
        command(policy, tmp_path / "data", "sh", "-c", script),
        stdin=subprocess.PIPE,
        env=ENV,
        stdout=subprocess.DEVNULL,
    ) as proxy:
        while not (pids.exists() and pids.read_text().strip()):
            proxy.poll()
            assert proxy.returncode is None
            time.sleep(0.02)
        proxy.terminate()
        assert proxy.wait(30) == 0
    state = Path(f"/proc/{pids.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "which server?"),
        (["--url", "http://x", "--", "y"], "which server?"),
        (["--header", "A=B", "--", "y"], "names no environment variable"),
        (["--header", "A=PATH", "--", "y"], "is sent no headers"),
        (["--", "/nonexistent/server"], "cannot be run"),
        (["--url", "ftp://x"], "is no URL"),
    ],
)
def test_what_is_wrong_with_the_command_is_said_in_one_line(policy, tmp_path, arguments, said):
    from click.testing import CliRunner

    from tslg.node.cli.root import tslg

    given = ["mcp", "proxy", "--policy", str(policy), "--data", str(tmp_path / "data"), *arguments]
    result = CliRunner().invoke(tslg, given)
    assert result.exit_code == 3
    assert said in result.stderr and len(result.stderr.splitlines()) == 1
