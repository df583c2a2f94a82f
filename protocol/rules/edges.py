"""Rules of the edges: that each leads where it says, and may lead there."""

from __future__ import annotations

from tslg.protocol import cid
from tslg.protocol.errors import Refusal
from tslg.protocol.kinds import KINDS
from tslg.protocol.record import Edge, Record
from tslg.protocol.rules.context import MANIFEST_KINDS, Context, manifest_in_force, refuse


def rule_edges(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Every edge leads where it says: to an earlier record of this log, or into the named other agent's log."""
    owner, seq, find = record.agent, record.seq, context.record
    for name, edges in record.preds.items():
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
            if name != "evidence":
                wrong = _wrong_log(name, edge) or _wrong_kind(name, edge, cited)
                if wrong:
                    return refuse("TSLG-A-EDGE-KIND", record, wrong)
    return None


def _unheld(record: Record, name: str, edge: Edge, context: Context) -> Refusal | None:
    """Judge an edge whose record is not at hand: by what the edge itself says, and whether it must be at hand."""
    wrong = _wrong_log(name, edge)
    if wrong:
        return refuse("TSLG-A-EDGE-KIND", record, wrong)
    if edge.agent is not None and edge.agent == record.agent:
        return refuse("TSLG-A-EDGE-OWNER", record, f"its {name} {cid.short(edge.cid)} names its own agent as another")
    if context.complete and (edge.agent is None or _must_resolve(record, name)):
        mend = "fetch and admit that record first"
        return refuse("TSLG-A-RESOLVE", record, f"its {name} {cid.short(edge.cid)} is not held here", mend)
    return None


def _must_resolve(record: Record, name: str) -> bool:
    return name in KINDS[record.kind].mandatory or name in ("policy", "delegation")


def _wrong_log(name: str, edge: Edge) -> str | None:
    if name == "prior" and edge.agent is not None:
        return "a prior state lies in the agent's own log"
    if name == "delegation" and edge.agent is None:
        return "a delegation comes from another agent"
    return None


def _wrong_kind(name: str, edge: Edge, cited: Record) -> str | None:
    if name in ("policy", "delegation") and cited.kind != name:
        return f"its {name} {cid.short(edge.cid)} is a {cited.kind}"
    if name == "amends" and cited.kind not in MANIFEST_KINDS:
        return f"it amends a {cited.kind}"
    return None


def rule_cross_agent(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Edges into other agents' logs keep to the manifest's X_admit."""
    manifest = manifest_in_force(record, context)
    if manifest is None or manifest.envelope.cross_agent is None:
        return None
    kinds = manifest.envelope.cross_agent.kinds
    for edge in record.edges():
        if edge.agent is None or edge.agent == context.federation:
            continue
        cited = context.record(edge.cid)
        if cited is not None and cited.kind not in kinds:
            detail = f"it cites another agent's {cited.kind}; X_admit allows {sorted(kinds)}"
            return refuse("TSLG-A-CROSS-AGENT", record, detail)
    return None
