"""Bodies that are committed to field by field: what a record under the address scheme `merkle` says in place of them.

Such a record holds the root of a Merkle tree (RFC 9162) over the fields that its kind lets an author withhold; the
fields that rules read stay in plain. Every one of those fields has its own place in the tree, whether the record has
it or not, so that nobody can commit to two values of one field and show each to somebody else.
Normative text: docs/spec/merkle.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from tslg.protocol import codec
from tslg.protocol.codec import Link
from tslg.protocol.errors import RecordError
from tslg.protocol.kinds import Kind
from tslg.protocol.log import Tree

SALT_BYTES: Final = 16
"""Enough that nobody finds a withheld value by trying: each field has a salt of its own."""
LEAF_START: Final = b"tslg.field.v1"
"""What the data of a leaf begins with, so that a field is no leaf of any other tree."""
ROOT: Final = "merkle"
COUNT: Final = "fields"


class Commitment(NamedTuple):
    """What a record commits to in place of fields.

    Attributes:
        root: of the tree over all fields, 32 bytes.
        names: the fields, in the order of the leaves.
        withheld: those that nothing at hand discloses.
        redacted: the records that are said to have had some of them destroyed.
    """

    root: bytes
    names: tuple[str, ...]
    withheld: tuple[str, ...]
    redacted: tuple[Link, ...] = ()


class Leaf(NamedTuple):
    """One disclosed field: its place in the tree, its bytes, and the hashes that lead from it to the root."""

    place: int
    data: bytes
    path: tuple[bytes, ...]


def leaf_data(salt: bytes, name: str, value: Mapping[str, Any]) -> bytes:
    """Return the bytes of the leaf of the field `name`: with its value if `value` has it, else without one."""
    return codec.encode([salt, name, value[name]] if name in value else [salt, name])


def commit(kind: Kind, body: Mapping[str, Any], salts: Sequence[bytes]) -> tuple[dict[str, Any], list[Leaf]]:
    """Return the body that a record shows in place of `body`, and the leaves that disclose the rest.

    Args:
        kind: the record's; it names the fields that are committed to (`Kind.committed`), at least one.
        body: all fields, as a record under the address scheme `flat` would hold them.
        salts: 16 secret random bytes for each field that is committed to.

    Raises:
        RecordError: a required field is missing, or one is of the wrong type. CodecError: a value has no bytes.
    """
    names = kind.committed
    if len(salts) != len(names) or any(len(salt) != SALT_BYTES for salt in salts):
        raise ValueError(f"{len(names)} salts of {SALT_BYTES} bytes")
    if not kind.required <= body.keys():
        raise _wrong(f"a {kind.name} needs a body with the fields {sorted(kind.required)}")
    for name in names:
        if name in body and not kind.valid[name](body[name]):
            raise _wrong(f"body field {name!r} is of the wrong type in a {kind.name}")
    data = [leaf_data(salt, name, body) for salt, name in zip(salts, names, strict=True)]
    tree = Tree(LEAF_START + leaf for leaf in data)
    shown = {name: value for name, value in body.items() if name not in names}
    shown |= {ROOT: tree.root(), COUNT: len(names)}
    leaves = [Leaf(index, leaf, tuple(tree.inclusion_proof(index))) for index, leaf in enumerate(data)]
    return shown, leaves


def read(kind: Kind, body: Mapping[str, Any]) -> tuple[dict[str, Any], Commitment]:
    """Split a body that holds a commitment into the fields in plain and the commitment.

    Raises:
        ValueError: it is none, or a field stands in plain that is to be committed to.
    """
    root, count = body.get(ROOT), body.get(COUNT)
    names = kind.committed
    if not names:
        raise ValueError(f"a {kind.name} stands in plain, and commits to nothing")
    if type(root) is not bytes or len(root) != 32 or type(count) is not int or count != len(names):
        raise ValueError(f"a {kind.name} commits to {len(names)} fields with a root of 32 bytes")
    plain = {name: value for name, value in body.items() if name != ROOT and name != COUNT}
    if not plain.keys().isdisjoint(names):
        raise ValueError(f"beside a commitment, none of {', '.join(names)} stands in plain")
    if "narrowing" in plain:
        raise ValueError("a record has one attachment: it commits to fields, or names proofs about policies")
    return plain, Commitment(root, names, names)


def _wrong(detail: str) -> RecordError:
    return RecordError(detail, code="TSLG-R-BODY")
