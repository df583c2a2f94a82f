"""Rules of one record: its place, its classes, its manifest, its size and its time."""

from __future__ import annotations

from tslg.protocol import cid
from tslg.protocol.errors import Refusal
from tslg.protocol.kinds import KINDS
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, manifest_in_force, refuse


def rule_issuer(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A record lies in the log of an agent or of this federation, as its kind says."""
    issuer = KINDS[record.kind].issuer
    place = "federation" if record.owner == context.federation else "agent"
    if place in issuer:
        return None
    if record.kind == "manifest":
        return refuse("TSLG-A-ISSUER", record, "the root manifest of another federation", "pin the right federation id")
    return refuse("TSLG-A-ISSUER", record, f"a {record.kind} does not belong into the log of a {place}")


def rule_classes(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Mandatory classes are there, forbidden ones are not."""
    kind = KINDS[record.kind]
    classes = record.preds.keys()
    if kind.mandatory <= classes and classes <= kind.allowed:
        return None
    missing = sorted(kind.mandatory - classes)
    if missing:
        mend = "cite " + " and ".join(f"at least one {name}" for name in missing)
        return refuse("TSLG-A-CLASSES", record, f"a {record.kind} without {' and '.join(missing)}", mend)
    return refuse("TSLG-A-CLASSES", record, f"a {record.kind} may not have {sorted(classes - kind.allowed)}")


def rule_manifest(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The manifest version named resolves and belongs to this federation."""
    manifest = manifest_in_force(record, context)
    if manifest is None:
        return refuse(
            "TSLG-A-MANIFEST", record, "its manifest is not known here", "fetch the federation's manifest first"
        )
    if manifest.federation != context.federation:
        return refuse("TSLG-A-MANIFEST", record, "its manifest belongs to another federation")
    return None


def rule_hash(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The id uses the manifest's hash."""
    manifest = manifest_in_force(record, context)
    if manifest is None:
        return None
    # A federation's own id stays plain, for whoever pins it before knowing the manifest.
    ids = manifest.envelope.hash if record.kind == "manifest" else manifest.envelope.ids
    if cid.hash_name(record.id) == ids:
        return None
    return refuse("TSLG-A-HASH", record, f"its id uses {cid.hash_name(record.id)}, not {ids}")


def rule_address(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Fields stand in plain or are committed to, as the manifest's address scheme says."""
    manifest = manifest_in_force(record, context)
    if manifest is None:
        return None
    address = manifest.envelope.address
    commits = address == "merkle" and bool(KINDS[record.kind].committed)
    if commits == (record.commitment is not None):
        return None
    mend = "commit to its fields" if commits else "put its fields into the body"
    return refuse("TSLG-A-ADDRESS", record, f"not a {record.kind} under the address scheme {address}", mend)


def rule_fan_in(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The number of edges lies within the manifest's bounds; a log's first record has none."""
    manifest = manifest_in_force(record, context)
    if manifest is None or KINDS[record.kind].first:
        return None
    low, high = manifest.envelope.fan_in_min, manifest.envelope.fan_in_max
    count = sum(map(len, record.preds.values()))
    if low <= count <= high:
        return None
    return refuse("TSLG-A-FAN-IN", record, f"{count} edges, the manifest allows {low} to {high}")


def rule_clock(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The claimed time is not ahead of the reader's clock by more than the manifest's skew."""
    if record.time <= context.now_ms:
        return None
    manifest = manifest_in_force(record, context)
    skew = manifest.envelope.clock_skew_ms if manifest is not None else DEFAULT.clock_skew_ms
    if record.time <= context.now_ms + skew:
        return None
    ahead = record.time - context.now_ms
    return refuse("TSLG-A-CLOCK", record, f"its time is {ahead} ms ahead, {skew} are allowed", "set the clocks right")
