"""The local interface without sockets: who may ask, what is answered, and what a batch and a repetition do."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import pytest

from tslg.node.api import values
from tslg.node.api.interface import Interface
from tslg.node.api.methods import METHODS, parameters
from tslg.node.home import Home
from tslg.node.httpd.messages import Request
from tslg.protocol.cid import to_text
from tslg.protocol.limits import Limits
from tslg.protocol.record import parse

TOKEN = "a token"


@pytest.fixture
def served(tmp_path):
    with Home.open(tmp_path / "a") as home:
        agent = home.agent("one")
        interface = Interface(home, TOKEN, lambda: {"up": True}, Limits(remembered_answers=3))

        def ask(method, path, body=None, *, token=TOKEN, **headers):
            data = b"" if body is None else values.dumps(body) if not isinstance(body, bytes) else body
            given = {"authorization": f"Bearer {token}", **{name.replace("_", "-"): v for name, v in headers.items()}}
            response = interface.answer(Request(method, path, given, data))
            return response.status, values.loads(response.body)

        yield SimpleNamespace(
            interface=interface, home=home, agent=agent, ask=ask, size=lambda: home.store.log_state(agent.id).size
        )


def test_what_is_recorded_is_told_with_its_bytes(served):
    status, told = served.ask("POST", "/v1/agents/one/act", {"name": "build", "input": {"n": 1, "d": b"\x00\xff"}})
    assert status == 200 and told["kind"] == "action" and told["seq"] == served.size() - 1
    record = parse(told["data"], "sha2-256")
    assert record.id == told["record"] and record.body["input"] == {"n": 1, "d": b"\x00\xff"}
    status, held = served.ask("GET", f"/v1/records/{to_text(record.id)}")
    assert status == 200 and held["data"] == record.data and held["seal"] == served.home.store.get(record.id).seal


@pytest.mark.parametrize("token", ["", "a toke", "a token ", "another"])
def test_without_the_token_nothing_is_done(served, token):
    before = served.size()
    for method, path in (("POST", "/v1/agents/one/state"), ("GET", "/v1/status"), ("GET", "/v1/agents")):
        assert served.ask(method, path, {"data": {}}, token=token)[0] == 401
    assert served.size() == before


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/agents/two/state", {"data": {}}, 404, "TSLG-U-UNKNOWN"),
        ("POST", "/v1/agents/one/rotate", {}, 400, "TSLG-U-USAGE"),
        ("POST", "/v1/agents/one/_draft", {}, 404, "TSLG-U-UNKNOWN"),
        ("POST", "/v1/agents/one/state", {}, 400, "TSLG-U-USAGE"),
        ("POST", "/v1/agents/one/state", {"data": {}, "colour": 1}, 400, "TSLG-U-USAGE"),
        ("POST", "/v1/agents/one/state", [], 400, "TSLG-U-USAGE"),
        ("POST", "/v1/agents/one/state", b"{", 400, "TSLG-U-USAGE"),
        ("POST", "/v1/agents/one/state", b"[" * 100_000, 400, "TSLG-U-USAGE"),
        ("POST", "/v1/agents/one/state", b'{"data": {"x": {"/": "bafy"}}}', 400, "TSLG-U-USAGE"),
        ("POST", "/v1/agents/one/state", b'{"data": {"x": 1.5}}', 422, "TSLG-R-BODY"),
        ("POST", "/v1/agents/one/state", {"data": {"x": "y" * 70_000}}, 422, "TSLG-R-SIZE"),
        ("POST", "/v1/agents/one/batch", {"calls": [1]}, 400, "TSLG-U-USAGE"),
        ("POST", "/v1/agents", {"name": 3}, 400, "TSLG-U-USAGE"),
        ("DELETE", "/v1/agents/one/state", None, 400, "TSLG-U-USAGE"),
        ("GET", "/v1/nothing", None, 404, "TSLG-U-UNKNOWN"),
        ("GET", "/v1/records/bafy", None, 400, "TSLG-C-CID"),
    ],
)
def test_what_cannot_be_done_is_told_by_its_code(served, method, path, body, status, code):
    before = served.size()
    got, told = served.ask(method, path, body)
    assert (got, told["code"]) == (status, code) and told["detail"]
    assert served.size() == before


def test_a_batch_is_recorded_whole_or_not_at_all(served):
    calls = [
        {"method": "observe", "arguments": {"source": "a sensor", "data": {"x": 1}}},
        {"method": "decide", "arguments": {"name": "go", "outcome": "yes", "evidence": {"$result": 0}}},
    ]
    status, told = served.ask("POST", "/v1/agents/one/batch", {"calls": calls})
    first, second = told["results"]
    assert status == 200 and second["seq"] == first["seq"] + 1
    cited = parse(second["data"], "sha2-256").preds["evidence"]
    assert [edge.cid for edge in cited] == [first["record"]]
    before = served.size()
    for wrong in ({"$result": 1}, {"$result": True}, {"$result": -1}):
        bad = {"method": "decide", "arguments": {"name": "go", "outcome": "yes", "evidence": wrong}}
        status, told = served.ask("POST", "/v1/agents/one/batch", {"calls": [calls[0], bad]})
        assert status == 400 and served.size() == before


def test_a_request_that_comes_again_is_answered_again_and_done_once(served):
    answers = [served.ask("POST", "/v1/agents/one/state", {"data": {}}, idempotency_key="k") for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    other = served.ask("POST", "/v1/agents/one/state", {"data": {}}, idempotency_key="l")
    assert other[1]["seq"] == answers[0][1]["seq"] + 1
    assert served.ask("POST", "/v1/agents/one/state", {"data": {}}, idempotency_key="k" * 200)[0] == 400


def test_many_at_once_with_one_key_make_one_record(served):
    before = served.size()
    threads = [
        threading.Thread(
            target=served.ask, args=("POST", "/v1/agents/one/state", {"data": {}}), kwargs={"idempotency_key": "k"}
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served.size() == before + 1


def test_answers_that_are_kept_are_bounded(served):
    before = served.size()
    for number in range(9):
        served.ask("POST", "/v1/agents/one/state", {"data": {}}, idempotency_key=str(number))
    served.ask("POST", "/v1/agents/one/state", {"data": {}}, idempotency_key="0")
    served.ask("POST", "/v1/agents/one/state", {"data": {}}, idempotency_key="8")
    assert served.size() == before + 10


def test_an_agent_is_made_once(served):
    first, again = (served.ask("POST", "/v1/agents", {"name": "two"}) for _ in range(2))
    assert first == again and first[0] == 200
    assert {one["name"] for one in served.ask("GET", "/v1/agents")[1]["agents"]} == {"one", "two"}


def test_the_description_has_every_method_and_parameter(served):
    response = served.interface.answer(Request("GET", "/openapi.json", {}, b""))
    described = json.loads(response.body)
    assert response.status == 200 and described["openapi"].startswith("3.1")
    for method in METHODS:
        operation = described["paths"][f"/v1/agents/{{agent}}/{method}"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        named = [name for name, one in parameters(method).items() if one.kind is not one.VAR_KEYWORD]
        assert set(schema["properties"]) == set(named) and operation["summary"]
        untyped = [name for name in schema["properties"] if not schema["properties"][name]]
        assert untyped == [], method
