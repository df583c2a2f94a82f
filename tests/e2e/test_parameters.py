"""Every operating parameter of a federation, from the manifest that sets it to the stranger who holds others to it.

Each is chosen in a manifest's text, kept by an agent, and verified by a stranger; then somebody does not keep to it.
"""

from __future__ import annotations

import pytest
from strangers import Players, altered, codes, command, lawless, manifest, rewritten
from world import THREE, source

from tslg.manifests.agent_keys import SigningKey
from tslg.node import pruning
from tslg.node.drafting import Draft
from tslg.protocol import seal
from tslg.protocol.cid import HASHES, hash_name, to_text
from tslg.protocol.errors import ManifestError, Refusal, UsageError
from tslg.protocol.record import Edge


def basic(agent):
    """An observation and a decision on it."""
    seen = agent.observe("sensor", {"n": 3})
    return seen, agent.decide("ship", "yes", evidence=seen)


# --- H ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HASHES)
def test_every_hash_of_the_whitelist(name, tmp_path):
    players = Players(tmp_path, manifest(f'hash = "{name}"'))
    with players.node("node") as home:
        seen, decision = basic(home.agent("a"))
        car = players.hand_over(home, decision)
    assert {hash_name(one) for one in (players.federation, seen.id, decision.id)} == {name}
    assert players.judge(car).verdict == "valid"
    report = players.judge(altered(car, b"ship", b"sink"))
    assert report.verdict == "invalid" and "TSLG-R-ID" in codes(report)


def test_ids_of_another_hash_than_the_manifests(tmp_path):
    players = Players(tmp_path, manifest('hash = "sha2-512"'))
    with players.node("node") as home:
        agent = home.agent("a")
        with lawless(home, hash="sha3-256"):
            car = players.palm_off(home, agent.observe("sensor"))
    assert codes(players.judge(car)) == {"TSLG-A-HASH"}


# --- Phi -------------------------------------------------------------------------------------------------------------


def test_most_edges(tmp_path):
    players = Players(tmp_path, manifest("fan_in = { min = 1, max = 4 }"))
    with players.node("node") as home:
        agent = home.agent("a")
        first, second, third = (agent.observe("x") for _ in range(3))
        decision = agent.decide("ship", "yes", evidence=[first, second])
        assert players.judge(players.hand_over(home, decision)).verdict == "valid"
        with pytest.raises(Refusal, match="TSLG-A-FAN-IN"):
            agent.decide("ship", "yes", evidence=[first, second, third])
        with lawless(home):
            many = players.palm_off(home, agent.decide("ship", "yes", evidence=[first, second, third]))
    assert codes(players.judge(many)) == {"TSLG-A-FAN-IN"}


def test_the_fewest_edges_are_one(tmp_path):
    """With more, no key could be changed and no manifest amended."""
    with pytest.raises(ManifestError, match=r"fan_in\.min: must be 1"):
        Players(tmp_path, manifest("fan_in = { min = 2, max = 4 }"))


# --- D_verify --------------------------------------------------------------------------------------------------------


def test_readers_go_as_far_as_the_manifest_asks_and_say_so(tmp_path):
    players = Players(tmp_path, manifest("verify_depth = 3"))
    with players.node("node") as home:
        agent = home.agent("a")
        states = [agent.state({"n": n}) for n in range(9)]
        whole, cut = (players.hand_over(home, states[-1], depth=depth) for depth in (None, 3))
    for car in (whole, cut):
        report = players.judge(car)
        assert (report.verdict, report.edges, report.depth) == ("valid", 3, 3)
        assert [entry.record for entry in report.frontier] == [states[-4].id]
    assert players.judge(whole, depth=99).frontier == ()
    further = players.judge(cut, depth=99)
    assert further.verdict == "undetermined" and {item.reason for item in further.undetermined} == {"absent"}


def test_neighbours_in_place_of_proofs_are_as_good_once_they_are_imported(tmp_path):
    players = Players(tmp_path, manifest())
    with players.node("node") as home:
        agent = home.agent("a")
        for n in range(5):
            agent.observe("noise", {"n": n})
        decision = basic(agent)[1]
        car = players.palm_off(home, decision)
        again = players.hand_over(home, decision)
    assert players.judge(car).verdict == players.judge(again).verdict == "valid"


# --- X_admit ---------------------------------------------------------------------------------------------------------


def test_which_records_of_others_may_be_cited(tmp_path):
    players = Players(tmp_path, manifest('cross_agent = { kinds = ["decision"] }'))
    with players.node("node") as home:
        a, b = home.agent("a"), home.agent("b")
        seen, found = basic(b)
        final = a.decide("release", "yes", evidence=found)
        assert players.judge(players.hand_over(home, final)).verdict == "valid"
        with pytest.raises(Refusal, match="TSLG-A-CROSS-AGENT"):
            a.decide("release", "yes", evidence=seen)
        with lawless(home):
            car = players.palm_off(home, a.decide("release", "yes", evidence=seen))
    assert codes(players.judge(car)) == {"TSLG-A-CROSS-AGENT"}


def test_peers_whose_membership_is_recorded(tmp_path):
    players = Players(tmp_path, manifest())
    with players.node("node") as home:
        a, b, c = (home.agent(name) for name in "abc")
        peers = players.record("peer-set", {"name": "peers", "members": sorted([a.id, b.id])})
        players.amend(f'cross_agent = {{ kinds = ["decision"], peers = "{to_text(peers.id)}" }}')
        home.follow_federation(players.log[1:])
        final = a.decide("release", "yes", evidence=basic(b)[1])
        assert players.judge(players.hand_over(home, final)).verdict == "valid"
        stranger = basic(c)[1]
        with pytest.raises(Refusal, match="TSLG-A-CROSS-AGENT"):
            a.decide("release", "yes", evidence=stranger)
        with lawless(home):
            car = players.palm_off(home, a.decide("release", "yes", evidence=stranger))
    assert codes(players.judge(car)) == {"TSLG-A-CROSS-AGENT"}
    without = rewritten(car, records=lambda records: [one for one in records if one[0] != peers.id])
    assert players.judge(without).verdict == "undetermined"


# --- corrections, storage --------------------------------------------------------------------------------------------


def test_who_may_correct_whom(tmp_path):
    players = Players(tmp_path, manifest())
    with players.node("node") as home:
        a, b, c = (home.agent(name) for name in "abc")
        rule = {"acts": ["corrects"], "kinds": ["observation"], "by": [a.id]}
        policy = players.record("correction-policy", {"name": "corrections", "rules": [rule]})
        players.amend(f'corrections = {{ policy = "{to_text(policy.id)}" }}')
        home.follow_federation(players.log[1:])
        seen = b.observe("sensor", {"n": 3})
        fixed = a.correct(seen, {"n": 4}, reason="misread")
        car = players.hand_over(home, fixed)
        assert players.judge(car).verdict == "valid"
        with pytest.raises(Refusal, match="TSLG-A-CORRECTION"):
            c.correct(seen, {"n": 5}, reason="I say so")
        with lawless(home):
            false = players.palm_off(home, c.correct(seen, {"n": 5}, reason="I say so"))
    assert codes(players.judge(false)) == {"TSLG-A-CORRECTION"}
    assert command("query", "operative", to_text(seen.id), "--data", tmp_path / "node")["holds"]


@pytest.mark.parametrize("entries", ["", 'address = "merkle"', 'address = { hybrid = "blake3" }\nedges = "flat"'])
def test_what_storage_may_let_go_of(entries, tmp_path):
    players = Players(tmp_path, manifest(entries))
    body = {"name": "gc", "horizon_ms": 5, "kinds": ["observation"]}
    policy = players.record("gc-policy", body)
    players.amend(f'gc = {{ policy = "{to_text(policy.id)}" }}\n{entries}')
    with players.node("node") as home:
        agent = home.agent("a")
        seen, decision = basic(agent)
        for n in range(40):
            agent.observe("later", {"n": n})
        planned = pruning.plan(home.store, agent.id, home.manifest, now_ms=players.clock())
        assert seen.id in planned.pruned.ids and planned.policy == policy.id
        pruning.prune(home.ledger, planned)
        report = players.judge(players.hand_over(home, decision))
        assert (report.verdict, [item.record for item in report.undetermined]) == ("undetermined", [seen.id])
        assert report.undetermined[0].reason.startswith("pruned")
        assert players.judge(players.hand_over(home, agent.state({"n": 1}))).verdict == "valid"
        fresh = agent.observe("fresh")
        preds = {"prior": [Edge(agent.id)], "policy": [Edge(policy.id, players.federation)]}
        greedy = {"before": fresh.seq + 1, "count": fresh.seq + 1, "root": bytes(32)}
        preds["evidence"] = [Edge(fresh.id)]
        with lawless(home):
            car = players.palm_off(home, home.ledger.append(agent.id, Draft("prune", greedy, preds)))
    assert codes(players.judge(car)) == {"TSLG-A-PRUNE"}


# --- the manifest itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["threshold", "multisig"])
def test_a_threshold_of_anchors_signs_the_manifest_and_attests_every_agent(scheme, tmp_path):
    players = Players(tmp_path, THREE.format(scheme=scheme))
    with players.node("node") as home:
        with pytest.raises(UsageError, match="attest every genesis"):
            home.agent("a")
        agent = home.create_agent("a", anchors=players.founded.anchor_keys[1:])
        decision = basic(agent)[1]
        car = players.hand_over(home, decision)
        assert players.judge(car).verdict == "valid"
        with pytest.raises(ManifestError, match="TSLG-M-QUORUM"):
            home.create_agent("b", anchors=players.founded.anchor_keys[:1] * 2)

    def alone(records):
        """The genesis, as its agent alone sealed it."""
        genesis = next(one for one in records if one[0] == agent.id)
        others = [one for one in records if one is not genesis]
        entry = seal.parse(genesis[2]).signatures[0]
        return [*others, (genesis[0], genesis[1], seal.encode([entry], many=True))]

    assert codes(players.judge(rewritten(car, records=alone))) == {"TSLG-A-SEAL"}


def test_a_manifest_of_the_attackers_own(tmp_path):
    ours, theirs = (Players(tmp_path / who, manifest(f'classes = ["{who}"]')) for who in ("ours", "theirs"))
    with theirs.node("node") as home:
        car = theirs.hand_over(home, basic(home.agent("a"))[1])
    said = command("verify", car, "--federation", to_text(ours.federation), code=1)
    assert [finding["code"] for finding in said["findings"]] == ["TSLG-V-FEDERATION"]
    assert command("verify", car)["federation_pinned"] is False


# --- S ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "alg"), [("Ed25519", -19), ("ES256K", -47)])
def test_every_signature_scheme_of_the_whitelist(name, alg, tmp_path):
    players = Players(tmp_path, manifest(f'signatures = ["{name}"]'))
    with players.node("node") as home:
        agent = home.agent("a")
        decision = basic(agent)[1]
        assert [one.alg for one in seal.parse(home.store.get(decision.id).seal).signatures] == [alg]
        assert players.judge(players.hand_over(home, decision)).verdict == "valid"
        with pytest.raises(UsageError, match="allows no keys of"):
            home.create_agent("b", alg=-66 - alg)
        key = SigningKey.generate(-66 - alg, source("other"))
        body = {"purpose": "signing", "binding": "tenant", **key.fields()}
        with lawless(home):
            other = home.ledger.append(agent.id, Draft("registration", body, {"prior": [Edge(agent.id)]}))
        assert codes(players.judge(players.palm_off(home, other))) == {"TSLG-A-REGISTRATION"}


# --- recording -------------------------------------------------------------------------------------------------------


def inferred(agent, home, **fields):
    """A step of a model, recorded as its fields say."""
    body = {"model": "m", "model_version": "1", "inputs": {}, "intent": "act", "output": bytes(32)} | fields
    own = [Edge(home.ledger.prior(agent.id))]
    return home.ledger.append(agent.id, Draft("inference", body, {"prior": own, "policy": [Edge(agent._policy)]}))


def test_what_is_kept_of_a_models_steps_and_by_whose_keys(tmp_path):
    players = Players(tmp_path, manifest('recording = { tools = "plaintext", binding = "platform" }'))
    with players.node("node") as home:
        agent = home.agent("a")
        with pytest.raises(Refusal, match="TSLG-A-BINDING"):
            inferred(agent, home, tools=bytes(32))
        agent.rotate(binding="platform")
        with pytest.raises(Refusal, match="TSLG-A-RECORDING"):
            inferred(agent, home)
        kept = inferred(agent, home, tools=bytes(32))
        assert players.judge(players.hand_over(home, kept)).verdict == "valid"
        with lawless(home):
            car = players.palm_off(home, inferred(agent, home, facts=bytes(32)))
    assert codes(players.judge(car)) == {"TSLG-A-RECORDING"}
