"""Where steps that were seen go: into an agent's log as observations, and through a gate where there is one.

A span is seen when its step is over. So what is recorded first is an observation, which says what was seen and of what
there are digests; the verdict of a gate cites it as evidence, which shows that it was given after the fact.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from tslg.node.adapters.seen.notes import Notes
from tslg.node.adapters.seen.steps import HAND_OFF, UNSTATED, Span, Step
from tslg.node.agent import BlockingAgent
from tslg.node.governing.content import digest
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.record import Record

if TYPE_CHECKING:
    from tslg.node.governing.candidate import Candidate
    from tslg.node.governing.gate import Gate
    from tslg.node.governing.outcome import Outcome, Verdict

OBSERVED: Final = "observed"
COMPOSED: Final = "composed"
GROUP: Final = "group"
"""The operation of what puts parts together that are too many for one record."""
_ARGUMENTS: Final = ("gen_ai.tool.call.arguments", "tool_arguments", "arguments")
_VERDICTS: Final[Mapping[str, Verdict]] = {
    "inference": "admitted",
    "rejection": "rejected",
    "decomposition": "decomposed",
}
_COMPOSABLE: Final = ("inference", "decomposition", "composite")


class Made(NamedTuple):
    """What a step became.

    Attributes:
        record: what later steps rest on, and what a run is composed of.
        observation: what was seen.
        verdict: `admitted`, `rejected` or `decomposed`; `composed` for what is put together, `observed` without a gate.
        outcome: what the gate said, if there is one.
        ended_ns: when the step was over.
    """

    record: Record
    observation: Record
    verdict: str
    outcome: Any
    ended_ns: int


class Sink(Protocol):
    """Records steps, for one agent.

    Attributes:
        agent: whose log they go into.
        fan_in: most edges of one record, by the manifest.
    """

    agent: BlockingAgent
    fan_in: int

    def step(self, step: Step, span: Span, evidence: Sequence[Link], parts: Sequence[Made]) -> Made:
        """Record a step that was seen: what it rests on, and of a run, what it is composed of."""

    def group(self, span: Span, parts: Sequence[Made]) -> Made:
        """Put parts of one run together that are too many for one record."""


class AgentSink:
    """Records what is seen, and judges nothing; with `notes`, once only."""

    def __init__(self, agent: BlockingAgent, notes: Notes | None = None) -> None:
        self.agent = agent
        self.fan_in = agent.fan_in
        self._notes = notes

    def step(self, step: Step, span: Span, evidence: Sequence[Link], parts: Sequence[Made]) -> Made:
        """Record a step as an observation on what it rests on, and on its parts."""
        found = self._observed(step, span, [*evidence, *(made.record.id for made in parts)])
        return Made(found, found, OBSERVED, None, span.end_ns)

    def group(self, span: Span, parts: Sequence[Made]) -> Made:
        """Record an observation on parts."""
        ids = [made.record.id for made in parts]
        found = None if self._notes is None else self._notes.group(ids)
        if found is None:
            data = {"trace": span.key.trace, "operation": GROUP}
            with self.agent.batch():
                found = self.agent.observe(span.source, data, evidence=ids)
                if self._notes is not None:
                    self._notes.keep_group(ids, found)
        return Made(found, found, OBSERVED, None, max(made.ended_ns for made in parts))

    def _observed(self, step: Step, span: Span, evidence: Sequence[Link]) -> Record:
        if self._notes is None:
            return observe(self.agent, step, span, evidence)
        found = self._held(step, span)
        if found is None:
            with self.agent.batch():
                found = observe(self.agent, step, span, evidence)
                self._notes.keep_step(step, span, found)
        return found

    def _held(self, step: Step, span: Span) -> Record | None:
        """Return the observation of a step that was recorded before, from a file or as it ended."""
        assert self._notes is not None
        noted = self._notes.step(step, span)
        named = self._notes.named(span)
        if named is not None and named.owner != self.agent.id:
            named = None
        if noted is not None or named is None or step.operation != HAND_OFF:
            return noted or named
        # A span names one observation: that of the run, which rests on that of the hand-off, or on the verdict on it.
        for edge in named.preds.get("evidence", ()):
            one = self._notes.record(edge.cid)
            if one is not None and one.body.get("intent") == HAND_OFF and one.preds.get("observes"):
                return self._notes.record(one.preds["observes"][0].cid)
            if one is not None and one.kind == "observation" and _operation(one) == HAND_OFF:
                return one
        return None


class GateSink(AgentSink):
    """Records what is seen, and what a gate says of it: a verdict that shows by what it observes that it came after."""

    def __init__(self, gate: Gate, tier: str | None = None, notes: Notes | None = None) -> None:
        super().__init__(gate.agent, notes)
        self._gate = gate
        self._tier = tier

    def step(self, step: Step, span: Span, evidence: Sequence[Link], parts: Sequence[Made]) -> Made:
        """Record a step, the verdict on it, and of a run that is admitted, what it is composed of."""
        observation = self._observed(step, span, [*evidence, *(made.record.id for made in parts)])
        if not step.judged:
            return self._composed(None, step, span, observation, parts)
        outcome = self._said(observation) or self._gate.submit(self._candidate(step, evidence, observation))
        if not outcome.admitted or step.role != "run":
            return Made(outcome.record, observation, outcome.verdict, outcome, span.end_ns)
        return self._composed(outcome, step, span, observation, parts)

    def group(self, span: Span, parts: Sequence[Made]) -> Made:
        """Record a composite of those parts that were admitted, or an observation where none was."""
        admitted = _admitted(parts)
        if not admitted:
            return super().group(span, parts)
        made = self._compose(admitted, GROUP, GROUP, None)
        return Made(made, made, COMPOSED, None, max(one.ended_ns for one in parts))

    def _composed(
        self, outcome: Outcome | None, step: Step, span: Span, observation: Record, parts: Sequence[Made]
    ) -> Made:
        """Record what a run is composed of: the verdict on it, and its steps that were admitted."""
        admitted = [*([] if outcome is None else [outcome.record]), *_admitted(parts)]
        if len(admitted) < 2:
            record, verdict = (observation, OBSERVED) if outcome is None else (outcome.record, outcome.verdict)
            return Made(record, observation, verdict, outcome, span.end_ns)
        made = self._compose(admitted, step.intent, step.operation, step.output)
        return Made(made, observation, COMPOSED, outcome, span.end_ns)

    def _compose(self, admitted: Sequence[Record], intent: str, rule: str, output: str | bytes | None) -> Record:
        held = None if self._notes is None else self._notes.composite(admitted)
        if held is not None:
            return held
        class_ = next((one.body["class"] for one in admitted if "class" in one.body), None)
        # What is not said to have come of it is nothing but what it is composed of.
        content = output if output is not None else [to_text(one.id) for one in admitted]
        return self._gate.compose(admitted, rule=rule, output=content, intent=intent, class_=class_, tier=self._tier)

    def _said(self, observation: Record) -> Outcome | None:
        """Return what the gate said of a step that was observed before, if that stands."""
        said = [] if self._notes is None else self._notes.citing(observation, "observes")
        outcomes = (self._outcome(record) for record in said if record.kind in _VERDICTS)
        return next(filter(self._gate.stands, outcomes), None)

    def _outcome(self, record: Record) -> Outcome:
        """Return what a record of the gate says; it goes down as many levels as the gate broke the step down."""
        from tslg.node.governing.outcome import Outcome

        stage, rule, reason = (record.body.get(name) for name in ("stage", "rule", "reason"))
        parts: tuple[Outcome, ...] = ()
        if record.kind == "decomposition" and self._notes is not None:
            inner = sorted(self._notes.citing(record, "part"), key=lambda one: one.seq)
            parts = tuple(self._outcome(one) for one in inner if one.kind in _VERDICTS)
        return Outcome(_VERDICTS[record.kind], record, record.body.get("class"), stage, rule, reason, parts)

    def _candidate(self, step: Step, evidence: Sequence[Link], observation: Record) -> Candidate:
        from tslg.node.governing.candidate import Candidate

        facts = {
            "after_the_fact": True,
            "operation": step.operation,
            "agent": step.agent,
            "provider": step.provider,
            "usage": dict(step.usage),
            "error": step.error,
            "arguments": _arguments(step),
        }
        return Candidate(
            intent=step.intent,
            model=step.model or UNSTATED,
            version=step.version or UNSTATED,
            inputs=step.inputs,
            output=step.output,
            tier=self._tier,
            facts={name: value for name, value in facts.items() if value is not None},
            evidence=list(evidence) or None,
            observes=observation,
        )


def sink_for(recorder: Any, tier: str | None = None, notes: Notes | None = None) -> Sink:
    """Return where steps go that a gate, or an agent alone, shall record. Raises UsageError."""
    from tslg.node.governing.async_gate import AsyncGate
    from tslg.node.governing.gate import Gate

    if isinstance(recorder, AsyncGate):
        recorder = recorder.gate
    if isinstance(recorder, Gate):
        return GateSink(recorder, tier, notes)
    if isinstance(recorder, BlockingAgent):
        return AgentSink(recorder, notes)
    raise UsageError(
        "spans are recorded by a gate or an agent", mend="hand over what `tslg.gate` or `tslg.agent` returns"
    )


def _operation(observation: Record) -> Any:
    return (observation.body.get("data") or {}).get("operation")


def _admitted(parts: Sequence[Made]) -> list[Record]:
    """Return the records of those parts that a composite may be made of."""
    return [
        made.record
        for made in parts
        if made.record.kind in _COMPOSABLE and (made.outcome is None or made.outcome.admitted)
    ]


def observe(agent: BlockingAgent, step: Step, span: Span, evidence: Iterable[Link]) -> Record:
    """Record what was seen: names, times, counts and digests, and nothing that was said."""
    digests = {name: digest(value) for name, value in step.inputs.items()}
    if step.output is not None and step.output_name is not None:
        digests[step.output_name] = digest(step.output)
    data: dict[str, Any] = {
        "trace": span.key.trace,
        "span": span.key.id,
        "operation": step.operation,
        "intent": step.intent,
        "digests": digests,
        **span.about,
    }
    if span.timed:
        data |= {"start_us": span.start_ns // 1000, "end_us": span.end_ns // 1000}
    optional = {
        "parent": span.parent.id if span.parent is not None else None,
        "agent": step.agent,
        "model": step.model,
        "version": step.version,
        "provider": step.provider,
        "call": step.call,
        "error": step.error,
        "usage": dict(step.usage),
        "cut": list(step.cut),
        "dropped": dict(span.dropped),
        "service": span.service,
        "scope": span.scope,
    }
    data |= {name: value for name, value in optional.items() if value}
    return agent.observe(span.source, data, evidence=tuple(evidence) or None)


def _arguments(step: Step, limits: Limits = DEFAULT) -> Any:
    """Return the arguments of a tool call as values, for rules to look at; None where they are not said, or no JSON."""
    said = next((step.inputs[name] for name in _ARGUMENTS if name in step.inputs), None)
    if not isinstance(said, str | bytes) or len(said) > limits.record_bytes:
        return None
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return None
