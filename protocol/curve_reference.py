"""The groups of BLS12-381 on py_ecc: the part of py_arkworks_bls12381's interface that `curve` uses, in pure Python.

A fallback for machines without the fast library and an independent reference for tests. About 150 times slower.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from typing import Any, Self, final

# py_ecc raises the interpreter's recursion limit a hundredfold when it is imported, which turns a deeply nested foreign
# JSON text, refused otherwise, into the end of the process. It does not need it.
_limit = sys.getrecursionlimit()
from py_ecc.bls.g2_primitives import G1_to_pubkey, G2_to_signature, pubkey_to_G1, signature_to_G2, subgroup_check  # noqa: E402
from py_ecc.bls.hash_to_curve import hash_to_G2  # noqa: E402
from py_ecc.fields import optimized_bls12_381_FQ12 as FQ12  # noqa: E402
from py_ecc.optimized_bls12_381.optimized_curve import G1, G2, Z1, Z2, add, eq, multiply, neg  # noqa: E402
from py_ecc.optimized_bls12_381.optimized_pairing import final_exponentiate, pairing  # noqa: E402

sys.setrecursionlimit(_limit)

# py_ecc's points are tuples of field elements whose types differ by group; nothing here looks inside them.
_Raw = Any
Scalar = int


class _Point:
    """What both groups share: the operations, not the encodings."""

    _generator: _Raw
    _zero: _Raw

    def __init__(self, raw: _Raw = None) -> None:
        self._raw = self._generator if raw is None else raw

    @classmethod
    def identity(cls) -> Self:
        """The neutral element."""
        return cls(cls._zero)

    def __add__(self, other: Self) -> Self:
        return type(self)(add(self._raw, other._raw))

    def __sub__(self, other: Self) -> Self:
        return self + -other

    def __neg__(self) -> Self:
        return type(self)(neg(self._raw))

    def __mul__(self, scalar: int) -> Self:
        return type(self)(multiply(self._raw, scalar))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and bool(eq(self._raw, other._raw))

    __hash__ = None  # type: ignore[assignment]  # equal points have many coordinates

    @classmethod
    def multiexp_unchecked(cls, points: list[Self], scalars: list[int]) -> Self:
        """The sum of the points, each times its scalar."""
        total = cls.identity()
        for point, scalar in zip(points, scalars, strict=True):
            total = total + point * scalar
        return total


@final
class G1Point(_Point):
    """A point of the first group, 48 bytes compressed."""

    _generator, _zero = G1, Z1

    def to_compressed_bytes(self) -> bytes:
        """The 48 bytes of the point."""
        return bytes(G1_to_pubkey(self._raw))

    @classmethod
    def from_compressed_bytes(cls, data: bytes) -> G1Point:
        """The point that 48 bytes stand for. Raises ValueError if there is none, or not in the subgroup."""
        return cls(_checked(pubkey_to_G1(data)))  # type: ignore[arg-type]


@final
class G2Point(_Point):
    """A point of the second group, 96 bytes compressed."""

    _generator, _zero = G2, Z2

    def to_compressed_bytes(self) -> bytes:
        """The 96 bytes of the point."""
        return bytes(G2_to_signature(self._raw))

    @classmethod
    def from_compressed_bytes(cls, data: bytes) -> G2Point:
        """The point that 96 bytes stand for. Raises ValueError if there is none, or not in the subgroup."""
        return cls(_checked(signature_to_G2(data)))  # type: ignore[arg-type]

    @classmethod
    def hash_to_curve(cls, message: bytes, dst: bytes) -> G2Point:
        """RFC 9380, suite BLS12381G2_XMD:SHA-256_SSWU_RO_."""
        return cls(hash_to_G2(message, dst, sha256))  # type: ignore[arg-type]  # annotated as an instance


@final
class GT:
    """The target group, of which only the check is needed."""

    @staticmethod
    def pairing_check(g1s: list[G1Point], g2s: list[G2Point]) -> bool:
        """Whether the product of the pairings is one."""
        product = FQ12.one()
        for left, right in zip(g1s, g2s, strict=True):
            product = product * pairing(right._raw, left._raw, final_exponentiate=False)
        return bool(final_exponentiate(product) == FQ12.one())


def _checked(raw: _Raw) -> _Raw:
    if not subgroup_check(raw):
        raise ValueError("the point is not in the subgroup of prime order")
    return raw
