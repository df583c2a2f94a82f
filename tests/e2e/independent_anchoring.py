"""Checkpoints and cosignatures of docs/spec, read by a second program. Nothing from tslg."""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode, b64decode, b64encode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

LINE = re.compile("\u2014 ([^\\s+]+) (\\S+)")


class Note:
    """A checkpoint of an agent's log; ValueError if the bytes are none. [CHK-1] to [CHK-3]"""

    def __init__(self, data: bytes) -> None:
        text = data.decode()
        head, separator, tail = text.rpartition("\n\n")
        lines = head.split("\n")
        if not separator or not tail.endswith("\n") or len(lines) < 3 or re.search(r"[\x00-\x09\x0b-\x1f]", text):
            raise ValueError("no note")
        self.text, self.origin = head + "\n", lines[0]
        self.size, self.root = int(lines[1]), strict(lines[2])
        if str(self.size) != lines[1] or len(self.root) != 32:
            raise ValueError("no checkpoint")
        self.lines = []
        for line in tail[:-1].split("\n"):
            found = LINE.fullmatch(line)
            if found is None:
                raise ValueError("no signature line")
            value = strict(found[2])
            self.lines.append((found[1], value[:4], value[4:]))

    def of(self, agent: bytes) -> bool:
        return self.origin == "tslg/b" + b32encode(agent).decode().rstrip("=").lower()

    def signed_by(self, public: bytes) -> bool:
        """[CHK-4]"""
        own = [value for name, id, value in self.lines if name == self.origin and id == key_id(name, 1, public)]
        return bool(own) and all(ed25519(public, self.text.encode(), value) for value in own)

    def cosigned(self, vkey: str, now_ms: int) -> bool:
        """[CHK-8] to [CHK-10]; ValueError if a line claims to be this witness's and is not."""
        name, id, encoded = vkey.split("+", 2)
        key = b64decode(encoded)
        found = False
        for line_name, line_id, value in self.lines:
            if (line_name, line_id.hex()) != (name, id):
                continue
            time = int.from_bytes(value[:8], "big")
            if not 0 < time < 2**63 or not self._holds(name, key, time, value[8:]):
                raise ValueError("a cosignature that is none")
            found = found or time <= (now_ms + 300_000) // 1000
        return found

    def _holds(self, name: str, key: bytes, time: int, signature: bytes) -> bool:
        if key[0] == 4:
            return ed25519(key[1:], f"cosignature/v1\ntime {time}\n{self.text}".encode(), signature)
        parts = [len(name.encode()).to_bytes(1, "big") + name.encode(), time.to_bytes(8, "big")]
        parts += [len(self.origin).to_bytes(1, "big") + self.origin.encode(), bytes(8), self.size.to_bytes(8, "big")]
        try:
            MLDSA44PublicKey.from_public_bytes(key[1:]).verify(
                signature, b"subtree/v1\n\0" + b"".join(parts) + self.root
            )
        except InvalidSignature:
            return False
        return True


def quorum(note: Note, anchoring: dict, now_ms: int) -> bool:
    """[ANC-13]"""
    try:
        return sum(note.cosigned(vkey, now_ms) for vkey in anchoring["witnesses"]) >= anchoring["quorum"]
    except ValueError:
        return False


def key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def strict(text: str) -> bytes:
    data = b64decode(text, validate=True)
    if b64encode(data).decode() != text:
        raise ValueError("base64")
    return data
