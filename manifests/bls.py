"""BLS signing keys: making them, signing, aggregating and proving possession. Verifying lives in `tslg.protocol.bls`.

The ciphersuite is the proof-of-possession suite of draft-irtf-cfrg-bls-signature. Secrets are 32 bytes big-endian; the
arithmetic does not run in constant time, so sign where nobody else can measure it.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256

from tslg.protocol.bls import (
    POSSESSION_TAG,
    SIGNATURE_TAG,
    aggregate_verify,
    fast_aggregate_verify,
    verify,
    verify_possession,
)
from tslg.protocol.curve import ORDER, G1Point, G2Point, decode_g2, scalar

__all__ = [
    "aggregate",
    "aggregate_verify",
    "fast_aggregate_verify",
    "prove_possession",
    "public_key",
    "secret_from_seed",
    "sign",
    "verify",
    "verify_possession",
]

SECRET_BYTES = 32
_SEED_BYTES = 32
_KEYGEN_BYTES = 48


def secret_from_seed(ikm: bytes, key_info: bytes = b"") -> bytes:
    """A secret key from at least 32 bytes of secret randomness (KeyGen of the draft). Raises ValueError if shorter."""
    if len(ikm) < _SEED_BYTES:
        raise ValueError("a seed for a BLS key needs at least 32 bytes")
    salt, secret = b"BLS-SIG-KEYGEN-SALT-", 0
    while secret == 0:
        salt = sha256(salt).digest()
        pseudorandom = hmac.digest(salt, ikm + b"\0", "sha256")
        info = key_info + _KEYGEN_BYTES.to_bytes(2, "big")
        first = hmac.digest(pseudorandom, info + b"\1", "sha256")
        second = hmac.digest(pseudorandom, first + info + b"\2", "sha256")
        secret = int.from_bytes((first + second)[:_KEYGEN_BYTES], "big") % ORDER
    return secret.to_bytes(SECRET_BYTES, "big")


def public_key(secret: bytes) -> bytes:
    """The 48-byte public key of a secret. Raises ValueError for a secret that is not 32 bytes or out of range."""
    return (G1Point() * scalar(_number(secret))).to_compressed_bytes()


def sign(secret: bytes, message: bytes) -> bytes:
    """The 96-byte signature over a message. Raises ValueError for a secret that is not 32 bytes or out of range."""
    return _sign(secret, message, SIGNATURE_TAG)


def prove_possession(secret: bytes) -> bytes:
    """The 96-byte proof that one holds the secret of its public key. Raises ValueError as `sign` does."""
    return _sign(secret, public_key(secret), POSSESSION_TAG)


def aggregate(signatures: Sequence[bytes]) -> bytes:
    """The sum of signatures, 96 bytes. Raises ValueError if there are none or one of them is not a point."""
    points = [point for signature in signatures if (point := decode_g2(signature)) is not None]
    if not points or len(points) != len(signatures):
        raise ValueError("a signature to aggregate is not valid, or there is none")
    return sum(points[1:], points[0]).to_compressed_bytes()


def _sign(secret: bytes, message: bytes, tag: bytes) -> bytes:
    number = _number(secret)
    return (G2Point.hash_to_curve(message, tag) * scalar(number)).to_compressed_bytes()


def _number(secret: bytes) -> int:
    if not isinstance(secret, bytes) or len(secret) != SECRET_BYTES:
        raise ValueError("a BLS secret is 32 bytes")
    number = int.from_bytes(secret, "big")
    if not 0 < number < ORDER:
        raise ValueError("a BLS secret lies between 1 and the group order - 1")
    return number
