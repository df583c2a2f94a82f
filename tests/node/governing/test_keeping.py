"""What a gate keeps of steps as the manifest says, and what replaying them shows."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from click.testing import CliRunner
from gates import POLICY, candidate, gated
from homes import verdict
from world import NOW, ONE, founded, source

from tslg.node.cli.root import tslg
from tslg.node.governing import keeping
from tslg.node.governing.async_gate import AsyncGate
from tslg.node.governing.candidate import Digest
from tslg.node.governing.content import digest
from tslg.node.home import Home
from tslg.protocol.cid import to_text
from tslg.protocol.errors import Refusal, StoreError, UsageError, VaultError

WORDS = ONE.format(attested=0).replace('["internal", "public"]', '["internal", "personal-data"]')
WORDS = WORDS.replace('["low", "high"]', '["assistant", "autonomous"]')
ALL = "".join(f'{name} = "plaintext"\n' for name in ("inputs", "output", "scratch", "tools", "facts"))
KEEPING = WORDS + f'\n[envelope.recording]\n{ALL}activations = "digest"\n'
NOTHING = sha256(b"").digest()


def opened(path, toml=None):
    made = None if toml is None else founded(toml, "keeping")
    joined = None if made is None else (made.manifest_record, made.seal)
    ticks = iter(range(NOW, NOW + 10**6))
    return Home.open(path, federation=joined, clock=lambda: next(ticks), random_bytes=source("keeping"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("kept") / "node", KEEPING) as home:
        yield home


@pytest.fixture
def gate(home, request):
    return gated(home, name=request.node.name[:200])


def read(gate, record, name):
    return gate.agent._ledger.plaintexts.read(record.id, name)


def test_what_waits_for_its_record_is_bounded_also_where_it_is_always_the_same(gate, monkeypatch):
    monkeypatch.setattr(keeping, "_WAITING", 3)
    keeper = gate._keeper
    for text in ("a", "b", *("same",) * 9, "c"):
        keeper.keep({"inputs/x": text})
    waiting = [name for name, queue in keeper._waiting.items() for _ in queue]
    assert waiting == [("inputs/x", digest("same"))] * 2 + [("inputs/x", digest("c"))] and keeper._count == 3
    assert gate.submit(candidate(inputs={"x": "same"})).admitted
    assert keeper._count == 2


@pytest.mark.spec("RCD-6", "RCD-8", "RCD-9")
def test_a_step_has_the_digests_and_the_vault_the_plaintexts_that_the_manifest_asks_for(gate, home):
    given = {"inputs": {"prompt": "where is it?", "order": {"id": 7}}, "output": b"it left"}
    outcome = gate.submit(candidate("look-up", **given, scratch=["think"], facts={"n": 1}, activations=b"layer 1"))
    body = outcome.record.body
    assert outcome.admitted and verdict(home, outcome.record) == "valid"
    assert (body["scratch"], body["facts"]) == (digest(["think"]), digest({"n": 1}))
    assert (body["activations"], body["tools"]) == (digest(b"layer 1"), NOTHING)
    assert (
        read(gate, outcome.record, "inputs/order") == b'{"id":7}' and read(gate, outcome.record, "output") == b"it left"
    )
    assert read(gate, outcome.record, "scratch") == b'["think"]' and read(gate, outcome.record, "facts") == b'{"n":1}'
    for name in ("activations", "tools"):
        with pytest.raises(VaultError, match="TSLG-P-NONE"):
            read(gate, outcome.record, name)


def test_rejections_parts_composites_and_later_results_are_kept_too(gate, home):
    rejected = gate.submit(candidate("drop-tables", inputs={"sql": "DROP"}))
    assert rejected.verdict == "rejected" and read(gate, rejected.record, "inputs/sql") == b"DROP"
    whole = gate.submit(
        candidate("clean-up", inputs={"x": "all"}, parts=[candidate(output="a"), candidate("drop-tables", output="b")])
    )
    assert read(gate, whole.record, "inputs/x") == b"all"
    assert [read(gate, part.record, "output") for part in whole.parts] == [b"a", b"b"]
    first = gate.submit(candidate(output="one"))
    made = gate.compose([first], rule="concatenate", output="one and only", intent="answer")
    assert read(gate, made, "output") == b"one and only" and made.body["tools"] == NOTHING
    call = gate.submit(candidate("look-up", inputs={"arguments": {"id": 7}}))
    seen = gate.finish(call, {"status": "left"})
    assert read(gate, seen, "output") == b'{"status":"left"}'
    assert all(verdict(home, one) == "valid" for one in (rejected.record, whole.record, made, seen))


def test_to_check_a_candidate_keeps_nothing(gate, home):
    before = len(home.plaintexts.unlock().select("1", ()))
    assert gate.check(candidate(output="a secret")) is None
    assert len(home.plaintexts.unlock().select("1", ())) == before


@pytest.mark.spec("RCD-9")
def test_a_step_whose_plaintexts_cannot_be_kept_is_not_admitted(gate, home, monkeypatch):
    outcome = gate.submit(candidate(output=Digest(bytes(32))))
    assert (outcome.stage, outcome.rule) == ("recording", "TSLG-P-DIGEST")
    assert verdict(home, outcome.record) == "valid"

    def full(*args, **kwargs):
        raise StoreError("no space left", code="TSLG-D-FULL")

    with monkeypatch.context() as patch:
        patch.setattr(home.plaintexts.unlock(), "put", full)
        outcome = gate.submit(candidate(output="x", state={"moved": True}))
        assert (outcome.stage, outcome.rule) == ("recording", "TSLG-D-FULL") and gate.state.data == {}
        parts = gate.submit(candidate("clean-up", output="x", parts=[candidate()]))
        assert parts.verdict == "rejected" and parts.stage == "recording"
    with monkeypatch.context() as patch:
        patch.setattr(gate.agent._ledger, "plaintexts", None)
        assert gate.submit(candidate(output="x")).rule == "TSLG-P-NONE"
    with pytest.raises(UsageError, match="TSLG-G-CONTENT"):
        gate.submit(candidate(facts={"n": object()}))


def test_a_gate_keeps_nothing_more_where_the_manifest_asks_for_nothing(tmp_path):
    with opened(tmp_path / "node", WORDS) as home:
        outcome = gated(home).submit(candidate(output="x", facts={"n": 1}, scratch="y"))
        assert outcome.admitted and not {"facts", "scratch"} & outcome.record.body.keys()
        assert not home.plaintexts.here


@pytest.mark.spec("RCD-10")
def test_a_gate_that_ended_before_it_told_the_vault_whose_they_are(tmp_path, monkeypatch):
    with opened(tmp_path / "node", KEEPING) as home:
        gate = gated(home)
        with monkeypatch.context() as patch:
            patch.setattr(home.plaintexts, "bind", lambda kept, record: None)
            outcomes = [gate.submit(candidate(output="the same")) for _ in range(3)]
    with opened(tmp_path / "node") as home:
        for outcome in outcomes:
            assert home.plaintexts.read(outcome.record.id, "output") == b"the same"


@pytest.mark.spec("RCD-7")
def test_a_step_that_the_key_may_not_seal_is_refused_to_its_caller(tmp_path):
    with opened(tmp_path / "node", WORDS + '\n[envelope.recording]\nbinding = "platform"\n') as home:
        gate = gated(home)
        size = home.store.log_state(gate.agent.id).size
        with pytest.raises(Refusal, match="TSLG-A-BINDING"):
            gate.submit(candidate())
        assert home.store.log_state(gate.agent.id).size == size
        gate.agent.rotate(binding="platform")
        assert gate.submit(candidate()).admitted


@pytest.mark.spec("RCD-13")
def test_under_merkle_a_field_and_its_plaintext_are_destroyed_together(tmp_path):
    with opened(tmp_path / "node", KEEPING.replace("[envelope]", '[envelope]\naddress = "merkle"')) as home:
        gate = gated(home)
        made = gate.submit(candidate(inputs={"prompt": "p"}, output="x")).record
        call = gate.submit(candidate("look-up")).record
        seen = gate.finish(gate.submit(candidate("look-up")), "later")
        assert call.body["intent"] == "look-up" and read(gate, made, "output") == b"x" and read(gate, seen, "output")
        gate.agent.redact(made, fields=["output"], reason="asked to")
        gate.agent.redact(seen, fields=["data"], reason="asked to")
        for record in (made, seen):
            assert home.plaintexts.vault().entry(record.id, "output").wrapped is None
            with pytest.raises(VaultError, match="TSLG-P-GONE"):
                read(gate, record, "output")
        assert read(gate, made, "inputs/prompt") == b"p"


# --- replaying -------------------------------------------------------------------------------------------------------


def upper(inputs):
    return inputs["prompt"].decode().upper()


@pytest.mark.spec("RCD-19")
def test_a_step_that_is_done_again_is_the_same_or_another(gate):
    made = gate.submit(candidate(inputs={"prompt": "where?"}, output="WHERE?")).record
    found = gate.replay(made, run=upper)
    assert (found.verdict, found.same_output, found.judgement.same) == ("same", True, True)
    assert {part.name: part.content for part in found.parts}["inputs/prompt"] == b"where?"
    other = gate.replay(made.id, run=lambda inputs: "somewhere")
    assert (other.verdict, other.same_output) == ("other", False)
    only = gate.replay(made)
    assert (only.verdict, only.ran, only.same_output) == ("same", False, None)


async def test_steps_are_replayed_from_asynchronous_code_too(gate):
    made = gate.submit(candidate(inputs={"prompt": "where?"}, output="WHERE?")).record
    assert (await AsyncGate(gate).replay(made, upper)).verdict == "same"


@pytest.mark.spec("RCD-19")
def test_a_result_that_came_later_is_what_doing_it_again_is_held_against(gate):
    call = gate.submit(candidate("look-up", inputs={"prompt": "where?"}))
    gate.finish(call, "WHERE?")
    assert gate.replay(call.record, run=upper).same_output is True
    rejected = gate.submit(candidate("drop-tables", inputs={"prompt": "x"}))
    assert gate.replay(rejected.record, run=upper).same_output is None


@pytest.mark.spec("RCD-19")
@pytest.mark.parametrize(
    ("given", "now"),
    [
        (candidate(), "admitted"),
        (candidate("drop-tables"), "policy intents"),
        (candidate("refund", tier="autonomous", facts={"user": {"confirmed": False}}), "rule:confirmed confirmed"),
        (candidate("refund", tier="autonomous", facts={"user": {"confirmed": True}}), "admitted"),
        (candidate("answer", state={"n": 1}, upon=bytes(32)), "admitted"),
    ],
    ids=["admitted", "intents", "rule", "excused", "stale"],
)
def test_the_policy_that_was_in_force_says_the_same_again(gate, given, now):
    found = gate.replay(gate.submit(given).record).judgement
    assert (found.now, found.same) == (now, True)


def test_the_policy_of_then_is_asked_and_not_that_of_now(home):
    made = gated(home, name="then").submit(candidate("refund", tier="autonomous", facts={"user": {"confirmed": True}}))
    assert made.admitted
    stricter = gated(
        home, POLICY.replace("[intents.refund]", "[intents.gone]").replace('"refund"]', '"gone"]'), name="then"
    )
    assert not stricter.submit(candidate("refund", tier="autonomous")).admitted
    assert stricter.replay(made.record).judgement == gated(home, name="then").replay(made.record).judgement
    assert stricter.replay(made.record).judgement.same is True


def test_what_cannot_be_told_is_said(gate, home, monkeypatch):
    whole = gate.submit(candidate("clean-up", parts=[candidate()]))
    assert gate.replay(whole.record).judgement.same is None
    with pytest.raises(UsageError, match="no step that is held"):
        gate.replay(gate.agent.state({}).id)
    made = gate.submit(
        candidate("refund", tier="autonomous", inputs={"prompt": "x"}, facts={"user": {"confirmed": True}})
    )
    kept = {part.name: part for part in gate.replay(made.record).parts}
    gate.agent.redact(made.record.id, blobs=[kept["facts"].digest], reason="asked to")
    gone = gate.replay(made.record)
    assert gone.verdict == "undetermined" and "facts were not kept" in gone.judgement.why
    assert {part.name: part.why for part in gone.parts}["facts"] == "TSLG-P-GONE"
    gate.agent.redact(made.record.id, blobs=[kept["inputs/prompt"].digest], reason="asked to")
    with pytest.raises(UsageError, match="'prompt' is not to be had"):
        gate.replay(made.record, run=upper)
    monkeypatch.setattr(home.store, "get_blob", lambda digest: None)
    assert "text of its policy is not held" in gate.replay(made.record).judgement.why


def test_functions_that_another_agents_policy_names_are_not_called(home, monkeypatch):
    called = []
    monkeypatch.setattr("tslg.node.governing.predicates.load", lambda name: called.append(name) or (lambda one: True))
    theirs = gated(
        home, 'predicate = "theirs:function"\nclass = "internal"\ntier = "assistant"\n[intents."*"]\n', name="theirs"
    )
    made = theirs.submit(candidate())
    assert made.admitted and theirs.replay(made.record).judgement.same is True
    called.clear()
    mine = gated(home, name="mine")
    found = mine.replay(made.record).judgement
    assert found.same is None and "are not called here" in found.why and called == []


def test_the_command_replays(tmp_path):
    with opened(tmp_path / "node", KEEPING) as home:
        outcome = gated(home).submit(candidate(inputs={"prompt": "hello"}, output="HELLO"))
        rejected = gated(home).submit(candidate("drop-tables", output="HELLO"))

    def run(*arguments):
        result = CliRunner().invoke(tslg, ["replay", *arguments, "--data", str(tmp_path / "node")])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    id = to_text(outcome.record.id)
    shown = run(id, "--show")
    assert shown.exit_code == 0 and "hello" in shown.stdout and "policy: admitted; now admitted" in shown.stdout
    told = json.loads(run(id, "--run", "builtins:len", "--json").stdout)
    assert told["verdict"] == "other" and told["output"]["same"] is False and told["policy"]["same"] is True
    assert run(id, "--run", "builtins:len").exit_code == 1
    assert "policy intents; now policy intents" in run(to_text(rejected.record.id)).stdout
