"""What holds now, what was considered, and which policy was in force: answers from the graph."""

from __future__ import annotations

import pytest
from world import NOW, ONE, founded, source

from tslg.node import standing
from tslg.node.agent import Agent
from tslg.node.home import Home
from tslg.node.standing import considered, operative, policy_at
from tslg.protocol.cid import compute
from tslg.protocol.errors import Refusal, UsageError

pytestmark = pytest.mark.spec("COR-10", "COR-11", "COR-12")


@pytest.fixture
def home(tmp_path):
    ticks = iter(range(NOW, NOW + 10**6))
    with Home.open(tmp_path / "home", clock=lambda: next(ticks), random_bytes=source("standing")) as opened:
        yield opened


def test_what_nobody_spoke_of_holds(home):
    seen = home.agent("a").observe("x")
    assert operative(home.store, seen.id) == (seen.id, (seen.id,), (), ())
    with pytest.raises(UsageError, match="TSLG-U-UNKNOWN"):
        operative(home.store, compute(b"nobody has it"))


def test_a_correction_holds_beside_what_it_corrects_and_is_corrected_itself(home):
    a = home.agent("a")
    seen = a.observe("x", {"n": 1})
    first = a.correct(seen, {"n": 2}, reason="misread")
    second = a.correct(first, {"n": 3}, reason="misread again")
    assert operative(home.store, seen.id).holds == (seen.id, first.id, second.id)
    assert operative(home.store, first.id).holds == (first.id, second.id)
    assert [(one.act, one.stands) for one in operative(home.store, seen.id).chain] == [("corrects", True)] * 2


def test_corrections_that_disagree_are_in_conflict_and_others_are_not(home):
    a = home.agent("a")
    seen = a.observe("x", {"n": 1, "m": 1})
    one, two = a.correct(seen, {"n": 2}, reason="r"), a.correct(seen, {"m": 2}, reason="r")
    assert operative(home.store, seen.id).conflicts == ()
    three = a.correct(seen, {"n": 3, "m": 2}, reason="r")
    assert operative(home.store, seen.id).conflicts == ((seen.id, (one.id, three.id)),)
    a.retract(three, reason="no")
    assert operative(home.store, seen.id).conflicts == ()
    assert set(operative(home.store, seen.id).holds) == {seen.id, one.id, two.id}


def test_a_retraction_withdraws_and_one_of_it_restores(home):
    a = home.agent("a")
    seen = a.observe("x")
    gone = a.retract(seen, reason="r")
    assert operative(home.store, seen.id).holds == ()
    back = a.retract(gone, reason="r")
    assert operative(home.store, seen.id).holds == (seen.id,)
    a.retract(back, reason="r")
    assert operative(home.store, seen.id).holds == ()


def test_amendments_lead_on_and_two_of_one_record_are_in_conflict(home):
    a = home.agent("a")
    state = a.state({"n": 1})
    one = a.amend(state, {"n": 2}, reason="r")
    last = a.amend(one, {"n": 3}, reason="r")
    assert operative(home.store, state.id).holds == (last.id,)
    other = a.amend(state, {"n": 9}, reason="r")
    answer = operative(home.store, state.id)
    assert set(answer.holds) == {last.id, other.id} and answer.conflicts == ((state.id, (one.id, other.id)),)
    a.retract(last, reason="r")
    assert set(operative(home.store, state.id).holds) == {one.id, other.id}


def test_a_policy_goes_on_by_its_versions_and_nothing_brings_back_a_withdrawn_one(home):
    a = home.agent("a")
    first = a.policy("p", capabilities=["x", "y"])
    a.adopt(first)
    done = a.act("x", uses=["x"])
    second = a.policy("p", capabilities=["x"], amends=first)
    assert operative(home.store, first.id).holds == (second.id,)
    assert a.act("x", uses=["x"]).preds["policy"][0].cid == second.id
    with pytest.raises(Refusal, match="TSLG-A-SUPERSEDED"):
        a.act("y", uses=["y"], policy=first)
    gone = a.retract(second, reason="r")
    a.retract(gone, reason="r")
    assert operative(home.store, second.id).holds == ()
    with pytest.raises(Refusal, match="TSLG-A-SUPERSEDED"):
        a.act("x", uses=["x"])
    under = policy_at(home.store, done.id)
    assert [(one.policy.id, one.versions) for one in under] == [(first.id, (first.id,))]
    assert [one.id for one in under[0].ended_by] == [second.id]
    assert policy_at(home.store, second.id) == []


def test_a_node_goes_by_a_withdrawal_that_it_holds_before_its_agents_cite_it(home):
    a, b = home.agent("a"), home.agent("b")
    grant = a.policy("grant", capabilities=["x"])
    handed = a.delegate(b.id, {}, grant, expires=NOW + 10**7)
    b.act("x", delegation=handed)
    a.retract(handed, reason="done")
    with pytest.raises(UsageError, match="TSLG-U-WITHDRAWN"):
        b.act("x", delegation=handed)


def test_statements_without_end_are_not_followed_for_ever(home, monkeypatch):
    a = home.agent("a")
    seen = a.observe("x")
    with a.batch():
        for n in range(4):
            a.correct(seen, {"n": n}, reason="r")
    monkeypatch.setattr(standing, "MOST", 3)
    with pytest.raises(UsageError, match="more than 3 statements"):
        operative(home.store, seen.id)


def test_what_was_considered_is_answered_with_who_and_why(home):
    a, b = home.agent("a"), home.agent("b")
    seen, noise = a.observe("x"), b.observe("noise")
    nothing = a.observe("log", sought="a trace")
    other = a.decide("y", "other", evidence=seen, reason="too dear")
    made = a.decide(
        "y", "one", evidence=seen, counterfactual=other, absence=nothing, counters=noise, observes=[noise, seen]
    )
    found = [(one.name, one.record.id) for one in considered(home.store, made.id)]
    assert found[:3] == [("counterfactual", other.id), ("counters", noise.id), ("absence", nothing.id)]
    assert sorted(found[3:]) == sorted([("observes", noise.id), ("observes", seen.id)])
    assert considered(home.store, other.id) == []
    with pytest.raises(UsageError, match="unknown argument 'ignores'"):
        a.decide("y", "z", evidence=seen, ignores=other)
    with pytest.raises(UsageError, match="unknown arguments ignores"):
        a.correct(seen, {}, reason="r", ignores=other)


def test_votes_against_are_among_what_was_considered(home):
    a, b, c = (home.agent(name) for name in "abc")
    proposal = a.propose("go", {"n": 1}, electorate=[a.id, b.id, c.id], threshold=2)
    votes = [a.vote(proposal, "for"), b.vote(proposal, "against", reason="no"), c.vote(proposal, "for")]
    with pytest.raises(UsageError, match="no vote 'maybe'"):
        a.vote(proposal, "maybe")
    agreed = a.conclude(proposal, votes)
    assert agreed.body["electorate"] == sorted([a.id, b.id, c.id]) and agreed.body["threshold"] == 2
    state = a.state({"n": 1}, consensus=agreed)
    assert [one.id for one in considered(home.store, state.id)] == [votes[1].id]
    assert [one.id for one in considered(home.store, agreed.id)] == [votes[1].id]
    with pytest.raises(Refusal, match="TSLG-A-CONSENSUS"):
        a.conclude(proposal, votes, threshold=1)
    plain = a.observe("x")
    with pytest.raises(UsageError, match="does not say who votes"):
        a.conclude(plain, a.vote(plain, "for"))
    assert a.conclude(plain, a.vote(plain, "for"), electorate=[a.id], threshold=1)


async def test_the_awaited_agent_has_the_same_methods(home):
    agent = Agent(home.agent("a"))
    seen = await agent.observe("x")
    fixed = await agent.correct(seen, {"n": 1}, reason="r")
    assert (await agent.amend(fixed, {"n": 2}, reason="r")).kind == "amendment"
    assert (await agent.retract(fixed, reason="r")).kind == "retraction"
    proposal = await agent.propose("go", {}, electorate=[agent.id], threshold=1)
    assert (await agent.conclude(proposal, await agent.vote(proposal, "for"))).kind == "consensus"


def test_answers_are_the_same_where_edges_have_no_classes(tmp_path):
    manifest = ONE.format(attested=0).replace("[envelope]\n", '[envelope]\nedges = "flat"\n')
    federation = founded(manifest, "flat standing")
    sealed = (federation.manifest_record, federation.seal)
    ticks = iter(range(NOW, NOW + 10**6))
    with Home.open(tmp_path / "f", federation=sealed, clock=lambda: next(ticks), random_bytes=source("f")) as flat:
        a = flat.agent("a")
        seen = a.observe("x", {"n": 1})
        fixed = a.correct(seen, {"n": 2}, reason="r")
        assert operative(flat.store, seen.id).holds == (seen.id, fixed.id)
        first = a.policy("p", capabilities=["x"])
        a.adopt(first)
        done = a.act("x", uses=["x"])
        second = a.policy("p", capabilities=["x"], amends=first)
        assert operative(flat.store, first.id).holds == (second.id,)
        assert [one.id for one in policy_at(flat.store, done.id)[0].ended_by] == [second.id]
        with pytest.raises(Refusal, match="TSLG-A-SUPERSEDED"):
            a.act("x", uses=["x"], policy=first)
        nothing = a.observe("log", sought="a trace")
        made = a.decide("y", "z", evidence=seen, absence=nothing)
        assert [one.id for one in considered(flat.store, made.id)] == [nothing.id]
