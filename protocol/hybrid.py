"""Hybrid ids: two digests in one CID, so that a break of either hash leaves what the other guarantees.

The substantive part of a record, which is all of it but `preds`, is hashed under H1 and its predecessors under H2. The
id is a CID whose multihash is the identity: it holds both digests instead of one over them, since a hash over the two
would put everything back on one hash. Normative text: docs/spec/hybrid.md.
"""

from __future__ import annotations

from typing import Any

from tslg.protocol import cid, codec
from tslg.protocol.cid import HYBRID_START, Link
from tslg.protocol.errors import CodecError

PREDS = "preds"


def compute(value: dict[str, Any], scheme: str) -> Link:
    """Return the hybrid id of a decoded record under `H1+H2`. CodecError if it has no canonical bytes."""
    content, preds = scheme.split("+")
    first, second = cid.HASHES[content], cid.HASHES[preds]
    rest = {name: part for name, part in value.items() if name != PREDS}
    return join(
        first.multihash(codec.encode_unchecked(rest)),
        second.multihash(codec.encode_unchecked(value.get(PREDS))),
    )


def join(content: bytes, preds: bytes) -> Link:
    """Return the hybrid id that holds these two multihashes."""
    digests = codec.encode({"content": content, "preds": preds})
    return Link(HYBRID_START + cid.varint(len(digests)) + digests)


def is_id_of(link: bytes, data: bytes) -> bool:
    """Tell whether a hybrid id is that of a record's bytes. False for anything else."""
    scheme = cid.hybrid_scheme(link)
    if scheme is None:
        return False
    try:
        value = codec.decode_unchecked(data)
        return type(value) is dict and compute(value, scheme) == link
    except CodecError:
        return False
