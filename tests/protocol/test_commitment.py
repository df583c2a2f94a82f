"""Commitments to sets and stretches: what is in them is proved, what is not is disproved, and nothing else is."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol.cid import Link, compute
from tslg.protocol.commitment import (
    Absence,
    CommittedSet,
    Member,
    set_root,
    stretch_proof,
    stretch_root,
    verify_absence,
    verify_in_stretch,
    verify_member,
)
from tslg.protocol.log import root as log_root

IDS = sorted(compute(bytes([n])) for n in range(40))
sets = st.lists(st.sampled_from(IDS), min_size=1, unique=True).map(sorted)


@pytest.mark.spec("PRN-1", "PRN-2")
@given(sets, st.sampled_from(IDS))
@settings(max_examples=80)
def test_every_id_is_proved_to_be_in_or_out_and_never_both(ids, id):
    kept = CommittedSet(ids)
    member, absence = kept.member(id), kept.absence(id)
    assert (member is None) == (id not in ids) and (absence is None) == (id in ids)
    assert kept.root == set_root(ids)
    if member is not None:
        assert verify_member(member, len(ids), kept.root)
    else:
        assert verify_absence(id, absence, len(ids), kept.root)


@given(sets, st.sampled_from(IDS), st.integers(0, 45), st.integers(0, 45), st.booleans(), st.booleans())
@settings(max_examples=150)
def test_no_pair_of_true_members_denies_one_that_is_in(ids, id, first, second, low, high):
    kept = CommittedSet(ids)
    members = [kept.member(one) for one in ids]
    before = members[first % len(ids)] if low else None
    after = members[second % len(ids)] if high else None
    if id in ids:
        assert not verify_absence(id, Absence(before, after), len(ids), kept.root)


@pytest.mark.spec("PRN-2")
def test_a_proof_for_another_set_count_or_place_fails():
    kept, other = CommittedSet(IDS[:9]), CommittedSet(IDS[1:10])
    member = kept.member(IDS[4])
    assert not verify_member(member, 9, other.root)
    assert not verify_member(member, 8, kept.root) and not verify_member(member._replace(place=5), 9, kept.root)
    assert not verify_member(Member(IDS[20], 4, member.proof), 9, kept.root)
    absence = kept.absence(IDS[20])
    assert absence.after is None and verify_absence(IDS[20], absence, 9, kept.root)
    assert not verify_absence(IDS[20], absence, 10, kept.root)
    assert not verify_absence(IDS[20], Absence(kept.member(IDS[3]), None), 9, kept.root)
    assert not verify_absence(IDS[20], Absence(None, None), 9, kept.root)
    assert verify_absence(IDS[20], Absence(None, None), 0, kept.root)


def test_sets_are_sorted_and_do_not_repeat():
    for ids in (IDS[1::-1], [IDS[0], IDS[0]]):
        with pytest.raises(ValueError, match="sorted"):
            CommittedSet(ids)


def test_the_three_trees_have_domains_of_their_own():
    ids = IDS[:5]
    assert len({log_root(ids), set_root(ids), stretch_root(ids)}) == 3
    assert set_root(ids[:1]) == hashlib.sha256(b"\x00tslg.pruned.v1\x00" + ids[0]).digest()
    assert stretch_root(ids[:1]) == hashlib.sha256(b"\x00tslg.stretch.v1\x00" + ids[0]).digest()


@pytest.mark.spec("SUM-1", "SUM-4")
@given(st.integers(1, 30), st.data())
@settings(max_examples=40)
def test_a_step_of_a_stretch_is_shown_at_its_place_alone(size, data):
    ids = IDS[:size]
    at = data.draw(st.integers(0, size - 1))
    proof = stretch_proof(ids, at)
    assert verify_in_stretch(ids[at], at, size, proof, stretch_root(ids))
    assert not verify_in_stretch(IDS[35], at, size, proof, stretch_root(ids))
    assert size == 1 or not verify_in_stretch(ids[at], (at + 1) % size, size, proof, stretch_root(ids))
    assert not verify_in_stretch(Link(b""), 0, size, proof, stretch_root(ids))
