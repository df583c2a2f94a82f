"""Reading transcripts: every shape that is accepted, and for what is not, the right line, column and code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.node.adapters.transcripts.jsontext import JsonError, JsonReader, Node
from tslg.node.adapters.transcripts.model import JSON, TEXT
from tslg.node.adapters.transcripts.parse import parse
from tslg.protocol.errors import AdapterError
from tslg.protocol.limits import DEFAULT

CALL = {"id": "c1", "type": "function", "function": {"name": "find_seat", "arguments": '{"row": 12}'}}
MESSAGES = [
    {"role": "system", "content": "You book seats."},
    {"role": "user", "content": "A seat in row 12, please."},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "name": "find_seat", "content": "12C"},
    {"role": "assistant", "content": "12C is yours."},
]


def read(value, name="t.json", **options):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse(data, name, **options)


def only(messages, **options):
    (trajectory,) = read(messages, **options).trajectories
    return trajectory


def problems(data, name="t.json", **options):
    """The lines of the error but the last, without the file's name."""
    with pytest.raises(AdapterError) as caught:
        read(data, name, **options)
    *lines, last = caught.value.detail.split("\n")
    assert last.endswith("nothing was imported") and all(line.startswith(f"{name}:") for line in lines)
    return [line.removeprefix(f"{name}:") for line in lines]


def test_a_conversation():
    trajectory = only(MESSAGES)
    assert [message.role for message in trajectory.messages] == ["system", "user", "assistant", "tool", "assistant"]
    _, user, turn, result, answer = trajectory.messages
    assert (user.content.data, user.content.media_type) == (b"A seat in row 12, please.", TEXT)
    assert (turn.content, len(turn.calls), turn.calls[0].id, turn.calls[0].name) == (None, 1, "c1", "find_seat")
    assert (turn.calls[0].arguments.data, turn.calls[0].arguments.media_type) == (b'{"row": 12}', JSON)
    assert result.answers == (2, 0) and result.content.data == b"12C"
    assert answer.content.data == b"12C is yours." and trajectory.tools == {"find_seat"}


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (MESSAGES, 1),
        ({"messages": MESSAGES}, 1),
        ({"traj": MESSAGES}, 1),
        ([{"messages": MESSAGES}, {"traj": MESSAGES}], 2),
        ([MESSAGES, MESSAGES], 2),
        ([{"traj": MESSAGES}, MESSAGES], 2),
    ],
)
def test_every_shape_of_a_file(value, count):
    transcript = read(value)
    assert [len(trajectory.messages) for trajectory in transcript.trajectories] == [5] * count
    assert transcript.messages == 5 * count
    assert transcript.digest == hashlib.sha256(json.dumps(value).encode()).digest()


@pytest.mark.parametrize("line", [MESSAGES, {"messages": MESSAGES}, {"traj": MESSAGES}])
@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_json_lines(line, name):
    data = b"\n".join([json.dumps(line).encode()] * 3) + b"\r\n\n"
    assert len(read(data, name).trajectories) == 3


def test_json_lines_of_messages_are_one_conversation():
    data = b"".join(json.dumps(message).encode() + b"\n" for message in MESSAGES)
    assert only(data) == only(MESSAGES)


def test_one_line_of_json_lines_and_a_byte_order_mark():
    assert len(read(b"\xef\xbb\xbf" + json.dumps({"messages": MESSAGES}).encode() + b"\n", "t.jsonl").trajectories) == 1


def test_what_is_said_of_a_trajectory():
    data = b'{"task_id": 7, "trial": 0, "reward": 0.10, "info": {"cost": 1.50e-3, "x": null}, "traj": [%s]}' % (
        json.dumps(MESSAGES[1]).encode()
    )
    trajectory = only(data)
    assert trajectory.about == {"task_id": 7, "trial": 0, "reward": "0.10"}
    assert trajectory.extra.data == b'{"info":{"cost": 1.50e-3, "x": null}}'
    long = only({"task_id": "x" * 129, "reward": None, "trial": 2**60, "messages": MESSAGES})
    assert long.about == {"trial": str(2**60)} and b"xxx" in long.extra.data


def test_fields_that_mean_nothing_here_are_kept_as_they_are():
    data = b'[{"role": "user", "content": "hi", "name": "ann", "at": 1.0, "gone": null}]'
    assert only(data).messages[0].extra.data == b'{"name":"ann","at":1.0}'


def test_content_parts():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    text = {"type": "text", "text": "look"}
    said = [
        message.content
        for message in only([{"role": "user", "content": c} for c in ([text], [text, image], [])]).messages
    ]
    assert (said[0].data, said[0].media_type) == (b"look", TEXT)
    assert said[1].media_type == JSON and b"base64" not in said[1].data
    kept = json.loads(said[1].data)
    raw = json.dumps(image).encode()
    assert kept == [text, {"type": "image_url", "sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)}]
    assert said[2] is None


def test_legacy_functions_and_calls_without_ids():
    messages = [
        {"role": "assistant", "content": "", "function_call": {"name": "a", "arguments": "{not json"}},
        {"role": "function", "name": "a", "content": "1"},
        {"role": "assistant", "tool_calls": [{"function": {"name": n, "arguments": {"k": 1.0}}} for n in "ab"]},
        {"role": "tool", "name": "b", "content": "2"},
        {"role": "tool", "content": "3"},
    ]
    first, one, second, two, three = only(messages).messages
    assert (first.calls[0].arguments.data, first.calls[0].arguments.media_type) == (b"{not json", TEXT)
    assert second.calls[0].arguments.data == b'{"k": 1.0}'
    assert (one.answers, two.answers, three.answers) == ((0, 0), (2, 1), (2, 0))


def test_parallel_calls_and_ids_that_come_again():
    def turn(*ids):
        return {"role": "assistant", "tool_calls": [CALL | {"id": id} for id in ids]}

    def result(id):
        return {"role": "tool", "tool_call_id": id, "content": id}

    messages = only([turn("a", "b"), result("b"), result("a"), turn("a"), result("a")]).messages
    assert [message.answers for message in messages if message.role == "tool"] == [(0, 1), (0, 0), (3, 0)]


def test_anthropic_blocks():
    value = {
        "system": "You book seats.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "go"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "wait"},
                    {"type": "tool_use", "id": "u1", "name": "find_seat", "input": {"row": 12}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "u1", "content": "12C", "is_error": False},
                    {"type": "text", "text": "well?"},
                ],
            },
        ],
    }
    system, _, turn, result, user = only(value).messages
    assert system.role == "system" and system.content.data == b"You book seats."
    assert turn.content.data == b"wait" and turn.calls[0].arguments.data == b'{"row": 12}'
    assert result.answers == (2, 0) and result.content.data == b"12C" and result.extra.data == b'{"is_error":false}'
    assert user.role == "user" and user.content.data == b"well?"


# --- what is wrong, and where ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"", "1:1: the file is empty"),
        (b" \n ", "2:2: the file is empty"),
        (b"[\n  {},\n]", "3:1: expecting value"),
        (b'[{"role": "user",\n "content": "x"', "2:16: expected ',' or '}', but it ends here"),
        (b'[\n{"role" "user"}]', "2:9: expected ':', found '\"'"),
        (b"[\n{role: 1}]", "2:2: expected a key in double quotes, found 'r'"),
        (b'[{"role": "us\ner"}]', "1:14: invalid control character"),
        (b'[{"role": "user"}]\n]', "2:1: expecting value"),
        (b'[{"role": "user"}]\n[] ]', "2:4: more text behind the JSON value of this line"),
        (b'[\n{"role": "user"}] ]', "2:19: more text behind the end of the JSON value"),
        (b'[{"role": "a", "role": "b"}]', "1:16: the key 'role' stands here a second time"),
        (b'[{"x": NaN}]', "1:8: NaN is not JSON"),
        (b'[\n"\\ud800"]', "2:1: text with half of a surrogate pair"),
        (b'["a\xffb"]', "1:4: not UTF-8"),
        (b'[\n"\xc3\xa4\xff"]', "2:3: not UTF-8"),
        (b"[" * 65, "1:65: nested deeper than 64 levels"),
        (b"[" * 100_000, "1:65: nested deeper than 64 levels"),
        (b"[]", "1:1: an empty list"),
        (b"[[]]", "1:2: a trajectory without messages"),
        (b"7", "1:1: no messages here"),
        (b'{"conversation": []}', "1:1: no messages here"),
        (b'{"messages": [], "traj": []}', "1:1: both `messages` and `traj`"),
        (b'{"messages": 5}', "1:14: `messages` is not a list"),
        (b'{"messages": [5]}', "1:15: a message without `role`"),
        (b'[{"role": "user"},\n {"content": "x"}]', "2:2: a message without `role`"),
        (b'[{"role": 5}]', "1:2: a message without `role`"),
        (b'[{"role": "user"},\n {"role": "critic"}]', "2:11: unknown role 'critic'"),
        (b'[{"role": "user", "content": 5}]', "1:30: content of a type that is not known"),
        (b'[{"role": "user", "content": [\n{}]}]', "2:1: a content part without a `type`"),
        (b'[{"role": "assistant", "tool_calls": {}}]', "1:38: `tool_calls` is not a list"),
        (b'[{"role": "assistant", "tool_calls": [{"id": "a"}]}]', "1:39: a tool call without a function"),
        (b'[{"role": "assistant", "tool_calls": [{"function": {}}]}]', "1:39: a tool call without a name"),
        (b'[{"role": "assistant", "function_call": {"name": ""}}]', "1:41: a tool call without a name"),
        (b'[{"role": "user"},\n {"role": "tool", "tool_call_id": "z"}]', "2:2: a tool result without a call 'z'"),
        (b'[{"role": "tool", "content": "x"}]', "1:2: a tool result without a call"),
    ],
)  # fmt: skip
def test_broken_files_are_pointed_at(data, begins):
    first, *_ = problems(data)
    assert first.startswith(begins)


def test_a_second_result_and_a_long_name():
    data = [*MESSAGES[:4], MESSAGES[3]]
    assert "a second result for call 'c1'" in problems(data)[0]
    call = {"function": {"name": "n" * 129, "arguments": "{}"}}
    assert "a tool's name of more than 128 characters" in problems([{"role": "assistant", "tool_calls": [call]}])[0]


def test_broken_lines_are_told_one_by_one():
    good = json.dumps({"messages": MESSAGES})
    lines = "\n".join([good, '{"messages": [', good, "nonsense", ""]).encode()
    assert [line.split(" ")[0] for line in problems(lines)] == ["2:15:", "4:1:"]
    assert problems(b'{"messages": [\n' + good.encode(), "t.jsonl")[0].startswith("1:15: expected a value")


def test_all_problems_are_told_up_to_twenty():
    data = [{"role": "user"}, *[{"role": "x"}] * 30]
    with pytest.raises(AdapterError) as caught:
        read(data)
    lines = caught.value.detail.split("\n")
    assert len(lines) == 21 and lines[-1] == "t.json: 30 problems, nothing was imported"
    assert caught.value.code == "TSLG-I-ROLE"


def test_lenient_leaves_out_and_warns():
    data = b'[{"role": "user"},\n {"role": "critic"},\n {"role": "tool", "content": "x"}]'
    transcript = read(data, lenient=True)
    assert [message.role for message in transcript.trajectories[0].messages] == ["user"]
    assert [(w.line, w.column, w.code) for w in transcript.warnings] == [
        (2, 11, "TSLG-I-ROLE"),
        (3, 2, "TSLG-I-RESULT"),
    ]
    assert problems(b'[{"role": "user", "content": 5}]', lenient=True)


def test_calls_without_results_are_warned_of():
    transcript = read(MESSAGES[:3])
    (warning,) = transcript.warnings
    place = json.dumps(MESSAGES[:3]).index('{"id": "c1"') + 1
    assert (warning.line, warning.column, warning.code) == (1, place, "TSLG-I-RESULT")
    many = read([{"role": "assistant", "tool_calls": [CALL] * 25}])
    assert len(many.warnings) == 20 and many.unnamed_warnings == 5


def test_a_result_under_another_name_is_warned_of():
    (warning,) = read([*MESSAGES[:3], MESSAGES[3] | {"name": "other"}]).warnings
    assert "'other'" in warning.detail


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (replace(DEFAULT, transcript_bytes=100), "more than 100 bytes"),
        (replace(DEFAULT, transcript_messages=4), "more than 4 messages in one file"),
        (replace(DEFAULT, transcript_content_bytes=20), "25 bytes in one place, the limit is 20"),
        (replace(DEFAULT, transcript_tools=0), "more than 0 different tools"),
        (replace(DEFAULT, transcript_prompts=0), "more than 0 system prompts"),
        (replace(DEFAULT, transcript_values=10), "more values than are read"),
        (replace(DEFAULT, transcript_nesting=3), "nested deeper than 3"),
    ],
)
def test_limits(limits, says):
    with pytest.raises(AdapterError, match=says) as caught:
        read(MESSAGES, limits=limits)
    assert caught.value.code in ("TSLG-I-SIZE", "TSLG-I-JSON")


def test_many_calls_and_results_take_no_square_of_time():
    calls = [CALL | {"id": f"i{n}"} for n in range(20_000)]
    results = [{"role": "tool", "tool_call_id": f"i{n}", "content": ""} for n in reversed(range(20_000))]
    assert len(only([{"role": "assistant", "tool_calls": calls}, *results]).messages) == 20_001


# --- properties ------------------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
KEYS = st.sampled_from(
    ("role", "content", "tool_calls", "function_call", "tool_call_id", "name", "id", "type", "text", "function",
     "arguments", "messages", "traj", "system", "task_id", "reward", "input", "tool_use_id")
)  # fmt: skip
WORDS = st.sampled_from(
    ("system", "user", "assistant", "tool", "function", "text", "tool_use", "tool_result", "c1", "")
)
LIKELY = st.recursive(
    st.none() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=30,
)


def plain(node: Node):
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    return node.value if type(node.value) in (str, bool, type(None)) else json.loads(node.value)


@given(JSON_VALUES, st.sampled_from((None, 1)), st.booleans())
def test_json_is_read_as_the_library_reads_it(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    try:
        node = JsonReader(text, 64, 10_000).read(0, len(text))
    except JsonError as error:
        assert "surrogate" in error.detail
        return
    assert plain(node) == json.loads(text) and text[node.start : node.end] == text


@given(JSON_VALUES, st.data())
@settings(max_examples=200)
def test_cut_or_altered_json_is_refused_where_the_library_refuses_it(value, data):
    text = json.dumps(value, ensure_ascii=False)
    at = data.draw(st.integers(0, len(text)))
    broken = text[:at] + data.draw(st.sampled_from(("", "}", "]", ",", "\x00", '"'))) + text[at + 1 :]
    try:
        json.loads(broken)
        fine = True
    except json.JSONDecodeError as error:
        fine, place = False, error.pos
    try:
        node = JsonReader(broken, 64, 10_000).read(0, len(broken))
    except JsonError as error:
        assert fine is False or "second time" in error.detail or "surrogate" in error.detail
        if not fine and "second time" not in error.detail and "surrogate" not in error.detail:
            assert abs(error.at - place) <= len(broken) - len(broken.rstrip()) + 1
    else:
        assert fine or broken[node.end :].strip()


@given(LIKELY, st.booleans())
@settings(max_examples=300)
def test_whatever_a_file_holds_the_error_is_ours(value, lenient):
    try:
        transcript = read(value, lenient=lenient)
    except AdapterError as error:
        assert all(line.startswith("t.json:") for line in error.detail.split("\n"))
    else:
        calls = [(n, c) for m in transcript.trajectories for n, t in enumerate(m.messages) for c in range(len(t.calls))]
        answers = [t.answers for m in transcript.trajectories for t in m.messages if t.answers is not None]
        assert set(answers) <= set(calls)


@given(st.binary(max_size=200), st.sampled_from(("t.json", "t.jsonl")))
def test_whatever_bytes_come_the_error_is_ours(data, name):
    with pytest.raises(AdapterError):
        parse(b"\x01" + data, name)
    try:
        parse(data, name)
    except AdapterError as error:
        assert error.code.startswith("TSLG-I-")
