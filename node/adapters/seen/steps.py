"""What is seen of a step that is over: where it stands in a trace or a conversation, and what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from tslg.node.governing.content import Content

OPENTELEMETRY: Final = "opentelemetry"
TRANSCRIPT: Final = "transcript stream"
"""Where steps are seen: the `source` of the observations of them."""
UNSTATED: Final = "unstated"
"""Stands for a model or a version that nothing names."""
HAND_OFF: Final = "hand-off"
"""The operation and intent of one agent's run inside that of another."""
TRACE: Final = "trace"
"""The operation of what belongs together because one span is above it, where that is no run of an agent."""
CONVERSATION: Final = "conversation"
"""The operation of what belongs together because it was said in one conversation."""

Role = Literal["answer", "call", "run", "message", "other"]
"""What a step is to those around it: the answer of a model, the call of a tool that an answer asks for, a run that is
made up of steps, a message that no model wrote, or something else that a model did."""


class SpanKey(NamedTuple):
    """Which span: the 16 bytes of its trace and the 8 of its own."""

    trace: bytes
    id: bytes


class Event(NamedTuple):
    """Something that a span says happened on the way."""

    name: str
    attributes: Mapping[str, Any]


class SpanLink(NamedTuple):
    """Another span that a span refers to."""

    key: SpanKey
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """One finished span.

    Attributes:
        key: which one.
        parent: the span that it is part of, None for the first of a trace.
        name: its name.
        start_ns, end_ns: ns since 1970 UTC, as its process claims.
        attributes: text, numbers, truth values, bytes, and lists and maps of these.
        events, links: in order.
        error: its status is an error.
        status: what the status says, for people.
        scope: the instrumentation that made it.
        service: the service that it ran in.
        dropped: how many attributes, events and links the SDK dropped, each where there were any.
        value_limit: characters after which the SDK cuts a text attribute off, None for never, or not known.
        source: where it was seen.
        timed: whether the times are those of a clock; else they tell the order and nothing more.
        about: what else to record of it.
    """

    key: SpanKey
    parent: SpanKey | None
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    events: tuple[Event, ...] = ()
    links: tuple[SpanLink, ...] = ()
    error: bool = False
    status: str = ""
    scope: str = ""
    service: str = ""
    dropped: Mapping[str, int] = field(default_factory=dict)
    value_limit: int | None = None
    source: str = OPENTELEMETRY
    timed: bool = True
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """What a step did.

    Attributes:
        operation: what it is called where it was seen: `chat`, `execute_tool`, `invoke_agent` and so on.
        intent: what policies know it by: the tool's name for a tool call, the operation for everything else.
        model: the model that was asked, None where the span names none.
        version: the model that answered, by its exact name.
        inputs: what it was given, by the name of the attribute or event that says so.
        output: what came of it, None if the span does not say.
        output_name: where it says so.
        asks: ids of the tool calls that the answer asks for.
        call: id of the tool call that this is.
        agent: the agent that acts, by name or id.
        usage: tokens.
        error: what went wrong, a class of errors; None if nothing did.
        cut: names of what was cut off before it was seen, so that the digest is that of a part.
        role: what it is to the steps around it.
    """

    operation: str
    intent: str
    model: str | None = None
    version: str | None = None
    inputs: Mapping[str, Content] = field(default_factory=dict)
    output: str | bytes | None = None
    output_name: str | None = None
    asks: tuple[str, ...] = ()
    call: str | None = None
    agent: str | None = None
    provider: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    cut: tuple[str, ...] = ()
    role: Role = "other"

    @property
    def judged(self) -> bool:
        """Whether it is a step of a model, on which a gate has a say."""
        return self.role != "message" and self.operation not in (TRACE, CONVERSATION)
