"""The groups of BLS12-381: which library computes in them, and which bytes stand for a point.

Points come from `py_arkworks_bls12381`, or from `py_ecc` where that cannot be imported; both give the same bytes.
Neither computes in constant time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar
else:
    try:
        from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar
    except ImportError:
        from tslg.protocol.curve_reference import GT, G1Point, G2Point, Scalar

__all__ = [
    "G1_BYTES",
    "G2_BYTES",
    "GT",
    "ORDER",
    "G1Point",
    "G2Point",
    "Scalar",
    "at_zero",
    "decode_g1",
    "decode_g2",
    "scalar",
]

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""The prime order r of both groups."""
G1_BYTES = 48
G2_BYTES = 96
_INFINITY = 0x40
"""The flag of the first byte that marks the identity (appendix of the IETF pairing-friendly-curves draft)."""


def decode_g1(data: object) -> G1Point | None:
    """The point of 48 canonical bytes, or None: not bytes, wrong length, not on the curve, not in the subgroup."""
    if not isinstance(data, bytes) or len(data) != G1_BYTES or _wrong_identity(data):
        return None
    try:
        return G1Point.from_compressed_bytes(data)
    except ValueError:
        return None


def decode_g2(data: object) -> G2Point | None:
    """The point of 96 canonical bytes, or None: not bytes, wrong length, not on the curve, not in the subgroup."""
    if not isinstance(data, bytes) or len(data) != G2_BYTES or _wrong_identity(data):
        return None
    try:
        return G2Point.from_compressed_bytes(data)
    except ValueError:
        return None


def _wrong_identity(data: bytes) -> bool:
    # Arkworks takes every encoding with the infinity flag for the identity, whatever the other bits say.
    return bool(data[0] & _INFINITY) and (data[0] != 0xC0 or any(data[1:]))


def scalar(value: int) -> Scalar:
    """An integer as a scalar, reduced modulo the order; negative integers too."""
    return Scalar(value % ORDER)


def at_zero(xs: list[int]) -> list[int]:
    """Lagrange coefficients: f(0) = Σ coefficient · f(x) for any polynomial of degree < len(xs).

    Raises ValueError for coordinates that are zero or not distinct modulo the order.
    """
    residues = [x % ORDER for x in xs]
    if 0 in residues or len(set(residues)) != len(residues):
        raise ValueError("coordinates must be distinct and not zero")
    coefficients = []
    for x in residues:
        above, below = 1, 1
        for other in residues:
            if other != x:
                above = above * other % ORDER
                below = below * (other - x) % ORDER
        coefficients.append(above * pow(below, -1, ORDER) % ORDER)
    return coefficients
