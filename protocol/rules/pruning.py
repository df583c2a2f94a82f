"""Rules of pruning and summaries: who may let which bytes go, and that a commitment keeps what they were."""

from __future__ import annotations

from tslg.protocol import cid
from tslg.protocol.commitment import set_root, stretch_root
from tslg.protocol.errors import Refusal
from tslg.protocol.kinds import PRUNABLE
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, manifest_in_force, refuse


def rule_gc_policy(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A gc policy lets go only of kinds that no other record needs in order to be judged."""
    if record.kind != "gc-policy":
        return None
    named = {*record.body["kinds"], *record.body.get("summarised", ())}
    kept = sorted(named - PRUNABLE)
    if not kept:
        return None
    mend = f"name some of {', '.join(sorted(PRUNABLE))}"
    return refuse("TSLG-A-PRUNE", record, f"a gc policy may not let go of {', '.join(kept)}", mend)


def rule_prune(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """It lets go of records behind the horizon of the gc policy in force, and commits to their ids."""
    if record.kind != "prune":
        return None
    manifest = manifest_in_force(record, context)
    if manifest is None:
        return None
    policies = record.preds["policy"]
    if len(policies) != 1 or policies[0].cid != manifest.envelope.gc:
        detail = "it is not done under the gc policy of its manifest"
        return refuse("TSLG-A-PRUNE", record, detail, "have the anchors record a gc policy, and cite that one alone")
    body = record.body
    if not 0 < body["count"] < body["before"] <= record.seq:
        detail = f"{body['count']} records before position {body['before']} of a log that is at {record.seq}"
        return refuse("TSLG-A-PRUNE", record, detail, "let go of earlier records, and not of the last one of them")
    return _horizon(record, context) or _committed(record, context)


def _horizon(record: Record, context: Context) -> Refusal | None:
    """Times never go back in a log, so the last record before the position stands for all of them."""
    edges = record.preds["evidence"]
    last = context.record(edges[0].cid)
    policy = context.record(record.preds["policy"][0].cid)
    if len(edges) != 1 or (last is not None and (last.owner, last.seq + 1) != (record.owner, record.body["before"])):
        detail = f"its evidence is not the record at position {record.body['before'] - 1} of its log alone"
        return refuse("TSLG-A-PRUNE", record, detail, "cite the last record before `before`")
    if last is None or policy is None or policy.kind != "gc-policy":
        return None
    horizon = policy.body["horizon_ms"]
    if last.time + horizon <= record.time:
        return None
    detail = f"{cid.short(last.id)} is {record.time - last.time} ms old, the horizon is {horizon}"
    return refuse("TSLG-A-PRUNE", record, detail, "let go of older records")


def _committed(record: Record, context: Context) -> Refusal | None:
    """Hold the commitment against the records it stands for, where they are at hand: at whoever prunes them."""
    pruned = context.pruned(record.body["root"])
    policy = context.record(record.preds["policy"][0].cid)
    manifest = manifest_in_force(record, context)
    if pruned is None or policy is None or manifest is None or policy.kind != "gc-policy":
        return None
    if len(pruned.ids) != record.body["count"] or set_root(pruned.ids) != record.body["root"]:
        return refuse("TSLG-A-PRUNE", record, "`count` or `root` is not that of the records", "commit to their ids")
    if pruned.last >= record.body["before"] - 1:
        return refuse("TSLG-A-PRUNE", record, f"position {pruned.last} is not before the last record that is kept")
    allowed = {*policy.body["kinds"], *policy.body.get("summarised", ())}
    for kind, newest in sorted(pruned.newest.items()):
        if kind not in allowed:
            return refuse("TSLG-A-PRUNE", record, f"the gc policy does not let go of {kind} records")
        least = manifest.envelope.retention.get(kind, 0)
        if newest + least > record.time:
            detail = f"a {kind} must be kept for {least} ms, and one is {record.time - newest} ms old"
            return refuse("TSLG-A-PRUNE", record, detail, "let go of older records")
    return None


def rule_summary(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A summary commits to a stretch of its own log, and cites records of that stretch as its parts."""
    if record.kind != "summary":
        return None
    first, last = record.body["first"], record.body["last"]
    if not first <= last < record.seq:
        detail = f"positions {first} to {last} are no stretch of a log that is at {record.seq}"
        return refuse("TSLG-A-SUMMARY", record, detail, "sum up earlier records")
    for edge in record.preds["part"]:
        part = context.record(edge.cid)
        if edge.agent is not None or (part is not None and not (first <= part.seq <= last)):
            detail = f"its part {cid.short(edge.cid)} does not lie in positions {first} to {last} of its log"
            return refuse("TSLG-A-SUMMARY", record, detail, "cite records of the stretch")
    ids = context.stretch(record.owner, first, last)
    if ids is not None and stretch_root(ids) != record.body["root"]:
        return refuse("TSLG-A-SUMMARY", record, "`root` is not that of the stretch", "commit to the ids in its log")
    return None
