"""What stands and what is in force, judged alike by tslg and by the reader that was written from the specification."""

from __future__ import annotations

import pytest
from both_readers import agreed, everything
from breach import CASES, Scene
from breaches_answers import answered
from breaches_joint import by, by_group, drafted, given, grouped
from breaches_standing import WHY, governed
from breaches_together import concluded, held_vote
from world import NOW

from tslg.protocol import seal as seals

JUDGED_ALONE = {"breaches_answers", "breaches_standing", "breaches_together", "breaches_joint"}
NEEDS_THE_STORE = {
    # What ends their authority is not in their ancestry: only who holds the log knows.
    "under_its_own_policy_that_it_amended",
    "under_its_own_policy_that_it_retracted",
    "handing_on_a_policy_that_it_retracted",
    "under_a_grant_whose_end_it_saw",
    "a_second_answer",
    "a_result_after_the_delegate_heard_of_the_retraction",
}

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.spec("COR-1", "COR-2", "COR-3", "COR-5", "COR-6", "COR-7", "COR-8", "COR-9", "DEL-18", "DEL-20"),
]


def said(w: Scene, target) -> tuple[str, set[str]]:
    return agreed(everything(w, target), w.federation, now=NOW + 1_000_000)


def retracted(w: Scene, target):
    return w.slip(w.a, "retraction", {"reason": "no more"}, {"retracts": [target]})


def amended_and_used(w: Scene):
    new = w.slip(w.a, "policy", {"capabilities": ["read"]}, {"prior": [w.a.last], "amends": [w.policy]})
    return w.slip(w.a, "action", None, {"policy": [w.policy], "evidence": [new]})


def retracted_and_used(w: Scene):
    return w.slip(w.a, "action", None, {"policy": [w.policy], "evidence": [retracted(w, w.policy)]})


def seen_and_used(w: Scene):
    seen = w.slip(w.b, "observation", None, {"prior": [w.b.last], "evidence": [retracted(w, w.policy)]})
    preds = {"policy": [w.policy], "delegation": [w.granted], "evidence": [seen]}
    return w.slip(w.b, "action", None, preds)


def narrowed_and_used(w: Scene):
    own = w.derived()
    return w.slip(
        w.b, "action", None, {"policy": [own], "delegation": [w.granted], "counters": [retracted(w, w.policy)]}
    )


def corrected_by_another(w: Scene):
    return w.slip(w.b, "correction", WHY, {"corrects": [w.seen]})


def answered_and_used(w: Scene):
    preds = {"policy": [w.policy], "delegation": [w.granted], "evidence": [answered(w)]}
    return w.slip(w.b, "action", None, preds)


def answered_twice(w: Scene):
    seen = w.slip(w.b, "observation", None, {"prior": [w.b.last], "evidence": [answered(w, "cancelled")]})
    again = w.slip(w.b, "answer", {"outcome": "cancelled"}, {"answers": [w.granted], "evidence": [seen]})
    return w.slip(w.a, "state", None, {"prior": [w.a.last], "evidence": [again]})


def not_by_the_policy(w: Scene):
    governed(w, ("retracts", "observation", "anyone"))
    return w.slip(w.a, "correction", WHY, {"corrects": [w.seen]})


def an_empty_absence(w: Scene):
    return w.slip(w.a, "state", None, {"prior": [w.a.last], "absence": [w.seen]})


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (amended_and_used, "SUPERSEDED"),
        (retracted_and_used, "SUPERSEDED"),
        (seen_and_used, "SUPERSEDED"),
        (narrowed_and_used, "SUPERSEDED"),
        (answered_and_used, "SUPERSEDED"),
        (answered_twice, "ANSWER"),
        (corrected_by_another, "CORRECTION"),
        (not_by_the_policy, "CORRECTION"),
        (an_empty_absence, "EDGE-KIND"),
    ],
)
def test_both_find_what_does_not_stand(make, code):
    w = Scene()
    assert said(w, make(w)) == ("invalid", {f"TSLG-A-{code}"})


def allowed_by_the_policy(w: Scene):
    governed(w, ("corrects retracts", "decision observation", [w.b.owner]))
    return w.add(w.b, "correction", WHY, {"corrects": [w.seen]})


def beside_what_a_bundle_has(w: Scene):
    """The ancestry does not lead to the retraction, so nobody who walks it can know."""
    retracted(w, w.policy)
    return w.add(w.b, "action", None, {"policy": [w.policy], "delegation": [w.granted]})


def before_it(w: Scene):
    done = w.add(w.a, "action", None, {"policy": [w.policy]})
    return w.add(w.a, "observation", None, {"prior": [w.a.last], "evidence": [done, retracted(w, w.policy)]})


def a_retraction_taken_back(w: Scene):
    gone = w.add(w.a, "retraction", {"reason": "wrong"}, {"retracts": [w.seen]})
    return w.add(w.a, "retraction", {"reason": "right after all"}, {"retracts": [gone]})


@pytest.mark.parametrize("make", [allowed_by_the_policy, beside_what_a_bundle_has, before_it, a_retraction_taken_back])
def test_both_let_stand_what_stands(make):
    w = Scene()
    assert said(w, make(w)) == ("valid", set())


def test_a_retraction_by_somebody_who_may_not_ends_nothing():
    w = Scene()
    forged = w.slip(w.b, "retraction", {"reason": "mine now"}, {"retracts": [w.policy]})
    used = w.slip(w.a, "action", None, {"policy": [w.policy], "evidence": [forged]})
    report = w.verify(used)
    assert [finding.record for finding in report.findings] == [forged.id]
    assert said(w, used) == ("invalid", {"TSLG-A-CORRECTION"})


@pytest.mark.spec("TOG-1", "TOG-2", "TOG-3", "TOG-4")
@pytest.mark.parametrize(
    ("outcomes", "how", "codes"),
    [
        (("for", "for"), {}, set()),
        (("for", "against", "for"), {}, set()),
        (("for", "against", "abstain"), {}, {"TSLG-A-CONSENSUS"}),
        (("for", "for"), {"threshold": 0}, {"TSLG-A-CONSENSUS"}),
        (("for", "for"), {"threshold": 4}, {"TSLG-A-CONSENSUS"}),
    ],
)
def test_both_count_votes_alike(outcomes, how, codes):
    w = Scene()
    made = concluded(w, *held_vote(w, *outcomes), make=w.slip, **how)
    assert said(w, made) == ("invalid" if codes else "valid", codes)


def a_group_that_signed(w: Scene, scheme: int):
    _, secrets, body = grouped(w, scheme)
    author, record = drafted(w, body)
    w.admit(record, seals.encode([by(record, author), by_group(record, secrets, (0, 2))], many=True), author)
    return record


@pytest.mark.spec("TOG-6", "TOG-8", "TOG-9", "TOG-10", "TOG-11", "TOG-13")
@pytest.mark.parametrize(
    "make", [lambda w: given(w)[0], lambda w: a_group_that_signed(w, -70001), lambda w: a_group_that_signed(w, -70002)]
)
def test_both_let_agents_authorise_together(make):
    w = Scene()
    joint = make(w)
    state = w.add(w.a, "state", None, {"prior": [w.a.last], "joint": [joint]})
    assert said(w, state) == ("valid", set())


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.breach.__module__ in JUDGED_ALONE and case.code != "TSLG-A-RESOLVE"],
    ids=lambda case: case.name,
)
def test_both_refuse_what_admission_refuses(case):
    """Every record of the tables of breaches of corrections, consensus and joint authorisation."""
    w = Scene(case.toml)
    record, sealed = case.breach(w)
    w.put(record, sealed)
    verdict, codes = said(w, record)
    if case.breach.__name__ in NEEDS_THE_STORE:
        assert verdict == "valid"
    else:
        # A manifest that names no correction policy is refused itself, and what is made under it is not judged.
        assert verdict == "invalid" and codes & {case.code, "TSLG-A-ENVELOPE"}
