"""Attestation documents: the good one, and every way in which one can be malformed, untrue or not for this key."""

from __future__ import annotations

from datetime import timedelta

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from enclave import (
    HOUR,
    LEFT_OUT,
    PCRS,
    authority,
    certificate,
    chain,
    document,
    entry,
    evidence,
    fields,
    leaf,
    private_key,
    root_digest,
    signature,
    signed_parts,
    toml,
    usage,
)
from world import NOW, World

from tslg.manifests import text
from tslg.manifests.agent_keys import SigningKey
from tslg.protocol.attestation import fault, key_digest
from tslg.protocol.attestation.chain import leaf_key
from tslg.protocol.attestation.demand import read_hardware
from tslg.protocol.attestation.nitro import PROTECTED
from tslg.protocol.attestation.nitro import fault as nitro_fault

HARDWARE = read_hardware(entry()["hardware"])
DIGEST = bytes(range(32))
GOOD = fields(DIGEST)


def wrong(said, **how):
    return nitro_fault(document(said, **how), HARDWARE, DIGEST, NOW)


@pytest.mark.spec("ATS-6", "ATS-7", "ATS-8", "ATS-10")
def test_a_good_document_holds_however_its_optional_fields_are_left_out():
    assert wrong(GOOD) is None and wrong(GOOD, tagged=True) is None
    assert wrong(fields(DIGEST, public_key=LEFT_OUT, nonce=LEFT_OUT)) is None
    assert wrong(fields(DIGEST, public_key=b"any key", nonce=b"")) is None
    assert wrong(dict(reversed(GOOD.items()))) is None
    assert wrong(fields(DIGEST, pcrs=dict(PCRS) | {31: bytes(32), 8: bytes(64)})) is None


MALFORMED = {
    "nothing": (b"", "a list should come"),
    "a number": (cbor2.dumps(1), "a list should come"),
    "another tag": (cbor2.dumps(cbor2.CBORTag(98, [])), "not a COSE_Sign1"),
    "a tag in a tag": (b"\xd2\xd2" + document(GOOD), "a list should come"),
    "three parts": (cbor2.dumps([PROTECTED, {}, b""]), "not of 4"),
    "a list without end": (b"\x9f" + document(GOOD)[1:], "definite"),
    "more behind it": (document(GOOD) + b"\x00", "1 bytes too many"),
    "another algorithm": (signed_parts(b"x", bytes(96), cbor2.dumps({1: -7})), "ECDSA and SHA-384"),
    "a longer header": (signed_parts(b"x", bytes(96), cbor2.dumps({1: -35, 4: b""})), "not of 0 to 4"),
    "a header in plain": (signed_parts(b"x", bytes(96), {1: -35}), "bytes should come"),
    "something unprotected": (signed_parts(b"x", bytes(96), beside={4: b"k"}), "not of 0 to 0"),
    "no payload": (signed_parts(None, bytes(96)), "bytes should come"),
    "an empty payload": (signed_parts(b"", bytes(96)), "not of 1"),
    "a payload that is too long": (signed_parts(bytes(16_385), bytes(96)), "not of 1 to 16384"),
    "a short signature": (signed_parts(b"x", bytes(95)), "not of 96"),
    "a DER signature": (signed_parts(b"x", bytes(104)), "not of 96"),
    "too much of everything": (bytes(17 * 1024 + 1), "the limit is"),
    "a length that nothing backs": (b"\x84\x44" + PROTECTED + b"\xa0\x59\x3f\xff" + b"x", "end too early"),
    "a length not in its shortest form": (b"\x98\x04" + document(GOOD)[1:], "shortest form"),
    "a reserved length": (b"\x9c" + document(GOOD)[1:], "definite"),
}


@pytest.mark.spec("ATS-6")
@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_signed_document(name):
    data, said = MALFORMED[name]
    found = nitro_fault(data, HARDWARE, DIGEST, NOW)
    assert found.startswith("no attestation document: ") and said in found, found


def twice(said, name):
    """Return a payload in which a field stands twice."""
    head = cbor2.dumps(dict(said))
    return bytes((head[0] + 1,)) + head[1:] + cbor2.dumps(name) + cbor2.dumps(said[name])


UNREADABLE = {
    "no map": (cbor2.dumps([]), "a map should come"),
    "an empty map": (cbor2.dumps({}), "not of 1"),
    "not CBOR": (b"\xff", "a map should come"),
    "a field that documents do not have": (fields(DIGEST, nonce=LEFT_OUT, colour="red"), "do not have"),
    "a name that is a number": (fields(DIGEST, nonce=LEFT_OUT) | {1: b""}, "a text should come"),
    "a name that is no text": (b"\xa1\x61\xff\x00", "codec"),
    "a field twice": (twice(fields(DIGEST, nonce=LEFT_OUT), "digest"), "twice"),
    "ten fields": (GOOD | {"colour": 1}, "not of 1 to 9"),
    "more behind the map": (cbor2.dumps(GOOD) + b"\x00", "too many"),
    **{
        f"no {name}": (fields(DIGEST, **{name: LEFT_OUT}), f"no `{name}`")
        for name in ("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle")
    },
    **{
        f"{name} null": (fields(DIGEST, **{name: None}), "should come")
        for name in ("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle")
    },
    "an empty module": (fields(DIGEST, module_id=""), "not of 1"),
    "a module in bytes": (fields(DIGEST, module_id=b"i"), "a text should come"),
    "another digest": (fields(DIGEST, digest="SHA256"), "not SHA384"),
    "no time": (fields(DIGEST, timestamp=0), "`timestamp` is 0"),
    "a time before the first": (fields(DIGEST, timestamp=-1), "a number should come"),
    "a time that is a float": (fields(DIGEST, timestamp=1.5), "a number should come"),
    "a time that is no number of 64 bits": (fields(DIGEST, timestamp=2**64), "a number should come"),
    "no registers": (fields(DIGEST, pcrs={}), "not of 1 to 32"),
    "33 registers": (fields(DIGEST, pcrs=dict.fromkeys(range(33), bytes(48))), "not of 1 to 32"),
    "a register 32": (fields(DIGEST, pcrs={32: bytes(48)}), "that there is not"),
    "a register by name": (fields(DIGEST, pcrs={"0": bytes(48)}), "a number should come"),
    "a short register": (fields(DIGEST, pcrs={0: bytes(31)}), "not of 32 to 64"),
    "a register of an odd size": (fields(DIGEST, pcrs={0: bytes(49)}), "has 49 bytes"),
    "a register that is text": (fields(DIGEST, pcrs={0: "0" * 48}), "bytes should come"),
    "an empty certificate": (fields(DIGEST, certificate=b""), "not of 1 to 1024"),
    "a certificate that is too long": (fields(DIGEST, certificate=bytes(1_025)), "not of 1 to 1024"),
    "an empty bundle": (fields(DIGEST, cabundle=[]), "not of 1 to 8"),
    "nine authorities": (fields(DIGEST, cabundle=[b"x"] * 9), "not of 1 to 8"),
    "an empty authority": (fields(DIGEST, cabundle=[b""]), "not of 1 to 1024"),
    "a bundle that is no list": (fields(DIGEST, cabundle=b"x"), "a list should come"),
    "an empty public key": (fields(DIGEST, public_key=b""), "not of 1 to 1024"),
    "a public key that is too long": (fields(DIGEST, public_key=bytes(1_025)), "not of 1 to 1024"),
    "user data that is too long": (fields(bytes(513)), "not of 0 to 512"),
    "user data that is text": (fields("x"), "bytes should come"),
    "a nonce that is too long": (fields(DIGEST, nonce=bytes(513)), "not of 0 to 512"),
}


@pytest.mark.spec("ATS-7")
@pytest.mark.parametrize("name", UNREADABLE)
def test_a_signed_payload_that_is_none(name):
    said, what = UNREADABLE[name]
    found = wrong(said)
    assert found.startswith("no attestation document: ") and what in found, found


@pytest.mark.spec("ATS-7")
def test_a_register_twice():
    registers = cbor2.dumps({0: bytes(48)})
    twice_there = b"\xa2" + registers[1:] * 2
    payload = cbor2.dumps(GOOD).replace(cbor2.dumps(dict(PCRS)), twice_there)
    assert "a register twice" in wrong(payload)


@pytest.mark.spec("ATS-9")
def test_the_time_of_a_document():
    def at(timestamp):
        return nitro_fault(document(fields(DIGEST, timestamp=timestamp)), HARDWARE, DIGEST, NOW)

    assert at(NOW - HOUR) is None and at(NOW + 300_000) is None
    for far in (NOW - HOUR - 1, NOW + 300_001, 1, 2**64 - 1):
        assert "within the hour" in at(far)


@pytest.mark.spec("ATS-10")
@pytest.mark.parametrize("data", [None, b"", DIGEST[:31], DIGEST + b"\x00", bytes(32)])
def test_user_data_that_is_not_the_keys_digest(data):
    assert "does not bind this key" in wrong(fields(data, public_key=DIGEST, nonce=DIGEST))


@pytest.mark.spec("ATS-10")
def test_the_digest_covers_both_halves_and_the_scheme():
    key = SigningKey(-19, bytes(32), bytes(32)).fields()
    plain = {"alg": -19, "key": key["key"]}
    others = [plain, key | {"alg": -47}, key | {"key": bytes(32)}, key | {"post_quantum": {"alg": -49, "key": b""}}]
    assert len({key_digest(body) for body in (key, *others)}) == 5
    assert key_digest(key | {"binding": "hardware", "name": "a", "purpose": "signing"}) == key_digest(key)
    assert key_digest({"alg": -19, "key": bytes(32)}).hex() == (
        "ca9972c090feaabdf2cf77e035d56d9ff3f5f778a4a88c237cde3d7ebbbaf5d3"
    )


@pytest.mark.spec("ATS-11")
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("held", [LEFT_OUT, bytes(48), bytes(32), b"\x01" * 32, b"\x01" * 64])
def test_registers_that_measured_nothing(number, held):
    pcrs = {name: value for name, value in (dict(PCRS) | {number: held}).items() if value is not LEFT_OUT}
    assert "registers 0 to 2 measured nothing" in wrong(fields(DIGEST, pcrs=pcrs))


@pytest.mark.spec("ATS-11")
def test_registers_that_the_manifest_names():
    named = HARDWARE._replace(pcrs=dict(HARDWARE.pcrs) | {4: PCRS[4]})
    assert nitro_fault(document(GOOD), named, DIGEST, NOW) is None
    for held in (b"\x08" * 48, PCRS[4][:32], None):
        pcrs = {name: value for name, value in (dict(PCRS) | {4: held}).items() if value is not None}
        found = nitro_fault(document(fields(DIGEST, pcrs=pcrs)), named, DIGEST, NOW)
        assert found == "register 4 is not what the manifest names"


@pytest.mark.spec("ATS-8")
def test_signatures_by_others_and_over_something_else():
    payload = cbor2.dumps(GOOD)
    value = signature(payload)
    for forged in (bytes(96), value[48:] + value[:48], b"\xff" * 96, value[:95] + bytes((value[95] ^ 1,))):
        found = nitro_fault(signed_parts(payload, forged), HARDWARE, DIGEST, NOW)
        assert found == "its signature does not verify under its certificate"
    assert "does not verify" in wrong(GOOD, key=private_key("instance"))
    assert "does not verify" in nitro_fault(signed_parts(payload, signature(payload + b" ")), HARDWARE, DIGEST, NOW)


def test_a_root_with_another_key_under_the_same_name_is_not_the_pinned_one():
    forged = authority("root", "root", signer=private_key("thief"), key=private_key("thief"))
    region = authority("region", "root", 2, signer=private_key("thief"))
    bundle = [forged, region, *chain()[2:-1]]
    assert wrong(fields(DIGEST, cabundle=bundle)) == "its root is none that the manifest names"
    assert "not signed by the one above" in wrong(fields(DIGEST, cabundle=[chain()[0], *bundle[1:]]))


# --- certificates ----------------------------------------------------------------------------------------------------


def replaced(index, der):
    return [*chain()[:index], der, *chain()[index + 1 :]]


CA = x509.BasicConstraints(True, None)
CRITICAL = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.2.3.4")])
DAY = timedelta(days=1)
CHAINS = {
    "malformed": (lambda: replaced(2, b"\x30\x03\x02\x01\x00"), "malformed"),
    "with more behind it": (lambda: replaced(4, chain()[4] + b"\x00"), "malformed"),
    "not yet valid": (lambda: replaced(4, leaf(before=-DAY, after=2 * DAY)), "not valid at"),
    "run out": (lambda: replaced(2, authority("zone", "region", 1, before=2 * DAY, after=-DAY)), "not valid at"),
    "a root that has run out": (
        lambda: replaced(0, authority("root", "root", before=2 * DAY, after=-DAY)),
        "not valid at",
    ),
    "a critical extension": (lambda: replaced(4, leaf(more=[(CRITICAL, True)])), "not understood"),
    "on another curve": (lambda: replaced(4, leaf(key=ec.derive_private_key(7, ec.SECP256R1()))), "not on P-384"),
    "of another kind of key": (
        lambda: replaced(4, leaf(key=ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))),
        "not on P-384",
    ),
    "an authority that is none": (
        lambda: replaced(3, certificate("instance", "zone", key_usage=usage(issues=True))),
        "no authority",
    ),
    "an authority that denies it": (
        lambda: replaced(3, authority("instance", "zone", basic=x509.BasicConstraints(False, None))),
        "no authority",
    ),
    "an authority that says so in passing": (
        lambda: replaced(3, authority("instance", "zone", basic=CA, basic_critical=False)),
        "no authority",
    ),
    "an authority that may not issue": (
        lambda: replaced(3, authority("instance", "zone", key_usage=usage(signs=True))),
        "may not sign certificates",
    ),
    "an authority without a usage": (
        lambda: replaced(3, authority("instance", "zone", key_usage=None)),
        "may not sign certificates",
    ),
    "too long for one of them": (lambda: replaced(1, authority("region", "root", 1)), "more than an authority allows"),
    "too long for the root": (lambda: replaced(0, authority("root", "root", 2)), "more than an authority allows"),
    "a leaf that is an authority": (lambda: replaced(4, leaf(basic=CA)), "the last is an authority"),
    "a leaf that may not sign": (lambda: replaced(4, leaf(key_usage=usage(issues=True))), "the last may not sign"),
    "a leaf without a usage": (lambda: replaced(4, leaf(key_usage=None)), "the last may not sign"),
    "by another name": (lambda: replaced(4, leaf("zone", signer=private_key("instance"))), "as its issuer"),
    "by another key": (lambda: replaced(4, leaf(signer=private_key("zone"))), "not signed by the one above"),
    "with another hash": (lambda: replaced(4, leaf(digest=SHA256())), "not signed by ES384"),
    "one left out": (lambda: [*chain()[:2], *chain()[3:]], "as its issuer"),
    "the other way round": (lambda: [*chain()[:-1][::-1], chain()[-1]], "more than an authority allows"),
    "one of its own making": (
        lambda: [chain()[0], authority("thief", "thief"), leaf("thief", signer=private_key("thief"))],
        "as its issuer",
    ),
}


@pytest.mark.spec("ATS-8")
@pytest.mark.parametrize("name", CHAINS)
def test_chains_that_do_not_hold(name):
    made, said = CHAINS[name]
    with pytest.raises(ValueError, match=said):
        leaf_key(made(), NOW)


@pytest.mark.spec("ATS-8")
def test_chains_that_hold():
    key = private_key("enclave").public_key()
    assert leaf_key(chain(), NOW) == key
    harmless = x509.SubjectAlternativeName([x509.DNSName("enclave")])
    assert leaf_key(replaced(4, leaf(basic=None, more=[(harmless, False)])), NOW) == key
    assert leaf_key([chain()[0], leaf("root")], NOW) == key
    start, end = NOW // 1000 * 1000 - HOUR, NOW // 1000 * 1000 + 3 * HOUR
    assert leaf_key(chain(), start) == leaf_key(chain(), end + 999) == key
    for moment in (start - 1, end + 1_000, 0, 2**53 - 1):
        with pytest.raises(ValueError, match="not valid at"):
            leaf_key(chain(), moment)


def test_no_signed_byte_of_a_certificate_can_be_changed():
    good = chain()[4]
    said = x509.load_der_x509_certificate(good).tbs_certificate_bytes
    start = good.index(said)
    for at, byte in enumerate(said, start):
        for change in {0x00, 0xFF, byte ^ 1, byte ^ 0x20} - {byte}:
            with pytest.raises(ValueError):
                leaf_key([*chain()[:4], good[:at] + bytes((change,)) + good[at + 1 :]], NOW)


# --- the manifest's entry --------------------------------------------------------------------------------------------

UNENFORCEABLE = [
    {},
    None,
    [],
    entry()["hardware"] | {"more": 1},
    *[
        entry(**change)["hardware"]
        for change in (
            {"format": "sgx"},
            {"format": ["aws-nitro"]},
            {"roots": []},
            {"roots": [bytes(31)]},
            {"roots": ["0" * 32]},
            {"roots": [b"\x02" * 32, b"\x01" * 32]},
            {"roots": [b"\x01" * 32] * 2},
            {"roots": [bytes((n,)) * 32 for n in range(9)]},
            {"roots": {"0": bytes(32)}},
            {"pcrs": {}},
            {"pcrs": [bytes(48)]},
            {"pcrs": {"32": b"\x01" * 48}},
            {"pcrs": {"00": b"\x01" * 48}},
            {"pcrs": {"-1": b"\x01" * 48}},
            {"pcrs": {"0": b"\x01" * 32}},
            {"pcrs": {"0": bytes(48)}},
            {"pcrs": {"0": "1" * 48}},
            {"required": 1},
        )
    ],
]


@pytest.mark.spec("ATS-1", "ATS-2")
@pytest.mark.parametrize("value", UNENFORCEABLE)
def test_hardware_that_could_not_be_enforced(value):
    with pytest.raises(ValueError, match=r"hardware|root|register"):
        read_hardware(value)
    from tslg.protocol.envelope import read_envelope

    envelope = World().founded.manifest_record.body["envelope"] | {"rotation": entry() | {"hardware": value}}
    with pytest.raises(ValueError, match=r"hardware|root|register"):
        read_envelope(envelope, 1)


@pytest.mark.spec("ATS-1", "ATS-2")
def test_an_entry_is_read_and_written():
    w = World(toml(required=True))
    hardware = w.founded.manifest.envelope.rotation.hardware
    assert hardware == read_hardware(entry(required=True)["hardware"])
    assert hardware.pcrs == {number: PCRS[number] for number in range(3)} and hardware.roots == (root_digest(),)
    body = w.founded.manifest_record.body
    assert text.parse(text.to_toml(body)).body() == body


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("ATS-3", "ATS-4")
def test_who_needs_evidence():
    body = {"binding": "tenant", "alg": -19, "key": bytes(32)}
    needed = HARDWARE._replace(required=True)
    for hardware in (None, HARDWARE):
        assert fault(body, hardware, NOW) is None and fault(body | {"binding": "platform"}, hardware, NOW) is None
    assert "asks for keys bound to hardware" in fault(body | {"binding": "platform"}, needed, NOW)
    bound = body | {"binding": "hardware"}
    assert "names no hardware" in fault(bound, None, NOW)
    assert "comes with an attestation" in fault(bound, HARDWARE, NOW)
    attested = bound | {"attestation": evidence(bound)}
    assert fault(attested, needed, NOW) is None
    assert "claims no hardware" in fault(attested | {"binding": "tenant"}, HARDWARE, NOW)
