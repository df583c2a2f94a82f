"""The log against RFC 6962's published vectors and a naive recursive reading of the RFC."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol import log

VECTOR_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [b"leaf %d" % number for number in range(70)]
HUGE = [2**53, 2**64, 2**4000]
FLIPS = st.tuples(st.integers(0, 31), st.integers(0, 7))


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def split(count: int) -> int:
    return max(power for power in (1 << bit for bit in range(64)) if power < count)


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1."""
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return sha(b"\0" + leaves[0])
    middle = split(len(leaves))
    return sha(b"\1" + naive_root(leaves[:middle]) + naive_root(leaves[middle:]))


def naive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 9162, 2.1.3.1."""
    if len(leaves) == 1:
        return []
    middle = split(len(leaves))
    if index < middle:
        return [*naive_path(index, leaves[:middle]), naive_root(leaves[middle:])]
    return [*naive_path(index - middle, leaves[middle:]), naive_root(leaves[:middle])]


def naive_subproof(old: int, leaves: Sequence[bytes], known: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 9162, 2.1.4.1."""
    if old == len(leaves):
        return [] if known else [naive_root(leaves)]
    middle = split(len(leaves))
    if old <= middle:
        return [*naive_subproof(old, leaves[:middle], known), naive_root(leaves[middle:])]
    return [*naive_subproof(old - middle, leaves[middle:], False), naive_root(leaves[:middle])]


def flipped(data: bytes, flip: tuple[int, int]) -> bytes:
    altered = bytearray(data)
    altered[flip[0] % len(altered)] ^= 1 << flip[1]
    return bytes(altered)


@pytest.mark.spec("LOG-1")
def test_published_roots() -> None:
    assert log.EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert log.root([]) == log.EMPTY_ROOT
    for size, expected in enumerate(VECTOR_ROOTS, 1):
        assert log.root(VECTOR_LEAVES[:size]).hex() == expected


def test_published_inclusion_proof() -> None:
    proof = [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [item.hex() for item in log.inclusion_proof(VECTOR_LEAVES, 5)] == proof
    assert log.verify_inclusion(
        VECTOR_LEAVES[5], 5, 8, [bytes.fromhex(item) for item in proof], bytes.fromhex(VECTOR_ROOTS[7])
    )


def test_published_consistency_proof() -> None:
    proof = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [item.hex() for item in log.consistency_proof(VECTOR_LEAVES, 6)] == proof
    assert log.verify_consistency(
        6, 8, bytes.fromhex(VECTOR_ROOTS[5]), bytes.fromhex(VECTOR_ROOTS[7]), [bytes.fromhex(item) for item in proof]
    )


@pytest.mark.spec("LOG-1")
def test_every_small_tree_equals_the_recursive_definition() -> None:
    tree = log.Tree(LEAVES)
    peaks = log.Peaks()
    for size in range(len(LEAVES) + 1):
        part = LEAVES[:size]
        expected = naive_root(part)
        assert log.root(part) == tree.root(size) == peaks.root() == expected
        assert tree.peaks(size).to_bytes() == peaks.to_bytes()
        if size < len(LEAVES):
            peaks.append(LEAVES[size])
    assert tree.size == peaks.size == len(LEAVES)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 32, 33, 64, 70])
def test_every_inclusion_proof_is_the_defined_one_and_verifies(size: int) -> None:
    tree = log.Tree(LEAVES)
    part = LEAVES[:size]
    root = log.root(part)
    for index in range(size):
        proof = tree.inclusion_proof(index, size)
        assert proof == naive_path(index, part) == log.inclusion_proof(part, index)
        assert log.verify_inclusion(part[index], index, size, proof, root)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 32, 33, 64, 70])
def test_every_consistency_proof_is_the_defined_one_and_verifies(size: int) -> None:
    tree = log.Tree(LEAVES)
    part = LEAVES[:size]
    root = log.root(part)
    for old in range(1, size + 1):
        proof = tree.consistency_proof(old, size)
        assert proof == naive_subproof(old, part) == log.consistency_proof(part, old)
        assert log.verify_consistency(old, size, tree.root(old), root, proof)


def test_an_inclusion_proof_verifies_only_where_the_path_has_the_same_shape() -> None:
    """Leaf 2 of 3 and leaf 1 of 2 are both `H(known, leaf)`: only the signed size tells them apart, no verifier can."""
    tree = log.Tree(LEAVES)
    sizes = range(1, 14)
    for size in sizes:
        root = tree.root(size)
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            for other_size in sizes:
                for other in range(other_size):
                    expected = naive_shape(other, other_size) == naive_shape(index, size)
                    assert log.verify_inclusion(LEAVES[index], other, other_size, proof, root) == expected


def naive_shape(index: int, size: int) -> list[bool]:
    """For each node of the path, lowest first: does the sibling stand to the left?"""
    if size == 1:
        return []
    middle = split(size)
    if index < middle:
        return [*naive_shape(index, middle), False]
    return [*naive_shape(index - middle, size - middle), True]


@given(size=st.integers(1, 70), where=st.integers(0, 69), flip=FLIPS, target=st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_any_flipped_bit_breaks_an_inclusion_proof(size: int, where: int, flip: tuple[int, int], target: int) -> None:
    index = where % size
    proof = log.inclusion_proof(LEAVES[:size], index)
    root = log.root(LEAVES[:size])
    if proof:
        broken = proof.copy()
        broken[target % len(proof)] = flipped(broken[target % len(proof)], flip)
        assert not log.verify_inclusion(LEAVES[index], index, size, broken, root)
    assert not log.verify_inclusion(flipped(LEAVES[index], flip), index, size, proof, root)
    assert not log.verify_inclusion(LEAVES[index], index, size, proof, flipped(root, flip))
    assert not log.verify_inclusion(LEAVES[index], index, size, [*proof, root], root)
    assert not log.verify_inclusion(LEAVES[index], index, size, [root, *proof], root)
    if proof:
        assert not log.verify_inclusion(LEAVES[index], index, size, proof[:-1], root)
        assert not log.verify_inclusion(LEAVES[index], index, size, proof[1:], root)
    for other in {index ^ (1 << bit) for bit in range(7)}:
        assert not log.verify_inclusion(LEAVES[index], other, size, proof, root)


@given(sizes=st.tuples(st.integers(1, 70), st.integers(1, 70)), flip=FLIPS, target=st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_any_flipped_bit_breaks_a_consistency_proof(sizes: tuple[int, int], flip: tuple[int, int], target: int) -> None:
    old, size = min(sizes), max(sizes)
    tree = log.Tree(LEAVES)
    proof = tree.consistency_proof(old, size)
    old_root, root = tree.root(old), tree.root(size)
    assert log.verify_consistency(old, size, old_root, root, proof)
    assert log.verify_consistency(old, size, old_root, root, tuple(proof))
    if proof:
        broken = proof.copy()
        broken[target % len(proof)] = flipped(broken[target % len(proof)], flip)
        assert not log.verify_consistency(old, size, old_root, root, broken)
        assert not log.verify_consistency(old, size, old_root, root, proof[:-1])
        assert not log.verify_consistency(old, size, old_root, root, proof[1:])
    assert not log.verify_consistency(old, size, flipped(old_root, flip), root, proof)
    assert not log.verify_consistency(old, size, old_root, flipped(root, flip), proof)
    assert not log.verify_consistency(old, size, old_root, root, [*proof, root])
    assert not log.verify_consistency(0, size, log.EMPTY_ROOT, root, proof)
    assert not log.verify_consistency(old, old - 1, old_root, root, proof)


def test_a_consistency_proof_does_not_reach_a_size_that_it_does_not_cover() -> None:
    tree = log.Tree(LEAVES)
    for old, size in ((1, 2), (2, 4), (3, 4), (5, 8), (6, 8), (16, 32)):
        proof = tree.consistency_proof(old, size)
        for claimed in (2 * size, 4 * size, 2**40):
            assert not log.verify_consistency(old, claimed, tree.root(old), tree.root(size), proof)
        assert not log.verify_consistency(old, size, tree.root(old), tree.root(2 * size), [*proof, proof[0]])


def test_a_truncated_or_rewritten_log_is_not_consistent() -> None:
    tree = log.Tree(LEAVES)
    rewritten = log.Tree([b"other", *LEAVES[1:]])
    for old in range(1, 40):
        proof = rewritten.consistency_proof(old, 40)
        assert not log.verify_consistency(old, 40, tree.root(old), rewritten.root(40), proof)
        back = tree.consistency_proof(old, 40)
        assert not log.verify_consistency(40, old, tree.root(40), tree.root(old), back) or old == 40


@pytest.mark.spec("LOG-5")
def test_from_the_empty_log_nothing_follows() -> None:
    root = log.root(LEAVES)
    assert not log.verify_consistency(0, 70, log.EMPTY_ROOT, root, [])
    assert not log.verify_consistency(0, 70, log.EMPTY_ROOT, root, [root])
    assert not log.verify_consistency(0, 0, log.EMPTY_ROOT, log.EMPTY_ROOT, [])


@pytest.mark.spec("LOG-5")
def test_equal_sizes_need_equal_roots_and_no_proof() -> None:
    root = log.root(LEAVES)
    assert log.verify_consistency(70, 70, root, root, [])
    assert not log.verify_consistency(70, 70, root, log.EMPTY_ROOT, [])
    assert not log.verify_consistency(70, 70, root, root, [root])


ROOT = log.root(LEAVES[:2])
PROOF = log.inclusion_proof(LEAVES[:2], 0)
BAD_NUMBERS: list[object] = [-1, *HUGE, -(2**70), 0.0, "0", None, b"\0", True, [0]]
BAD_PROOFS: list[object] = [
    None,
    5,
    b"",
    b"".join(PROOF),
    "x" * 32,
    {},
    [None],
    [5],
    ["x" * 32],
    [PROOF[0][:-1]],
    [PROOF[0] + b"\0"],
    [bytearray(PROOF[0])],
    [PROOF],
    PROOF * 65,
    PROOF * 100_000,
    iter(PROOF),
]


@pytest.mark.parametrize("bad", BAD_NUMBERS, ids=lambda value: str(value)[:12])
def test_malformed_numbers_are_false(bad: object) -> None:
    leaf = LEAVES[0]
    assert log.verify_inclusion(leaf, 0, 2, PROOF, ROOT)
    assert not log.verify_inclusion(LEAVES[1], bad, 2, [log.leaf_hash(leaf)], ROOT)  # type: ignore[arg-type]
    assert not log.verify_inclusion(leaf, 0, bad, PROOF, ROOT)  # type: ignore[arg-type]
    assert not log.verify_inclusion(leaf, bad, bad, PROOF, ROOT)  # type: ignore[arg-type]
    assert log.verify_consistency(1, 2, log.root(LEAVES[:1]), ROOT, PROOF)
    assert not log.verify_consistency(bad, 2, log.root(LEAVES[:1]), ROOT, PROOF)  # type: ignore[arg-type]
    assert not log.verify_consistency(1, bad, log.root(LEAVES[:1]), ROOT, PROOF)  # type: ignore[arg-type]
    assert not log.verify_consistency(bad, bad, ROOT, ROOT, [])  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", BAD_PROOFS, ids=range(len(BAD_PROOFS)))
def test_malformed_proofs_are_false(bad: object) -> None:
    assert not log.verify_inclusion(LEAVES[0], 0, 2, bad, ROOT)  # type: ignore[arg-type]
    assert not log.verify_consistency(1, 2, log.root(LEAVES[:1]), ROOT, bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [None, 5, "x" * 32, b"", ROOT[:-1], ROOT + b"\0", [ROOT]], ids=range(7))
def test_malformed_roots_and_leaves_are_false(bad: object) -> None:
    assert not log.verify_inclusion(LEAVES[0], 0, 2, PROOF, bad)  # type: ignore[arg-type]
    assert not log.verify_inclusion(bad, 0, 2, PROOF, ROOT)  # type: ignore[arg-type]
    assert not log.verify_consistency(1, 2, bad, ROOT, PROOF)  # type: ignore[arg-type]
    assert not log.verify_consistency(1, 2, log.root(LEAVES[:1]), bad, PROOF)  # type: ignore[arg-type]


def test_proofs_out_of_range_raise() -> None:
    tree = log.Tree(LEAVES)
    for index, size in ((-1, 5), (5, 5), (0, 0), (0, 71), (0, -1), (70, None)):
        with pytest.raises(IndexError):
            tree.inclusion_proof(index, size)
    for old, size in ((6, 5), (-1, 5), (1, 71), (71, None)):
        with pytest.raises(IndexError):
            tree.consistency_proof(old, size)
    for count in (0, 5):
        with pytest.raises(ValueError):
            tree.consistency_proof(0, count)
    with pytest.raises(IndexError):
        tree.root(71)
    with pytest.raises(IndexError):
        log.inclusion_proof([], 0)
    with pytest.raises(ValueError):
        log.consistency_proof([], 0)


def test_only_complete_nodes_are_handed_out() -> None:
    tree = log.Tree(LEAVES[:5])
    assert [tree.node(0, n) for n in range(5)] == [log.root([leaf]) for leaf in LEAVES[:5]]
    assert [tree.node(1, n) for n in range(2)] == [log.root(LEAVES[:2]), log.root(LEAVES[2:4])]
    assert tree.node(2, 0) == log.root(LEAVES[:4])
    for level, index in ((-1, 0), (0, -1), (0, 5), (1, 2), (2, 1), (3, 0), (9, 0)):
        with pytest.raises(IndexError):
            tree.node(level, index)


@pytest.mark.spec("LOG-10")
@given(st.integers(0, 69))
@settings(max_examples=70, deadline=None)
def test_peaks_come_back_from_bytes_and_from_the_last_inclusion_proof(size: int) -> None:
    tree = log.Tree(LEAVES)
    peaks = tree.peaks(size)
    again = log.Peaks.from_bytes(peaks.to_bytes(), size)
    proved = log.Peaks.from_last_inclusion(size, tree.inclusion_proof(size, size + 1))
    for other in (again, proved, peaks.copy()):
        assert (other.size, other.hashes) == (peaks.size, peaks.hashes)
        other.append(LEAVES[size])
        assert other.root() == tree.root(size + 1)
    assert peaks.root() == tree.root(size)


def test_copies_of_peaks_are_independent() -> None:
    peaks = log.Tree(LEAVES[:3]).peaks()
    copy = peaks.copy()
    copy.append(b"more")
    assert (peaks.size, peaks.root()) == (3, log.root(LEAVES[:3]))


@pytest.mark.parametrize(("data", "size"), [(b"", 1), (bytes(32), 0), (bytes(32), 3), (bytes(31), 1), (bytes(32), -1)])
def test_peaks_that_do_not_fit_their_size_are_refused(data: bytes, size: int) -> None:
    with pytest.raises(ValueError):
        log.Peaks.from_bytes(data, size)


@pytest.mark.parametrize(
    ("index", "proof"), [(1, []), (2, [bytes(32)] * 2), (0, [bytes(32)]), (-1, [bytes(32)]), (1, [bytes(31)])]
)
def test_proofs_that_are_not_peaks_are_refused(index: int, proof: list[bytes]) -> None:
    with pytest.raises(ValueError):
        log.Peaks.from_last_inclusion(index, proof)
