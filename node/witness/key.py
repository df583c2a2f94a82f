"""A witness's secret keys, in one file that its owner alone can read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tslg.manifests.files import PRIVATE_MODE, read_bytes, write_once
from tslg.protocol import cosignature
from tslg.protocol.checkpoint import Checkpoint
from tslg.protocol.errors import StoreError
from tslg.protocol.note import COSIGNATURE, COSIGNATURE_ML_DSA_44, NoteSignature, VerifierKey, valid_name
from tslg.protocol.signatures import ed25519_public_key, ed25519_secret, ed25519_sign

ALGORITHMS: Final = {"Ed25519": COSIGNATURE, "ML-DSA-44": COSIGNATURE_ML_DSA_44}
"""Signature types by the name that a command line gives them."""
_TYPE: Final = "tslg witness key"
_FILE_BYTES: Final = 4096
_SEED: Final = 32


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """One secret key of a witness: its name, signature type and 32-byte seed."""

    name: str
    type: int
    seed: bytes = field(repr=False)

    @property
    def public(self) -> VerifierKey:
        """The key that verifies."""
        if self.type == COSIGNATURE:
            return VerifierKey(self.name, self.type, ed25519_public_key(self.seed))
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

        return VerifierKey(
            self.name, self.type, MLDSA44PrivateKey.from_seed_bytes(self.seed).public_key().public_bytes_raw()
        )

    def cosign(self, checkpoint: Checkpoint, timestamp: int) -> NoteSignature:
        """Return the cosignature of a checkpoint at a time, in seconds since 1970."""
        key = self.public
        data = cosignature.message(key, checkpoint, timestamp)
        if self.type == COSIGNATURE:
            return cosignature.entry(key, timestamp, ed25519_sign(ed25519_secret(self.seed), data))
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

        return cosignature.entry(key, timestamp, MLDSA44PrivateKey.from_seed_bytes(self.seed).sign(data))


def write(path: Path, keys: list[WitnessKey]) -> None:
    """Write the file of a witness's keys; it must not exist. Raises ManifestError."""
    value = {
        "type": _TYPE,
        "keys": [{"name": key.name, "signature_type": key.type, "seed": key.seed.hex()} for key in keys],
    }
    write_once(path, (json.dumps(value, indent=2) + "\n").encode(), PRIVATE_MODE)


def read(path: Path) -> list[WitnessKey]:
    """Read the file of a witness's keys. Raises StoreError with `TSLG-D-KEY`; ManifestError if it cannot be read."""
    try:
        value = json.loads(read_bytes(path, _FILE_BYTES))
        if value["type"] != _TYPE:
            raise ValueError("another type")
        keys = [WitnessKey(item["name"], item["signature_type"], bytes.fromhex(item["seed"])) for item in value["keys"]]
        if not keys or not all(
            valid_name(key.name) and key.type in ALGORITHMS.values() and len(key.seed) == _SEED for key in keys
        ):
            raise ValueError("no keys")
    except (ValueError, TypeError, KeyError, AttributeError):
        # The cause is left out on purpose: it could quote the file.
        raise StoreError(f"{path} is not a witness's key file", code="TSLG-D-KEY", mend="restore it") from None
    return keys
