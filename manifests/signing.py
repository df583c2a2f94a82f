"""Signing together: one partial signature an anchor, the seal that they make, and the file of a sealed record.

Partial signatures are bytes, carried as files or messages; nothing in them is secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tslg.manifests import threshold
from tslg.manifests.files import decode_message, encode_message, is_bytes, read_bytes
from tslg.manifests.keys import AnchorKey
from tslg.manifests.request import Context, Request, Seat, decode_request, encode_request, propose
from tslg.manifests.text import KEY_BYTES, POSSESSION_BYTES
from tslg.protocol import cid, codec, record, seal
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError, ManifestError, RecordError
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.rules.seals import rule_seal
from tslg.protocol.seal import Signature
from tslg.protocol.signatures import Alg

__all__ = [
    "Request",
    "Sealed",
    "Seat",
    "combine",
    "decode_request",
    "decode_sealed",
    "encode_request",
    "encode_sealed",
    "propose",
    "read_sealed",
    "sign",
]

Sealed = tuple[Record, bytes]
"""A record and its seal's bytes."""

_PARTIAL: Final = "tslg partial signature"


def sign(request: Request, key: AnchorKey) -> bytes:
    """Return one anchor's partial signature, as bytes to hand to whoever combines. The same key gives the same bytes.

    Raises:
        ManifestError: `TSLG-M-SIGNER`: no seat of the request belongs to this key.
    """
    public = key.public
    if not any(seat.anchors.scheme == key.scheme and _index(seat, public) is not None for seat in request.seats()):
        raise ManifestError(
            f"{key.member}'s key is not among the anchors of this record",
            code="TSLG-M-SIGNER",
            mend="sign with the key that the manifest names",
            record=request.record.id,
        )
    signature = threshold.partial_sign(key.secret, request.message(key.scheme))
    fields = {"record": request.record.id, "alg": key.scheme, "key": public, "signature": signature}
    return encode_message(_PARTIAL, fields)


def combine(request: Request, partials: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the seal's bytes from enough partial signatures, (name, content) each, in any order.

    Of an agent's change of keys these are the anchors' part alone: the agent adds its own, last of all.

    Under the threshold scheme the seal is the same whichever anchors signed; under multisig it shows who did.

    Raises:
        ManifestError: `TSLG-M-PARTIAL` naming a partial that is damaged, wrong or of another record;
            `TSLG-M-QUORUM` saying whose signatures are missing.
    """
    given: dict[tuple[int, bytes], bytes] = {}
    for name, content in partials:
        alg, public, signature = _partial(request, name, content)
        given[alg, public] = signature
    entries = [_entry(request, seat, given) for seat in request.seats()]
    sealed = seal.encode([*request.own, *entries], many=request.many)
    if request.record.kind in ("registration", "revocation"):
        return sealed
    refusal = rule_seal(request.record, sealed, Context(request))
    if refusal is not None:
        raise refusal
    return sealed


def encode_sealed(data: bytes, seal: bytes) -> bytes:
    """Return the content of a sealed record's file: CBOR `[record bytes, seal bytes]`."""
    return codec.encode([data, seal])


def decode_sealed(content: bytes, name: str, hash_name: str | None = None) -> Sealed:
    """Read a sealed record's file; the seal is not verified.

    Args:
        content: the file's bytes.
        name: what messages call it.
        hash_name: the hash of the manifest in force; None to take a root manifest's own, and for any other record
            the one that the id of its manifest uses.

    Raises:
        ManifestError: `TSLG-M-FILE`: it is not such a file.
    """
    try:
        value = codec.decode(content)
        if type(value) is not list or len(value) != 2 or not all(type(part) is bytes for part in value):
            raise ManifestError(f"{name} is not a sealed record", code="TSLG-M-FILE", mend="check which file it is")
        read = record.parse(value[0], hash_name or "sha2-256")
        if hash_name is None:
            own = Manifest.from_record(read).envelope.hash if read.manifest is None else cid.hash_name(read.manifest)
            read = record.parse(value[0], own)
    except (CodecError, RecordError) as error:
        mend = "fetch that file again"
        raise ManifestError(f"{name} is damaged: {error.detail}", code="TSLG-M-FILE", mend=mend) from error
    return read, value[1]


def read_sealed(path: Path) -> Sealed:
    """Read a sealed record from its file; see `decode_sealed`."""
    return decode_sealed(read_bytes(path), str(path))


def _partial(request: Request, name: str, content: bytes) -> tuple[int, bytes, bytes]:
    checks = {
        "record": lambda value: type(value) is Link,
        "alg": lambda value: value in (Alg.BLS_THRESHOLD, Alg.BLS_MULTISIG),
        "key": is_bytes(KEY_BYTES),
        "signature": is_bytes(POSSESSION_BYTES),
    }
    fields = decode_message(content, _PARTIAL, checks, name)
    alg, public = fields["alg"], fields["key"]
    if fields["record"] != request.record.id:
        raise _bad_partial(f"{name} signs another record, {cid.to_text(fields['record'])}", request)
    owners = [
        seat.anchors.members[index].name
        for seat in request.seats()
        if seat.anchors.scheme == alg and (index := _index(seat, public)) is not None
    ]
    if not owners:
        raise _bad_partial(f"{name} is by nobody among the anchors", request)
    if not threshold.verify_partial(public, request.message(alg), fields["signature"]):
        raise _bad_partial(f"{name}, the signature of {owners[0]}, does not verify", request)
    return alg, public, fields["signature"]


def _bad_partial(detail: str, request: Request) -> ManifestError:
    mend = "leave it out, or have it signed again"
    return ManifestError(detail, code="TSLG-M-PARTIAL", mend=mend, record=request.record.id)


def _entry(request: Request, seat: Seat, given: Mapping[tuple[int, bytes], bytes]) -> Signature:
    """Return one seat's entry of the seal from verified signatures by (scheme, key)."""
    anchors = seat.anchors
    shares = {
        index: given[anchors.scheme, member.key]
        for index, member in enumerate(anchors.members)
        if (anchors.scheme, member.key) in given
    }
    if len(shares) < anchors.threshold:
        missing = [member.name for index, member in enumerate(anchors.members) if index not in shares]
        raise ManifestError(
            f"{len(shares)} of {anchors.threshold} signatures for {cid.short(seat.kid)}",
            code="TSLG-M-QUORUM",
            mend=f"have {anchors.threshold - len(shares)} more of {', '.join(missing)} sign",
            record=request.record.id,
        )
    if anchors.scheme == Alg.BLS_THRESHOLD:
        keys = [member.key for member in anchors.members]
        value = threshold.combine(shares, anchors.threshold, keys, request.message(anchors.scheme))
        return Signature(anchors.scheme, seat.kid, value)
    value, bitmap = threshold.combine_multisig(shares, len(anchors.members))
    return Signature(anchors.scheme, seat.kid, value, bitmap)


def _index(seat: Seat, public: bytes) -> int | None:
    return next((index for index, member in enumerate(seat.anchors.members) if member.key == public), None)
