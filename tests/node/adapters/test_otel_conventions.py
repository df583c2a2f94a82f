"""What spans say by the conventions for generative AI, newest and older ones, and what of it is digested."""

from __future__ import annotations

import json

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as names
from opentelemetry.semconv.attributes import error_attributes, exception_attributes

from tslg.node.adapters.otel import conventions
from tslg.node.adapters.otel.conventions import INPUTS, OUTPUTS, read
from tslg.node.adapters.seen.steps import Event, Span, SpanKey
from tslg.node.governing.content import canonical

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt"}
ANSWER = [{"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "t", "arguments": {"n": 1.5}}]}]
OPENAI = {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "t"}}]}


def span(attributes, events=(), **more):
    return Span(SpanKey(b"t" * 16, b"s" * 8), None, "span", 1, 2, attributes, tuple(events), **more)


def test_names_are_those_of_the_package():
    known = {value for name, value in vars(names).items() if name.startswith("GEN_AI_")}
    ours = {conventions.OPERATION, conventions.AGENT_NAME, conventions.AGENT_ID, conventions.TOOL, conventions.CALL}
    ours |= {conventions.REQUEST_MODEL, conventions.RESPONSE_MODEL, *conventions.PROVIDER}
    ours |= {name for name in (*INPUTS, *OUTPUTS) if name.startswith("gen_ai.")}
    ours |= {name for listed in conventions._USAGE.values() for name in listed}
    assert ours <= known
    assert error_attributes.ERROR_TYPE == conventions.ERROR
    assert exception_attributes.EXCEPTION_TYPE == conventions.EXCEPTION
    operations = {one.value for one in names.GenAiOperationNameValues}
    assert conventions.MODEL_CALLS | conventions.RUNS | {conventions.EXECUTE_TOOL} <= operations


def test_a_model_call():
    usage = {"gen_ai.usage.input_tokens": 12, "gen_ai.usage.completion_tokens": 7}
    more = {"gen_ai.response.model": "gpt-1", "gen_ai.provider.name": "openai", "gen_ai.agent.name": "a"}
    step = read(span({**CHAT, **more, **usage, "gen_ai.input.messages": "[]", "gen_ai.output.messages": "[1]"}))
    assert (step.operation, step.intent, step.model, step.version) == ("chat", "chat", "gpt", "gpt-1")
    assert (step.provider, step.agent, step.role) == ("openai", "a", "answer")
    assert step.usage == {"input": 12, "output": 7}
    assert (step.inputs, step.output) == ({"gen_ai.input.messages": "[]"}, "[1]")


def test_a_tool_call_is_known_by_the_tools_name():
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "refund", "gen_ai.tool.call.id": "c1"}
    step = read(span({**attributes, "gen_ai.tool.call.arguments": '{"cents":5}', "gen_ai.tool.call.result": "ok"}))
    assert (step.operation, step.intent, step.call, step.role) == ("execute_tool", "refund", "c1", "call")
    assert (step.inputs, step.output) == ({"gen_ai.tool.call.arguments": '{"cents":5}'}, "ok")


@pytest.mark.parametrize(
    ("attributes", "events"),
    [
        ({"gen_ai.output.messages": json.dumps(ANSWER)}, []),
        ({"gen_ai.output.messages": ANSWER}, []),
        ({"gen_ai.completion": json.dumps([OPENAI])}, []),
        ({"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.tool_calls.0.id": "c1"}, []),
        ({}, [Event("gen_ai.choice", {"index": 0, "message": json.dumps(OPENAI)})]),
        ({}, [Event("gen_ai.content.completion", {"gen_ai.completion": json.dumps([OPENAI])})]),
        ({}, [Event("gen_ai.client.inference.operation.details", {"gen_ai.output.messages": ANSWER})]),
    ],
)
def test_every_form_of_an_answer_is_digested_and_its_tool_calls_are_found(attributes, events):
    step = read(span({**CHAT, **attributes}, events))
    assert step.asks == ("c1",) and step.output and step.output_name


@pytest.mark.parametrize(
    ("attributes", "events", "name"),
    [
        ({"gen_ai.prompt": "hi"}, [], "gen_ai.prompt"),
        ({"gen_ai.prompt.0.content": "hi"}, [], "gen_ai.prompt.*"),
        ({}, [Event("gen_ai.user.message", {"content": "hi"})], "gen_ai.user.message"),
        ({}, [Event("gen_ai.content.prompt", {"gen_ai.prompt": "hi"})], "gen_ai.content.prompt"),
    ],
)
def test_older_forms_of_a_prompt_are_digested(attributes, events, name):
    step = read(span({**CHAT, **attributes}, events))
    assert list(step.inputs) == [name] and "hi" in step.inputs[name]


def test_what_is_structured_is_digested_in_its_canonical_form():
    step = read(span({**CHAT, "gen_ai.output.messages": ANSWER}))
    assert step.output == canonical(ANSWER)


def test_without_content_nothing_is_said_of_it():
    step = read(span({**CHAT, "gen_ai.response.model": "gpt-1"}))
    assert (step.inputs, step.output, step.output_name, step.asks) == ({}, None, None, ())


def test_spans_that_name_no_operation():
    assert read(span({"http.request.method": "GET"})) is None
    assert read(span({"gen_ai.request.model": "m"})).operation == "chat"
    assert read(span({"gen_ai.tool.name": "t"})).intent == "t"
    assert read(span({"gen_ai.operation.name": ""})) is None
    assert read(span({"gen_ai.operation.name": 7})) is None


def test_errors_are_told_by_their_class_only():
    thrown = Event("exception", {"exception.type": "ValueError", "exception.message": "the secret"})
    assert read(span({**CHAT, "error.type": "timeout"})).error == "timeout"
    assert read(span(CHAT, [thrown], error=True)).error == "ValueError"
    assert read(span(CHAT, error=True, status="the secret")).error == "error"
    assert read(span(CHAT, [thrown])).error is None


def test_what_was_cut_off_is_named():
    cut = read(span({**CHAT, "gen_ai.input.messages": "x" * 20, "gen_ai.output.messages": "short"}, value_limit=20))
    assert cut.cut == ("gen_ai.input.messages",)


@pytest.mark.parametrize("value", ["\ud800", {"a": "\ud800"}, float("nan"), 2**70, b"\xff", {1: 2}, [[None]], True])
def test_values_that_have_no_canonical_form_are_digested_all_the_same(value):
    step = read(span({**CHAT, "gen_ai.input.messages": value}))
    assert (
        step.inputs["gen_ai.input.messages"]
        == read(span({**CHAT, "gen_ai.input.messages": value})).inputs["gen_ai.input.messages"]
    )
    assert isinstance(step.inputs["gen_ai.input.messages"], str | bytes)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"tool_calls":[{"id":7}]}', '{"tool_call', '"tool_call"'])
def test_an_answer_that_is_no_message_asks_for_nothing(text):
    assert read(span({**CHAT, "gen_ai.output.messages": text + ' "tool_call"'})).asks == ()


def test_names_that_are_too_long_are_cut():
    step = read(span({**CHAT, "gen_ai.request.model": "m" * 10_000, "gen_ai.agent.name": "a" * 10_000}))
    assert len(step.model) == len(step.agent) == 256 and step.model.endswith("…")
