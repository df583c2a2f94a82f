"""Replays recorded conversations through a gate: what a policy would have let a model do, turn by turn.

Each turn of the assistant is a candidate, which is judged and recorded as if it were about to be taken. What was said
before it is observed, and its evidence. A turn that says something and calls a tool at once, or calls several, is
broken down. The conversation goes on as it was recorded, whatever was refused.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from tslg.node.adapters.transcripts.model import Content, Message, ToolCall, Trajectory, Transcript
from tslg.node.governing.candidate import Candidate, Digest
from tslg.node.governing.gate import Gate
from tslg.node.governing.outcome import Outcome
from tslg.protocol.record import Record

RESPOND: Final = "respond"
"""The intent of what the assistant says; that of a tool call is the tool's name."""
TURN: Final = "turn"
"""The intent of a turn that is broken down."""
UNSTATED: Final = "unstated"


class Watcher(Protocol):
    """Follows one conversation, and tells what rules may look at."""

    def hear(self, message: Message, call: ToolCall | None) -> None:
        """Take in a message; `call` is the one that a tool's message answers."""

    def facts(self, message: Message, call: ToolCall | None) -> Mapping[str, Any]:
        """Return the facts of a step of the assistant's turn `message`: of this call, or of what it says (None)."""


class Deaf:
    """A watcher that knows nothing of what is talked about."""

    def hear(self, message: Message, call: ToolCall | None) -> None:
        """See `Watcher`."""

    def facts(self, message: Message, call: ToolCall | None) -> Mapping[str, Any]:
        """See `Watcher`."""
        return {"said": message.content is not None, "calls": len(message.calls)}


class Refusals(NamedTuple):
    """Which rule refused steps of which intent, and what it says."""

    intent: str
    stage: str
    rule: str
    reason: str


@dataclass(slots=True)
class Replayed:
    """What came of it.

    Attributes:
        conversations: how many were gone through.
        turns: how many turns of the assistant they had.
        verdicts: steps by intent and verdict; the parts of a turn that was broken down count beside it.
        refused: rejected steps by why.
    """

    conversations: int = 0
    turns: int = 0
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[Refusals] = field(default_factory=Counter)

    def count(self, verdict: str) -> int:
        """Return how many steps had a verdict."""
        return sum(number for (_, found), number in self.verdicts.items() if found == verdict)

    def note(self, outcome: Outcome) -> None:
        """Count what became of a turn and of its parts."""
        for one in (outcome, *outcome.parts):
            intent = one.record.body["intent"]
            self.verdicts[intent, one.verdict] += 1
            if one.verdict == "rejected":
                self.refused[Refusals(intent, one.stage or "", one.rule or "", one.reason or "")] += 1


def replay(
    gate: Gate,
    transcript: Transcript,
    watcher: Callable[[], Watcher] = Deaf,
    *,
    model: str = UNSTATED,
    version: str = UNSTATED,
    tick: Callable[[int], None] | None = None,
) -> Replayed:
    """Put every turn of a file's conversations through a gate.

    Args:
        gate: where they are judged and recorded.
        transcript: what `parse` returned.
        watcher: makes what follows one conversation.
        model, version: the model that took the assistant's turns.
        tick: called after every conversation with how many there were.

    Raises:
        Unrecorded: a step could not be recorded; all before it is.
    """
    done = Replayed()
    for trajectory in transcript.trajectories:
        _Conversation(gate, trajectory, watcher(), (model, version), done).replay()
        done.conversations += 1
        if tick is not None:
            tick(done.conversations)
    return done


class _Part(NamedTuple):
    """One thing that a turn does."""

    intent: str
    inputs: Mapping[str, Digest]
    output: Digest | None
    facts: Mapping[str, Any]


class _Conversation:
    def __init__(
        self, gate: Gate, trajectory: Trajectory, watcher: Watcher, model: tuple[str, str], done: Replayed
    ) -> None:
        self._gate = gate
        self._trajectory = trajectory
        self._watcher = watcher
        self._model, self._version = model
        self._done = done
        self._said = hashlib.sha256()
        self._fresh: list[dict[str, Any]] = []

    def replay(self) -> None:
        for message in self._trajectory.messages:
            if message.role == "assistant":
                self._done.note(self._gate.submit(self._candidate(message)))
                self._done.turns += 1
            self._hear(message)

    def _hear(self, message: Message) -> None:
        call = None
        if message.answers is not None:
            turn, place = message.answers
            call = self._trajectory.messages[turn].calls[place]
        self._watcher.hear(message, call)
        told = b"".join(_digest(one) for one in (message.content, *(call.arguments for call in message.calls)))
        self._said.update(hashlib.sha256(message.role.encode() + told).digest())
        if message.role != "assistant":
            self._fresh.append({"role": message.role, "digest": _digest(message.content)})

    def _observed(self) -> Record | None:
        """Record what was said since the assistant's last turn."""
        if not self._fresh:
            return None
        said, self._fresh = self._fresh, []
        about = dict(self._trajectory.about)
        return self._gate.agent.observe("conversation", {"about": about, "messages": said})

    def _candidate(self, message: Message) -> Candidate:
        parts = [self._said_part(message)] if message.content is not None or not message.calls else []
        parts += [self._call_part(message, call) for call in message.calls]
        evidence = self._observed()
        if len(parts) == 1:
            return self._step(parts[0], evidence)
        steps = tuple(self._step(part, evidence) for part in parts)
        return self._step(_Part(TURN, {}, None, self._watcher.facts(message, None)), evidence, steps)

    def _said_part(self, message: Message) -> _Part:
        return _Part(RESPOND, {}, Digest(_digest(message.content)), self._watcher.facts(message, None))

    def _call_part(self, message: Message, call: ToolCall) -> _Part:
        inputs = {"arguments": Digest(call.arguments.digest)}
        return _Part(call.name, inputs, None, self._watcher.facts(message, call))

    def _step(self, part: _Part, evidence: Record | None, parts: tuple[Candidate, ...] = ()) -> Candidate:
        return Candidate(
            intent=part.intent,
            model=self._model,
            version=self._version,
            inputs={"conversation": Digest(self._said.digest()), **part.inputs},
            output=part.output,
            facts=part.facts,
            evidence=evidence,
            parts=parts,
            grain="plan" if parts else "call",
        )


def _digest(content: Content | None) -> bytes:
    return hashlib.sha256(b"" if content is None else content.data).digest()
