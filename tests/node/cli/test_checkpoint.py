"""`tslg checkpoint`, `tslg prove` and `tslg verify --head`: a log that is cut off is found out."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture
def later(world, cli, tmp_path):
    """A checkpoint of alpha's log, made after one more record than the world holds."""
    shutil.copytree(world.data, tmp_path / "later")
    cli.text("record", "state", "--agent", "alpha", "--data", tmp_path / "later")
    cli.text("checkpoint", "alpha", "--out", tmp_path / "later.note", "--data", tmp_path / "later")
    return tmp_path / "later.note"


def test_a_checkpoint_is_a_signed_note_of_the_log(made, cli, tmp_path):
    told = cli.json("checkpoint", "alpha", "--data", made.data)
    lines = told["checkpoint"].splitlines()
    assert lines[:2] == [f"tslg/{made.alpha}", str(told["size"])] and lines[3] == ""
    assert cli.text("checkpoint", made.alpha, "--data", made.data) == told["checkpoint"]
    cli.text("checkpoint", "alpha", "--out", tmp_path / "note", "--data", made.data)
    assert (tmp_path / "note").read_text() == told["checkpoint"]


def test_a_checkpoint_makes_the_tail_known(made, cli, tmp_path):
    cli.text("checkpoint", "alpha", "--out", tmp_path / "note", "--data", made.data)
    report = cli.json("verify", made.car, "--head", tmp_path / "note")
    known = {item["agent"]: item["from"] for item in report["freshness"]}
    assert known == {made.alpha: "log", made.beta: "nobody"} and report["verdict"] == "valid"


def test_a_log_that_ends_before_its_checkpoint_is_found_out(world, later, cli):
    bundle = cli.json("verify", world.car, "--head", later, code=2)
    assert any(item["reason"].startswith("tail") for item in bundle["undetermined"])
    held = cli.json("verify", world.target, "--data", world.data, "--head", later, code=1)
    assert [finding["code"] for finding in held["findings"]] == ["TSLG-V-TAIL"]


def test_a_log_that_was_rewritten_is_found_out(world, cli, tmp_path):
    shutil.copytree(world.data, tmp_path / "fork")
    for data, step in ((world.data, 1), (tmp_path / "fork", 2)):
        cli.text("record", "state", f"step:={step}", "--agent", "alpha", "--data", data)
    last = cli.json("log", "alpha", "--last", 1, "--data", world.data)["records"][0]["record"]
    cli.text("checkpoint", "alpha", "--out", tmp_path / "note", "--data", tmp_path / "fork")
    report = cli.json("verify", last, "--data", world.data, "--head", tmp_path / "note", code=1)
    assert "TSLG-V-FORK" in [finding["code"] for finding in report["findings"]]


@pytest.mark.spec("CHK-6")
def test_a_checkpoint_by_another_key_is_not_believed(world, later, cli, tmp_path):
    cli.text("checkpoint", "beta", "--out", tmp_path / "beta.note", "--data", world.data)
    lines = later.read_text().splitlines()
    lines[4] = (tmp_path / "beta.note").read_text().splitlines()[4].replace(world.beta, world.alpha)
    (tmp_path / "forged").write_text("\n".join(lines) + "\n")
    assert "TSLG-K-SIGNATURE" in cli.error("verify", world.car, "--head", tmp_path / "forged")


def test_a_checkpoint_of_a_log_that_was_not_met_is_left_out_aloud(world, cli, tmp_path):
    cli.text("checkpoint", "beta", "--out", tmp_path / "note", "--data", world.data)
    alone = cli.json("record", "state", "--agent", "alpha", "--data", world.data)["record"]
    result = cli.run("verify", alone, "--depth", 1, "--data", world.data, "--head", tmp_path / "note", "--json")
    assert result.exit_code == 0 and "did not meet" in result.stderr
    json.loads(result.stdout)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xfe", b"x" * 100_000])
def test_what_is_no_checkpoint_is_one_line(made, cli, tmp_path, content):
    (tmp_path / "note").write_bytes(content)
    assert "TSLG-K-CHECKPOINT" in cli.error("verify", made.car, "--head", tmp_path / "note")
    assert "TSLG-U-FILE" in cli.error("verify", made.car, "--head", tmp_path / "absent")


def test_a_checkpoint_needs_the_key(made, cli):
    assert "the key of" in cli.error("checkpoint", "North Sea", "--data", made.data)


def test_a_record_is_proved_to_lie_in_its_log(made, cli, tmp_path):
    proof = json.loads(cli.text("prove", made.target, "--data", made.data))
    (tmp_path / "proof").write_text(json.dumps(proof))
    cli.text("checkpoint", "alpha", "--out", tmp_path / "note", "--data", made.data)
    checked = cli.json("prove", "--check", tmp_path / "proof", "--head", tmp_path / "note")
    assert checked["verdict"] == "valid" and checked["record"] == made.target
    for name, value in (("index", 0), ("record", made.observation), ("root", "00" * 32), ("proof", [])):
        (tmp_path / "changed").write_text(json.dumps(proof | {name: value}))
        assert cli.text("prove", "--check", tmp_path / "changed", code=1).startswith("invalid")


def test_a_proof_that_leads_elsewhere_than_the_checkpoint_is_invalid(made, later, cli, tmp_path):
    (tmp_path / "proof").write_text(cli.text("prove", made.target, "--data", made.data))
    told = cli.json("prove", "--check", tmp_path / "proof", "--head", later, code=1)
    assert "another log, size or root" in told["detail"]


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 99_999, '{"record": 1, "proof": []}'])
def test_what_is_no_proof_is_one_line(cli, tmp_path, content):
    (tmp_path / "proof").write_text(content)
    assert "no proof" in cli.error("prove", "--check", tmp_path / "proof")


def test_a_proof_with_a_wrong_type_is_one_line(made, cli, tmp_path):
    proof = json.loads(cli.text("prove", made.target, "--data", made.data))
    for name, value in (("index", "3"), ("root", 5), ("proof", [1]), ("proof", "ab"), ("root", "zz"), ("record", "x")):
        (tmp_path / "proof").write_text(json.dumps(proof | {name: value}))
        cli.error("prove", "--check", tmp_path / "proof")
    assert "either" in cli.error("prove")


def test_a_checkpoint_is_cited_by_another_agent(world, cli, tmp_path):
    told = cli.json("checkpoint", "cite", "alpha", "--as", "beta", "--data", world.data)
    assert told["log"] == f"tslg/{world.alpha}" and "observation" in cli.text(
        "show", told["record"], "--data", world.data
    )
    cli.text("checkpoint", "beta", "--out", tmp_path / "note", "--data", world.data)
    cited = cli.text("checkpoint", "cite", tmp_path / "note", "--as", "alpha", "--data", world.data).strip()
    assert cli.json("verify", cited, "--data", world.data)["verdict"] == "valid"
    assert "TSLG-U-UNKNOWN" in cli.error("checkpoint", "cite", "alpha", "--as", "nobody", "--data", world.data)
    assert "TSLG-A-CHECKPOINT" in cli.error("checkpoint", "cite", "alpha", "--as", "alpha", "--data", world.data)
    assert cli.text("checkpoint", "sign", "alpha", "--data", world.data).startswith("tslg/")
