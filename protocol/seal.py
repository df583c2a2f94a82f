"""The seal: a detached COSE signature (RFC 9052) over a record's bytes, kept beside the record and never inside it.

A `COSE_Sign1` (tag 18) holds one signature, a `COSE_Sign` (tag 98) several. The payload is detached and the external
authenticated data is `tslg.record.v1`. Every entry names, in its unprotected `kid`, the record that holds its key.
Normative text: docs/spec/seal.md.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import cbor2

from tslg.protocol.errors import SealError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.signatures import Alg

CONTEXT: Final = b"tslg.record.v1"
SIGN1_TAG: Final = 18
SIGN_TAG: Final = 98
LABEL_ALG: Final = 1
LABEL_KID: Final = 4
LABEL_BITMAP: Final = -70010
ED25519_SIGNATURE_BYTES: Final = 64

_ED25519_PROTECTED: Final = cbor2.dumps({LABEL_ALG: int(Alg.ED25519)})
_ED25519_SIGN1_START: Final = bytes.fromhex("d28443") + _ED25519_PROTECTED + bytes.fromhex("a104")
"""Tag 18, array of 4, protected header, and the unprotected map up to the kid: the shape of nearly every seal."""
_COMMON_START: Final = _ED25519_SIGN1_START + b"\x58\x24"
_COMMON_MIDDLE: Final = b"\xf6\x58\x40"
"""Around a kid of 36 bytes: its length before it; null payload and the length of a 64-byte signature behind it."""
TO_BE_SIGNED_START: Final = b"\x84" + cbor2.dumps("Signature1") + cbor2.dumps(_ED25519_PROTECTED) + cbor2.dumps(CONTEXT)


class Signature(NamedTuple):
    """One signature of a seal.

    Attributes:
        alg: COSE algorithm number.
        kid: CID bytes of the record that holds the key.
        value: the signature's bytes.
        bitmap: which anchors signed, for the multisig scheme alone.
    """

    alg: int
    kid: bytes
    value: bytes
    bitmap: bytes | None = None


class Seal(NamedTuple):
    """A parsed seal: its signatures in order, and whether it is a `COSE_Sign` (`many`) or a `COSE_Sign1`."""

    signatures: tuple[Signature, ...]
    many: bool


def to_be_signed(record: bytes, alg: int, *, many: bool = False) -> bytes:
    """Return the Sig_structure (RFC 9052, section 4.4) that a signer with `alg` signs for these record bytes."""
    if alg == Alg.ED25519 and not many:
        return TO_BE_SIGNED_START + byte_string_head(len(record)) + record
    protected = cbor2.dumps({LABEL_ALG: int(alg)})
    return sig_structure(protected, CONTEXT, record, many=many)


def sig_structure(protected: bytes, external: bytes, payload: bytes, *, many: bool = False) -> bytes:
    """Return what is signed under RFC 9052, section 4.4, whatever the profile.

    Args:
        protected: the signer's protected header, encoded; the body's is empty where there are several signers.
        external: the externally supplied data.
        payload: the payload, detached or not.
        many: for an entry of a `COSE_Sign`, not for a `COSE_Sign1`.
    """
    if many:
        return cbor2.dumps(["Signature", b"", protected, external, payload])
    return cbor2.dumps(["Signature1", protected, external, payload])


def encode(signatures: Sequence[Signature], *, many: bool | None = None) -> bytes:
    """Return the canonical bytes of a seal: a `COSE_Sign1` for one signature, a `COSE_Sign` for several.

    Args:
        signatures: at least one, in the order in which they shall stand.
        many: force the form; a signature over one form does not verify in the other.
    """
    if not signatures:
        raise SealError("a seal holds at least one signature")
    if many is None:
        many = len(signatures) > 1
    if many:
        entries = [[cbor2.dumps({LABEL_ALG: s.alg}), _unprotected(s), s.value] for s in signatures]
        return cbor2.dumps(cbor2.CBORTag(SIGN_TAG, [b"", {}, None, entries]))
    if len(signatures) > 1:
        raise SealError("a COSE_Sign1 holds one signature")
    only = signatures[0]
    if only.alg == Alg.ED25519 and only.bitmap is None and len(only.value) == ED25519_SIGNATURE_BYTES:
        return sign1_start(only.kid) + only.value
    return cbor2.dumps(
        cbor2.CBORTag(SIGN1_TAG, [cbor2.dumps({LABEL_ALG: only.alg}), _unprotected(only), None, only.value])
    )


def sign1_start(kid: bytes) -> bytes:
    """Return all that comes before the 64 signature bytes in a `COSE_Sign1` by the Ed25519 key that `kid` registers."""
    return b"".join((_ED25519_SIGN1_START, byte_string_head(len(kid)), kid, b"\xf6\x58\x40"))


def parse(data: bytes) -> Seal:
    """Read a seal. Only the one canonical encoding is accepted, so that a seal's bytes cannot be varied by others.

    Raises:
        SealError: the bytes are not a seal.
    """
    if len(data) == 113 and data.startswith(_COMMON_START) and data[46:49] == _COMMON_MIDDLE:
        return Seal((Signature(-19, data[10:46], data[49:]),), False)
    if len(data) > DEFAULT.seal_bytes:
        raise SealError(f"{len(data)} bytes, the limit is {DEFAULT.seal_bytes}", code="TSLG-S-SIZE")
    seal = _parse_any(data)
    if encode(seal.signatures, many=seal.many) != data:
        raise SealError("not the canonical encoding", code="TSLG-S-CANONICAL")
    return seal


def _parse_any(data: bytes) -> Seal:
    try:
        tagged = cbor2.CBORDecoder(io.BytesIO(data)).decode()
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise SealError("not CBOR", code="TSLG-S-CBOR") from error
    if not isinstance(tagged, cbor2.CBORTag) or tagged.tag not in (SIGN1_TAG, SIGN_TAG):
        raise SealError("neither a COSE_Sign1 nor a COSE_Sign", code="TSLG-S-FORM")
    parts = tagged.value
    if not isinstance(parts, list | tuple) or len(parts) != 4:
        raise SealError("a COSE signature has four parts", code="TSLG-S-FORM")
    protected, unprotected, payload, last = parts
    if payload is not None:
        raise SealError("a seal's payload is detached: null", code="TSLG-S-FORM")
    if tagged.tag == SIGN1_TAG:
        return Seal((_signature(protected, unprotected, last),), False)
    if protected != b"" or not isinstance(unprotected, Mapping) or unprotected:
        raise SealError("a COSE_Sign has empty body headers", code="TSLG-S-FORM")
    if not isinstance(last, list | tuple) or not 1 <= len(last) <= 64:
        raise SealError("a COSE_Sign has 1 to 64 signatures", code="TSLG-S-FORM")
    signatures = []
    for entry in last:
        if not isinstance(entry, list | tuple) or len(entry) != 3:
            raise SealError("a signature of a COSE_Sign has three parts", code="TSLG-S-FORM")
        signatures.append(_signature(*entry))
    return Seal(tuple(signatures), True)


def _signature(protected: Any, unprotected: Any, value: Any) -> Signature:
    # Inside a tag the decoder makes maps and lists immutable, so their exact types vary.
    if type(protected) is not bytes or type(value) is not bytes or not isinstance(unprotected, Mapping):
        raise SealError("a signature is [protected, unprotected, bytes]", code="TSLG-S-FORM")
    try:
        header = cbor2.loads(protected)
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError) as error:
        raise SealError("the protected header is not CBOR", code="TSLG-S-FORM") from error
    if type(header) is not dict or list(header) != [LABEL_ALG] or type(header[LABEL_ALG]) is not int:
        raise SealError("the protected header is {1: alg}", code="TSLG-S-FORM")
    kid = unprotected.get(LABEL_KID)
    bitmap = unprotected.get(LABEL_BITMAP)
    expected = {LABEL_KID} if bitmap is None else {LABEL_KID, LABEL_BITMAP}
    if type(kid) is not bytes or unprotected.keys() != expected or (bitmap is not None and type(bitmap) is not bytes):
        raise SealError("the unprotected header is {4: kid}, with a bitmap for multisig", code="TSLG-S-FORM")
    return Signature(header[LABEL_ALG], kid, value, bitmap)


def _unprotected(signature: Signature) -> dict[int, bytes]:
    header = {LABEL_KID: signature.kid}
    if signature.bitmap is not None:
        header[LABEL_BITMAP] = signature.bitmap
    return header


def byte_string_head(length: int) -> bytes:
    """Return the CBOR head of a byte string (major type 2), shortest form."""
    if length < 24:
        return bytes((0x40 | length,))
    if length < 256:
        return bytes((0x58, length))
    return b"\x59" + length.to_bytes(2, "big") if length < 65536 else b"\x5a" + length.to_bytes(4, "big")
