"""Rules of what stands: who may correct, amend or retract which record, and that no withdrawn authority is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tslg.protocol import cid
from tslg.protocol.classes import ACTS
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Edge, Record
from tslg.protocol.rules.context import Context, manifest_in_force, refuse

_BEHIND: Final = ("policy", "delegation")
"""Classes over which authority itself rests on authority."""
_ENDED: Final = {"answer": "answered", "policy": "amended", "retraction": "retracted"}
"""What a record of each superseding kind did to the authority that it ended."""


def rule_correction(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A correction, amendment or retraction is one that the federation's correction policy allows its author."""
    act = ACTS.get(record.kind)
    for edge in record.preds.get(act, ()) if act is not None else ():
        named = _correction_policy(record, context)
        if named is not None and context.record(named) is None:
            if context.complete:
                return refuse("TSLG-A-RESOLVE", record, "the correction policy of its manifest is not held here")
            continue
        if may(record, edge, context) is False:
            target = context.record(edge.cid)
            what = "a record" if target is None else f"a {target.kind}"
            whose = "its own" if edge.agent is None else "another agent's"
            detail = f"its author may not make a {record.kind} of {what} of {whose} log"
            return refuse("TSLG-A-CORRECTION", record, detail, "ask whoever the correction policy names")
    return None


def may(record: Record, edge: Edge, context: Context) -> bool | None:
    """Tell whether the author may do to the cited record what this kind does; None if that cannot be known here."""
    named = _correction_policy(record, context)
    if named is None:
        return edge.agent is None
    policy, target = context.record(named), context.record(edge.cid)
    if policy is None:
        return None
    if policy.kind != "correction-policy" or policy.owner != context.federation:
        return False
    unknown = False
    for rule in policy.body["rules"]:
        by = rule["by"]
        allowed = by == "anyone" or (edge.agent is None if by == "author" else record.owner in by)
        if allowed and ACTS[record.kind] in rule["acts"]:
            if target is not None and target.kind in rule["kinds"]:
                return True
            unknown = unknown or target is None
    return None if unknown else False


def _correction_policy(record: Record, context: Context) -> Link | None:
    manifest = manifest_in_force(record, context)
    return None if manifest is None else manifest.envelope.corrections


def rule_in_force(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """No authority that it rests on was superseded or withdrawn in its causal past."""
    for id in _authority(record, context):
        other = context.ended(id, record)
        if other is not None:
            how = _ENDED[other.kind]
            detail = f"its authority {cid.short(id)} was {how} before it, by {cid.short(other.id)}"
            return refuse("TSLG-A-SUPERSEDED", record, detail, "rest on what is in force")
    return None


def _authority(record: Record, context: Context) -> Iterator[Link]:
    """Yield what a record rests on, and what that rests on in turn, as far as it is held."""
    todo = [edge[0] for name in ("policy", "delegation", "joint", "consensus") for edge in record.preds.get(name, ())]
    if record.kind == "answer" and record.body["outcome"] == "result":
        todo.extend(edge.cid for edge in record.edges("answers"))
    seen = set(todo)
    while todo and len(seen) <= DEFAULT.policy_chain:
        id = todo.pop()
        yield id
        held = context.record(id)
        if held is None or held.kind not in ("policy", "delegation") or held.preds.keys().isdisjoint(_BEHIND):
            continue
        behind = [edge.cid for edge in held.edges(*_BEHIND)]
        fresh = [one for one in behind if one not in seen]
        seen.update(fresh)
        todo.extend(fresh)


def entitled(other: Record, id: Link, context: Context) -> bool:
    """Tell whether `other` may end the authority of `id`: next version, delegate's answer, or a due retraction."""
    target = context.record(id)
    if other.kind == "answer":
        return target is not None and target.kind == "delegation" and target.body["delegate"] == other.owner
    if other.kind == "policy":
        return target is not None and target.owner == other.owner
    return any(edge.cid == id and may(other, edge, context) is True for edge in other.edges("retracts"))
