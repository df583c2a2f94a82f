"""Rules of keys and seals: who may speak for a record, and that they did."""

from __future__ import annotations

from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal, SealError
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, manifest_in_force, refuse
from tslg.protocol.seal import Seal, Signature, to_be_signed
from tslg.protocol.seal import parse as parse_seal


def rule_key(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """`key` names a key registered earlier in the same log; first records and federation logs name none."""
    if record.agent is None or record.agent == context.federation:
        if record.key is None:
            return None
        return refuse("TSLG-A-KEY", record, "a first record or a federation's record names no key")
    if record.key is None:
        return refuse("TSLG-A-KEY", record, "it names no key")
    key = context.key(record.key)
    if key is None:
        return refuse("TSLG-A-KEY", record, "the key it names is not registered here", "fetch the registration first")
    if key.owner != record.agent or key.seq >= record.seq:
        return refuse("TSLG-A-KEY", record, "the key it names is another agent's, or registered later")
    return None


def rule_seal(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The seal holds the signatures that the record's place demands, and no others."""
    try:
        parsed = parse_seal(seal)
    except SealError as error:
        return refuse("TSLG-A-SEAL", record, error.detail)
    wrong = _seal_fault(record, parsed, context)
    return refuse("TSLG-A-SEAL", record, wrong, "fetch the record and its seal from its author") if wrong else None


def _seal_fault(record: Record, seal: Seal, context: Context) -> str | None:
    entries = seal.signatures
    if record.kind == "manifest-amendment":
        old, new = context.manifest(record.preds["amends"][0].cid), Manifest.from_record(record)
        if old is None or not seal.many or len(entries) != 2:
            return "an amendment is sealed by the old and by the new anchors"
        return _anchors_fault(record, entries[0], old, old.id, True) or _anchors_fault(
            record, entries[1], new, record.id, True
        )
    if record.owner == context.federation:
        manifest = Manifest.from_record(record) if record.agent is None else manifest_in_force(record, context)
        if manifest is None or seal.many or len(entries) != 1:
            return "a federation's record has one seal, by its anchors"
        return _anchors_fault(record, entries[0], manifest, manifest.id, False)
    if record.kind == "genesis":
        return _genesis_fault(record, seal, context)
    if seal.many or len(entries) != 1:
        return "an agent's record has one signature"
    key = context.key(record.key) if record.key is not None else None
    if key is None:
        return "the key is not at hand"
    return _signature_fault(record, entries[0], key.alg, key.public, key.record, False, context)


def _genesis_fault(record: Record, seal: Seal, context: Context) -> str | None:
    manifest = manifest_in_force(record, context)
    if manifest is None:
        return "the manifest is not at hand"
    attested = manifest.envelope.genesis_anchors > 0
    entries = seal.signatures
    if seal.many != attested or len(entries) != (2 if attested else 1):
        return "the manifest asks for a genesis sealed by the agent" + (" and the anchors" if attested else " alone")
    body = record.body
    fault = _signature_fault(record, entries[0], body["alg"], body["key"], record.id, attested, context)
    if fault or not attested:
        return fault
    return _anchors_fault(record, entries[1], manifest, manifest.id, True)


def _signature_fault(
    record: Record, entry: Signature, alg: int, public: bytes, kid: Link, many: bool, context: Context
) -> str | None:
    if entry.alg != alg or entry.kid != kid or entry.bitmap is not None:
        return "the seal names another key or algorithm than the record"
    if context.signature_holds(alg, public, to_be_signed(record.data, alg, many=many), entry.value):
        return None
    return "the signature does not verify under the agent's key"


def _anchors_fault(record: Record, entry: Signature, manifest: Manifest, kid: Link, many: bool) -> str | None:
    anchors = manifest.anchors
    if entry.alg != anchors.scheme or entry.kid != kid:
        return "the seal names other anchors or another scheme than the manifest"
    message = to_be_signed(record.data, entry.alg, many=many)
    if anchors.verify(message, entry.value, entry.bitmap):
        return None
    return f"not sealed by {anchors.threshold} of the {len(anchors.members)} anchors"
