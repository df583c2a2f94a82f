"""Records that bind a key to hardware without showing it: each breaks the rule of attestations and no other."""

from __future__ import annotations

from breach import breaks
from enclave import HOUR, LEFT_OUT, PCRS, document, entry, evidence, fields, toml

from tslg.protocol.attestation import key_digest
from tslg.protocol.rules.bodies import rule_attestation
from tslg.protocol.rules.seals import rule_suite

HELD = toml()
"""A manifest under which keys may be bound to hardware, and need not be."""


def bound(w, attestation=None, binding="hardware", **changes):
    """Return a sealed registration of a key that is bound so, with evidence that `changes` puts wrong."""
    body = {"purpose": "signing", "binding": binding, **w.fresh_key().fields()}
    if attestation is not LEFT_OUT:
        body["attestation"] = evidence(body, **changes) if attestation is None else attestation
    return w.sealed(w.a, "registration", body)


@breaks(rule_attestation, "ATTESTATION", "names no hardware")
def a_key_in_hardware_where_the_manifest_names_none(w):
    return bound(w)


@breaks(rule_attestation, "ATTESTATION", "claims no hardware")
def an_attestation_that_nobody_checks(w):
    return bound(w, b"evidence", "tenant")


@breaks(rule_attestation, "ATTESTATION", "claims no hardware", toml=HELD)
def an_attestation_of_a_platform(w):
    return bound(w, None, "platform")


@breaks(rule_attestation, "ATTESTATION", "comes with an attestation", toml=HELD)
def a_key_in_hardware_without_evidence(w):
    return bound(w, LEFT_OUT)


@breaks(rule_attestation, "ATTESTATION", "no attestation document", toml=HELD)
def evidence_that_is_none(w):
    return bound(w, b"trust me")


@breaks(rule_attestation, "ATTESTATION", "no attestation document", toml=HELD)
def a_genesis_with_evidence_that_is_none(w):
    record, key = w.genesis("c", binding="hardware", attestation=b"")
    return record, w.seal_genesis(record, key)


@breaks(rule_attestation, "ATTESTATION", "does not bind this key", toml=HELD)
def the_evidence_of_another_key(w):
    return bound(w, evidence({"alg": -19, "key": bytes(32)}))


@breaks(rule_attestation, "ATTESTATION", "does not bind this key", toml=HELD)
def a_document_that_names_the_key_where_it_is_not_looked_for(w):
    body = {"purpose": "signing", "binding": "hardware", **w.fresh_key().fields()}
    said = fields(None, public_key=body["key"], nonce=key_digest(body))
    return w.sealed(w.a, "registration", body | {"attestation": document(said)})


@breaks(rule_attestation, "ATTESTATION", "within the hour", toml=HELD)
def evidence_that_was_kept_for_later(w):
    return bound(w, timestamp=w.time - HOUR - 1_000)


@breaks(rule_attestation, "ATTESTATION", "registers 0 to 2 measured nothing", toml=HELD)
def an_enclave_in_debug_mode(w):
    return bound(w, pcrs=dict(PCRS) | dict.fromkeys(range(3), bytes(48)))


@breaks(rule_attestation, "ATTESTATION", "register 1 is not what the manifest names", toml=HELD)
def another_image_than_the_manifest_names(w):
    return bound(w, pcrs=dict(PCRS) | {1: b"\x07" * 48})


@breaks(rule_attestation, "ATTESTATION", "its root is none", toml=HELD)
def certificates_below_another_root(w):
    said = fields(b"")
    return bound(w, cabundle=said["cabundle"][1:])


@breaks(rule_attestation, "ATTESTATION", "its certificates: one is not valid", toml=HELD)
def a_certificate_that_has_run_out(w):
    said = fields(b"", at=w.time - 24 * HOUR)
    return bound(w, certificate=said["certificate"], cabundle=said["cabundle"])


@breaks(rule_attestation, "ATTESTATION", "does not verify under its certificate", toml=HELD)
def a_document_that_was_changed_after_it_was_signed(w):
    body = {"purpose": "signing", "binding": "hardware", **w.fresh_key().fields()}
    at = key_digest(body)
    signed = document(fields(at, module_id="i-0-enc0")).replace(b"i-0-enc0", b"i-0-enc1")
    return w.sealed(w.a, "registration", body | {"attestation": signed})


@breaks(rule_attestation, "ATTESTATION", "asks for keys bound to hardware")
def a_key_of_a_tenant_where_hardware_is_required(w):
    w.amend(rotation=entry(required=True))
    return bound(w, LEFT_OUT, "tenant")


@breaks(rule_suite, "SUITE", "not bound to hardware")
def a_record_by_a_tenants_key_since_hardware_is_required(w):
    w.amend(rotation=entry(required=True))
    return w.sealed(w.a, "state")
