"""`tslg disclose`, and `tslg export car --withhold`: single fields, with proofs, without the others."""

from __future__ import annotations

import pytest
from world import MERKLE, founded

from tslg.node.home import Home
from tslg.protocol.cid import to_text

SECRET = "because the applicant's brother is ill"


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """A data directory, and in it a decision that withholds, the policy behind it, and the federation."""
    data = tmp_path_factory.mktemp("clinic") / "data"
    made = founded(MERKLE, "cli")
    with Home.open(data, federation=(made.manifest_record, made.seal)) as home:
        agent = home.agent("triage")
        policy = agent.policy("rules")
        seen = agent.observe("interview", {"said": SECRET})
        decision = agent.decide("credit", "granted", evidence=seen, policy=policy, reason=SECRET)
    return data, to_text(decision.id), to_text(policy.id), to_text(made.manifest_record.id)


def test_one_field_is_shown_and_the_others_are_not_in_the_file(clinic, cli, tmp_path):
    data, decision, _, federation = clinic
    car = tmp_path / "one.car"
    told = cli.json("disclose", decision[:20], "--fields", "outcome,name", "--out", car, "--data", data)
    assert told == {"bundle": str(car), "target": decision, "verdict": "valid", "fields": ["name", "outcome"]}
    assert SECRET.encode() not in car.read_bytes()
    shown = cli.json("disclose", car, "--check", "--federation", federation)
    assert shown["records"] == [
        {
            "target": decision,
            "verdict": "valid",
            "disclosed": {"name": "credit", "outcome": "granted"},
            "withheld": ["blob", "data", "reason"],
        }
    ]
    assert "outcome = granted" in cli.text("disclose", car, "--check", "--federation", federation)
    assert cli.json("verify", car, "--federation", federation, "--depth", 0)["verdict"] == "valid"


def test_nothing_at_all_can_be_shown(clinic, cli, tmp_path):
    data, decision, _, _ = clinic
    car = tmp_path / "none.car"
    cli.text("disclose", decision, "--out", car, "--data", data)
    assert cli.json("disclose", car, "--check")["records"][0]["disclosed"] == {}


def test_a_field_that_was_changed_is_found(clinic, cli, tmp_path):
    data, decision, _, federation = clinic
    car = tmp_path / "changed.car"
    cli.text("disclose", decision, "--fields", "outcome", "--out", car, "--data", data)
    car.write_bytes(car.read_bytes().replace(b"granted", b"refused"))
    shown = cli.json("disclose", car, "--check", "--federation", federation, code=1)
    assert shown["records"][0]["verdict"] == "invalid"


def test_what_cannot_be_shown_is_said(clinic, cli, tmp_path):
    data, decision, policy, federation = clinic
    car = tmp_path / "x.car"
    options = ("--out", car, "--data", data)
    assert "not a field" in cli.error("disclose", decision, "--fields", "uses", *options)
    assert "withholds nothing" in cli.error("disclose", policy, "--fields", "name", *options)
    assert "--out" in cli.error("disclose", decision, "--fields", "name", "--data", data)
    assert not car.exists()
    cli.text("disclose", decision, "--fields", "name", *options)
    other = tmp_path / "other"
    cli.json("import", "car", car, "--federation", federation, "--depth", 0, "--data", other)
    error = cli.error("disclose", decision, "--fields", "reason", "--out", tmp_path / "y.car", "--data", other)
    assert "not disclosed here either" in error
    assert cli.json("show", decision, "--data", other)["disclosed"] == {"name": "credit"}
    assert "[withheld]" in cli.text("log", "triage", "--data", other)


def test_a_bundle_without_some_fields(clinic, cli, tmp_path):
    data, decision, _, federation = clinic
    car = tmp_path / "cut.car"
    cli.json("export", "car", decision, car, "--withhold", "*/reason", "--withhold", "observation/data", "--data", data)
    assert SECRET.encode() not in car.read_bytes() and b"granted" in car.read_bytes()
    report = cli.json("verify", car, "--federation", federation)
    assert report["verdict"] == "valid"
    assert sorted(one["fields"] for one in report["undisclosed"]) == [["data"], ["reason"]]
    assert "withheld   reason" in cli.text("verify", car, "--federation", federation)
    assert "no field" in cli.error("export", "car", decision, car, "--withhold", "decision/uses", "--data", data)


def test_show_tells_what_is_there(clinic, cli):
    data, decision, policy, _ = clinic
    shown = cli.json("show", decision, "--data", data)
    assert shown["disclosed"]["reason"] == SECRET and shown["withheld"] == [] and shown["redacted_by"] == []
    assert SECRET in cli.text("show", decision, "--data", data)
    assert "withheld" not in cli.json("show", policy, "--data", data)
