"""Ids: raw binary CIDs, the hashes we accept in them, and their one text form.

An id in memory is a `Link`: the bytes of a CIDv1 without any multibase prefix. Text exists only at the edges.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from blake3 import blake3

from tslg.protocol.errors import CidError
from tslg.protocol.limits import DEFAULT

DAG_CBOR = 0x71
RAW = 0x55
_VERSION = 1
_VARINT_BYTES = 9
"""Longest varint of the multiformats specification: 63 bits."""


class Link(bytes):
    """A binary CID. Equal to the same plain bytes, but encoded as a DAG-CBOR link; its repr shows the text form."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Link({to_text(self)})"


@dataclass(frozen=True, slots=True)
class Hash:
    """A whitelisted hash: its name in manifests, its multihash code, its full digest size and its CID prefixes."""

    name: str
    code: int
    size: int
    digest: Callable[[bytes], bytes]
    dag_cbor_prefix: bytes
    raw_prefix: bytes

    def multihash(self, data: bytes) -> bytes:
        """Return the multihash of `data`: code, size, digest."""
        return self.dag_cbor_prefix[2:] + self.digest(data)


def varint(number: int) -> bytes:
    """Encode an unsigned varint (multiformats): 7 bits a byte, least significant first."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _hash(name: str, code: int, size: int, digest: Callable[[bytes], bytes]) -> Hash:
    multihash = varint(code) + varint(size)
    return Hash(name, code, size, digest, bytes((_VERSION, DAG_CBOR)) + multihash, bytes((_VERSION, RAW)) + multihash)


HASHES: dict[str, Hash] = {
    entry.name: entry
    for entry in (
        _hash("sha2-256", 0x12, 32, lambda data: hashlib.sha256(data).digest()),
        _hash("sha2-512", 0x13, 64, lambda data: hashlib.sha512(data).digest()),
        _hash("sha3-256", 0x16, 32, lambda data: hashlib.sha3_256(data).digest()),
        _hash("blake2b-256", 0xB220, 32, lambda data: hashlib.blake2b(data, digest_size=32).digest()),
        _hash("blake3", 0x1E, 32, lambda data: blake3(data).digest()),
    )
}
"""The whitelist, by manifest name."""

HYBRID_START = bytes((_VERSION, DAG_CBOR, 0))
"""CIDv1, dag-cbor, identity: how a hybrid id begins."""
_TWO_DIGESTS = b"\xa2\x65preds"
_SECOND = b"\x67content"
"""The canonical map of two digests: its head and shorter key, and its longer key."""

_SHA2_256 = HASHES["sha2-256"].dag_cbor_prefix
_SHA2_256_RAW = HASHES["sha2-256"].raw_prefix
_PREFIX_LENGTHS = tuple(sorted({len(entry.raw_prefix) for entry in HASHES.values()}))
_BY_DAG_CBOR_PREFIX = {entry.dag_cbor_prefix: entry for entry in HASHES.values()}
_BY_RAW_PREFIX = {entry.raw_prefix: entry for entry in HASHES.values()}


def _lookup(link: bytes, table: dict[bytes, Hash]) -> Hash | None:
    """Return the hash whose prefix and full digest length `link` has, or None."""
    for length in _PREFIX_LENGTHS:
        entry = table.get(bytes(link[:length]))
        if entry is not None:
            return entry if len(link) == length + entry.size else None
    return None


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return (number, next offset) of the minimal varint at `at`; (-1, at) if there is none."""
    number = 0
    for count, byte in enumerate(data[at : at + _VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return (number, at + count + 1) if byte or not count else (-1, at)
    return -1, at


def is_well_formed(data: bytes) -> bool:
    """Tell whether `data` is one CIDv1: version 1, minimal varints, a digest of the stated size, nothing behind."""
    if len(data) == 36 and data.startswith(_SHA2_256):
        return True
    version, at = _read_varint(data, 0)
    if version != _VERSION:
        return False
    codec, at = _read_varint(data, at)
    code, at = _read_varint(data, at)
    size, at = _read_varint(data, at)
    return codec >= 0 and code >= 0 and size >= 0 and len(data) - at == size


def compute(data: bytes, hash_name: str = "sha2-256") -> Link:
    """Return the id of a DAG-CBOR block: CIDv1, dag-cbor, digest of `data`. CidError for an unknown hash name."""
    if hash_name == "sha2-256":
        return Link(_SHA2_256 + hashlib.sha256(data).digest())
    entry = HASHES.get(hash_name)
    if entry is None:
        raise CidError(f"unknown hash {hash_name!r}", mend="use one of " + ", ".join(HASHES))
    return Link(entry.dag_cbor_prefix + entry.digest(data))


def compute_raw(data: bytes) -> Link:
    """Return the id of an opaque block such as a seal: CIDv1, raw, sha2-256."""
    return Link(_SHA2_256_RAW + hashlib.sha256(data).digest())


def is_record_id(link: object) -> bool:
    """Tell whether `link` has the shape of a record's id: CIDv1, dag-cbor, full digest of a whitelisted hash."""
    if not isinstance(link, bytes):
        return False
    if len(link) == 36 and link.startswith(_SHA2_256):
        return True
    return _lookup(link, _BY_DAG_CBOR_PREFIX) is not None or hybrid_scheme(link) is not None


def hybrid_scheme(link: bytes) -> str | None:
    """Return `H1+H2`, the hashes of content and predecessors in a hybrid id; None for any other link.

    The bytes have one form: the identity multihash over the canonical map of the two multihashes.
    """
    if not link.startswith(HYBRID_START):
        return None
    size, at = _read_varint(link, len(HYBRID_START))
    if size != len(link) - at or link[at : at + len(_TWO_DIGESTS)] != _TWO_DIGESTS:
        return None
    preds, at = _read_digest(link, at + len(_TWO_DIGESTS))
    if preds is None or link[at : at + len(_SECOND)] != _SECOND:
        return None
    content, at = _read_digest(link, at + len(_SECOND))
    if content is None or at != len(link) or content == preds:
        return None
    return f"{content}+{preds}"


def _read_digest(link: bytes, at: int) -> tuple[str | None, int]:
    """Return the name of the hash of the CBOR byte string at `at` that is a multihash, and where it ends."""
    if link[at : at + 1] != b"\x58" or at + 1 >= len(link):
        return None, at
    end = at + 2 + link[at + 1]
    multihash = link[at + 2 : end]
    entry = _lookup(_SHA2_256[:2] + multihash, _BY_DAG_CBOR_PREFIX)
    return (None if entry is None else entry.name), end


def hash_name(link: bytes) -> str:
    """Return the manifest name of the hash in `link` (dag-cbor or raw), `H1+H2` for a hybrid id.

    Raises CidError if it is not a whitelisted one.
    """
    if len(link) == 36 and link.startswith(_SHA2_256):
        return "sha2-256"
    scheme = hybrid_scheme(link)
    if scheme is not None:
        return scheme
    entry = _lookup(link, _BY_DAG_CBOR_PREFIX) or _lookup(link, _BY_RAW_PREFIX)
    if entry is None:
        raise CidError("an id with a hash or codec that is not accepted", record=bytes(link))
    return entry.name


def matches(link: bytes, data: bytes) -> bool:
    """Tell whether `link` (dag-cbor or raw, any whitelisted hash) is the id of `data`. False for any other link."""
    if len(link) == 36 and link.startswith(_SHA2_256):
        return link[4:] == hashlib.sha256(data).digest()
    entry = _lookup(link, _BY_DAG_CBOR_PREFIX) or _lookup(link, _BY_RAW_PREFIX)
    return entry is not None and link[-entry.size :] == entry.digest(data)


def is_id_of(link: object, data: bytes) -> bool:
    """Tell whether `link` is a record's id and that of `data`, under any whitelisted hash. False for anything else."""
    if isinstance(link, bytes) and len(link) == 36 and link.startswith(_SHA2_256):
        return link[4:] == hashlib.sha256(data).digest()
    return isinstance(link, bytes) and is_record_id(link) and matches(link, data)


def to_text(link: bytes) -> str:
    """Return the text form: multibase `b`, base32 lower case without padding (RFC 4648). Any bytes are accepted."""
    return "b" + base64.b32encode(link).decode("ascii").rstrip("=").lower()


def from_text(text: str) -> Link:
    """Return the id that `text` names. CidError unless it is a well-formed CIDv1 and re-encodes to the same text."""
    if not isinstance(text, str) or not text.startswith("b"):
        raise CidError("not an id: the text of an id starts with b", mend="give the base32 form, such as bafyrei…")
    body = text[1:]
    if len(body) > DEFAULT.cid_bytes * 8 // 5 + 1:
        raise CidError("not an id: the text is too long")
    try:
        data = base64.b32decode(body.upper() + "=" * (-len(body) % 8))
    except ValueError as error:
        raise CidError("not an id: not base32", mend="copy it again, without spaces or line breaks") from error
    if to_text(data) != text:
        raise CidError("not an id: not the canonical text", mend="use lower case without padding")
    if not is_well_formed(data):
        raise CidError("not an id: not a well-formed CIDv1", mend="copy it again, whole")
    return Link(data)


def short(link: bytes) -> str:
    """Return a form for people: the first 4 and last 6 characters of the text around an ellipsis. Not unique."""
    text = to_text(link)
    return text if len(text) <= 11 else f"{text[:4]}…{text[-6:]}"
