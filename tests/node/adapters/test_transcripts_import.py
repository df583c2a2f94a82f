"""Transcripts become the lineage of two agents: what is recorded, that it verifies, and that it is all or nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tslg.node.adapters.transcripts import import_transcript, parse, verify_targets
from tslg.node.home import Home
from tslg.protocol.errors import Refusal, StoreError, UsageError
from tslg.protocol.record import parse_as

SYSTEM = "You rent boats. Ask before you charge."
MESSAGES = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": "Is the red boat free on Sunday?"},
    {
        "role": "assistant",
        "content": "I will look.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "boat", "arguments": '{"colour": "red"}'}},
            {"id": "c2", "type": "function", "function": {"name": "calendar", "arguments": "{}"}},
        ],
    },
    {"role": "tool", "tool_call_id": "c2", "name": "calendar", "content": "free"},
    {"role": "tool", "tool_call_id": "c1", "name": "boat", "content": '{"id": 3}'},
    {"role": "assistant", "content": "It is free."},
    {"role": "user", "content": "Thank you."},
]
FILE = [{"task_id": 1, "trial": 0, "reward": 1.0, "info": {"x": 0.5}, "traj": MESSAGES}, {"messages": MESSAGES[:2]}]


@pytest.fixture
def home(tmp_path):
    now = [1_700_000_000_000]
    counter = [0]

    def random_bytes(size):
        counter[0] += 1
        return hashlib.shake_256(counter[0].to_bytes(4, "big")).digest(size)

    def clock():
        now[0] += 1
        return now[0]

    with Home.open(tmp_path / "node", clock=clock, random_bytes=random_bytes) as home:
        yield home


def transcript(value=FILE, **options):
    return parse(json.dumps(value).encode(), "boats.json", **options)


def held(home):
    """Everything in the store: records by log, and the blobs."""
    logs = {log.owner: log.held for log in home.store.logs()}
    return logs, sorted(path.name for path in (home.path / "blobs").glob("*/*") if path.is_file())


def lineage(home, target):
    """The target and its ancestors, in the order in which they were recorded in each log."""
    ids = [target.record, *home.store.ancestors(target.record)]
    records = [parse_as(id, home.store.get(id).data) for id in ids]
    return sorted(records, key=lambda record: (record.owner, record.seq))


def named(home, agent, records, kind):
    owner = home.agent(agent).id
    return [record for record in records if record.owner == owner and record.kind == kind]


def cited(record, name):
    return {edge.cid for edge in record.preds.get(name, ())}


def test_what_is_recorded(home):
    imported = import_transcript(home, transcript())
    assert [(target.position, target.about) for target in imported.targets] == [
        (0, {"messages": 7, "task_id": 1, "trial": 0, "reward": "1.0"}),
        (1, {"messages": 2}),
    ]
    assert imported.kinds == {"action": 2, "decision": 2, "delegation": 2, "observation": 8, "policy": 3}
    records = lineage(home, imported.targets[0])
    first, second = named(home, "assistant", records, "decision")
    question, thanks = (r for r in records if r.body.get("source") == "user")
    prompt = next(r for r in records if r.body.get("name", "").startswith("system prompt"))
    assert prompt.body["capabilities"] == ["tool:boat", "tool:calendar"]
    assert home.store.get_blob(prompt.body["document"]["digest"]) == SYSTEM.encode()
    assert cited(first, "policy") == {prompt.id} and cited(first, "evidence") == {imported.file, question.id}
    assert (first.body["outcome"], second.body["outcome"]) == ("call tools", "answer")
    results = [r for r in records if r.body.get("source") == "tool"]
    assert {r.owner for r in results} == {imported.tools}
    assert cited(second, "evidence") == {first.id, *(r.id for r in results)}
    end = parse_as(imported.targets[0].record, home.store.get(imported.targets[0].record).data)
    assert cited(end, "evidence") == {imported.file, second.id, thanks.id}
    assert home.store.get_blob(end.body["data"]["extra"]["digest"]) == b'{"info":{"x": 0.5}}'


def test_each_tool_call_is_an_action_of_the_tools_under_a_delegation_of_its_own(home):
    imported = import_transcript(home, transcript())
    records = lineage(home, imported.targets[0])
    (decision, _) = named(home, "assistant", records, "decision")
    delegations = {record.id: record for record in named(home, "assistant", records, "delegation")}
    actions = named(home, "tools", records, "action")
    assert len(actions) == len(delegations) == 2
    for action in actions:
        (used,) = action.body["uses"]
        (delegation,) = (delegations[id] for id in cited(action, "delegation"))
        assert used == f"tool:{action.body['name']}" == f"tool:{delegation.body['task']['tool']}"
        assert delegation.body["delegate"] == imported.tools and cited(delegation, "evidence") == {decision.id}
        assert action.body["principal"] == imported.assistant == home.agent("assistant").id
        grant = parse_as(delegation.body["grant"], home.store.get(delegation.body["grant"]).data)
        assert grant.body["capabilities"] == [used] and cited(action, "policy") == {grant.id}
        assert delegation.body["task"]["arguments"] == action.body["blob"]["digest"]
    by_name = {action.body["name"]: action for action in actions}
    assert home.store.get_blob(by_name["boat"].body["blob"]["digest"]) == b'{"colour": "red"}'
    outcomes = {next(iter(cited(r, "evidence"))): r for r in records if r.body.get("source") == "tool"}
    assert home.store.get_blob(outcomes[by_name["boat"].id].body["blob"]["digest"]) == b'{"id": 3}'
    assert home.store.get_blob(outcomes[by_name["calendar"].id].body["blob"]["digest"]) == b"free"


def test_the_walk_goes_across_both_agents_and_is_valid(home):
    imported = import_transcript(home, transcript())
    counts = []
    reports = verify_targets(home, imported.targets, tick=counts.append)
    assert [report.verdict for report in reports] == ["valid", "valid"]
    assert {agent.name for agent in reports[0].agents} == {"assistant", "tools"}
    assert counts[-1] == sum(len(report.records) for report in reports)
    everything = {record.id for record in lineage(home, imported.targets[0])}
    assert everything <= set(reports[0].records)
    assert home.store.check() == []


def test_no_text_of_a_transcript_is_in_a_record(home):
    import_transcript(home, transcript())
    for log in home.store.logs():
        for _, entry in home.store.log_range(log.owner, 0, log.held):
            for text in (b"rent boats", b"red boat", b'"red"', b"It is free", b"Thank you", b"I will look", b'"id": 3'):
                assert text not in entry.data


def test_a_file_is_imported_once(home):
    imported = import_transcript(home, transcript())
    before = held(home)
    repeated = import_transcript(home, transcript(), assistant="other", tools="names")
    assert repeated.already and not imported.already and held(home) == before
    assert (repeated.file, repeated.assistant, repeated.tools) == (imported.file, imported.assistant, imported.tools)
    assert [target[:3] for target in repeated.targets] == [target[:3] for target in imported.targets]
    assert repeated.kinds == {}
    again = import_transcript(home, transcript(), again=True)
    assert not again.already and again.file != imported.file and again.kinds == imported.kinds


def test_a_note_without_records_does_not_count(home):
    read = transcript()
    home.store.set_meta(f"transcript/{read.digest.hex()}", home.federation[:-1] + b"\0")
    assert not import_transcript(home, read).already


@pytest.mark.parametrize("fails_at", [1, 7, 30])
def test_a_failure_on_the_way_leaves_nothing(home, monkeypatch, fails_at):
    home.agent("assistant"), home.agent("tools")
    before = held(home)
    made = [0]
    stage = home.ledger._stage

    def failing(owner, draft):
        made[0] += 1
        if made[0] == fails_at:
            raise Refusal("not this one", code="TSLG-A-REFUSED")
        return stage(owner, draft)

    with monkeypatch.context() as patch:
        patch.setattr(home.ledger, "_stage", failing)
        read = transcript([*FILE, *FILE])
        with pytest.raises(Refusal):
            import_transcript(home, read)
    assert held(home) == before
    imported = import_transcript(home, read)
    assert not imported.already and {r.verdict for r in verify_targets(home, imported.targets)} == {"valid"}


def test_a_full_disk_leaves_no_records_and_the_import_can_be_repeated(home, monkeypatch):
    home.agent("assistant"), home.agent("tools")
    before = held(home)

    def full(*_):
        raise StoreError("no space left on the disk", code="TSLG-D-FULL")

    with monkeypatch.context() as patch:
        patch.setattr(home.store, "append", full)
        with pytest.raises(StoreError):
            import_transcript(home, transcript())
    assert held(home)[0] == before[0]
    assert not import_transcript(home, transcript()).already
    assert home.store.check() == []


def test_prompts_are_told_apart_and_shared(home):
    def prompt(text):
        return {"role": "system", "content": text}

    call = {"role": "assistant", "tool_calls": [{"function": {"name": "dig", "arguments": ""}}]}
    answer = {"role": "assistant", "content": "yes"}
    first = [answer, prompt("one"), prompt("two"), call, {"role": "tool", "content": None}]
    imported = import_transcript(home, transcript([first, [prompt("one"), answer], [answer]]))
    policies = [r for r in lineage(home, imported.targets[0]) if r.kind == "policy"]
    by_name = {r.body["name"]: r for r in policies}
    one, two = (by_name[f"system prompt {hashlib.sha256(text).hexdigest()[:16]}"] for text in (b"one", b"two"))
    none = by_name["no system prompt"]
    assert [r.body["capabilities"] for r in (one, two, none)] == [["tool:dig"]] * 3
    assert cited(by_name["tool dig"], "policy") == {one.id, two.id}
    before, after = named(home, "assistant", lineage(home, imported.targets[0]), "decision")
    assert cited(before, "policy") == {none.id} and cited(after, "policy") == {one.id, two.id}
    for target, policy in zip(imported.targets[1:], (one, none), strict=True):
        (decision,) = named(home, "assistant", lineage(home, target), "decision")
        assert cited(decision, "policy") == {policy.id}
    assert {report.verdict for report in verify_targets(home, imported.targets)} == {"valid"}


def test_a_call_without_result_stays_without_outcome_and_can_be_walked_to(home):
    imported = import_transcript(home, transcript(MESSAGES[:4]))
    (target,) = imported.targets
    records = lineage(home, target)
    actions = {record.body["name"]: record.id for record in named(home, "tools", records, "action")}
    answered = {id for r in records if r.body.get("source") == "tool" for id in cited(r, "evidence")}
    assert answered == {actions["calendar"]} and set(actions) == {"boat", "calendar"}
    assert verify_targets(home, [target])[0].verdict == "valid"


@pytest.mark.thorough
def test_more_evidence_than_one_record_holds_is_gathered(home):
    many = [{"role": "user", "content": str(n)} for n in range(600)]
    imported = import_transcript(home, transcript([*many, {"role": "assistant", "content": "all read"}]))
    (target,) = imported.targets
    records = lineage(home, target)
    assert Counter(r.body.get("source") for r in records if r.kind == "observation")["user"] == 600
    assert max(sum(map(len, r.preds.values())) for r in records) <= 256
    assert verify_targets(home, [target])[0].verdict == "valid"


def test_a_manifest_that_leaves_no_room_for_evidence_is_said(home, monkeypatch):
    envelope = replace(home.manifest.envelope, fan_in_max=3)
    monkeypatch.setattr(type(home), "manifest", replace(home.manifest, envelope=envelope))
    users = [{"role": "user", "content": str(n)} for n in range(5)]
    with pytest.raises(UsageError, match="fan-in of 3"):
        import_transcript(home, transcript([*users, {"role": "assistant"}]))


def test_one_agent_is_not_two(home):
    before = held(home)
    with pytest.raises(UsageError, match="two agents"):
        import_transcript(home, transcript(), assistant="a", tools="a")
    assert held(home) == before


def test_ids_of_calls_longer_than_a_record_should_hold(home):
    call = {"id": "x" * 5000, "function": {"name": "dig", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "x" * 5000, "content": "done"},
    ]
    imported = import_transcript(home, transcript(messages))
    (action,) = named(home, "tools", lineage(home, imported.targets[0]), "action")
    assert action.body["input"]["id"] == f"sha256:{hashlib.sha256(b'x' * 5000).hexdigest()}"


def test_fields_beside_the_messages_are_kept(home):
    messages = [{"role": "system", "content": "s", "name": "n"}, {"role": "user", "content": "u", "weight": 0.5}]
    imported = import_transcript(home, transcript(messages))
    records = lineage(home, imported.targets[0])
    extras = {r.body["source"]: r.body["data"]["extra"] for r in records if "extra" in r.body.get("data", {})}
    assert home.store.get_blob(extras["system"]["digest"]) == b'{"name":"n"}'
    assert home.store.get_blob(extras["user"]["digest"]) == b'{"weight":0.5}'


def test_two_files_share_their_agents(home):
    one, two = (import_transcript(home, transcript(MESSAGES[:count])) for count in (2, 7))
    assert (one.assistant, one.tools) == (two.assistant, two.tools)
    assert {report.verdict for report in verify_targets(home, [*one.targets, *two.targets])} == {"valid"}


@pytest.mark.skipif("TSLG_TRANSCRIPTS" not in os.environ, reason="TSLG_TRANSCRIPTS names no file of real trajectories")
def test_a_file_of_real_trajectories(home):
    path = Path(os.environ["TSLG_TRANSCRIPTS"])
    read = parse(path.read_bytes(), path.name)
    imported = import_transcript(home, read)
    reports = verify_targets(home, imported.targets)
    assert Counter(report.verdict for report in reports) == {"valid": len(read.trajectories)}
    for trajectory, report in zip(read.trajectories, reports, strict=True):
        assert {agent.name for agent in report.agents} == (
            {"assistant", "tools"} if trajectory.tools else {"assistant"}
        )
        calls = sum(len(message.calls) for message in trajectory.messages)
        assert Counter(record.kind for record in report.records.values())["action"] == calls
    before = held(home)
    assert import_transcript(home, read).already and held(home) == before
