"""Reads what a span says by OpenTelemetry's conventions for generative AI: newest names first, older ones behind them.

The conventions have no stable version yet, and newer releases of the package with their names no longer have these;
so they stand here, and a test compares them with the package.
https://github.com/open-telemetry/semantic-conventions-genai
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from tslg.node.adapters.seen.steps import Role, Span, Step
from tslg.node.adapters.seen.traces import About, Look
from tslg.node.adapters.transcripts.jsontext import JsonError, JsonReader, Node
from tslg.node.governing.content import canonical
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT, Limits

OPERATION: Final = "gen_ai.operation.name"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_ID: Final = "gen_ai.agent.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
PROVIDER: Final = ("gen_ai.provider.name", "gen_ai.system")
TOOL: Final = "gen_ai.tool.name"
CALL: Final = "gen_ai.tool.call.id"
ERROR: Final = "error.type"
EXCEPTION: Final = "exception.type"

INPUTS: Final = (
    "gen_ai.system_instructions",
    "gen_ai.input.messages",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.retrieval.query.text",
    "gen_ai.prompt",
    "pydantic_ai.all_messages",
    "all_messages_events",
    "tool_arguments",
)
"""Attributes that say what a step was given: by the conventions, and as frameworks name them beside those."""
OUTPUTS: Final = (
    "gen_ai.output.messages",
    "gen_ai.tool.call.result",
    "gen_ai.retrieval.documents",
    "gen_ai.completion",
    "final_result",
    "tool_response",
)
"""Attributes that say what came of it; the first that is there counts."""
INPUT_EVENTS: Final = frozenset(
    (
        "gen_ai.content.prompt",
        "gen_ai.system.message",
        "gen_ai.user.message",
        "gen_ai.assistant.message",
        "gen_ai.tool.message",
    )
)
OUTPUT_EVENTS: Final = frozenset(("gen_ai.content.completion", "gen_ai.choice"))
DETAILS: Final = "gen_ai.client.inference.operation.details"
"""An event with the attributes of `INPUTS` and `OUTPUTS`, for spans that shall not have them."""
_INDEXED_INPUT: Final = re.compile(r"gen_ai\.prompt\.\d+\.")
_INDEXED_OUTPUT: Final = re.compile(r"gen_ai\.completion\.\d+\.")
_INDEXED_CALL: Final = re.compile(r"gen_ai\.completion\.\d+\.tool_calls\.\d+\.id")
_USAGE: Final = {
    "input": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
}

CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"
MODEL_CALLS: Final = frozenset((CHAT, "generate_content", "text_completion"))
RUNS: Final = frozenset(("invoke_agent", "invoke_workflow"))
"""Operations that are made up of others."""


def operation_of(attributes: Mapping[str, Any]) -> str | None:
    """Return what a span's attributes say it does, None if it has nothing to do with generative AI."""
    stated = text_of(attributes, OPERATION)
    if stated is not None:
        return stated
    if text_of(attributes, TOOL) is not None:
        return EXECUTE_TOOL
    return CHAT if text_of(attributes, REQUEST_MODEL) is not None else None


def agent_of(attributes: Mapping[str, Any]) -> str | None:
    """Return the agent that a span names."""
    return text_of(attributes, AGENT_NAME) or text_of(attributes, AGENT_ID)


def looking(attributes: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> Look:
    """Return what tells, then and later, whether the span with these attributes is the run of an agent."""

    def look() -> About:
        known = attributes() if callable(attributes) else attributes
        return About(operation_of(known) in RUNS, agent_of(known))

    return look


def read(span: Span, limits: Limits = DEFAULT) -> Step | None:
    """Return what a span did; None for spans that have nothing to do with generative AI."""
    operation = operation_of(span.attributes)
    if operation is None:
        return None
    tool = text_of(span.attributes, TOOL) if operation == EXECUTE_TOOL else None
    said = {**_details(span), **span.attributes}
    inputs = dict(_inputs(span, said))
    output_name, output = _output(span, said)
    model = text_of(span.attributes, REQUEST_MODEL)
    version = text_of(span.attributes, RESPONSE_MODEL)
    return Step(
        operation=short(operation),
        intent=short(tool or operation),
        model=short(model or version),
        version=short(version),
        inputs=inputs,
        output=output,
        output_name=output_name,
        asks=tuple(_asked(span, said, limits)) if operation in MODEL_CALLS else (),
        call=short(text_of(span.attributes, CALL)),
        agent=short(agent_of(span.attributes)),
        provider=short(next((found for name in PROVIDER if (found := text_of(span.attributes, name))), None)),
        usage={name: count for name, names in _USAGE.items() if (count := _count(span.attributes, names)) is not None},
        error=_error(span),
        cut=tuple(_cut(span, said, [*inputs, output_name])),
        role=role_of(operation),
    )


def role_of(operation: str | None) -> Role:
    """Return what a step of an operation is to those around it."""
    if operation in MODEL_CALLS:
        return "answer"
    if operation == EXECUTE_TOOL:
        return "call"
    return "run" if operation in RUNS else "other"


def text_of(attributes: Mapping[str, Any], name: str) -> str | None:
    """Return an attribute that is text and not empty."""
    value = attributes.get(name)
    return value if isinstance(value, str) and value else None


def short(text: str | None, limits: Limits = DEFAULT) -> Any:
    """Return text that a record may name something by; what is too long is cut, with three dots to show it."""
    if text is None or len(text) <= limits.span_name:
        return text
    return text[: limits.span_name - 1] + "…"


def content(value: Any) -> str | bytes:
    """Return what stands for a value of an attribute: text and bytes as they are, all else as canonical JSON."""
    if isinstance(value, bytes):
        return value
    try:
        text = value if isinstance(value, str) else canonical(value)
        text.encode()
    except (UsageError, UnicodeEncodeError):
        # Whatever has no canonical form is digested in one that nobody else need be able to write.
        text = value if isinstance(value, str) else repr(value)
        return text.encode(errors="backslashreplace")
    return text


def _details(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for event in span.events:
        if event.name == DETAILS:
            found.update(event.attributes)
    return found


def _inputs(span: Span, said: Mapping[str, Any]) -> Iterator[tuple[str, str | bytes]]:
    for name in INPUTS:
        if said.get(name) is not None:
            yield name, content(said[name])
    yield from _gathered("gen_ai.prompt.*", {name: said[name] for name in said if _INDEXED_INPUT.match(name)})
    for name in sorted({event.name for event in span.events} & INPUT_EVENTS):
        yield name, content([dict(event.attributes) for event in span.events if event.name == name])


def _output(span: Span, said: Mapping[str, Any]) -> tuple[str | None, str | bytes | None]:
    for name in OUTPUTS:
        if said.get(name) is not None:
            return name, content(said[name])
    indexed = {name: said[name] for name in said if _INDEXED_OUTPUT.match(name)}
    for name, value in _gathered("gen_ai.completion.*", indexed):
        return name, value
    events = [event for event in span.events if event.name in OUTPUT_EVENTS]
    if events:
        return events[0].name, content([dict(event.attributes) for event in events])
    return None, None


def _gathered(name: str, parts: Mapping[str, Any]) -> Iterator[tuple[str, str | bytes]]:
    if parts:
        yield name, content(parts)


def _count(attributes: Mapping[str, Any], names: Sequence[str]) -> int | None:
    for name in names:
        value = attributes.get(name)
        if type(value) is int and 0 <= value <= DEFAULT.integer:
            return value
    return None


def _error(span: Span) -> str | None:
    """Return the class of what went wrong; what errors say can hold anything, and is not recorded."""
    stated = text_of(span.attributes, ERROR)
    if stated is None and not span.error:
        return None
    if stated is None:
        thrown = (text_of(event.attributes, EXCEPTION) for event in span.events if event.name == "exception")
        stated = next((name for name in thrown if name is not None), None)
    result: str = short(stated or "error")
    return result


def _cut(span: Span, said: Mapping[str, Any], names: Iterable[str | None]) -> Iterator[str]:
    limit = span.value_limit
    if limit is not None:
        for name in names:
            value = said.get(name) if name is not None else None
            if isinstance(value, str) and len(value) >= limit:
                yield str(name)


def _asked(span: Span, said: Mapping[str, Any], limits: Limits) -> Iterator[str]:
    """Return the ids of tool calls in an answer, in whichever form it is given."""
    found: dict[str, None] = {}
    for name in sorted(said):
        if _INDEXED_CALL.fullmatch(name) and isinstance(said[name], str):
            found[said[name]] = None
    answers = [said[name] for name in OUTPUTS if said.get(name) is not None][:1]
    answers += [value for event in span.events if event.name in OUTPUT_EVENTS for value in event.attributes.values()]
    for answer in answers:
        text = content(answer)
        if isinstance(text, str) and "tool_call" in text and len(text) <= limits.transcript_content_bytes:
            found.update(dict.fromkeys(_ids(text, limits)))
    for id in list(found)[: limits.span_tool_calls]:
        yield short(id)


def _ids(text: str, limits: Limits) -> Iterator[str]:
    """Return the ids of all objects in JSON that are tool calls, by their type or by being listed as such."""
    try:
        top = JsonReader(text, limits.transcript_nesting, limits.transcript_values).read(0, len(text))
    except JsonError:
        return
    waiting: list[tuple[Node, bool]] = [(top, False)]
    while waiting:
        node, listed = waiting.pop()
        if isinstance(node.value, list):
            waiting += [(one, listed) for one in reversed(node.value)]
        elif isinstance(node.value, dict):
            kind, id = node.value.get("type"), node.value.get("id")
            if id is not None and type(id.value) is str and (listed or (kind and kind.value == "tool_call")):
                yield id.value
            waiting += [(one, key == "tool_calls") for key, one in node.value.items()]
