"""The messages of one trajectory: roles, contents and tool calls, each result joined to the call that it answers."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from tslg.node.adapters.transcripts.contents import Contents, text_field
from tslg.node.adapters.transcripts.jsontext import Node
from tslg.node.adapters.transcripts.model import Content, Message, ToolCall
from tslg.node.adapters.transcripts.problems import Problems
from tslg.protocol.limits import Limits

ROLES: Final = "system, developer, user, assistant, tool and function"
_SAID: Final = frozenset(("role", "content"))
_TURN: Final = frozenset(("role", "content", "tool_calls", "function_call"))
_RESULT: Final = frozenset(("role", "content", "tool_call_id", "name"))


class _OpenCall(NamedTuple):
    """A call without a result so far: its offset in the file, id, name, and place (message, call)."""

    at: int
    id: str | None
    name: str
    place: tuple[int, int]


class _OpenCalls:
    """The calls of one trajectory that have no result so far. Every step takes the same time, however many wait."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, int], _OpenCall] = {}
        self._ids: defaultdict[str, deque[_OpenCall]] = defaultdict(deque)
        self._names: defaultdict[str | None, deque[_OpenCall]] = defaultdict(deque)

    def add(self, call: _OpenCall) -> None:
        """Wait for the result of a call."""
        self._open[call.place] = call
        for name in (None, call.name):
            self._names[name].append(call)
        if call.id is not None:
            self._ids[call.id].appendleft(call)

    def take(self, id: str | None, name: str | None) -> _OpenCall | None:
        """Return the call that a result answers, by id the newest, else the oldest of that name."""
        queue = self._names[name] if id is None else self._ids[id]
        while queue:
            call = queue.popleft()
            if self._open.pop(call.place, None) is not None:
                return call
        return None

    def rest(self) -> Iterable[_OpenCall]:
        """Return the calls that still wait."""
        return self._open.values()


class Conversation:
    """Grows by one message at a time; `finish` gives them all."""

    def __init__(self, contents: Contents, problems: Problems, limits: Limits) -> None:
        self._contents = contents
        self._problems = problems
        self._limits = limits
        self._messages: list[Message] = []
        self._open = _OpenCalls()
        self._answered: set[str] = set()
        self._prompts = 0

    def add(self, node: Node) -> None:
        """Take in one element of a list of messages."""
        role = text_field(node, "role")
        if role is None:
            self._problems.error(node.start, "TSLG-I-SHAPE", "a message without `role`", f"roles are {ROLES}")
        elif role in ("system", "developer"):
            self._say(node, "system")
        elif role == "user":
            self._user(node)
        elif role == "assistant":
            self._turn(node)
        elif role in ("tool", "function"):
            call = text_field(node, "tool_call_id")
            content = self._contents.message(node.value.get("content"))
            extra = self._contents.rest(node, _RESULT)
            self._answer(node.start, call or None, text_field(node, "name"), content, extra)
        else:
            at = node.value["role"].start
            self._problems.skipped(at, "TSLG-I-ROLE", f"unknown role {role[:40]!r}", f"roles are {ROLES}")

    def prompt(self, node: Node) -> None:
        """Take in a system prompt that stands beside the messages, not among them."""
        self._system(node.start, Message("system", self._contents.message(node)))

    def finish(self) -> tuple[Message, ...]:
        """Return the messages, and warn of calls that have no result."""
        for call in self._open.rest():
            self._problems.warning(call.at, "TSLG-I-RESULT", f"no result for the call of {call.name!r}")
        return tuple(self._messages)

    def _say(self, node: Node, role: str) -> None:
        content = self._contents.message(node.value.get("content"))
        message = Message(role, content, extra=self._contents.rest(node, _SAID))
        if role == "system":
            self._system(node.start, message)
        else:
            self._messages.append(message)

    def _system(self, at: int, message: Message) -> None:
        self._prompts += 1
        if self._prompts > self._limits.transcript_prompts:
            detail = f"more than {self._limits.transcript_prompts} system prompts in one trajectory"
            self._problems.error(at, "TSLG-I-SIZE", detail, "give what changes on the way as user messages")
        self._messages.append(message)

    def _user(self, node: Node) -> None:
        """A user's message; tool results among its content parts stand for messages of their own."""
        content = node.value.get("content")
        parts = content.value if content is not None and isinstance(content.value, list) else []
        results = [part for part in parts if text_field(part, "type") == "tool_result"]
        if not results:
            self._say(node, "user")
            return
        for part in results:
            said = self._contents.message(part.value.get("content"))
            extra = self._contents.rest(part, ("type", "tool_use_id", "content"))
            self._answer(part.start, text_field(part, "tool_use_id"), None, said, extra)
        others = [part for part in parts if text_field(part, "type") != "tool_result"]
        extra = self._contents.rest(node, _SAID)
        if others or extra is not None:
            self._messages.append(Message("user", self._contents.parts(node, others), extra=extra))

    def _turn(self, node: Node) -> None:
        content = node.value.get("content")
        parts = content.value if content is not None and isinstance(content.value, list) else []
        uses = [part for part in parts if text_field(part, "type") == "tool_use"]
        if uses:
            said = self._contents.parts(node, (part for part in parts if text_field(part, "type") != "tool_use"))
        else:
            said = self._contents.message(content)
        calls = [*self._listed_calls(node.value.get("tool_calls")), *self._legacy_call(node.value.get("function_call"))]
        calls += [(part.start, self._use(part)) for part in uses]
        made = [(at, call) for at, call in calls if call is not None]
        for number, (at, call) in enumerate(made):
            self._open.add(_OpenCall(at, call.id, call.name, (len(self._messages), number)))
        extra = self._contents.rest(node, _TURN)
        self._messages.append(Message("assistant", said, tuple(call for _, call in made), extra=extra))

    def _listed_calls(self, node: Node | None) -> Iterable[tuple[int, ToolCall | None]]:
        if node is None or node.value is None:
            return
        if not isinstance(node.value, list):
            self._problems.error(node.start, "TSLG-I-SHAPE", "`tool_calls` is not a list")
            return
        for item in node.value:
            function = item.value.get("function") if isinstance(item.value, dict) else None
            yield item.start, self._call(item, function, text_field(item, "id"))

    def _legacy_call(self, node: Node | None) -> Iterable[tuple[int, ToolCall | None]]:
        if node is not None and node.value is not None:
            yield node.start, self._call(node, node, None)

    def _use(self, part: Node) -> ToolCall | None:
        return self._named_call(part, text_field(part, "id"), text_field(part, "name"), part.value.get("input"))

    def _call(self, place: Node, function: Node | None, id: str | None) -> ToolCall | None:
        if function is None or not isinstance(function.value, dict):
            self._problems.error(
                place.start, "TSLG-I-SHAPE", "a tool call without a function", "give `function.name` and `.arguments`"
            )
            return None
        return self._named_call(place, id, text_field(function, "name"), function.value.get("arguments"))

    def _named_call(self, place: Node, id: str | None, name: str | None, arguments: Node | None) -> ToolCall | None:
        longest = self._limits.transcript_name
        if not name or len(name) > longest:
            detail = "a tool call without a name" if not name else f"a tool's name of more than {longest} characters"
            self._problems.error(place.start, "TSLG-I-SHAPE", detail)
            return None
        return ToolCall(id or None, name, self._contents.arguments(arguments))

    def _answer(
        self, at: int, id: str | None, name: str | None, content: Content | None, extra: Content | None
    ) -> None:
        found = self._open.take(id, name)
        if found is None:
            if id is not None and id in self._answered:
                detail = f"a second result for call {id[:40]!r}"
            else:
                detail = "a tool result without a call" + (f" {id[:40]!r}" if id is not None else "")
            self._problems.skipped(at, "TSLG-I-RESULT", detail, "add the assistant's message that makes the call")
            return
        if found.id is not None:
            self._answered.add(found.id)
        if name is not None and name != found.name:
            self._problems.warning(at, "TSLG-I-RESULT", f"a result of {name[:40]!r} for a call of {found.name!r}")
        self._messages.append(Message("tool", content, answers=found.place, extra=extra))
