"""What is a message, and what is none because readers would disagree about it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.node.adapters.mcp import messages
from tslg.node.adapters.mcp.messages import Malformed, encode, parse

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 1.5}}}


@pytest.mark.parametrize(
    "message",
    [
        CALL,
        {"jsonrpc": "2.0", "id": "1", "method": "a/method/of/tomorrow"},
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 9, "progress": 0.5}},
        {"jsonrpc": "2.0", "id": 1, "result": {"content": [], "more": {"x": 2**80}}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "no"}},
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "?"}},
    ],
)
def test_messages_go_through_as_they_came(message):
    assert parse(json.dumps(message).encode()) == message
    assert parse(encode(message)) == message


def line(**changes):
    return json.dumps({**CALL, **changes}).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "UTF-8"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', "twice"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}', "members"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":{"b":1,"b":2}}}', "twice"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', "JSON does not know"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1e999}}', "beyond any number"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"9" * 5000 + b"}}", "too long"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\\ud800"}}', "surrogate"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b"[" * 100_000, "nested"),
        (b"[" + line() + b"]", "batches"),
        (b"7", "no JSON-RPC"),
        (line(jsonrpc="1.0"), "no JSON-RPC"),
        (line(method=7), "no request"),
        (line(id=None), "no request"),
        (line(id=1.5), "no request"),
        (line(id=True), "no request"),
        (line(result={}), "no request"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', "no request"),
        (b'{"jsonrpc":"2.0","id":1}', "no request"),
        (line(params=["add"]), "no request"),
        (b'{"jsonrpc":"2.0","id":1,"result":[]}', "no request"),
        (b'{"jsonrpc":"2.0","id":null,"result":{}}', "no request"),
        (b'{"jsonrpc":"2.0","id":1,"error":"no"}', "no request"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":true,"message":""}}', "no request"),
        (b'{"jsonrpc":"2.0","id":1,"params":{},"result":{}}', "no request"),
    ],
)
def test_what_readers_disagree_about_is_no_message(data, reason):
    found = parse(data)
    assert isinstance(found, Malformed)
    assert reason in found.reason


def test_what_is_wrong_is_said_without_a_word_of_the_contents():
    for data in (b'{"password": hunter2', b'{"hunter2":1,"hunter2":2}', line(hunter2=1), b'{"jsonrpc":"hunter2"}'):
        found = parse(data)
        assert isinstance(found, Malformed)
        assert "hunter2" not in found.reason


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(str.encode)
    | st.builds(
        json.dumps,
        st.dictionaries(
            st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]),
            st.sampled_from(["2.0", 1, None, {}, [], "tools/call", True]),
            max_size=6,
        ),
    ).map(str.encode)
)
def test_whatever_comes_is_a_message_or_is_not(data):
    found = parse(data)
    if not isinstance(found, Malformed):
        assert parse(encode(found)) == found
        assert ("method" in found) != ("result" in found or "error" in found)


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"name": "pay"}, None),
        ({"name": "pay", "arguments": None}, None),
        ({"name": "pay", "arguments": {"to": 1, "cc": 2}}, None),
        ({"name": "pay", "arguments": {"x": 1, "X": 2}}, None),
        (None, "by its name"),
        ([], "by its name"),
        ({"name": 7}, "by its name"),
        ({"name": "pay", "Name": "delete"}, "differ in case"),
        ({"name": "pay", "arguments": [1]}, "an object"),
        ({"name": "pay", "arguments": {"cc": 1, "CC": 2}}, "differ in case"),
        ({"name": "pay", "arguments": {"To": 1}}, "differ in case"),
        ({"name": "pay", "arguments": {"to.iban": 1, "to": {"iban": 2}}}, "a dot in its name"),
        ({"name": "pay", "arguments": {"a.b": 1}}, None),
    ],
)
def test_a_call_must_read_alike_to_everybody(params, wrong):
    found = messages.wrong_with_call(params, {"to": {}, "x": {}, "X": {}, "a.b": {}})
    assert found is None if wrong is None else wrong in found


def test_nobody_but_the_gate_says_which_record_a_result_has():
    before = {"content": [], "_meta": {"tslg/record": "forged", "tslg/result": "forged", "other": 1}}
    assert messages.marked(before, {"tslg/record": "b1"})["_meta"] == {"tslg/record": "b1", "other": 1}
    assert messages.marked({"_meta": "none"}, {})["_meta"] == {}


def test_a_method_that_a_careless_reader_takes_for_a_call_is_known():
    assert all(map(messages.is_nearly_call, ("Tools/Call", "tools/call ", "\ttools/call", "tools /CALL")))
    assert not any(map(messages.is_nearly_call, ("tools/call", "tools/list", "tools", "call")))
