"""ES256K against plain curve arithmetic and both halves of s; ML-DSA-65 against its published key and its edges."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA65PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol import mldsa, secp256k1, signatures

pytestmark = pytest.mark.spec("SEA-22", "SEA-23", "SEA-24", "SEA-25")

ES256K, ML_DSA = -47, -49
MESSAGE = b"a record"

# secp256k1 in plain integers (SEC 2, section 2.4.1).
P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
Point = tuple[int, int]


def add(left: Point | None, right: Point | None) -> Point | None:
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = (3 * x1 * x1 * pow(2 * y1, -1, P) if left == right else (y2 - y1) * pow(x2 - x1, -1, P)) % P
    x3 = (slope * slope - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def multiply(scalar: int, point: Point) -> Point:
    total: Point | None = None
    step: Point | None = point
    while scalar:
        if scalar & 1:
            total = add(total, step)
        step = add(step, step)
        scalar >>= 1
    assert total is not None
    return total


def pack(point: Point) -> bytes:
    return bytes([2 + (point[1] & 1)]) + point[0].to_bytes(32, "big")


SECRET = 0x1234567890ABCDEF1234567890ABCDEF
KEY = pack(multiply(SECRET, G))


def pair(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def sign(nonce: int = 0xFEDCBA9876543210, secret: int = SECRET) -> tuple[int, int]:
    """Sign by the textbook; s as it falls."""
    digest = int.from_bytes(hashlib.sha256(MESSAGE).digest(), "big")
    r = multiply(nonce, G)[0] % N
    return r, pow(nonce, -1, N) * (digest + r * secret) % N


def holds(signature: bytes, key: bytes = KEY) -> bool:
    return signatures.verify(ES256K, key, MESSAGE, signature)


def test_deterministic_signatures_with_key_one_are_the_published_ones() -> None:
    """Two widely published values of RFC 6979 with SHA-256 on secp256k1."""
    one = bytes(31) + b"\x01"
    published = {
        b"Satoshi Nakamoto": "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
        "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
        b"All those moments will be lost in time, like tears in rain. Time to die...": (
            "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b"
            "547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21"
        ),
    }
    assert secp256k1.public_key(one) == pack(G)
    for message, signature in published.items():
        assert secp256k1.sign(one, message).hex() == signature
        assert signatures.verify(ES256K, pack(G), message, bytes.fromhex(signature))


@pytest.mark.parametrize("nonce", range(1, 9))
def test_of_the_two_signatures_with_one_r_only_the_lower_counts(nonce: int) -> None:
    r, s = sign(nonce)
    low, high = min(s, N - s), max(s, N - s)
    assert holds(pair(r, low))
    assert not holds(pair(r, high))


def test_r_and_s_lie_from_one_to_the_order() -> None:
    r, s = sign()
    s = min(s, N - s)
    assert holds(pair(r, s))
    for wrong in (pair(0, s), pair(r, 0), pair(N, s), pair(r, N), pair(2**256 - 1, s), pair(r, N + 1)):
        assert not holds(wrong)
    if r + N < 2**256:
        assert not holds(pair(r + N, s))
    der = b"\x30\x44\x02\x20" + r.to_bytes(32, "big") + b"\x02\x20" + s.to_bytes(32, "big")
    assert not holds(der)
    assert not holds(pair(r, s) + b"\x00")
    assert not holds(pair(r, s)[:-1])


def test_only_compressed_points_of_the_curve_are_keys() -> None:
    x, y = multiply(SECRET, G)
    raw = x.to_bytes(32, "big")
    assert signatures.check_public_key(ES256K, KEY)
    assert not signatures.check_public_key(ES256K, b"\x04" + raw + y.to_bytes(32, "big"))
    assert not signatures.check_public_key(ES256K, bytes([6 + (y & 1)]) + raw + y.to_bytes(32, "big"))
    for start in (0, 1, 4, 5, 6, 7):
        assert not signatures.check_public_key(ES256K, bytes([start]) + raw)
    assert not signatures.check_public_key(ES256K, b"\x02" + P.to_bytes(32, "big"))
    # x + p of a small x on the curve is the same point, not reduced.
    small = next(x for x in range(1, 100) if pow(x**3 + 7, (P - 1) // 2, P) == 1)
    assert signatures.check_public_key(ES256K, b"\x02" + small.to_bytes(32, "big"))
    assert not signatures.check_public_key(ES256K, b"\x02" + (small + P).to_bytes(32, "big"))
    off = next(x for x in range(1, 100) if pow(x**3 + 7, (P - 1) // 2, P) != 1)
    assert not signatures.check_public_key(ES256K, b"\x02" + off.to_bytes(32, "big"))
    assert not signatures.check_public_key(ES256K, b"\x00")
    assert not holds(pair(*sign()), b"\x02" + off.to_bytes(32, "big"))


@given(st.integers(1, N - 1), st.binary(max_size=200), st.integers(0, 511))
@settings(max_examples=40, deadline=None)
def test_what_is_signed_verifies_and_any_flipped_bit_breaks_it(secret: int, message: bytes, bit: int) -> None:
    raw = secret.to_bytes(32, "big")
    key, signature = secp256k1.public_key(raw), secp256k1.sign(raw, message)
    assert int.from_bytes(signature[32:], "big") <= N // 2
    assert signatures.verify(ES256K, key, message, signature)
    altered = bytearray(signature)
    altered[bit // 8] ^= 1 << bit % 8
    assert not signatures.verify(ES256K, key, message, bytes(altered))
    assert not signatures.verify(ES256K, key, message + b"\0", signature)
    assert not signatures.verify(ES256K, bytes([key[0] ^ 1]) + key[1:], message, signature)


@pytest.mark.parametrize("secret", [bytes(32), N.to_bytes(32, "big"), b"\xff" * 32, bytes(31), bytes(33)])
def test_secrets_out_of_range_are_an_error_that_does_not_show_them(secret: bytes) -> None:
    for call in (lambda: secp256k1.public_key(secret), lambda: secp256k1.sign(secret, b"")):
        with pytest.raises(ValueError, match="secp256k1 secret") as caught:
            call()
        assert secret.hex() not in str(caught.value)


# --- ML-DSA-65 -----------------------------------------------------------------------------------------------------

PRIVATE = MLDSA65PrivateKey.from_seed_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()


def test_the_key_of_the_published_seed() -> None:
    """RFC 9881, appendix C: the key of the seed 00 01 … 1f begins so."""
    assert PUBLIC[:32].hex() == "48683d91978e31eb3dddb8b0473482d2b88a5f625949fd8f58a561e696bd4c27"
    assert PUBLIC[32:48].hex() == "d05b38dbb2edf01e664efd81be1ea893"
    assert len(PUBLIC) == mldsa.PUBLIC_KEY
    assert signatures.check_public_key(ML_DSA, PUBLIC)


def test_pure_signatures_with_an_empty_context_verify_and_no_others() -> None:
    signature = PRIVATE.sign(MESSAGE)
    assert len(signature) == mldsa.SIGNATURE
    assert signatures.verify(ML_DSA, PUBLIC, MESSAGE, signature)
    assert signatures.verify(ML_DSA, PUBLIC, MESSAGE, PRIVATE.sign(MESSAGE, b""))
    assert not signatures.verify(ML_DSA, PUBLIC, MESSAGE, PRIVATE.sign(MESSAGE, b"tslg"))
    assert not signatures.verify(ML_DSA, PUBLIC, MESSAGE + b"\0", signature)
    assert not signatures.verify(ML_DSA, PUBLIC, MESSAGE, signature + b"\0")
    assert not signatures.verify(ML_DSA, PUBLIC, MESSAGE, signature[:-1])
    assert not signatures.verify(ML_DSA, PUBLIC[:-1] + bytes([PUBLIC[-1] ^ 1]), MESSAGE, signature)
    smaller = MLDSA44PrivateKey.from_seed_bytes(bytes(range(32)))
    assert not signatures.verify(ML_DSA, smaller.public_key().public_bytes_raw(), MESSAGE, smaller.sign(MESSAGE))


@pytest.mark.parametrize("bit", range(0, 8 * mldsa.SIGNATURE, 1_117))
def test_any_flipped_bit_breaks_it(bit: int) -> None:
    altered = bytearray(PRIVATE.sign(MESSAGE))
    altered[bit // 8] ^= 1 << bit % 8
    assert not signatures.verify(ML_DSA, PUBLIC, MESSAGE, bytes(altered))


def test_a_key_under_which_anybody_can_sign_is_refused() -> None:
    assert not signatures.check_public_key(ML_DSA, bytes(mldsa.PUBLIC_KEY))
    assert not signatures.check_public_key(ML_DSA, PUBLIC[:32] + bytes(mldsa.PUBLIC_KEY - 32))
    assert not signatures.verify(ML_DSA, PUBLIC[:32] + bytes(mldsa.PUBLIC_KEY - 32), MESSAGE, PRIVATE.sign(MESSAGE))
    assert not signatures.check_public_key(ML_DSA, PUBLIC[:-1])
    assert not signatures.check_public_key(ML_DSA, PUBLIC + b"\0")


def test_whoever_uses_ed25519_alone_loads_neither_library() -> None:
    code = (
        "import sys; from tslg.protocol import signatures as s; k = s.ed25519_secret(bytes(32));"
        "assert s.verify(-19, k[32:], b'', s.ed25519_sign(k, b''));"
        "assert not any(m.split('.')[0] in ('coincurve', 'cryptography') for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
