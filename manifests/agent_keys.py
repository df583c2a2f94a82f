"""What an agent signs with: a classical key, and a post-quantum one beside it where its federation asks for that.

Randomness comes from the caller, but for ML-DSA's own: its signatures are hedged (FIPS 204, section 3.4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tslg.protocol import mldsa, secp256k1
from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.rules.seals import Seat
from tslg.protocol.seal import Signature, to_be_signed
from tslg.protocol.signatures import Alg, ed25519_public_key, ed25519_secret, ed25519_sign

SEED: Final = 32
_TRIES: Final = 8
"""A random string is no secp256k1 secret with probability 2^-128; more tries than that speak of a broken source."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The secrets of one registered key.

    Attributes:
        alg: COSE number of the classical half: Ed25519 or ES256K.
        seed: its 32 secret bytes; never in a repr.
        post_quantum: the 32-byte seed of the ML-DSA-65 half, None without; never in a repr.
    """

    alg: int
    seed: bytes = field(repr=False)
    post_quantum: bytes | None = field(default=None, repr=False)

    @classmethod
    def generate(cls, alg: int, random_bytes: Callable[[int], bytes], *, post_quantum: bool = False) -> SigningKey:
        """Make a key. ValueError for an algorithm that agents' keys cannot have."""
        for _ in range(_TRIES):
            key = cls(alg, random_bytes(SEED), random_bytes(SEED) if post_quantum else None)
            if alg != Alg.ES256K or _in_range(key.seed):
                key.public  # noqa: B018 (raises for an unknown algorithm)
                return key
        raise ValueError("the source of randomness makes no secp256k1 secrets")

    @property
    def public(self) -> bytes:
        """The classical public key: 32 bytes of Ed25519, 33 of ES256K."""
        if self.alg == Alg.ED25519:
            return ed25519_public_key(self.seed)
        if self.alg == Alg.ES256K:
            return secp256k1.public_key(self.seed)
        raise ValueError(f"agents' keys are not of algorithm {self.alg}")

    @property
    def post_quantum_public(self) -> bytes | None:
        """The 1,952 bytes of the ML-DSA-65 public key, None without."""
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

        if self.post_quantum is None:
            return None
        return MLDSA65PrivateKey.from_seed_bytes(self.post_quantum).public_key().public_bytes_raw()

    def fields(self) -> dict[str, Any]:
        """Return what a genesis or registration says of the key."""
        body: dict[str, Any] = {"alg": self.alg, "key": self.public}
        second = self.post_quantum_public
        if second is not None:
            body["post_quantum"] = {"alg": int(Alg.ML_DSA_65), "key": second}
        return body

    def sign(self, alg: int, message: bytes) -> bytes:
        """Sign with the half that `alg` names. ValueError if there is none."""
        if alg == Alg.ML_DSA_65 and self.post_quantum is not None:
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

            signature = MLDSA65PrivateKey.from_seed_bytes(self.post_quantum).sign(message)
            assert len(signature) == mldsa.SIGNATURE
            return signature
        if alg != self.alg:
            raise ValueError(f"this key does not sign with algorithm {alg}")
        if alg == Alg.ED25519:
            return ed25519_sign(ed25519_secret(self.seed), message)
        return secp256k1.sign(self.seed, message)


def sign_seats(
    record: Record, seats: Sequence[Seat], keys: Mapping[Link, SigningKey], *, many: bool = False
) -> list[Signature]:
    """Return the agent's own entries of a record's seal, those of the anchors left out.

    Args:
        record: what is to be sealed.
        seats: whose signatures it needs (`tslg.protocol.rules.seals.seats`).
        keys: the agent's secrets by the record that registers each.
        many: others sign too, so that even a single signature stands in a `COSE_Sign`.

    Raises:
        KeyError: the secret of a seat is not among them.
    """
    many = many or len(seats) > 1
    return [
        Signature(seat.alg, seat.kid, keys[seat.kid].sign(seat.alg, to_be_signed(record.data, seat.alg, many=many)))
        for seat in seats
        if seat.anchors is None
    ]


def _in_range(secret: bytes) -> bool:
    try:
        secp256k1.public_key(secret)
    except ValueError:
        return False
    return True
