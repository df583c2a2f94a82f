"""How records are addressed, sealed, kept and granted, from the manifest that says so to the stranger who checks it.

Fields that are committed to; zero-knowledge policies; shards; geneses of several federations; ids of two hashes;
post-quantum seals; and all of it in one federation, over a real network. Then somebody abuses each.
"""

from __future__ import annotations

import io
import sqlite3

import pytest
from strangers import Players, altered, codes, command, lawless, manifest, rewritten, run
from world import founded

from tslg.manifests import genesis as geneses
from tslg.manifests.signing import encode_sealed
from tslg.node.node import Node
from tslg.node.proving import Prover
from tslg.node.store.shards import Layout
from tslg.node.store.splitting import split
from tslg.node.withholding import withholding
from tslg.protocol import bundle, seal
from tslg.protocol.cid import hash_name, to_text
from tslg.protocol.errors import BundleError, Refusal, UsageError

pytestmark = pytest.mark.thorough

LOOPBACK = "/ip4/127.0.0.1/tcp/0"


others = pytest.mark.parametrize(
    "entries",
    [
        "",
        'hash = "sha3-256"\naddress = { hybrid = "blake3" }\npost_quantum = true',
        'hash = "sha2-512"\naddress = "merkle"',
    ],
    ids=["plain", "hybrid and post-quantum", "merkle"],
)


def triage(agent):
    seen = agent.observe("interview", {"patient": "Ada Example"})
    return seen, agent.decide("triage", "urgent", evidence=seen, reason="pain since yesterday")


def test_fields_that_are_committed_to(tmp_path):
    players = Players(tmp_path, manifest('address = "merkle"'))
    with players.node("node") as home:
        agent = home.agent("a")
        seen, decision = triage(agent)
        whole = players.hand_over(home, decision)
        some = players.hand_over(home, decision, shown=withholding(["observation/*", "decision/reason"]))
    assert players.judge(whole).undisclosed == ()
    report = players.judge(some)
    hidden = {one.record: set(one.fields) for one in report.undisclosed}
    assert report.verdict == "valid" and hidden.keys() == {seen.id, decision.id} and hidden[decision.id] == {"reason"}
    assert b"Ada" in whole.read_bytes() and b"Ada" not in some.read_bytes()
    out = tmp_path / "one.car"
    command("disclose", to_text(decision.id), "--fields", "outcome", "--out", out, "--data", tmp_path / "node")
    shown = command("disclose", "--check", out, "--federation", to_text(players.federation))
    assert shown["records"][0]["disclosed"] == {"outcome": "urgent"}
    forged = altered(out, b"urgent", b"scarce")
    assert command("disclose", "--check", forged, code=1)["records"][0]["disclosed"] == {}


def test_a_record_in_plain_where_fields_are_to_be_committed_to(tmp_path):
    players = Players(tmp_path, manifest('address = "merkle"'))
    with players.node("node") as home:
        agent = home.agent("a")
        with lawless(home, address="flat"):
            car = players.palm_off(home, agent.observe("in plain"))
    assert codes(players.judge(car)) == {"TSLG-A-ADDRESS"}


@others
def test_policies_that_stay_confidential(entries, tmp_path):
    players = Players(tmp_path, manifest(entries if "merkle" not in entries else 'edges = "flat"'))
    with players.node("node") as home:
        boss, hand = home.agent("boss"), home.agent("hand")
        words = ["pay", "scan", "sign"]
        hidden = {"confidential": True, "capabilities": ["scan"], "limits": {"eur": 20}}
        wide = boss.policy("grant", vocabulary=words, **(hidden | {"limits": {"eur": 500}}))
        task = boss.delegate(hand.id, {}, wide, expires=2**52)
        mine = hand.policy("mine", under=wide, delegation=task, not_after=2**52, **hidden)
        done = hand.act("scan", policy=mine, delegation=task, uses=["scan"], spends={"eur": 7})
        car = players.hand_over(home, done)
        assert players.judge(car).verdict == "valid"
        with pytest.raises(Refusal, match="TSLG-A-SCOPE"):
            hand.act("sign", policy=mine, delegation=task, uses=["sign"])
        with lawless(home):
            hand._prover = Unproving(None, None)
            over = players.palm_off(home, hand.act("sign", policy=mine, delegation=task, uses=["sign"]))
    assert b"500" not in car.read_bytes()
    assert codes(players.judge(over)) == {"TSLG-A-PROOF"}
    kept_back = rewritten(car, attachments=lambda attached: {})
    assert players.judge(kept_back).verdict == "undetermined"
    swapped = rewritten(car, attachments=lambda attached: dict(zip(attached, reversed(attached.values()), strict=True)))
    assert players.judge(swapped).verdict == "undetermined"


class Unproving(Prover):
    """Proves nothing."""

    def proofs(self, kind, body, policies):
        return None


@others
def test_a_lineage_over_several_stores(entries, tmp_path):
    players = Players(tmp_path, manifest(entries))
    with players.node("node") as home:
        agent = home.agent("a")
        seen = [agent.observe("application", {"n": n}) for n in range(8)]
        decision = agent.decide("credit", "granted", evidence=seen)
    assert split(tmp_path / "node", Layout(3, 2)) == []
    with players.node("node") as home:
        assert players.judge(players.hand_over(home, decision)).verdict == "valid"
        later = home.agent("a").decide("credit", "prolonged", evidence=decision)
        assert players.judge(players.hand_over(home, later)).verdict == "valid"
        with pytest.raises(Refusal, match="TSLG-A-CLASSES"):
            home.agent("a").decide("credit", "unfounded", evidence=[])
    told = command("shards", "crossings", to_text(decision.id), "--data", tmp_path / "node")["crossings"]
    assert told and all(one["holds"] for one in told)
    assert command("fsck", "--data", tmp_path / "node")["problems"] == []
    shards = sorted((tmp_path / "node" / "shards").rglob("*.sqlite"))
    assert len(shards) == 3
    for path in shards:
        data = path.read_bytes()
        path.write_bytes(data.replace(b"application", b"applicatiom"))
    assert command("fsck", "--data", tmp_path / "node", code=1)["problems"]
    assert "TSLG-D-SHARDS" in run("fsck", "--repair", "--data", tmp_path / "node").stderr
    assert "TSLG-D-MISSING" in run("fsck", "--repair", "--data", tmp_path / "nowhere").stderr
    assert not (tmp_path / "nowhere").exists() and not (tmp_path / "node" / "tslg.sqlite").exists()
    verify = ("verify", to_text(decision.id), "--data", tmp_path / "node")
    if "merkle" in entries:
        undisclosed = {one["record"] for one in command(*verify)["undisclosed"]}
        assert undisclosed == {to_text(one.id) for one in seen}, "what does not hold is not shown"
    else:
        assert command(*verify, code=1)["verdict"] == "invalid"


@others
def test_a_genesis_that_two_federations_attest(entries, tmp_path):
    ours = Players(tmp_path / "ours", manifest(f'classes = ["ours"]\n{entries}'))
    theirs = founded(manifest('classes = ["theirs"]'), "theirs")
    with ours.node("node") as home:
        key = home.request_agent("both", federations=[theirs.manifest.id])
        request = geneses.propose_genesis(key.genesis, key.key, ours.root[0], [theirs.manifest_record])
        sealed = geneses.sign_and_combine(request, [*ours.founded.anchor_keys, *theirs.anchor_keys])
        alone = seal.encode([one for one in seal.parse(sealed).signatures if one.kid != theirs.manifest.id], many=True)
        with pytest.raises(Refusal, match="TSLG-A-SEAL"):
            home.join_agent(key, alone)
        agent = home.join_agent(key, sealed)
        car = ours.hand_over(home, triage(agent)[1])
    assert ours.judge(car).verdict == "valid"
    root = tmp_path / "theirs.sealed"
    root.write_bytes(encode_sealed(theirs.manifest_record.data, theirs.seal))
    said = command("federation", "attested", car, "--log", root)
    assert {one["federation"]: one["holds"] for one in said["attested"]}[to_text(theirs.manifest.id)] is True
    assert {to_text(agent.id), to_text(ours.federation)} == {said["agent"], said["manifest"]}
    strangers = founded(manifest('classes = ["nobody\'s"]'), "nobody")
    root.write_bytes(encode_sealed(strangers.manifest_record.data, strangers.seal))
    command("federation", "attested", car, "--log", root, code=1)

    def theirs_left_out(records):
        return [(id, data, alone if id == agent.id else own) for id, data, own in records]

    assert codes(ours.judge(rewritten(car, records=theirs_left_out))) == {"TSLG-A-SEAL"}


def test_ids_of_two_hashes(tmp_path):
    players = Players(tmp_path, manifest('address = { hybrid = "sha3-256" }'))
    with players.node("node") as home:
        agent = home.agent("a")
        decision = triage(agent)[1]
        car = players.hand_over(home, decision)
        assert players.judge(car).verdict == "valid"
        with lawless(home, preds_hash=None):
            other = players.palm_off(home, agent.observe("under one hash"))
    assert hash_name(decision.id) == "sha2-256+sha3-256" and hash_name(players.federation) == "sha2-256"
    assert codes(players.judge(other)) == {"TSLG-A-HASH"}
    assert players.judge(altered(car, b"urgent", b"scarce")).verdict == "invalid"
    with pytest.raises(BundleError):
        bundle.read(io.BytesIO(car.read_bytes()[:-20]))


def half_sealed(record_id):
    """Leave out the second half of one record's seal."""

    def change(records):
        return [
            (id, data, seal.encode(seal.parse(own).signatures[:1]) if id == record_id else own)
            for id, data, own in records
        ]

    return change


def test_a_post_quantum_signature_beside_the_other(tmp_path):
    players = Players(tmp_path, manifest("post_quantum = true"))
    with players.node("node") as home:
        agent = home.agent("a")
        decision = triage(agent)[1]
        assert [one.alg for one in seal.parse(home.store.get(decision.id).seal).signatures] == [-19, -49]
        car = players.hand_over(home, decision)
    assert players.judge(car).verdict == "valid"
    half = rewritten(car, records=half_sealed(decision.id))
    assert codes(players.judge(half)) == {"TSLG-A-SEAL"}
    strict = ("verify", car, "--federation", to_text(players.federation), "--require-post-quantum")
    assert command(*strict)["verdict"] == "valid"
    plain = Players(tmp_path / "plain", manifest())
    with plain.node("node") as home:
        classical = plain.hand_over(home, triage(home.agent("a"))[1])
    said = command("verify", classical, "--federation", to_text(plain.federation), "--require-post-quantum", code=1)
    assert {finding["code"] for finding in said["findings"]} == {"TSLG-V-POST-QUANTUM"}


# --- all at once -----------------------------------------------------------------------------------------------------

EVERYTHING = """hash = "sha2-512"
address = "merkle"
edges = "typed"
post_quantum = true
signatures = ["Ed25519", "ES256K"]
fan_in = { min = 1, max = 32 }
verify_depth = 40
anchoring = {}
classes = ["internal"]
tiers = ["low", "high"]
cross_agent = { kinds = ["action", "decision", "delegation", "policy"]}
clock_skew_ms = 60000"""


@pytest.fixture
def everything(tmp_path):
    """A federation that uses all of it, its node, and a decision that rests on all of it."""
    players = Players(tmp_path, manifest(EVERYTHING))
    rules = [{"acts": ["corrects"], "kinds": ["observation"], "by": "author"}]
    policy = players.record("correction-policy", {"name": "corrections", "rules": rules})
    players.amend(f'{EVERYTHING}\ncorrections = {{ policy = "{to_text(policy.id)}" }}')
    with players.node("node") as home:
        boss, hand = home.agent("boss"), home.create_agent("hand", alg=-47)
        grant = boss.policy("grant", capabilities=["look"], classes=["internal"], tiers=["low"])
        task = boss.delegate(hand.id, {"look": "around"}, grant, expires=2**52)
        seen = hand.observe("sensor", {"n": 2}, delegation=task)
        fixed = hand.correct(seen, {"n": 3}, reason="misread")
        scope = {"uses": ["look"], "class_": "internal", "tier": "low"}
        found = hand.decide("find", "it", evidence=fixed, delegation=task, counters=seen, **scope)
        made = boss.decide("accept", "yes", evidence=found)
        yield players, home, made, seen


def test_everything_at_once(everything):
    players, home, made, seen = everything
    car = players.hand_over(home, made)
    report = players.judge(car)
    assert (report.verdict, report.frontier, hash_name(made.id)) == ("valid", (), "sha2-512")
    assert players.judge(rewritten(car, records=half_sealed(seen.id))).verdict == "invalid"
    some = players.judge(players.hand_over(home, made, shown=withholding(["*/*"])))
    assert some.verdict == "valid" and seen.id in {one.record for one in some.undisclosed}
    with pytest.raises(Refusal, match="TSLG-A-CORRECTION"):
        home.agent("boss").correct(made, {"n": 9}, reason="because")
    with pytest.raises(UsageError, match="no keys of"):
        home.create_agent("third", alg=-49)


async def test_everything_at_once_over_a_real_network(everything, tmp_path):
    """A stranger, who has the federation's manifest and an address, over libp2p on this machine."""
    players, home, made, seen = everything
    home.close()
    root = tmp_path / "root.sealed"
    root.write_bytes(encode_sealed(players.root[0].data, players.root[1]))
    async with (
        Node.open(tmp_path / "node", listen=LOOPBACK, withhold=["observation/*"]) as serving,
        Node.open(tmp_path / "stranger", federation=root, listen=LOOPBACK) as stranger,
    ):
        report = await stranger.fetch(made.id, serving.addresses)
        assert (report.verdict, report.frontier) == ("valid", ())
        assert seen.id in {one.record for one in report.undisclosed}
        assert stranger.home.store.has(seen.id)
        assert stranger.home.store.get(made.id).attachment is not None
        strict = await stranger.auditor().audit(made.id, serving.addresses, post_quantum=True)
        assert strict.verdict == "valid"


async def test_everything_at_once_from_a_node_that_swapped_a_seal(everything, tmp_path):
    players, home, made, seen = everything
    home.close()
    with sqlite3.connect(tmp_path / "node" / "tslg.sqlite") as db:
        swap = "UPDATE record SET seal = (SELECT seal FROM record WHERE cid = ?) WHERE cid = ?"
        assert db.execute(swap, (bytes(made.id), bytes(seen.id))).rowcount == 1
    root = tmp_path / "root.sealed"
    root.write_bytes(encode_sealed(players.root[0].data, players.root[1]))
    async with (
        Node.open(tmp_path / "node", listen=LOOPBACK) as serving,
        Node.open(tmp_path / "stranger", federation=root, listen=LOOPBACK) as stranger,
    ):
        report = await stranger.fetch(made.id, serving.addresses)
        assert report.verdict == "invalid" and codes(report) == {"TSLG-A-SEAL"}
        assert not stranger.home.store.has(seen.id), "nothing of it is kept"


# --- any with any ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("post_quantum", ["false", "true"])
@pytest.mark.parametrize("address", ['"flat"', '"merkle"', '{ hybrid = "blake3" }'])
@pytest.mark.parametrize("edges", ["typed", "flat"])
def test_any_edges_with_any_address_and_seal(edges, address, post_quantum, tmp_path):
    entries = f'edges = "{edges}"\naddress = {address}\npost_quantum = {post_quantum}'
    players = Players(tmp_path, manifest(entries))
    with players.node("node") as home:
        boss, hand = home.agent("boss"), home.agent("hand")
        grant = boss.policy("grant", capabilities=["look"])
        task = boss.delegate(hand.id, {}, grant, expires=players.clock() + 10**6)
        scan, wrong = hand.observe("scan"), hand.observe("scan", {"n": 1})
        nothing = hand.observe("log", sought="a login")
        fixed = hand.correct(wrong, {"n": 2}, reason="misread")
        found = hand.decide("find", "it", evidence=[scan, fixed], delegation=task, absence=nothing, uses=["look"])
        gone = hand.retract(wrong, reason="not needed")
        request = boss.propose_joint("go", [hand.id, boss.id], 2)
        joint = boss.record_joint(request, [(one.name, one.sign_joint(request)) for one in (hand, boss)])
        proposal = boss.propose("set", {"n": 1}, electorate=[boss.id, hand.id], threshold=2)
        agreed = boss.conclude(proposal, [boss.vote(proposal, "for"), hand.vote(proposal, "for")])
        state = boss.state({"n": 1}, consensus=agreed, joint=joint, evidence=[found, gone])
        summed = hand.summary(1, scan.seq + 1, parts=[scan])
        assert players.judge(players.hand_over(home, summed)).verdict == "valid"
        car = players.hand_over(home, state)
        rotated = boss.rotate()
        after = boss.state({"n": 2})
        again = players.hand_over(home, after)
    report = players.judge(car)
    assert report.verdict == "valid" and {nothing.id, scan.id, fixed.id, gone.id} <= report.records.keys()
    assert players.judge(again).verdict == "valid" and after.key == rotated.id
    assert players.judge(rewritten(car, records=half_sealed(found.id))).verdict == (
        "valid" if post_quantum == "false" else "invalid"
    )
    assert players.judge(altered(car, b"misread", b"mislaid")).verdict == "invalid"
