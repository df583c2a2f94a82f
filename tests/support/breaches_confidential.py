"""Records that break a rule of confidential policies, and no other."""

from __future__ import annotations

from breach import breaks
from confidential import commitments, hidden_policy, opening, proved

from tslg.protocol import narrowings
from tslg.protocol.admission import rule_commitments, rule_narrowing, rule_scope

WIDE = opening("read", "write", n=5)
NARROW = opening("read", secret=2, n=3)


def hidden(w):
    return w.add(w.a, "policy", hidden_policy(WIDE))


def narrowed(w, wide, what=NARROW, **body):
    """A narrower policy with the proof of it."""
    preds = {"prior": [w.a.last], "policy": [wide]}
    return proved(w, w.a, "policy", hidden_policy(what, **body), preds, {wide: WIDE}, what)


@breaks(rule_commitments, "COMMITMENTS", "also allows something openly")
def a_confidential_policy_with_open_capabilities(w):
    return w.sealed(w.a, "policy", hidden_policy(WIDE, capabilities=["read"]))


@breaks(rule_commitments, "COMMITMENTS", "also allows something openly")
def a_confidential_policy_with_open_limits(w):
    return w.sealed(w.a, "policy", hidden_policy(WIDE, limits={"n": 1}))


@breaks(rule_commitments, "COMMITMENTS", "not the encoding of an element")
def a_commitment_to_nothing(w):
    terms = commitments(WIDE)
    terms["capabilities"] = bytes(32) + terms["capabilities"][32:]
    return w.sealed(w.a, "policy", hidden_policy(WIDE, commitments=terms))


@breaks(rule_commitments, "COMMITMENTS", "not the encoding of an element")
def a_limit_that_is_no_element(w):
    terms = commitments(WIDE)
    terms["limits"]["n"] = b"\xff" * 32
    return w.sealed(w.a, "policy", hidden_policy(WIDE, commitments=terms))


@breaks(rule_commitments, "COMMITMENTS", "a policy that it does not cite")
def a_proof_about_a_policy_that_it_does_not_cite(w):
    other = hidden(w)
    body = {"narrowing": [{"policy": other.id, "proof": bytes(32)}]}
    return w.sealed(w.a, "action", body, {"policy": [w.policy]})


@breaks(rule_narrowing, "PROOF", "names no proof")
def a_confidential_policy_without_a_proof(w):
    wide = hidden(w)
    return w.sealed(w.a, "policy", hidden_policy(NARROW), {"prior": [wide], "policy": [wide]})


@breaks(rule_narrowing, "PROOF", "names no proof")
def an_open_policy_under_a_confidential_one_without_a_proof(w):
    wide = hidden(w)
    return w.sealed(w.a, "policy", {"capabilities": ["read"]}, {"prior": [wide], "policy": [wide]})


@breaks(rule_narrowing, "PROOF", "is not at hand")
def a_confidential_policy_whose_proof_was_not_handed_over(w):
    record, seal = narrowed(w, hidden(w))
    del w.attached[record.id]
    return record, seal


@breaks(rule_narrowing, "PROOF", "is not at hand")
def a_confidential_policy_that_came_with_another_proof(w):
    wide = hidden(w)
    other, _ = narrowed(w, wide)
    record, seal = narrowed(w, wide, opening("write", secret=3))
    w.attached[record.id] = w.attached[other.id]
    return record, seal


@breaks(rule_narrowing, "WIDENED", "does not hold")
def a_confidential_policy_with_the_proof_of_another(w):
    wide = hidden(w)
    other, _ = narrowed(w, wide)
    body = hidden_policy(opening("delete", secret=3, n=3), narrowing=other.body["narrowing"])
    record, seal = w.sealed(w.a, "policy", body, {"prior": [wide], "policy": [wide]})
    w.attached[record.id] = w.attached[other.id]
    return record, seal


@breaks(rule_narrowing, "WIDENED", "does not hold")
def a_confidential_policy_with_a_proof_of_random_bytes(w):
    wide = hidden(w)
    proofs = {wide.id: bytes(26 * 1024)}
    body = hidden_policy(NARROW, narrowing=narrowings.named(proofs))
    record, seal = w.sealed(w.a, "policy", body, {"prior": [wide], "policy": [wide]})
    w.attached[record.id] = narrowings.encode(proofs)
    return record, seal


@breaks(rule_narrowing, "WIDENED", "the two vocabularies differ")
def a_confidential_policy_over_other_words(w):
    wide = hidden(w)
    body = hidden_policy(NARROW, commitments=commitments(NARROW, ("read", "write")))
    return w.sealed(w.a, "policy", body, {"prior": [wide], "policy": [wide]})


@breaks(rule_narrowing, "WIDENED", "limit 'm' is none of the wider policy's")
def a_confidential_policy_with_another_limit(w):
    wide = hidden(w)
    return w.sealed(w.a, "policy", hidden_policy(opening(m=1)), {"prior": [wide], "policy": [wide]})


@breaks(rule_narrowing, "WIDENED", "classes ['public']")
def a_confidential_policy_with_more_classes(w):
    return narrowed(w, hidden(w), classes=["internal", "public"])


@breaks(rule_scope, "PROOF", "names no proof")
def an_action_under_a_confidential_policy_without_a_proof(w):
    return w.sealed(w.a, "action", {"uses": ["read"]}, {"policy": [hidden(w)]})


@breaks(rule_scope, "SCOPE", "['fly'] are not in the vocabulary")
def a_capability_that_a_confidential_policy_has_no_word_for(w):
    return w.sealed(w.a, "action", {"uses": ["fly"]}, {"policy": [hidden(w)]})


@breaks(rule_scope, "SCOPE", "does not hold")
def an_action_with_the_proof_of_an_earlier_one(w):
    wide = hidden(w)
    first, seal = proved(w, w.a, "action", {"uses": ["read"]}, {"policy": [wide]}, {wide: WIDE})
    w.admit(first, seal, w.a)
    body = {"uses": ["read"], "narrowing": first.body["narrowing"]}
    record, seal = w.sealed(w.a, "action", body, {"policy": [wide]})
    w.attached[record.id] = w.attached[first.id]
    return record, seal


@breaks(rule_scope, "SCOPE", "tier 'high'")
def a_tier_that_a_confidential_policy_does_not_allow(w):
    return w.sealed(w.a, "action", {"tier": "high"}, {"policy": [hidden(w)]})


@breaks(rule_narrowing, "PROOF", "names no proof")
def a_confidential_policy_under_an_open_one_without_a_proof(w):
    return w.sealed(w.a, "policy", hidden_policy(NARROW), {"prior": [w.a.last], "policy": [w.policy]})
