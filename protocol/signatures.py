"""Signature schemes by COSE number: the one place where a signature is checked.

Libraries disagree on which edge cases of Ed25519 verify, and two readers that disagree have forked the federation.
The accepted rule is therefore pinned: S < L; A and R canonical; A in the prime-order subgroup and not the identity;
R not of small order; the equation without the cofactor. libsodium's `crypto_sign_open` checks all of it but the
subgroup of A, which `check_public_key` adds; `verify` includes that check and remembers its answer for each key.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from types import MappingProxyType

from nacl import bindings
from nacl._sodium import ffi, lib

from tslg.protocol import bls, mldsa, secp256k1

# What `nacl.bindings.crypto_sign_open` calls. Called here without the buffer for a copy of the message, which nobody
# reads and which would cost a fortieth of the signature.
_open = lib.crypto_sign_open
_NULL = ffi.NULL
_SEED = 32
_PUBLIC_KEY = 32
_SECRET = 64
_SIGNATURE = 64
_REMEMBERED_KEYS = 65_536
"""Keys whose check is remembered, about 10 MB: a check costs 30 µs, most of a signature."""


class Alg(IntEnum):
    """COSE algorithm numbers of the whitelist; the BLS ones are from the private-use range."""

    ED25519 = -19
    ES256K = -47
    ML_DSA_65 = -49
    BLS_THRESHOLD = -70001
    BLS_MULTISIG = -70002


@lru_cache(maxsize=_REMEMBERED_KEYS)
def _ed25519_key(public_key: bytes) -> bool:
    return len(public_key) == _PUBLIC_KEY and bindings.crypto_core_ed25519_is_valid_point(public_key)


def _ed25519_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    if len(signature) != _SIGNATURE or not _ed25519_key(public_key):
        return False
    return _opens(signature + message, public_key)


def _opens(signed: bytes, public_key: bytes) -> bool:
    return bool(_open(_NULL, _NULL, signed, len(signed), public_key) == 0)


_VERIFIERS: MappingProxyType[int, Callable[[bytes, bytes, bytes], bool]] = MappingProxyType(
    {
        int(Alg.ED25519): _ed25519_verify,
        int(Alg.ES256K): secp256k1.verify,
        int(Alg.ML_DSA_65): mldsa.verify,
        int(Alg.BLS_THRESHOLD): bls.verify,
        int(Alg.BLS_MULTISIG): bls.verify,
    }
)
_KEY_CHECKS: MappingProxyType[int, Callable[[bytes], bool]] = MappingProxyType(
    {
        int(Alg.ED25519): _ed25519_key,
        int(Alg.ES256K): secp256k1.valid_public_key,
        int(Alg.ML_DSA_65): mldsa.valid_public_key,
        int(Alg.BLS_THRESHOLD): bls.valid_public_key,
        int(Alg.BLS_MULTISIG): bls.valid_public_key,
    }
)

CLASSICAL: frozenset[int] = frozenset((int(Alg.ED25519), int(Alg.ES256K)))
"""The numbers that an agent's key may have; ML-DSA-65 stands beside one of them."""
SUPPORTED: frozenset[int] = frozenset(_VERIFIERS)
"""The numbers that `verify` knows. For any other it is False."""


def verify(alg: int, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` over `message` verifies under `public_key`. False for malformed input, never raises.

    Args:
        alg: COSE number; False if it is not in `SUPPORTED`.
        public_key: Ed25519 32 bytes, ES256K 33 (compressed), ML-DSA-65 1,952, BLS 48 (for a multisig, the sum of the
            signers' keys or one signer's).
        message: the bytes that were signed.
        signature: Ed25519 and ES256K 64 bytes, ML-DSA-65 3,309, BLS 96.
    """
    if not (
        isinstance(alg, int)
        and isinstance(public_key, bytes)
        and isinstance(message, bytes)
        and isinstance(signature, bytes)
    ):
        return False
    verifier = _VERIFIERS.get(alg)
    return verifier is not None and verifier(public_key, message, signature)


def ed25519_opener(public_key: bytes) -> Callable[[bytes], bool] | None:
    """Return what `verify` does for one Ed25519 key, made ready for many messages; None if the key is not acceptable.

    The function takes the 64 signature bytes followed by the message.
    """
    if not isinstance(public_key, bytes) or not _ed25519_key(public_key):
        return None

    return lambda signed: _open(_NULL, _NULL, signed, len(signed), public_key) == 0


def check_public_key(alg: int, public_key: bytes) -> bool:
    """Tell whether `public_key` may be registered: canonical, in the prime-order subgroup, not the identity.

    ML-DSA-65 has no such group: there, of its length, and not one under which anybody can sign.
    False for malformed input and unknown numbers, never raises. It says nothing about possession of the secret.
    """
    if not isinstance(alg, int) or not isinstance(public_key, bytes):
        return False
    key_check = _KEY_CHECKS.get(alg)
    return key_check is not None and key_check(public_key)


def ed25519_secret(seed: bytes) -> bytes:
    """Return the 64-byte secret key (seed, then public key) of a 32-byte seed. ValueError for another length."""
    if len(seed) != _SEED:
        raise ValueError(f"an Ed25519 seed has {_SEED} bytes, not {len(seed)}")
    return bindings.crypto_sign_seed_keypair(seed)[1]


def ed25519_public_key(seed: bytes) -> bytes:
    """Return the 32-byte public key of a 32-byte seed. ValueError for another length."""
    return ed25519_secret(seed)[_SEED:]


def ed25519_sign(secret: bytes, message: bytes) -> bytes:
    """Return the 64-byte signature by a 64-byte secret key (RFC 8032, deterministic). ValueError for another length."""
    if len(secret) != _SECRET:
        raise ValueError(f"an Ed25519 secret key has {_SECRET} bytes, not {len(secret)}")
    size = len(message)
    signed = ffi.new("unsigned char[]", _SIGNATURE + size)
    if lib.crypto_sign(signed, _NULL, message, size, secret) != 0:
        raise RuntimeError("libsodium did not sign")
    return bytes(ffi.buffer(signed, _SIGNATURE))
