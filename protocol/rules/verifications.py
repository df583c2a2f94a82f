"""Rules of verifications: what an auditor publishes of a walk agrees with itself and with what is held."""

from __future__ import annotations

from itertools import pairwise

from tslg.protocol import cid
from tslg.protocol.composing import commits
from tslg.protocol.errors import Refusal
from tslg.protocol.record import Record
from tslg.protocol.report import VALID
from tslg.protocol.rules.context import Context, refuse


def rule_verification(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Its numbers and its frontier are those of a walk; whom it relies on, and whom it counters, it cites as such."""
    if record.kind != "verification":
        return None
    wrong = _numbers(record) or _others(record, context) or _frontier(record, context)
    return refuse("TSLG-A-VERIFICATION", record, wrong, "publish the report as it is") if wrong else None


def _numbers(record: Record) -> str | None:
    body = record.body
    depth, edges = body["depth"], body["edges"]
    if depth is not None and edges > depth:
        return f"{edges} edges within a depth of {depth}"
    if body["records"] > edges + 1:
        return f"{body['records']} records over {edges} edges"
    if body["verdict"] == VALID and body["records"] == 0:
        return "valid, without a single record verified"
    if body["verdict"] == VALID and depth is None and body["frontier"] and not body.get("relied"):
        return "valid without a bound, and yet with a frontier"
    if not all(a["agent"] < b["agent"] for a, b in pairwise(body["frontier"])):
        return "its frontier is not sorted by agent, one entry each"
    return None


def _others(record: Record, context: Context) -> str | None:
    target, relied = record.body["target"], record.body.get("relied", ())
    if target in relied:
        return "it relies on the very record that it is about"
    if not set(relied) <= {edge.cid for edge in record.preds.get("evidence", ())}:
        return "it relies on what it does not cite as evidence"
    for id in relied:
        held = context.record(id)
        if held is not None and (held.kind != "verification" or held.body["verdict"] != VALID):
            return f"it relies on {cid.short(id)}, which is no verification that found its target valid"
    for edge in record.preds.get("counters", ()):
        held = context.record(edge.cid)
        if held is not None and held.kind == "verification" and held.body["target"] != target:
            return f"it counters {cid.short(edge.cid)}, a verification of another record"
    return None


def _frontier(record: Record, context: Context) -> str | None:
    for entry in record.body["frontier"]:
        held = context.record(entry["record"])
        if held is not None and not commits(entry, held):
            return f"its frontier says of {cid.short(held.id)} what that record does not"
    return None
