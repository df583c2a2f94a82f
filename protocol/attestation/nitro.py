"""Attestation documents of AWS Nitro Enclaves: a COSE_Sign1 (RFC 9052) by a certificate that leads to a pinned root.

What is checked is what AWS publishes for validators, at the record's time in place of a clock, and what a key needs on
top: that the document is fresh, binds the key, and measured what the manifest names. Normative text:
docs/spec/attestation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final, NamedTuple

from tslg.protocol.attestation.cursor import ARRAY, MAP, TAG, UINT, Cursor
from tslg.protocol.attestation.demand import REGISTERS, Hardware, register_holds
from tslg.protocol.limits import DEFAULT
from tslg.protocol.seal import SIGN1_TAG, sig_structure

PROTECTED: Final = bytes.fromhex("a1013822")
"""{1: -35}: ECDSA with SHA-384."""
PAYLOAD_BYTES: Final = 16_384
SIGNATURE_BYTES: Final = 96
CERTIFICATE_BYTES: Final = 1024
_REGISTER_SIZES: Final = (32, 48, 64)
_MEASURED: Final = (0, 1, 2)
"""The registers of the image, the kernel with its first steps, and the application: all zero in debug mode."""


class Document(NamedTuple):
    """What an attestation document says, as far as it is used.

    Attributes:
        timestamp: when it was made, ms.
        pcrs: the registers by number.
        certificate: what signed it, DER.
        bundle: the certificates above that one, the root first, DER.
        user_data: what the enclave had signed, None if nothing.
    """

    timestamp: int
    pcrs: Mapping[int, bytes]
    certificate: bytes
    bundle: tuple[bytes, ...]
    user_data: bytes | None


def fault(evidence: bytes, hardware: Hardware, digest: bytes, time_ms: int) -> str | None:
    """Judge a document (`tslg.protocol.attestation.Verifier`): return what is wrong with it, or None."""
    try:
        payload, signature = _signed(evidence)
        document = read(payload)
    except ValueError as error:
        return f"no attestation document: {_line(error)}"
    wrong = _told_fault(document, hardware, digest, time_ms)
    if wrong:
        return wrong
    # Loaded for attested keys alone: it takes longer than a federation without them needs for everything else.
    from tslg.protocol.attestation import chain

    try:
        key = chain.leaf_key((*document.bundle, document.certificate), time_ms)
    except ValueError as error:
        return f"its certificates: {_line(error)}"
    if not chain.signed(key, sig_structure(PROTECTED, b"", payload), signature):
        return "its signature does not verify under its certificate"
    return None


def _signed(evidence: bytes) -> tuple[bytes, bytes]:
    """Take a COSE_Sign1 apart: return the payload and the signature."""
    if len(evidence) > DEFAULT.attestation_bytes:
        raise ValueError(f"{len(evidence)} bytes, the limit is {DEFAULT.attestation_bytes}")
    cursor = Cursor(evidence)
    if cursor.next_is(TAG) and cursor.head(TAG) != SIGN1_TAG:
        raise ValueError("not a COSE_Sign1")
    cursor.count(ARRAY, 4, 4)
    if cursor.string(0, len(PROTECTED)) != PROTECTED:
        raise ValueError("it is not signed with ECDSA and SHA-384")
    cursor.count(MAP, 0, 0)
    payload = cursor.string(1, PAYLOAD_BYTES)
    signature = cursor.string(SIGNATURE_BYTES, SIGNATURE_BYTES)
    cursor.end()
    return payload, signature


def read(payload: bytes) -> Document:
    """Read the signed map. Raises ValueError for a field that is missing, unknown, repeated or malformed."""
    cursor = Cursor(payload)
    found: dict[str, Any] = {}
    for _ in range(cursor.count(MAP, 1, len(_FIELDS))):
        name = cursor.text(1, _LONGEST)
        if name in found or name not in _FIELDS:
            raise ValueError("a field twice, or one that documents do not have")
        # The enclaves write null where nothing was given.
        found[name] = None if name in _OPTIONAL and cursor.null() else _FIELDS[name](cursor)
    cursor.end()
    missing = [name for name in _FIELDS if name not in found and name not in _OPTIONAL]
    if missing:
        raise ValueError(f"no `{missing[0]}`")
    return Document(found["timestamp"], found["pcrs"], found["certificate"], found["cabundle"], found.get("user_data"))


def _told_fault(document: Document, hardware: Hardware, digest: bytes, time_ms: int) -> str | None:
    """Judge what a document says, before anybody asks who says so."""
    if not -DEFAULT.clock_skew_ms <= time_ms - document.timestamp <= DEFAULT.attestation_age_ms:
        return "it was not made within the hour before the record"
    if document.user_data is None or not compare_digest(document.user_data, digest):
        return "it does not bind this key: its user data is not the key's digest"
    if not all(register_holds(document.pcrs.get(number)) for number in _MEASURED):
        return "registers 0 to 2 measured nothing, as in debug mode"
    for number, wanted in hardware.pcrs.items():
        if document.pcrs.get(number) != wanted:
            return f"register {number} is not what the manifest names"
    if sha256(document.bundle[0]).digest() not in hardware.roots:
        return "its root is none that the manifest names"
    return None


def _digest(cursor: Cursor) -> str:
    if cursor.text(1, 16) != "SHA384":
        raise ValueError("`digest` is not SHA384")
    return "SHA384"


def _timestamp(cursor: Cursor) -> int:
    value = cursor.head(UINT)
    if value == 0:
        raise ValueError("`timestamp` is 0")
    return value


def _registers(cursor: Cursor) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for _ in range(cursor.count(MAP, 1, REGISTERS)):
        number = cursor.head(UINT)
        if number >= REGISTERS or number in found:
            raise ValueError("a register twice, or one that there is not")
        found[number] = cursor.string(min(_REGISTER_SIZES), max(_REGISTER_SIZES))
        if len(found[number]) not in _REGISTER_SIZES:
            raise ValueError(f"register {number} has {len(found[number])} bytes")
    return found


def _certificate(cursor: Cursor) -> bytes:
    return cursor.string(1, CERTIFICATE_BYTES)


def _bundle(cursor: Cursor) -> tuple[bytes, ...]:
    return tuple(_certificate(cursor) for _ in range(cursor.count(ARRAY, 1, DEFAULT.attestation_chain)))


_FIELDS: Final[Mapping[str, Callable[[Cursor], Any]]] = {
    "module_id": lambda cursor: cursor.text(1, PAYLOAD_BYTES),
    "digest": _digest,
    "timestamp": _timestamp,
    "pcrs": _registers,
    "certificate": _certificate,
    "cabundle": _bundle,
    "public_key": lambda cursor: cursor.string(1, 1024),
    "user_data": lambda cursor: cursor.string(0, 512),
    "nonce": lambda cursor: cursor.string(0, 512),
}
_OPTIONAL: Final = frozenset(("public_key", "user_data", "nonce"))
_LONGEST: Final = max(map(len, _FIELDS))


def _line(error: ValueError) -> str:
    return " ".join(str(error).split())[:200]
