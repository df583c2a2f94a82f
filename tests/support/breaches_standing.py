"""Records that correct what they may not, or rest on authority that was withdrawn."""

from __future__ import annotations

from breach import NOWHERE, breaks

from tslg.protocol.record import Edge
from tslg.protocol.rules.edges import rule_edges
from tslg.protocol.rules.standing import rule_correction, rule_in_force

WHY = {"reason": "it was wrong", "data": {"price": 10}}


def governed(w, *rules):
    """Put a correction policy of these (acts, kinds, by) into force."""
    listed = [{"acts": acts.split(), "kinds": kinds.split(), "by": by} for acts, kinds, by in rules]
    policy = w.add(w.anchors, "correction-policy", {"name": "corrections", "rules": listed})
    w.amend(corrections={"policy": policy.id})
    return policy


# --- what may be cited ------------------------------------------------------------------------------------------------


@breaks(rule_edges, "EDGE-KIND", "is a genesis")
def a_correction_of_a_genesis(w):
    return w.sealed(w.a, "correction", WHY, {"corrects": [w.a.log[0]]})


@breaks(rule_edges, "EDGE-KIND", "is a policy")
def a_correction_of_a_policy(w):
    return w.sealed(w.a, "correction", WHY, {"corrects": [w.policy]})


@breaks(rule_edges, "EDGE-KIND", "is a delegation")
def an_amendment_of_a_delegation(w):
    return w.sealed(w.a, "amendment", WHY, {"amends": [w.granted]})


@breaks(rule_edges, "EDGE-KIND", "is a registration")
def a_retraction_of_a_registration(w):
    return w.sealed(w.a, "retraction", {"reason": "lost"}, {"retracts": [w.rotate(w.a)]})


@breaks(rule_edges, "EDGE-KIND", "lies in another log")
def a_policy_that_amends_another_agents(w):
    return w.sealed(w.b, "policy", None, {"prior": [w.b.last], "amends": [w.policy]})


@breaks(rule_edges, "EDGE-KIND", "is a policy")
def a_counterfactual_that_nobody_could_have_adopted(w):
    return w.sealed(w.a, "state", None, {"prior": [w.a.last], "counterfactual": [w.policy]})


@breaks(rule_edges, "EDGE-KIND", "is a observation without `sought`")
def an_absence_of_nothing_in_particular(w):
    return w.sealed(w.a, "state", None, {"prior": [w.a.last], "absence": [w.seen]})


@breaks(rule_edges, "EDGE-KIND", "its policy")
def a_release_under_a_policy_of_storage(w):
    storage = w.add(w.anchors, "gc-policy", {"name": "a year", "horizon_ms": 1, "kinds": []})
    return w.sealed(w.a, "action", None, {"policy": [storage]})


@breaks(rule_edges, "RESOLVE", "consensus bafy")
def put_in_place_by_a_consensus_that_nobody_has(w):
    return w.sealed(w.a, "state", None, {"prior": [w.a.last], "consensus": [Edge(NOWHERE, w.b.owner)]})


# --- who may correct --------------------------------------------------------------------------------------------------


@breaks(rule_correction, "CORRECTION", "a correction of a observation of another agent's log")
def a_correction_of_another_agents_record(w):
    return w.sealed(w.b, "correction", WHY, {"corrects": [w.seen]})


@breaks(rule_correction, "CORRECTION", "may not make a retraction of a policy")
def a_retraction_of_another_agents_policy(w):
    return w.sealed(w.b, "retraction", {"reason": "too wide"}, {"retracts": [w.policy]})


@breaks(rule_correction, "CORRECTION", "its own log")
def an_act_that_the_correction_policy_does_not_name(w):
    governed(w, ("corrects", "observation", "author"))
    return w.sealed(w.a, "amendment", WHY, {"amends": [w.seen]})


@breaks(rule_correction, "CORRECTION", "its own log")
def a_kind_that_the_correction_policy_does_not_name(w):
    governed(w, ("corrects", "decision", "anyone"))
    return w.sealed(w.a, "correction", WHY, {"corrects": [w.seen]})


@breaks(rule_correction, "CORRECTION", "another agent's log")
def an_author_that_the_correction_policy_does_not_name(w):
    governed(w, ("corrects", "observation", [w.a.owner]), ("corrects", "observation", "author"))
    return w.sealed(w.b, "correction", WHY, {"corrects": [w.seen]})


def slip_in(w, policy):
    """Hold a manifest version that names a correction policy which it must not, whatever its own rules say."""
    body = w.amended_body(corrections={"policy": policy})
    w.slip(w.anchors, "manifest-amendment", body, {"amends": [w.held[w.newest_manifest]]})


@breaks(rule_correction, "CORRECTION", "may not make a correction")
def under_a_correction_policy_that_is_none(w):
    slip_in(w, w.policy.id)
    return w.sealed(w.a, "correction", WHY, {"corrects": [w.seen]})


@breaks(rule_correction, "RESOLVE", "the correction policy of its manifest")
def under_a_correction_policy_that_nobody_has(w):
    slip_in(w, NOWHERE)
    return w.sealed(w.a, "correction", WHY, {"corrects": [w.seen]})


# --- what is in force -------------------------------------------------------------------------------------------------


@breaks(rule_in_force, "SUPERSEDED", "was amended before it")
def under_its_own_policy_that_it_amended(w):
    w.add(w.a, "policy", {"capabilities": ["read"]}, {"prior": [w.a.last], "amends": [w.policy]})
    return w.sealed(w.a, "action", None, {"policy": [w.policy]})


@breaks(rule_in_force, "SUPERSEDED", "was retracted before it")
def under_its_own_policy_that_it_retracted(w):
    w.add(w.a, "retraction", {"reason": "too wide"}, {"retracts": [w.policy]})
    return w.sealed(w.a, "action", None, {"policy": [w.policy]})


@breaks(rule_in_force, "SUPERSEDED", "was retracted before it")
def handing_on_a_policy_that_it_retracted(w):
    w.add(w.a, "retraction", {"reason": "too wide"}, {"retracts": [w.policy]})
    body = {"delegate": w.b.owner, "grant": w.policy.id}
    return w.sealed(w.a, "delegation", body, {"policy": [w.policy]})


@breaks(rule_in_force, "SUPERSEDED", "was retracted before it")
def under_a_grant_whose_end_it_saw(w):
    gone = w.add(w.a, "retraction", {"reason": "too wide"}, {"retracts": [w.policy]})
    w.add(w.b, "observation", None, {"prior": [w.b.last], "evidence": [gone]})
    return w.sealed(w.b, "action", None, {"policy": [w.policy], "delegation": [w.granted]})


@breaks(rule_in_force, "SUPERSEDED", "was retracted before it")
def under_a_delegation_whose_end_it_cites(w):
    gone = w.add(w.a, "retraction", {"reason": "done"}, {"retracts": [w.granted]})
    preds = {"policy": [w.policy], "delegation": [w.granted], "evidence": [gone]}
    return w.sealed(w.b, "action", None, preds)


@breaks(rule_in_force, "SUPERSEDED", "was retracted before it")
def under_a_policy_of_its_own_that_narrows_one_whose_end_it_saw(w):
    own = w.derived()
    gone = w.add(w.a, "retraction", {"reason": "too wide"}, {"retracts": [w.policy]})
    return w.sealed(w.b, "action", None, {"policy": [own], "delegation": [w.granted], "counters": [gone]})
