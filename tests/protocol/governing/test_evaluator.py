"""The pure evaluator: what is not allowed, or cannot be decided, is refused, and narrower policies admit no more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol.governing.conditions import TESTS, Condition, Unknown, operand_fault
from tslg.protocol.governing.policy import Intent, Policy, Rule, Step, judge

ORDER = ("low", "middle", "high")
NAMES = ("a", "b", "c")
names = st.frozensets(st.sampled_from(NAMES))
amounts = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 20), max_size=3)
intents = st.builds(
    Intent,
    st.sampled_from(("x", "y")),
    names,
    st.sampled_from((None, "public", "secret")),
    st.sampled_from((None, *ORDER)),
    amounts,
)
policies = st.builds(
    lambda capabilities, limits, classes, tiers, listed: Policy(
        "p", capabilities, limits, classes, tiers, ORDER, {one.name: one for one in listed}
    ),
    names,
    amounts,
    st.frozensets(st.sampled_from(("public", "secret"))),
    st.frozensets(st.sampled_from(ORDER)),
    st.lists(intents, max_size=2),
)
steps = st.builds(
    Step,
    st.sampled_from(("x", "y", "z")),
    st.just("m"),
    st.just("1"),
    st.sampled_from((None, *ORDER, "emperor")),
    st.just("call"),
    names,
    amounts,
)


@pytest.mark.spec("INF-10", "INF-11")
@settings(max_examples=150, deadline=None)
@given(policies, steps)
def test_what_is_admitted_is_allowed_in_every_respect(policy, step):
    found = judge(policy, step)
    intent = policy.intents.get(step.intent)
    allowed = (
        intent is not None
        and step.tier in policy.tiers
        and (intent.tier is None or ORDER.index(step.tier) >= ORDER.index(intent.tier))
        and (intent.class_ is None or intent.class_ in policy.classes)
        and (step.uses | intent.uses) <= policy.capabilities
        and all(amount <= policy.limits.get(name, -1) for name, amount in step.spends.items())
        and all(amount <= intent.limits.get(name, amount) for name, amount in step.spends.items())
    )
    assert (found is None) == allowed
    assert found is None or (found.stage == "policy" and found.rule and found.reason)


@settings(max_examples=100, deadline=None)
@given(policies, policies, steps)
def test_a_policy_cut_down_to_a_grant_admits_nothing_that_either_does_not(policy, grant, step):
    body = {
        "capabilities": sorted(grant.capabilities),
        "limits": dict(grant.limits),
        "classes": sorted(grant.classes),
        "tiers": sorted(grant.tiers),
    }
    if judge(policy.within(body), step) is None:
        assert judge(policy, step) is None
        assert step.uses <= grant.capabilities and step.tier in grant.tiers
        assert all(amount <= grant.limits[name] for name, amount in step.spends.items())


def ruled(*rules: Rule) -> Policy:
    return Policy("p", intents={"*": Intent("*")}, rules=rules)


def step(**facts) -> Step:
    return Step("x", "m", "1", facts=facts)


def test_rules_are_asked_in_their_order():
    policy = ruled(Rule("first", "1", when=(Condition("n", "above", 5),)), Rule("second", "2"))
    assert judge(policy, step(n=6)).rule == "first"
    assert judge(policy, step(n=5)) == ("rule:second", "second", "2")


def test_a_rule_of_another_intent_is_not_asked():
    assert judge(ruled(Rule("r", "no", frozenset(("other",)))), step()) is None


@pytest.mark.spec("INF-11")
def test_a_fact_that_is_missing_or_of_another_type_refuses():
    policy = ruled(Rule("cap", "too much", when=(Condition("cents", "above", 100),)))
    assert judge(policy, step(cents=100)) is None
    for facts in ({}, {"cents": "7"}, {"cents": None}, {"cents": True}, {"cents": float("nan")}):
        found = judge(policy, step(**facts))
        assert found.stage == "rule:cap" and "cents" in found.reason


def test_a_condition_that_is_false_decides_whatever_else_is_unknown():
    rule = Rule("r", "no", when=(Condition("gone", "is", 1), Condition("n", "is", 1)))
    assert judge(ruled(rule), step(n=2)) is None
    assert judge(ruled(rule), step(n=1)) is not None


def test_an_excuse_counts_only_if_it_is_known_to_hold():
    rule = Rule("r", "no", unless=(Condition("boss", "is", True), Condition("n", "below", 3)))
    assert judge(ruled(rule), step(boss=True, n=2)) is None
    for facts in ({"boss": True}, {"boss": True, "n": 3}, {"boss": 1, "n": 2}, {}):
        assert judge(ruled(rule), step(**facts)) is not None


def test_no_fact_passes_for_what_the_step_states():
    rule = Rule("r", "no", when=(Condition("step.intent", "not", "x"),))
    assert judge(ruled(rule), step(step={"intent": "y"}, **{"step.intent": "y"})) is None


@pytest.mark.parametrize(
    ("test", "operand", "held", "failed"),
    [
        ("is", 1, 1, True),
        ("is", True, True, 1),
        ("is", [1, {"a": [2.0]}], (1, {"a": [2]}), [True, {"a": [2]}]),
        ("is", {"a": 0}, {"a": 0.0}, {"a": False}),
        ("is", [[]], [[]], [[None]]),
        ("not", "a", "b", "a"),
        ("not", [1], [True], [1]),
        ("in", [1, "a"], "a", True),
        ("not_in", [1], True, 1),
        ("in", [[1], {"a": 1}], {"a": 1}, {"a": True}),
        ("above", 2, 3, 2),
        ("below", 2.5, 2, 2.5),
        ("at_least", 2, 2, 1),
        ("at_most", 2, 2, 3),
        ("starts", "a", "ab", "ba"),
        ("ends", "a", "ba", "ab"),
        ("contains", "a", ["a"], ["b"]),
        ("contains", [1], [[1]], [[True]]),
        ("contains", "a", "bab", "b"),
        ("exists", True, 0, None),
    ],
)
def test_each_test_holds_and_fails(test, operand, held, failed):
    one = Condition("deep.fact", test, operand)
    assert operand_fault(test, operand) is None
    assert one.holds({"deep": {"fact": held}}, {}) is True
    assert one.holds({} if failed is None else {"deep.fact": failed}, {}) is False


def test_every_test_has_operands_that_it_refuses_or_takes_any():
    refusing = {test for test in TESTS if operand_fault(test, object()) is not None}
    assert refusing == {"above", "below", "at_least", "at_most", "in", "not_in", "starts", "ends", "exists"}
    assert "unknown test" in operand_fault("matches", "x")


def nested(levels: int, inner: object) -> object:
    for _ in range(levels):
        inner = [{"a": inner}]
    return inner


def test_values_nested_without_end_are_held_against_each_other():
    one = Condition("f", "is", nested(5_000, 1))
    assert one.holds({"f": nested(5_000, 1)}, {})
    assert not one.holds({"f": nested(5_000, True)}, {}) and not one.holds({"f": nested(4_999, 1)}, {})


@given(st.sampled_from(sorted(TESTS)), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
@settings(max_examples=80, deadline=None)
def test_a_condition_answers_yes_no_or_unknown_for_any_fact(test, fact):
    operand = {"in": [1], "not_in": [1], "exists": True, "starts": "a", "ends": "a"}.get(test, 1)
    try:
        assert type(Condition("f", test, operand).holds({"f": fact}, {})) is bool
    except Unknown as error:
        assert "'f'" in str(error)


@pytest.mark.parametrize("test", ["is", "exists"])
def test_no_fact_gets_in_the_way_of_another(test):
    operand = True if test == "exists" else "ours"
    condition = Condition("to.iban", test, operand)
    assert condition.holds({"to": {"iban": "ours"}}, {}) and condition.holds({"to.iban": "ours"}, {})
    with pytest.raises(Unknown, match="two facts"):
        condition.holds({"to.iban": "ours", "to": {"iban": "theirs"}}, {})
