"""Pedersen commitments, and the secret that opens all those of one policy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from tslg.protocol.zk.group import ORDER, SIZE, VALUE, add, mul, mul_base, sub, wide_scalar

LIMIT_BITS: Final = 32
MOST: Final = 2**LIMIT_BITS - 1
"""The largest limit that can be committed to."""
_BLINDING: Final = b"tslg.narrowing.v1 blinding"


def commit(value: int, blinding: int) -> bytes:
    """Return `value * VALUE + blinding * B`: hides the value perfectly, and can be opened to no other."""
    return add(VALUE if value == 1 else mul(value, VALUE), mul_base(blinding))


def shift(element: bytes, value: int) -> bytes:
    """Return the commitment to `value` less than what `element` commits to, under the same blinding."""
    return element if value % ORDER == 0 else sub(element, _values(value))


@lru_cache(maxsize=64)
def _values(value: int) -> bytes:
    """Return a multiple of the generator of values; all claims of a proof shift by the same two or three."""
    return mul(value, VALUE)


@dataclass(frozen=True, slots=True)
class Opening:
    """What a confidential policy allows, and the 32-byte secret from which the blindings of its commitments follow.

    Attributes:
        capabilities: the names whose bits are 1.
        limits: every limit, by name.
        secret: 32 bytes, drawn anew for every policy.
    """

    capabilities: frozenset[str]
    limits: Mapping[str, int]
    secret: bytes = field(repr=False)

    def bit(self, capability: str) -> int:
        """Return 1 if the capability is granted, else 0."""
        return int(capability in self.capabilities)

    def capability_blinding(self, capability: str) -> int:
        """Return the blinding of a capability's commitment."""
        return self._blinding(b"c", capability)

    def limit_blinding(self, name: str) -> int:
        """Return the blinding of a limit's commitment."""
        return self._blinding(b"l", name)

    def _blinding(self, kind: bytes, name: str) -> int:
        if len(self.secret) != SIZE:
            raise ValueError("the secret of an opening is 32 bytes")
        return wide_scalar(hashlib.sha512(_BLINDING + self.secret + kind + name.encode()).digest())
