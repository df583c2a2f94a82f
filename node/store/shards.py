"""How a lineage is laid out over several stores, and the proofs that edges between them carry.

A log is cut into segments of `span` records; all of a segment lies in one shard. An edge whose ends lie in different
shards is a crossing: the child's shard keeps, for the record cited, an inclusion proof in the tree of that record's log
at a size whose root a later record of the log has signed. So whoever has one shard alone can tell that what its records
cite is part of the other log, without the other shard. Normative text: docs/spec/shards.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tslg.protocol import codec, log
from tslg.protocol.cid import Link
from tslg.protocol.errors import CodecError, StoreError

LAYOUT_KEY: Final = "shards.layout"
CROSSING_KEY: Final = "crossing/"
MOST_SHARDS: Final = 64
DEFAULT_SPAN: Final = 4096
"""Records of a log that lie together: a few megabytes, and small beside a log that needs shards at all."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How many shards there are, and how many records of a log lie together (a power of two)."""

    shards: int
    span: int

    def __post_init__(self) -> None:
        if not 1 <= self.shards <= MOST_SHARDS or self.span < 1 or self.span & (self.span - 1):
            raise StoreError(
                f"{self.shards} shards of segments of {self.span} records",
                code="TSLG-D-SHARDS",
                mend=f"take 1 to {MOST_SHARDS} shards, and segments of a power of two",
            )

    def shard_of(self, owner: Link, seq: int) -> int:
        """Return in which shard a place of a log lies: the same for a whole segment, spread evenly over all."""
        segment = (seq // self.span).to_bytes(8, "big")
        return int.from_bytes(hashlib.sha256(owner + segment).digest()[:8], "big") % self.shards

    def to_bytes(self) -> bytes:
        """Return the layout as it is kept."""
        return codec.encode({"shards": self.shards, "span": self.span})

    @classmethod
    def from_bytes(cls, data: bytes) -> Layout:
        """Read a layout that was kept. Raises StoreError `TSLG-D-CORRUPT` if it is none."""
        value = _kept(data)
        if not isinstance(value, dict) or value.keys() != {"shards", "span"}:
            raise _corrupt()
        return cls(value["shards"], value["span"])


class Crossing(NamedTuple):
    """Why a record cited from another shard is known to lie in its log.

    Attributes:
        record: the record cited.
        owner: in whose log it lies.
        seq: its position there.
        size: leaves of the tree in which it is proved to lie.
        root: that tree's 32-byte root, which the record at position `size` carries in `log`.
        proof: the inclusion proof (RFC 9162, section 2.1.3).
    """

    record: Link
    owner: Link
    seq: int
    size: int
    root: bytes
    proof: tuple[bytes, ...]

    def holds(self) -> bool:
        """Tell whether the proof verifies. Whether the root is the log's is for whoever knows the log."""
        return log.verify_inclusion(self.record, self.seq, self.size, self.proof, self.root)

    def to_bytes(self) -> bytes:
        """Return the crossing as it is kept and shown to others."""
        fields = {"record": self.record, "owner": self.owner, "seq": self.seq, "size": self.size, "root": self.root}
        return codec.encode({**fields, "proof": list(self.proof)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Crossing:
        """Read a crossing. Raises StoreError `TSLG-D-CORRUPT` if it is none."""
        value = _kept(data)
        shapes = {"record": Link, "owner": Link, "seq": int, "size": int, "root": bytes, "proof": list}
        if not isinstance(value, dict) or value.keys() != shapes.keys():
            raise _corrupt()
        if any(type(value[name]) is not shape for name, shape in shapes.items()):
            raise _corrupt()
        return cls(**(value | {"proof": tuple(value["proof"])}))


def prove(tree: log.Tree, record: Link, owner: Link, seq: int, size: int) -> Crossing:
    """Prove that a record lies in its log's tree of `size` leaves."""
    return Crossing(record, owner, seq, size, tree.root(size), tuple(tree.inclusion_proof(seq, size)))


def crossing_key(record: Link) -> str:
    """Return the name under which the proof for a record cited from elsewhere is kept."""
    return CROSSING_KEY + record.hex()


def runs(shards: Sequence[int]) -> list[tuple[int, int, int]]:
    """Cut a sequence of shard numbers into runs of one shard: (shard, start, stop) each, in order."""
    found = []
    start = 0
    for at in range(1, len(shards) + 1):
        if at == len(shards) or shards[at] != shards[start]:
            found.append((shards[start], start, at))
            start = at
    return found


def _kept(data: bytes) -> Any:
    try:
        return codec.decode(data)
    except CodecError as error:
        raise _corrupt() from error


def _corrupt() -> StoreError:
    return StoreError("what a shard keeps of its neighbours is damaged", code="TSLG-D-CORRUPT", mend="run `tslg fsck`")
