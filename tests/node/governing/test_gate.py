"""The gate judges a candidate, records what it decided before anybody learns of it, and moves the state last."""

from __future__ import annotations

import threading

import pytest
from gates import POLICY, candidate, gated
from homes import opened, verdict

from tslg.node.governing.candidate import Digest
from tslg.node.governing.content import digest
from tslg.node.governing.errors import Rejected
from tslg.protocol.cid import compute
from tslg.protocol.errors import UsageError
from tslg.protocol.governing.state import START, state_digest


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("governed") / "node") as home:
        yield home


@pytest.fixture
def gate(home, request):
    return gated(home, name=request.node.name[:200])


CONFIRMED = {"user": {"confirmed": True}}


@pytest.mark.spec("INF-1", "INF-2")
def test_an_admitted_step_states_all_that_governs_it(gate, home):
    outcome = gate.submit(
        candidate("look-up", inputs={"prompt": "where is it?", "order": {"id": 7}}, output=b"it left", token=b"paid")
    )
    body = outcome.record.body
    assert outcome.admitted and outcome.verdict == "admitted" and outcome.class_ == "personal-data"
    assert outcome.record.kind == "inference" and home.store.has(outcome.record.id)
    assert body == {
        "model": "model-x",
        "model_version": "2026-01",
        "intent": "look-up",
        "grain": "call",
        "inputs": {"prompt": digest("where is it?"), "order": digest({"id": 7})},
        "output": digest(b"it left"),
        "token": b"paid",
        "class": "personal-data",
        "tier": "assistant",
        "uses": ["read-orders"],
        "before": START,
    }
    assert outcome.or_raise() is outcome
    assert verdict(home, outcome.record) == "valid"


@pytest.mark.parametrize(
    ("given", "stage", "rule"),
    [
        (candidate("drop-tables"), "policy", "intents"),
        (candidate("answer", tier="emperor"), "policy", "tiers"),
        (candidate("refund", facts=CONFIRMED), "policy", "intents.refund.tier"),
        (candidate("answer", uses=["delete"]), "policy", "capabilities"),
        (candidate("answer", spends={"tokens": 1}), "policy", "limits"),
        (candidate("answer", spends={"cents": 50_001}), "policy", "limits.cents"),
        (
            candidate("refund", tier="autonomous", spends={"cents": 20_001}, facts=CONFIRMED),
            "policy",
            "intents.refund.limits.cents",
        ),
        (candidate("refund", tier="autonomous", facts={"user": {"confirmed": False}}), "rule:confirmed", "confirmed"),
        (candidate("refund", tier="autonomous"), "rule:confirmed", "confirmed"),
        (candidate("clean-up"), "policy", "intents.clean-up.decompose"),
        (candidate("answer", state={"n": 1}, upon=bytes(32)), "state", "upon"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_rejection_names_stage_rule_and_reason(gate, home, given, stage, rule):
    outcome = gate.submit(given)
    body = outcome.record.body
    assert not outcome.admitted and outcome.record.kind == "rejection" and home.store.has(outcome.record.id)
    assert (outcome.stage, outcome.rule) == (stage, rule) == (body["stage"], body["rule"])
    assert outcome.reason == body["reason"] and "class" not in body and "after" not in body
    assert gate.state.digest == START
    with pytest.raises(Rejected, match="TSLG-G-REJECTED") as raised:
        outcome.or_raise()
    assert raised.value.step is outcome.record
    assert verdict(home, outcome.record) == "valid"


@pytest.mark.spec("INF-5", "INF-6")
def test_the_state_moves_with_admitted_steps_alone(gate):
    assert gate.state == (START, {})
    first = gate.submit(candidate(state={"stage": "asked"}))
    assert (
        gate.state
        == (state_digest({"stage": "asked"}), {"stage": "asked"})
        == (first.record.body["after"], {"stage": "asked"})
    )
    gate.submit(candidate("drop-tables", state={"stage": "ruined"}))
    second = gate.submit(candidate(state={"stage": "done"}, upon=gate.state.digest))
    assert second.record.body["before"] == first.record.body["after"]
    assert [edge.cid for edge in second.record.preds["prior"]] == [first.record.id]
    assert gate.state.data == {"stage": "done"}


def test_the_state_is_read_from_the_log_when_a_directory_is_opened_again(tmp_path):
    with opened(tmp_path / "node") as home:
        gate = gated(home)
        gate.submit(candidate(state={"turn": 1}))
        gate.submit(candidate())
        gate.submit(candidate("drop-tables"))
    with opened(tmp_path / "node", seed="again") as home:
        assert gated(home).state.data == {"turn": 1}
        assert len(home.store.by_kind("policy", home.agent("bot").id)) == 2  # the default one, and the gate's


@pytest.mark.spec("INF-4")
def test_a_decomposed_step_is_a_parent_and_a_child_for_every_part(gate, home):
    outcome = gate.submit(
        candidate("clean-up", parts=[candidate("look-up"), candidate("drop-tables"), candidate(state={"clean": True})])
    )
    assert outcome.verdict == "decomposed" and not outcome.admitted
    assert outcome.record.body["parts"] == 3
    assert [part.verdict for part in outcome.parts] == ["admitted", "rejected", "admitted"]
    for part in outcome.parts:
        assert [edge.cid for edge in part.record.preds["part"]] == [outcome.record.id]
    assert gate.state.data == {"clean": True}
    with pytest.raises(Rejected, match="drop-tables"):
        outcome.or_raise()
    assert all(verdict(home, one.record) == "valid" for one in outcome.parts)


@pytest.mark.spec("INF-4")
def test_a_composite_names_its_parts_and_the_rule(gate):
    outcomes = [gate.submit(candidate(output=text)) for text in ("one", "two")]
    made = gate.compose(outcomes, rule="concatenate", output="one two", intent="answer")
    assert sorted(outcome.record.id for outcome in outcomes) == [edge.cid for edge in made.preds["part"]]
    assert made.body["rule"] == "concatenate" and made.body["inputs"] == {"0": digest("one"), "1": digest("two")}
    with pytest.raises(UsageError, match="made of what was admitted"):
        gate.compose([gate.submit(candidate("drop-tables"))], rule="concatenate", output="")


@pytest.mark.spec("INF-18")
def test_records_of_what_was_not_admitted_are_no_constituents(gate, home):
    def refused(record, why):
        for one in (record, record.id):
            with pytest.raises(UsageError, match=why) as raised:
                gate.compose([one], rule="r", output="")
            assert raised.value.record is not None

    fine = gate.submit(candidate("look-up"))
    refused(gate.submit(candidate("drop-tables")).record, "made of what was admitted")
    refused(gate.finish(fine, "x"), "made of what was admitted")
    refused(gate.agent.act("something"), "made of what was admitted")
    good = gate.submit(candidate("clean-up", parts=[candidate("look-up"), candidate()]))
    bad = gate.submit(candidate("clean-up", parts=[candidate("look-up"), candidate("drop-tables")]))
    refused(bad.record, "made of what was admitted")
    with pytest.raises(UsageError, match="not held"):
        gate.compose([compute(b"nowhere")], rule="r", output="")
    made = gate.compose([fine.record, good.record.id, bad.parts[0].record], rule="r", output="", intent="answer")
    assert verdict(home, gate.compose([made], rule="r", output="", intent="answer")) == "valid"


@pytest.mark.spec("INF-3")
def test_a_result_that_comes_later_cites_its_step(gate):
    outcome = gate.submit(candidate("look-up"))
    assert "output" not in outcome.record.body
    made = gate.finish(outcome, {"order": 7})
    assert made.kind == "observation" and made.body["data"] == {"output": digest({"order": 7})}
    assert [edge.cid for edge in made.preds["evidence"]] == [outcome.record.id]


@pytest.mark.spec("INF-9")
def test_of_steps_worked_out_from_one_state_one_alone_is_admitted(gate):
    start = gate.state.digest
    verdicts = []
    barrier = threading.Barrier(8)

    def submit(number):
        barrier.wait()
        verdicts.append(gate.submit(candidate(state={"winner": number}, upon=start)))

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    admitted = [one for one in verdicts if one.admitted]
    assert len(admitted) == 1 and gate.state.digest == admitted[0].record.body["after"]
    assert {one.stage for one in verdicts if not one.admitted} == {"state"}


def test_nothing_is_submitted_inside_a_batch(gate):
    with gate.agent.batch(), pytest.raises(UsageError, match="outside the batch"):
        gate.submit(candidate())


@pytest.mark.parametrize(
    "more",
    [
        {"intent": ""},
        {"model": "m" * 257},
        {"grain": "word"},
        {"uses": "refund"},
        {"spends": {"cents": -1}},
        {"spends": {"cents": True}},
        {"token": "paid"},
        {"token": bytes(5_000)},
        {"upon": b"short"},
        {"inputs": {str(at): b"" for at in range(257)}},
        {"parts": (candidate(),), "state": {}},
        {"state": {"share": 0.5}},
    ],
)
def test_what_no_record_could_say_is_no_candidate(gate, more):
    with pytest.raises(UsageError, match="TSLG-G-CANDIDATE"):
        gate.submit(candidate(**more))


def test_parts_of_parts_end(gate):
    deep = candidate()
    for _ in range(5):
        deep = candidate(parts=(deep,))
    with pytest.raises(UsageError, match="TSLG-G-CANDIDATE"):
        gate.submit(deep)


def test_what_a_digest_stands_for_need_not_be_at_hand(gate):
    known = digest("secret")
    assert gate.submit(candidate(inputs={"prompt": Digest(known)})).record.body["inputs"] == {"prompt": known}
    with pytest.raises(UsageError):
        Digest(b"short")


@pytest.mark.spec("INF-12")
def test_a_changed_policy_amends_the_one_on_record(home):
    first = gated(home, name="amended")
    again = gated(home, name="amended")
    wider = gated(home, POLICY.replace("50_000", "60_000"), name="amended")
    records = [gate._authorities.own.record for gate in (first, again, wider)]
    assert records[0] == records[1] != records[2]
    assert [edge.cid for edge in home.ledger.context.record(records[2]).preds["amends"]] == [records[0]]
    assert home.store.get_blob(home.ledger.context.record(records[2]).body["document"]["digest"]) == wider.policy.text
