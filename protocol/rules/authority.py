"""Rules of authority: policies, their narrowing, and delegations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from tslg.protocol import cid, policy
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.kinds import SCOPE
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record
from tslg.protocol.rules import confidential
from tslg.protocol.rules.context import Context, manifest_in_force, refuse

_CLAIMS: Final = frozenset(SCOPE)
_NOT_ADMITTED: Final = "rejection"
"""The kind that says what was asked for and refused, which may well be beyond every policy."""


def rule_scope(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Every policy cited covers the record's time and what the record claims; without one, it claims nothing."""
    edges = record.preds.get("policy")
    claims = record.kind != _NOT_ADMITTED and not _CLAIMS.isdisjoint(record.body)
    if edges is None:
        if not claims:
            return None
        names = ", ".join(sorted(_CLAIMS & record.body.keys()))
        return refuse("TSLG-A-SCOPE", record, f"it claims {names} without a policy", "cite a policy that grants it")
    for edge in edges:
        cited = context.record(edge[0])
        if cited is None or cited.kind != "policy":
            continue
        beyond = policy.out_of_window(record.time, cited.body)
        if beyond and record.kind != _NOT_ADMITTED:
            return refuse("TSLG-A-WINDOW", record, beyond, "cite a policy that is in force")
        if not claims:
            continue
        beyond = policy.out_of_scope(record, cited.body)
        if beyond:
            return refuse("TSLG-A-SCOPE", record, beyond, "cite a policy that grants it, or do less")
        unproved = confidential.fault(record, cited, context)
        if unproved is None:
            continue
        if unproved.missing:
            return refuse("TSLG-A-PROOF", record, unproved.detail, "prove it, and hand the proof over")
        return refuse("TSLG-A-SCOPE", record, unproved.detail, "claim what the policy grants")
    return None


def rule_vocabulary(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Governance classes and tiers of a policy are those of the manifest."""
    manifest = manifest_in_force(record, context)
    if record.kind != "policy" or manifest is None:
        return None
    for name, known in (("classes", manifest.envelope.classes), ("tiers", manifest.envelope.tiers)):
        extra = set(record.body[name]) - set(known)
        if extra:
            return refuse("TSLG-A-VOCABULARY", record, f"{name} {sorted(extra)} are not in the manifest")
    return None


def rule_narrowing(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A policy that cites a policy is no wider than it."""
    if record.kind != "policy":
        return None
    for edge in record.preds.get("policy", ()):
        wide = context.record(edge.cid)
        if wide is not None and wide.kind == "policy":
            wider = policy.widening(record.body, wide.body)
            if wider:
                return refuse("TSLG-A-WIDENED", record, wider, "grant no more than you hold")
            unproved = confidential.fault(record, wide, context)
            if unproved is None:
                continue
            if unproved.missing:
                return refuse("TSLG-A-PROOF", record, unproved.detail, "prove it, and hand the proof over")
            return refuse("TSLG-A-WIDENED", record, unproved.detail, "grant no more than you hold")
    return None


def rule_delegation(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A delegation that is cited was made to this agent, is unexpired, and grants every policy that is cited."""
    if "delegation" not in record.preds:
        return None
    chains = {edge.cid: _chain(edge.cid, context) for edge in record.preds.get("policy", ())}
    for edge in record.preds["delegation"]:
        cited = context.record(edge.cid)
        if cited is None or cited.kind != "delegation":
            continue
        if cited.body["delegate"] != record.agent:
            return refuse("TSLG-A-DELEGATE", record, "the delegation was made to another agent", "cite one made to you")
        if record.time > cited.body["expires"]:
            return refuse(
                "TSLG-A-EXPIRED", record, f"the delegation expired at {cited.body['expires']}", "ask for a new one"
            )
        if record.kind == "policy" and _outlives(record.body["not_after"], cited.body["expires"]):
            return refuse("TSLG-A-EXPIRED", record, "the policy outlives the delegation behind it", "set `not_after`")
        refusal = _outside_grant(record, cited, chains, context)
        if refusal:
            return refusal
    return None


def _outlives(not_after: int | None, expires: int) -> bool:
    return not_after is None or not_after > expires


def _outside_grant(
    record: Record, delegation: Record, chains: Mapping[Link, Chain], context: Context
) -> Refusal | None:
    """Refuse unless every policy the record cites is the delegation's grant, or narrows it step by step."""
    grant = delegation.body["grant"]
    granted = context.record(grant)
    for id, chain in chains.items():
        cited = context.record(id)
        if id == grant or cited is None or cited.kind != "policy":
            continue
        if granted is not None and granted.kind == "policy":
            # Of a confidential policy this judges what is open; the proofs along the chain to the grant show the rest.
            wider = policy.widening(cited.body, granted.body)
            if wider:
                return refuse("TSLG-A-WIDENED", record, f"beyond the grant: {wider}", "act within the granted policy")
        if grant in chain.ids:
            continue
        if len(chain.ids) > DEFAULT.policy_chain:
            detail = f"more than {DEFAULT.policy_chain} policies lie behind policy {cid.short(id)}"
            return refuse("TSLG-A-GRANT", record, detail, "derive your policy from the granted one")
        if chain.whole:
            detail = f"policy {cid.short(id)} does not derive from the delegation's grant"
            return refuse("TSLG-A-GRANT", record, detail, "derive your policy from the granted one")
        if context.complete:
            return refuse("TSLG-A-RESOLVE", record, "the chain from its policy to the grant is not held here")
    return None


class Chain(NamedTuple):
    """The policies that lie behind one over policy edges, and whether all of them were at hand."""

    ids: frozenset[Link]
    whole: bool


def _chain(start: Link, context: Context) -> Chain:
    """Follow policy edges from `start` until none is left, or too many were met."""
    ids: set[Link] = set()
    todo = [start]
    whole = True
    while todo and len(ids) <= DEFAULT.policy_chain:
        held = context.record(todo.pop())
        if held is None:
            whole = False
            continue
        if FLAT in held.preds:
            # Some of its edges have no class yet, so there may be policies among them.
            whole = False
        fresh = {edge.cid for edge in held.preds.get("policy", ())} - ids
        ids |= fresh
        todo.extend(sorted(fresh))
    return Chain(frozenset(ids), whole)


def rule_granted(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A policy that rests on a delegation is cited together with that delegation."""
    cited = record.preds.get("delegation", ())
    mend = "cite the delegation that granted it"
    for edge in record.preds.get("policy", ()):
        if edge[1] is None:
            held = context.record(edge[0])
            rests_on = None if held is None else held.preds.get("delegation")
            if rests_on and not {e.cid for e in rests_on} <= {e.cid for e in cited}:
                return refuse("TSLG-A-GRANT", record, "its policy rests on a delegation that it does not cite", mend)
        elif not cited and edge[1] != context.federation:
            return refuse(
                "TSLG-A-GRANT", record, f"policy {cid.short(edge.cid)} of another agent without delegation", mend
            )
    return None


def rule_principal(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Acting for another agent needs a delegation by it."""
    principal = record.body.get("principal")
    if principal is None or principal == record.agent:
        return None
    if any(edge.agent == principal for edge in record.preds.get("delegation", ())):
        return None
    detail = f"{record.kind} for {cid.short(principal)} without a delegation by it"
    return refuse("TSLG-A-PRINCIPAL", record, detail, "cite that agent's delegation")


def rule_delegating(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A delegation passes on a policy that its author holds, to somebody else, and no further than it was allowed."""
    if record.kind != "delegation":
        return None
    body = record.body
    if body["delegate"] == record.agent:
        return refuse("TSLG-A-DELEGATE", record, "an agent cannot delegate to itself")
    if body["hops"] > DEFAULT.delegation_hops:
        return refuse("TSLG-A-HOPS", record, f"{body['hops']} further hops, the limit is {DEFAULT.delegation_hops}")
    if body["expires"] < record.time:
        return refuse("TSLG-A-EXPIRED", record, "it is expired when it is made")
    if all(edge.cid != body["grant"] for edge in record.preds.get("policy", ())):
        return refuse(
            "TSLG-A-GRANT", record, "the grant is not among its policies", "cite the granted policy as `policy`"
        )
    for edge in record.preds.get("delegation", ()):
        above = context.record(edge.cid)
        if above is None or above.kind != "delegation":
            continue
        if body["hops"] >= above.body["hops"]:
            return refuse(
                "TSLG-A-HOPS", record, f"{body['hops']} further hops under a delegation of {above.body['hops']}"
            )
        if body["expires"] > above.body["expires"]:
            return refuse("TSLG-A-EXPIRED", record, "it outlives the delegation that it passes on")
    return None
