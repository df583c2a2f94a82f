"""The reader written from docs/spec alone agrees on attested keys: on the good ones, and on every way to break one."""

from __future__ import annotations

from hashlib import sha256

import breaches_attestation  # noqa: F401 (it puts its cases into the table)
import pytest
from both_readers import agreed, everything
from breach import CASES, Scene
from documents import CHAINS, DIGEST, MALFORMED, UNREADABLE
from enclave import document, entry, evidence, fields, root_digest, toml
from independent_attestation import check_attestation, check_document
from independent_formats import Bad
from world import NOW, World

from tslg.protocol.attestation import key_digest
from tslg.protocol.rules.bodies import rule_attestation
from tslg.protocol.rules.seals import rule_suite

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.spec("ATS-1", "ATS-3", "ATS-4", "ATS-5", "ATS-6", "ATS-7", "ATS-8", "ATS-9", "ATS-10", "ATS-11"),
]

BROKEN = [case for case in CASES if case.breach.__module__ == "breaches_attestation"]


def bound(w: World, alg: int = -19, **changes):
    """Register a key that hardware holds, and seal with it."""
    key = w.fresh_key(alg)
    body = {"purpose": "signing", "binding": "hardware", **key.fields()}
    record = w.make(w.a, "registration", body | {"attestation": evidence(body, **changes)})
    w.a.keys[record.id] = key
    w.put(record, w.seal(record, w.a), w.a)
    w.a.key = record.id
    return record


@pytest.mark.parametrize("anchors", ["", "anchors = true"])
@pytest.mark.parametrize("line", ["", "post_quantum = true", 'signatures = ["Ed25519", "ES256K"]'])
def test_both_accept_good_evidence(line, anchors):
    w = Scene(toml(anchors=anchors).replace("[envelope]\n", f"[envelope]\n{line}\n"))
    bound(w, -47 if "ES256K" in line else -19)
    after = w.add(w.a, "state")
    assert agreed(everything(w, after), w.federation, now=w.now_ms) == ("valid", set())
    w.amend(rotation=entry(required=True))
    after = w.add(w.a, "state")
    assert agreed(everything(w, after), w.federation, now=w.now_ms) == ("valid", set())


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_both_refuse_what_breaks_a_rule(case):
    w = Scene(case.toml)
    record, sealed = case.breach(w)
    if record.kind == "genesis":
        w.put(record, sealed)
    else:
        w.put(record, sealed, w.a)
    assert case.rule in (rule_attestation, rule_suite)
    assert agreed(everything(w, record), w.federation, now=w.now_ms) == ("invalid", {case.code})


def test_both_find_a_bad_key_below_what_it_sealed():
    w = Scene(toml())
    registered = bound(w, timestamp=1)
    after = w.slip(w.a, "state", None, {"prior": [registered]})
    assert agreed(everything(w, after), w.federation, now=w.now_ms) == ("invalid", {"TSLG-A-ATTESTATION"})


BODY = {"binding": "hardware", "alg": -19, "key": bytes(32)}
DOCUMENTS = {
    **{name: data for name, (data, _) in MALFORMED.items()},
    **{name: document(said) for name, (said, _) in UNREADABLE.items()},
}


def judged(data: bytes) -> None:
    check_attestation(BODY | {"attestation": data}, entry(), NOW)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_malformed_documents(name):
    data = DOCUMENTS[name].replace(DIGEST, key_digest(BODY))
    with pytest.raises(Bad) as caught:
        judged(data)
    assert caught.value.code == "TSLG-A-ATTESTATION"


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name):
    certificates = CHAINS[name][0]()
    said = fields(key_digest(BODY), certificate=certificates[-1], cabundle=certificates[:-1])
    judged(document(fields(key_digest(BODY))))
    trusting = entry(roots=sorted({root_digest(), sha256(certificates[0]).digest()}))["hardware"]
    with pytest.raises((Bad, ValueError)):
        check_document(document(said), trusting, BODY, NOW)
