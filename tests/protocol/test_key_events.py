"""Keys come and go along a log: what a walk makes of rotation, revocation, recovery and another suite of algorithms."""

from __future__ import annotations

import io

import pytest
from breach import OPEN
from breaches_keys import BOTH, QUANTUM, RECOVERED, ROTATED
from hypothesis import given, settings
from hypothesis import strategies as st
from world import Supply, World

from tslg.manifests.agent_keys import SigningKey
from tslg.node.bundling import write_walked
from tslg.node.sources import BundleSource
from tslg.node.verifying import verify, walk
from tslg.protocol import bundle, endings, seal
from tslg.protocol.errors import Refusal
from tslg.protocol.proofs import HeadClaim
from tslg.protocol.walker import OutsideHead

pytestmark = pytest.mark.spec("KEY-1", "KEY-4", "KEY-7", "KEY-8", "KEY-9", "KEY-10", "KEY-11", "KEY-12", "KEY-13")

MODES = [{"signatures": s, "log": log} for s in ("all", "heads") for log in ("visited", "full")]


def codes(report):
    return sorted({finding.code for finding in report.findings})


def stolen(toml: str = OPEN) -> World:
    """An agent whose first key is revoked at position 3, and whose second one goes on; `w.policy` comes before."""
    w = World(toml)
    w.a, w.b = w.agent("a"), w.agent("b")
    w.first = w.a.key
    w.policy = w.add(w.a, "policy")
    w.second = w.rotate(w.a)
    w.revoked = w.revoke(w.a, w.first)
    w.after = w.add(w.a, "action", None, {"policy": [w.policy], "prior": [w.policy]})
    return w


def test_a_revocation_that_does_not_hold_ends_nothing():
    w = stolen()
    taken, _ = by_thief(w)
    assert [id for id, _ in endings.dead(w.a.log, lambda record: True)] == [taken.id]
    assert endings.dead(w.a.log, lambda record: record.id != w.revoked.id) == []


def by_thief(w: World):
    """Append an action with the revoked key, whatever the rules say, and one by the second key behind it."""
    taken = w.slip(w.a, "action", None, {"policy": [w.policy], "prior": [w.policy]}, key=w.first)
    return taken, w.add(w.a, "state", None, {"prior": [taken]})


@pytest.mark.parametrize("how", MODES, ids=str)
@pytest.mark.parametrize("toml", [OPEN, ROTATED, QUANTUM], ids=["open", "rotated", "quantum"])
def test_what_a_key_sealed_before_its_end_stays_valid(how, toml):
    w = stolen(toml)
    for target in (w.policy, w.after):
        report = w.verify(target, **how)
        assert report.verdict == "valid", report


@pytest.mark.parametrize("how", MODES, ids=str)
def test_what_a_revoked_key_seals_afterwards_is_a_finding(how):
    w = stolen()
    taken, built_on = by_thief(w)
    for target in (taken, built_on):
        report = w.verify(target, **how)
        assert codes(report) == ["TSLG-A-REVOKED"]
        assert [finding.record for finding in report.findings] == [taken.id]


def test_a_withheld_revocation_is_found_where_the_whole_log_is_read():
    w = stolen()
    _, built_on = by_thief(w)
    silent = w.supply()
    silent.revoking = {}
    assert w.verify(built_on, silent).verdict == "valid", "a bounded walk rests on what it is handed"
    assert codes(w.verify(built_on, silent, log="full")) == ["TSLG-A-REVOKED"]
    assert codes(w.verify(built_on, w.supply())) == ["TSLG-A-REVOKED"]
    silent.handed.pop(w.revoked.id)
    assert w.verify(built_on, silent, log="full").verdict == "undetermined"


def test_a_key_registered_by_a_revoked_one_is_no_way_round():
    w = stolen()
    record, key = w.registration(w.a, key=w.first)
    w.a.keys[record.id] = key
    w.put(record, w.seal(record, w.a), w.a)
    w.a.key = record.id
    taken = w.slip(w.a, "state", None, {"prior": [w.policy]})
    for how in MODES:
        report = w.verify(taken, **how)
        assert "TSLG-A-REVOKED" in codes(report)
        assert record.id in [finding.record for finding in report.findings]


def test_an_announced_end_takes_effect_at_its_position():
    w = World()
    a = w.agent("a")
    w.revoke(a, a.key, 4)
    last = [w.add(a, "state") for _ in range(2)][-1]
    assert last.seq == 3 and w.verify(last).verdict == "valid"
    late = w.slip(a, "state")
    assert codes(w.verify(late)) == ["TSLG-A-REVOKED"]


def test_an_end_can_be_brought_forward_but_not_put_off():
    w = World()
    a = w.agent("a")
    first = a.key
    w.rotate(a)
    w.revoke(a, first, 1_000_000)
    w.revoke(a, first)
    late = w.slip(a, "state", None, {"prior": [a.log[0]]}, key=first)
    assert codes(w.verify(late)) == ["TSLG-A-REVOKED"]
    with pytest.raises(Refusal, match="already"):
        w.revoke(a, first)


def test_the_last_key_may_end_and_nothing_comes_after():
    w = World()
    a = w.agent("a")
    end = w.revoke(a, a.key)
    assert w.verify(end).verdict == "valid"
    with pytest.raises(Refusal) as caught:
        w.add(a, "state")
    assert caught.value.code == "TSLG-A-REVOKED"


# --- what a liar hands over ------------------------------------------------------------------------------------------


def test_a_revocation_that_is_not_sealed_spoils_nothing():
    w = stolen()
    forged = w.make(w.a, "revocation", w.ending(w.a, w.second))
    w.held[forged.id], w.seals[forged.id] = forged, b"\xd2"
    for sealed in (b"\xd2", w.seal_agent(w.after, w.a.keys)):
        lying = w.supply()
        lying.handed[forged.id] = (forged.data, sealed)
        lying.revoking[w.a.owner] = [w.revoked.id, forged.id]
        for how in MODES:
            assert w.verify(w.after, lying, **how).verdict == "valid"


def test_a_revocation_in_another_agents_log_ends_nothing():
    w = stolen()
    foreign = w.slip(w.b, "revocation", w.ending(w.b, w.second, 0))
    lying = w.supply()
    lying.revoking[w.a.owner] = [foreign.id]
    assert w.verify(w.after, lying).verdict == "valid"
    assert w.verify(w.after, lying, log="full").verdict == "valid"
    assert codes(w.verify(foreign)) == ["TSLG-A-REVOCATION"]


def test_a_record_of_another_kind_is_no_revocation():
    w = stolen()
    lying = w.supply()
    lying.revoking[w.a.owner] = [w.policy.id, w.b.owner, w.second.id]
    assert w.verify(w.after, lying).verdict == "valid"


def test_a_newest_record_by_a_revoked_key_does_not_count():
    w = stolen()
    honest = w.verify(w.after)
    w.slip(w.a, "state", key=w.first)
    report = w.verify(w.after)
    assert report.verdict == "valid" and report.records.keys() == honest.records.keys()
    assert [f.size for f in report.freshness] == [w.after.seq + 1]


def test_a_thiefs_branch_is_never_valid_beside_the_revocation():
    """The thief goes on from before the revocation: whoever sees both branches sees a fork."""
    w = World()
    a = w.agent("a")
    first, policy = a.key, w.add(a, "policy")
    w.rotate(a)
    thief = a.fork(len(a.log))
    w.revoke(a, first)
    w.add(a, "state")
    end = len(a.log), a.tree.root()
    thief.key = first
    for _ in range(3):
        taken = w.make(thief, "action", None, {"policy": [policy], "prior": [policy]})
        w.held[taken.id], w.seals[taken.id] = taken, w.seal(taken, thief)
        thief.push(taken)
    pairs = {record.id: (record.data, w.seals[record.id]) for record in w.held.values()}
    served = Supply(pairs, {a.owner: [r.id for r in thief.log], w.federation: [w.federation]})
    assert w.verify(taken, served).verdict == "valid", "nobody can tell a branch that is all there is from a log"
    served.revoking = {a.owner: [record.id for record in a.log if record.kind == "revocation"]}
    for how in MODES[::2]:
        assert w.verify(taken, served, **how).verdict in ("invalid", "undetermined")
    known = [OutsideHead(a.owner, *end, "peer", 0)]
    assert w.verify(taken, served, outside=known).verdict in ("invalid", "undetermined")
    served.revoking = {}
    assert w.verify(taken, served, outside=known).verdict in ("invalid", "undetermined")


def test_a_bundle_carries_the_revocations():
    w = stolen()
    source = w.supply()
    walked = walk(source, w.after.id, w.federation, now_ms=w.now_ms)
    stream = io.BytesIO()
    write_walked(stream, walked)
    stream.seek(0)
    read = bundle.read(stream)
    assert w.revoked.id in read.records
    assert verify(BundleSource(read), w.after.id, w.federation, now_ms=w.now_ms).verdict == "valid"


def test_a_revocation_in_a_bundle_counts_whatever_its_maker_says_of_it():
    w = stolen()
    taken, _ = by_thief(w)
    source = w.supply()
    stream = io.BytesIO()
    heads = [HeadClaim(w.a.owner, w.a.last.id, len(w.a.log), w.a.tree.root())]
    bundle.write(
        stream,
        federation=w.federation,
        manifest=w.federation,
        targets=[taken.id],
        heads=heads,
        inclusion=[],
        consistency=[],
        records=[(id, *source.handed[id]) for id in (w.federation, *(r.id for r in w.a.log))],
    )
    stream.seek(0)
    report = verify(BundleSource(bundle.read(stream)), taken.id, w.federation, now_ms=w.now_ms)
    assert codes(report) == ["TSLG-A-REVOKED"]


# --- the anchors, and other algorithms -------------------------------------------------------------------------------


def test_anchors_put_a_key_in_the_place_of_lost_ones():
    w = World(RECOVERED)
    a = w.agent("a")
    lost = a.key
    w.add(a, "state")
    record, key = w.registration(a, key=None)
    w.admit(record, w.seal_agent(record, {record.id: key}), a)
    a.keys, a.key = {record.id: key}, record.id
    w.revoke(a, lost)
    last = w.add(a, "state")
    for how in MODES:
        assert w.verify(last, **how).verdict == "valid"
    late = w.slip(a.fork(len(a.log)), "state", None, {"prior": [last]}, key=record.id)
    assert late.key == record.id


def test_a_registration_that_the_anchors_did_not_seal_is_found_in_every_mode():
    """The agent's signature alone is good, and later records vouch for its bytes: neither is enough."""
    w = World(ROTATED)
    a = w.agent("a")
    record, key = w.registration(a)
    plain = seal.encode([plain_entry(record, a.keys[a.key], a.key)])
    a.keys[record.id] = key
    w.put(record, plain, a)
    first = a.key
    a.key = record.id
    taken = w.slip(a, "state", None, {"prior": [record]})
    a.key = first
    w.slip(a, "state", None, {"prior": [taken]})
    for how in MODES:
        for workers in (1, 2):
            report = w.verify(a.last, **how, workers=workers)
            assert "TSLG-A-SEAL" in codes(report), (how, workers)


def plain_entry(record, key, kid):
    signature = SigningKey(-19, key.seed).sign(-19, seal.to_be_signed(record.data, -19))
    return seal.Signature(-19, kid, signature)


@pytest.mark.parametrize("how", MODES, ids=str)
def test_a_log_goes_over_to_another_algorithm(how):
    w = World(BOTH)
    a = w.agent("a")
    before = w.add(a, "state")
    w.rotate(a, -47)
    w.add(a, "state")
    w.amend(signatures=[-47])
    last = w.add(a, "state", None, {"prior": [before]})
    for workers in (1, 2):
        assert w.verify(last, **how, workers=workers).verdict == "valid"


@pytest.mark.parametrize("how", MODES, ids=str)
def test_a_log_goes_over_to_post_quantum_signatures(how):
    w = World()
    a = w.agent("a")
    before = w.add(a, "state")
    w.amend(post_quantum=True)
    registered = w.rotate(a)
    assert [entry.kid for entry in seal.parse(w.seals[registered.id]).signatures] == [a.owner, registered.id]
    last = w.add(a, "state", None, {"prior": [before]})
    assert [entry.alg for entry in seal.parse(w.seals[last.id]).signatures] == [-19, -49]
    again = w.rotate(a)
    assert [entry.kid for entry in seal.parse(w.seals[again.id]).signatures] == [registered.id, registered.id]
    last = w.add(a, "state", None, {"prior": [last]})
    for workers in (1, 2):
        assert w.verify(last, **how, workers=workers).verdict == "valid"


def test_a_reader_may_insist_on_post_quantum_signatures():
    w = World()
    a = w.agent("a")
    before = w.add(a, "state")
    w.amend(post_quantum=True)
    w.rotate(a)
    last = w.add(a, "state", None, {"prior": [a.log[0]]})
    built_on = w.add(a, "state", None, {"prior": [before]})
    assert w.verify(built_on).verdict == "valid"
    report = w.verify(built_on, post_quantum=True)
    assert {(f.code, f.record) for f in report.findings} == {
        ("TSLG-V-POST-QUANTUM", before.id),
        ("TSLG-V-POST-QUANTUM", a.owner),
    }
    assert last.id not in {finding.record for finding in report.findings}


@pytest.mark.parametrize("how", MODES, ids=str)
def test_a_stripped_post_quantum_signature_is_found(how):
    w = World(QUANTUM)
    a = w.agent("a")
    last = w.add(a, "state")
    own, beside = seal.parse(w.seals[last.id]).signatures
    for wrong in (seal.encode([own]), seal.encode([own, beside._replace(value=bytes(3_309))])):
        w.seals[last.id] = wrong
        for workers in (1, 2):
            assert codes(w.verify(last, **how, workers=workers)) == ["TSLG-A-SEAL"]


# --- any history -----------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from(["rotate", "revoke", "state"]), st.integers(0, 4), st.integers(0, 2)), max_size=9
)


@given(STEPS)
@settings(max_examples=30, deadline=None)
def test_admission_and_walks_agree_with_a_plain_model(steps):
    """The model: a key lives from its registration up to the least position that any revocation named."""
    w = World(seed="history")
    a = w.agent("a")
    ends: dict = {}
    registered = [a.owner]
    for step, which, ahead in steps:
        key = registered[which % len(registered)]
        a.key = key
        position = len(a.log)
        alive = position < ends.get(key, position + 1)
        if step == "revoke":
            target = registered[(which + ahead) % len(registered)]
            start = position + ahead
            allowed = alive and start < ends.get(target, start + 1) and not (target == key and ahead == 0)
            record = w.make(a, "revocation", w.ending(a, target, start))
        elif step == "rotate":
            allowed = alive
            record, fresh = w.registration(a)
        else:
            allowed = alive
            record = w.make(a, "state")
        sealed = w.seal(record, a)
        assert (w.judge(record, sealed) is None) == allowed
        if not allowed:
            continue
        w.admit(record, sealed, a)
        if step == "revoke":
            ends[target] = start
        elif step == "rotate":
            a.keys[record.id] = fresh
            registered.append(record.id)
    for how in MODES:
        assert w.verify(a.last, **how).verdict == "valid"
    dead = [key for key in registered if len(a.log) >= ends.get(key, len(a.log) + 1)]
    for key in dead[:2]:
        late = w.slip(a.fork(len(a.log)), "state", None, {"prior": [a.log[0]]}, key=key)
        supply = w.supply()
        supply.handed[late.id] = (late.data, w.seals[late.id])
        supply.logs[a.owner] = [record.id for record in a.log] + [late.id]
        supply.revoking[a.owner] = [record.id for record in a.log if record.kind == "revocation"]
        for how in MODES:
            assert "TSLG-A-REVOKED" in codes(w.verify(late, supply, **how))
