"""Rules of the edges: that each leads where it says, and may lead there."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from tslg.protocol import cid
from tslg.protocol.classes import FLAT, OWN, Leads
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.flat import Recovered
from tslg.protocol.kinds import KINDS
from tslg.protocol.record import Edge, Record
from tslg.protocol.rules.context import Context, manifest_in_force, refuse

_RESOLVED: Final = frozenset(("policy", "delegation", "consensus", "joint", FLAT))
"""Classes that confer authority: what they lead to must be at hand at admission whatever the kind."""


def _within(where: Leads | None) -> frozenset[str]:
    """Return the kinds to which an edge may lead inside its own log, as far as kinds alone decide."""
    if where is None or where == Leads(OWN):
        return frozenset(KINDS)
    return frozenset() if where.log is not None or where.field is not None else where.kinds or frozenset(KINDS)


_WITHIN: Final = {kind.name: {name: _within(where) for name, where in kind.leads.items()} for kind in KINDS.values()}
"""Nearly every edge leads to an earlier record of its own log, of a kind that stands here; it needs no second look."""


def rule_edges(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Every edge leads where it says: to an earlier record of this log, or into the named other agent's log."""
    owner, seq, find, within = record[3], record[4], context.record, _WITHIN[record[2]]
    for name, edges in record[10].items():
        kinds = within[name]
        for edge in edges:
            cited = find(edge[0])
            if cited is None:
                refusal = _unheld(record, name, edge, context)
            elif edge[1] is None and cited[12] == owner and cited[4] < seq and cited[2] in kinds:
                continue
            else:
                refusal = _held(record, name, edge, cited)
            if refusal is not None:
                return refusal
    return None


def _held(record: Record, name: str, edge: Edge, cited: Record) -> Refusal | None:
    """Judge an edge whose record is at hand."""
    agent = edge[1]
    if agent is None:
        if cited[12] != record[3]:
            return refuse("TSLG-A-EDGE-OWNER", record, f"its {name} {cid.short(edge.cid)} is another agent's record")
        if cited[4] >= record[4]:
            return refuse("TSLG-A-EDGE-ORDER", record, f"its {name} {cid.short(edge.cid)} is not earlier in the log")
    elif cited[12] != agent or agent == record[3]:
        return refuse("TSLG-A-EDGE-OWNER", record, f"its {name} {cid.short(edge.cid)} is not of the agent it names")
    where = KINDS[record[2]].leads[name]
    wrong = None if where is None else _wrong_log(name, edge, where) or _wrong_kind(name, edge, cited, where)
    return refuse("TSLG-A-EDGE-KIND", record, wrong) if wrong else None


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
