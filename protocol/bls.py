"""BLS signatures on BLS12-381 with proofs of possession: everything a verifier needs.

The ciphersuite is BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_ of the CFRG draft draft-irtf-cfrg-bls-signature: public
keys are points of G1 (48 bytes), signatures points of G2 (96 bytes). Keys and signatures that are outside the subgroup
or not canonically encoded are refused, and so is the identity as a key. The identity is a signature like any other: it
verifies exactly where keys cancel out.

Verifiers take anything and answer False for whatever is malformed; they never raise. The functions that verify for
several keys are only sound if every key came with a proof of possession that was verified: check it once, when the key
enters a manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from math import comb
from typing import TypeGuard

from tslg.protocol.curve import G1_BYTES, G2_BYTES, GT, G1Point, G2Point, at_zero, decode_g1, decode_g2, scalar

SIGNATURE_TAG = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
"""Domain separation of signatures."""
POSSESSION_TAG = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
"""Domain separation of proofs of possession."""

_COEFFICIENT_BYTES = 16
"""A batch accepts a wrong member with a chance of 2^-128 for each hash its maker computes."""
_REMEMBERED = 256
"""Anchor sets whose proofs were checked, at most 2.4 MB; and signatures, with messages of a record's size at most."""

_REMEMBERED_KEYS = 4_096
"""Keys whose check is remembered, about 1 MB: each check costs as much as ten of an agent's signatures."""


def valid_public_key(public_key: object) -> bool:
    """KeyValidate: 48 canonical bytes of a point in the subgroup that is not the identity."""
    return _key(public_key) is not None


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the 96-byte signature is the key's over the message (Verify of the draft)."""
    return _verify(public_key, message, signature, SIGNATURE_TAG)


def verify_possession(public_key: bytes, proof: bytes) -> bool:
    """Whether the 96-byte proof shows that its maker holds the key's secret (PopVerify of the draft)."""
    return _verify(public_key, public_key, proof, POSSESSION_TAG)


def aggregate_verify(public_keys: Sequence[bytes], messages: Sequence[bytes], signature: bytes) -> bool:
    """Whether the signature aggregates one of each key over its message (AggregateVerify of the draft).

    Lists of equal length, not empty. Messages may repeat: proofs of possession are what excludes rogue keys.
    """
    keys, point = _keys(public_keys), decode_g2(signature)
    if keys is None or point is None or not _all_bytes(messages) or len(messages) != len(keys):
        return False
    hashes = [G2Point.hash_to_curve(message, SIGNATURE_TAG) for message in messages]
    return GT.pairing_check([*keys, -G1Point()], [*hashes, point])


def fast_aggregate_verify(public_keys: Sequence[bytes], message: bytes, signature: bytes) -> bool:
    """Whether the signature aggregates one of each key over one message (FastAggregateVerify of the draft)."""
    return _all_bytes(public_keys) and _same_message(tuple(public_keys), message, signature, SIGNATURE_TAG)


def verify_possessions(public_keys: Sequence[bytes], proofs: Sequence[bytes]) -> bool:
    """Whether each key comes with its proof of possession; lists of equal length, not empty.

    One product of n + 1 pairings instead of n of two. Each equation is raised to a 128-bit coefficient that is hashed
    from all inputs, so no choice of proofs makes errors cancel. Answers are remembered: they cannot change.
    """
    if not _all_bytes(public_keys) or not _all_bytes(proofs) or len(public_keys) != len(proofs):
        return False
    return _possessions(tuple(public_keys), tuple(proofs))


def verify_multisig(
    member_keys: Sequence[bytes], threshold: int, message: bytes, signature: bytes, bitmap: bytes
) -> bool:
    """Whether at least `threshold` of the members signed, namely those whose bit is set.

    Member i is bit i % 8 (least significant first) of byte i // 8. The bitmap has exactly ceil(n / 8) bytes and no bit
    beyond n. Member keys are distinct, so that nobody counts twice.
    """
    keys = _keys(member_keys)
    if keys is None or len(set(member_keys)) != len(keys):
        return False
    if not isinstance(bitmap, bytes) or len(bitmap) != (len(keys) + 7) // 8:
        return False
    bits = int.from_bytes(bitmap, "little")
    if type(threshold) is not int or threshold < 1 or bits.bit_count() < threshold or bits >> len(keys):
        return False
    signers = tuple(key for index, key in enumerate(member_keys) if bits >> index & 1)
    return _same_message(signers, message, signature, SIGNATURE_TAG)


def shares_match_group(member_keys: Sequence[bytes], threshold: int, group_key: bytes) -> bool:
    """Whether any `threshold` members, and no fewer, hold the group key: member i's key is F(i + 1) and the group's is
    F(0) for one polynomial F in the exponent, of degree `threshold` - 1.

    The keys are a code word of a Reed-Solomon code; its product with a word of the dual code, hashed from all inputs,
    is the identity (the test of the SCRAPE secret sharing scheme, Cascudo and David 2017). Answers are remembered.
    """
    if _keys(member_keys) is None or _key(group_key) is None:
        return False
    if type(threshold) is not int or not 1 <= threshold <= len(member_keys):
        return False
    return _shares_match(tuple(member_keys), threshold, group_key)


@lru_cache(maxsize=_REMEMBERED)
def _shares_match(member_keys: tuple[bytes, ...], threshold: int, group_key: bytes) -> bool:
    points = _keys([group_key, *member_keys])
    assert points is not None
    encoded = [point.to_compressed_bytes() for point in points]
    dual = _coefficients(b"tslg.bls.shares.v1", [threshold.to_bytes(8, "big"), *encoded], len(points) - threshold)
    # The first `threshold` points alone, as shares of one degree less, must fail: else fewer members could sign.
    return _in_code(points, dual) and not _in_code(points[:threshold], [1])


def interpolate_keys(shares: Mapping[int, bytes]) -> bytes:
    """The group's public key from any `threshold` members' keys, by member index from 0.

    Raises ValueError for an empty mapping, a negative index or a key that is not valid.
    """
    points = _keys([shares[index] for index in shares])
    if points is None:
        raise ValueError("a public key share is not valid, or there is none")
    weights = [scalar(weight) for weight in at_zero(_coordinates(shares))]
    return G1Point.multiexp_unchecked(points, weights).to_compressed_bytes()


def interpolate_signatures(shares: Mapping[int, bytes]) -> bytes:
    """The group's signature from any `threshold` members' signatures over one message, by member index from 0.

    The shares are not verified. Raises ValueError for an empty mapping, a negative index or bytes that are not a point.
    """
    points = [point for index in shares if (point := decode_g2(shares[index])) is not None]
    if not points or len(points) != len(shares):
        raise ValueError("a signature share is not valid, or there is none")
    weights = [scalar(weight) for weight in at_zero(_coordinates(shares))]
    return G2Point.multiexp_unchecked(points, weights).to_compressed_bytes()


def _coordinates(shares: Mapping[int, bytes]) -> list[int]:
    if any(type(index) is not int or index < 0 for index in shares):
        raise ValueError("a member's index is an integer from 0")
    return [index + 1 for index in shares]


def _all_bytes(value: object) -> TypeGuard[Sequence[bytes]]:
    return isinstance(value, (list, tuple)) and all(isinstance(item, bytes) for item in value)


def _key(public_key: object) -> G1Point | None:
    return _decoded(public_key) if isinstance(public_key, bytes) and len(public_key) == G1_BYTES else None


@lru_cache(maxsize=_REMEMBERED_KEYS)
def _decoded(public_key: bytes) -> G1Point | None:
    point = decode_g1(public_key)
    return None if point is None or point == G1Point.identity() else point


def _keys(public_keys: object) -> list[G1Point] | None:
    if not isinstance(public_keys, (list, tuple)) or not public_keys:
        return None
    points = [point for key in public_keys if (point := _key(key)) is not None]
    return points if len(points) == len(public_keys) else None


def _verify(public_key: object, message: object, signature: object, tag: bytes) -> bool:
    return isinstance(public_key, bytes) and _same_message((public_key,), message, signature, tag)


def _same_message(public_keys: tuple[bytes, ...], message: object, signature: object, tag: bytes) -> bool:
    # Only what has the right shape is worth remembering: a liar shall not fill the memory.
    if _keys(public_keys) is None or not isinstance(message, bytes):
        return False
    if not isinstance(signature, bytes) or len(signature) != G2_BYTES:
        return False
    return _aggregate_holds(public_keys, message, signature, tag)


@lru_cache(maxsize=_REMEMBERED)
def _aggregate_holds(public_keys: tuple[bytes, ...], message: bytes, signature: bytes, tag: bytes) -> bool:
    """Answers are remembered: every walk meets its federation's seals again, each of which costs 30 of an agent's."""
    keys = _keys(public_keys)
    assert keys is not None
    aggregate = sum(keys[1:], keys[0])
    return aggregate != G1Point.identity() and _holds(aggregate, message, signature, tag)


def _holds(key: G1Point, message: object, signature: object, tag: bytes) -> bool:
    point = decode_g2(signature)
    if point is None or not isinstance(message, bytes):
        return False
    return GT.pairing_check([key, -G1Point()], [G2Point.hash_to_curve(message, tag), point])


@lru_cache(maxsize=_REMEMBERED)
def _possessions(public_keys: tuple[bytes, ...], proofs: tuple[bytes, ...]) -> bool:
    keys = _keys(public_keys)
    points = [point for proof in proofs if (point := decode_g2(proof)) is not None]
    if keys is None or len(points) != len(keys):
        return False
    coefficients = _coefficients(b"tslg.bls.possessions.v1", [*public_keys, *proofs], len(keys))
    weights = [scalar(weight) for weight in coefficients]
    weighted = [key * weight for key, weight in zip(keys, weights, strict=True)]
    hashes = [G2Point.hash_to_curve(key, POSSESSION_TAG) for key in public_keys]
    return GT.pairing_check([*weighted, -G1Point()], [*hashes, G2Point.multiexp_unchecked(points, weights)])


def _coefficients(tag: bytes, inputs: Sequence[bytes], count: int) -> list[int]:
    """1, then `count` - 1 numbers of 128 bits hashed from the inputs, each of which has one fixed length."""
    seed = sha256(b"".join([tag, len(inputs).to_bytes(8, "big"), *inputs])).digest()
    digests = [sha256(seed + index.to_bytes(8, "big")).digest() for index in range(1, count)]
    return [1, *(int.from_bytes(digest[:_COEFFICIENT_BYTES], "big") for digest in digests)]


def _in_code(points: list[G1Point], dual: list[int]) -> bool:
    """Whether the points at 0, 1, … are orthogonal to the dual word that the polynomial `dual` stands for.

    The dual word's weights 1 / Π (x - other), times (n - 1)!, are binomial coefficients of alternating sign: small
    numbers, which make the sum cheap.
    """
    signed = [-point if x % 2 else point for x, point in enumerate(points)]
    weights = []
    for x in range(len(points)):
        value = sum(coefficient * x**power for power, coefficient in enumerate(dual))
        weights.append(scalar(comb(len(points) - 1, x) * value))
    return G1Point.multiexp_unchecked(signed, weights) == G1Point.identity()
