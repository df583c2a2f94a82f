"""The Merkle tree of a log: RFC 9162 (and RFC 6962) with SHA-256, its proofs, and two ways to keep it.

`Peaks` holds what a reader needs to follow an append-only log: one hash for each set bit of the size. `Tree` holds
every node, for whoever hands out proofs. Leaves are data, hashed here with the 0x00 prefix; proofs are lists of
32-byte hashes, lowest first. Section numbers below are those of RFC 9162.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeGuard

from tslg.protocol.limits import DEFAULT

_sha256 = hashlib.sha256
_HASH = 32

EMPTY_ROOT = _sha256(b"").digest()
"""Root of the tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf (2.1.1)."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node over its two children's hashes (2.1.1)."""
    return _sha256(b"\x01" + left + right).digest()


class Peaks:
    """The roots of the perfect subtrees that make up a log, the largest first: enough to append and to know the root.

    Attributes:
        size: number of leaves.
        hashes: one hash for each set bit of `size`, from the highest bit down.
    """

    __slots__ = ("hashes", "size")

    def __init__(self) -> None:
        self.size = 0
        self.hashes: list[bytes] = []

    @classmethod
    def _of(cls, size: int, hashes: list[bytes]) -> Peaks:
        peaks = cls()
        peaks.size = size
        peaks.hashes = hashes
        return peaks

    @classmethod
    def from_bytes(cls, data: bytes, size: int) -> Peaks:
        """Read back what `to_bytes` gave for a log of `size` leaves. ValueError if the length does not fit the size."""
        if size < 0 or len(data) != _HASH * size.bit_count():
            raise ValueError(f"{len(data)} bytes of peaks do not fit a log of {size} leaves")
        return cls._of(size, [data[at : at + _HASH] for at in range(0, len(data), _HASH)])

    @classmethod
    def from_last_inclusion(cls, leaf_index: int, proof: Sequence[bytes]) -> Peaks:
        """Return the peaks of the tree before its last leaf, given that leaf's inclusion proof.

        The proof of leaf `e` in the tree of `e + 1` leaves is exactly the peaks of the tree of size `e`, lowest first.
        The caller verifies the proof. Raises ValueError if the number or length of hashes does not fit.
        """
        if leaf_index < 0 or not _hashes(proof) or len(proof) != leaf_index.bit_count():
            raise ValueError(f"not an inclusion proof of leaf {leaf_index} in a log of {leaf_index + 1} leaves")
        return cls._of(leaf_index, list(reversed(proof)))

    def append(self, leaf: bytes) -> None:
        """Add a leaf (its data)."""
        digest = _sha256(b"\x00" + leaf).digest()
        hashes = self.hashes
        size = self.size
        self.size = size + 1
        while size & 1:
            digest = _sha256(b"\x01" + hashes.pop() + digest).digest()
            size >>= 1
        hashes.append(digest)

    def root(self) -> bytes:
        """Return the root of the tree, 32 bytes."""
        hashes = self.hashes
        if not hashes:
            return EMPTY_ROOT
        digest = hashes[-1]
        for left in hashes[-2::-1]:
            digest = _sha256(b"\x01" + left + digest).digest()
        return digest

    def follow(self, leaves: Iterable[bytes], roots: Iterable[bytes | None]) -> int | None:
        """Append leaves, each after comparing the root of the tree before it with what `roots` says it is.

        A root of None is not compared. Returns the index of the first leaf before which the root differs, at which
        the following stops, or None. One loop, since a walk spends a tenth of its time here.
        """
        hashes, size, sha256 = self.hashes, self.size, _sha256
        for index, (leaf, expected) in enumerate(zip(leaves, roots, strict=True)):
            if expected is not None:
                digest = hashes[-1] if hashes else EMPTY_ROOT
                for left in hashes[-2::-1]:
                    digest = sha256(b"\x01" + left + digest).digest()
                if digest != expected:
                    self.size = size
                    return index
            digest = sha256(b"\x00" + leaf).digest()
            rest = size
            while rest & 1:
                digest = sha256(b"\x01" + hashes.pop() + digest).digest()
                rest >>= 1
            hashes.append(digest)
            size += 1
        self.size = size
        return None

    def copy(self) -> Peaks:
        """Return an independent copy."""
        return self._of(self.size, self.hashes.copy())

    def to_bytes(self) -> bytes:
        """Return the hashes in one string, 32 bytes for each set bit of the size."""
        return b"".join(self.hashes)


class Tree:
    """Every node of a growing log in memory, about 64 bytes a leaf; proofs at any size in O(log n)."""

    __slots__ = ("_levels",)

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels = [bytearray()]
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self._levels[0]) // _HASH

    def append(self, leaf: bytes) -> None:
        """Add a leaf (its data)."""
        digest = leaf_hash(leaf)
        index = self.size
        level = 0
        self._levels[0] += digest
        while index & 1:
            digest = node_hash(self._node(level, index - 1), digest)
            index >>= 1
            level += 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += digest

    def peaks(self, size: int | None = None) -> Peaks:
        """Return the peaks of the first `size` leaves, all by default. IndexError beyond the tree."""
        size = self._within(size)
        return Peaks._of(size, self._peaks(0, size))

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first `size` leaves, all by default. IndexError beyond the tree."""
        return self.peaks(size).root()

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that leaf `index` is in the tree of the first `size` leaves (2.1.3.1).

        Raises IndexError if the leaf is not in that tree, or the tree not that large.
        """
        low, high = 0, self._within(size)
        if not 0 <= index < high:
            raise IndexError(f"no leaf {index} in a log of {high}")
        proof = []
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low = middle
        proof.reverse()
        return proof

    def consistency_proof(self, old: int, size: int | None = None) -> list[bytes]:
        """Return the proof that the first `old` leaves are the start of the first `size` (2.1.4.1).

        Raises ValueError if `old` is 0, IndexError if it exceeds `size` or that exceeds the tree.
        """
        low, high = 0, self._within(size)
        if old == 0:
            raise ValueError("nothing can be proved from an empty log")
        if not 0 < old <= high:
            raise IndexError(f"no {old} leaves in a log of {high}")
        proof = []
        while old < high:
            middle = low + _split(high - low)
            if old <= middle:
                proof.append(self._range(middle, high))
                high = middle
            else:
                proof.append(self._range(low, middle))
                low = middle
        if low > 0:
            proof.append(self._range(low, high))
        proof.reverse()
        return proof

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a complete node: level 0 are the leaves. IndexError if it is not complete."""
        if not 0 <= level < len(self._levels) or not 0 <= index < len(self._levels[level]) // _HASH:
            raise IndexError(f"no node {index} of level {level} in a log of {self.size}")
        return self._node(level, index)

    def _within(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise IndexError(f"no tree of {size} leaves in a log of {self.size}")
        return size

    def _node(self, level: int, index: int) -> bytes:
        return bytes(self._levels[level][_HASH * index : _HASH * (index + 1)])

    def _peaks(self, low: int, high: int) -> list[bytes]:
        """Return the peaks of the leaves from `low` to `high`; `low` starts a perfect subtree at least that wide."""
        found = []
        while low < high:
            level = (high - low).bit_length() - 1
            found.append(self._node(level, low >> level))
            low += 1 << level
        return found

    def _range(self, low: int, high: int) -> bytes:
        return Peaks._of(high - low, self._peaks(low, high)).root()


def root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over `leaves` (2.1.1), 32 bytes."""
    peaks = Peaks()
    for leaf in leaves:
        peaks.append(leaf)
    return peaks.root()


def inclusion_proof(leaves: Iterable[bytes], index: int) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree over `leaves` (2.1.3.1). IndexError if there is none."""
    return Tree(leaves).inclusion_proof(index)


def consistency_proof(leaves: Iterable[bytes], old_size: int) -> list[bytes]:
    """Return the proof that the first `old_size` leaves are the start of all of them (2.1.4.1).

    Raises ValueError if `old_size` is 0, IndexError if there are not so many leaves.
    """
    return Tree(leaves).consistency_proof(old_size)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether `proof` shows that `leaf` (data) is leaf `index` of the tree (size, root) (2.1.3.2).

    `size` is only as good as the signature over it: trees with paths of the same shape take the same proof.
    False for malformed input, never an exception.
    """
    if not isinstance(leaf, bytes) or not _count(index) or not _count(size) or not _hashes(proof) or index >= size:
        return False
    digest = leaf_hash(leaf)
    node, last = index, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            digest = node_hash(sibling, digest)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            digest = node_hash(digest, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and digest == root


def verify_consistency(old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether `proof` shows that the tree (old_size, old_root) is the start of the tree (size, root) (2.1.4.2).

    From size 0 it is False: an empty log is the start of every log and nothing is shown. False for malformed input,
    never an exception.
    """
    if not _count(old_size) or not _count(size) or not _hashes(proof) or not _hashes((old_root, root)):
        return False
    if not 0 < old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == root
    node, last = old_size - 1, size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    # A complete old tree is itself the first node: its root is not repeated in the proof.
    path = [old_root, *proof] if node == 0 else list(proof)
    if not path:
        return False
    old_digest = digest = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_digest = node_hash(sibling, old_digest)
            digest = node_hash(sibling, digest)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            digest = node_hash(digest, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and old_digest == old_root and digest == root


def _split(size: int) -> int:
    """Return the largest power of two below `size`, for sizes of 2 and more."""
    return 1 << ((size - 1).bit_length() - 1)


def _count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= DEFAULT.integer


def _hashes(value: object) -> bool:
    """Tell whether `value` is a list or tuple of 32-byte hashes, no longer than any real proof."""
    if not isinstance(value, list | tuple) or len(value) > DEFAULT.proof_hashes:
        return False
    return all(type(item) is bytes and len(item) == _HASH for item in value)
