"""The rule of equivocation records: what they show convicts, whoever publishes it."""

from __future__ import annotations

from tslg.protocol import cid
from tslg.protocol.errors import Refusal
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, manifest_in_force, refuse
from tslg.protocol.rules.seals import rule_key, rule_seal


def rule_equivocation(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Its evidence is two different records that the agent it names sealed for the one position it names."""
    if record.kind != "equivocation":
        return None
    edges = record.preds["evidence"]
    if len(edges) != 2:
        detail = f"it shows {len(edges)} records, not the two of one position"
        return refuse("TSLG-A-EQUIVOCATION", record, detail, "cite both records as evidence, and nothing else")
    for edge in edges:
        shown = context.record(edge.cid)
        if shown is None:
            continue
        if (shown.owner, shown.seq) != (record.body["agent"], record.body["seq"]):
            detail = f"{cid.short(edge.cid)} is not at position {record.body['seq']} of the log of the agent it names"
            return refuse("TSLG-A-EQUIVOCATION", record, detail, "name the log and the position that both stand at")
        if not _may_be_judged(shown, context):
            continue
        wrong = _unsealed(shown, context)
        if wrong is not None:
            detail = f"{cid.short(edge.cid)} convicts nobody: {wrong}"
            return refuse("TSLG-A-EQUIVOCATION", record, detail, "show two records whose seals hold")
    return None


def _may_be_judged(shown: Record, context: Context) -> bool:
    """In a walk, the chains on which a seal rests may be missing; then nothing can be said of it."""
    if context.complete:
        return True
    known = manifest_in_force(shown, context) is not None
    return known and (shown.key is None or context.key(shown.key) is not None)


def _unsealed(shown: Record, context: Context) -> str | None:
    """Return why a record's seal does not hold, None if it does."""
    seal = context.seal_of(shown.id)
    if seal is None:
        return "its seal is not at hand"
    refusal = rule_key(shown, seal, context) or rule_seal(shown, seal, context)
    return None if refusal is None else refusal.detail
