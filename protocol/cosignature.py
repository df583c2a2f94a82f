"""Cosignatures: a witness's word that a checkpoint extends all it saw of that log, as C2SP `tlog-cosignature` has them.

Two types: Ed25519 over the checkpoint's text behind a line with the time, and ML-DSA-44 over a small structure that
also names the witness. Normative text: docs/spec/checkpoint.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from tslg.protocol.checkpoint import Checkpoint, Signed
from tslg.protocol.errors import CheckpointError
from tslg.protocol.note import COSIGNATURE, COSIGNATURE_ML_DSA_44, NoteSignature, VerifierKey, distinct_keys
from tslg.protocol.signatures import Alg
from tslg.protocol.signatures import verify as verify_signature

LATEST: Final = 2**63 - 1
"""Largest timestamp, in seconds."""
_TIME_BYTES: Final = 8
_LABEL: Final = b"subtree/v1\n\0"


class Policy(NamedTuple):
    """Which witnesses count, and how many of them must have cosigned."""

    witnesses: tuple[VerifierKey, ...]
    quorum: int


def policy_of(witnesses: Iterable[VerifierKey], quorum: int) -> Policy:
    """Return a policy that can be met, and in which no witness can count twice.

    Raises:
        CheckpointError: `TSLG-K-KEY` for a key that cosigns nothing, one named twice, or a quorum out of range.
    """
    keys = tuple(witnesses)
    if any(key.type not in (COSIGNATURE, COSIGNATURE_ML_DSA_44) for key in keys):
        raise CheckpointError("a witness's key is of signature type 04 or 06", code="TSLG-K-KEY")
    if not distinct_keys(keys) or len({key.name for key in keys}) < len(keys):
        raise CheckpointError("two witnesses have one name or one key", code="TSLG-K-KEY", mend="name each once")
    if not 0 <= quorum <= len(keys):
        raise CheckpointError(f"a quorum of {quorum} of {len(keys)} witnesses", code="TSLG-K-KEY")
    return Policy(keys, quorum)


def message(key: VerifierKey, checkpoint: Checkpoint, timestamp: int) -> bytes:
    """Return the bytes that the witness with this key signs for a checkpoint. ValueError for another type of key."""
    if key.type == COSIGNATURE:
        return f"cosignature/v1\ntime {timestamp}\n{checkpoint.text}".encode()
    if key.type != COSIGNATURE_ML_DSA_44:
        raise ValueError(f"a key of type {key.type} does not cosign")
    name, origin = key.name.encode(), checkpoint.origin.encode()
    return b"".join(
        (
            _LABEL,
            bytes((len(name),)) + name,
            timestamp.to_bytes(_TIME_BYTES, "big"),
            bytes((len(origin),)) + origin,
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def entry(key: VerifierKey, timestamp: int, signature: bytes) -> NoteSignature:
    """Return the signature line of a cosignature."""
    return NoteSignature(key.name, key.id, timestamp.to_bytes(_TIME_BYTES, "big") + signature)


def verify(key: VerifierKey, checkpoint: Checkpoint, line: NoteSignature) -> int | None:
    """Return the time, in seconds since 1970, at which a witness cosigned; None if that is not its cosignature.

    A cosignature of a checkpoint always names its time: one at 0 is none. Never raises.
    """
    if not key.made(line) or len(line.value) <= _TIME_BYTES:
        return None
    timestamp = int.from_bytes(line.value[:_TIME_BYTES], "big")
    if not 0 < timestamp <= LATEST or len(checkpoint.origin.encode()) > 255:
        return None
    signature = line.value[_TIME_BYTES:]
    if key.type == COSIGNATURE:
        signed = verify_signature(Alg.ED25519, key.public, message(key, checkpoint, timestamp), signature)
    elif key.type == COSIGNATURE_ML_DSA_44:
        signed = _ml_dsa_44_verify(key.public, message(key, checkpoint, timestamp), signature)
    else:
        return None
    return timestamp if signed else None


def cosigned(signed: Signed, policy: Policy, latest: int | None = None) -> Mapping[VerifierKey, int]:
    """Return the witnesses of a policy that cosigned a checkpoint, with the times; each counts once.

    Args:
        signed: the checkpoint; lines of keys that the policy does not name are ignored.
        policy: whose cosignatures are looked for.
        latest: seconds since 1970; a cosignature of a later time does not count.

    Raises:
        CheckpointError: `TSLG-K-COSIGNATURE` if a line claims to be by a witness of the policy and is not.
    """
    times: dict[VerifierKey, int] = {}
    for key in policy.witnesses:
        for line in signed.signatures:
            if not key.made(line):
                continue
            timestamp = verify(key, signed.checkpoint, line)
            if timestamp is None:
                raise CheckpointError(
                    f"a line claims to be a cosignature by {key.name} and is not",
                    code="TSLG-K-COSIGNATURE",
                    mend="get the checkpoint from its agent's node again",
                )
            if latest is None or timestamp <= latest:
                times[key] = max(timestamp, times.get(key, 0))
    return times


def _ml_dsa_44_verify(public: bytes, data: bytes, signature: bytes) -> bool:
    # Imported here because few checkpoints need it and it takes longer to load than all else that reads one.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
