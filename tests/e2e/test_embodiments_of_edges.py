"""What records can say of each other, from the agent that says it to the stranger who holds it to the rules.

Edges without classes; counter-evidence, absence and retraction; authorising together; amendments; what was observed
and not consumed; alternatives. Each is recorded, bundled and judged; then somebody abuses it.
"""

from __future__ import annotations

import pytest
from strangers import Players, altered, codes, command, lawless, manifest, rewritten

from tslg.node.drafting import Draft
from tslg.protocol.cid import compute, to_text
from tslg.protocol.errors import Refusal, UsageError
from tslg.protocol.record import Edge


@pytest.fixture
def players(tmp_path):
    return Players(tmp_path, manifest())


@pytest.fixture
def home(players):
    with players.node("node") as opened:
        yield opened


def draft(kind, body, **preds):
    """A record with just these edges, each to a record or an `Edge`."""
    edges = {name: [one if isinstance(one, Edge) else Edge(one.id) for one in cited] for name, cited in preds.items()}
    return Draft(kind, body, edges)


def test_flat_edges(tmp_path):
    players = Players(tmp_path, manifest('edges = "flat"'))
    with players.node("node") as home:
        boss, hand = home.agent("boss"), home.agent("hand")
        grant = boss.policy("grant", capabilities=["look"])
        task = boss.delegate(hand.id, {}, grant, expires=players.clock() + 10**6)
        seen = hand.observe("sensor", {"n": 2})
        found = hand.decide("find", "it", evidence=seen, delegation=task, uses=["look"])
        assert found.data.count(b"evidence") == 0
        car = players.hand_over(home, boss.decide("accept", "yes", evidence=found))
        assert players.judge(car).verdict == "valid"
        with pytest.raises(Refusal, match="TSLG-A-SCOPE"):
            hand.decide("find", "it", evidence=seen, delegation=task, uses=["leap"])
        with lawless(home):
            wide = players.palm_off(home, hand.decide("find", "it", evidence=seen, delegation=task, uses=["leap"]))
            home.ledger._flat = False
            typed = players.palm_off(home, hand.observe("in the other form"))
    assert codes(players.judge(wide)) == {"TSLG-A-SCOPE"}
    assert codes(players.judge(typed)) == {"TSLG-A-EDGES"}
    without = rewritten(car, records=lambda records: [one for one in records if one[0] != seen.id])
    assert players.judge(without).verdict == "undetermined"


def test_absence_retraction_and_counter_evidence(players, home, tmp_path):
    agent = home.agent("a")
    scan, doubt = agent.observe("scanner", {"open": 1}), agent.observe("netflow", {"peers": 3})
    nothing = agent.observe("log", sought="a login")
    made = agent.decide("incident", "no breach", evidence=scan, absence=nothing, counters=doubt)
    gone = agent.retract(made, reason="there was one")
    assert players.judge(players.hand_over(home, gone)).verdict == "valid"
    said = command("query", "considered", to_text(made.id), "--data", tmp_path / "node")
    assert [one["class"] for one in said["considered"]] == ["counters", "absence"]
    assert command("query", "operative", to_text(made.id), "--data", tmp_path / "node")["holds"] == []
    with lawless(home):
        unsought = agent.decide("incident", "no breach", evidence=scan, absence=doubt)
        assert codes(players.judge(players.palm_off(home, unsought))) == {"TSLG-A-EDGE-KIND"}
        unborn = home.ledger.append(agent.id, draft("retraction", {"reason": "r"}, retracts=[Edge(agent.id)]))
        assert codes(players.judge(players.palm_off(home, unborn))) == {"TSLG-A-EDGE-KIND"}


def test_authority_that_was_retracted(players, home):
    agent = home.agent("a")
    policy = agent.policy("buying", capabilities=["order"])
    order = agent.act("order", policy=policy, uses=["order"])
    ended = agent.retract(policy, reason="closed")
    assert players.judge(players.hand_over(home, order)).verdict == "valid", "what was done before stays valid"
    with pytest.raises(Refusal, match="TSLG-A-SUPERSEDED"):
        agent.act("order", policy=policy, uses=["order"], evidence=ended)
    with lawless(home):
        late = agent.act("order", policy=policy, uses=["order"], evidence=ended)
    assert codes(players.judge(players.palm_off(home, late))) == {"TSLG-A-SUPERSEDED"}


def test_joint_authorisation(players, home):
    board, bob, carol, mallory = (home.agent(name) for name in ("board", "bob", "carol", "mallory"))
    request = board.propose_joint("launch", [bob.id, carol.id], 2, bearers=[board.id])
    made = board.record_joint(request, [("bob", bob.sign_joint(request)), ("carol", carol.sign_joint(request))])
    done = board.act("launch", joint=made)
    car = players.hand_over(home, done)
    assert players.judge(car).verdict == "valid"
    with pytest.raises(Refusal, match="TSLG-A-JOINT"):
        mallory.act("launch", joint=made)
    with lawless(home):
        stolen = players.palm_off(home, mallory.act("launch", joint=made))
        again = board.propose_joint("again", [bob.id, carol.id], 2)
        alone = players.palm_off(home, board.record_joint(again, [("bob", bob.sign_joint(again))]))
    assert codes(players.judge(stolen)) == {"TSLG-A-JOINT"}
    assert codes(players.judge(alone)) == {"TSLG-A-SEAL"}


def test_amendments_supersede_and_nothing_is_removed(players, home, tmp_path):
    agent, other = home.agent("a"), home.agent("b")
    plan = agent.decide("supplier", "acme", evidence=agent.observe("quotes"))
    first = agent.amend(plan, {"supplier": "bolts"}, reason="acme stopped")
    second = agent.amend(first, {"supplier": "nuts"}, reason="cheaper")
    car = players.hand_over(home, second)
    report = players.judge(car)
    assert report.verdict == "valid" and {plan.id, first.id} <= report.records.keys()
    said = command("query", "operative", to_text(plan.id), "--data", tmp_path / "node")
    assert [one["record"] for one in said["holds"]] == [to_text(second.id)]
    with pytest.raises(Refusal, match="TSLG-A-CORRECTION"):
        other.amend(plan, {"supplier": "mine"}, reason="because")
    with lawless(home):
        foreign = players.palm_off(home, other.amend(plan, {"supplier": "mine"}, reason="because"))
    assert codes(players.judge(foreign)) == {"TSLG-A-CORRECTION"}
    assert players.judge(altered(car, b"bolts", b"belts")).verdict == "invalid"


def test_what_was_observed_and_not_consumed(players, home, tmp_path):
    agent = home.agent("a")
    scan, noise = agent.observe("scanner"), agent.observe("pager", {"alerts": 17})
    made = agent.decide("incident", "no breach", evidence=scan, observes=noise)
    car = players.hand_over(home, made)
    report = players.judge(car)
    assert report.verdict == "valid" and noise.id in report.records
    said = command("query", "considered", to_text(made.id), "--data", tmp_path / "node")
    assert [(one["class"], one["record"]) for one in said["considered"]] == [("observes", to_text(noise.id))]
    hidden = rewritten(car, records=lambda records: [one for one in records if one[0] != noise.id])
    assert noise.id in {item.record for item in players.judge(hidden).undetermined}
    with pytest.raises(UsageError, match="fetch and verify"):
        agent.decide("incident", "no breach", evidence=scan, observes=compute(b"nobody has it"))
    policy = Edge(home.store.by_kind("policy", agent.id)[0])
    body = {"name": "incident", "outcome": "no breach"}
    with lawless(home):
        bare = home.ledger.append(agent.id, draft("decision", body, policy=[policy], observes=[noise]))
    assert codes(players.judge(players.palm_off(home, bare))) == {"TSLG-A-CLASSES"}


def test_the_alternative_that_was_not_adopted(players, home, tmp_path):
    agent = home.agent("a")
    scan = agent.observe("scanner")
    block = agent.decide("contain", "block the host", evidence=scan, reason="it would stop billing")
    made = agent.decide("contain", "close the port", evidence=scan, counterfactual=block)
    assert players.judge(players.hand_over(home, made)).verdict == "valid"
    said = command("query", "considered", to_text(made.id), "--data", tmp_path / "node")
    assert [one["class"] for one in said["considered"]] == ["counterfactual"]
    wide = agent.policy("wide", capabilities=["anything"])
    with pytest.raises(Refusal, match="TSLG-A-EDGE-KIND"):
        agent.decide("contain", "x", evidence=scan, counterfactual=wide)
    with lawless(home):
        inherits = agent.decide("contain", "x", evidence=scan, counterfactual=block, uses=["anything"])
        leads_astray = agent.decide("contain", "x", evidence=scan, counterfactual=wide)
    assert codes(players.judge(players.palm_off(home, inherits))) == {"TSLG-A-SCOPE"}
    assert codes(players.judge(players.palm_off(home, leads_astray))) == {"TSLG-A-EDGE-KIND"}
