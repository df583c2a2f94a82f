"""Policies: narrowing is an order, and what is narrower allows less."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage import LogBuilder

from tslg.protocol.policy import out_of_scope, out_of_window, widening
from tslg.protocol.record import Edge

NAMES = st.lists(st.sampled_from("abc"), unique=True).map(sorted)
AMOUNTS = st.dictionaries(st.sampled_from("xy"), st.integers(0, 3))
MOMENT = st.none() | st.integers(0, 4)
POLICIES = st.fixed_dictionaries(
    {
        "name": st.just("policy"),
        "capabilities": NAMES,
        "limits": AMOUNTS,
        "classes": NAMES,
        "tiers": NAMES,
        "not_before": MOMENT,
        "not_after": MOMENT,
    },
    optional={"cedar": st.sampled_from(["permit;", "forbid;"])},
)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "uses": NAMES,
        "spends": AMOUNTS,
        "class": st.sampled_from("abc"),
        "tier": st.sampled_from("abc"),
    },
)
LOG = LogBuilder("a")


def record(claims, time=0):
    return LOG.make("action", {"policy": [Edge(LOG.owner)]}, {"name": "act"} | claims, time=time)


def narrowed(draw, wide):
    """Draw a policy that is no wider, by taking away from `wide`."""
    narrow = dict(wide)
    for name in ("capabilities", "classes", "tiers"):
        narrow[name] = [item for item in wide[name] if draw.draw(st.booleans())]
    narrow["limits"] = {name: draw.draw(st.integers(-1, limit)) for name, limit in wide["limits"].items()}
    if wide["not_before"] is None or draw.draw(st.booleans()):
        narrow["not_before"] = (wide["not_before"] or 0) + draw.draw(st.integers(0, 2))
    if wide["not_after"] is None or draw.draw(st.booleans()):
        narrow["not_after"] = (4 if wide["not_after"] is None else wide["not_after"]) - draw.draw(st.integers(0, 2))
    return narrow


@given(POLICIES)
def test_a_policy_is_no_wider_than_itself(policy):
    assert widening(policy, policy) is None


@settings(max_examples=300)
@given(POLICIES, POLICIES, POLICIES)
def test_narrowing_carries_through(low, middle, high):
    if widening(low, middle) is None and widening(middle, high) is None:
        assert widening(low, high) is None


@given(POLICIES, st.data())
def test_narrowing_carries_through_chains_that_narrow(high, draw):
    middle = narrowed(draw, high)
    low = narrowed(draw, middle)
    assert widening(middle, high) is None and widening(low, middle) is None and widening(low, high) is None


@given(POLICIES, CLAIMS, st.integers(0, 6), st.data())
def test_what_a_narrower_policy_covers_a_wider_one_covers(wide, claims, time, draw):
    narrow = narrowed(draw, wide)
    made = record(claims)
    if out_of_scope(made, narrow) is None:
        assert out_of_scope(made, wide) is None
    if out_of_window(time, narrow) is None:
        assert out_of_window(time, wide) is None


@settings(max_examples=300)
@given(POLICIES, POLICIES, CLAIMS)
def test_whatever_is_called_no_wider_covers_no_more(narrow, wide, claims):
    made = record(claims)
    if widening(narrow, wide) is None and out_of_scope(made, narrow) is None:
        assert out_of_scope(made, wide) is None


PLAIN = {
    "name": "plain",
    "capabilities": ["a"],
    "limits": {"x": 1},
    "classes": ["a"],
    "tiers": ["a"],
    "not_before": 10,
    "not_after": 20,
    "cedar": "permit;",
}


@pytest.mark.spec("DEL-5")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"capabilities": ["a", "b"]}, "capabilities ['b']"),
        ({"classes": ["b"]}, "classes ['b']"),
        ({"tiers": ["a", "b"]}, "tiers ['b']"),
        ({"limits": {"x": 2}}, "limit 'x' of 2 exceeds 1"),
        ({"limits": {"y": 0}}, "limit 'y' of 0 exceeds none granted"),
        ({"not_before": 9}, "opens before"),
        ({"not_before": None}, "opens before"),
        ({"not_after": 21}, "closes after"),
        ({"not_after": None}, "closes after"),
        ({"cedar": "forbid;"}, "Cedar text"),
    ],
)
def test_each_way_to_be_wider_is_named(change, said):
    assert said in widening(PLAIN | change, PLAIN)
    assert "'plain'" in widening(PLAIN | change, PLAIN)


@pytest.mark.spec("DEL-5")
def test_dropping_the_cedar_text_is_wider():
    assert "Cedar" in widening({name: value for name, value in PLAIN.items() if name != "cedar"}, PLAIN)


@pytest.mark.spec("DEL-1")
@pytest.mark.parametrize(("time", "said"), [(9, "before the policy starts"), (21, "after the policy ended")])
def test_the_window_is_closed_on_both_sides(time, said):
    assert said in out_of_window(time, PLAIN)
    assert out_of_window(10, PLAIN) is None and out_of_window(20, PLAIN) is None
