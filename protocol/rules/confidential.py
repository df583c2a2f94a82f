"""Rules of confidential policies: what stands in for their contents, and what shows that others stay within them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tslg.protocol import cid, narrowings
from tslg.protocol.errors import Refusal
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, refuse

if TYPE_CHECKING:
    from tslg.protocol.zk.narrowing import Hidden, Terms


class Fault(NamedTuple):
    """Why it is not shown that a record stays within a policy: the proof is not at hand, or does not hold."""

    missing: bool
    detail: str


def rule_commitments(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A confidential policy says nothing openly of what it commits to, and proofs are about cited policies alone."""
    body = record.body
    if "narrowing" in body:
        cited = {edge.cid for edge in record.preds.get("policy", ())}
        if not body["narrowing"] or not {entry["policy"] for entry in body["narrowing"]} <= cited:
            return refuse("TSLG-A-COMMITMENTS", record, "it names a proof about a policy that it does not cite")
    if "commitments" not in body:
        return None
    if body["capabilities"] or body["limits"]:
        mend = "leave `capabilities` and `limits` empty"
        return refuse("TSLG-A-COMMITMENTS", record, "a confidential policy that also allows something openly", mend)
    from tslg.protocol.zk.narrowing import well_formed

    if well_formed(_hidden(body)):
        return None
    return refuse("TSLG-A-COMMITMENTS", record, "a commitment is not the encoding of an element")


def fault(record: Record, policy: Record, context: Context) -> Fault | None:
    """Tell why it is not proved that a record stays within a policy that it cites; None if it is, or need not be."""
    if "commitments" not in policy.body and (record.kind != "policy" or "commitments" not in record.body):
        return None
    # The group takes a while to load, which nobody should wait for who never meets a confidential policy.
    from tslg.protocol.zk import narrowing

    wide, narrow = terms(policy), terms(record)
    if not narrowing.needed(wide, narrow):
        return None
    impossible = narrowing.impossible(wide, narrow)
    if impossible is not None:
        return Fault(False, impossible)
    about = f"policy {cid.short(policy.id)}"
    if all(entry["policy"] != policy.id for entry in record.body.get("narrowing", ())):
        return Fault(True, f"it names no proof that it stays within {about}, where one of them is confidential")
    attachment = context.attachment(record.id)
    proof = None if attachment is None else narrowings.proof_about(record, policy.id, attachment)
    if proof is None:
        # In a walk this is no fault of the author's: whoever handed the record over kept the proof back.
        return Fault(True, f"the proof that it stays within {about} is not at hand") if context.complete else None
    if _holds(record, policy, wide, narrow, proof):
        return None
    return Fault(False, f"the proof that it stays within {about} does not hold")


def terms(record: Record) -> Terms:
    """Return what a policy allows, or what another record claims."""
    return terms_of(record.kind, record.body)


def terms_of(kind: str, body: Mapping[str, Any]) -> Terms:
    """Do as `terms` for a record that is not made yet."""
    from tslg.protocol.zk.narrowing import Open

    if kind != "policy":
        return Open(frozenset(body.get("uses", ())), body.get("spends", {}))
    return _hidden(body) if "commitments" in body else Open(frozenset(body["capabilities"]), body["limits"])


def _hidden(body: Mapping[str, Any]) -> Hidden:
    from tslg.protocol.zk.narrowing import Hidden

    commitments = body["commitments"]
    whole: bytes = commitments["capabilities"]
    elements = tuple(whole[at : at + 32] for at in range(0, len(whole), 32))
    return Hidden(tuple(commitments["vocabulary"]), elements, commitments["limits"])


def _holds(record: Record, policy: Record, wide: Terms, narrow: Terms, proof: bytes) -> bool:
    from tslg.protocol.zk import narrowing

    if record.agent is None or record.prev is None:
        return False
    for side in (wide, narrow):
        if isinstance(side, narrowing.Hidden) and not narrowing.well_formed(side):
            return False
    binding = narrowings.binding(record.agent, record.seq, record.prev, record.kind, record.body, policy.id)
    return narrowing.verify(wide, narrow, binding=binding, proof=proof)
