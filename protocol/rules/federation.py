"""Rules of a federation's own records: what its manifest versions may name, and how long they are in force."""

from __future__ import annotations

from tslg.protocol import cid
from tslg.protocol.chains import named_records
from tslg.protocol.errors import Refusal
from tslg.protocol.record import Record
from tslg.protocol.rules.context import MANIFEST_KINDS, Context, manifest_in_force, refuse


def rule_envelope(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """What an envelope names is an earlier record of the federation's own log, and of the kind that the entry needs."""
    if record.kind not in MANIFEST_KINDS:
        return None
    for entry, kind, id in named_records(record.body["envelope"]):
        if record.kind == "manifest":
            mend = f"leave it out, record the {kind}, then amend the manifest"
            return refuse("TSLG-A-ENVELOPE", record, f"`{entry}` names a record; none is before a root manifest", mend)
        held = context.record(id)
        if held is None:
            if context.complete:
                detail = f"`{entry}` names {cid.short(id)}, which is not held here"
                return refuse("TSLG-A-ENVELOPE", record, detail, f"admit that {kind} first")
            continue
        if held.kind != kind or held.owner != record.owner or held.seq >= record.seq:
            detail = f"`{entry}` names {cid.short(id)}, which is no earlier {kind} of this federation's log"
            return refuse("TSLG-A-ENVELOPE", record, detail, f"name a {kind} of the federation's log")
    return None


def rule_expiry(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Nothing is made under a manifest version that has expired but its amendment, which must not be born expired."""
    if record.kind == "manifest-amendment":
        expires = record.body.get("expires")
    else:
        manifest = manifest_in_force(record, context)
        expires = None if manifest is None else manifest.expires
    if expires is None or record.time <= expires:
        return None
    detail = f"its time {record.time} is after the manifest version expired, at {expires}"
    return refuse("TSLG-A-MANIFEST-EXPIRED", record, detail, "have the anchors amend the manifest")
