"""The transcript of a proof: all that was said so far, from which the challenges follow (Fiat-Shamir)."""

from __future__ import annotations

import hashlib
from typing import Final

from tslg.protocol.zk.group import wide_scalar

DOMAIN: Final = b"tslg.narrowing.v1"


class Transcript:
    """Absorbs labelled messages in order; a challenge depends on every byte that was absorbed before it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha512()
        self.absorb(b"domain", DOMAIN)

    def absorb(self, label: bytes, message: bytes) -> None:
        """Append a message, each part preceded by its length (8 bytes, big-endian), so that none runs into another."""
        for part in (label, message):
            self._hash.update(len(part).to_bytes(8, "big"))
            self._hash.update(part)

    def challenge(self, label: bytes) -> int:
        """Return a scalar that nobody can foresee before the last message was fixed."""
        self.absorb(label, b"")
        return wide_scalar(self._hash.digest())

    def state(self) -> bytes:
        """Return a digest (64 bytes) of all that was absorbed so far."""
        return self._hash.digest()
