"""What a transcript is once it is read: trajectories of messages, and the problems that were found in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Problem(NamedTuple):
    """Something wrong in a file: where (line and column in characters, from 1), a code, what, and what mends it."""

    line: int
    column: int
    code: str
    detail: str
    mend: str

    def text(self, name: str) -> str:
        """Return `name:line:column: what is wrong (what mends it)`."""
        return f"{name}:{self.line}:{self.column}: {self.detail}" + (f" ({self.mend})" if self.mend else "")


@dataclass(frozen=True, slots=True)
class Content:
    """Something of any size that goes into a blob: its bytes and their media type."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.data).digest()

    def named(self) -> dict[str, Any]:
        """Return what a record says of it."""
        return {"digest": self.digest, "size": len(self.data), "media_type": self.media_type}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that an assistant's turn makes. `id` is None where the file gives none."""

    id: str | None
    name: str
    arguments: Content


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`, whatever the file calls them.
        content: what it says, if anything.
        calls: the tool calls of an assistant's turn.
        answers: of a tool's message, the call that it answers: index of the message and index among its calls.
        extra: the fields of the message that have no meaning here, as one JSON object.
    """

    role: str
    content: Content | None = None
    calls: tuple[ToolCall, ...] = ()
    answers: tuple[int, int] | None = None
    extra: Content | None = None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One conversation.

    Attributes:
        messages: in order.
        about: `task_id`, `trial` and `reward` where the file gives them: text, or small integers; never a float.
        extra: everything else that the file says of it, as one JSON object.
    """

    messages: tuple[Message, ...]
    about: dict[str, str | int]
    extra: Content | None = None

    @property
    def tools(self) -> set[str]:
        """The names of the tools that are called."""
        return {call.name for message in self.messages for call in message.calls}


@dataclass(frozen=True, slots=True)
class Transcript:
    """A file that was read whole: its name, SHA-256 and size in bytes, its trajectories, and what to warn of."""

    name: str
    digest: bytes
    size: int
    trajectories: tuple[Trajectory, ...]
    warnings: tuple[Problem, ...] = ()
    unnamed_warnings: int = 0

    @property
    def messages(self) -> int:
        """The number of messages of all trajectories."""
        return sum(len(trajectory.messages) for trajectory in self.trajectories)
