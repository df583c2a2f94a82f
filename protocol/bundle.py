"""The bundle: a CARv1 file that carries records, their seals and what is needed to check their order, offline.

Works on binary streams that the caller opens. Normative text: docs/spec/bundle.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from tslg.protocol import cid, codec, hybrid
from tslg.protocol.codec import Link
from tslg.protocol.errors import BundleError, CodecError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof, PrunedProof, read_list, read_notes

VERSION: Final = 1
CAR_VERSION: Final = 1

_ROOT_KEYS: Final = frozenset(
    ("tslg", "federation", "manifest", "targets", "heads", "inclusion", "consistency", "records")
)
_OPTIONAL_KEYS: Final = frozenset(("beside", "blocks", "checkpoints", "pruned", "withheld"))
"""Keys of the root block that are left out where their list is empty."""
_VARINT_BYTES: Final = 9
_DIGEST_BYTES: Final = 64
"""Longest digest of the whitelist (sha2-512)."""
_PIECE_BYTES: Final = 1024 * 1024
"""Most bytes asked of a stream at once, so that a length that lies costs no memory."""
_PLAIN_START: Final = bytes((1, cid.DAG_CBOR, 0x12, 32))
"""CIDv1, dag-cbor, sha2-256, 32 bytes."""
_SEAL_ID_START: Final = bytes((1, cid.RAW, 0x12, 32))
"""CIDv1, raw, sha2-256, 32 bytes."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds, in the order in which its root block lists it.

    Attributes:
        root: id of the root block.
        federation: id of the root manifest.
        manifest: id of the manifest version in force.
        targets: the records that the bundle was made to prove.
        heads, inclusion, consistency: what the maker says of the logs.
        checkpoints: signed states of logs, as they came.
        records: the bytes of record and seal by record id, where both blocks are there and are what their ids say.
        attachments: by record id, what is attached to those of them whose attachment's block is there.
        absent: records that are listed, but one of whose two blocks is left out.
        broken: records one of whose blocks is not what its id says, with one line that says which.
        beside: listed records that no target needs, but that say something of a log: proof of forks, confessions,
            prune records.
        pruned: proofs that records which are not there were pruned.
        withheld: records that are not there since they were kept from whom the bundle was made for.
    """

    root: Link
    federation: Link
    manifest: Link
    targets: tuple[Link, ...]
    heads: tuple[HeadClaim, ...]
    inclusion: tuple[InclusionProof, ...]
    consistency: tuple[ConsistencyProof, ...]
    checkpoints: tuple[bytes, ...]
    records: Mapping[Link, tuple[bytes, bytes]]
    attachments: Mapping[Link, bytes]
    absent: list[Link]
    broken: list[tuple[Link, str]]
    beside: tuple[Link, ...] = ()
    pruned: tuple[PrunedProof, ...] = ()
    withheld: tuple[Link, ...] = ()


def write(
    stream: BinaryIO,
    *,
    federation: Link,
    manifest: Link,
    targets: Iterable[Link],
    heads: Iterable[HeadClaim],
    inclusion: Iterable[InclusionProof],
    consistency: Iterable[ConsistencyProof],
    records: Iterable[tuple[Link, bytes, bytes]],
    attachments: Mapping[Link, bytes] | None = None,
    beside: Iterable[Link] = (),
    checkpoints: Iterable[bytes] = (),
    pruned: Iterable[PrunedProof] = (),
    withheld: Iterable[Link] = (),
) -> Link:
    """Write a bundle and return the id of its root block. The same input always makes the same bytes.

    Args:
        stream: where to write, only ever forwards.
        federation: id of the root manifest.
        manifest: id of the manifest version in force.
        targets: ids of the records that the bundle is to prove, at least one.
        heads: the newest records of logs, as far as known.
        inclusion: proofs for first records of runs.
        consistency: proofs between runs and up to the heads.
        records: (id, record bytes, seal bytes), each id once; key and manifest chains first by custom.
        attachments: by id, what is attached to some of the records.
        beside: those of the records that no target needs.
        checkpoints: signed states of logs, for readers that ask for witnesses.
        pruned: proofs that records which are needed and not there were pruned.
        withheld: records that are needed, and kept from whom the bundle is for.

    Raises:
        BundleError: the input does not make a bundle that `read` would accept.
    """
    attached = attachments if attachments is not None else {}
    blocks = [(link, data, [seal, attached[link]] if link in attached else [seal]) for link, data, seal in records]
    value: dict[str, Any] = {
        "tslg": VERSION,
        "federation": federation,
        "manifest": manifest,
        "targets": list(targets),
        "heads": [claim.to_map() for claim in heads],
        "inclusion": [proof.to_map() for proof in inclusion],
        "consistency": [proof.to_map() for proof in consistency],
        "records": [[link, *map(cid.compute_raw, others)] for link, _, others in blocks],
    }
    listed = list(beside)
    if listed:
        value["beside"] = listed
    if notes := list(checkpoints):
        value["checkpoints"] = notes
    proofs = [proof.to_map() for proof in pruned]
    if proofs:
        value["pruned"] = proofs
    if kept_back := sorted(set(withheld)):
        value["withheld"] = kept_back
    if plain := [cid.compute(record) for link, record, _ in blocks if _is_hybrid(link)]:
        value["blocks"] = plain
    data = codec.encode(value)
    root = cid.compute(data)
    if len(data) > DEFAULT.bundle_root_bytes:
        raise _damage("SIZE", 0, f"a root block of {len(data)} bytes, the limit is {DEFAULT.bundle_root_bytes}")
    _Root(root, codec.decode(data), 0, DEFAULT)
    header = codec.encode({"roots": [root], "version": CAR_VERSION})
    stream.write(_varint(len(header)) + header)
    _write_block(stream, root, data)
    written: set[Link] = set()
    for link, record, others in blocks:
        if not (hybrid.is_id_of(link, record) if _is_hybrid(link) else cid.matches(link, record)):
            raise BundleError("the bytes of a record have another id", code="TSLG-B-BLOCK", record=link)
        _write_block(stream, cid.compute(record) if _is_hybrid(link) else link, record)
        for other in others:
            other_link = cid.compute_raw(other)
            if other_link not in written:
                written.add(other_link)
                _write_block(stream, other_link, other)
    return root


def read(stream: BinaryIO, limits: Limits = DEFAULT) -> Bundle:
    """Read a bundle to its end, holding no more than the root block and the records.

    A listed block that is missing, or whose bytes are not what its id says, is reported in the result, since the rest
    can still be judged. Anything else out of order ends the reading.

    Raises:
        BundleError: the bytes are not a bundle; the detail names the offset.
    """
    source = _Source(stream, limits.bundle_bytes)
    link = _read_header(source, limits)
    root = _read_root(source, link, limits)
    blocks: dict[Link, bytes | None] = {}
    while (section := source.section()) is not None:
        start, end = section
        link = source.cid(end)
        if link not in root.listed:
            raise _damage("EXTRA", start, f"the block {cid.to_text(link)} is not listed in the root block")
        if link in blocks:
            raise _damage("DUPLICATE", start, f"the block {cid.to_text(link)} comes twice")
        most = root.most_bytes(link, limits)
        if end - source.offset > most:
            raise _damage("SIZE", start, f"a block of {end - source.offset} bytes, the limit is {most}")
        data = source.take(end - source.offset)
        blocks[link] = data if cid.matches(link, data) else None
    return root.bundle(blocks)


class _Root:
    """A checked root block."""

    def __init__(self, link: Link, value: Any, offset: int, limits: Limits) -> None:
        """Check every field of the decoded block `value` at `offset`; BundleError if one is not as it must be."""
        if type(value) is not dict or value.keys() - _OPTIONAL_KEYS != _ROOT_KEYS:
            raise _damage("ROOT", offset, f"the root block is a map of exactly {', '.join(sorted(_ROOT_KEYS))}")
        if value.get("pruned") == []:
            raise _damage("ROOT", offset, "`pruned` of the root block is left out where it is empty")
        if type(value["tslg"]) is not int or value["tslg"] != VERSION:
            raise _damage("VERSION", offset, f"`tslg` of the root block is not {VERSION}")
        self.link = link
        self.federation, self.manifest = value["federation"], value["manifest"]
        if not _is_record_link(self.federation) or not _is_record_link(self.manifest):
            raise _damage("ROOT", offset, "`federation` and `manifest` are links to records")
        targets = value["targets"]
        if type(targets) is not list or not 1 <= len(targets) <= limits.walk_roots:
            raise _damage("ROOT", offset, f"`targets` is a list of 1 to {limits.walk_roots} links")
        if not all(map(_is_record_link, targets)) or len(set(targets)) < len(targets):
            raise _damage("ROOT", offset, "`targets` are links to records, without repeats")
        self.targets: tuple[Link, ...] = tuple(targets)
        try:
            self.heads = read_list(HeadClaim.from_map, value["heads"], limits.walk_edges, limits)
            self.inclusion = read_list(InclusionProof.from_map, value["inclusion"], limits.walk_edges, limits)
            self.consistency = read_list(ConsistencyProof.from_map, value["consistency"], limits.walk_edges, limits)
            notes = "checkpoints" in value
            self.checkpoints = read_notes(value["checkpoints"], limits) if notes else ()
            self.pruned = read_list(PrunedProof.from_map, value.get("pruned", []), limits.walk_edges, limits)
        except ValueError as error:
            raise _damage("PROOF", offset, f"a head or proof of the root block: {error}") from error
        self.pairs = _read_pairs(value["records"], offset, limits)
        self.attached = {entry[0]: entry[2] for entry in value["records"] if len(entry) == 3}
        self._attachments = frozenset(self.attached.values())
        self.block_of = _read_blocks(value.get("blocks"), self.pairs, offset)
        own = {self.block_of.get(link, link) for link in self.pairs}
        self.listed = own | set(self.pairs.values()) | self._attachments
        self.beside = _read_beside(value.get("beside"), self.pairs, offset)
        self.withheld = _read_withheld(value.get("withheld"), self.pairs, offset, limits)

    def most_bytes(self, link: Link, limits: Limits) -> int:
        """Return how large a listed block may be."""
        if link in self._attachments:
            return limits.attachment_bytes
        return limits.record_bytes if cid.is_record_id(link) else limits.seal_bytes

    def bundle(self, blocks: Mapping[Link, bytes | None]) -> Bundle:
        """Sort the listed records by what became of their blocks: None for bytes that are not what the id says."""
        records: dict[Link, tuple[bytes, bytes]] = {}
        attachments: dict[Link, bytes] = {}
        absent: list[Link] = []
        broken: list[tuple[Link, str]] = []
        for link, attachment_link in self.attached.items():
            attachment = blocks.get(attachment_link)
            if attachment is not None:
                attachments[link] = attachment
            elif attachment_link in blocks:
                broken.append((link, "the bytes of the attachment's block have another id"))
        for link, seal_link in self.pairs.items():
            block = self.block_of.get(link, link)
            record, seal = blocks.get(block), blocks.get(seal_link)
            if record is not None and block is not link and not hybrid.is_id_of(link, record):
                broken.append((link, "the bytes of the record's block have another hybrid id"))
            elif record is not None and seal is not None:
                records[link] = (record, seal)
            elif record is None and block in blocks:
                broken.append((link, "the bytes of the record's block have another id"))
            elif seal is None and seal_link in blocks:
                broken.append((link, "the bytes of the seal's block have another id"))
            else:
                absent.append(link)
        return Bundle(
            self.link,
            self.federation,
            self.manifest,
            self.targets,
            self.heads,
            self.inclusion,
            self.consistency,
            self.checkpoints,
            records,
            attachments,
            absent,
            broken,
            self.beside,
            self.pruned,
            self.withheld,
        )


class _Source:
    """Bytes taken in order from a stream, with the offset of the next one and an upper bound on all of them."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = stream
        self._most = most
        self.offset = 0

    def take(self, count: int) -> bytes:
        """Return exactly `count` bytes; BundleError if the stream ends before, or is longer than a bundle may be."""
        if self.offset + count > self._most:
            raise _damage("SIZE", self.offset, f"a bundle has at most {self._most} bytes")
        data = self._read(count)
        if len(data) < count:
            raise _damage("TRUNCATED", self.offset, f"the stream ends {count - len(data)} bytes early")
        return data

    def _read(self, count: int) -> bytes:
        pieces: list[bytes] = []
        missing = count
        while missing:
            piece = self._stream.read(min(missing, _PIECE_BYTES))
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        self.offset += count - missing
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def varint(self) -> int:
        """Return the number of the minimal unsigned varint that comes next (multiformats, at most nine bytes)."""
        return self._varint(self.take(1)[0])

    def _varint(self, byte: int) -> int:
        start = self.offset - 1
        number = byte & 0x7F
        shift = 7
        while byte >= 0x80 and shift < 7 * _VARINT_BYTES:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
        if byte >= 0x80 or (byte == 0 and shift > 7):
            raise _damage("VARINT", start, f"not a minimal varint of at most {_VARINT_BYTES} bytes")
        return number

    def section(self) -> tuple[int, int] | None:
        """Return the offsets of the next section's length and of its end; None at the end of the stream."""
        start = self.offset
        first = self._read(1)
        if not first:
            return None
        length = self._varint(first[0])
        if self.offset + length > self._most:
            raise _damage("SIZE", start, f"a section of {length} bytes; a bundle has at most {self._most}")
        return start, self.offset + length

    def cid(self, end: int) -> Link:
        """Return the CIDv1 with which the section that ends at offset `end` begins."""
        start = self.offset
        numbers: list[int] = []
        while len(numbers) < 4 and self.offset < end:
            numbers.append(self.varint())
        if len(numbers) < 4 or numbers[0] != 1 or numbers[3] > _DIGEST_BYTES or self.offset + numbers[3] > end:
            raise _damage("CID", start, "a block does not begin with a CIDv1 of a hash that is accepted")
        return Link(b"".join(map(_varint, numbers)) + self.take(numbers[3]))


def _read_header(source: _Source, limits: Limits) -> Link:
    """Read the CARv1 header and return its one root."""
    section = source.section()
    if section is None:
        raise _damage("TRUNCATED", 0, "the stream is empty")
    start, end = section
    if end - source.offset > limits.bundle_header_bytes:
        raise _damage("SIZE", start, f"a header of more than {limits.bundle_header_bytes} bytes")
    try:
        header = codec.decode(source.take(end - source.offset))
    except CodecError as error:
        raise _damage("HEADER", start, f"the header is not canonical DAG-CBOR: {error.detail}") from error
    if type(header) is not dict or header.keys() != {"roots", "version"} or type(header["version"]) is not int:
        raise _damage("HEADER", start, "a header is a map of exactly `roots` and `version`")
    if header["version"] != CAR_VERSION:
        raise _damage("HEADER", start, f"CAR version {header['version']}, a bundle is a CARv1")
    roots = header["roots"]
    if type(roots) is not list or len(roots) != 1 or type(roots[0]) is not Link:
        raise _damage("ROOTS", start, "a bundle has exactly one root")
    return roots[0]


def _read_root(source: _Source, expected: Link, limits: Limits) -> _Root:
    """Read the first block, which must be the root block."""
    section = source.section()
    if section is None:
        raise _damage("ROOT", source.offset, "the root block is missing")
    start, end = section
    if source.cid(end) != expected:
        raise _damage("ROOT", start, "the first block is not the root block")
    length = end - source.offset
    if length > limits.bundle_root_bytes:
        raise _damage("SIZE", start, f"a root block of {length} bytes, the limit is {limits.bundle_root_bytes}")
    data = source.take(length)
    if cid.compute(data) != expected:
        raise _damage("ROOT", start, "the root block is not what its id says")
    try:
        value = codec.decode(data)
    except CodecError as error:
        raise _damage("ROOT", start, f"the root block is not canonical DAG-CBOR: {error.detail}") from error
    return _Root(expected, value, start, limits)


def _read_pairs(value: Any, offset: int, limits: Limits) -> dict[Link, Link]:
    """Read `records` of a root block: each record's id once, with its seal's; any attachment's link is checked."""
    if type(value) is not list or len(value) > limits.walk_edges:
        raise _damage("ROOT", offset, f"`records` is a list of at most {limits.walk_edges} pairs")
    pairs: dict[Link, Link] = {}
    for pair in value:
        if type(pair) is not list or not 2 <= len(pair) <= 3 or not _is_record_link(pair[0]):
            raise _damage("ROOT", offset, "an entry of `records` is [link to a record, link to its seal, …]")
        if not all(map(_is_raw_link, pair[1:])):
            raise _damage("ROOT", offset, "seals and attachments are raw blocks under sha2-256")
        if pair[0] in pairs:
            raise _damage("ROOT", offset, f"`records` lists {cid.to_text(pair[0])} twice")
        pairs[pair[0]] = pair[1]
    return pairs


def _read_blocks(value: Any, listed: Mapping[Link, Link], offset: int) -> dict[Link, Link]:
    """Read `blocks` of a root block: for each listed record with a hybrid id, in order, the plain id of its bytes."""
    hybrids = [link for link in listed if _is_hybrid(link)]
    if value is None and not hybrids:
        return {}
    sound = type(value) is list and all(type(link) is Link and link.startswith(_PLAIN_START) for link in value)
    if not sound or not hybrids or len(value) != len(hybrids) or len(set(value)) < len(value):
        raise _damage("ROOT", offset, "`blocks` has a dag-cbor sha2-256 link for each record with a hybrid id")
    return dict(zip(hybrids, value, strict=True))


def _is_hybrid(link: Link) -> bool:
    return link.startswith(cid.HYBRID_START)


def _read_beside(value: Any, listed: Mapping[Link, Link], offset: int) -> tuple[Link, ...]:
    """Read `beside` of a root block: some of the listed records, none twice; left out rather than empty."""
    if value is None:
        return ()
    sound = type(value) is list and all(type(id) is Link and id in listed for id in value)
    if not sound or not value or len(set(value)) < len(value):
        raise _damage("ROOT", offset, "`beside` is a list of different records that `records` lists")
    return tuple(value)


def _read_withheld(value: Any, listed: Mapping[Link, Link], offset: int, limits: Limits) -> tuple[Link, ...]:
    """Read `withheld` of a root block: a sorted set of other records than those listed; left out rather than empty."""
    if value is None:
        return ()
    sound = type(value) is list and all(_is_record_link(id) and id not in listed for id in value)
    if not sound or not 1 <= len(value) <= limits.walk_edges or value != sorted(set(value)):
        raise _damage("ROOT", offset, "`withheld` is a sorted set of records that `records` does not list")
    return tuple(value)


def _is_record_link(value: Any) -> bool:
    return type(value) is Link and cid.is_record_id(value)


def _is_raw_link(value: Any) -> bool:
    return type(value) is Link and len(value) == len(_SEAL_ID_START) + 32 and value.startswith(_SEAL_ID_START)


def _write_block(stream: BinaryIO, link: Link, data: bytes) -> None:
    stream.write(_varint(len(link) + len(data)) + link)
    stream.write(data)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _damage(rule: str, offset: int, detail: str) -> BundleError:
    return BundleError(f"at byte {offset}: {detail}", code=f"TSLG-B-{rule}", mend="have the bundle exported anew")
