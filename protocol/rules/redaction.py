"""The rule of redactions: who may have fields and blobs of which records destroyed."""

from __future__ import annotations

from tslg.protocol.errors import Refusal
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, manifest_in_force, refuse


def rule_redaction(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A redaction comes from whom the manifest lets redact, cites its target, and names what that can do without."""
    if record.kind != "redaction":
        return None
    target, fields = record.body["target"], record.body["fields"]
    edge = next((edge for edge in record.preds.get("evidence", ()) if edge.cid == target), None)
    if edge is None:
        return refuse("TSLG-A-REDACTION", record, "its target is not among its evidence", "cite the target as evidence")
    if not fields and not record.body["blobs"]:
        return refuse("TSLG-A-REDACTION", record, "it names nothing that is destroyed", "name fields or blobs")
    manifest = manifest_in_force(record, context)
    allowed = None if manifest is None else manifest.envelope.redaction
    if allowed is not None and allowed.by == "anchors":
        if record.owner != context.federation:
            return refuse("TSLG-A-REDACTION", record, "only the federation's anchors redact")
    elif edge.agent is not None:
        return refuse("TSLG-A-REDACTION", record, "only its author redacts a record", "ask the author to redact it")
    cited = context.record(target)
    if cited is None:
        return None
    if edge.agent is None and cited.owner != record.owner:
        # Said here too, since nothing may be destroyed on the word of an edge that nobody looked at.
        return refuse("TSLG-A-REDACTION", record, "its target lies in another log than it says")
    if allowed is not None and cited.kind not in allowed.kinds:
        return refuse("TSLG-A-REDACTION", record, f"the manifest does not allow to redact a {cited.kind}")
    least = None if manifest is None else manifest.envelope.retention.get(cited.kind)
    if least is not None and cited.time + least > record.time:
        detail = f"a {cited.kind} must be kept whole for {least} ms, and this one is {record.time - cited.time} ms old"
        return refuse("TSLG-A-REDACTION", record, detail, "redact it later")
    names = () if cited.commitment is None else cited.commitment.names
    stated = sorted(set(fields) - set(names))
    if stated:
        return refuse("TSLG-A-REDACTION", record, f"its target does not commit to {', '.join(stated)[:200]}")
    return None
