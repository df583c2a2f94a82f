"""Order from a few records of a log: every choice of them is proved, and no other log fits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage import LogBuilder

from tslg.protocol.log import Tree
from tslg.protocol.logproof import check, needs, runs
from tslg.protocol.record import Head, parse

SIZE = 20
LOG = LogBuilder("a")
for _ in range(SIZE - 1):
    LOG.add()
TREE = Tree(record.id for record in LOG.records)
SOME = st.sets(st.integers(0, SIZE - 1), min_size=1).map(lambda places: [LOG.records[place] for place in places])
HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=6)


def proofs(records):
    needed = needs(records)
    at = {record.id: record.seq for record in records}
    return (
        {id: TREE.inclusion_proof(at[id], at[id] + 1) for id in needed.inclusion},
        {span: TREE.consistency_proof(*span) for span in needed.consistency},
    )


@pytest.mark.spec("LOG-9", "LOG-10", "LOG-13")
@settings(max_examples=100, deadline=None)
@given(SOME)
def test_any_choice_of_records_is_proved_to_lie_in_one_log(records):
    found = check(records, *proofs(records))
    newest = max(record.seq for record in records)
    assert found.faults == [] and found.unproved == []
    assert [[record.seq for record in part] for part in found.segments] == [sorted(record.seq for record in records)]
    assert found.end == Head(newest + 1, TREE.root(newest + 1))


@pytest.mark.spec("LOG-8")
@given(SOME)
def test_runs_are_maximal_and_in_order(records):
    split = runs(records)
    assert [record for run in split for record in run] == sorted(records, key=lambda record: record.seq)
    for run in split:
        assert [record.seq for record in run] == list(range(run[0].seq, run[0].seq + len(run)))
    assert all(left[-1].seq + 1 < right[0].seq for left, right in pairwise(split))
    assert check(records, {}, {}).faults == []


@pytest.mark.spec("LOG-14")
@settings(max_examples=100, deadline=None)
@given(SOME, st.data())
def test_without_a_proof_its_run_is_unproved(records, draw):
    inclusion, consistency = proofs(records)
    which = [*inclusion, *consistency]
    if not which:
        return
    gone = draw.draw(st.sampled_from(which))
    (inclusion if gone in inclusion else consistency).pop(gone)
    found = check(records, inclusion, consistency)
    assert found.faults == [] and found.unproved


@pytest.mark.spec("LOG-7")
@settings(max_examples=100, deadline=None)
@given(SOME, HASHES, st.data())
def test_a_proof_of_something_else_counts_as_missing(records, hashes, draw):
    inclusion, consistency = proofs(records)
    which = [*inclusion, *consistency]
    if not which:
        return
    wrong = draw.draw(st.sampled_from(which))
    held = inclusion if wrong in inclusion else consistency
    if held[wrong] == hashes:
        return
    held[wrong] = hashes
    found = check(records, inclusion, consistency)
    assert found.faults == [] and found.unproved


@settings(max_examples=60, deadline=None)
@given(st.integers(1, SIZE - 2), SOME)
def test_a_log_written_anew_fits_no_proof_of_the_old_one(at, records):
    """From `at` on the history is another one; nothing of it can be tied to what was before without being found."""
    other = LogBuilder("a")
    other.records, other.peaks = LOG.records[:at], Tree(record.id for record in LOG.records[:at]).peaks()
    while len(other.records) < SIZE:
        other.add("observation", None, {"source": "anew"})
    places = {record.seq for record in records}
    mixed = [LOG.records[place] if place < at else other.records[place] for place in places]
    swapped = [other.records[place] if place == at else LOG.records[place] for place in {*places, at, SIZE - 1}]
    found = check(swapped, *proofs(swapped))
    assert found.faults or found.unproved
    tree = Tree(record.id for record in other.records)
    needed = needs(mixed)
    seqs = {record.id: record.seq for record in mixed}
    honest = check(
        mixed,
        {id: tree.inclusion_proof(seqs[id], seqs[id] + 1) for id in needed.inclusion},
        {span: tree.consistency_proof(*span) for span in needed.consistency},
    )
    assert honest.faults == [] and honest.unproved == []


def with_fields(record, **fields):
    from tslg.protocol import codec

    value = codec.decode(record.data) | fields
    return parse(codec.encode(value))


@pytest.mark.spec("LOG-11", "LOG-12")
def test_each_fault_has_its_code_and_names_the_record():
    first, second = LOG.records[4], LOG.records[5]
    start = {first.id: TREE.inclusion_proof(4, 5)}
    for fields, code in (
        ({"prev": LOG.owner}, "TSLG-A-PREV"),
        ({"time": first.time - 1}, "TSLG-A-TIME"),
        ({"log": {"size": 5, "root": bytes(32)}}, "TSLG-A-HEAD"),
    ):
        wrong = with_fields(second, **fields)
        found = check([first, wrong], start, {})
        assert [(fault.code, fault.record) for fault in found.faults] == [(code, wrong.id)]


@pytest.mark.spec("LOG-12")
def test_time_goes_back_between_runs_too():
    early = with_fields(LOG.records[9], time=0)
    found = check([LOG.records[3], early], {}, {})
    assert [fault.code for fault in found.faults] == ["TSLG-A-TIME"]


def test_with_few_roots_compared_the_end_of_a_run_still_commits_to_all_of_it():
    wrong = with_fields(LOG.records[5], log={"size": 5, "root": bytes(32)})
    rest = LOG.records[:5]
    assert check([*rest, wrong], {}, {}, frozenset()).faults[0].record == wrong.id
    between = [*LOG.records[:5], wrong, LOG.records[6]]
    assert check(between, {}, {}, frozenset()).faults
