"""LangChain's messages: what they say of records, and what of them is digested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.types import Command

from tslg.node.adapters.calling import RECORD, RESULT
from tslg.node.governing.content import Content
from tslg.node.governing.values import described
from tslg.protocol.cid import to_text

if TYPE_CHECKING:
    from tslg.protocol.record import Record


def note(message: BaseMessage, record: Record, result: Record | None = None) -> None:
    """Note on a message of which records it is; what is noted there goes to no model."""
    message.response_metadata[RECORD] = to_text(record.id)
    if result is not None:
        message.response_metadata[RESULT] = to_text(result.id)


def notes(messages: Iterable[BaseMessage]) -> Iterator[Mapping[str, Any]]:
    """Yield the notes on messages since the last one of a model, that one's among them."""
    found: list[Mapping[str, Any]] = []
    for message in reversed(list(messages)):
        found.append(message.response_metadata)
        if isinstance(message, AIMessage):
            break
    yield from reversed(found)


def messages_in(state: Any) -> list[BaseMessage]:
    """Return the messages in a graph's state or in an update of it, whichever keys they are under."""
    values = state.values() if isinstance(state, Mapping) else [state] if isinstance(state, list) else vars_of(state)
    found: list[BaseMessage] = []
    for value in values:
        many = value if isinstance(value, list | tuple) else [value]
        found.extend(one for one in many if isinstance(one, BaseMessage))
    return found


def vars_of(state: Any) -> Iterable[Any]:
    """Return the values of the fields of an object."""
    return vars(state).values() if hasattr(state, "__dict__") else ()


def asked(id: str | None, state: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the notes on the message in which a model asked for a call."""
    for message in reversed(messages_in(state)):
        if isinstance(message, AIMessage) and any(call["id"] == id for call in message.tool_calls):
            yield message.response_metadata
            return


def said(message: BaseMessage) -> Content:
    """Return what of a model's answer is digested: its content and the calls that it asks for."""
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    return described({"content": message.content, "tool_calls": [dict(call) for call in calls]})


def updates_in(update: Any) -> Iterator[Mapping[str, Any]]:
    """Yield what a node's return value says of the state, as LangGraph reads it."""
    for one in update if isinstance(update, list | tuple) else [update]:
        found = one.update if isinstance(one, Command) else one
        if isinstance(found, Mapping):
            yield found
        elif isinstance(found, list | tuple):
            yield dict(item for item in found if isinstance(item, tuple) and len(item) == 2)
        elif found is not None and hasattr(found, "__dict__"):
            yield vars(found)


def messages_of(update: Any) -> list[BaseMessage]:
    """Return the messages in what a node returned."""
    found = [message for values in updates_in(update) for message in messages_in(values)]
    if isinstance(update, list | tuple):
        found.extend(one for one in update if isinstance(one, BaseMessage))
    return [update] if isinstance(update, BaseMessage) else found
