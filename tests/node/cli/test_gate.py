"""`tslg gate`: policies are checked, steps judged and recorded, and the state shown."""

from __future__ import annotations

import json

import pytest
from gates import POLICY
from homes import opened


@pytest.fixture
def governed(tmp_path, cli):
    (tmp_path / "policy.toml").write_text(POLICY)
    with opened(tmp_path / "node") as home:
        home.agent("bot")
    return cli, tmp_path


def step(base, **more):
    path = base / "step.json"
    path.write_text(json.dumps({"intent": "answer", "model": "m", "version": "1"} | more))
    return path


def test_a_policy_is_checked_with_its_place(governed):
    tslg, base = governed
    told = tslg.json("gate", "check", base / "policy.toml", "--data", base / "node")
    assert told["holds"] and told["intents"]["refund"] == {"class": "internal", "tier": "autonomous"}
    broken = base / "broken.toml"
    broken.write_text('class = "secret"')
    assert tslg.json("gate", "check", broken, "--data", base / "node", code=1)["detail"].startswith("class: 'secret'")
    broken.write_text('cedar = "permit it"')
    assert tslg.run("gate", "check", broken).exit_code == 1


def test_a_step_is_tried_and_nothing_recorded(governed):
    tslg, base = governed
    before = tslg.json("log", "bot", "--data", base / "node")
    told = tslg.json("gate", "check", base / "policy.toml", "--candidate", step(base, intent="drop-tables"), code=1)
    assert (told["admitted"], told["stage"], told["rule"]) == (False, "policy", "intents")
    assert tslg.json("gate", "check", base / "policy.toml", "--candidate", step(base))["admitted"] is True
    parts = [
        {"intent": "look-up", "model": "m", "version": "1"},
        {"intent": "drop-tables", "model": "m", "version": "1"},
    ]
    told = tslg.json("gate", "check", base / "policy.toml", "--candidate", step(base, parts=parts), code=1)
    assert told["rule"] == "intents"
    assert tslg.json("log", "bot", "--data", base / "node") == before


def test_steps_are_submitted_and_shown(governed):
    tslg, base = governed
    policy, data = base / "policy.toml", ("--data", base / "node")
    told = tslg.json("gate", "submit", policy, step(base, state={"turn": 1}, output=[0.25, 0.75]), *data)
    assert told["verdict"] == "admitted" and told["class"] == "internal"
    refused = tslg.json("gate", "submit", policy, step(base, intent="drop-tables"), *data, code=1)
    assert refused["stage"] == "policy" and tslg.json("verify", refused["record"], *data)["verdict"] == "valid"
    shown = tslg.json("gate", "show", *data)
    assert shown["state"]["data"] == {"turn": 1} and shown["since"] == told["record"]
    assert [one["verdict"] for one in shown["steps"]] == ["rejected", "admitted"]
    text = tslg.text("gate", "show", *data)
    assert '{"turn": 1}' in text and "policy: intent 'drop-tables'" in text


def test_a_step_comes_from_stdin(governed):
    tslg, base = governed
    given = step(base, digests={"prompt": "00" * 32}).read_text()
    result = tslg.run("gate", "submit", base / "policy.toml", "-", "--data", base / "node", input=given)
    assert result.exit_code == 0 and result.output.startswith("admitted  internal  b")


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"intent": "answer"}', '{"intent": "answer", "model": "m", "version": "1", "colour": 1}']
    + ['{"intent": "answer", "model": "m", "version": "1", ' + more + "}" for more in (
        '"inputs": []', '"token": "xyz"', '"uses": "a"', '"parts": {}', '"digests": {"a": "00"}', '"state": {"a": 0.5}',
        '"spends": {"a": -1}', '"grain": "word"',
    )],
)  # fmt: skip
def test_what_is_no_candidate_is_told_in_one_line(governed, text):
    tslg, base = governed
    path = base / "bad.json"
    path.write_text(text)
    result = tslg.run("gate", "submit", base / "policy.toml", path, "--data", base / "node")
    assert result.exit_code == 3 and result.output.startswith("error: TSLG-") and result.output.count("\n") == 1
