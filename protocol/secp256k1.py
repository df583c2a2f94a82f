"""ECDSA on secp256k1 with SHA-256 (ES256K of RFC 8812): one encoding of each key, one of each signature.

For every signature (r, s) of a message (r, n - s) verifies too; the higher s is refused here, so that a seal cannot be
varied by others. libsecp256k1 is what checks and signs. It is loaded at the first use.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from typing import Any, Final

PUBLIC_KEY: Final = 33
SIGNATURE: Final = 64
SECRET: Final = 32
_REMEMBERED_KEYS: Final = 4_096


@cache
def _library() -> tuple[Any, Any, Any]:
    from coincurve._libsecp256k1 import ffi, lib
    from coincurve.context import GLOBAL_CONTEXT

    return ffi, lib, GLOBAL_CONTEXT.ctx


@lru_cache(maxsize=_REMEMBERED_KEYS)
def _point(public_key: bytes) -> Any:
    """Return the library's form of a compressed point; None for anything else."""
    if len(public_key) != PUBLIC_KEY or public_key[0] not in (2, 3):
        return None
    ffi, lib, context = _library()
    point = ffi.new("secp256k1_pubkey *")
    return point if lib.secp256k1_ec_pubkey_parse(context, point, public_key, PUBLIC_KEY) == 1 else None


def valid_public_key(public_key: bytes) -> bool:
    """Tell whether these are the 33 bytes of a compressed point of the curve (SEC 1, section 2.3.3)."""
    return _point(public_key) is not None


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the 64 bytes r || s, s in the lower half, sign SHA-256 of the message. Never raises."""
    point = _point(public_key)
    if point is None or len(signature) != SIGNATURE:
        return False
    ffi, lib, context = _library()
    parsed = ffi.new("secp256k1_ecdsa_signature *")
    # The library's verification refuses a high s by itself; overflowing r or s do not parse.
    if lib.secp256k1_ecdsa_signature_parse_compact(context, parsed, signature) != 1:
        return False
    return bool(lib.secp256k1_ecdsa_verify(context, parsed, hashlib.sha256(message).digest(), point) == 1)


def public_key(secret: bytes) -> bytes:
    """Return the compressed public key of a 32-byte secret. ValueError if the secret is not from 1 to n - 1."""
    return bytes(_private(secret).public_key.format(compressed=True))


def sign(secret: bytes, message: bytes) -> bytes:
    """Return r || s, s in the lower half, with the nonce of RFC 6979. ValueError as for `public_key`."""
    return bytes(_private(secret).sign_recoverable(message)[:SIGNATURE])


def _private(secret: bytes) -> Any:
    from coincurve import PrivateKey

    if len(secret) != SECRET:
        raise ValueError(f"a secp256k1 secret has {SECRET} bytes, not {len(secret)}")
    try:
        return PrivateKey(secret)
    except ValueError:
        # The library's own message would repeat the secret.
        raise ValueError("a secp256k1 secret lies from 1 to n - 1") from None
