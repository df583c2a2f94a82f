"""Rules of keys and seals: who may speak for a record, and that they did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tslg.protocol.chains import JOINT
from tslg.protocol.codec import Link
from tslg.protocol.errors import RecordError, Refusal, SealError
from tslg.protocol.jointly import attesting, attests
from tslg.protocol.jointly import fault as jointly_fault
from tslg.protocol.keys import KEY_EVENTS, Key, key_of
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, manifest_in_force, refuse
from tslg.protocol.rules.joint import joint_fault
from tslg.protocol.seal import Seal, Signature, to_be_signed
from tslg.protocol.seal import parse as parse_seal
from tslg.protocol.signatures import Alg


def rule_key(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """`key` names a key registered earlier in the same log; first records, federation logs and recoveries name none."""
    if record.agent is None or record.agent == context.federation:
        if record.key is None:
            return None
        return refuse("TSLG-A-KEY", record, "a first record or a federation's record names no key")
    if record.key is None:
        return None if _recovers(record, context) else refuse("TSLG-A-KEY", record, "it names no key")
    key = context.key(record.key)
    if key is None:
        return refuse("TSLG-A-KEY", record, "the key it names is not registered here", "fetch the registration first")
    if key.owner != record.agent or key.seq >= record.seq:
        return refuse("TSLG-A-KEY", record, "the key it names is another agent's, or registered later")
    return None


def _recovers(record: Record, context: Context) -> bool:
    """Whether this registers a key in the place of lost ones, for which the anchors answer."""
    manifest = manifest_in_force(record, context)
    if manifest is None or not manifest.envelope.rotation.recovery:
        return False
    return record.kind == "registration" and record.body["purpose"] == "signing"


def fits(key: Key, manifest: Manifest) -> bool:
    """Tell whether a key is what a manifest asks of agents' keys: of its algorithms, and bound to hardware or not."""
    return _of_suite(key, manifest) and (key.hardware or not _needs_hardware(manifest))


def _of_suite(key: Key, manifest: Manifest) -> bool:
    envelope = manifest.envelope
    return key.alg in envelope.signatures and (key.post_quantum is not None or not envelope.post_quantum)


def _needs_hardware(manifest: Manifest) -> bool:
    hardware = manifest.envelope.rotation.hardware
    return hardware is not None and hardware.required


def rule_suite(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The key is what the manifest asks of keys, unless the record registers one that is."""
    manifest = manifest_in_force(record, context)
    key = None if record.key is None else context.key(record.key)
    if manifest is None or key is None or fits(key, manifest):
        return None
    if record.kind == "registration" and record.body["purpose"] == "signing":
        return None
    wrong = "bound to hardware" if _of_suite(key, manifest) else "of the algorithms"
    detail = f"the key that it names is not {wrong} that its manifest asks for"
    return refuse("TSLG-A-SUITE", record, detail, "register a key that is, with `tslg agent rotate`")


def rule_seal(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The seal holds the signatures that the record's place demands, and no others."""
    try:
        parsed = parse_seal(seal)
    except SealError as error:
        return refuse("TSLG-A-SEAL", record, error.detail)
    wrong = _seal_fault(record, parsed, context)
    return refuse("TSLG-A-SEAL", record, wrong, "fetch the record and its seal from its author") if wrong else None


def rule_amender(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The old anchors sealed an amendment, which is cheap to find out before the proofs of new ones are checked."""
    if record.kind != "manifest-amendment":
        return None
    try:
        wrong = _amender_fault(record, parse_seal(seal), context)
    except SealError as error:
        wrong = error.detail
    return refuse("TSLG-A-SEAL", record, wrong, "fetch the record and its seal from its author") if wrong else None


def _amender_fault(record: Record, seal: Seal, context: Context) -> str | None:
    amended, entries = record.preds.get("amends"), seal.signatures
    old = None if amended is None else context.manifest(amended[0].cid)
    if old is None or not seal.many or len(entries) != 2:
        return "an amendment is sealed by the old and by the new anchors"
    return _anchors_fault(record, entries[0], old, old.id, True)


def _seal_fault(record: Record, seal: Seal, context: Context) -> str | None:
    entries = seal.signatures
    if record.kind == "manifest-amendment":
        return _amendment_fault(record, seal, context)
    if record.owner == context.federation:
        manifest = Manifest.from_record(record) if record.agent is None else manifest_in_force(record, context)
        if manifest is None or seal.many or len(entries) != 1:
            return "a federation's record has one seal, by its anchors"
        return _anchors_fault(record, entries[0], manifest, manifest.id, False)
    return _agent_fault(record, seal, context)


def _amendment_fault(record: Record, seal: Seal, context: Context) -> str | None:
    """Judge the seal of an amendment, which may have passed no other rule yet.

    The old anchors' entry comes first: a stranger cannot make it, while keys that cost more to read are soon made up.
    """
    fault = _amender_fault(record, seal, context)
    if fault is not None:
        return fault
    try:
        new = Manifest.from_record(record)
    except RecordError as error:
        return error.detail
    return _anchors_fault(record, seal.signatures[1], new, record.id, True)


class Seat(NamedTuple):
    """A place in an agent's seal: the record that holds the key, and either algorithm and key, or the anchors."""

    kid: Link
    alg: int
    public: bytes
    anchors: Manifest | None = None


def _agent_fault(record: Record, seal: Seal, context: Context) -> str | None:
    manifest = manifest_in_force(record, context)
    if manifest is None and record.kind in KEY_EVENTS:
        return "the manifest is not at hand"
    key = key_of(record) if record.key is None else context.key(record.key)
    if key is None:
        return "the key is not at hand"
    wanted = seats(record, key, manifest) if manifest is not None else [Seat(key.record, key.alg, key.public)]
    federations = attesting(record)
    if federations:
        return _attested_fault(record, seal, wanted, federations, context)
    joint = record.kind == JOINT
    many = joint or len(wanted) > 1
    if seal.many != many or (len(seal.signatures) < len(wanted) if joint else len(seal.signatures) != len(wanted)):
        return _wanted(record, wanted)
    for seat, entry in zip(wanted, seal.signatures, strict=not joint):
        fault = (
            _signature_fault(record, entry, seat, many, context)
            if seat.anchors is None
            else _anchors_fault(record, entry, seat.anchors, seat.kid, many)
        )
        if fault:
            return fault
    return joint_fault(record, seal.signatures[len(wanted) :], context) if joint else None


def _attested_fault(
    record: Record, seal: Seal, wanted: Sequence[Seat], federations: Sequence[Link], context: Context
) -> str | None:
    """Judge the seal of a genesis that several federations attest; the others' as far as their manifests are known."""
    own = [seat for seat in wanted if seat.anchors is None]
    manifest = manifest_in_force(record, context)
    entries = seal.signatures
    if manifest is None or len(entries) != len(own) + len(federations) or context.federation not in federations:
        return "a genesis that several federations attest is sealed by the agent and by the anchors of each of them"
    for seat, entry in zip(own, entries, strict=False):
        fault = _signature_fault(record, entry, seat, True, context)
        if fault:
            return fault
    for federation, entry in zip(federations, entries[len(own) :], strict=True):
        if federation == context.federation:
            fault = _anchors_fault(record, entry, manifest, manifest.id, True)
        else:
            known = context.manifest(Link(entry.kid))
            fault = jointly_fault(entry)
            if fault is None and known is not None and not attests(record, entry, known, federation):
                fault = "not sealed by the anchors of another federation that it lists"
        if fault:
            return fault
    return None


def seats(record: Record, key: Key, manifest: Manifest) -> list[Seat]:
    """Return whose signatures an agent's record bears, in order: its key's, its post-quantum key's and the anchors'.

    Args:
        record: a record of an agent's log.
        key: the key that it names; the one that it registers if it names none.
        manifest: the manifest version in force.
    """
    envelope = manifest.envelope
    found = [Seat(key.record, key.alg, key.public)]
    if envelope.post_quantum:
        # A registration may be what brings the post-quantum half; its own then shows that the agent holds it.
        holder = key if key.post_quantum is not None else key_of(record)
        if holder is not None and holder.post_quantum is not None:
            found.append(Seat(holder.record, Alg.ML_DSA_65, holder.post_quantum))
    if _co_signed(record, manifest):
        found.append(Seat(manifest.id, manifest.anchors.scheme, b"", manifest))
    return found


def _co_signed(record: Record, manifest: Manifest) -> bool:
    """Whether the anchors seal an agent's record too."""
    if record.kind == "genesis":
        return manifest.envelope.genesis_anchors > 0 or bool(attesting(record))
    if record.kind not in KEY_EVENTS or not manifest.envelope.rotation.anchors:
        return False
    return record.kind == "revocation" or record.body["purpose"] == "signing"


def _wanted(record: Record, wanted: list[Seat]) -> str:
    if record.kind == "genesis":
        last = " and the anchors" if wanted[-1].anchors is not None else " alone" if len(wanted) == 1 else ""
        beside = ", its post-quantum key" if any(seat.alg == Alg.ML_DSA_65 for seat in wanted) else ""
        return f"the manifest asks for a genesis sealed by the agent{beside}{last}"
    if record.kind == JOINT:
        return "a joint authorisation has the signatures of its author, and those of its signers"
    if len(wanted) == 1:
        return "an agent's record has one signature"
    others = ["the anchors" if seat.anchors is not None else "its post-quantum key" for seat in wanted[1:]]
    return f"the manifest asks for a seal by the agent's key and {' and '.join(others)}"


def _signature_fault(record: Record, entry: Signature, seat: Seat, many: bool, context: Context) -> str | None:
    if entry.alg != seat.alg or entry.kid != seat.kid or entry.bitmap is not None:
        return "the seal names another key or algorithm than the record"
    if context.signature_holds(seat.alg, seat.public, to_be_signed(record.data, seat.alg, many=many), entry.value):
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
