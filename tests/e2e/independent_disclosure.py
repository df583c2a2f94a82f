"""Disclosures, read as docs/spec/merkle.md says. It imports nothing from tslg; part of `independent_reader`."""

from __future__ import annotations

import hashlib
from itertools import pairwise

from independent_formats import Bad, decode, encode, is_hash, is_record_id, is_uint, node
from independent_records import KINDS, Record


def withheld(record: Record, attachment: bytes | None) -> list[str]:
    """The names of the committed fields that nothing discloses. [MRK-10]"""
    if record.root_of_fields is None:
        return []
    names = KINDS[record.kind].committed
    try:
        shown = set() if attachment is None else {index for index, _ in leaves_of(record, attachment)}
    except Bad:  # [MRK-8]
        shown = set()
    return [name for index, name in enumerate(names) if index not in shown]


def disclosed(record: Record, attachment: bytes) -> dict:
    """The committed fields that a disclosure shows, by name. Raises Bad for one that does not hold."""
    return {leaf[1]: leaf[2] for _, leaf in leaves_of(record, attachment) if len(leaf) == 3}


def leaves_of(record: Record, attachment: bytes) -> list[tuple[int, list]]:
    """[MRK-6], [MRK-7]"""
    if len(attachment) > 262144:  # [ATT-1]
        raise Bad("TSLG-T")
    value = decode(attachment)
    if type(value) is not dict or value.keys() != {"leaves", "redacted"}:
        raise Bad("TSLG-T")
    leaves, redacted = value["leaves"], value["redacted"]
    if type(leaves) is not list or type(redacted) is not list or not leaves + redacted or len(redacted) > 64:
        raise Bad("TSLG-T")
    if not all(map(is_record_id, redacted)) or any(a >= b for a, b in pairwise(redacted)):
        raise Bad("TSLG-T")
    if not all(type(one) is list and len(one) == 3 and is_uint(one[0]) for one in leaves):
        raise Bad("TSLG-T")
    if any(a[0] >= b[0] for a, b in pairwise(leaves)):
        raise Bad("TSLG-T")
    return [(index, _leaf(record, index, data, path)) for index, data, path in leaves]


def _leaf(record: Record, index: int, data: bytes, path: list[bytes]) -> list:
    """One leaf, proved and of its field's type. [MRK-4], [MRK-5]"""
    kind = KINDS[record.kind]
    if type(data) is not bytes or type(path) is not list or not all(map(is_hash, path)):
        raise Bad("TSLG-T")
    if index >= len(kind.committed) or _root(index, len(kind.committed), data, list(path)) != record.root_of_fields:
        raise Bad("TSLG-T")
    leaf = decode(data)
    if type(leaf) is not list or not 2 <= len(leaf) <= 3 or encode(leaf) != data:
        raise Bad("TSLG-T")
    if type(leaf[0]) is not bytes or len(leaf[0]) != 16 or leaf[1] != kind.committed[index]:
        raise Bad("TSLG-T")
    valid, required = kind.fields[leaf[1]]
    if not (valid(leaf[2]) if len(leaf) == 3 else not required):
        raise Bad("TSLG-T")
    return leaf


def _root(index: int, size: int, data: bytes, path: list[bytes]) -> bytes | None:
    """The root to which a path leads, from above: RFC 9162 splits at the largest power of two below the size."""
    if size == 1:
        return hashlib.sha256(b"\x00tslg.field.v1" + data).digest() if not path else None
    if not path:
        return None
    half = 1 << (size - 1).bit_length() - 1
    last = path.pop()
    if index < half:
        inner = _root(index, half, data, path)
        return None if inner is None else node(inner, last)
    inner = _root(index - half, size - half, data, path)
    return None if inner is None else node(last, inner)
