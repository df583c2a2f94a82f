"""Proofs that a record lies in its log, as one file that is checked offline: C2SP `tlog-proof`.

The leaf is the record's id. The extra data says which record is meant and carries its agent's genesis; both are worth
nothing by themselves, but the inclusion proof holds for that id alone, and the origin is the genesis's own hash.
Normative text: docs/spec/checkpoint.md.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final, NamedTuple

from tslg.protocol import checkpoint as checkpoints
from tslg.protocol import cid, codec
from tslg.protocol import record as records
from tslg.protocol.checkpoint import Signed
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError, TslgError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.log import verify_inclusion
from tslg.protocol.note import decode_base64, parse_key
from tslg.protocol.signatures import Alg

HEADER: Final = "c2sp.org/tlog-proof@v1"


class LogProof(NamedTuple):
    """A proof that a leaf is entry `position` of the checkpoint's log. `extra` is opaque and not authenticated."""

    extra: bytes | None
    position: int
    hashes: tuple[bytes, ...]
    signed: Signed

    def to_bytes(self) -> bytes:
        """Return the file."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.position}")
        lines.extend(base64.b64encode(item).decode() for item in self.hashes)
        return ("\n".join(lines) + "\n\n").encode() + self.signed.to_bytes()

    def includes(self, leaf: bytes) -> bool:
        """Tell whether `leaf` (its data) is entry `position` of the tree that the checkpoint states."""
        head = self.signed.checkpoint
        return verify_inclusion(leaf, self.position, head.size, list(self.hashes), head.root)


class Subject(NamedTuple):
    """What the extra data of our proofs says: which record is meant, and its agent's genesis, as bytes."""

    record: Link
    genesis: bytes

    def to_bytes(self) -> bytes:
        """Return the extra data."""
        return codec.encode({"record": self.record, "genesis": self.genesis})


def parse(data: bytes, limits: Limits = DEFAULT) -> LogProof:
    """Read a proof. Verifies nothing.

    Raises:
        CheckpointError: `TSLG-K-PROOF` if the lines before the checkpoint are not a proof's; or it is no checkpoint.
    """
    head, separator, note = data[: limits.log_proof_bytes + 1].partition(b"\n\n")
    if len(data) > limits.log_proof_bytes or not separator:
        raise _wrong("it is too long, or has no empty line before its checkpoint")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise _wrong("its first lines are not ASCII") from None
    if lines[0] != HEADER:
        raise _wrong(f"its first line is not {HEADER}")
    del lines[0]
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "), "extra data")
    if not lines or not lines[0].startswith("index "):
        raise _wrong("no line says which index it is for")
    index = checkpoints.parse_size(lines[0].removeprefix("index "), limits)
    if len(lines) - 1 > limits.proof_hashes:
        raise _wrong(f"more than {limits.proof_hashes} hashes")
    return LogProof(extra, index, tuple(map(checkpoints.parse_hash, lines[1:])), checkpoints.parse(note, limits))


def subject(proof: LogProof, limits: Limits = DEFAULT) -> Subject:
    """Return what the extra data says, which is not proved yet. Raises CheckpointError if it is not ours."""
    try:
        value = codec.decode(proof.extra or b"")
        record, genesis = value["record"], value["genesis"]
        if value.keys() != {"record", "genesis"} or type(record) is not Link or not cid.is_record_id(record):
            raise ValueError("other fields")
        if type(genesis) is not bytes or len(genesis) > limits.record_bytes:
            raise ValueError("no genesis")
    except (TslgError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _wrong("its extra data does not say which record it is for") from error
    return Subject(record, genesis)


def own_keys(origin: str, genesis: bytes) -> list[bytes]:
    """Return the Ed25519 key that a genesis registers, if the genesis is the one that the origin is the hash of."""
    try:
        agent = checkpoints.Checkpoint(origin, 0, bytes(32)).agent
        record = records.parse(genesis, cid.hash_name(agent))
    except TslgError:
        return []
    if record.id != agent or record.kind != "genesis" or record.body["alg"] != Alg.ED25519:
        return []
    return [record.body["key"]]


def given_keys(origin: str, texts: Sequence[str]) -> list[bytes]:
    """Return the keys of a log that a reader was given as `vkey` texts. Raises CheckpointError."""
    keys = map(parse_key, texts)
    return [key.public for key in keys if key == checkpoints.log_key(origin, key.public)]


def _wrong(detail: str) -> CheckpointError:
    return CheckpointError(f"not a log proof: {detail}", code="TSLG-K-PROOF", mend="have the proof made again")
