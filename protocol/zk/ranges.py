"""Ranges: a commitment to a number of 32 bits, taken apart into commitments to its bits.

Bits 1 to 31 have commitments of their own; that of bit 0 is what is left, so that together they are the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tslg.protocol.zk.commitments import LIMIT_BITS, MOST, commit
from tslg.protocol.zk.group import ORDER, SIZE, add, sub
from tslg.protocol.zk.orproof import Claim, Nonces, Witness

BITS_SIZE: Final = (LIMIT_BITS - 1) * SIZE
"""Bytes of the commitments to bits 1 to 31."""


class Parts(NamedTuple):
    """A number taken apart: commitments to bits 1 to 31, and what opens all 32, the lowest bit first."""

    upper: tuple[bytes, ...]
    witnesses: tuple[Witness, ...]


def take_apart(value: int, blinding: int, nonces: Nonces) -> Parts:
    """Commit to the bits of a number.

    Raises:
        ValueError: it does not fit 32 bits.
    """
    if not 0 <= value <= MOST:
        raise ValueError("the number does not fit 32 bits")
    drawn = [nonces.draw() for _ in range(1, LIMIT_BITS)]
    lowest = (blinding - sum(part << index for index, part in enumerate(drawn, 1))) % ORDER
    witnesses = tuple(Witness(value >> index & 1, part) for index, part in enumerate((lowest, *drawn)))
    return Parts(tuple(commit(*witness) for witness in witnesses[1:]), witnesses)


def claims(element: bytes, upper: Sequence[bytes]) -> list[Claim]:
    """Return the claims that bits 1 to 31, and what is left of `element` as bit 0, are bits: 32 of them."""
    total = upper[-1]
    for part in reversed(upper[:-1]):
        total = add(add(total, total), part)
    lowest = sub(element, add(total, total))
    return [Claim(part, (0, 1)) for part in (lowest, *upper)]
