"""Paths between two sizes of a tree: they lead to both roots, and can be made from the proofs of RFC 9162."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol.cid import compute
from tslg.protocol.extending import path_by_last, path_from, path_in_tree, path_of_growth, roots, spans_for
from tslg.protocol.log import Tree
from tslg.protocol.proofs import ConsistencyProof

SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70)).map(sorted).filter(lambda pair: pair[0] < pair[1])


def tree(size: int, other_from: int = 1_000) -> Tree:
    return Tree(compute(b"%d %d" % (number, number >= other_from)) for number in range(size))


@pytest.mark.spec("ANN-4")
@given(SIZES)
@settings(max_examples=200, deadline=None)
def test_a_path_leads_to_both_roots_however_it_was_made(sizes):
    old, new = sizes
    whole = tree(new)
    path = path_in_tree(whole, old, new)
    led = roots(old, new, path)
    assert led is not None and (led.old, led.new) == (whole.root(old), whole.root(new))
    leaves = [compute(b"%d 0" % number) for number in range(old, new)]
    assert path_of_growth(whole.peaks(old), leaves) == path
    proofs = [ConsistencyProof(AGENT, *span, tuple(whole.consistency_proof(*span))) for span in spans_for(old, new)]
    made = path_from(AGENT, old, new, proofs)
    if old > 1 and old & (old - 1) == 0 and new == old + 1:
        assert made is None
        assert path_by_last(whole.root(old), compute(b"%d 0" % old)) == path
    else:
        assert made == path
    assert path_from(compute(b"another"), old, new, proofs) is None and path_from(AGENT, old, new, []) is None


AGENT = compute(b"0 0")


@pytest.mark.spec("ANN-4")
@given(SIZES, st.integers(0, 69))
@settings(max_examples=200, deadline=None)
def test_a_path_shows_another_history(sizes, differs_from):
    old, new = sizes
    one, other = tree(new), tree(new, differs_from)
    led = roots(old, new, path_in_tree(other, old, new))
    assert led is not None and led.new == other.root(new)
    assert (led.old == one.root(old)) is (differs_from >= old)


@given(SIZES, st.lists(st.binary(min_size=32, max_size=32), max_size=9))
def test_what_is_no_path_leads_nowhere(sizes, hashes):
    old, new = sizes
    right = len(path_in_tree(tree(new), old, new))
    assert (roots(old, new, hashes) is None) is (len(hashes) != right)
    assert roots(new, old, hashes) is None and roots(0, new, hashes) is None and roots(old, old, hashes) is None
