"""Whether one tree extends another, told by one list of hashes that also shows it if it does not.

It is the consistency proof of RFC 9162, section 2.1.4, but for its first hash, which is never left out. From such a
path follow the roots of both trees: if the larger is the one that was signed, so is the smaller, and no other.
Normative text: docs/spec/announcing.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tslg.protocol.log import Peaks, Tree, leaf_hash, node_hash, root
from tslg.protocol.proofs import ConsistencyProof


class Roots(NamedTuple):
    """What a path leads to: the root of the smaller tree, that of the larger, and the smaller's peaks but the last."""

    old: bytes
    new: bytes
    peaks: tuple[bytes, ...]


def path_of_growth(peaks: Peaks, leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the path from a tree of 1 leaf or more to the one that these further leaves make of it."""
    old_size, size = peaks.size, peaks.size + len(leaves)
    left = list(peaks.hashes)
    path = [left.pop()]
    node, last, level = old_size - 1, size - 1, 0
    while node & 1:
        node, last, level = node >> 1, last >> 1, level + 1
    while last:
        if node & 1 or node == last:
            path.append(left.pop())
            while not node & 1 and node:
                node, last, level = node >> 1, last >> 1, level + 1
        else:
            start, stop = (node + 1) << level, min((node + 2) << level, size)
            path.append(root(leaves[start - old_size : stop - old_size]))
        node, last, level = node >> 1, last >> 1, level + 1
    return tuple(path)


def path_in_tree(tree: Tree, old_size: int, size: int) -> tuple[bytes, ...]:
    """Return the path between two sizes of a tree, 0 < old < new. IndexError beyond the tree."""
    proof = tree.consistency_proof(old_size, size)
    return (tree.root(old_size), *proof) if _complete(old_size) else tuple(proof)


def roots(old_size: int, size: int, path: Sequence[bytes]) -> Roots | None:
    """Return what a path between these sizes, 0 < old < new, leads to; None if it is none."""
    if not 0 < old_size < size or not path:
        return None
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    peaks = []
    for sibling in path[1:]:
        if last == 0:
            return None
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            peaks.append(sibling)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return Roots(old, new, tuple(peaks)) if last == 0 else None


def spans_for(old_size: int, size: int) -> tuple[tuple[int, int], ...]:
    """Return the consistency proofs of RFC 9162 from which `path_from` makes the path between two sizes."""
    if _complete(old_size) and old_size > 1 and size > old_size + 1:
        return (old_size, size), (old_size + 1, size)
    return ((old_size, size),)


def path_from(agent: bytes, old_size: int, size: int, proofs: Sequence[ConsistencyProof]) -> tuple[bytes, ...] | None:
    """Return the path between two sizes of an agent's log that these proofs hold; None if they hold none.

    The standard's proof from a complete tree leaves out its root, which the proof from one leaf more has.
    Of a log's second leaf alone, or where nothing lies between, there is no such proof: see `path_by_last`.
    """
    found = {(one.old_size, one.size): one.proof for one in proofs if one.agent == agent}
    proof = found.get((old_size, size))
    if proof is None:
        return None
    if not _complete(old_size):
        return proof
    if old_size == 1:
        return (leaf_hash(agent), *proof)
    beyond = roots(old_size + 1, size, found.get((old_size + 1, size), ()))
    return None if beyond is None else (beyond.peaks[-1], *proof)


def path_by_last(before: bytes, last: bytes) -> tuple[bytes, ...]:
    """Return the path to a complete tree and one leaf more, by the root before that leaf, and the leaf."""
    return before, leaf_hash(last)


def _complete(size: int) -> bool:
    return size & (size - 1) == 0
