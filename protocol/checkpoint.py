"""Checkpoints: the state of one agent's log as a C2SP `tlog-checkpoint`, signed as a C2SP `signed-note` by its key.

    tslg/<agent's id>
    <number of records>
    <root of the log's tree, base64>

    — tslg/<agent's id> <base64 of key id and Ed25519 signature>

Standard tools read it, and witnesses can cosign it. Normative text: docs/spec/checkpoint.md.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final, NamedTuple

from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError, CidError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.signatures import Alg, ed25519_sign
from tslg.protocol.signatures import verify as verify_signature

ORIGIN: Final = "tslg/"
SIGNATURE_TYPE: Final = 0x01
"""Ed25519 over the note's text, in C2SP signed-note."""

_KEY_ID_BYTES: Final = 4
_SIGNATURE_LINE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")


class Checkpoint(NamedTuple):
    """The state of a log: whose it is, how many records it has, and the 32-byte root of its tree."""

    agent: Link
    size: int
    root: bytes

    @property
    def origin(self) -> str:
        """The log's name, which is also its key's."""
        return ORIGIN + cid.to_text(self.agent)

    @property
    def text(self) -> str:
        """The note's text: what is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class NoteSignature(NamedTuple):
    """One signature line: the key's name, its 4-byte id, and the signature's bytes."""

    name: str
    key_id: bytes
    value: bytes


class Signed(NamedTuple):
    """A checkpoint and its signatures, by its agent and perhaps by witnesses, none of them verified."""

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]


def key_id(name: str, public: bytes) -> bytes:
    """Return the 4-byte id of an Ed25519 key under a name (C2SP signed-note, Signatures)."""
    return hashlib.sha256(name.encode() + b"\n" + bytes((SIGNATURE_TYPE,)) + public).digest()[:_KEY_ID_BYTES]


def encode(checkpoint: Checkpoint, secret: bytes) -> bytes:
    """Return the note of a checkpoint, signed by the agent's 64-byte Ed25519 secret key."""
    text = checkpoint.text
    value = key_id(checkpoint.origin, secret[32:]) + ed25519_sign(secret, text.encode())
    return f"{text}\n— {checkpoint.origin} {base64.b64encode(value).decode()}\n".encode()


def parse(data: bytes, limits: Limits = DEFAULT) -> Signed:
    """Read the note of a checkpoint of a `tslg` log; only the one way to write it is accepted. Verifies nothing.

    Raises:
        CheckpointError: it is none, or larger than `Limits.checkpoint_bytes`.
    """
    if len(data) > limits.checkpoint_bytes:
        raise _wrong(f"more than {limits.checkpoint_bytes} bytes")
    try:
        note = data.decode()
    except UnicodeDecodeError:
        raise _wrong("not UTF-8") from None
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise _wrong("no empty line between its text and its signatures, or no newline at the end")
    lines = text.split("\n")
    if len(lines) != 3:
        raise _wrong("its text is not three lines: origin, size and root")
    checkpoint = Checkpoint(_agent(lines[0]), _size(lines[1], limits), _base64(lines[2], "root"))
    if len(checkpoint.root) != 32:
        raise _wrong("the root is not 32 bytes")
    return Signed(checkpoint, tuple(_signature(line) for line in signatures[:-1].split("\n")))


def verify(signed: Signed, public: bytes) -> bool:
    """Tell whether the log's own key, an Ed25519 key of 32 bytes, signed a checkpoint. Never raises."""
    checkpoint = signed.checkpoint
    expected = key_id(checkpoint.origin, public)
    message = checkpoint.text.encode()
    return any(
        entry.name == checkpoint.origin
        and entry.key_id == expected
        and verify_signature(Alg.ED25519, public, message, entry.value)
        for entry in signed.signatures
    )


def _agent(line: str) -> Link:
    if not line.startswith(ORIGIN):
        raise _wrong(f"its origin does not begin with {ORIGIN}")
    try:
        agent = cid.from_text(line.removeprefix(ORIGIN))
    except CidError as error:
        raise _wrong(f"its origin names no agent: {error.detail}") from error
    if not cid.is_record_id(agent):
        raise _wrong("its origin names no agent")
    return agent


def _size(line: str, limits: Limits) -> int:
    if _SIZE.fullmatch(line) is None or int(line) > limits.integer:
        raise _wrong("its size is no number of records")
    return int(line)


def _signature(line: str) -> NoteSignature:
    found = _SIGNATURE_LINE.fullmatch(line)
    if found is None:
        raise _wrong("a signature line is not `— <name> <base64>`")
    value = _base64(found[2], "signature")
    if len(value) <= _KEY_ID_BYTES:
        raise _wrong("a signature line holds no signature")
    return NoteSignature(found[1], value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])


def _base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise _wrong(f"its {what} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise _wrong(f"its {what} is not base64 as it is written")
    return data


def _wrong(detail: str) -> CheckpointError:
    return CheckpointError(f"not a checkpoint: {detail}", mend="get it from its agent's node again")
