"""The agent's interface: what each method records, and what it refuses."""

from __future__ import annotations

import pytest
import trio
from world import NOW, source

from tslg.node.agent import Agent
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.cid import compute, to_text
from tslg.protocol.errors import CodecError, RecordError, Refusal, UsageError

LATER = NOW + 10**9


@pytest.fixture
def home(tmp_path):
    ticks = iter(range(NOW, NOW + 10**6))
    with Home.open(tmp_path / "home", clock=lambda: next(ticks), random_bytes=source("agent")) as opened:
        yield opened


def test_later_records_derive_from_the_newest_state(home):
    agent = home.agent("a")
    assert agent.observe("x").preds["prior"][0].cid == agent.id
    state = agent.state({"step": 1}, name="one")
    assert agent.observe("x").preds["prior"][0].cid == state.id
    assert agent.state({"step": 2}).preds["prior"][0].cid == state.id


def test_references_are_records_ids_or_texts(home):
    agent = home.agent("a")
    seen = [agent.observe("x", {"n": n}) for n in range(3)]
    made = agent.decide("y", "z", evidence=[seen[0], seen[1].id, to_text(seen[2].id), seen[0]])
    assert [edge.cid for edge in made.preds["evidence"]] == sorted(record.id for record in seen)
    assert all(edge.agent is None for edge in made.preds["evidence"])


def test_what_is_not_held_cannot_be_cited(home):
    agent = home.agent("a")
    with pytest.raises(UsageError, match="fetch and verify"):
        agent.decide("x", "y", evidence=compute(b"nobody has it"))


def test_an_action_is_done_under_the_adopted_policy(home):
    agent = home.agent("a")
    default = agent.act("x").preds["policy"][0].cid
    own = agent.policy("own", capabilities=["b", "a", "a"], limits={"n": 1})
    assert own.body["capabilities"] == ["a", "b"]
    assert agent.act("x").preds["policy"][0].cid == default
    agent.adopt(own)
    assert agent.act("x", uses={"a"}, spends={"n": 1}).preds["policy"][0].cid == own.id


def test_only_a_durable_policy_of_its_own_can_be_adopted(home):
    agent, other = home.agent("a"), home.agent("b")
    seen = agent.observe("x")
    for wrong in (seen, other.policy("other"), compute(b"nobody has it")):
        with pytest.raises(UsageError, match="no policy that this agent recorded"):
            agent.adopt(wrong)
    with pytest.raises(ZeroDivisionError), agent.batch():
        policy = agent.policy("lost")
        with pytest.raises(UsageError, match="outside a batch"):
            agent.adopt(policy)
        raise ZeroDivisionError
    assert agent.act("goes on")


def test_a_delegate_acts_under_the_grant(home):
    a, b = home.agent("a"), home.agent("b")
    grant = a.policy("grant", capabilities=["inspect"], limits={"n": 2})
    handed = a.delegate(b.id, {"do": "it"}, grant, expires=LATER, hops=1)
    done = b.act("inspect", delegation=handed, uses=["inspect"], spends={"n": 2}, principal=a.id)
    assert done.preds["policy"][0].cid == grant.id and done.preds["delegation"][0] == (handed.id, a.id, None)
    with pytest.raises(Refusal, match="TSLG-A-SCOPE"):
        b.act("destroy", delegation=handed, uses=["destroy"])
    with pytest.raises(Refusal, match="TSLG-A-PRINCIPAL"):
        b.act("inspect", principal=a.id)
    with pytest.raises(Refusal, match="TSLG-A-DELEGATE"):
        home.agent("c").act("inspect", delegation=handed)
    report = verify(StoreSource(home.store), done.id, home.federation, now_ms=LATER)
    assert report.verdict == "valid" and len(report.agents) == 2


def test_a_report_can_be_published_and_is_checked_like_any_record(home):
    a, b = home.agent("a"), home.agent("b")
    target = a.decide("x", "y", evidence=[a.observe("z")])
    report = verify(StoreSource(home.store), target.id, home.federation, now_ms=LATER, depth=1)
    published = b.verification(report)
    assert published.body["report"] == report.digest and published.body["target"] == target.id
    assert published.body["frontier"][0]["root"] == report.frontier[0].root
    assert verify(StoreSource(home.store), published.id, home.federation, now_ms=LATER).verdict == "valid"


def test_what_makes_no_record_is_refused_before_it_is_recorded(home):
    agent = home.agent("a")
    size = home.store.log_state(agent.id).size
    with pytest.raises(UsageError, match="unknown argument 'power'"):
        agent.act("x", power=9)
    with pytest.raises((RecordError, CodecError)):
        agent.act("x", {"float": 0.5})
    with pytest.raises((RecordError, CodecError)):
        agent.state({"deep": [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]})
    with pytest.raises(RecordError, match="blobs"):
        agent.observe("x", {"large": "x" * 70_000})
    assert home.store.log_state(agent.id).size == size


def test_large_content_goes_into_a_blob(home):
    agent = home.agent("a")
    record = agent.observe("x", content=b"y" * 100_000, media_type="text/plain")
    assert home.store.get_blob(record.body["blob"]["digest"]) == b"y" * 100_000
    assert record.body["blob"]["size"] == 100_000


def test_a_repr_shows_no_key(home):
    agent = home.agent("a")
    secret = home.ledger._logs[agent.id].secret
    for shown in (repr(agent), str(agent), repr(Agent(agent)), repr(home.ledger._logs[agent.id])):
        assert secret.hex() not in shown and repr(secret) not in shown
    assert "'a'" in repr(agent)


async def test_the_awaited_agent_does_the_same(home):
    agent = Agent(home.agent("a"))
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(agent.observe, f"x{number}")
    made = await agent.decide("x", "y", evidence=await agent.observe("z"))
    assert made.seq == 8
