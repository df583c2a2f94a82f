"""Governed steps read back: what was refused and why, what that tells of the policy, and what led to an output."""

from __future__ import annotations

from collections import Counter

import pytest
from gates import candidate, gated
from governed_day import HOUR, lived
from homes import opened
from world import NOW

from tslg.node.governing import leading, reports
from tslg.node.governing.content import digest
from tslg.node.governing.refinements import NO, UNKNOWN, YES, only_reason, refinements
from tslg.node.governing.reports import Window, rejections


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    home, gate, told = lived(tmp_path_factory.mktemp("day") / "node")
    with home:
        yield home, gate, told


def counts(told):
    return {one.key: one.count for one in told.groups}


def test_rejections_are_counted_by_stage_and_rule_the_most_first(day):
    home, _, told = day
    found = rejections(home.store)
    assert found.total == 6 == sum(one.count for one in found.groups)
    assert counts(found) == {
        ("policy", "intents"): 2,
        ("rule:confirmed", "confirmed"): 2,
        ("policy", "intents.refund.limits.cents"): 1,
        ("policy", "limits.cents"): 1,
    }
    assert [one.count for one in found.groups] == [2, 2, 1, 1]
    group = next(one for one in found.groups if one.key[1] == "intents.refund.limits.cents")
    assert group.newest.id == told["dear"].id and group.reason == told["dear"].body["reason"]


def test_rejections_are_counted_by_whatever_is_asked_for(day):
    home, gate, told = day
    by = lambda *names: counts(rejections(home.store, names))  # noqa: E731
    assert by("intent") == {("drop-tables",): 2, ("refund",): 4}
    assert by("agent") == {(gate.agent.id,): 6} and by("model") == {("model-x",): 6}
    assert by("policy") == {(told["dear"].preds["policy"][0].cid,): 6}
    times = [record.time for record in told.values() if record.kind == "rejection"]
    for name, length in (("hour", HOUR), ("day", 24 * HOUR)):
        assert sorted(by(name).values()) == sorted(Counter(time // length for time in times).values())
    assert all(day.endswith("T00:00:00.000Z") for (day,) in by("day"))
    assert by("intent", "stage")["refund", "policy"] == 2
    with pytest.raises(KeyError):
        by("weather")


@pytest.mark.parametrize(
    ("window", "count"),
    [
        (Window(since=NOW + 3 * HOUR), 4),
        (Window(until=NOW + 3 * HOUR), 2),
        (Window(since=NOW + 2 * HOUR, until=NOW + 4 * HOUR), 2),
        (Window(intent="refund", stage="policy"), 2),
        (Window(rule="confirmed"), 2),
        (Window(since=NOW + 99 * HOUR), 0),
    ],
)
def test_a_window_bounds_what_is_asked_about(day, window, count):
    assert rejections(day[0].store, window=window).total == count


def test_other_agents_and_policies_are_left_out(day):
    home, gate, told = day
    assert rejections(home.store, window=Window(owners=(gate.agent.id,))).total == 6
    assert rejections(home.store, window=Window(owners=(home.federation,))).total == 0
    assert rejections(home.store, window=Window(policy=told["dear"].preds["policy"][0].cid)).total == 6
    assert rejections(home.store, window=Window(policy=gate.agent.id)).total == 0


def test_what_lies_before_the_window_is_not_read(day):
    read = []
    list(reports.steps(day[0].store, ("rejection",), Window(since=NOW + 30 * HOUR), read.append))
    assert read[-1] == 6
    assert len(list(reports.steps(day[0].store, ("rejection",), Window(since=NOW + 30 * HOUR)))) == 2


@pytest.fixture(scope="module")
def use(day):
    (found,) = refinements(day[0].store)
    return found


def test_refinements_tell_which_rule_refuses_most_and_what_never_fires(day, use):
    assert use.policy.body["name"] == "support" and use.document["name"] == "support"
    assert dict(use.steps) == {"inference": 4, "rejection": 6, "decomposition": 1, "composite": 1}
    assert [(one.rule, one.count) for one in use.refusing][:2] == [("intents", 2), ("confirmed", 2)]
    assert use.never_fired == ["never-asked"]
    assert use.unused_intents == [] and use.unused_capabilities == []


def test_refinements_tell_what_was_admitted_when_tried_again(day, use):
    _, _, told = day
    by = {one.rule: one for one in use.refusing}
    assert by["confirmed"].retried == 1 and by["intents"].retried == 0
    assert [tuple(one) for one in use.retries] == [(told["unconfirmed"].id, told["confirmed"].id)]


def test_a_rejection_after_the_admitted_step_is_no_retry(day, use):
    """The dear refund has the same intent and inputs as the confirmed one, and comes later."""
    assert day[2]["dear"].body["inputs"] == day[2]["confirmed"].body["inputs"]
    assert next(one for one in use.refusing if one.rule == "intents.refund.limits.cents").retried == 0


def test_refinements_tell_gaps_and_near_misses(day, use):
    _, _, told = day
    assert dict(use.gaps) == {"drop-tables": 2, "compose": 1}
    near = {one.rejection.id: one.alone for one in use.near_misses}
    assert near == {told["dear"].id: UNKNOWN, told["unknown"].id: UNKNOWN, told["unknown too"].id: UNKNOWN}


def test_a_step_refused_for_two_reasons_is_no_near_miss(day, use):
    _, _, told = day
    assert only_reason(told["dear and greedy"], use.policy, use.document) == NO
    assert only_reason(told["dear"], use.policy, {**use.document, "rules": []}) == YES
    assert only_reason(told["dear"], None, use.document) == UNKNOWN


@pytest.mark.parametrize(
    ("stage", "document", "said"),
    [
        ("rule:a", {"rules": [{"name": "a"}]}, YES),
        ("rule:a", {"rules": [{"name": "a"}, {"name": "b"}]}, UNKNOWN),
        ("rule:b", {"rules": [{"name": "a"}, {"name": "b"}]}, YES),
        ("rule:b", {"rules": [{"name": "a"}, {"name": "b"}], "cedar": "permit(…)"}, UNKNOWN),
        ("cedar", {"cedar": "permit(…)"}, YES),
        ("cedar", {"cedar": "permit(…)", "predicate": "a:b"}, UNKNOWN),
        ("predicate:a:b", {"predicate": ["a:b", "c:d"]}, UNKNOWN),
        ("predicate:c:d", {"predicate": ["a:b", "c:d"]}, YES),
        ("rule:a", {"rules": "what?"}, YES),
        ("anchoring", {}, UNKNOWN),
    ],
)
def test_what_is_asked_last_refuses_alone(day, stage, document, said):
    record = day[2]["dear"]._replace(body=day[2]["dear"].body | {"stage": stage, "rule": stage.partition(":")[2]})
    assert only_reason(record, None, document) == said


def test_a_catch_all_is_a_gap_and_a_policy_without_its_text_says_so(tmp_path):
    with opened(tmp_path / "node") as home:
        gate = gated(home, 'class = "internal"\n[intents."*"]\n[intents.used]\n[intents.left]\n')
        gate.submit(candidate("used"))
        gate.submit(candidate("something-else"))
        (use,) = refinements(home.store)
        assert dict(use.gaps) == {"something-else": 1} and use.unused_intents == ["left"]
        home.store.drop_blobs([use.policy.body["document"]["digest"]])
        (use,) = refinements(home.store)
        assert use.document is None and use.unused_intents == [] and not use.gaps


def test_a_documents_own_words_run_nothing_and_break_nothing(tmp_path):
    """What stands in another's policy is data: no predicate is imported, nonsense is passed over."""
    with opened(tmp_path / "node") as home:
        text = b'predicate = "os:abort"\nrules = [3, {name = 4}, {}]\nintents = "all"\n[x]\n'
        digest_ = home.store.put_blob(text)
        agent = home.agent("bot")
        document = {"digest": digest_, "size": len(text), "media_type": "application/toml"}
        policy = agent.policy("odd", capabilities=["a"], document=document)
        step = {"model": "m", "model_version": "1", "inputs": {}, "intent": "x", "stage": "policy", "reason": "r"}
        agent._append("rejection", step, policy=[policy], evidence=None, delegation=None, cited={})
        (use,) = refinements(home.store)
        assert use.document is not None and use.never_fired == use.unused_intents == []
        assert use.unused_capabilities == ["a"] and use.refusing[0].count == 1


# --- what led to an output --------------------------------------------------------------------------------------------


def led(day, *roots, **how):
    found = leading.led_to(day[0].store, [day[2][name].id for name in roots], **how)
    names = {record.id: name for name, record in day[2].items()}
    return {names[one.record.id]: [hop.name for hop in one.path] for one in found.steps}, found


def test_an_output_is_followed_back_to_every_step_with_a_way_to_it(day):
    ways, found = led(day, "sent")
    assert ways == {
        "whole": ["evidence"],
        "confirmed": ["evidence", "part"],
        "part a": ["evidence", "part"],
        "part b": ["evidence", "part"],
        "found": ["evidence", "part", "evidence"],
        "broken": ["evidence", "part", "part"],
    }
    assert not found.missing and not found.more
    assert found.steps[0].path[-1].record == day[2]["whole"].id


def test_a_decomposition_leads_to_what_it_was_broken_down_into(day):
    ways, _ = led(day, "broken")
    assert ways == {"broken": [], "part a": [leading.PRODUCT], "part b": [leading.PRODUCT]}
    assert led(day, "broken", classes=("evidence",))[0] == {"broken": []}


def test_only_the_edges_and_the_number_that_are_asked_for(day):
    assert set(led(day, "sent", classes=("evidence",))[0]) == {"whole"}
    ways, found = led(day, "sent", limit=2)
    assert len(ways) == 2 and found.more
    assert led(day, "sent", most_records=1)[1].more


def test_what_is_not_held_is_said(day):
    from tslg.protocol.cid import compute

    gone = compute(b"gone")
    found = leading.led_to(day[0].store, [gone])
    assert found.missing == [gone] and not found.steps


def test_a_content_is_found_by_its_digest_where_it_was_made_not_where_it_was_used(day):
    home, _, told = day
    assert leading.made_by(home.store, digest("it left")) == [told["found"].id]
    assert leading.made_by(home.store, digest(b"all of it\n")) == [told["whole"].id]
    assert leading.made_by(home.store, digest("give it back")) == []
    assert leading.made_by(home.store, bytes(32)) == []


def test_a_result_that_came_later_is_found_too(tmp_path):
    with opened(tmp_path / "node") as home:
        gate = gated(home)
        outcome = gate.submit(candidate("answer"))
        late = gate.finish(outcome, {"result": [1, 2]})
        assert leading.made_by(home.store, digest({"result": [1, 2]})) == [late.id]
        (one,) = leading.led_to(home.store, [late.id]).steps
        assert one.record.id == outcome.record.id and [hop.name for hop in one.path] == ["evidence"]
