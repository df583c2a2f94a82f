"""Disclosures: the attachments that show fields which a record only commits to, each with its proof.

A disclosure can be cut down to some of its fields by whoever holds it, without the author and without a trace in the
record: every field is proved on its own. Normative text: docs/spec/merkle.md.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

from tslg.protocol import cid, codec
from tslg.protocol.codec import Link
from tslg.protocol.committed import LEAF_START, SALT_BYTES, Leaf
from tslg.protocol.errors import AttachmentError, CodecError
from tslg.protocol.kinds import KINDS, Kind
from tslg.protocol.log import verify_inclusion
from tslg.protocol.record import Record

MOST_REDACTIONS: Final = 64
"""Redactions that one disclosure names: more than any kind has fields."""


def encode(leaves: Iterable[Leaf], redacted: Iterable[Link] = ()) -> bytes | None:
    """Return the disclosure of these leaves, and of the redactions that destroyed others; None for neither."""
    shown = [[leaf.place, leaf.data, list(leaf.path)] for leaf in sorted(leaves)]
    destroyed = sorted(set(redacted))
    if not shown and not destroyed:
        return None
    return codec.encode({"leaves": shown, "redacted": destroyed})


def decode(attachment: bytes) -> tuple[list[Leaf], list[Link]]:
    """Read a disclosure: its leaves, which nobody has proved yet, and redactions. AttachmentError if it is none."""
    try:
        value = codec.decode(attachment)
    except CodecError as error:
        raise _no(f"not canonical DAG-CBOR: {error.detail}") from error
    if type(value) is not dict or value.keys() != {"leaves", "redacted"}:
        raise _no("a disclosure is a map of exactly `leaves` and `redacted`")
    leaves = [_leaf(item) for item in _list(value["leaves"])]
    redacted = _list(value["redacted"])
    if any(one.place >= other.place for one, other in pairwise(leaves)):
        raise _no("leaves are in ascending order")
    if not all(type(link) is Link and cid.is_record_id(link) for link in redacted) or redacted != sorted(set(redacted)):
        raise _no("`redacted` is a sorted set of ids of records")
    if (not leaves and not redacted) or len(redacted) > MOST_REDACTIONS:
        raise _no("a disclosure discloses something")
    return leaves, redacted


def read(record: Record, attachment: bytes) -> Record:
    """Return the record with the fields that its disclosure shows in its body.

    Raises:
        AttachmentError: `TSLG-T-FORM` if it is no disclosure, `TSLG-T-PROOF` if the record does not commit to one of
            its leaves, `TSLG-T-FIELD` if it commits to a leaf that is not the field that belongs there.
    """
    held = record.commitment
    if held is None:
        raise AttachmentError("the record withholds nothing", code="TSLG-T-NONE", record=record.id)
    leaves, redacted = decode(attachment)
    kind, names = KINDS[record.kind], held.names
    body = {name: value for name, value in record.body.items() if name not in names}
    disclosed = set()
    for index, data, path in leaves:
        if not verify_inclusion(LEAF_START + data, index, len(names), path, held.root):
            raise AttachmentError(f"leaf {index} is not what the record commits to", code="TSLG-T-PROOF")
        name = names[index]
        body.update(_field(kind, name, data))
        disclosed.add(name)
    withheld = tuple(name for name in names if name not in disclosed)
    return record._replace(body=body, commitment=held._replace(withheld=withheld, redacted=tuple(redacted)))


def restrict(record: Record, attachment: bytes, keep: Container[str]) -> bytes | None:
    """Return a record's disclosure cut down to the fields in `keep`; None if nothing is left of it."""
    leaves, redacted = decode(attachment)
    names = KINDS[record.kind].committed
    return encode([leaf for leaf in leaves if leaf.place < len(names) and names[leaf.place] in keep], redacted)


def _field(kind: Kind, name: str, data: bytes) -> dict[str, Any]:
    """Read a proved leaf: the field with its value, or nothing for a field that the record does not have."""
    try:
        value = codec.decode(data)
    except CodecError as error:
        raise _unfit(name, error.detail) from error
    if type(value) is not list or not 2 <= len(value) <= 3 or value[1] != name:
        raise _unfit(name, f"it is not [salt, {name!r}, value]")
    if type(value[0]) is not bytes or len(value[0]) != SALT_BYTES:
        raise _unfit(name, f"its salt is not {SALT_BYTES} bytes")
    if len(value) == 2:
        if name in kind.required:
            raise _unfit(name, f"a {kind.name} needs it")
        return {}
    if not kind.valid[name](value[2]):
        raise _unfit(name, "its value is of the wrong type")
    return {name: value[2]}


def _leaf(value: Any) -> Leaf:
    if type(value) is not list or len(value) != 3:
        raise _no("a leaf is [index, bytes, path]")
    index, data, path = value
    if type(index) is not int or index < 0 or type(data) is not bytes:
        raise _no("a leaf is [index, bytes, path]")
    if not all(type(part) is bytes and len(part) == 32 for part in _list(path)):
        raise _no("a path is a list of hashes of 32 bytes")
    return Leaf(index, data, tuple(path))


def _list(value: Any) -> Sequence[Any]:
    if type(value) is not list:
        raise _no("not a list")
    return value


def _no(detail: str) -> AttachmentError:
    return AttachmentError(detail, code="TSLG-T-FORM", mend="have it disclosed anew")


def _unfit(name: str, detail: str) -> AttachmentError:
    return AttachmentError(f"the leaf of {name!r}: {detail}", code="TSLG-T-FIELD")
