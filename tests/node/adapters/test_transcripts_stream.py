"""Transcripts as streams: each message a step as it comes, recorded once, whatever is restarted or sent again."""

from __future__ import annotations

import hashlib
import io
import json

import pytest

from tslg.node.adapters.transcripts.streaming import Line, Stream
from tslg.node.governing.gate import Gate
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.errors import AdapterError, StoreError
from tslg.protocol.limits import Limits
from tslg.protocol.opening import disclosed

POLICY = b"""
class = "internal"
[intents.chat]
[intents.find_boat]
"""


def call(id, name="find_boat"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": '{"size": 7}'}}


def line(**message):
    return json.dumps(message).encode() + b"\n"


BOATS = [
    line(conversation_id="a", role="system", content="You rent out boats."),
    line(conversation_id="a", role="user", content="Is one free?"),
    line(conversation_id="b", role="user", content="Hello"),
    line(conversation_id="a", role="assistant", content=None, tool_calls=[call("c1"), call("c2", "sink_boat")]),
    line(conversation_id="b", role="assistant", content="Hi"),
    line(conversation_id="a", role="tool", tool_call_id="c2", content="sunk"),
    line(conversation_id="a", role="tool", tool_call_id="c1", content="yes"),
    line(conversation_id="a", role="assistant", content="It is."),
    json.dumps([{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]).encode() + b"\n",
]
WHOLE = {"observed": 6, "admitted": 5, "rejected": 1, "composed": 1}
"""Four messages and two conversations that have one answer each; five steps and one too many; a conversation."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with Home.open(tmp_path_factory.mktemp("stream") / "node") as opened:
        yield opened


@pytest.fixture
def agent(home, request):
    return home.agent(request.node.name[:200])


@pytest.fixture
def gate(agent):
    return Gate(agent, POLICY)


def log(home, agent):
    found = [disclosed(id, home.store.get(id)) for id, _ in home.store.log_range(agent.id, 0, 10_000)]
    return [one for one in found if one.kind not in ("genesis", "policy")]


def fed(home, recorder, lines, **how):
    stream = Stream(home.store, recorder, "stdin", **how)
    stream.feed(io.BytesIO(b"".join(lines)))
    return stream.done


def cited(record, cls):
    return {edge.cid for edge in record.preds.get(cls, ())}


@pytest.mark.spec("SEE-1", "SEE-3", "SEE-6")
def test_messages_are_steps_that_rest_on_what_was_said(home, agent, gate):
    done = fed(home, gate, BOATS, model="boat-model")
    assert (done.lines, done.conversations, done.verdicts) == (9, 3, WHOLE)
    made = {(one.kind, one.body.get("intent"), one.seq): one for one in log(home, agent)}
    observed = {one.seq: one.body["data"] for one in made.values() if one.kind == "observation"}
    turns = [one for one in made.values() if one.kind == "inference" and one.body["intent"] == "chat"]
    (tool,) = [one for one in made.values() if one.body.get("intent") == "find_boat" and one.kind == "inference"]
    (refused,) = [one for one in made.values() if one.kind == "rejection"]
    asking, answering = turns[0], turns[2]
    assert tool.body["inputs"] == {"arguments": hashlib.sha256(b'{"size": 7}').digest()}
    assert tool.body["output"] == hashlib.sha256(b"yes").digest() and tool.body["model"] == "boat-model"
    assert asking.id in cited(tool, "evidence") and asking.id in cited(refused, "evidence")
    assert {tool.id, refused.id} <= cited(answering, "evidence")
    assert len(cited(asking, "evidence")) == 2
    assert asking.body["inputs"].keys() == {"conversation", "message 0", "message 1"}
    assert answering.body["inputs"]["message 3"] == hashlib.sha256(b"sunk").digest()
    assert {one["operation"] for one in observed.values()} >= {"user message", "system message", "conversation"}
    assert not any(b"boats" in one.data for one in made.values())


def test_a_conversation_is_composed_of_its_admitted_steps_and_valid(home, gate):
    done = fed(home, gate, BOATS)
    whole = done.last["a"].record
    assert whole.kind == "composite" and len(cited(whole, "part")) == 3
    report = verify(StoreSource(home.store), whole.id, home.federation, now_ms=home.clock())
    assert report.verdict == "valid"


def test_without_a_policy_steps_are_observed(home, agent):
    assert fed(home, agent, BOATS).verdicts == {"observed": 13}
    assert {one.kind for one in log(home, agent)} == {"observation"}


def test_the_same_stream_again_records_nothing_twice(home, agent, gate):
    fed(home, gate, BOATS)
    size = len(log(home, agent))
    again = fed(home, gate, BOATS)
    assert again.already == 13 and not again.verdicts and len(log(home, agent)) == size


def test_the_same_words_in_another_conversation_are_others(home, agent, gate):
    fed(home, gate, [line(conversation_id="a", role="user", content="hi")])
    done = fed(home, gate, [line(conversation_id="b", role="user", content="hi")] * 2)
    assert done.verdicts.total() == 3


def test_a_growing_file_is_read_as_it_grows_and_after_restarts(home, agent, gate, tmp_path):
    path = tmp_path / "boats.jsonl"
    verdicts, already = {}, 0
    whole = b"".join(BOATS)
    # Cut in the middle of lines, too: such a line counts once its end is there.
    cuts = [0, 70, 300, 301, len(whole) - 5, len(whole)]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        stream = Stream(home.store, gate, "boats")
        with path.open("rb") as file:
            stream.read(file, wait=lambda: False)
        for verdict, count in stream.done.verdicts.items():
            verdicts[verdict] = verdicts.get(verdict, 0) + count
        already += stream.done.already
    assert verdicts == {"observed": 5, "admitted": 5, "rejected": 1} and already > 0
    stream = Stream(home.store, gate, "boats")
    with path.open("rb") as file:
        stream.read(file)
    assert stream.done.verdicts == {"composed": 1, "observed": 1}
    stream = Stream(home.store, gate, "boats")
    with path.open("rb") as file:
        stream.read(file)
    assert stream.done.lines == 0


def test_waiting_goes_on_until_told_otherwise(home, gate, tmp_path):
    path = tmp_path / "slow.jsonl"
    path.write_bytes(BOATS[0])
    rest = list(BOATS[1:3])

    def wait():
        if not rest:
            return False
        with path.open("ab") as file:
            file.write(rest.pop(0))
        return True

    stream = Stream(home.store, gate, "slow")
    with path.open("rb") as file:
        stream.read(file, wait=wait)
    assert stream.done.lines == 3 and not stream.done.last


def test_another_file_of_the_same_name_is_read_from_its_start(home, gate, tmp_path):
    path = tmp_path / "rotated.jsonl"
    for lines in (BOATS[:2], BOATS[2:3]):
        path.write_bytes(b"".join(lines))
        stream = Stream(home.store, gate, "rotated")
        with path.open("rb") as file:
            stream.read(file)
        assert stream.done.lines == len(lines)


@pytest.mark.parametrize("after", [1, 4, 7, 12])
def test_a_stream_that_was_cut_off_goes_on_where_it_was(home, agent, gate, after, monkeypatch, tmp_path):
    path = tmp_path / "cut.jsonl"
    path.write_bytes(b"".join(BOATS))
    appended, left = agent._ledger.append, [after]

    def failing(owner, draft):
        left[0] -= 1
        if left[0] < 0:
            raise StoreError("no space left", code="TSLG-D-FULL")
        return appended(owner, draft)

    monkeypatch.setattr(agent._ledger, "append", failing)
    with path.open("rb") as file, pytest.raises(Exception, match="TSLG-"):
        Stream(home.store, gate, "cut").read(file)
    monkeypatch.undo()
    with path.open("rb") as file:
        Stream(home.store, gate, "cut").read(file)
    spans = [bytes(one.body["data"]["span"]) for one in log(home, agent) if one.kind == "observation"]
    assert len(spans) == len(set(spans)) == 13
    assert [one.body["intent"] for one in log(home, agent) if one.kind == "inference"].count("find_boat") == 1


def test_when_there_are_too_many_conversations_the_one_silent_longest_ends(home, gate):
    lines = [line(conversation_id=name, role="user", content="hi") for name in "abacb"]
    done = fed(home, gate, lines, limits=Limits(transcript_talks=2))
    assert done.conversations == 4 and set(done.last) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{\n", "TSLG-I-JSON"),
        (b'{"role": "user"} x\n', "TSLG-I-JSON"),
        (b"\xff\n", "TSLG-I-TEXT"),
        (b'{"other": 1}\n', "TSLG-I-SHAPE"),
        (b'{"role": "assistant", "tool_calls": 7}\n', "TSLG-I-SHAPE"),
        (b"[" * 10_000 + b"\n", "TSLG-I-JSON"),
        (line(role="somebody", content="x"), "TSLG-I-ROLE"),
    ],
)
def test_a_line_that_cannot_be_read_stops_the_stream_or_is_left_out(home, gate, data, code):
    with pytest.raises(AdapterError, match="line 2") as wrong:
        fed(home, gate, [BOATS[0], data, BOATS[1]])
    assert wrong.value.code == code
    told = []
    done = fed(home, gate, [BOATS[0], data, BOATS[1]], lenient=True, warn=told.append)
    assert (done.conversations, done.left_out, len(told)) == (1, 1, 1)


def test_a_line_that_is_too_long(home, gate):
    with pytest.raises(AdapterError, match="in a line"):
        fed(home, gate, [line(role="user", content="x" * 1000)], limits=Limits(transcript_line_bytes=500))


def test_results_without_a_call_and_calls_without_a_result(home, agent, gate):
    told = []
    lines = [
        line(role="tool", tool_call_id="none", content="x"),
        line(role="assistant", content="look", tool_calls=[call("c1"), call("c2")]),
        line(role="tool", name="find_boat", content="by its name"),
        line(role="user", content=[{"type": "tool_result", "tool_use_id": "c2", "content": "by its id"}]),
        line(role="assistant", content=None, tool_calls=[call("c3")]),
    ]
    done = fed(home, gate, lines, warn=told.append)
    assert done.left_out == 1 and "without a call" in told[0]
    outputs = [one.body.get("output") for one in log(home, agent) if one.body.get("intent") == "find_boat"]
    assert outputs == [hashlib.sha256(b"by its name").digest(), hashlib.sha256(b"by its id").digest(), None]


def test_calls_that_never_have_a_result_are_not_kept_for_ever(home, gate):
    lines = [line(role="assistant", content=None, tool_calls=[call(f"c{number}")]) for number in range(5)]
    stream = Stream(home.store, gate, "stdin", limits=Limits(span_tool_calls=2))
    for number, data in enumerate(lines):
        stream.take(Line(number + 1, number * 100, data))
    assert len(next(iter(stream._talks.values())).talk._open) == 2
