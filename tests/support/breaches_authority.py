"""Records that break a rule of policies or delegations, and no other."""

from __future__ import annotations

from breach import NOWHERE, breaks
from world import NOW

from tslg.protocol import admission
from tslg.protocol.admission import (
    rule_delegating,
    rule_delegation,
    rule_granted,
    rule_narrowing,
    rule_scope,
    rule_vocabulary,
)
from tslg.protocol.limits import DEFAULT


def under_window(w, **window):
    policy = w.add(w.a, "policy", window)
    return w.sealed(w.a, "action", None, {"policy": [policy]})


@breaks(rule_scope, "WINDOW", "before the policy starts")
def before_its_policy(w):
    return under_window(w, not_before=NOW + 500_000)


@breaks(rule_scope, "WINDOW", "after the policy ended")
def after_its_policy(w):
    return under_window(w, not_after=NOW)


@breaks(rule_scope, "WINDOW", "after the policy ended")
def a_policy_after_the_policy_above_it(w):
    policy = w.add(w.a, "policy", {"not_after": NOW})
    return w.sealed(w.a, "policy", {"not_after": NOW}, {"prior": [w.seen], "policy": [policy]})


@breaks(rule_scope, "SCOPE", "capability 'delete' is not granted")
def a_capability_that_is_not_granted(w):
    return w.sealed(w.a, "action", {"uses": ["delete"]}, {"policy": [w.policy]})


@breaks(rule_scope, "SCOPE", "capability 'delete' is not granted")
def a_capability_that_one_of_two_policies_does_not_grant(w):
    wide = w.add(w.a, "policy", {"capabilities": ["delete"]})
    return w.sealed(w.a, "action", {"uses": ["delete"]}, {"policy": [w.policy, wide]})


@breaks(rule_scope, "SCOPE", "'n' of 6 exceeds the limit 5")
def more_than_the_limit(w):
    return w.sealed(w.a, "action", {"spends": {"n": 6}}, {"policy": [w.policy]})


@breaks(rule_scope, "SCOPE", "none granted")
def a_limit_that_is_not_named(w):
    return w.sealed(w.a, "action", {"spends": {"m": 0}}, {"policy": [w.policy]})


@breaks(rule_scope, "SCOPE", "class 'public'")
def a_class_that_is_not_allowed(w):
    return w.sealed(w.a, "decision", {"class": "public"}, {"policy": [w.policy], "evidence": [w.seen]})


@breaks(rule_scope, "SCOPE", "tier 'high'")
def a_tier_that_is_not_allowed(w):
    return w.sealed(w.a, "state", {"tier": "high"}, {"prior": [w.seen], "policy": [w.policy]})


STEP = {"model": "m", "model_version": "1", "inputs": {}, "intent": "act", "output": bytes(32)}
GOVERNED = {"class": "internal", "tier": "low"}


def step(w, kind, **claims):
    """A model's step, claiming something under a policy of its agent's."""
    preds = {"prior": [w.seen], "policy": [w.policy]} | ({"part": [w.seen]} if kind == "composite" else {})
    more = {"composite": {"rule": "all"} | GOVERNED, "inference": GOVERNED}.get(kind, {"reason": "because"})
    more |= {"stage": "scope"} if kind == "rejection" else {}
    return w.sealed(w.a, kind, STEP | more | claims, preds)


@breaks(rule_scope, "SCOPE", "capability 'delete' is not granted")
def a_step_that_was_admitted_beyond_its_policy(w):
    return step(w, "inference", uses=["delete"])


@breaks(rule_scope, "SCOPE", "'n' of 6 exceeds the limit 5")
def a_composite_beyond_its_policy(w):
    return step(w, "composite", spends={"n": 6})


@breaks(rule_scope, "SCOPE", "tier 'high'")
def a_step_that_was_admitted_in_parts_beyond_its_policy(w):
    return step(w, "decomposition", tier="high")


@breaks(rule_scope, "SCOPE", "claims tier, uses without a policy")
def a_state_that_claims_without_a_policy(w):
    return w.sealed(w.a, "state", {"uses": ["delete"], "tier": "high"})


@breaks(rule_vocabulary, "VOCABULARY", "classes ['secret']")
def a_class_that_the_manifest_does_not_know(w):
    return w.sealed(w.a, "policy", {"classes": ["secret"]})


@breaks(rule_vocabulary, "VOCABULARY", "tiers ['root']")
def a_tier_that_the_manifest_does_not_know(w):
    return w.sealed(w.a, "policy", {"tiers": ["root"]})


@breaks(rule_narrowing, "WIDENED", "capabilities ['delete']")
def a_policy_wider_than_the_one_above_it(w):
    body = {"capabilities": ["delete", "read"]}
    return w.sealed(w.a, "policy", body, {"prior": [w.seen], "policy": [w.policy]})


@breaks(rule_delegation, "WIDENED", "beyond the grant")
def under_a_wider_policy_than_the_grant(w):
    wide = w.add(w.a, "policy", {"capabilities": ["delete"]})
    body = {"delegate": w.b.owner, "grant": w.policy.id}
    both = w.add(w.a, "delegation", body, {"policy": [w.policy, wide]})
    return w.sealed(w.b, "action", None, {"policy": [w.policy, wide], "delegation": [both]})


@breaks(rule_delegation, "DELEGATE", "made to another agent")
def under_a_delegation_to_somebody_else(w):
    c = w.agent("c")
    return w.sealed(c, "action", None, {"policy": [w.policy], "delegation": [w.granted]})


@breaks(rule_delegation, "EXPIRED", "the delegation expired")
def under_an_expired_delegation(w):
    preds = {"policy": [w.policy], "delegation": [w.granted]}
    return w.sealed(w.b, "action", None, preds, time=w.granted.body["expires"] + 1)


@breaks(rule_delegation, "EXPIRED", "outlives the delegation")
def a_policy_that_outlives_its_delegation(w):
    preds = {"prior": [w.b.last], "policy": [w.policy], "delegation": [w.granted]}
    return w.sealed(w.b, "policy", w.under(not_after=w.granted.body["expires"] + 1), preds)


@breaks(rule_delegation, "EXPIRED", "outlives the delegation")
def a_policy_without_end_under_the_longest_delegation(w):
    body = {"delegate": w.b.owner, "grant": w.policy.id, "expires": DEFAULT.integer}
    longest = w.add(w.a, "delegation", body, {"policy": [w.policy]})
    return w.sealed(w.b, "policy", None, {"prior": [w.b.last], "policy": [w.policy], "delegation": [longest]})


@breaks(rule_delegation, "GRANT", "does not derive from the delegation's grant")
def under_a_policy_that_was_never_granted(w):
    own = w.add(w.b, "policy", w.under())
    return w.sealed(w.b, "action", None, {"policy": [own], "delegation": [w.granted]})


@breaks(rule_delegation, "GRANT", "more than 256 policies lie behind")
def under_a_policy_with_too_many_behind_it(w):
    own = [w.add(w.b, "policy", w.under(name=f"p{i}")) for i in range(257)]
    left = w.add(w.b, "policy", w.under(), {"prior": [w.b.last], "policy": own[:128]})
    right = w.add(w.b, "policy", w.under(), {"prior": [w.b.last], "policy": own[128:]})
    top = w.add(w.b, "policy", w.under(), {"prior": [w.b.last], "policy": [left, right]})
    return w.sealed(w.b, "action", None, {"policy": [top], "delegation": [w.granted]})


@breaks(rule_delegation, "RESOLVE", "chain from its policy to the grant")
def under_a_policy_whose_chain_is_not_held(w):
    own = w.derived()
    for name in ("x", "y"):
        preds = {"prior": [own], "policy": [own], "delegation": [w.granted]}
        own = w.add(w.b, "policy", w.under(name=name), preds)
    del w.held[next(iter(own.preds["policy"])).cid]
    return w.sealed(w.b, "action", None, {"policy": [own], "delegation": [w.granted]})


@breaks(rule_granted, "GRANT", "rests on a delegation that it does not cite")
def under_a_derived_policy_without_its_delegation(w):
    return w.sealed(w.b, "action", None, {"policy": [w.derived()]})


@breaks(rule_granted, "GRANT", "rests on a delegation that it does not cite")
def under_a_derived_policy_with_another_delegation(w):
    own = w.derived()
    body = {"delegate": w.b.owner, "grant": w.policy.id}
    other = w.add(w.a, "delegation", body, {"policy": [w.policy]})
    return w.sealed(w.b, "action", None, {"policy": [own], "delegation": [other]})


@breaks(rule_granted, "GRANT", "of another agent without delegation")
def under_a_foreign_policy_without_a_delegation(w):
    return w.sealed(w.b, "action", None, {"policy": [w.policy]})


@breaks(getattr(admission, "rule_principal", rule_granted), "PRINCIPAL", "without a delegation by it")
def for_another_agent_without_its_delegation(w):
    own = w.add(w.b, "policy")
    return w.sealed(w.b, "action", {"principal": w.a.owner}, {"policy": [own]})


@breaks(getattr(admission, "rule_principal", rule_granted), "PRINCIPAL", "without a delegation by it")
def for_an_agent_other_than_the_delegator(w):
    c = w.agent("c")
    body = {"principal": c.owner}
    return w.sealed(w.b, "decision", body, {"policy": [w.policy], "evidence": [w.seen], "delegation": [w.granted]})


def passed_on(w, **body):
    c = w.agent("c")
    value = {"delegate": c.owner, "grant": w.policy.id, "hops": 1, "expires": NOW + 400_000} | body
    return w.sealed(w.b, "delegation", value, {"policy": [w.policy], "delegation": [w.granted]})


@breaks(rule_delegating, "DELEGATE", "cannot delegate to itself")
def to_itself(w):
    return w.sealed(w.a, "delegation", {"delegate": w.a.owner, "grant": w.policy.id}, {"policy": [w.policy]})


@breaks(rule_delegating, "HOPS", "33 further hops, the limit is 32")
def further_than_anybody_may(w):
    body = {"delegate": w.b.owner, "grant": w.policy.id, "hops": 33}
    return w.sealed(w.a, "delegation", body, {"policy": [w.policy]})


@breaks(rule_delegating, "HOPS", "2 further hops under a delegation of 2")
def further_than_it_was_allowed(w):
    return passed_on(w, hops=2)


@breaks(rule_delegating, "EXPIRED", "expired when it is made")
def too_late(w):
    body = {"delegate": w.b.owner, "grant": w.policy.id, "expires": NOW}
    return w.sealed(w.a, "delegation", body, {"policy": [w.policy]})


@breaks(rule_delegating, "EXPIRED", "outlives the delegation that it passes on")
def longer_than_it_was_allowed(w):
    return passed_on(w, expires=NOW + 500_001)


@breaks(rule_delegating, "GRANT", "not among its policies")
def a_policy_that_it_does_not_cite(w):
    return w.sealed(w.a, "delegation", {"delegate": w.b.owner, "grant": NOWHERE}, {"policy": [w.policy]})
