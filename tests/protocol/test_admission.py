"""Every rule of admission, each broken alone by a record that every other rule admits."""

from __future__ import annotations

from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from breach import ATTESTED, CASES, NOWHERE, OPEN, Scene
from world import THREE

from tslg.protocol.admission import LOG_RULES, RULES, SEAL_RULES, STRUCTURE_RULES, admit
from tslg.protocol.errors import Refusal
from tslg.protocol.record import Edge
from tslg.protocol.rules.seals import rule_seal

BREACHES = (
    "structure access answers artifacts attestation authority bodies checkpoints confidential federation flat joint"
    " keys logs pruning recording redaction seals standing steps together"
)
for part in BREACHES.split():
    import_module(f"breaches_{part}")


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request):
    return request.param


@pytest.mark.spec("RED-1", "RED-2", "PRN-3", "PRN-4", "PRN-5", "PRN-6", "SUM-2", "SUM-3", "EQV-3")
@pytest.mark.spec("ADM-1", "DEL-1", "DEL-2", "DEL-3", "DEL-4", "DEL-6", "DEL-7", "DEL-8", "DEL-9", "DEL-10")
@pytest.mark.spec(
    "DEL-11",
    "DEL-12",
    "DEL-13",
    "DEL-14",
    "DEL-15",
    "DEL-17",
    "DEL-18",
    "DEL-19",
    "DEL-20",
    "SEA-9",
    "SEA-10",
    "SEA-11",
    "SEA-12",
    "SEA-13",
)
@pytest.mark.spec("ART-5", "ART-6", "ART-7", "ART-8", "ART-10", "ART-11", "ART-12", "ART-13", "ART-14")
@pytest.mark.spec("SEA-14", "SEA-15", "SEA-16", "LOG-2", "LOG-3", "MAN-2", "MAN-11", "MAN-12", "IDX-2")
def test_a_record_that_breaks_one_rule_is_refused_by_that_rule(case):
    world = Scene(case.toml)
    record, sealed = case.breach(world)
    with pytest.raises(Refusal) as caught:
        admit(record, sealed, world)
    refusal = caught.value
    assert refusal.code == case.code
    assert refusal.record == record.id
    assert case.detail in refusal.detail
    assert "\n" not in str(refusal) and refusal.detail == refusal.detail.strip()
    assert case.rule(record, sealed, world).code == case.code
    if case.alone:
        assert world.judge(record, sealed, without=case.rule) is None, "another rule refuses it too"


@pytest.mark.spec("INF-1", "INF-6", "INF-7", "INF-8", "INF-9")
def test_governed_steps_that_chain_the_state_are_admitted():
    world, steps = Scene(OPEN), import_module("breaches_steps")
    first = world.take(steps.moved(world, 1))
    again = world.take(steps.taken(world, first, after=steps.at(2)))
    world.take(steps.taken(world, again))
    back = world.take(steps.led_back(world, again))
    assert world.semantic(world.a.owner) == (steps.at(1), back.id)
    world.take(steps.taken(world, back, kind="composite", cls="part"))


@pytest.mark.spec("DEL-1", "INF-14")
def test_that_a_policy_had_ended_can_be_said_in_a_rejection():
    world = Scene(OPEN)
    world.policy = world.add(world.a, "policy", {"not_after": world.a.last.time})
    world.now_ms += 60_000
    step = import_module("breaches_authority").step
    admit(*step(world, "rejection"), world)
    with pytest.raises(Refusal, match="TSLG-A-WINDOW"):
        admit(*step(world, "inference"), world)


@pytest.mark.spec("DEL-2")
def test_what_was_not_admitted_may_have_asked_for_anything():
    world = Scene(OPEN)
    admit(
        *import_module("breaches_authority").step(world, "rejection", uses=["delete"], spends={"m": 9}, tier="high"),
        world,
    )
    with pytest.raises(Refusal) as caught:
        admit(*import_module("breaches_authority").step(world, "inference", spends={"m": 9}), world)
    assert caught.value.code == "TSLG-A-SCOPE"


def test_every_code_of_the_rules_has_a_case():
    path = Path(__file__).parents[2] / "docs" / "tools" / "codes.py"
    spec = spec_from_file_location("codes", path)
    codes = module_from_spec(spec)
    spec.loader.exec_module(codes)
    folder = Path(__file__).parents[2] / "protocol" / "rules"
    in_source = {code for file in folder.glob("*.py") for code in codes.codes_in_text(file.read_text(encoding="utf-8"))}
    assert {code for code in in_source if code.startswith("TSLG-A-")} == {case.code for case in CASES}


def test_every_rule_has_a_case():
    assert set(RULES) == {case.rule for case in CASES}
    assert STRUCTURE_RULES + LOG_RULES + SEAL_RULES == RULES and RULES[-1] is rule_seal


def test_refusals_that_can_be_mended_say_how():
    hints = {}
    for case in CASES:
        world = Scene(case.toml)
        hints.setdefault(case.code, []).append(world.judge(*case.breach(world)).mend)
    without = {code for code, mends in hints.items() if not any(mends)}
    # What nobody can mend but the author, by making another record: the detail says all there is to say.
    assert without <= {
        f"TSLG-A-{code}"
        for code in [
            "ANCHORS",
            "CROSS-AGENT",
            "DELEGATE",
            "EDGE-KIND",
            "EDGE-ORDER",
            "EDGE-OWNER",
            "FAN-IN",
            "FORK",
            "HASH",
            "HEAD",
            "HOPS",
            "PREV",
            "TARGET",
            "TIME",
            "VERSION",
            "VOCABULARY",
        ]
    }


@pytest.mark.spec("ADM-2", "ADM-3")
@pytest.mark.parametrize("toml", [OPEN, ATTESTED, THREE.format(scheme="multisig")])
def test_what_breaks_no_rule_is_admitted(toml):
    w = Scene(toml)
    own = w.derived() if "internal" in toml else None
    c = w.agent("c")
    preds = {"policy": [w.policy], "delegation": [w.granted]}
    w.add(w.b, "action", {"uses": ["read"], "spends": {"n": 5}, "principal": w.a.owner}, preds)
    if own is not None:
        w.add(w.b, "action", {"uses": ["read"]}, {"policy": [own], "delegation": [w.granted]})
    body = {"delegate": c.owner, "grant": w.policy.id, "hops": 1, "expires": w.granted.body["expires"]}
    passed = w.add(w.b, "delegation", body, preds)
    w.add(c, "decision", None, {"policy": [w.policy], "evidence": [w.seen], "delegation": [passed]})
    w.rotate(c)
    w.add(c, "state")
    w.add(c, "verification", {"target": w.seen.id}, {"evidence": [w.seen]})
    w.add(w.anchors, "policy", {"classes": [], "tiers": []}, {"prior": [w.anchors.last]})
    if len(w.founded.anchor_keys) == 1:
        w.amend(clock_skew_ms=0)
        w.add(c, "state")
        w.add(w.anchors, "policy", None, {"prior": [w.anchors.last]})


@pytest.mark.spec("DEL-16")
def test_a_delegation_can_be_passed_on_once_less_each_time():
    w = Scene()
    above, holder = w.granted, w.b
    for hops, agent in ((1, w.agent("c")), (0, w.agent("d")), (0, w.agent("e"))):
        body = {"delegate": agent.owner, "grant": w.policy.id, "hops": hops, "expires": w.granted.body["expires"]}
        record = w.make(holder, "delegation", body, {"policy": [w.policy], "delegation": [above]})
        refusal = w.judge(record, w.seal(record, holder))
        if above.body["hops"] == 0:
            assert refusal.code == "TSLG-A-HOPS"
            return
        assert refusal is None
        above, holder = w.put(record, w.seal(record, holder)), agent
    pytest.fail("it was passed on for ever")


@pytest.mark.spec("ADM-3")
def test_in_a_walk_what_lies_beyond_the_bound_is_not_judged():
    w = Scene()
    record, sealed = w.sealed(w.b, "decision", None, {"policy": [Edge(NOWHERE, w.a.owner)], "evidence": [w.seen]})
    assert w.judge(record, sealed).code == "TSLG-A-RESOLVE"
    record, sealed = w.sealed(
        w.b, "decision", None, {"policy": [Edge(NOWHERE, w.a.owner)], "evidence": [w.seen], "delegation": [w.granted]}
    )
    w.complete = False
    assert w.judge(record, sealed) is None


def test_a_signature_is_verified_whatever_was_verified_before():
    w = Scene()
    record, sealed = w.sealed(w.a, "state")
    assert w.judge(record, sealed) is None
    forged = sealed[:-1] + bytes([sealed[-1] ^ 1])
    assert w.judge(record, forged).code == "TSLG-A-SEAL"
