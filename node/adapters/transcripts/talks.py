"""Conversations as steps that were seen: what streams of transcripts become, and transcripts that are judged.

message of system or user   an observation
assistant's turn            an answer, which rests on all that was said since the one before it
tool's result               the call that it answers, which rests on the turn that asks for it
end                         what the conversation is composed of
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tslg.node.adapters.seen.sinks import Made
from tslg.node.adapters.seen.steps import CONVERSATION, TRANSCRIPT, UNSTATED, Span, SpanKey, Step
from tslg.node.adapters.seen.traces import About, Traces
from tslg.node.adapters.transcripts.model import Content, Message, ToolCall
from tslg.protocol.limits import DEFAULT, Limits

_WORDS: Final = 32
"""Messages since the last turn that are inputs of the next one by themselves; those before are in the chain."""


class Called(NamedTuple):
    """A call that waits for its result: what it says, and which message made it as which of its calls."""

    call: ToolCall
    place: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a stream: as in a file, but for which call it answers, which only the conversation knows.

    Attributes:
        message: the message; `answers` is None.
        answer: of a tool's result, the id of its call, if given, and the tool's name, if given.
    """

    message: Message
    answer: tuple[str | None, str | None] | None = None


@dataclass(slots=True)
class Talk:
    """One conversation under way.

    Args:
        traces: where its steps go.
        name: what tells it from all others; a conversation of the same name and messages is recorded once.
        model: the model that takes the assistant's turns.
        about: what is known of it.
    """

    traces: Traces
    name: bytes
    model: str = UNSTATED
    about: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = DEFAULT
    messages: int = 0
    _chain: bytes = b""
    _since: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    """What was said since the last turn: number, the chain before it, and the words."""
    _open: list[Called] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chain = hashlib.sha256(self.name).digest()
        self.traces.begin(self.key, None, lambda: About(True))

    @property
    def key(self) -> SpanKey:
        """The ids of the conversation."""
        digest = hashlib.sha256(self.name).digest()
        return SpanKey(digest[:16], digest[16:24])

    def say(self, said: Said) -> Made | None:
        """Record the next message; return what it became, None for a result that answers no call.

        Raises:
            TslgError: it could not be recorded.
        """
        message, number = said.message, self.messages
        before = self._chain
        self._chain = hashlib.sha256(before + _told(said)).digest()
        self.messages += 1
        if message.role == "assistant":
            return self._turn(message, number, before)
        self._since.append((number, before, b"" if message.content is None else message.content.data))
        while len(self._since) > _WORDS or sum(len(words) for _, _, words in self._since) > self.limits.chunk_bytes:
            self._since.pop(0)
        if said.answer is not None or message.answers is not None:
            found = self._taken(message, said.answer)
            return None if found is None else self._result(found, message.content, number)
        inputs = {} if message.content is None else {"content": message.content.data}
        step = Step(f"{message.role} message", message.role, inputs=inputs, role="message")
        return self._seen(step, number, number, {"index": number})

    def unanswered(self) -> Made | None:
        """Record the oldest call that has had no result as one that never has; None if there is none."""
        return self._result(self._open.pop(0), None, self.messages) if self._open else None

    def end(self) -> Made | None:
        """Record what the conversation is composed of; calls that are not `unanswered` by then are in no record."""
        step = Step(CONVERSATION, CONVERSATION, role="run")
        about = {"messages": self.messages, **self.about}
        return self.traces.end(self._span(self.key, None, 0, self.messages, about), step)

    # --- steps -------------------------------------------------------------------------------------------------------

    def _turn(self, message: Message, number: int, before: bytes) -> Made | None:
        calls = [Called(call, (number, place)) for place, call in enumerate(message.calls)]
        step = Step(
            "chat",
            "chat",
            self.model,
            inputs=self._heard(before),
            output=_output(message.content, message.calls),
            output_name="message",
            asks=tuple(map(_ref, calls)),
            role="answer",
        )
        self._open += calls
        while len(self._open) > self.limits.span_tool_calls:
            self._result(self._open.pop(0), None, number)
        return self._seen(step, number, number, {"index": number})

    def _heard(self, chain: bytes) -> dict[str, str | bytes]:
        """Return what a turn goes by: what was said since the last one, and the chain of all that was said before."""
        since, self._since = self._since, []
        before = since[0][1] if since else chain
        return {CONVERSATION: before.hex(), **{f"message {number}": words for number, _, words in since}}

    def _result(self, called: Called, content: Content | None, number: int) -> Made | None:
        call, (turn, place) = called
        step = Step(
            "execute_tool",
            call.name,
            inputs={"arguments": call.arguments.data},
            output=None if content is None else content.data,
            output_name="result",
            call=_ref(called),
            role="call",
        )
        return self._seen(step, turn, number, {"index": number, "turn": turn, "call_number": place})

    def _taken(self, message: Message, answer: tuple[str | None, str | None] | None) -> Called | None:
        """Take the call that a result answers: by its place, by id the newest, else the oldest of that name."""
        id, name = answer or (None, None)
        order: Sequence[Called] = self._open if id is None else self._open[::-1]
        for called in order:
            if answer is None:
                fits = called.place == message.answers
            else:
                fits = called.call.id == id if id is not None else name in (None, called.call.name)
            if fits:
                self._open.remove(called)
                return called
        return None

    def _seen(self, step: Step, start: int, end: int, about: Mapping[str, Any]) -> Made | None:
        place = hashlib.sha256(self._chain + step.operation.encode() + str(sorted(about.items())).encode())
        key = SpanKey(self.key.trace, place.digest()[:8])
        return self.traces.end(self._span(key, self.key, start, end, about), step)

    def _span(self, key: SpanKey, parent: SpanKey | None, start: int, end: int, about: Mapping[str, Any]) -> Span:
        return Span(key, parent, "", start, end, {}, source=TRANSCRIPT, timed=False, about=about)


def _told(said: Said) -> bytes:
    """Return what stands for a message in the chain of all that was said before a turn."""
    message = said.message
    parts = [message.role, _hex(message.content), _hex(message.extra), list(said.answer or message.answers or ())]
    parts += [[call.id, call.name, call.arguments.digest.hex()] for call in message.calls]
    return json.dumps(parts).encode()


def _hex(content: Content | None) -> str | None:
    return None if content is None else content.digest.hex()


def _ref(called: Called) -> str:
    return f"{called.place[0]}/{called.place[1]}"


def _output(content: Content | None, calls: Sequence[ToolCall]) -> bytes | None:
    """Return what a turn says: its text, or text and calls as JSON."""
    if not calls:
        return None if content is None else content.data
    listed = [{"name": call.name, "arguments": _text(call.arguments)} for call in calls]
    said = {"content": None if content is None else _text(content), "tool_calls": listed}
    return json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _text(content: Content) -> str:
    return content.data.decode()
