"""Attacks on how the parts of verification meet: forks with keys, flat edges with bounds, foreign bytes with all."""

from __future__ import annotations

import pytest
from breach import Scene
from breaches_flat import FLAT
from world import World, sign

from tslg.protocol import record as records
from tslg.protocol import seal
from tslg.protocol.flat import recover
from tslg.protocol.manifest import Manifest
from tslg.protocol.report import INVALID, VALID
from tslg.protocol.walker import Walker


@pytest.fixture
def w() -> World:
    world = World()
    world.a, world.b = world.agent("a"), world.agent("b")
    return world


def told(w, target, *shown, **how):
    supply = w.supply()
    supply.shown = [record.id for record in shown]
    return w.verify(target, supply, **how)


@pytest.mark.parametrize("log", ["visited", "full"])
def test_nobody_is_convicted_under_a_key_that_somebody_else_registered_in_its_name(w, log):
    honest = w.add(w.a, "observation")
    target = w.add(w.a, "observation")
    twin = w.a.fork(1)
    forged, key = w.registration(twin, preds={"prior": [w.a.log[0]]})
    w.put(forged, seal.encode([sign(forged, key, w.a.key)]), twin)
    twin.keys[forged.id], twin.key = key, forged.id
    rival = w.make(twin, "observation", {"source": "forged"}, {"prior": [w.a.log[0]]})
    w.put(rival, w.seal(rival, twin), twin)
    supply = w.supply()
    supply.logs[w.a.owner] = [record.id for record in w.a.log]
    supply.shown = [rival.id]
    report = w.verify(target, supply, log=log)
    assert report.forks == () and report.verdict == VALID, report.findings
    assert honest.seq == 1


def test_an_amendment_that_amends_nothing_does_no_harm_beside(w):
    target = w.add(w.a, "observation")
    body = w.amended_body()
    one = w.make(w.anchors, "manifest-amendment", body, {})
    bad = body | {"envelope": {"unknown": 1}}
    other = w.make(w.anchors, "manifest-amendment", bad, {"amends": [w.held[w.federation]]})
    for record in (one, other):
        entry = w.by_anchors(record, w.federation, True)
        w.put(record, seal.encode([entry, entry]))
    w.amend()
    report = told(w, target, one, other)
    assert report.verdict == VALID and report.forks == ()


@pytest.mark.spec("FLA-5")
def test_an_edge_out_of_reach_hides_none_of_those_at_hand(w):
    w = Scene(FLAT.replace("[envelope]\n", '[envelope]\ncross_agent = { kinds = ["policy", "delegation"] }\n'))
    hidden = w.add(w.b, "state")
    while hidden.id < w.seen.id:
        hidden = w.add(w.b, "state")
    target = w.slip(w.b, "state", None, {"prior": [hidden], "evidence": [w.seen]})
    supply = w.supply()
    del supply.handed[hidden.id]
    for how in ({}, {"supply": supply}):
        report = w.verify(target, **how)
        assert [finding.code for finding in report.findings] == ["TSLG-A-CROSS-AGENT"], how
    bounded = [w.verify(target, depth=depth).verdict for depth in (0, 1)]
    assert bounded == [VALID, INVALID]
    raw = records.parse(target.data)
    half = recover(raw, {w.seen.id: w.seen}.get)
    assert recover(half, w.held.get).preds == recover(raw, w.held.get).preds


def test_no_proof_of_anchors_is_checked_that_nobody_sealed(w, monkeypatch):
    made_up = w.make(w.anchors, "manifest-amendment", w.amended_body(), {"amends": [w.held[w.federation]]})
    entry = w.by_anchors(w.held[w.federation], w.federation, True)
    w.put(made_up, seal.encode([entry, entry]), w.anchors.fork(1))
    target = w.slip(w.a, "observation", manifest=made_up.id)
    checked = []
    monkeypatch.setattr(Manifest, "anchors_hold", lambda manifest: checked.append(manifest.id) or True)
    report = w.verify(target)
    assert [(finding.code, finding.record) for finding in report.findings] == [("TSLG-A-SEAL", made_up.id)]
    assert checked == [w.federation]


def test_the_walk_is_not_gone_through_again_for_every_revocation_that_is_handed_over(w, monkeypatch):
    target = w.slip(w.a, "observation")
    target = w.slip(w.a, "observation", None, {"prior": [target]})
    twin = w.a.fork(1)
    forged = [
        w.make(twin, "revocation", w.ending(twin, w.a.owner, 2) | {"reason": str(number)}) for number in range(100)
    ]
    for record in forged:
        w.put(record, b"forged", twin.fork(1))
    supply = w.supply()
    supply.revoking[w.a.owner] = [record.id for record in forged]
    grouped = []
    only_shown = Walker.only_shown
    monkeypatch.setattr(Walker, "only_shown", lambda walker: grouped.append(walker) or only_shown(walker))
    report = w.verify(target, supply)
    assert report.verdict == VALID, (report.findings, report.undetermined)
    assert len(grouped) < 30


@pytest.mark.spec("KEY-9", "VER-11")
@pytest.mark.parametrize("real", [False, True])
def test_a_forged_revocation_where_nothing_is_held_leaves_no_gap_in_the_proofs(w, real):
    early = w.add(w.a, "observation")
    first = w.a.key
    places = []
    for number in range(9):
        if real and number == 4:
            w.rotate(w.a)
            w.revoke(w.a, first)
        places.append(w.add(w.a, "observation"))
    target = w.add(w.a, "state", None, {"prior": [early]})
    supply = w.supply()
    assert w.verify(target, supply, depth=1).verdict == VALID
    for at in (places[2].seq, places[7].seq):
        twin = w.a.fork(at)
        forged = w.make(twin, "revocation", w.ending(twin, w.a.owner, at + 1))
        w.put(forged, b"forged", twin.fork(1))
        supply = w.supply()
        supply.revoking[w.a.owner].append(forged.id)
        supply.whole_log = lambda agent, size: ()
        for signatures in ("all", "heads"):
            report = w.verify(target, supply, depth=1, signatures=signatures)
            assert report.verdict == VALID, (report.findings, report.undetermined)
