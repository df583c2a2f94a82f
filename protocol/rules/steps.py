"""Rules of governed steps: what they state of their governance, and how they chain the agent's semantic state."""

from __future__ import annotations

from typing import Final

from tslg.protocol.errors import Refusal
from tslg.protocol.governing.state import ANCHORING, START
from tslg.protocol.record import Record
from tslg.protocol.recording import STEPS
from tslg.protocol.rules.context import Context, manifest_in_force, refuse

_TAKEN: Final = ("inference", "composite")
"""Kinds of what was admitted and taken."""


def rule_step(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A step that was admitted has a class and a tier, where the manifest names some.

    It looks at nothing but a record's shape.
    """
    if record.kind not in STEPS:
        return None
    body = record.body
    manifest = manifest_in_force(record, context)
    if record.kind in _TAKEN and manifest is not None:
        for name, known in (("class", manifest.envelope.classes), ("tier", manifest.envelope.tiers)):
            if known and name not in body:
                mend = f"claim one of {', '.join(known)}"
                return refuse("TSLG-A-STEP", record, f"a step that was admitted without a {name}", mend)
    if "after" in body and "before" not in body:
        return refuse("TSLG-A-STEP", record, "it moves the semantic state and does not say from which")
    return None


def rule_state(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A step derives from the record that moved the agent to the state that it was taken in; a rejection leads back."""
    body = record.body
    if record.kind not in STEPS or "before" not in body:
        return None
    # A composite may be made of the very step that moved the agent last.
    cited = [context.record(edge.cid) for edge in record.edges("prior", "part") if edge.agent is None]
    if any(one is None for one in cited):
        # Beyond the bound of a walk; admission has refused it by now.
        return None
    own = [one for one in cited if one is not None and one.kind in STEPS]
    here = [one for one in own if one.body.get("after") == body["before"]]
    if not here and (body["before"] != START or any("after" in one.body for one in own if record.kind != "composite")):
        detail = "none of the steps that it derives from moved the agent to the state that it states"
        return refuse("TSLG-A-STATE", record, detail)
    if record.kind == "rejection" and "after" in body:
        undone = any(one.body["before"] == body["after"] for one in here)
        if body["stage"] != ANCHORING or not undone:
            detail = "a rejection leads back to the state before a step that was not anchored, and nowhere else"
            return refuse("TSLG-A-STATE", record, detail)
    return None


def rule_turn(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A step states the semantic state that its log's records before it lead to, so no two move it from one record."""
    if record.kind not in STEPS or "before" not in record.body:
        return None
    at = context.semantic(record.owner)
    if at is None or at.digest == record.body["before"]:
        return None
    return refuse(
        "TSLG-A-STATE", record, "the log had moved the agent to another state before it", "take the step anew"
    )
