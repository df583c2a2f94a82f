"""What a server says about logs beside the records: claimed heads and Merkle proofs, as values and as maps.

The same three maps stand in a bundle's root block and in the last chunk of a walk. Reading them checks shapes alone;
whether a proof holds is for the verifier. Normative text: docs/spec/log.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.limits import DEFAULT, Limits

T = TypeVar("T")


class HeadClaim(NamedTuple):
    """A claim that a log holds `size` records, the newest being `record`, under the 32-byte tree root `root`."""

    agent: Link
    record: Link
    size: int
    root: bytes

    def to_map(self) -> dict[str, Any]:
        """Return the map that stands in bundles and walks."""
        return {"agent": self.agent, "record": self.record, "size": self.size, "root": self.root}

    @classmethod
    def from_map(cls, value: Any, limits: Limits = DEFAULT) -> HeadClaim:
        """Read such a map; ValueError if it has any other shape."""
        agent, record, size, root = _fields(value, "agent", "record", "size", "root")
        return cls(_link(agent), _link(record), _uint(size, limits), _hash(root))


class InclusionProof(NamedTuple):
    """A proof that `record` is the leaf at its `seq` in its log's tree of `size` leaves (RFC 9162, section 2.1.3)."""

    record: Link
    size: int
    proof: tuple[bytes, ...]

    def to_map(self) -> dict[str, Any]:
        """Return the map that stands in bundles and walks."""
        return {"record": self.record, "size": self.size, "proof": list(self.proof)}

    @classmethod
    def from_map(cls, value: Any, limits: Limits = DEFAULT) -> InclusionProof:
        """Read such a map; ValueError if it has any other shape."""
        record, size, proof = _fields(value, "record", "size", "proof")
        return cls(_link(record), _uint(size, limits), _proof(proof, limits))


class ConsistencyProof(NamedTuple):
    """A proof that an agent's tree of `size` leaves extends its tree of `old_size` (RFC 9162, section 2.1.4)."""

    agent: Link
    old_size: int
    size: int
    proof: tuple[bytes, ...]

    def to_map(self) -> dict[str, Any]:
        """Return the map that stands in bundles and walks."""
        return {"agent": self.agent, "old_size": self.old_size, "size": self.size, "proof": list(self.proof)}

    @classmethod
    def from_map(cls, value: Any, limits: Limits = DEFAULT) -> ConsistencyProof:
        """Read such a map; ValueError if it has any other shape."""
        agent, old_size, size, proof = _fields(value, "agent", "old_size", "size", "proof")
        return cls(_link(agent), _uint(old_size, limits), _uint(size, limits), _proof(proof, limits))


class PrunedProof(NamedTuple):
    """A proof that `record` is the one at `place` among the ids to which the prune record `prune` commits."""

    record: Link
    prune: Link
    place: int
    proof: tuple[bytes, ...]

    def to_map(self) -> dict[str, Any]:
        """Return the map that stands in bundles and walks."""
        return {"record": self.record, "prune": self.prune, "place": self.place, "proof": list(self.proof)}

    @classmethod
    def from_map(cls, value: Any, limits: Limits = DEFAULT) -> PrunedProof:
        """Read such a map; ValueError if it has any other shape."""
        record, prune, place, proof = _fields(value, "record", "prune", "place", "proof")
        return cls(_link(record), _link(prune), _uint(place, limits), _proof(proof, limits))


def read_list(read: Callable[[Any, Limits], T], value: Any, most: int, limits: Limits = DEFAULT) -> tuple[T, ...]:
    """Read a list of at most `most` such maps with `read`, one of the `from_map`; ValueError for anything else."""
    if type(value) is not list or len(value) > most:
        raise ValueError(f"not a list of at most {most} entries")
    return tuple(read(item, limits) for item in value)


def read_notes(value: Any, limits: Limits = DEFAULT) -> tuple[bytes, ...]:
    """Read the list of checkpoints beside the proofs, which stands there only if it is not empty; ValueError if not."""
    if type(value) is not list or not 1 <= len(value) <= limits.checkpoints:
        raise ValueError(f"checkpoints are a list of 1 to {limits.checkpoints}")
    if not all(type(note) is bytes and len(note) <= limits.checkpoint_bytes for note in value):
        raise ValueError(f"a checkpoint is at most {limits.checkpoint_bytes} bytes")
    return tuple(value)


def _fields(value: Any, *names: str) -> tuple[Any, ...]:
    if type(value) is not dict or value.keys() != set(names):
        raise ValueError(f"not a map of {', '.join(names)}")
    return tuple(value[name] for name in names)


def _link(value: Any) -> Link:
    if type(value) is not Link or not cid.is_record_id(value):
        raise ValueError("not a link to a record")
    return value


def _uint(value: Any, limits: Limits) -> int:
    if type(value) is not int or not 0 <= value <= limits.integer:
        raise ValueError("not an integer from 0")
    return value


def _hash(value: Any) -> bytes:
    if type(value) is not bytes or len(value) != 32:
        raise ValueError("not a hash of 32 bytes")
    return value


def _proof(value: Any, limits: Limits) -> tuple[bytes, ...]:
    if type(value) is not list or len(value) > limits.proof_hashes:
        raise ValueError(f"a proof is a list of at most {limits.proof_hashes} hashes")
    return tuple(_hash(item) for item in value)
