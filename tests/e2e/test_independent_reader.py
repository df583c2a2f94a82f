"""Two programs, one written from docs/spec alone, agree on bundles: on good ones and on tampered ones."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import federations
import independent_reader
import pytest
from both_readers import NOW, agreed, ours, theirs
from federations import DAY, START, Federation, Log, policy_body, rebuilt, seeded, without
from nacl.signing import SigningKey

from tslg.node.sources import BundleSource
from tslg.node.verifying import verify
from tslg.protocol import bundle, cid, codec, record, seal
from tslg.protocol.record import Edge

own, foreign = Log.own, Log.foreign


@pytest.fixture(scope="module")
def world() -> Federation:
    return Federation()


def test_it_shares_no_code_with_tslg():
    for path in Path(independent_reader.__file__).parent.glob("independent_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "tslg"], path.name


def test_a_good_bundle_is_valid_to_both(world):
    assert agreed(world.bundle(world.target), world.root.id) == ("valid", set())
    assert agreed(world.bundle(world.target, heads=False), world.root.id) == ("valid", set())


@pytest.mark.spec("VER-3", "VER-5")
@pytest.mark.parametrize("depth", [0, 1, 3, 10, 24, 25, 26])
def test_both_traverse_the_same_edges(world, depth):
    data = world.bundle(world.target)
    held = bundle.read(io.BytesIO(data))
    report = verify(BundleSource(held), world.target.id, world.root.id, now_ms=NOW, depth=depth)
    document = independent_reader.read_file(data, world.root.id, NOW, depth)
    assert report.verdict == document["verdict"]
    assert report.edges == document["targets"][0]["edges"] == min(depth, 25)


@pytest.mark.thorough
def test_the_program_runs_alone(world, tmp_path):
    path = tmp_path / "demo.car"
    path.write_bytes(world.bundle(world.target))
    command = [sys.executable, independent_reader.__file__, str(path), "--now", str(NOW)]
    done = subprocess.run([*command, "--federation", cid.to_text(world.root.id)], capture_output=True, check=False)
    assert done.returncode == 0 and json.loads(done.stdout)["verdict"] == "valid"
    path.write_bytes(path.read_bytes()[:-1])
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 1 and json.loads(done.stdout)["findings"] == {"bundle": "TSLG-B-TRUNCATED"}


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("VER-18", "BUN-9")
def test_altered_bytes_are_invalid_to_both(world):
    data = world.bundle(world.target)
    for position in range(60, len(data), 331):
        altered = data[:position] + bytes((data[position] ^ 1,)) + data[position + 1 :]
        assert agreed(altered, world.root.id)[0] == "invalid", position


@pytest.mark.spec("VER-17", "BUN-10")
@pytest.mark.parametrize(
    "name", ["target", "action", "narrow", "delegation", "policy", "charter", "current", "rotation"]
)
def test_what_is_left_out_is_undetermined_to_both(world, name):
    data = world.bundle(world.target)
    assert agreed(without(data, getattr(world, name).id), world.root.id) == ("undetermined", set())


@pytest.mark.spec("BUN-11", "MAN-2")
def test_another_federation_is_invalid_to_both(world):
    other = cid.compute(b"another federation")
    data = world.bundle(world.target)
    assert ours(data, other)[0] != "valid" and theirs(data, other)[0] == "invalid"


@pytest.mark.spec("VER-19")
@pytest.mark.parametrize("proofs", ["inclusion", "consistency"])
def test_missing_and_wrong_proofs_prove_nothing_to_both(world, proofs):
    data = world.bundle(world.target, heads=False)
    assert agreed(rebuilt(data, **{proofs: lambda given: []}), world.root.id) == ("undetermined", set())

    def spoiled(given):
        return [entry._replace(proof=(bytes(32), *entry.proof[1:])) for entry in given]

    assert agreed(rebuilt(data, **{proofs: spoiled}), world.root.id) == ("undetermined", set())


# --- records that break a rule, sealed by their author ---------------------------------------------------------------


def decide(world: Federation, log: Log | None = None, *, body=None, preds=None, **changes):
    """A decision of A, or of another log, as the target."""
    log = log or world.a
    edges = {"policy": [own(world.policy)], "evidence": [foreign(world.action)]} | (preds or {})
    return log.add("decision", edges, {"name": "pay", "outcome": "yes"} | (body or {}), **changes)


def inferred(world: Federation, kind="inference", **claims):
    """A model's step of A's that claims something under its policy."""
    body = {"model": "m", "model_version": "1", "inputs": {}, "intent": "act", "output": bytes(32)} | claims
    governed = {"class": "low", "tier": "basic"}
    more = {"stage": "scope", "reason": "beyond the policy"} if kind == "rejection" else governed | claims
    return world.a.add(kind, {"policy": [own(world.policy)], "prior": [own(world.a.last)]}, body | more)


def act(world: Federation, *, preds=None, body=None, **changes):
    """An action of B under A's delegation, as the target."""
    return world.b.add("action", world.under() | (preds or {}), world.action_body(**(body or {})), **changes)


def a_policy(world: Federation, **changes):
    edges = {"prior": [own(world.a.last)], "policy": [own(world.policy)]}
    return world.a.add("policy", edges, policy_body("A's next", limits={"usd": 5}, **changes))


def delegate(world: Federation, grant=None, **changes):
    return world.a.add(
        "delegation", {"policy": [own(world.policy)]}, world.delegation_body(grant or world.policy, **changes)
    )


def pass_on(world: Federation, **changes):
    """B passes A's delegation on to A."""
    body = {"delegate": world.a.owner, "task": {}, "grant": world.narrow.id, "hops": 0, "expires": START + 5 * DAY}
    return world.b.add("delegation", world.under(), body | changes)


def too_early(world: Federation):
    made = a_policy(world, not_before=START + DAY)
    return decide(world, preds={"policy": [own(made)]})


def forged(world: Federation):
    made = decide(world)
    world.a.seals[made.id] = seal.encode([federations.key_sign(SigningKey(seeded("thief")), made.data, world.a.owner)])
    return made


def resealed(world: Federation, entries):
    made = decide(world)
    world.a.seals[made.id] = entries(made)
    return made


def wrong_log(world: Federation):
    made = decide(world)
    world.a.add(
        "state", {"prior": [own(made)]}, {"data": {}}, log=record.Head(len(world.a.records), bytes(32)), time=made.time
    )
    return decide(world, preds={"prior": [own(world.a.last)]})


def wrong_prev(world: Federation):
    made = decide(world, prev=world.a.records[3].id)
    before = world.a.records[made.seq - 1]
    return decide(world, preds={"prior": [own(made), own(before)]})


def backwards(world: Federation):
    before = world.a.last
    made = decide(world, time=before.time - 1)
    return decide(world, preds={"prior": [own(made), own(before)]})


def fork(world: Federation):
    """Two decisions at one position, both cited by what B does next."""
    one = decide(world)
    world.loose[one.id] = world.a.records.pop()
    two = decide(world, body={"outcome": "no"})
    edges = {"prior": [own(world.b.last)], "evidence": [foreign(one), foreign(two)]}
    return world.b.add("observation", edges, {"source": "A"})


def with_registration(world: Federation, body: dict):
    world.a.add("registration", {"prior": [own(world.a.last)]}, body)
    return decide(world, preds={"prior": [own(world.a.last)]})


def signing(key: bytes, **changes) -> dict:
    return {"purpose": "signing", "alg": -19, "key": key, "binding": "tenant"} | changes


def of_another_federation(world: Federation):
    """A record under the manifest of another federation, which is there and holds in itself."""
    body = {**world.root.body, "nonce": seeded("another nonce", 16)}
    other = Log("another federation").make("manifest", {}, body)
    world.loose[other.id] = other
    entry = federations.anchors_sign(other.data, federations.THRESHOLD, other.id, many=False)
    world.log.seals[other.id] = seal.encode([entry])
    return decide(world, manifest=other.id)


def unregistered_key(world: Federation):
    """A record that names a record which holds no key."""
    made = world.a.add("state", {"prior": [own(world.a.last)]}, {"data": {}}, key=world.policy.id)
    world.a.seals[made.id] = seal.encode([federations.key_sign(world.a.key, made.data, world.policy.id)])
    return made


def verification(world: Federation, cited):
    body = {"target": world.action.id, "verdict": "valid", "depth": None, "signatures": "all", "edges": 1, "records": 1}
    body |= {"report": bytes(32), "frontier": []}
    return world.a.add("verification", {"evidence": [foreign(cited)]}, body)


def lonely_policy(world: Federation):
    """B acts under A's policy without the delegation."""
    body = world.action_body()
    del body["principal"]
    return world.b.add("action", {"policy": [foreign(world.policy)]}, body)


def own_policy(world: Federation, **preds):
    """B acts for A under a policy that B gave itself."""
    mine = world.b.add("policy", {"prior": [own(world.b.last)]}, policy_body("own", limits={"usd": 5}))
    return world.b.add("action", {"policy": [own(mine)], **preds}, world.action_body(uses=["read"]))


def unbacked(world: Federation):
    """B cites its narrow policy, but not the delegation behind it."""
    body = world.action_body()
    del body["principal"]
    return world.b.add("action", {"policy": [own(world.narrow)]}, body)


def stretched(world: Federation):
    """B gives itself a policy under the delegation that lasts longer than the delegation."""
    body = policy_body("long", limits={"usd": 1}, not_after=START + 20 * DAY)
    return world.b.add("policy", world.under(prior=[own(world.b.last)]) | {"policy": [foreign(world.policy)]}, body)


def not_canonical(world: Federation):
    """A sealed record whose bytes end with one byte too many."""
    made = decide(world)
    data = made.data + b"\x00"
    id = cid.compute(data)
    world.a.records[-1] = made._replace(id=id, data=data)
    world.a.seals[id] = seal.encode([federations.key_sign(world.a.key, data, world.a.key_record)])
    return world.a.last


def altered_value(world: Federation, change):
    """A sealed record that was changed as a value: canonical, but not a record."""
    made = decide(world)
    value = codec.decode(made.data)
    change(value)
    data = codec.encode(value)
    id = cid.compute(data)
    world.a.records[-1] = made._replace(id=id, data=data)
    world.a.seals[id] = seal.encode([federations.key_sign(world.a.key, data, world.a.key_record)])
    return world.a.last


def sign_by(world: Federation, made, **changes):
    entry = federations.key_sign(world.a.key, made.data, world.a.owner)
    return seal.encode([entry._replace(**changes)])


CASES = {
    "scope: capability": (lambda w: decide(w, body={"uses": ["erase"]}), "SCOPE"),
    "scope: a model's step": (lambda w: inferred(w, uses=["erase"]), "SCOPE"),
    "scope: amount": (lambda w: decide(w, body={"spends": {"usd": 51}}), "SCOPE"),
    "scope: another amount": (lambda w: decide(w, body={"spends": {"eur": 1}}), "SCOPE"),
    "scope: class": (lambda w: decide(w, body={"class": "none"}), "SCOPE"),
    "scope: tier": (lambda w: decide(w, body={"tier": "none"}), "SCOPE"),
    "scope: of the delegate": (lambda w: act(w, body={"spends": {"usd": 11}}), "SCOPE"),
    "window": (too_early, "WINDOW"),
    "widened: capabilities": (lambda w: a_policy(w, capabilities=["erase", "read"]), "WIDENED"),
    "widened: limits": (
        lambda w: w.a.add(
            "policy", {"prior": [own(w.a.last)], "policy": [own(w.policy)]}, policy_body("wide", limits={"usd": 51})
        ),
        "WIDENED",
    ),
    "widened: window": (lambda w: a_policy(w, not_after=None), "WIDENED"),
    "vocabulary": (lambda w: w.a.add("policy", {"prior": [own(w.a.last)]}, policy_body("x", tiers=["?"])),
                   "VOCABULARY"),
    "delegate: another": (
        lambda w: w.a.add("state", {"prior": [own(w.a.last)], "delegation": [foreign(pass_on(w, delegate=w.root.id))]},
                          {"data": {}}),
        "DELEGATE",
    ),
    "delegate: itself": (lambda w: delegate(w, delegate=w.a.owner), "DELEGATE"),
    "expired: when made": (lambda w: delegate(w, expires=START), "EXPIRED"),
    "expired: passed on": (lambda w: pass_on(w, expires=START + 11 * DAY), "EXPIRED"),
    "expired: policy": (stretched, "EXPIRED"),
    "hops": (lambda w: delegate(w, hops=33), "HOPS"),
    "hops: passed on": (lambda w: pass_on(w, hops=1), "HOPS"),
    "grant: not held": (lambda w: delegate(w, w.narrow), "GRANT"),
    "grant: no delegation": (lonely_policy, "GRANT"),
    "grant: not behind it": (lambda w: own_policy(w, delegation=[foreign(w.delegation)]), None),
    "grant: not cited": (unbacked, "GRANT"),
    "principal": (own_policy, "PRINCIPAL"),
    "classes: missing": (lambda w: w.a.add("decision", {"policy": [own(w.policy)]}, {"name": "x", "outcome": "y"}),
                         "CLASSES"),
    "classes: forbidden": (lambda w: decide(w, preds={"amends": [own(w.policy)]}), "CLASSES"),
    "issuer": (lambda w: w.log.add("state", {"prior": [own(w.log.last)]}, {"data": {}}), "ISSUER"),
    "manifest: unknown": (lambda w: decide(w, manifest=w.policy.id), "MANIFEST"),
    "manifest: of another federation": (of_another_federation, "ISSUER"),
    "manifest: null": (lambda w: decide(w, manifest=None), "MANIFEST"),
    "hash": (lambda w: decide(w, hash_name="blake3"), "HASH"),
    "fan-in": (lambda w: decide(w, preds={"prior": [own(r) for r in w.a.records[:7]]}), "FAN-IN"),
    "clock": (lambda w: w.a.state(time=NOW + 60_001), "CLOCK"),
    "edge owner: own": (lambda w: decide(w, preds={"evidence": [own(w.action)]}), "EDGE-OWNER"),
    "edge owner: foreign": (
        lambda w: decide(w, preds={"evidence": [Edge(w.action.id, w.root.id, None)]}), "EDGE-OWNER"),
    "edge owner: foreign but own": (
        lambda w: decide(w, preds={"evidence": [Edge(w.policy.id, w.a.owner, None)]}), "EDGE-OWNER"),
    "edge kind: prior": (lambda w: decide(w, preds={"prior": [foreign(w.action)]}), "EDGE-KIND"),
    "edge kind: policy": (lambda w: decide(w, preds={"policy": [own(w.a.last)]}), "EDGE-KIND"),
    "edge kind: delegation": (lambda w: decide(w, preds={"delegation": [foreign(w.action)]}), "EDGE-KIND"),
    "cross-agent": (lambda w: decide(w, preds={"evidence": [foreign(w.seen)]}), "CROSS-AGENT"),
    "registration: low order": (lambda w: with_registration(w, signing(bytes(32))), "REGISTRATION"),
    "registration: algorithm": (lambda w: with_registration(w, signing(bytes(w.a.key.verify_key), alg=-47)),
                                "REGISTRATION"),
    "registration: both": (lambda w: with_registration(w, signing(bytes(w.a.key.verify_key), peer_id=b"p")),
                           "REGISTRATION"),
    "registration: peer": (lambda w: with_registration(w, {"purpose": "peer", "peer_id": b"", "addresses": []}),
                           "REGISTRATION"),
    "target": (lambda w: verification(w, w.narrow), "TARGET"),
    "key: null": (lambda w: decide(w, key=None), "KEY"),
    "key: another's": (lambda w: decide(w, key=w.b.owner), "KEY"),
    "key: none there": (unregistered_key, "KEY"),
    "seal: forged": (forged, "SEAL"),
    "seal: empty": (lambda w: resealed(w, lambda made: b""), "SEAL"),
    "seal: two": (lambda w: resealed(w, lambda m: seal.encode([federations.key_sign(w.a.key, m.data, w.a.owner)] * 2)),
                  "SEAL"),
    "seal: other form": (
        lambda w: resealed(w, lambda m: seal.encode(
            [federations.key_sign(w.a.key, m.data, w.a.owner, many=True)], many=True)), "SEAL"),
    "seal: kid": (lambda w: resealed(w, lambda m: sign_by(w, m, kid=bytes(w.b.owner))), "SEAL"),
    "seal: algorithm": (lambda w: resealed(w, lambda m: sign_by(w, m, alg=-47)), "SEAL"),
    "seal: bitmap": (lambda w: resealed(w, lambda m: sign_by(w, m, bitmap=b"\x01")), "SEAL"),
    "log root": (wrong_log, "HEAD"),
    "prev": (wrong_prev, "PREV"),
    "time": (backwards, "TIME"),
    "fork": (fork, "V-FORK"),
    "bytes: trailing": (not_canonical, "C"),
    "bytes: key missing": (lambda w: altered_value(w, lambda v: v.pop("time")), "R"),
    "bytes: key unknown": (lambda w: altered_value(w, lambda v: v.update(more=1)), "R"),
    "bytes: version": (lambda w: altered_value(w, lambda v: v.update(v=2)), "R"),
    "bytes: kind": (lambda w: altered_value(w, lambda v: v.update(kind="wish")), "R"),
    "bytes: body": (lambda w: altered_value(w, lambda v: v["body"].update(more=1)), "R"),
    "bytes: body type": (lambda w: altered_value(w, lambda v: v["body"].update(uses=["b", "a"])), "R"),
    "bytes: body missing": (lambda w: altered_value(w, lambda v: v["body"].pop("name")), "R"),
    "bytes: size": (lambda w: altered_value(w, lambda v: v["log"].update(size=1)), "R"),
    "bytes: first": (lambda w: altered_value(w, lambda v: v.update(seq=0)), "R"),
    "bytes: class": (lambda w: altered_value(w, lambda v: v["preds"].update(friends=[{"cid": w.root.id}])), "R"),
    "bytes: empty class": (lambda w: altered_value(w, lambda v: v["preds"].update(prior=[])), "R"),
    "bytes: edge order": (
        lambda w: altered_value(w, lambda v: v["preds"].update(evidence=v["preds"]["evidence"] * 2)), "R"),
    "bytes: edge key": (lambda w: altered_value(w, lambda v: v["preds"]["policy"][0].update(more=1)), "R"),
    "bytes: raw link": (lambda w: altered_value(w, lambda v: v.update(prev=cid.compute_raw(b""))), "R"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_broken_rule_is_found_by_both(world, name):
    make, code = CASES[name]
    changed = world.clone()
    target = make(changed)
    verdict, codes = agreed(changed.bundle(target, heads=False), changed.root.id)
    assert verdict == "invalid"
    if code is not None:
        expected = code if code in "CR" else code if code.startswith("V-") else f"A-{code}"
        assert codes == {f"TSLG-{expected}"}


@pytest.mark.parametrize(
    "make",
    [decide, act, a_policy, delegate, pass_on, lambda w: verification(w, w.action), lambda w: w.b.state()],
)
def test_the_same_records_kept_to_the_rules_are_valid_to_both(world, make):
    changed = world.clone()
    assert agreed(changed.bundle(make(changed), heads=False), changed.root.id) == ("valid", set())


# --- federations that break a rule -----------------------------------------------------------------------------------


def anchors_with(declared: int, **changes) -> dict:
    return {"anchors": federations.anchors(declared) | changes}


def member_with(**changes) -> dict:
    first, *rest = federations.anchors(federations.MULTISIG)["members"]
    return anchors_with(federations.MULTISIG, members=[first | changes, *rest])


def share_with(**changes) -> dict:
    first, *rest = federations.anchors(federations.THRESHOLD)["members"]
    return anchors_with(federations.THRESHOLD, members=[first | changes, *rest])


FEDERATIONS = {
    "possession": ({"amended": member_with(possession=federations.anchors(-70002)["members"][1]["possession"])},
                   "ANCHORS"),
    "possession of a root's multisig": (
        {"root": member_with(possession=federations.anchors(-70002)["members"][1]["possession"])}, "ANCHORS"),
    "possession of shares in an amendment": ({"amended": share_with(possession=bytes(96))}, "ANCHORS"),
    "possession of shares in a root": ({"root": share_with(possession=bytes(96))}, None),
    "key": ({"amended": member_with(key=bytes((0xC0,)) + bytes(47))}, "ANCHORS"),
    "name": ({"amended": member_with(name="anchor 1")}, "ANCHORS"),
    "threshold": ({"amended": anchors_with(-70002, threshold=4)}, "ANCHORS"),
    "scheme": ({"amended": anchors_with(-70002, scheme=-70003)}, "ANCHORS"),
    "group key of multisig": ({"amended": anchors_with(-70002, group_key=bytes(48))}, "ANCHORS"),
    "shares of another degree": (
        {"root": anchors_with(-70001, threshold=3) | {"envelope": federations.envelope(genesis={"anchors": 3})}},
        "ANCHORS",
    ),
    "genesis anchors": ({"root": {"envelope": federations.envelope(genesis={"anchors": 1})}}, "ANCHORS"),
    "another group key": ({"root": anchors_with(-70001, group_key=federations.anchors(-70001)["members"][0]["key"])},
                          "ANCHORS"),
    "envelope": ({"amended": {"envelope": federations.envelope(address="tree")}}, "ANCHORS"),
    "reserved": ({"amended": {"envelope": federations.envelope(gc={"horizon": 1})}}, "ANCHORS"),
    "version": ({"amended": {"version": 3}}, "VERSION"),
    "root version": ({"root": {"version": 2}}, "VERSION"),
    "one signer": ({"signers": (1,)}, "SEAL"),
    "no such signer": ({"signers": (0, 1)}, None),
}  # fmt: skip


@pytest.mark.spec("MAN-3", "MAN-4", "MAN-5", "MAN-6", "MAN-7", "MAN-8", "MAN-9", "MAN-10", "MAN-15")
@pytest.mark.parametrize("name", FEDERATIONS)
def test_a_broken_federation_is_found_by_both(name):
    changes, code = FEDERATIONS[name]
    broken = Federation(**changes)
    verdict, codes = agreed(broken.bundle(broken.target, heads=False), broken.root.id)
    if code is None:
        assert (verdict, codes) == ("valid", set())
    else:
        assert verdict == "invalid" and codes == {f"TSLG-A-{code}"}


# --- heads -----------------------------------------------------------------------------------------------------------


def test_a_head_under_a_newer_key_that_is_not_there_does_no_harm(world):
    changed = world.clone()
    log, fresh = changed.a, SigningKey(seeded("second key of A"))
    registration = log.add("registration", {"prior": [own(log.last)]}, signing(bytes(fresh.verify_key)))
    log.key, log.key_record = fresh, registration.id
    log.state()
    log.state()
    assert agreed(changed.bundle(changed.target), changed.root.id) == ("valid", set())


@pytest.mark.parametrize("make", [forged, lambda w: decide(w, body={"uses": ["erase"]}), lambda w: decide(w, key=None)])
def test_a_head_that_breaks_a_rule_does_no_harm(world, make):
    changed = world.clone()
    make(changed)
    assert agreed(changed.bundle(changed.target), changed.root.id) == ("valid", set())


def test_a_head_that_forks_the_log_is_found_by_both(world):
    changed = world.clone()
    log = changed.a
    while log.last.id != changed.target.id:
        log.records.pop()
    honest = log.records.pop()
    made = decide(changed, body={"outcome": "no"})
    data = changed.bundle(made)
    log.records[-1] = honest
    other = changed.bundle(honest)
    heads = [head for head in bundle.read(io.BytesIO(other)).heads if head.agent == log.owner]
    pair = (honest.id, honest.data, log.seals[honest.id])
    forked = rebuilt(data, heads=lambda given: heads, records=lambda given: [*given, pair])
    assert agreed(forked, changed.root.id) == ("invalid", {"TSLG-V-FORK"})


def test_both_read_what_a_real_node_exports(tmp_path: Path) -> None:
    from tslg.node.bundling import write_walked
    from tslg.node.home import Home
    from tslg.node.sources import StoreSource
    from tslg.node.verifying import walk

    with Home.open(tmp_path / "home", clock=lambda: NOW) as home:
        boss, hand = home.agent("boss"), home.agent("hand")
        grant = boss.policy("grant", capabilities=["look"], limits={"cost": 3})
        task = boss.delegate(hand.id, {"look": "around"}, grant, expires=NOW + DAY)
        seen = [hand.observe("sensor", {"n": n}, delegation=task) for n in range(9)]
        found = hand.decide("find", "it", evidence=seen[2:5], delegation=task, uses=["look"], spends={"cost": 2})
        target = boss.decide("accept", "yes", evidence=found)
        for depth in (None, 7):
            walked = walk(StoreSource(home.store), target.id, home.federation, now_ms=NOW, depth=depth)
            stream = io.BytesIO()
            write_walked(stream, walked)
            assert agreed(stream.getvalue(), home.federation, depth=depth) == ("valid", set())


def test_both_refuse_claims_that_no_policy_covers(world: Federation) -> None:
    world = world.clone()
    claim = world.a.add("state", {"prior": [own(world.a.last)]}, {"data": {}, "uses": ["anything"]})
    assert agreed(world.bundle(claim), world.root.id) == ("invalid", {"TSLG-A-SCOPE"})


@pytest.mark.spec("DEL-2")
def test_both_admit_that_something_beyond_the_policy_was_rejected(world: Federation) -> None:
    world = world.clone()
    assert agreed(world.bundle(inferred(world, "rejection", uses=["erase"])), world.root.id) == ("valid", set())


def test_both_refuse_a_log_that_goes_back_to_an_older_manifest(world: Federation) -> None:
    world = world.clone()
    back = world.a.add("state", {"prior": [own(world.a.last)]}, {"data": {}}, manifest=world.root.id)
    assert agreed(world.bundle(back), world.root.id) == ("invalid", {"TSLG-A-ROLLBACK"})
