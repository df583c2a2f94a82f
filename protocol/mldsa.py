"""ML-DSA-65 (FIPS 204), pure, with the empty context, as COSE number -49 names it: keys and verification.

Signing lies outside this layer: it draws randomness. The library is loaded at the first use.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

PUBLIC_KEY: Final = 1_952
SIGNATURE: Final = 3_309
SEED: Final = 32
_RHO: Final = 32
"""The first bytes of a public key seed the matrix A; the rest is the vector t1."""
_REMEMBERED_KEYS: Final = 1_024
"""Unpacked keys that are kept: each has its matrix expanded, some 50 KiB."""


@lru_cache(maxsize=_REMEMBERED_KEYS)
def _unpacked(public_key: bytes) -> MLDSA65PublicKey | None:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

    if len(public_key) != PUBLIC_KEY or not any(public_key[_RHO:]):
        return None
    return MLDSA65PublicKey.from_public_bytes(public_key)


def valid_public_key(public_key: bytes) -> bool:
    """Tell whether these are the 1,952 bytes of a public key whose vector t1 is not zero.

    Every string of that length is some key (FIPS 204, algorithm 23). Under one with t1 = 0 anybody can sign.
    """
    return _unpacked(public_key) is not None


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the 3,309 bytes sign the message with an empty context (FIPS 204, algorithm 3). Never raises."""
    from cryptography.exceptions import InvalidSignature

    key = _unpacked(public_key)
    if key is None or len(signature) != SIGNATURE:
        return False
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
