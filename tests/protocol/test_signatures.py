"""The pinned Ed25519 rule against edge cases computed here, and every scheme against malformed input."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings
from nacl.exceptions import BadSignatureError

from tslg.manifests import bls
from tslg.protocol import signatures
from tslg.protocol.signatures import Alg

ED25519 = Alg.ED25519
Point = tuple[int, int]

# Edwards curve arithmetic over 2^255 - 19 in plain integers (RFC 8032, 5.1).
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
IDENTITY: Point = (0, 1)


def recover_x(y: int, sign: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P:
        return None
    return P - x if x & 1 != sign and x else x


def add(left: Point, right: Point) -> Point:
    (x1, y1), (x2, y2) = left, right
    twist = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + twist, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - twist, -1, P) % P


def multiply(scalar: int, point: Point) -> Point:
    total = IDENTITY
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def pack(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def torsion() -> list[Point]:
    """Return the eight points of small order, as the multiples of one of order 8."""
    for y in range(2, 100):
        x = recover_x(y, 0)
        if x is not None:
            generator = multiply(L, (x, y))
            if multiply(4, generator) != IDENTITY:
                return [multiply(factor, generator) for factor in range(8)]
    raise AssertionError("a point of full order has a small y")


BASE_Y = 4 * pow(5, -1, P) % P
BASE: Point = (recover_x(BASE_Y, 0) or 0, BASE_Y)
TORSION = torsion()
SCALAR, NONCE = 0x1234567890ABCDEF1234567890ABCDEF, 0xFEDCBA0987654321FEDCBA0987654321
KEY, COMMITMENT = multiply(SCALAR, BASE), multiply(NONCE, BASE)
MESSAGE = b"a record"


def non_canonical() -> list[bytes]:
    """Every encoding of a coordinate that is not reduced, and of x = 0 with the sign bit set."""
    unreduced = [(y + P | sign << 255).to_bytes(32, "little") for y in range(19) for sign in (0, 1)]
    return unreduced + [(y | 1 << 255).to_bytes(32, "little") for y in (1, P - 1)]


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


def forge(commitment: Point, nonce: int, key: bytes, message: bytes = MESSAGE, scalar: int = SCALAR) -> bytes:
    """Sign with chosen R and A, whatever their order."""
    r = pack(commitment)
    return r + ((nonce + challenge(r, key, message) * scalar) % L).to_bytes(32, "little")


def libsodium_accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        bindings.crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


def test_the_arithmetic_here_makes_accepted_signatures() -> None:
    assert signatures.verify(ED25519, pack(KEY), MESSAGE, forge(COMMITMENT, NONCE, pack(KEY)))
    assert len({pack(point) for point in TORSION}) == 8


def test_published_signature() -> None:
    """RFC 8032, 7.1, test 2."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert signatures.ed25519_public_key(seed) == key
    assert signatures.ed25519_sign(signatures.ed25519_secret(seed), b"\x72") == signature
    assert signatures.verify(ED25519, key, b"\x72", signature)
    assert signatures.check_public_key(ED25519, key)


@pytest.mark.spec("SEA-17")
@pytest.mark.parametrize("order", range(8))
def test_keys_of_small_order_are_refused(order: int) -> None:
    """With A of small order, S = r signs every message whose challenge kills A; no secret is needed."""
    key = pack(TORSION[order])
    assert not signatures.check_public_key(ED25519, key)
    for number in range(16):
        message = MESSAGE + bytes([number])
        assert not signatures.verify(ED25519, key, message, forge(COMMITMENT, NONCE, key, message, scalar=0))


@pytest.mark.spec("SEA-17")
@pytest.mark.parametrize("order", range(1, 8))
def test_keys_of_mixed_order_are_refused_though_libsodium_takes_them(order: int) -> None:
    key = pack(add(KEY, TORSION[order]))
    assert not signatures.check_public_key(ED25519, key)
    taken = 0
    for number in range(120):
        message = MESSAGE + bytes([number])
        signature = forge(COMMITMENT, NONCE, key, message)
        taken += libsodium_accepts(key, message, signature)
        assert not signatures.verify(ED25519, key, message, signature)
    assert taken


@pytest.mark.spec("SEA-17")
@pytest.mark.parametrize("key", non_canonical(), ids=lambda key: key.hex()[:4] + key.hex()[-2:])
def test_non_canonical_keys_are_refused(key: bytes) -> None:
    assert not signatures.check_public_key(ED25519, key)
    for number in range(8):
        message = MESSAGE + bytes([number])
        assert not signatures.verify(ED25519, key, message, forge(COMMITMENT, NONCE, key, message, scalar=0))


def test_keys_off_the_curve_are_refused() -> None:
    off = [y.to_bytes(32, "little") for y in range(2, 60) if recover_x(y, 0) is None]
    assert off
    assert not any(signatures.check_public_key(ED25519, key) for key in off)


@pytest.mark.spec("SEA-18")
@pytest.mark.parametrize("order", range(8))
def test_commitments_of_small_order_are_refused(order: int) -> None:
    key = pack(KEY)
    signature = forge(TORSION[order], 0, key)
    assert not signatures.verify(ED25519, key, MESSAGE, signature)


def test_a_commitment_of_small_order_is_refused_even_where_the_equation_holds() -> None:
    """R is the identity and S = h·a: the equation holds without the cofactor too."""
    key = pack(KEY)
    signature = forge(IDENTITY, 0, key)
    s = int.from_bytes(signature[32:], "little")
    assert multiply(s, BASE) == add(IDENTITY, multiply(challenge(signature[:32], key, MESSAGE), KEY))
    assert not signatures.verify(ED25519, key, MESSAGE, signature)


@pytest.mark.spec("SEA-18")
@pytest.mark.parametrize("order", range(1, 8))
def test_the_equation_has_no_cofactor(order: int) -> None:
    """R of mixed order: the two sides differ by a point of small order, which eight times over vanishes."""
    key = pack(KEY)
    commitment = add(COMMITMENT, TORSION[order])
    signature = forge(commitment, NONCE, key)
    s = int.from_bytes(signature[32:], "little")
    right = add(commitment, multiply(challenge(signature[:32], key, MESSAGE), KEY))
    assert multiply(8 * s, BASE) == multiply(8, right)
    assert not signatures.verify(ED25519, key, MESSAGE, signature)


@pytest.mark.spec("SEA-18")
@pytest.mark.parametrize("r", non_canonical(), ids=lambda key: key.hex()[:4] + key.hex()[-2:])
def test_non_canonical_commitments_are_refused(r: bytes) -> None:
    key = pack(KEY)
    s = challenge(r, key, MESSAGE) * SCALAR % L
    assert not signatures.verify(ED25519, key, MESSAGE, r + s.to_bytes(32, "little"))


@pytest.mark.spec("SEA-18")
@pytest.mark.parametrize("multiple", range(1, 16))
def test_s_must_be_below_the_group_order(multiple: int) -> None:
    key = pack(KEY)
    signature = forge(COMMITMENT, NONCE, key)
    s = int.from_bytes(signature[32:], "little") + multiple * L
    assert not signatures.verify(ED25519, key, MESSAGE, signature[:32] + s.to_bytes(32, "little"))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511))
@settings(max_examples=60, deadline=None)
def test_signatures_verify_and_any_flipped_bit_breaks_them(seed: bytes, message: bytes, bit: int) -> None:
    key = signatures.ed25519_public_key(seed)
    signature = signatures.ed25519_sign(signatures.ed25519_secret(seed), message)
    assert signatures.verify(ED25519, key, message, signature)
    altered = bytearray(signature)
    altered[bit // 8] ^= 1 << bit % 8
    assert not signatures.verify(ED25519, key, message, bytes(altered))
    assert not signatures.verify(ED25519, key, message + b"\0", signature)
    other = bytearray(key)
    other[bit % 256 // 8] ^= 1 << bit % 8
    assert not signatures.verify(ED25519, bytes(other), message, signature)


@pytest.mark.parametrize("alg", [Alg.BLS_THRESHOLD, Alg.BLS_MULTISIG])
def test_bls_numbers_reach_the_bls_verifier(alg: int) -> None:
    secret = (7).to_bytes(32, "big")
    key, signature = bls.public_key(secret), bls.sign(secret, MESSAGE)
    assert signatures.check_public_key(alg, key)
    assert signatures.verify(alg, key, MESSAGE, signature)
    assert not signatures.verify(alg, key, MESSAGE + b"\0", signature)
    assert not signatures.verify(ED25519, key, MESSAGE, signature)
    assert not signatures.check_public_key(alg, b"\xc0" + bytes(47))
    assert not signatures.check_public_key(alg, pack(KEY))


NUMBERS: list[object] = [0, 1, -7, -8, -48, -50, 19, -70003, 2**70, -19.5, "-19", None, [-19], b"\xed"]


@pytest.mark.parametrize("alg", NUMBERS, ids=str)
def test_unknown_numbers_are_false(alg: object) -> None:
    key = pack(KEY)
    assert not signatures.verify(alg, key, MESSAGE, forge(COMMITMENT, NONCE, key))  # type: ignore[arg-type]
    assert not signatures.check_public_key(alg, key)  # type: ignore[arg-type]


@pytest.mark.parametrize("alg", sorted(signatures.SUPPORTED))
@pytest.mark.parametrize(
    "bad", [None, 5, "x" * 32, b"", bytes(31), bytes(33), bytearray(32), [1], bytes(96)], ids=range(9)
)
def test_malformed_input_is_false(alg: int, bad: object) -> None:
    key = pack(KEY)
    signature = forge(COMMITMENT, NONCE, key)
    assert not signatures.check_public_key(alg, bad)  # type: ignore[arg-type]
    assert not signatures.verify(alg, bad, MESSAGE, signature)  # type: ignore[arg-type]
    assert not signatures.verify(alg, key, MESSAGE, bad)  # type: ignore[arg-type]
    assert not signatures.verify(alg, key, bad, signature)  # type: ignore[arg-type]


def test_only_implemented_numbers_are_supported() -> None:
    assert frozenset({-19, -47, -49, -70001, -70002}) == signatures.SUPPORTED
    assert {int(alg) for alg in Alg} == signatures.SUPPORTED
    assert frozenset({-19, -47}) == signatures.CLASSICAL


@pytest.mark.parametrize("call", [signatures.ed25519_secret, signatures.ed25519_public_key])
@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_seeds_of_another_length_are_an_error(call: object, size: int) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match="32 bytes"):
        call(bytes(size))


def test_secrets_of_another_length_are_an_error_that_does_not_show_them() -> None:
    with pytest.raises(ValueError, match="64 bytes") as caught:
        signatures.ed25519_sign(b"S" * 32, MESSAGE)
    assert "SSSS" not in str(caught.value)


@given(st.binary(max_size=200), st.integers(0, 63), st.integers(1, 255))
def test_it_agrees_with_the_public_function_of_the_library(message: bytes, at: int, flip: int) -> None:
    """The one that is called spares a copy of the message; nothing else may differ."""
    secret = signatures.ed25519_secret(b"\x07" * 32)
    good = signatures.ed25519_sign(secret, message)
    bad = good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :]
    for signature in (good, bad, good[:at], good + b"\x00"):
        try:
            bindings.crypto_sign_open(signature + message, secret[32:])
            public = len(signature) == 64
        except (BadSignatureError, ValueError):
            public = False
        assert signatures.verify(-19, secret[32:], message, signature) == public
        opens = signatures.ed25519_opener(secret[32:])
        assert opens is not None
        if len(signature) == 64:
            assert opens(signature + message) == public
    assert signatures.ed25519_opener(b"\x00" * 32) is None and signatures.ed25519_opener(b"") is None
