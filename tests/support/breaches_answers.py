"""Answers that are none, come twice, or are followed by what their delegation no longer covers."""

from __future__ import annotations

from breach import breaks
from world import NOW

from tslg.protocol.rules.answers import rule_answer
from tslg.protocol.rules.standing import rule_in_force


def done(w):
    """Admit what the delegate did under the delegation."""
    preds = {"prior": [w.b.last], "policy": [w.policy], "delegation": [w.granted]}
    return w.add(w.b, "action", {"uses": ["read"]}, preds)


def answered(w, outcome="result", **body):
    """Admit the delegate's answer."""
    preds = {"answers": [w.granted]}
    if outcome == "result":
        preds["evidence"] = [done(w)]
    return w.add(w.b, "answer", {"outcome": outcome} | body, preds)


@breaks(rule_answer, "ANSWER", "was answered before it")
def a_second_answer(w):
    answered(w)
    return w.sealed(w.b, "answer", {"outcome": "failed", "reason": "late"}, {"answers": [w.granted]})


@breaks(rule_answer, "ANSWER", "was answered before it", alone=False)
def a_second_result(w):
    answered(w, "failed", reason="the disk is full")
    return w.sealed(w.b, "answer", None, {"answers": [w.granted], "evidence": [w.b.last]})


@breaks(rule_answer, "ANSWER", "several delegations")
def an_answer_to_two_delegations(w):
    other = w.add(
        w.a,
        "delegation",
        {"delegate": w.b.owner, "grant": w.policy.id, "task": {"again": 1}},
        {"policy": [w.policy]},
    )
    return w.sealed(w.b, "answer", {"outcome": "cancelled"}, {"answers": [w.granted, other]})


@breaks(rule_answer, "DELEGATE", "a delegation to another agent")
def an_answer_by_somebody_else(w):
    stranger = w.agent("c")
    return w.sealed(stranger, "answer", {"outcome": "cancelled"}, {"answers": [w.granted]})


@breaks(rule_answer, "ANSWER", "says failed and not why")
def a_failure_without_a_reason(w):
    return w.sealed(w.b, "answer", {"outcome": "failed"}, {"answers": [w.granted]})


@breaks(rule_answer, "EXPIRED", "the delegation expired")
def a_result_after_the_delegation_expired(w):
    result = done(w)
    return w.sealed(
        w.b, "answer", None, {"answers": [w.granted], "evidence": [result]}, time=w.granted.body["expires"] + 1
    )


@breaks(rule_answer, "ANSWER", "not one record of its own log")
def a_result_of_somebody_else(w):
    return w.sealed(w.b, "answer", None, {"answers": [w.granted], "evidence": [w.seen]})


@breaks(rule_answer, "ANSWER", "not one record of its own log")
def a_result_that_is_nothing(w):
    return w.sealed(w.b, "answer", None, {"answers": [w.granted]})


@breaks(rule_answer, "ANSWER", "does not rest on the delegation")
def a_result_that_was_not_done_under_the_delegation(w):
    state = w.add(w.b, "state", None, {"prior": [w.b.last]})
    return w.sealed(w.b, "answer", None, {"answers": [w.granted], "evidence": [state]})


@breaks(rule_in_force, "SUPERSEDED", "was answered before it")
def work_after_the_answer(w):
    answered(w)
    preds = {"prior": [w.b.last], "policy": [w.policy], "delegation": [w.granted]}
    return w.sealed(w.b, "action", {"uses": ["read"]}, preds)


@breaks(rule_in_force, "SUPERSEDED", "was answered before it")
def work_by_a_third_agent_that_knows_of_the_answer(w):
    c = w.agent("c")
    body = {"delegate": c.owner, "grant": w.policy.id, "hops": 0, "expires": NOW + 400_000}
    passed = w.add(w.b, "delegation", body, {"policy": [w.policy], "delegation": [w.granted]})
    seen = answered(w, "cancelled")
    preds = {"prior": [c.last], "policy": [w.policy], "delegation": [passed], "evidence": [seen]}
    return w.sealed(c, "action", {"uses": ["read"]}, preds)


@breaks(rule_in_force, "SUPERSEDED", "was retracted before it")
def a_result_after_the_delegate_heard_of_the_retraction(w):
    result = done(w)
    gone = w.add(w.a, "retraction", {"reason": "not needed"}, {"retracts": [w.granted]})
    w.add(w.b, "state", None, {"prior": [w.b.last], "observes": [gone]})
    return w.sealed(w.b, "answer", None, {"answers": [w.granted], "evidence": [result]})
