"""Seals: the one encoding, the bytes that are signed, and the refusal of everything else."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol import cid, seal
from tslg.protocol.errors import SealError
from tslg.protocol.seal import Seal, Signature

KID = cid.compute(b"\xa0")
PLAIN = Signature(-19, bytes(KID), bytes(range(64)))
LONG_KID = Signature(-19, bytes(cid.compute(b"\xa0", "sha2-512")), bytes(64))
THRESHOLD = Signature(-70001, bytes(KID), bytes(96))
MULTISIG = Signature(-70002, bytes(KID), bytes(96), b"\x05")

SIGNATURES = st.builds(
    Signature,
    st.sampled_from([-19, -47, -49, -70001, -70002]),
    st.sampled_from([PLAIN.kid, LONG_KID.kid, b""]),
    st.binary(max_size=100),
    st.none() | st.binary(max_size=8),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(SIGNATURES, min_size=1, max_size=4))
def test_what_is_encoded_is_parsed(signatures):
    assert seal.parse(seal.encode(signatures)) == Seal(tuple(signatures), len(signatures) > 1)
    assert seal.parse(seal.encode(signatures, many=True)) == Seal(tuple(signatures), True)


@pytest.mark.parametrize("only", [PLAIN, LONG_KID, THRESHOLD, MULTISIG])
def test_the_fast_path_and_the_library_agree(only):
    data = seal.encode([only])
    unprotected = {4: only.kid} if only.bitmap is None else {4: only.kid, -70010: only.bitmap}
    assert data == cbor2.dumps(cbor2.CBORTag(18, [cbor2.dumps({1: only.alg}), unprotected, None, only.value]))
    assert seal._parse_any(data) == seal.parse(data)


def test_the_common_seal_is_read_by_position(monkeypatch):
    data = seal.encode([PLAIN])
    monkeypatch.setattr(seal, "_parse_any", None)
    assert len(data) == 113 and seal.parse(data) == Seal((PLAIN,), False)


@pytest.mark.spec("SEA-2", "SEA-3", "SEA-8")
@pytest.mark.parametrize("alg", [-19, -70001, -70002])
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("size", [0, 1, 23, 24, 255, 256, 65535, 65536])
def test_what_is_signed_is_the_sig_structure(alg, many, size):
    record = b"\x01" * size
    protected = cbor2.dumps({1: alg})
    expected = ["Signature", b"", protected] if many else ["Signature1", protected]
    assert seal.to_be_signed(record, alg, many=many) == cbor2.dumps([*expected, b"tslg.record.v1", record])


def tagged(tag: int, *parts: object) -> bytes:
    return cbor2.dumps(cbor2.CBORTag(tag, list(parts)))


HEADER = cbor2.dumps({1: -19})


@pytest.mark.spec("SEA-1", "SEA-2", "SEA-4", "SEA-5", "SEA-6")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "CBOR"),
        (b"\xff", "CBOR"),
        (seal.encode([PLAIN])[:-1], "CBOR"),
        (seal.encode([PLAIN]) + b"\x00", "CANONICAL"),
        (bytes(70_000), "SIZE"),
        (b"\x00", "FORM"),
        (cbor2.dumps([HEADER, {4: KID}, None, bytes(64)]), "FORM"),
        (tagged(17, HEADER, {4: bytes(KID)}, None, bytes(64)), "FORM"),
        (tagged(18, HEADER, {4: bytes(KID)}, None), "FORM"),
        (tagged(18, HEADER, {4: bytes(KID)}, b"payload", bytes(64)), "FORM"),
        (tagged(18, HEADER, {4: bytes(KID)}, b"", bytes(64)), "FORM"),
        (tagged(18, HEADER, {}, None, bytes(64)), "FORM"),
        (tagged(18, HEADER, {4: "kid"}, None, bytes(64)), "FORM"),
        (tagged(18, HEADER, {4: bytes(KID), 5: b"iv"}, None, bytes(64)), "FORM"),
        (tagged(18, HEADER, {4: bytes(KID), -70010: 1}, None, bytes(64)), "FORM"),
        (tagged(18, HEADER, [], None, bytes(64)), "FORM"),
        (tagged(18, HEADER, {4: bytes(KID)}, None, "text"), "FORM"),
        (tagged(18, {1: -19}, {4: bytes(KID)}, None, bytes(64)), "FORM"),
        (tagged(18, b"\xff", {4: bytes(KID)}, None, bytes(64)), "FORM"),
        (tagged(18, cbor2.dumps({1: -19, 3: 0}), {4: bytes(KID)}, None, bytes(64)), "FORM"),
        (tagged(18, cbor2.dumps({1: "EdDSA"}), {4: bytes(KID)}, None, bytes(64)), "FORM"),
        (tagged(18, cbor2.dumps({True: -19}), {4: bytes(KID)}, None, bytes(64)), "CANONICAL"),
        (tagged(18, cbor2.dumps({1: -19}) + b"\x00", {4: bytes(KID)}, None, bytes(64)), "CANONICAL"),
        (tagged(18, bytes.fromhex("a1013800"), {4: bytes(KID)}, None, bytes(64)), "CANONICAL"),
        (tagged(98, b"", {}, None, []), "FORM"),
        (tagged(98, b"", {}, None, [[HEADER, {4: bytes(KID)}]]), "FORM"),
        (tagged(98, b"", {}, None, {1: 2}), "FORM"),
        (tagged(98, HEADER, {}, None, [[HEADER, {4: bytes(KID)}, bytes(64)]]), "FORM"),
        (tagged(98, b"", {4: b"kid"}, None, [[HEADER, {4: bytes(KID)}, bytes(64)]]), "FORM"),
        (tagged(98, b"", {}, None, [[HEADER, {4: bytes(KID)}, bytes(64)]] * 65), "FORM"),
    ],
)
def test_what_is_not_a_seal_is_refused(data, code):
    with pytest.raises(SealError) as caught:
        seal.parse(data)
    assert caught.value.code == f"TSLG-S-{code}"


@pytest.mark.spec("SEA-7")
@settings(max_examples=200, deadline=None)
@given(st.sampled_from([seal.encode([PLAIN]), seal.encode([PLAIN, MULTISIG])]), st.data())
def test_no_other_bytes_mean_the_same_seal(data, draw):
    at = draw.draw(st.integers(0, len(data) - 1))
    altered = data[:at] + bytes((data[at] ^ draw.draw(st.integers(1, 255)),)) + data[at + 1 :]
    try:
        parsed = seal.parse(altered)
    except SealError:
        return
    assert parsed != seal.parse(data) and seal.encode(parsed.signatures, many=parsed.many) == altered


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_noise_raises_nothing_but_seal_errors(data):
    for noise in (data, b"\xd2\x84" + data, b"\xd8\x62\x84\x40\xa0\xf6" + data):
        with pytest.raises(SealError):
            seal.parse(noise)


def test_encode_refuses_what_is_no_seal():
    with pytest.raises(SealError):
        seal.encode([])
    with pytest.raises(SealError):
        seal.encode([PLAIN, PLAIN], many=False)
