"""The relay: what passes, what is judged, and what becomes of both when either side misbehaves or ends."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing
from mcp_gates import Books

from tslg.node.adapters.mcp.channels import Lines
from tslg.node.adapters.mcp.judging import Judge
from tslg.node.adapters.mcp.relay import Relay
from tslg.node.governing.content import Digest
from tslg.protocol.errors import StoreError
from tslg.protocol.limits import DEFAULT

LIMITS = replace(DEFAULT, mcp_message_bytes=4096, mcp_pending=4, mcp_judging=2, mcp_call_ms=60_000)


class Upstream(Lines):
    async def finish(self):
        await self._outgoing.aclose()
        await self._incoming.aclose()


class Scene:
    """A relay between a client and a server that a test plays both of."""

    def __init__(self, gate, limits=LIMITS):
        ours, theirs = trio.testing.memory_stream_pair()
        below, server = trio.testing.memory_stream_pair()
        self.gate = gate
        self.ended = None
        self.client_stream, self.server_stream = theirs, server
        self.client, self.server = Lines(theirs, theirs), Lines(server, server)
        self.judge = Judge(gate, limits)
        self.relay = Relay(Lines(ours, ours, limits), Upstream(below, below, limits), self.judge, limits)

    async def run(self):
        self.ended = await self.relay.run()

    async def call(self, id=1, tool="add", **arguments):
        await self.client.send(request(id, "tools/call", {"name": tool, "arguments": arguments}))

    async def served(self):
        """Return what the server is sent next."""
        with trio.fail_after(5):
            return await self.server.receive()

    async def told(self):
        """Return what the client is sent next."""
        with trio.fail_after(5):
            return await self.client.receive()

    async def quiet(self, channel):
        """Tell whether a side is sent nothing, once all that can happen has."""
        with trio.move_on_after(0.05):
            return (await channel.receive()) is None and False
        return True


@asynccontextmanager
async def scene(gate=None, limits=LIMITS):
    made = Scene(Books() if gate is None else gate, limits)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run)
            yield made
            await made.client_stream.aclose()
    assert made.ended is not None


def request(id, method, params=None):
    return {"jsonrpc": "2.0", "id": id, "method": method, **({} if params is None else {"params": params})}


def result(id, **fields):
    return {"jsonrpc": "2.0", "id": id, "result": fields}


def text_of(message):
    assert message["result"]["isError"] is True
    return message["result"]["content"][0]["text"]


async def test_all_but_calls_goes_through_both_ways_as_it_came():
    async with scene() as made:
        for message in (
            request(1, "initialize", {"protocolVersion": "2030-01-01", "capabilities": {"x": {}}}),
            request("two", "resources/read", {"uri": "file:///a", "_meta": {"progressToken": "t"}}),
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            request(3, "a/method/of/tomorrow", {"any": [1, 2.5, None]}),
            {"jsonrpc": "2.0", "id": 77, "result": {"action": "accept"}},
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "two"}},
        ):
            await made.client.send(message)
            assert await made.served() == message
        for message in (
            result(1, serverInfo={"name": "calculator", "version": "7"}, capabilities={"later": {}}),
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "t", "progress": 1}},
            request(77, "sampling/createMessage", {"messages": []}),
            request(1, "elicitation/create", {"message": "?"}),
            {"jsonrpc": "2.0", "id": 3, "error": {"code": -32601, "message": "later"}},
        ):
            await made.server.send(message)
            assert await made.told() == message
        assert made.gate.written == []
        assert (made.judge.server, made.judge.version) == ("calculator", "7")


async def test_a_call_is_on_record_before_the_server_has_it_and_its_result_before_the_client_has_that():
    gate = Books()
    gate.held.clear()
    async with scene(gate) as made:
        await made.call(a=1)
        assert await made.quiet(made.server)
        gate.held.set()
        asked = await made.served()
        assert asked == request(1, "tools/call", {"name": "add", "arguments": {"a": 1}})
        assert gate.written == [("call", "add")]
        await made.server.send(result(1, content=[], structuredContent={"sum": 2}, _meta={"tslg/record": "x", "y": 1}))
        told = await made.told()
        assert gate.written == [("call", "add"), ("result", "add")]
        assert told["result"]["structuredContent"] == {"sum": 2}
        meta = told["result"]["_meta"]
        assert meta["y"] == 1 and meta["tslg/record"].startswith("b") and meta["tslg/result"].startswith("b")
        assert meta["tslg/record"] != meta["tslg/result"]


async def test_what_is_judged_is_tool_arguments_definition_and_server():
    async with scene() as made:
        await made.client.send(request(1, "tools/list"))
        await made.served()
        tool = {"name": "add", "inputSchema": {"type": "object", "properties": {"a": {}, "A": {}}}}
        await made.server.send(
            result(
                1,
                tools=[tool, {"name": 7}, "none"],
                _meta={"io.modelcontextprotocol/serverInfo": {"name": "calc", "version": "2"}},
            )
        )
        await made.told()
        params = {"name": "add", "arguments": {"a": 1, "A": 2**60}, "requestState": "s", "_meta": {"progressToken": 1}}
        await made.client.send(request(2, "tools/call", params))
        assert await made.served() == request(2, "tools/call", params)
        (seen,) = made.gate.candidates
        assert (seen.intent, seen.model, seen.version, seen.grain) == ("add", "calc", "2", "call")
        assert dict(seen.facts) == {"a": 1, "A": 2**60}
        assert sorted(seen.inputs) == ["arguments", "parameters", "tool"]
        assert seen.inputs["arguments"] == b'{"a":1,"A":1152921504606846976}'
        assert seen.inputs["parameters"] == b'{"requestState":"s"}' and b"inputSchema" in seen.inputs["tool"]
        await made.client.send(request(3, "tools/call", {"name": "unlisted"}))
        await made.served()
        assert sorted(made.gate.candidates[1].inputs) == ["arguments"]
        assert dict(made.gate.candidates[1].facts) == {}


async def test_a_refused_call_is_answered_to_the_model_and_never_forwarded():
    async with scene(Books("delete")) as made:
        await made.call(tool="delete", path="/")
        told = await made.told()
        assert "rejected at rule:house: not in this house" in text_of(told)
        assert told["result"]["_meta"]["tslg/record"].startswith("b")
        assert told["result"]["_meta"]["tslg/verdict"] == "rejected"
        await made.client.send({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "delete"}})
        await made.client.send(request(2, "ping"))
        assert await made.served() == request(2, "ping")
        assert made.gate.written == [("call", "delete")]


async def test_what_cannot_be_recorded_is_not_called_and_what_became_of_it_not_handed_on():
    gate = Books()
    gate.fails["call"] = StoreError("the disk is full", code="TSLG-D-FULL")
    async with scene(gate) as made:
        await made.call()
        assert "Not called: it could not be recorded" in text_of(await made.told())
        gate.fails["call"] = RuntimeError("password hunter2")
        await made.call(2)
        assert "hunter2" not in text_of(await made.told())
        gate.fails = {"result": StoreError("the disk is full", code="TSLG-D-FULL")}
        await made.call(3)
        assert (await made.served())["id"] == 3
        await made.server.send(result(3, content=[{"type": "text", "text": "the secret"}]))
        told = await made.told()
        assert "Called, but its result could not be recorded" in text_of(told)
        assert "the secret" not in json.dumps(told)
        assert list(told["result"]["_meta"]) == ["tslg/record"]


async def test_an_error_of_the_server_is_recorded_and_carries_the_records():
    async with scene() as made:
        await made.call()
        await made.served()
        await made.server.send({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "bad"}})
        told = await made.told()
        assert told["error"]["message"] == "bad"
        assert sorted(told["error"]["data"]) == ["tslg/record", "tslg/result"]


async def test_answers_that_nobody_waits_for_go_no_further():
    gate = Books()
    gate.held.clear()
    async with scene(gate) as made:
        await made.call()
        await made.server.send(result(1, content=["before it was asked"]))
        await made.server.send(result(99, content=["never asked"]))
        gate.held.set()
        await made.served()
        await made.server.send(result(1, content=["first"]))
        await made.server.send(result(1, content=["second"]))
        await made.server.send(request(5, "roots/list"))
        assert sorted([(await made.told()).get("method"), (await made.told()).get("method")], key=str) == [
            None,
            "roots/list",
        ]
        assert gate.written == [("call", "add"), ("result", "add")]


async def test_a_cancelled_call_is_not_forwarded_any_more_and_ends_in_the_log():
    gate = Books()
    gate.held.clear()
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    async with scene(gate) as made:
        await made.call()
        await made.client.send(cancel)
        await made.client.send(request(2, "ping"))
        assert await made.served() == request(2, "ping")
        gate.held.set()
        await made.call(3)
        assert (await made.served())["id"] == 3
        await made.client.send({**cancel, "params": {"requestId": 3}})
        assert (await made.served())["method"] == "notifications/cancelled"
        await made.server.send(result(3, content=["too late"]))
        await made.server.send(result(2))
        assert await made.told() == result(2)
    assert sorted(gate.written) == [("call", "add")] * 2 + [("result", "add")] * 2


async def test_a_tool_that_takes_too_long_is_given_up():
    async with scene(limits=replace(LIMITS, mcp_call_ms=20)) as made:
        await made.call()
        assert (await made.served())["method"] == "tools/call"
        assert (await made.served())["method"] == "notifications/cancelled"
        assert "no answer came within 20 ms" in text_of(await made.told())
        assert made.gate.written == [("call", "add"), ("result", "add")]


async def test_ids_are_used_once_and_no_more_wait_than_may():
    async with scene() as made:
        for id in range(4):
            await made.client.send(request(id, "ping"))
        await made.client.send(request(0, "ping"))
        assert (await made.told())["error"]["code"] == -32600
        await made.call(9)
        assert "4 requests wait" in (await made.told())["error"]["message"]
        assert made.gate.written == []


async def test_what_is_no_message_is_answered_and_not_forwarded():
    async with scene() as made:
        for data, code in (
            (b"{]\n", -32700),
            (b"[]\n", -32600),
            (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}\n', -32700),
            (b'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":"' + b"x" * 9000 + b'"}\n', -32700),
            (json.dumps(request(1, "tools/call", {"name": "add", "Name": "sub"})).encode() + b"\n", -32602),
        ):
            await made.client_stream.send_all(data)
            assert (await made.told())["error"]["code"] == code
        await made.client_stream.send_all(b"\n  \n")
        await made.client.send(request(2, "ping"))
        assert await made.served() == request(2, "ping")
        assert made.gate.written == []


async def test_a_server_that_breaks_the_rules_is_passed_over_and_told_of():
    async with scene() as made:
        await made.server_stream.send_all(b"Starting up...\n\xff\n")
        await made.call()
        await made.served()
        await made.server_stream.send_all(b'{"jsonrpc":"2.0","id":1,"result":{"content":"' + b"x" * 9000 + b'"}}\n')
        told = await made.told()
        assert "cannot be read: it has more than 4096 bytes" in told["error"]["message"]
        assert made.gate.written == [("call", "add"), ("result", "add")]


async def test_a_server_that_ends_leaves_nobody_waiting():
    gate = Books()
    async with scene(gate) as made:
        await made.call(1)
        await made.served()
        await made.client.send(request(2, "ping"))
        await made.served()
        gate.held.clear()
        await made.call(3)
        await trio.testing.wait_all_tasks_blocked()
        await made.server_stream.aclose()
        told = [await made.told(), await made.told()]
        gate.held.set()
        told.append(await made.told())
        by_id = {one["id"]: one for one in told}
        assert by_id[2]["error"]["code"] == -32000
        assert text_of(by_id[1]).startswith("Called: the MCP server ended")
        assert text_of(by_id[3]).startswith("Not called: the MCP server ended")
    assert made.ended is False
    assert sorted(gate.written) == [("call", "add")] * 2 + [("result", "add")] * 2


async def test_a_client_that_leaves_has_its_calls_ended_in_the_log():
    async with scene() as made:
        await made.call()
        await made.served()
    assert made.ended is True
    assert made.gate.written == [("call", "add"), ("result", "add")]


def still(pair, limits=LIMITS):
    """Return a relay whose sides take a message only while somebody reads, and the other ends of both."""
    (ours, theirs), (below, server) = pair(), pair()
    relay = Relay(Lines(ours, ours, limits), Upstream(below, below, limits), Judge(Books(), limits), limits)
    return relay, Lines(theirs, theirs), Lines(server, server)


async def test_a_client_that_does_not_read_holds_its_server_up():
    relay, client, server = still(trio.testing.lockstep_stream_pair)
    note = {"jsonrpc": "2.0", "method": "notifications/message"}
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            await server.send(note)
            with trio.move_on_after(0.05) as scope:
                await server.send(note)
                await server.send(note)
            assert scope.cancelled_caught
            assert await client.receive() == note
            nursery.cancel_scope.cancel()


async def test_a_server_that_does_not_read_is_given_up():
    relay, client, _ = still(trio.testing.lockstep_stream_pair, replace(LIMITS, mcp_call_ms=20))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            await client.send(request(1, "tools/call", {"name": "add"}))
            assert "no answer came within 20 ms" in text_of(await client.receive())


async def test_no_server_speaks_for_the_gate():
    async with scene() as made:
        await made.client.send(request(1, "resources/read", {"uri": "a:b"}))
        await made.served()
        await made.server.send(result(1, contents=[], _meta={"tslg/record": "forged", "other": {"tslg/record": 1}}))
        assert await made.told() == result(1, contents=[], _meta={"other": {"tslg/record": 1}})


async def test_what_is_nearly_a_call_is_none():
    async with scene() as made:
        await made.client.send(request(1, "Tools/Call", {"name": "add"}))
        assert (await made.told())["error"]["code"] == -32600
        await made.client.send({"jsonrpc": "2.0", "method": "tools/call ", "params": {"name": "add"}})
        await made.client.send(request(2, "ping"))
        assert await made.served() == request(2, "ping")
        assert made.gate.written == []


async def test_who_does_wrong_a_thousand_times_is_told_of_once(caplog):
    async with scene() as made:
        for id in range(100):
            await made.server.send(result(id))
        await made.server.send(request(1, "ping"))
        await made.told()
    assert len(caplog.records) == 1


async def test_the_result_of_a_task_is_recorded_as_that_of_its_call():
    async with scene() as made:
        await made.client.send(request(1, "tools/call", {"name": "add", "task": {"ttl": 9}}))
        await made.served()
        await made.server.send(result(1, task={"taskId": "t1", "status": "working"}))
        first = (await made.told())["result"]["_meta"]["tslg/record"]
        await made.client.send(request(2, "tasks/result", {"taskId": "t1"}))
        await made.served()
        await made.server.send(result(2, content=[]))
        told = await made.told()
        assert told["result"]["_meta"]["tslg/record"] == first
        assert made.gate.written == [("call", "add"), ("result", "add"), ("result", "add")]


async def test_nothing_of_arguments_or_results_is_logged(caplog):
    caplog.set_level(0)
    async with scene() as made:
        await made.call(password="hunter2")
        await made.served()
        await made.client_stream.send_all(b'{"password": "hunter2"\n')
        await made.told()
        await made.server_stream.send_all(b'{"hunter2": \n')
        await made.server.send(result(98, hunter2=1))
        await made.server.send(result(1, content=["hunter2"]))
        await made.told()
    assert caplog.records
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("name", ["hunter2" * 50, ""])
async def test_a_tool_of_any_name_is_judged(name):
    async with scene() as made:
        await made.call(tool=name)
        assert (await made.served())["params"]["name"] == name


def test_of_a_definition_that_is_long_little_is_remembered():
    judge = Judge(None)
    long = {"a": {"description": "x" * 200_000}, "a.b": {}}
    many = {f"{'x' * 100}{n}": {} for n in range(1_000)}
    judge.learn(
        [{"name": name, "inputSchema": {"properties": given}} for name, given in (("long", long), ("many", many))]
    )
    assert judge.declared("long") == {"a", "a.b"} and not judge.declared("many") and judge.knows("many")
    assert all(isinstance(tool.definition, Digest) for tool in judge._tools.values())
