"""Rules of the edges: that each leads where it says, and may lead there."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from tslg.protocol import cid
from tslg.protocol.classes import CLASSES, FLAT, OWN, Leads
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.flat import Recovered
from tslg.protocol.kinds import KINDS
from tslg.protocol.record import Edge, Record
from tslg.protocol.rules.context import Context, manifest_in_force, refuse

_RESOLVED: Final = frozenset(("policy", "delegation", "consensus", "joint", FLAT))
"""Classes that confer authority: what they lead to must be at hand at admission whatever the kind."""

_OWN_LOG: Final = CLASSES["prior"].leads if CLASSES["prior"].leads == Leads(OWN) else None
"""Asks for nothing but the agent's own log; an edge of nearly every record, so it is not looked into twice."""


def rule_edges(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Every edge leads where it says: to an earlier record of this log, or into the named other agent's log."""
    owner, seq, find, leads = record.agent, record.seq, context.record, KINDS[record.kind].leads
    for name, edges in record.preds.items():
        where = leads[name]
        for edge in edges:
            cited = find(edge[0])
            if cited is None:
                refusal = _unheld(record, name, edge, context)
                if refusal is not None:
                    return refusal
                continue
            agent = edge[1]
            if agent is None:
                if cited.owner != owner:
                    return refuse(
                        "TSLG-A-EDGE-OWNER", record, f"its {name} {cid.short(edge.cid)} is another agent's record"
                    )
                if cited.seq >= seq:
                    return refuse(
                        "TSLG-A-EDGE-ORDER", record, f"its {name} {cid.short(edge.cid)} is not earlier in the log"
                    )
            elif cited.owner != agent or agent == owner:
                return refuse(
                    "TSLG-A-EDGE-OWNER", record, f"its {name} {cid.short(edge.cid)} is not of the agent it names"
                )
            if where is not None and (where is not _OWN_LOG or agent is not None):
                wrong = _wrong_log(name, edge, where) or _wrong_kind(name, edge, cited, where)
                if wrong:
                    return refuse("TSLG-A-EDGE-KIND", record, wrong)
    return None


def rule_form(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Edges stand by class or in one list as the manifest says; a federation's own log always has them by class."""
    manifest = manifest_in_force(record, context)
    if manifest is None or not record.preds:
        return None
    flat = isinstance(record, Recovered) or FLAT in record.preds
    if flat == (manifest.envelope.edges == "flat" and record.owner != context.federation):
        return None
    form = "in one list without classes" if flat else "by class"
    detail = f"its edges stand {form}, which its manifest does not allow here"
    return refuse("TSLG-A-EDGES", record, detail, "write them as the manifest's `edges` says")


def _unheld(record: Record, name: str, edge: Edge, context: Context) -> Refusal | None:
    """Judge an edge whose record is not at hand: by what the edge itself says, and whether it must be at hand."""
    where = KINDS[record.kind].leads[name]
    wrong = None if where is None else _wrong_log(name, edge, where)
    if wrong:
        return refuse("TSLG-A-EDGE-KIND", record, wrong)
    if edge.agent is not None and edge.agent == record.agent:
        return refuse("TSLG-A-EDGE-OWNER", record, f"its {name} {cid.short(edge.cid)} names its own agent as another")
    if context.complete and (edge.agent is None or _must_resolve(record, name)):
        mend = "fetch and admit that record first"
        return refuse("TSLG-A-RESOLVE", record, f"its {name} {cid.short(edge.cid)} is not held here", mend)
    return None


def _must_resolve(record: Record, name: str) -> bool:
    return name in KINDS[record.kind].mandatory or name in _RESOLVED


def _wrong_log(name: str, edge: Edge, where: Leads) -> str | None:
    if where.log is None or (where.log == OWN) == (edge.agent is None):
        return None
    if name == "delegation":
        return "a delegation comes from another agent"
    return f"its {name} {cid.short(edge.cid)} lies in another log; it leads to the agent's own"


def _wrong_kind(name: str, edge: Edge, cited: Record, where: Leads) -> str | None:
    if where.kinds is not None and cited.kind not in where.kinds:
        return f"its {name} {cid.short(edge.cid)} is a {cited.kind}"
    if where.field is not None and where.field not in cited.body:
        return f"its {name} {cid.short(edge.cid)} is a {cited.kind} without `{where.field}`"
    return None


def rule_cross_agent(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Edges into other agents' logs keep to the manifest's X_admit."""
    manifest = manifest_in_force(record, context)
    if manifest is None or manifest.envelope.cross_agent is None:
        return None
    kinds, peers = manifest.envelope.cross_agent
    for edge in record.edges():
        if edge.agent is None or edge.agent == context.federation:
            continue
        cited = context.record(edge.cid)
        if cited is not None and cited.kind not in kinds:
            detail = f"it cites another agent's {cited.kind}; X_admit allows {sorted(kinds)}"
            return refuse("TSLG-A-CROSS-AGENT", record, detail)
        if peers is not None and not _is_peer(edge.agent, peers, context):
            detail = f"it cites a record of {cid.short(edge.agent)}, which is not in the peer set {cid.short(peers)}"
            return refuse("TSLG-A-CROSS-AGENT", record, detail, "have the anchors take that agent into the peer set")
    return None


def _is_peer(agent: Link, peers: Link, context: Context) -> bool:
    """Whether an agent is in the peer set. A walk that lacks the set judges nothing that rests on its manifest."""
    held = context.record(peers)
    if held is None:
        return not context.complete
    members: list[Link] = held.body["members"]
    at = bisect_left(members, agent)
    return at < len(members) and members[at] == agent
