"""Vectors that others published: the BLS suite of the Ethereum consensus tests, and the COSE working group's examples.

Values alone are kept, in tests/vectors/published.json; what is made of them is said here.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from tslg.manifests import bls as signing
from tslg.protocol import bls, curve, seal, signatures
from tslg.protocol.errors import SealError

PUBLISHED = json.loads((Path(__file__).parents[1] / "vectors" / "published.json").read_text(encoding="utf-8"))
BLS = PUBLISHED["bls"]
SECRETS = [bytes.fromhex(secret) for secret in BLS["secrets"]]
MESSAGES = [bytes.fromhex(message) for message in BLS["messages"]]
SIGNED = [[bytes.fromhex(value) for value in row] for row in BLS["signatures"]]
AGGREGATES = [bytes.fromhex(value) for value in BLS["aggregates"]]
KEYS = [signing.public_key(secret) for secret in SECRETS]
NO_KEY = b"\xc0" + bytes(47)
NO_POINT = b"\xc0" + bytes(95)
SAMPLE = b"\x12" * 32


def tampered(signature: bytes) -> bytes:
    return signature[:-4] + b"\xff" * 4


@pytest.mark.parametrize("who", range(3))
@pytest.mark.parametrize("what", range(3))
def test_bls_sign_and_verify(who: int, what: int) -> None:
    expected = SIGNED[who][what]
    assert signing.sign(SECRETS[who], MESSAGES[what]) == expected
    assert bls.verify(KEYS[who], MESSAGES[what], expected)
    assert not bls.verify(KEYS[(who + 1) % 3], MESSAGES[what], expected)
    assert not bls.verify(KEYS[who], MESSAGES[what], tampered(expected))


def test_bls_edges_of_sign_and_verify() -> None:
    with pytest.raises(ValueError, match="between 1"):
        signing.sign(bytes(32), MESSAGES[0])
    assert not bls.verify(NO_KEY, SAMPLE, NO_POINT)
    one = (1).to_bytes(32, "big")
    assert bls.verify(signing.public_key(one), SAMPLE, signing.sign(one, SAMPLE))


def test_bls_aggregate() -> None:
    for what, expected in enumerate(AGGREGATES):
        assert signing.aggregate([row[what] for row in SIGNED]) == expected
    with pytest.raises(ValueError, match="there is none"):
        signing.aggregate([])
    assert signing.aggregate([NO_POINT]) == NO_POINT
    assert signing.aggregate([SIGNED[0][0]]) == SIGNED[0][0]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_bls_fast_aggregate_verify(count: int) -> None:
    message, keys = MESSAGES[count - 1], KEYS[:count]
    together = signing.aggregate([row[count - 1] for row in SIGNED[:count]])
    assert bls.fast_aggregate_verify(keys, message, together)
    assert not bls.fast_aggregate_verify([*keys, KEYS[-1]], message, together)
    assert not bls.fast_aggregate_verify(keys, message, tampered(together))


def test_bls_fast_aggregate_verify_of_nobody_and_of_the_identity() -> None:
    assert not bls.fast_aggregate_verify([], MESSAGES[2], NO_POINT)
    assert not bls.fast_aggregate_verify([], MESSAGES[2], bytes(96))
    together = signing.aggregate([signing.sign(secret, SAMPLE) for secret in SECRETS])
    assert bls.fast_aggregate_verify(KEYS, SAMPLE, together)
    assert not bls.fast_aggregate_verify([*KEYS, NO_KEY], SAMPLE, together)


def test_bls_aggregate_verify() -> None:
    together = signing.aggregate([SIGNED[i][i] for i in range(3)])
    assert bls.aggregate_verify(KEYS, MESSAGES, together)
    assert not bls.aggregate_verify(KEYS, MESSAGES, together[:4] + b"\xff" * 4)
    assert not bls.aggregate_verify([], [], NO_POINT)
    assert not bls.aggregate_verify([], [], bytes(96))
    assert not bls.aggregate_verify([*KEYS, NO_KEY], [*MESSAGES, SAMPLE], together)


@pytest.mark.parametrize("case", BLS["g1"], ids=lambda case: case["name"])
def test_bls_points_of_g1(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["bytes"])
    assert (curve.decode_g1(data) is not None) is case["decodes"]
    # The identity is a point and never a key.
    assert bls.valid_public_key(data) is (case["decodes"] and data != NO_KEY)


@pytest.mark.parametrize("case", BLS["g2"], ids=lambda case: case["name"])
def test_bls_points_of_g2(case: dict[str, Any]) -> None:
    assert (curve.decode_g2(bytes.fromhex(case["bytes"])) is not None) is case["decodes"]


@pytest.mark.parametrize("case", PUBLISHED["ed25519_rfc8032"], ids=lambda case: case["message"] or "empty")
def test_ed25519_of_rfc_8032(case: dict[str, str]) -> None:
    seed, key, message, signature = (bytes.fromhex(case[name]) for name in ("secret", "key", "message", "signature"))
    assert signatures.ed25519_public_key(seed) == key
    assert signatures.ed25519_sign(signatures.ed25519_secret(seed), message) == signature
    assert signatures.check_public_key(signatures.Alg.ED25519, key)
    assert signatures.verify(signatures.Alg.ED25519, key, message, signature)


@pytest.mark.spec("SEA-17", "SEA-18")
@pytest.mark.parametrize("case", PUBLISHED["ed25519_edges"], ids=lambda case: case["name"])
def test_ed25519_edges_on_which_libraries_disagree_are_all_refused(case: dict[str, Any]) -> None:
    key, message, signature = (bytes.fromhex(case[name]) for name in ("key", "message", "signature"))
    assert signatures.check_public_key(signatures.Alg.ED25519, key) is case["key_acceptable"]
    assert not signatures.verify(signatures.Alg.ED25519, key, message, signature)


@pytest.mark.parametrize("case", PUBLISHED["cose_sign1"], ids=lambda case: case["name"])
def test_cose_sign1(case: dict[str, Any]) -> None:
    message = cbor2.loads(bytes.fromhex(case["message"]))
    tagged = isinstance(message, cbor2.CBORTag)
    protected, _, payload, signature = message.value if tagged else message
    # RFC 9052, section 3: an empty header may be sent as an empty map, and is signed as no bytes at all.
    protected = b"" if protected == b"\xa0" else protected
    signed = seal.sig_structure(protected, bytes.fromhex(case["external"]), payload)
    holds = signed == bytes.fromhex(case["signed"])
    holds = holds and _verifies(case["key"], signed, signature) and (not tagged or message.tag == seal.SIGN1_TAG)
    assert holds is case["holds"]
    # A seal is a narrower profile: its payload is detached, and its key is named by a record's id.
    with pytest.raises(SealError):
        seal.parse(bytes.fromhex(case["message"]))


def _verifies(key: dict[str, str], signed: bytes, signature: bytes) -> bool:
    if key["crv"] == "Ed25519":
        return signatures.verify(signatures.Alg.ED25519, bytes.fromhex(key["x_hex"]), signed, signature)
    x, y = (int.from_bytes(base64.urlsafe_b64decode(key[name] + "="), "big") for name in ("x", "y"))
    halves = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    try:
        public.verify(utils.encode_dss_signature(*halves), signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
