"""Signatures in a run: real ones, remembered once checked, or stand-ins at the cost of a hash.

A stand-in is the SHA-512 of the secret and the message. Whoever does not have the secret cannot make it, and it is
checked by making it again, for which the run knows the secrets of all keys that signed something. Only the run's own
process is affected, and only while it lasts. Every check and signature is charged its measured time on the virtual
clock, so that what costs a node time in the world costs it time here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from tslg.manifests import agent_keys
from tslg.node import drafting
from tslg.node.witness import key as witness_keys
from tslg.protocol import note, signatures
from tslg.protocol.signatures import Alg

VERIFY_US: Final = 42
"""One check of an Ed25519 signature."""
SIGN_US: Final = 17
"""One Ed25519 signature."""
_REMEMBERED: Final = 400_000
_SECRET: Final = 32


class Signing:
    """How signatures are made and checked for the length of a run.

    Args:
        modelled: whether stand-ins take the place of Ed25519 signatures.

    Attributes:
        owed: what checks and signatures cost since somebody last looked, µs of one node's time; those that were
            remembered included.
    """

    def __init__(self, modelled: bool) -> None:
        self.modelled = modelled
        self.owed = 0
        self._secrets: dict[bytes, bytes] = {}
        self._known: dict[tuple[int, bytes, bytes, bytes], bool] = {}
        self._verifiers = signatures._VERIFIERS
        self._sign = signatures.ed25519_sign

    @property
    def name(self) -> str:
        """What a summary calls it."""
        return "modelled" if self.modelled else "real"

    def verify(self, alg: int, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Check a signature as `signatures.verify` does."""
        self.owed += VERIFY_US
        if self.modelled and alg == Alg.ED25519:
            secret = self._secrets.get(public_key)
            return secret is not None and _stand_in(secret, message) == signature
        asked = (alg, public_key, signature, message)
        known = self._known.get(asked)
        if known is None:
            known = self._verifiers[alg](public_key, message, signature)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[asked] = known
        return known

    def sign(self, secret: bytes, message: bytes) -> bytes:
        """Sign as `signatures.ed25519_sign` does."""
        self.owed += SIGN_US
        if not self.modelled:
            return self._sign(secret, message)
        self._secrets.setdefault(secret[_SECRET:], secret[:_SECRET])
        return _stand_in(secret[:_SECRET], message)

    def opener(self, public_key: bytes) -> Any:
        """Return what `verify` does for one key, as `signatures.ed25519_opener` does."""
        size = 64
        return lambda signed: self.verify(int(Alg.ED25519), public_key, signed[size:], signed[:size])

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Sign and check so for the length of a block, in this process."""
        table = MappingProxyType({alg: self._verifier(alg) for alg in signatures.SUPPORTED})
        places: list[tuple[Any, str, Any]] = [
            (signatures, "_VERIFIERS", table),
            (signatures, "ed25519_opener", self.opener),
            (drafting, "ed25519_sign", self.sign),
            (note, "ed25519_sign", self.sign),
            (agent_keys, "ed25519_sign", self.sign),
            (witness_keys, "ed25519_sign", self.sign),
        ]
        before = [getattr(module, name) for module, name, _ in places]
        for module, name, value in places:
            setattr(module, name, value)
        try:
            yield
        finally:
            for (module, name, _), value in zip(places, before, strict=True):
                setattr(module, name, value)

    def _verifier(self, alg: int) -> Any:
        return lambda public_key, message, signature: self.verify(alg, public_key, message, signature)


def _stand_in(secret: bytes, message: bytes) -> bytes:
    return hashlib.sha512(secret + message).digest()
