"""A candidate: one step that a model is about to take or has proposed, and all that may be decided by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tslg.node.authoring import References
from tslg.node.governing.content import Content, Digest, digest
from tslg.protocol.errors import UsageError
from tslg.protocol.fields import AMOUNTS, GRAINS, NAME
from tslg.protocol.limits import DEFAULT

__all__ = ["Candidate", "Content", "Digest"]

_MOST_USES: Final = 256


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One step to be judged.

    Attributes:
        intent: what the step is for; of a tool call, the tool's name.
        model: the model's identifier.
        version: its exact version.
        inputs: what it consumes, by name: bytes, text, JSON, or a `Digest`. Only digests are recorded.
        output: what it returned; None where it was not produced yet and the step is judged before it runs.
        tier: the capability tier that the agent claims; None for the gate's.
        uses: capabilities that it claims beside those of its intent.
        spends: amounts that it claims, by name.
        token: a resource commitment: the authority under which it consumes resources.
        grain: `token`, `segment`, `call` or `plan`.
        facts: what rules may look at. Like the next three they are recorded only if the manifest's `recording` says so.
        scratch: the intermediate state of the step; None where there is none.
        activations: summaries of attention or activations; None where there are none.
        tools: the trace of the tools that it called; None where there is none.
        evidence: records that it rests on.
        delegation: delegations under which it is taken.
        observes: records that were seen and not consumed.
        parts: the steps that it was broken down into.
        state: the semantic state to which it moves the agent: a map of what a record can hold, no floats.
        upon: the digest of the semantic state that `state` was worked out from. If the agent's state is another by
            the time the step is recorded, the step is rejected. None takes the state as it is then.
    """

    intent: str
    model: str
    version: str
    inputs: Mapping[str, Content] = field(default_factory=dict)
    output: Content = None
    tier: str | None = None
    uses: Iterable[str] = ()
    spends: Mapping[str, int] = field(default_factory=dict)
    token: bytes | None = None
    grain: str = "call"
    facts: Mapping[str, Any] = field(default_factory=dict)
    scratch: Content = None
    activations: Content = None
    tools: Content = None
    evidence: References = None
    delegation: References = None
    observes: References = None
    parts: tuple[Candidate, ...] = ()
    state: Mapping[str, Any] | None = None
    upon: bytes | None = None

    def __post_init__(self) -> None:
        # Whatever can be gone over once only is gone over here.
        if not isinstance(self.uses, str | tuple):
            object.__setattr__(self, "uses", tuple(self.uses))
        if not isinstance(self.parts, tuple):
            object.__setattr__(self, "parts", tuple(self.parts))

    def digests(self) -> dict[str, bytes]:
        """Return the digests of the inputs, by name. Raises UsageError."""
        return {name: digest(content) for name, content in self.inputs.items()}


def check(candidate: Candidate, level: int = 1) -> None:
    """Hold a candidate against what a record can say, so that what is wrong with it is told before anything is asked.

    Raises:
        UsageError: `TSLG-G-CANDIDATE`.
    """
    fault = _fault(candidate)
    if fault is None and candidate.parts:
        if level >= DEFAULT.step_part_nesting:
            fault = f"parts of parts go down {DEFAULT.step_part_nesting} levels at most"
        elif len(candidate.parts) > DEFAULT.step_parts:
            fault = f"{len(candidate.parts)} parts, at most {DEFAULT.step_parts} are recorded together"
    if fault is not None:
        raise UsageError(fault, code="TSLG-G-CANDIDATE", mend="change the candidate; nothing was recorded")
    for part in candidate.parts:
        check(part, level + 1)


def _fault(one: Candidate) -> str | None:
    for name in ("intent", "model", "version"):
        if not NAME.valid(getattr(one, name)):
            return f"`{name}` is a text of 1 to 256 characters"
    for name in ("inputs", "spends", "facts"):
        if not isinstance(getattr(one, name), Mapping):
            return f"`{name}` is a map"
    if one.tier is not None and not NAME.valid(one.tier):
        return "`tier` is a text of 1 to 256 characters"
    if one.grain not in GRAINS:
        return f"`grain` is one of {', '.join(GRAINS)}"
    if len(one.inputs) > DEFAULT.step_inputs or not all(map(NAME.valid, one.inputs)):
        return f"`inputs` has up to {DEFAULT.step_inputs} names of 1 to 256 characters"
    if isinstance(one.uses, str) or not all(map(NAME.valid, one.uses)) or len(set(one.uses)) > _MOST_USES:
        return f"`uses` is a list of up to {_MOST_USES} names of 1 to 256 characters"
    if not AMOUNTS.valid(dict(one.spends)) or not all(map(NAME.valid, one.spends)):
        return "`spends` maps names to whole numbers from 0"
    if one.token is not None and not (type(one.token) is bytes and len(one.token) <= DEFAULT.step_token_bytes):
        return f"`token` has up to {DEFAULT.step_token_bytes} bytes"
    if one.upon is not None and not (type(one.upon) is bytes and len(one.upon) == 32):
        return "`upon` is the digest of a state: 32 bytes"
    if one.parts and (one.state is not None or one.upon is not None):
        return "a step in parts moves the state by its parts alone"
    return None
