"""What stands, in walks: what is found, what cannot be known, and what must not be believed."""

from __future__ import annotations

import pytest
from breach import NOWHERE, Scene
from breaches_standing import WHY, governed

from tslg.protocol.past import Past
from tslg.protocol.proofs import HeadClaim
from tslg.protocol.rules.standing import entitled, may

pytestmark = pytest.mark.spec("COR-4", "COR-7", "COR-9")


@pytest.fixture
def w() -> Scene:
    return Scene()


def retracted_then_used(w: Scene):
    gone = w.add(w.a, "retraction", {"reason": "no more"}, {"retracts": [w.policy]})
    return gone, w.slip(w.a, "action", None, {"policy": [w.policy]})


def test_who_walks_the_whole_log_finds_what_its_author_withdrew(w):
    _, used = retracted_then_used(w)
    assert w.verify(used).verdict == "valid"
    report = w.verify(used, log="full")
    assert [(finding.code, finding.record) for finding in report.findings] == [("TSLG-A-SUPERSEDED", used.id)]


def test_a_newest_record_that_nobody_sealed_speaks_against_nothing(w):
    used = w.add(w.b, "action", None, {"policy": [w.policy], "delegation": [w.granted]})
    forged = w.make(w.b, "retraction", {"reason": "forged"}, {"retracts": [w.policy]})
    w.add(w.a, "observation")
    own = w.add(w.a, "action", None, {"policy": [w.policy]})
    fake = w.make(w.a.fork(len(w.a.log) - 2), "retraction", {"reason": "forged"}, {"retracts": [w.policy]})
    last = w.add(w.a, "observation")
    for target, head in ((used, forged), (own, fake)):
        supply = w.supply()
        supply.handed[head.id] = (head.data, w.seals[last.id])
        supply.newest = lambda agent, head=head, supply=supply: None if agent != head.owner else _claimed(head, supply)
        assert w.verify(target, supply).findings == ()


def _claimed(head, supply):
    from tslg.node.sources import NewestRecord

    return NewestRecord(HeadClaim(head.owner, head.id, head.seq + 1, bytes(32)), supply.handed[head.id])


def test_the_correction_policy_is_fetched_with_the_manifest_that_names_it(w):
    policy = governed(w, ("corrects", "observation", "anyone"))
    fixed = w.add(w.b, "correction", WHY, {"corrects": [w.seen]})
    report = w.verify(fixed, depth=0)
    assert report.verdict == "valid" and report.edges == 0
    supply = w.supply()
    del supply.handed[policy.id]
    report = w.verify(fixed, supply)
    assert report.verdict == "undetermined" and {item.record for item in report.undetermined} == {policy.id, fixed.id}


def test_what_a_correction_is_about_may_lie_beyond_the_bound(w):
    governed(w, ("corrects", "decision", "anyone"), ("corrects", "decision", "author"))
    record = w.make(w.b, "correction", WHY, {"corrects": [w.seen]})
    edge = record.preds["corrects"][0]
    assert may(record, edge, w) is False
    del w.held[w.seen.id]
    assert may(record, edge, w) is None
    other = w.make(w.b, "amendment", WHY, {"amends": [edge]})
    assert may(other, edge, w) is False


def test_what_a_later_record_cites_does_not_bind_an_earlier_one(w):
    gone = w.add(w.a, "retraction", {"reason": "no more"}, {"retracts": [w.policy]})
    before = w.add(w.b, "action", None, {"policy": [w.policy], "delegation": [w.granted]})
    seen = w.add(w.b, "observation", None, {"prior": [w.b.last], "evidence": [gone]})
    later = w.add(w.a, "observation", None, {"prior": [w.a.last], "evidence": [before, seen]})
    assert w.verify(later).verdict == "valid"
    past = Past(w.held.values(), w)
    assert past.ended(w.policy.id, later) == gone
    assert past.ended(w.policy.id, seen) == gone
    assert past.ended(w.policy.id, before) is None
    assert past.ended(NOWHERE, later) is None


def test_endings_are_weighed_once_however_many_records_rest_on_what_they_name(w, monkeypatch):
    others = [w.slip(w.b, "retraction", {"reason": str(n)}, {"retracts": [w.policy]}) for n in range(12)]
    for _ in range(10):
        target = w.add(w.a, "action", None, {"policy": [w.policy], "prior": [w.a.last]})
    weighed = []
    monkeypatch.setattr("tslg.protocol.past.entitled", lambda *given: weighed.append(given) or entitled(*given))
    past = Past(w.held.values(), w)
    used = [record for record in w.held.values() if "policy" in record.preds]
    assert len(used) >= 10 and all(past.ended(w.policy.id, record) is None for record in used)
    assert len(weighed) == len(others)
    weighed.clear()
    target = w.slip(w.a, "observation", None, {"prior": [target], "evidence": others[:7]})
    assert w.verify(target, log="full").verdict == "invalid"
    assert len(weighed) <= len(others)


def test_no_scope_is_inherited_from_what_was_only_considered(w):
    wide = w.add(w.a, "policy", {"capabilities": ["erase", "read"]})
    other = w.add(w.a, "action", {"uses": ["erase"]}, {"policy": [wide]})
    taken = w.make(w.a, "action", {"uses": ["erase"]}, {"policy": [w.policy], "counterfactual": [other]})
    assert w.judge(taken, w.seal(taken, w.a)).code == "TSLG-A-SCOPE"
    w.add(w.a, "action", {"uses": ["read"]}, {"policy": [w.policy], "counterfactual": [other]})


def test_a_retraction_of_two_ends_only_what_it_may(w):
    for above in (False, True):
        own = w.add(w.b, "observation")
        while (own.id > w.policy.id) != above:
            own = w.add(w.b, "observation")
        both = w.make(w.b, "retraction", {"reason": "both"}, {"retracts": [own, w.policy]})
        assert entitled(both, own.id, w) and not entitled(both, w.policy.id, w)
