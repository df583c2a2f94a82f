"""Equivocation in a walk: who is convicted, by what, and what rests on a forked log."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World, sign

from tslg.node.verifying import walk
from tslg.protocol import forks, seal
from tslg.protocol.cid import compute
from tslg.protocol.limits import DEFAULT
from tslg.protocol.opening import Opened
from tslg.protocol.record import Edge
from tslg.protocol.report import INVALID, UNDETERMINED, VALID, ForkNote
from tslg.protocol.walker import Walker


class Forked(World):
    """The first agent sealed two records for one position; a third agent may accuse it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = self.agent("a"), self.agent("b"), self.agent("c")
        self.policy = self.add(self.b, "policy")
        self.before = self.add(self.a, "observation")
        twin = self.a.fork(len(self.a.log))
        self.first = self.add(self.a, "observation")
        self.second = self.slip(twin, "observation", {"source": "another"}, {"prior": [self.before]})
        self.authors[self.a.owner] = self.a

    def accuse(self, author=None, **body):
        value = {"agent": self.a.owner, "seq": self.first.seq} | body
        return self.add(author or self.c, "equivocation", value, {"evidence": [self.first, self.second]})

    def decide(self, *evidence):
        return self.add(self.b, "decision", None, {"policy": [self.policy], "evidence": list(evidence)})

    def told(self, target, *shown, **how):
        """Verify with these records handed over beside the ancestry."""
        supply = self.supply()
        supply.shown = [record.id for record in shown]
        return self.verify(target, supply, **how)


@pytest.fixture
def w():
    return Forked()


def codes(report):
    return {(finding.code, finding.record) for finding in report.findings}


@pytest.mark.spec("EQV-1", "EQV-3", "EQV-5")
@pytest.mark.parametrize("signatures", ["all", "heads"])
def test_an_accusation_is_valid_and_what_it_shows_counts_for_nothing_else(w, signatures):
    accusation = w.accuse()
    report = w.verify(accusation, signatures=signatures)
    assert report.verdict == VALID, report.findings
    (note,) = report.forks
    assert note == (w.a.owner, w.first.seq, tuple(sorted([w.first.id, w.second.id])), False)
    assert report.to_json()["forks"][0]["seq"] == w.first.seq


def test_what_is_shown_cannot_poison_whoever_shows_it(w):
    author = w.a.fork(w.first.seq)
    bad = w.slip(author, "decision", None, {"prior": [w.before]})
    w.authors[w.a.owner] = w.a
    body = {"agent": w.a.owner, "seq": w.first.seq}
    accusation = w.add(w.c, "equivocation", body, {"evidence": [w.first, bad]})
    assert w.verify(bad).verdict == INVALID
    assert w.verify(w.decide(accusation)).verdict == VALID


def test_what_is_only_shown_is_stored_only_if_it_could_stand_alone(w):
    author = w.a.fork(w.first.seq)
    bad = w.slip(author, "decision", None, {"prior": [w.before]})
    w.authors[w.a.owner] = w.a
    body = {"agent": w.a.owner, "seq": w.first.seq}
    for other, kept in ((bad, False), (w.second, True)):
        accusation = w.make(w.c, "equivocation", body, {"evidence": [w.first, other]})
        w.put(accusation, w.seal(accusation, w.c), w.c.fork(len(w.c.log)))
        walked = walk(w.supply(), accusation.id, w.federation, now_ms=w.now_ms)
        assert walked.report.verdict == VALID
        stored = {one.record.id for one in walked.walker.storable()}
        assert {accusation.id, w.first.id} <= stored and (other.id in stored) == kept


def test_a_seal_that_was_not_looked_at_is_looked_at_before_it_is_stored(w):
    target = w.decide(w.first)
    w.seals[w.before.id] = w.seals[w.first.id]
    walked = walk(w.supply(), target.id, w.federation, now_ms=w.now_ms, signatures="heads")
    assert walked.report.verdict == VALID and w.before.id in walked.report.records
    stored = {one.record.id for one in walked.walker.storable()}
    assert w.before.id not in stored and {target.id, w.first.id} <= stored


def test_whoever_relies_on_both_records_rests_on_a_forked_log(w):
    report = w.verify(w.decide(w.first, w.second))
    assert codes(report) == {("TSLG-V-FORK", w.first.id), ("TSLG-V-FORK", w.second.id)}
    assert len(report.forks) == 1


def test_an_accusation_in_the_ancestry_convicts_what_is_relied_on_beside_it(w):
    report = w.verify(w.decide(w.accuse(), w.first))
    assert codes(report) == {("TSLG-V-FORK", w.first.id)}


@pytest.mark.spec("EQV-6", "EQV-7", "EQV-8")
def test_a_fork_that_the_source_tells_of_convicts_what_was_said_from_there_on(w):
    later = w.add(w.a, "observation", None, {"prior": [w.before]})
    report = w.told(w.decide(later), w.first, w.second)
    assert codes(report) == {("TSLG-V-FORK", later.id)}
    assert [note.seq for note in report.forks] == [w.first.seq]


@pytest.mark.spec("EQV-7", "EQV-8")
def test_what_was_said_before_the_fork_stands_and_the_fork_is_told(w):
    report = w.told(w.decide(w.before), w.first, w.second)
    assert report.verdict == VALID
    assert [note.seq for note in report.forks] == [w.first.seq]


@pytest.mark.spec("EQV-4", "EQV-8")
def test_a_confession_leaves_it_undetermined_what_others_were_shown(w):
    confession = w.accuse(w.a, reason="restored from an old copy")
    later = w.add(w.a, "observation")
    report = w.told(w.decide(later), w.first, w.second, confession)
    assert report.verdict == UNDETERMINED
    assert [item.reason.split(":")[0] for item in report.undetermined] == ["forked"]
    assert report.forks[0].confessed


@pytest.mark.spec("VER-12")
def test_a_confession_does_not_help_whoever_relies_on_both_records(w):
    confession = w.accuse(w.a)
    report = w.told(w.decide(w.first, w.second), confession)
    assert report.forks[0].confessed
    assert codes(report) >= {("TSLG-V-FORK", w.first.id), ("TSLG-V-FORK", w.second.id)}


def test_a_confession_by_somebody_else_is_none(w):
    accusation = w.accuse(w.c)
    later = w.add(w.a, "observation")
    report = w.told(w.decide(later), w.first, w.second, accusation)
    assert report.verdict == INVALID and not report.forks[0].confessed


@pytest.mark.spec("EQV-4")
def test_a_confession_does_not_cover_what_its_author_forked_after_it(w):
    confession = w.accuse(w.a)
    twin = w.a.fork(len(w.a.log))
    one = w.add(w.a, "observation")
    other = w.slip(twin, "observation", {"source": "again"}, {"prior": [w.before]})
    w.authors[w.a.owner] = w.a
    report = w.told(w.decide(one), w.first, w.second, confession, one, other)
    assert report.verdict == INVALID
    assert [note.confessed for note in report.forks] == [True, False]


@pytest.mark.parametrize("forge", ["seal", "nobody", "other place"])
def test_nobody_is_convicted_by_what_he_did_not_seal(w, forge):
    target = w.decide(w.first)
    if forge == "seal":
        w.seals[w.second.id] = w.seals[w.first.id]
        shown = [w.second]
    elif forge == "nobody":
        w.seals[w.second.id] = b"nothing"
        shown = [w.second]
    else:
        shown = [w.before]
    report = w.told(target, *shown)
    assert report.verdict == VALID and report.forks == ()


def test_nobody_is_convicted_by_a_record_that_another_sealed_in_its_name(w):
    record = w.make(w.a.fork(w.first.seq), "observation", {"source": "forged"}, {"prior": [w.before]}, key=w.b.key)
    w.put(record, seal.encode([sign(record, w.b.keys[w.b.key], w.b.key)]))
    report = w.told(w.decide(w.first), record)
    assert report.verdict == VALID and report.forks == ()
    report = w.verify(w.decide(w.first, record))
    assert codes(report) == {("TSLG-A-KEY", record.id)} and report.forks == ()


def test_a_rival_alone_convicts_together_with_what_the_walk_holds(w):
    assert codes(w.told(w.decide(w.first), w.second)) == {("TSLG-V-FORK", w.first.id)}


def test_each_record_is_passed_once_however_many_ways_lead_to_it():
    rows = [[compute(bytes([row, column])) for column in range(2)] for row in range(64)]
    below = {id: [(one,) for one in after] for row, after in pairwise(rows) for id in row}
    held = {id: SimpleNamespace(id=id, preds={"evidence": below.get(id, [])}) for row in rows for id in row}
    target, known = rows[0][0], [id for row in rows for id in row]
    assert forks.only_shown(target, [], held.get, known) == {rows[0][1]}
    assert forks.only_shown(target, [held[id] for id in rows[9]], held.get, known) == {
        rows[0][1],
        *(id for row in rows[10:] for id in row),
    }


def test_what_the_walk_did_not_visit_leads_nowhere():
    target, between, end = (compute(bytes([n])) for n in range(3))
    held = {
        target: SimpleNamespace(id=target, preds={"evidence": [(between,)]}),
        between: SimpleNamespace(id=between, preds={"evidence": [(end,)]}),
    }
    assert forks.only_shown(target, [], held.get, [target, end]) == {end}


def test_what_stands_beside_is_kept_once_and_up_to_a_bound(w):
    walker = Walker(w.decide(w.first).id, w.federation, now_ms=w.now_ms)
    said = [Opened(w.add(w.c, "observation"), b"") for _ in range(DEFAULT.rivals_per_log + 1)]
    for opened in [*said[:1] * 2, *said]:
        walker.supply_beside(opened)
    assert walker.beside() == said[:-1]


def test_more_than_enough_proof_is_not_kept(w):
    target = w.decide(w.first)
    shown = []
    for number in range(200):
        twin = w.a.fork(w.first.seq)
        shown.append(w.slip(twin, "observation", {"source": str(number)}, {"prior": [w.before]}))
    w.authors[w.a.owner] = w.a
    report = w.told(target, *shown)
    assert report.verdict == INVALID
    assert len(report.forks[0].records) < 200


def test_an_accusation_whose_proof_cannot_be_had_is_undetermined(w):
    accusation = w.accuse()
    supply = w.supply()
    del supply.handed[w.second.id]
    report = w.verify(accusation, supply)
    assert report.verdict == UNDETERMINED and report.forks == ()


def test_a_walk_that_does_not_reach_the_proof_says_how_far_it_came(w):
    report = w.verify(w.decide(w.accuse()), depth=2)
    assert report.verdict == VALID and report.frontier and report.forks == ()


def test_an_altered_proof_makes_the_file_invalid(w):
    accusation = w.accuse()
    supply = w.supply()
    data, seal = supply.handed[w.second.id]
    supply.handed[w.second.id] = (data[:-1] + bytes([data[-1] ^ 1]), seal)
    assert w.verify(accusation, supply).verdict == INVALID


def test_the_place_of_a_shown_record_does_not_disturb_the_order_of_the_log(w):
    for _ in range(4):
        w.add(w.a, "observation")
    newest = w.add(w.a, "observation")
    report = w.verify(w.decide(w.accuse(), w.before), signatures="all", log="full")
    assert report.verdict == VALID, (report.findings, report.undetermined)
    assert newest.seq > w.first.seq
    assert Edge(w.first.id, w.a.owner, None).cid in report.records


POSITIONS = st.integers(0, 6)
LOGS = st.sampled_from([compute(b"one"), compute(b"two")])


@given(st.sets(st.tuples(LOGS, POSITIONS)), st.lists(st.builds(forks.Confession, LOGS, POSITIONS, POSITIONS)))
def test_many_confessions_cover_together_what_each_covers(places, said):
    assert forks.confessed(places, said) == {place for place in places if forks.covered(place, said)}


def test_each_fork_is_told_of_the_first_record_behind_it_whatever_the_number(w):
    log = [w.add(w.a, "observation", {"source": str(number)}) for number in range(4)]
    other = w.add(w.b, "observation")
    notes = [ForkNote(record.owner, record.seq, (record.id, other.id), False) for record in (*log, other)]
    late = ForkNote(w.a.owner, log[-1].seq + 1, (log[0].id, log[1].id), False)
    relied_on = [log[3], other, log[1]]
    found = forks.outcome([*notes, late], relied_on)
    assert set(found.findings) == {log[1].id, log[3].id, other.id}
