"""The formats of docs/spec, read by a second program: values, ids, records, seals, bundles, trees. Nothing from tslg.

Numbers in brackets name the sentences of the specification that the code below them follows.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import blake3
import cbor2

LARGEST = 2**53 - 1
HYBRID = bytes.fromhex("017100")
HASHES = {
    bytes.fromhex("01711220"): ("sha2-256", lambda data: hashlib.sha256(data).digest()),
    bytes.fromhex("01711340"): ("sha2-512", lambda data: hashlib.sha512(data).digest()),
    bytes.fromhex("01711620"): ("sha3-256", lambda data: hashlib.sha3_256(data).digest()),
    bytes.fromhex("0171a0e40220"): ("blake2b-256", lambda data: hashlib.blake2b(data, digest_size=32).digest()),
    bytes.fromhex("01711e20"): ("blake3", lambda data: blake3.blake3(data).digest()),
}
SEAL_ID = bytes.fromhex("01551220")


class Bad(Exception):
    """Something is not as the specification says."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


class Link(bytes):
    """A binary CID inside a value."""


# --- codec.md --------------------------------------------------------------------------------------------------------


def decode(data: bytes):
    """The value of canonical bytes: a general decoder reads them, and only what encodes to them again is accepted."""
    try:
        value = _linked(cbor2.CBORDecoder(io.BytesIO(data)).decode())
    except Exception as error:
        raise Bad("TSLG-C", f"not CBOR: {error}") from error
    if b"".join(_encoded(value, 1)) != data:
        raise Bad("TSLG-C", "not canonical")
    return value


def _linked(value):
    """The value with links in the place of tags."""
    if type(value) is list:
        return [_linked(item) for item in value]
    if type(value) is dict:
        return {key: _linked(item) for key, item in value.items()}
    if type(value) is cbor2.CBORTag and value.tag == 42 and value.value[:1] == b"\x00":  # [COD-6]
        return Link(value.value[1:])
    return value


def encode(value) -> bytes:
    """The canonical bytes of a value."""
    return b"".join(_encoded(value, 1))


def _encoded(value, level):
    if value is None or value is True or value is False:
        yield {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    elif type(value) is int:
        if abs(value) > LARGEST:  # [COD-2]
            raise Bad("TSLG-C", "an integer too large")
        yield _head(0, value) if value >= 0 else _head(1, -1 - value)
    elif type(value) is Link:
        if not well_formed(value):  # [COD-7]
            raise Bad("TSLG-C", "a malformed link")
        yield b"\xd8\x2a" + _head(2, len(value) + 1) + b"\x00" + value
    elif type(value) is bytes:
        yield _head(2, len(value)) + value
    elif type(value) is str:
        yield _head(3, len(value.encode())) + value.encode()
    elif type(value) in (list, dict):
        if level > 16:  # [COD-9]
            raise Bad("TSLG-C", "nested too deep")
        yield _head(4 if type(value) is list else 5, len(value))
        if type(value) is list:
            for item in value:
                yield from _encoded(item, level + 1)
        else:
            if not all(type(key) is str for key in value):
                raise Bad("TSLG-C", "a key that is no text")
            for key in sorted(value, key=lambda key: (len(key.encode()), key.encode())):  # [COD-5]
                yield from _encoded(key, level + 1)
                yield from _encoded(value[key], level + 1)
    else:
        raise Bad("TSLG-C", f"a {type(value).__name__}")


def _head(major, number):
    if number < 24:
        return bytes((major << 5 | number,))
    for more, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes((major << 5 | more,)) + number.to_bytes(size, "big")
    raise Bad("TSLG-C", "a number too large")


# --- cid.md ----------------------------------------------------------------------------------------------------------


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The minimal varint at an offset, and the offset behind it."""
    number = 0
    for count in range(9):
        if at + count >= len(data):
            raise Bad("TSLG-B-TRUNCATED", "a varint is cut off")
        byte = data[at + count]
        number |= (byte & 127) << 7 * count
        if byte < 128:
            if byte == 0 and count:
                break
            return number, at + count + 1
    raise Bad("TSLG-B-VARINT", "a varint that is not minimal")


def cid_length(data: bytes, at: int) -> int:
    """The length of the CIDv1 at an offset. [CID-1]"""
    start = at
    version, at = varint(data, at)
    if version != 1:
        raise Bad("TSLG-B-CID", "not a CIDv1")
    _, at = varint(data, at)
    _, at = varint(data, at)
    size, at = varint(data, at)
    return at + size - start


def well_formed(link: bytes) -> bool:
    try:
        return cid_length(link, 0) == len(link)
    except Bad:
        return False


def hash_of(link: bytes) -> str | None:
    """The name of the hash in a record's id; None if it is not the id of a record. [CID-2]"""
    for first, (name, digest) in HASHES.items():
        if link.startswith(first) and len(link) == len(first) + len(digest(b"")):
            return name
    if not link.startswith(HYBRID):
        return None
    try:  # [HYB-3], [HYB-4]
        size, at = varint(link, len(HYBRID))
        digests = decode(link[at:]) if size == len(link) - at else None
    except Bad:
        return None
    if type(digests) is not dict or digests.keys() != {"content", "preds"}:
        return None
    if not all(type(part) is bytes for part in digests.values()):
        return None
    parts = [hash_of(b"\x01\x71" + digests[name]) for name in ("content", "preds")]
    plain = None not in parts and not any("+" in part for part in parts)
    return "+".join(parts) if plain and parts[0] != parts[1] else None


def is_record_id(value) -> bool:
    return type(value) is Link and hash_of(value) is not None


def is_seal_id(value) -> bool:
    return type(value) is Link and value.startswith(SEAL_ID) and len(value) == 36


def names(link: bytes, data: bytes) -> bool:
    """Whether a record's or seal's id is that of the data."""
    if link.startswith(SEAL_ID):
        return link[4:] == hashlib.sha256(data).digest()
    if link.startswith(HYBRID):
        return _hybrid_names(link, data)
    return any(link == first + digest(data) for first, (_, digest) in HASHES.items() if link.startswith(first))


def _hybrid_names(link: bytes, data: bytes) -> bool:
    """[HYB-2], [HYB-3]"""
    scheme = hash_of(link)
    try:
        value = decode(data)
        if scheme is None or type(value) is not dict or "preds" not in value:
            return False
        parts = {"preds": encode(value.pop("preds")), "content": encode(value)}
    except Bad:
        return False
    by_name = {name: first[2:] for first, (name, _) in HASHES.items()}
    of = dict(HASHES.values())
    digests = {
        part: by_name[name] + of[name](parts[part])
        for part, name in zip(("content", "preds"), scheme.split("+"), strict=True)
    }
    return link.endswith(encode(digests))


# --- log.md ----------------------------------------------------------------------------------------------------------


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A Merkle tree that is only appended to: its size and peaks, the largest first."""

    def __init__(self, size: int = 0, peaks: list[bytes] | None = None) -> None:
        self.size, self.peaks = size, peaks or []

    def append(self, leaf: bytes) -> None:
        self.peaks.append(hashlib.sha256(b"\x00" + leaf).digest())
        size = self.size
        while size & 1:
            right = self.peaks.pop()
            self.peaks.append(node(self.peaks.pop(), right))
            size >>= 1
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node(peak, root)
        return root


def consistent(old_size: int, size: int, old_root: bytes, root: bytes, proof: list[bytes]) -> bool:
    """RFC 9162, section 2.1.4.2."""
    if not 0 < old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == root
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    fn, sn = old_size - 1, size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return fr == old_root and sr == root and sn == 0


# --- bundle.md -------------------------------------------------------------------------------------------------------


def read_bundle(data: bytes) -> tuple[dict, dict[bytes, bytes], set[bytes]]:
    """The root block's value, the data of listed blocks by CID, and the CIDs whose data is not what they say."""
    length, at = varint(data, 0)
    header = decode(data[at : at + length])
    if (
        type(header) is not dict or header.keys() != {"roots", "version"} or encode(header["version"]) != b"\x01"
    ):  # [BUN-2]
        raise Bad("TSLG-B-HEADER")
    if type(header["roots"]) is not list or len(header["roots"]) != 1 or type(header["roots"][0]) is not Link:
        raise Bad("TSLG-B-ROOTS")
    at += length
    blocks: dict[bytes, bytes] = {}
    order = []
    while at < len(data):
        length, at = varint(data, at)
        if at + length > len(data):
            raise Bad("TSLG-B-TRUNCATED", f"at {at}")
        section = data[at : at + length]
        at += length
        size = cid_length(section, 0) if section else length + 1
        if size > length:
            raise Bad("TSLG-B-CID")
        if section[:size] in blocks:  # [BUN-6]
            raise Bad("TSLG-B-DUPLICATE")
        blocks[section[:size]] = section[size:]
        order.append(section[:size])
    root = bytes(header["roots"][0])
    if not order or order[0] != root or root != bytes.fromhex("01711220") + hashlib.sha256(blocks[root]).digest():
        raise Bad("TSLG-B-ROOT")  # [BUN-3]
    value = decode(blocks.pop(root))
    listed = _check_root(value)
    if not blocks.keys() <= listed:
        raise Bad("TSLG-B-EXTRA")
    attached = {bytes(entry[2]) for entry in value["records"] if len(entry) == 3}
    if any(len(block) > (262144 if link in attached else 65536) for link, block in blocks.items()):  # [BUN-7]
        raise Bad("TSLG-B-SIZE")
    broken = {link for link, block in blocks.items() if not names(link, block)}
    hybrids = [bytes(entry[0]) for entry in value["records"] if entry[0].startswith(HYBRID)]
    for link, plain in zip(hybrids, value.get("blocks", ()), strict=True):  # [HYB-6]
        if plain in blocks:
            blocks[link] = blocks[plain]
            broken |= {link} if plain in broken or not names(link, blocks[link]) else set()
    return value, blocks, broken


def _check_root(value) -> set[bytes]:
    keys = {"tslg", "federation", "manifest", "targets", "heads", "inclusion", "consistency", "records"}
    if (
        type(value) is not dict
        or value.keys() - {"beside", "blocks", "pruned", "checkpoints", "withheld"} != keys
        or type(value["tslg"]) is not int
        or value["tslg"] != 1
    ):
        raise Bad("TSLG-B-ROOT")  # [BUN-4]
    targets, records = value["targets"], value["records"]
    if not is_record_id(value["federation"]) or not is_record_id(value["manifest"]) or type(targets) is not list:
        raise Bad("TSLG-B-ROOT")
    if not 1 <= len(targets) <= 1000 or not all(map(is_record_id, targets)) or len(set(targets)) != len(targets):
        raise Bad("TSLG-B-ROOT")
    shapes = {
        "heads": {"agent": is_record_id, "record": is_record_id, "size": is_uint, "root": is_hash},
        "inclusion": {"record": is_record_id, "size": is_uint, "proof": is_proof},
        "consistency": {"agent": is_record_id, "old_size": is_uint, "size": is_uint, "proof": is_proof},
    }
    if "pruned" in value:
        shapes["pruned"] = {"record": is_record_id, "prune": is_record_id, "place": is_uint, "proof": is_proof}
    for name, shape in shapes.items():
        if type(value[name]) is not list or not all(has_shape(item, shape) for item in value[name]):
            raise Bad("TSLG-B-PROOF")
    if "withheld" in value:  # [ACC-26]
        kept, listed = value["withheld"], {entry[0] for entry in records if type(entry) is list and entry}
        if type(kept) is not list or not 1 <= len(kept) <= 1_000_000 or not all(map(is_record_id, kept)):
            raise Bad("TSLG-B-ROOT")
        if kept != sorted(set(kept)) or listed & set(kept):
            raise Bad("TSLG-B-ROOT")
    notes = value.get("checkpoints", [b""])
    if type(notes) is not list or not 1 <= len(notes) <= 1000 or not all(type(n) is bytes for n in notes):
        raise Bad("TSLG-B-PROOF")
    if any(len(note) > 131072 for note in notes):
        raise Bad("TSLG-B-PROOF")
    if type(records) is not list or not all(type(entry) is list and 2 <= len(entry) <= 3 for entry in records):
        raise Bad("TSLG-B-ROOT")
    if not all(is_record_id(record) and all(map(is_seal_id, others)) for record, *others in records):
        raise Bad("TSLG-B-ROOT")
    if len({entry[0] for entry in records}) != len(records):
        raise Bad("TSLG-B-ROOT")
    if "beside" in value:
        beside, listed = value["beside"], {bytes(entry[0]) for entry in records}
        if type(beside) is not list or not beside or not all(type(link) is Link and link in listed for link in beside):
            raise Bad("TSLG-B-ROOT")
        if len(set(beside)) != len(beside):
            raise Bad("TSLG-B-ROOT")
    hybrids = [entry[0] for entry in records if entry[0].startswith(HYBRID)]
    plain = value.get("blocks", [])
    if type(plain) is not list or len(plain) != len(hybrids) or ("blocks" in value) != bool(hybrids):  # [HYB-6]
        raise Bad("TSLG-B-ROOT")
    if not all(type(link) is Link and hash_of(link) == "sha2-256" for link in plain) or len(set(plain)) != len(plain):
        raise Bad("TSLG-B-ROOT")
    return {bytes(link) for pair in records for link in pair} - {bytes(link) for link in hybrids} | {*map(bytes, plain)}


def has_shape(value, shape) -> bool:
    return type(value) is dict and value.keys() == shape.keys() and all(shape[key](value[key]) for key in shape)


def is_uint(value) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def is_hash(value) -> bool:
    return type(value) is bytes and len(value) == 32


def is_proof(value) -> bool:
    return type(value) is list and len(value) <= 64 and all(map(is_hash, value))


# --- seal.md ---------------------------------------------------------------------------------------------------------


@dataclass
class Signature:
    """One signature of a seal, with the bytes that it is over."""

    alg: int
    kid: bytes
    value: bytes
    bitmap: bytes | None
    signed: bytes


def read_seal(data: bytes, record: bytes) -> tuple[bool, list[Signature]]:
    """Whether a seal is a COSE_Sign, and its signatures. [SEA-1] to [SEA-8]"""
    try:
        if len(data) > 65536:
            raise ValueError("too large")
        tagged = cbor2.loads(data)
        many = {18: False, 98: True}[tagged.tag]
        protected, unprotected, payload, last = tagged.value
        entries = last if many else [(protected, unprotected, last)]
        if payload is not None or (many and (protected != b"" or dict(unprotected) or not 1 <= len(last) <= 64)):
            raise ValueError("neither a COSE_Sign1 nor a COSE_Sign as they must be")
        signatures = [_signature(*entry, many, record) for entry in entries]
        again = [[cbor2.dumps({1: s.alg}), _unprotected(s), s.value] for s in signatures]
        parts = [b"", {}, None, again] if many else [*again[0][:2], None, again[0][2]]
        if cbor2.dumps(cbor2.CBORTag(tagged.tag, parts)) != data:  # [SEA-7]
            raise ValueError("not the one encoding")
    except Exception as error:
        raise Bad("TSLG-A-SEAL", str(error)) from error
    return many, signatures


def _signature(protected, unprotected, value, many, record) -> Signature:
    header = cbor2.loads(protected)
    if list(header) != [1] or type(header[1]) is not int or type(value) is not bytes:
        raise ValueError("a signature is malformed")
    rest = dict(unprotected)
    kid, bitmap = rest.pop(4), rest.pop(-70010, None)
    if rest or type(kid) is not bytes or not isinstance(bitmap, bytes | None):
        raise ValueError("an unprotected header is malformed")
    first = ["Signature", b""] if many else ["Signature1"]
    return Signature(header[1], kid, value, bitmap, cbor2.dumps([*first, protected, b"tslg.record.v1", record]))


def _unprotected(signature: Signature) -> dict:
    return {4: signature.kid} | ({} if signature.bitmap is None else {-70010: signature.bitmap})
