"""Attestation documents: the good one, and every way in which one can be malformed, untrue or not for this key."""

from __future__ import annotations

import cbor2
import pytest
from cryptography import x509
from documents import CHAINS, DIGEST, GOOD, MALFORMED, UNREADABLE, replaced
from enclave import (
    HOUR,
    LEFT_OUT,
    PCRS,
    authority,
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
)
from world import NOW, World

from tslg.manifests import text
from tslg.manifests.agent_keys import SigningKey
from tslg.protocol.attestation import fault, key_digest
from tslg.protocol.attestation.chain import leaf_key
from tslg.protocol.attestation.cursor import UINT, Cursor
from tslg.protocol.attestation.demand import read_hardware
from tslg.protocol.attestation.nitro import fault as nitro_fault

HARDWARE = read_hardware(entry()["hardware"])


def wrong(said, **how):
    return nitro_fault(document(said, **how), HARDWARE, DIGEST, NOW)


@pytest.mark.spec("ATS-6", "ATS-7", "ATS-8", "ATS-10")
def test_a_good_document_holds_however_its_optional_fields_are_left_out():
    assert wrong(GOOD) is None and wrong(GOOD, tagged=True) is None
    assert wrong(fields(DIGEST, public_key=LEFT_OUT, nonce=LEFT_OUT)) is None
    assert wrong(fields(DIGEST, public_key=b"any key", nonce=b"")) is None
    assert wrong(dict(reversed(GOOD.items()))) is None
    assert wrong(fields(DIGEST, pcrs=dict(PCRS) | {31: bytes(32), 8: bytes(64)})) is None


@pytest.mark.spec("ATS-6")
@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_signed_document(name):
    data, said = MALFORMED[name]
    found = nitro_fault(data, HARDWARE, DIGEST, NOW)
    assert found.startswith("no attestation document: ") and said in found, found


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


@pytest.mark.spec("ATS-6")
@pytest.mark.parametrize(
    "data", [b"\x18\x17", b"\x19\x00\xff", b"\x1a\x00\x00\xff\xff", b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff"]
)
def test_a_number_in_more_bytes_than_it_needs(data):
    with pytest.raises(ValueError, match="shortest"):
        Cursor(data).head(UINT)
    enough = data[:1] + (int.from_bytes(data[1:], "big") + 1).to_bytes(len(data) - 1, "big")
    assert Cursor(enough).head(UINT) == int.from_bytes(data[1:], "big") + 1
