"""One line of a stream that is one message: which conversation it belongs to, and what it says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tslg.node.adapters.transcripts.contents import Contents, text_field
from tslg.node.adapters.transcripts.jsontext import JsonError, JsonReader, Node, skip_space
from tslg.node.adapters.transcripts.messages import Conversation
from tslg.node.adapters.transcripts.model import Message
from tslg.node.adapters.transcripts.problems import Problems
from tslg.node.adapters.transcripts.talks import Said
from tslg.protocol.errors import AdapterError
from tslg.protocol.limits import Limits

NAMES: Final = ("conversation_id", "session_id", "thread_id", "conversation")
"""Fields of a message that say which conversation it belongs to; the first that is there counts."""


def is_message(data: bytes, limits: Limits) -> bool:
    """Tell whether a line is one message, and not a conversation, or several. Raises AdapterError."""
    node = _node(data, limits)[1]
    return isinstance(node.value, dict) and "role" in node.value


def read_message(data: bytes, name: str, lenient: bool, limits: Limits) -> tuple[str, list[Said]]:
    """Return the name of a message's conversation, and what it says: of several tool results, each by itself.

    Raises:
        AdapterError: it is no message.
    """
    text, node = _node(data, limits)
    problems = Problems(name, text, lenient, limits)
    contents = Contents(text, problems, limits)
    field = next((field for field in NAMES if text_field(node, field)), None)
    said = list(_said(node, contents, problems, limits))
    problems.raise_errors()
    return "" if field is None else (text_field(node, field) or "")[: limits.span_name], said


def _said(node: Node, contents: Contents, problems: Problems, limits: Limits) -> Iterable[Said]:
    role = text_field(node, "role")
    if role in ("tool", "function"):
        message = Message("tool", contents.message(node.value.get("content")))
        yield Said(message, (text_field(node, "tool_call_id"), text_field(node, "name")))
        return
    content = node.value.get("content")
    parts = content.value if role == "user" and content is not None and isinstance(content.value, list) else []
    results = [part for part in parts if text_field(part, "type") == "tool_result"]
    for part in results:
        yield Said(
            Message("tool", contents.message(part.value.get("content"))), (text_field(part, "tool_use_id"), None)
        )
    if results:
        others = [part for part in parts if part not in results]
        if others:
            yield Said(Message("user", contents.parts(node, others)))
        return
    conversation = Conversation(contents, problems, limits)
    conversation.add(node)
    yield from map(Said, conversation.finish())


def _node(data: bytes, limits: Limits) -> tuple[str, Node]:
    try:
        text = data.decode("utf-8-sig")
        reader = JsonReader(text, limits.transcript_nesting, limits.transcript_values)
        node = reader.read(0, len(text))
        rest = skip_space(text, node.end, len(text))
        if rest < len(text):
            raise JsonError(rest, "more text behind the JSON value of this line")
    except UnicodeDecodeError as error:
        raise AdapterError("not UTF-8", code="TSLG-I-TEXT", mend="convert it to UTF-8") from error
    except JsonError as error:
        raise AdapterError(
            f"column {error.at + 1}: {error.detail}", code="TSLG-I-JSON", mend="mend the JSON there"
        ) from error
    return text, node
