"""Answers as records: the delegate's are appended to its own log, and found there again after a restart."""

from __future__ import annotations

from typing import Any

from tslg.node.drafting import Draft
from tslg.node.ledger import Ledger
from tslg.protocol.codec import Link
from tslg.protocol.delegate import Recorded
from tslg.protocol.delegating import CANCELLED, EXPIRED, FAILED
from tslg.protocol.errors import TslgError
from tslg.protocol.record import Edge, Record


def answer(ledger: Ledger, delegation: Record, outcome: str, reason: str | None, evidence: Link | None) -> Recorded:
    """Append the `answer` record of one of this node's own agents to a delegation.

    Args:
        ledger: the node's ledger.
        delegation: what is answered.
        outcome, reason: as in the record.
        evidence: the result, or the retraction.

    Raises:
        TslgError: an admission rule refuses it, or it cannot be stored or anchored; an earlier answer may be there.
    """
    body: dict[str, Any] = {"outcome": outcome} | ({} if reason is None else {"reason": reason})
    preds = {"answers": [_edge(ledger, delegation)]}
    cited = None if evidence is None else ledger.context.record(evidence)
    if cited is not None:
        preds["evidence"] = [_edge(ledger, cited, delegation.body["delegate"])]
    made = ledger.append(delegation.body["delegate"], Draft("answer", body, preds))
    return read_answer(made)


def answered(ledger: Ledger, delegation: Link, agent: Link) -> Recorded | None:
    """Return what an agent's log, as far as it is held, answers to a delegation."""
    for record in ledger.context.superseding(delegation):
        if record.kind == "answer" and record.owner == agent:
            return read_answer(record)
    return None


def withdrawn(ledger: Ledger, delegation: Link) -> Link | None:
    """Return a retraction of a delegation that is held."""
    for record in ledger.context.superseding(delegation):
        if record.kind == "retraction":
            return record.id
    return None


def read_answer(record: Record) -> Recorded:
    """Return what an `answer` record says."""
    outcome = record.body["outcome"]
    result = next((edge.cid for edge in record.edges("evidence")), None) if outcome == "result" else None
    return Recorded(outcome, record.id, record.body.get("reason"), result)


def answer_or_end(
    ledger: Ledger, delegation: Record, outcome: str, reason: str | None, evidence: Link | None, now_ms: int
) -> Recorded | tuple[str, str | None]:
    """Append an answer as near to the outcome as the rules allow.

    A result that is none, or comes too late, is answered as failed; where no answer can be recorded, the state in which
    the delegation ends all the same is returned, with the reason.
    """
    agent = delegation.body["delegate"]
    ways: list[tuple[str, str | None, Link | None]] = [(outcome, reason, evidence)]
    if outcome == "cancelled":
        # Not every federation lets an agent cite another's retraction.
        ways.append((outcome, None, None))
    error = ""
    for way in ways:
        try:
            return answer(ledger, delegation, *way)
        except TslgError as refused:
            # It may be there all the same, such as one that was appended and not anchored.
            found = answered(ledger, delegation.id, agent)
            if found is not None:
                return found
            error = str(refused)
    if outcome == "cancelled":
        return CANCELLED, None
    gone = withdrawn(ledger, delegation.id)
    if gone is not None:
        return answer_or_end(ledger, delegation, "cancelled", None, gone, now_ms)
    if outcome != "result":
        return FAILED, reason
    if now_ms > delegation.body["expires"]:
        return EXPIRED, None
    return answer_or_end(ledger, delegation, "failed", error, None, now_ms)


def _edge(ledger: Ledger, record: Record, agent: Link | None = None) -> Edge:
    if record.owner == agent:
        return Edge(record.id)
    if ledger.writes(record.owner):
        return Edge(record.id, record.owner, None)
    verified = ledger.store.verified(record.id)
    return Edge(record.id, record.owner, 0 if verified is None else verified.edges)
