"""Rules of what ends a delegation in its delegate's log: one answer, and a result that was done under it."""

from __future__ import annotations

from typing import Final

from tslg.protocol import cid
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, refuse

_ONE: Final = "record what became of each delegation once"


def rule_answer(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """An answer is its delegate's first to the one delegation that it cites, and a result was done under that."""
    if record.kind != "answer":
        return None
    edges = record.edges("answers")
    first, *further = edges
    if further:
        return refuse("TSLG-A-ANSWER", record, "it answers several delegations", _ONE)
    body = record.body
    if body["outcome"] in ("refused", "failed") and not body.get("reason"):
        return refuse("TSLG-A-ANSWER", record, f"it says {body['outcome']} and not why", "give a `reason`")
    given = context.record(first.cid)
    if given is None or given.kind != "delegation":
        return None
    if given.body["delegate"] != record.agent:
        return refuse("TSLG-A-DELEGATE", record, "it answers a delegation to another agent", "answer your own")
    other = context.answered(given.id, record)
    if other is not None:
        detail = f"{cid.short(given.id)} was answered before it, by {cid.short(other.id)}"
        return refuse("TSLG-A-ANSWER", record, detail, _ONE)
    return _result(record, given, context) if body["outcome"] == "result" else None


def _result(record: Record, given: Record, context: Context) -> Refusal | None:
    if record.time > given.body["expires"]:
        detail = f"the delegation expired at {given.body['expires']}"
        return refuse("TSLG-A-EXPIRED", record, detail, "ask for a new one")
    evidence = list(record.edges("evidence"))
    if len(evidence) != 1 or evidence[0].agent is not None:
        return refuse("TSLG-A-ANSWER", record, "its evidence is not one record of its own log", "cite the result")
    result = context.record(evidence[0].cid)
    if result is not None and not _rests_on(result, given.id):
        return refuse("TSLG-A-ANSWER", record, "its result does not rest on the delegation", "record it under that")
    return None


def _rests_on(result: Record, delegation: Link) -> bool:
    # An edge without a class, of a flat record, may be the one; it was judged where all of them were at hand.
    return any(edge.cid == delegation for edge in result.edges("delegation", FLAT))
