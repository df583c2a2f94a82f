"""Commitments to sets and stretches of ids: one hash that proves afterwards what was among them, and what was not.

A set is committed to in the order of its ids, so that two neighbours prove that nothing lies between them. A stretch of
a log is committed to in the order of the log. Both are trees of RFC 9162 over leaves of their own domain.
Normative text: docs/spec/pruning.md, docs/spec/summaries.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from tslg.protocol.codec import Link
from tslg.protocol.log import Tree, verify_inclusion

_SET: Final = b"tslg.pruned.v1\x00"
_STRETCH: Final = b"tslg.stretch.v1\x00"


class Member(NamedTuple):
    """A proof that an id is the one at position `place` of a committed set."""

    id: Link
    place: int
    proof: tuple[bytes, ...]


class Absence(NamedTuple):
    """A proof that an id is in no committed set of `count` ids: the neighbours between which it would lie."""

    before: Member | None
    after: Member | None


class CommittedSet:
    """A set of ids with its tree, for whoever makes proofs. ValueError if the ids are not sorted or repeat."""

    def __init__(self, ids: Sequence[Link]) -> None:
        if any(one >= other for one, other in pairwise(ids)):
            raise ValueError("the ids of a commitment are sorted and differ")
        self.ids = ids
        self._tree = Tree(_SET + id for id in ids)

    @property
    def root(self) -> bytes:
        """The 32-byte root."""
        return self._tree.root()

    def member(self, id: Link) -> Member | None:
        """Prove that an id is in the set; None if it is not."""
        index = _place(self.ids, id)
        return self._at(index) if index < len(self.ids) and self.ids[index] == id else None

    def absence(self, id: Link) -> Absence | None:
        """Prove that an id is not in the set; None if it is."""
        index = _place(self.ids, id)
        if index < len(self.ids) and self.ids[index] == id:
            return None
        before = self._at(index - 1) if index > 0 else None
        return Absence(before, self._at(index) if index < len(self.ids) else None)

    def _at(self, index: int) -> Member:
        return Member(self.ids[index], index, tuple(self._tree.inclusion_proof(index)))


def set_root(ids: Iterable[Link]) -> bytes:
    """Return the root over ids that are sorted and differ, 32 bytes."""
    return Tree(_SET + id for id in ids).root()


def verify_member(member: Member, count: int, root: bytes) -> bool:
    """Tell whether an id is shown to be in the set (count, root). False for malformed input, never an exception."""
    return verify_inclusion(_SET + member.id, member.place, count, list(member.proof), root)


def verify_absence(id: Link, absence: Absence, count: int, root: bytes) -> bool:
    """Tell whether an id is shown not to be in the set (count, root): by neighbours, or by the first or last id."""
    before, after = absence
    if count == 0:
        return before is None and after is None
    if (before is None and after is None) or not all(verify_member(one, count, root) for one in absence if one):
        return False
    if before is not None and (before.id >= id or before.place + 1 != (count if after is None else after.place)):
        return False
    return after is None or (id < after.id and (before is not None or after.place == 0))


def stretch_root(ids: Iterable[bytes]) -> bytes:
    """Return the root over the ids of a dense stretch of a log, in the order of the log."""
    return Tree(_STRETCH + id for id in ids).root()


def stretch_proof(ids: Sequence[bytes], index: int) -> list[bytes]:
    """Return the proof that an id is the one at `index` of a stretch. IndexError if there is none."""
    return Tree(_STRETCH + id for id in ids).inclusion_proof(index)


def verify_in_stretch(id: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether an id is shown to be the one at `index` of a stretch of `size`. False for malformed input."""
    return verify_inclusion(_STRETCH + id, index, size, list(proof), root)


def _place(ids: Sequence[Link], id: Link) -> int:
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if ids[middle] < id else (low, middle)
    return low
