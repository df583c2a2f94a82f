"""Signed notes: text with signatures below it, and the keys that verify them, as C2SP `signed-note` defines them.

    <text, any number of lines>

    — <key's name> <base64 of a 4-byte key id and a signature>

Reading verifies nothing. Normative text: docs/spec/checkpoint.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from tslg.protocol.errors import CheckpointError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.signatures import Alg, check_public_key, ed25519_sign

ED25519: Final = 0x01
"""Signature type: Ed25519 over the note's text."""
COSIGNATURE: Final = 0x04
"""Signature type: timestamped Ed25519 cosignature of a checkpoint."""
COSIGNATURE_ML_DSA_44: Final = 0x06
"""Signature type: timestamped ML-DSA-44 cosignature of a tree."""

PUBLIC_BYTES: Final = {ED25519: 32, COSIGNATURE: 32, COSIGNATURE_ML_DSA_44: 1312}
"""Length of the public key of each signature type that is known here."""

_KEY_ID_BYTES: Final = 4
_SIGNATURE_LINE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_NAME: Final = re.compile(r"[^\s+]+")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteSignature(NamedTuple):
    """One signature line: the key's name, its 4-byte id, and the signature's bytes."""

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        """The line as it stands in a note, with its newline."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


class Note(NamedTuple):
    """A note's text, its last newline included, and its signatures, none of them verified."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """Return the note as it is written."""
        return (self.text + "\n" + "".join(entry.line for entry in self.signatures)).encode()


class VerifierKey(NamedTuple):
    """A key that verifies notes: its name, its signature type, and the public key's bytes."""

    name: str
    type: int
    public: bytes

    @property
    def id(self) -> bytes:
        """The key's 4-byte id."""
        return key_id(self.name, self.public, self.type)

    @property
    def text(self) -> str:
        """The key as text, a `vkey`."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes((self.type,)) + self.public).decode()}"

    def made(self, entry: NoteSignature) -> bool:
        """Tell whether a signature line claims to be by this key."""
        return entry.name == self.name and entry.key_id == self.id


def key_id(name: str, public: bytes, type: int = ED25519) -> bytes:
    """Return the 4-byte id of a key under a name."""
    return hashlib.sha256(name.encode() + b"\n" + bytes((type,)) + public).digest()[:_KEY_ID_BYTES]


def valid_name(name: str) -> bool:
    """Tell whether a key may have this name: not empty, without spaces, plus signs and control characters."""
    return _NAME.fullmatch(name) is not None and _CONTROL.search(name) is None and len(name.encode()) <= 255


def sign(text: str, name: str, secret: bytes) -> NoteSignature:
    """Return the signature of a note's text by a 64-byte Ed25519 secret key under a name."""
    return NoteSignature(name, key_id(name, secret[32:]), ed25519_sign(secret, text.encode()))


def parse_key(text: str) -> VerifierKey:
    """Read a `vkey`.

    Raises:
        CheckpointError: `TSLG-K-KEY` if it is none, its type is not known here, or its key is not acceptable.
    """
    parts = text.split("+", 2)
    if len(parts) != 3 or not valid_name(parts[0]):
        raise _no_key("it is not `<name>+<hex>+<base64>`")
    data = decode_base64(parts[2], "key")
    type = data[0] if data else -1
    if len(data) - 1 != PUBLIC_BYTES.get(type):
        raise _no_key("its signature type is not known here, or its key has another length")
    if type != COSIGNATURE_ML_DSA_44 and not check_public_key(Alg.ED25519, data[1:]):
        raise _no_key("its Ed25519 key is not acceptable")
    key = VerifierKey(parts[0], type, data[1:])
    if key.id.hex() != parts[1]:
        raise _no_key("its key id is not that of its name and key")
    return key


def parse(data: bytes, limits: Limits = DEFAULT) -> Note:
    """Read a note. Verifies nothing.

    Raises:
        CheckpointError: it is none, or larger than `Limits.checkpoint_bytes`.
    """
    if len(data) > limits.checkpoint_bytes:
        raise wrong(f"more than {limits.checkpoint_bytes} bytes")
    try:
        note = data.decode()
    except UnicodeDecodeError:
        raise wrong("not UTF-8") from None
    if _CONTROL.search(note) is not None:
        raise wrong("a control character in it")
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise wrong("no empty line between its text and its signatures, or no newline at the end")
    return Note(text + "\n", parse_signatures(signatures, limits))


def parse_signatures(lines: str, limits: Limits = DEFAULT) -> tuple[NoteSignature, ...]:
    """Read one or more signature lines, each ending with a newline. Raises CheckpointError."""
    if not lines.endswith("\n"):
        raise wrong("its last signature line has no newline")
    found = lines[:-1].split("\n")
    if len(found) > limits.note_signatures:
        raise wrong(f"more than {limits.note_signatures} signatures")
    return tuple(map(_signature, found))


def decode_base64(text: str, what: str) -> bytes:
    """Return the bytes of standard base64 that is written the one way there is. Raises CheckpointError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise wrong(f"its {what} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise wrong(f"its {what} is not base64 as it is written")
    return data


def distinct_keys(keys: Iterable[VerifierKey]) -> bool:
    """Tell whether no public key and no pair of name and id stands there twice, so that none can count twice."""
    listed = list(keys)
    return len({key.public for key in listed}) == len({(key.name, key.id) for key in listed}) == len(listed)


def wrong(detail: str) -> CheckpointError:
    """Return the error for what is no checkpoint or note."""
    return CheckpointError(f"not a checkpoint: {detail}", mend="get it from its agent's node again")


def _signature(line: str) -> NoteSignature:
    found = _SIGNATURE_LINE.fullmatch(line)
    if found is None:
        raise wrong("a signature line is not `— <name> <base64>`")
    value = decode_base64(found[2], "signature")
    if len(value) <= _KEY_ID_BYTES:
        raise wrong("a signature line holds no signature")
    return NoteSignature(found[1], value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])


def _no_key(detail: str) -> CheckpointError:
    return CheckpointError(
        f"not a verifier key: {detail}", code="TSLG-K-KEY", mend="copy it whole from whoever published it"
    )
