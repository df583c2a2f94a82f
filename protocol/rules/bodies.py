"""Rules of bodies that mean something to the graph: keys, manifests, verifications."""

from __future__ import annotations

from typing import Any

from tslg.protocol import attestation, signatures
from tslg.protocol.errors import RecordError, Refusal
from tslg.protocol.keys import KEY_KINDS
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.rules.context import MANIFEST_KINDS, Context, manifest_in_force, refuse
from tslg.protocol.signatures import Alg


def rule_registration(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """Keys are of a kind the manifest allows and well-formed; a peer registration names a peer and where it is."""
    if record.kind not in ("genesis", "registration"):
        return None
    body = record.body
    if body.get("purpose") == "peer":
        if body.keys() == {"purpose", "peer_id", "addresses"} and 0 < len(body["peer_id"]) <= 64:
            return None
        return refuse("TSLG-A-REGISTRATION", record, "a peer registration holds `peer_id` and `addresses` alone")
    if not {"alg", "key", "binding"} <= body.keys() or "peer_id" in body or "addresses" in body:
        return refuse("TSLG-A-REGISTRATION", record, "a signing key is registered by `alg`, `key` and `binding`")
    manifest = manifest_in_force(record, context)
    wrong = _pair_fault(body.get("post_quantum"), manifest)
    if wrong:
        return refuse("TSLG-A-REGISTRATION", record, wrong, "make the key anew, as the manifest asks")
    if manifest is not None and body["alg"] not in manifest.envelope.signatures:
        return refuse("TSLG-A-REGISTRATION", record, f"algorithm {body['alg']} is not allowed by the manifest")
    if not signatures.check_public_key(body["alg"], body["key"]):
        return refuse(
            "TSLG-A-REGISTRATION", record, "the public key is not one that may be trusted", "generate a fresh key"
        )
    if context.federation not in body.get("federations", (context.federation,)):
        return refuse("TSLG-A-REGISTRATION", record, "a genesis for other federations")
    return None


def _pair_fault(pair: dict[str, Any] | None, manifest: Manifest | None) -> str | None:
    """Tell what is wrong with the post-quantum half of a key, which is there where the manifest asks for it."""
    if manifest is not None and manifest.envelope.post_quantum is (pair is None):
        return "the manifest asks for " + ("a post-quantum key beside it" if pair is None else "no post-quantum key")
    if pair is None or (pair["alg"] == Alg.ML_DSA_65 and signatures.check_public_key(Alg.ML_DSA_65, pair["key"])):
        return None
    return "`post_quantum` holds no ML-DSA-65 key"


def rule_attestation(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A key is bound to hardware where its attestation says so; where the manifest names none, no key claims to be."""
    if record.kind not in ("genesis", "registration") or "binding" not in record.body:
        return None
    manifest = manifest_in_force(record, context)
    if manifest is None:
        return None
    wrong = attestation.fault(record.body, manifest.envelope.rotation.hardware, record.time)
    if wrong is None:
        return None
    return refuse("TSLG-A-ATTESTATION", record, wrong, "attest the key anew, by what the manifest names")


def rule_revocation(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A revocation ends a key or a peer of its own log, from its own position or later: nothing earlier dies."""
    if record.kind != "revocation":
        return None
    body = record.body
    ended = context.record(body["key"])
    if ended is None or ended.kind not in KEY_KINDS:
        if context.complete or ended is not None:
            return refuse("TSLG-A-REVOCATION", record, "the key that it ends is not registered here")
        return None
    if ended.owner != record.agent or ended.seq >= record.seq:
        return refuse("TSLG-A-REVOCATION", record, "the key that it ends is another agent's, or registered later")
    if body["from_seq"] < record.seq:
        detail = f"it ends a key from position {body['from_seq']}, before its own {record.seq}"
        return refuse("TSLG-A-REVOCATION", record, detail, "end it from the revocation's own position or later")
    if body["key"] == record.key and body["from_seq"] == record.seq:
        mend = "end it from the next position, or seal with a key that remains"
        return refuse("TSLG-A-REVOCATION", record, "it ends the key that seals it, from its own position", mend)
    return None


def rule_target(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A verification cites the record that it is about as evidence."""
    if record.kind != "verification":
        return None
    if any(edge.cid == record.body["target"] for edge in record.preds.get("evidence", ())):
        return None
    return refuse("TSLG-A-TARGET", record, "its target is not among its evidence")


def rule_anchors(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A manifest can be enforced here, its anchors hold their keys, and an amendment is the next version."""
    if record.kind not in MANIFEST_KINDS:
        return None
    try:
        manifest = Manifest.from_record(record)
    except RecordError as error:
        return refuse("TSLG-A-ANCHORS", record, error.detail)
    if not manifest.anchors_hold():
        return refuse("TSLG-A-ANCHORS", record, "an anchor's proof of possession or share does not hold")
    if record.kind == "manifest":
        return None if manifest.version == 1 else refuse("TSLG-A-VERSION", record, "a root manifest is version 1")
    amended = record.preds["amends"]
    previous = context.manifest(amended[0].cid) if len(amended) == 1 else None
    if previous is None or record.manifest != previous.id:
        return refuse("TSLG-A-VERSION", record, "an amendment amends the one version it is made under")
    if manifest.version != previous.version + 1:
        return refuse("TSLG-A-VERSION", record, f"version {manifest.version} after {previous.version}")
    return None
