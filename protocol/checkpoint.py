"""Checkpoints: the state of one log as a C2SP `tlog-checkpoint`, signed as a C2SP `signed-note` by its agent's key.

    tslg/<agent's id>
    <number of records>
    <root of the log's tree, base64>

    — tslg/<agent's id> <base64 of key id and Ed25519 signature>

Standard tools read it, and witnesses can cosign it. Normative text: docs/spec/checkpoint.md.
"""

from __future__ import annotations

import base64
import re
from typing import Final, NamedTuple

from tslg.protocol import cid, note
from tslg.protocol.codec import Link
from tslg.protocol.errors import CidError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.note import Note, NoteSignature, VerifierKey, wrong
from tslg.protocol.signatures import Alg
from tslg.protocol.signatures import verify as verify_signature

ORIGIN: Final = "tslg/"
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")


class Checkpoint(NamedTuple):
    """The state of a log: its origin, how many entries it has, the 32-byte root of its tree, and extension lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def of(cls, agent: Link, size: int, root: bytes) -> Checkpoint:
        """Return the state of an agent's log."""
        return cls(origin_of(agent), size, root)

    @property
    def agent(self) -> Link:
        """The agent whose log it is. Raises CheckpointError for a log that is not of ours."""
        if not self.origin.startswith(ORIGIN):
            raise wrong(f"its origin does not begin with {ORIGIN}")
        try:
            agent = cid.from_text(self.origin.removeprefix(ORIGIN))
        except CidError as error:
            raise wrong(f"its origin names no agent: {error.detail}") from error
        if not cid.is_record_id(agent):
            raise wrong("its origin names no agent")
        return agent

    @property
    def text(self) -> str:
        """The note's text: what is signed."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "\n".join(lines) + "\n"


class Signed(NamedTuple):
    """A checkpoint and its signatures, by its agent and perhaps by witnesses, none of them verified."""

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """Return the note as it is written."""
        return Note(self.checkpoint.text, self.signatures).to_bytes()


def origin_of(agent: Link) -> str:
    """Return the name of an agent's log, which is also its key's."""
    return ORIGIN + cid.to_text(agent)


def log_key(origin: str, public: bytes) -> VerifierKey:
    """Return the verifier key of a log whose agent signs with this 32-byte Ed25519 key."""
    return VerifierKey(origin, note.ED25519, public)


def encode(checkpoint: Checkpoint, secret: bytes) -> bytes:
    """Return the note of a checkpoint, signed by the agent's 64-byte Ed25519 secret key."""
    return Signed(checkpoint, (note.sign(checkpoint.text, checkpoint.origin, secret),)).to_bytes()


def parse(data: bytes, limits: Limits = DEFAULT) -> Signed:
    """Read the note of a checkpoint of any log; only the one way to write it is accepted. Verifies nothing.

    Raises:
        CheckpointError: it is none, or larger than `Limits.checkpoint_bytes`.
    """
    read = note.parse(data, limits)
    lines = read.text[:-1].split("\n")
    if len(lines) < 3 or "" in lines:
        raise wrong("its text is not lines of origin, size and root")
    if len(lines) - 3 > limits.checkpoint_extensions:
        raise wrong(f"more than {limits.checkpoint_extensions} extension lines")
    checkpoint = Checkpoint(lines[0], parse_size(lines[1], limits), parse_hash(lines[2]), tuple(lines[3:]))
    return Signed(checkpoint, read.signatures)


def parse_log(data: bytes, limits: Limits = DEFAULT) -> Signed:
    """Read the checkpoint of an agent's log. Raises CheckpointError, also for another log's."""
    signed = parse(data, limits)
    _ = signed.checkpoint.agent
    return signed


def verify(signed: Signed, public: bytes) -> bool:
    """Tell whether the log's own key, an Ed25519 key of 32 bytes, signed a checkpoint. Never raises.

    A line that claims to be by that key and does not verify makes the whole note false.
    """
    key = log_key(signed.checkpoint.origin, public)
    message = signed.checkpoint.text.encode()
    lines = [entry for entry in signed.signatures if key.made(entry)]
    return bool(lines) and all(verify_signature(Alg.ED25519, public, message, entry.value) for entry in lines)


def parse_size(line: str, limits: Limits = DEFAULT) -> int:
    """Return a number of entries that is written in decimal without leading zeros. Raises CheckpointError."""
    if _SIZE.fullmatch(line) is None or int(line) > limits.integer:
        raise wrong("its size is no number of records")
    return int(line)


def parse_hash(line: str) -> bytes:
    """Return a hash of 32 bytes that is written in base64. Raises CheckpointError."""
    value = note.decode_base64(line, "root")
    if len(value) != 32:
        raise wrong("the root is not 32 bytes")
    return value
