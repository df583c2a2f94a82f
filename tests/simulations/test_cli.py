"""`tslg simulate` as people and programs use it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from simulated_bugs import BUGS

from tslg.node.cli.root import tslg


def call(*args: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(tslg, ["simulate", *args])
    return done.exit_code, done.stdout, done.stderr


def test_a_run_is_told_as_one_document_and_for_people(tmp_path, quiet):
    path = tmp_path / "quiet.toml"
    path.write_text(quiet, encoding="utf-8")
    code, out, _ = call(str(path), "--seed", "3", "--hours", "0.002", "--json")
    document = json.loads(out)
    assert code == 0 and document["broken"] is None and document["seed"] == 3
    assert document["command"] == f"tslg simulate {path} --seed 3 --hours 0.002"
    code, out, _ = call(str(path), "--seed", "3", "--hours", "0.002")
    assert code == 0 and document["digest"] in out and "every invariant held" in out


def test_many_runs_are_kept_as_parquet(tmp_path, quiet):
    files = pytest.importorskip("pyarrow.parquet")
    path, out = tmp_path / "quiet.toml", tmp_path / "runs.parquet"
    path.write_text(quiet, encoding="utf-8")
    code, said, _ = call(
        str(path), "--seeds", "1..3", "--hours", "0.001", "--workers", "1", "--out", str(out), "--json"
    )
    assert code == 0 and json.loads(said)["runs"] == 3
    rows = files.read_table(out).to_pylist()
    assert [row["seed"] for row in rows] == [1, 2, 3] and json.loads(rows[0]["counts"])["records"] > 0


def test_what_breaks_ends_with_one_and_a_shorter_scenario_that_breaks_too(tmp_path, monkeypatch):
    patch, text, _ = BUGS["takes what is missing for there"]
    patch(monkeypatch)
    path, shorter = tmp_path / "bug.toml", tmp_path / "shorter.toml"
    path.write_text(text, encoding="utf-8")
    code, out, _ = call(str(path), "--seeds", "1..2", "--workers", "1", "--minimise", str(shorter))
    assert code == 1 and f"tslg simulate {path} --seed" in out and f"tslg simulate {shorter} --seed" in out
    code, out, _ = call(str(shorter), "--seed", "1")
    assert code == 1 and "completeness" in out


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["nowhere"], "TSLG-U-SCENARIO: there is no scenario 'nowhere'"),
        ([], "no scenario is named"),
        (["amendment", "--seeds", "9..3"], "is not of the form A..B"),
        (["amendment", "--seed", "1", "--seeds", "1..2"], "one seed or many"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(args, told):
    code, _, err = call(*args)
    assert code == 3 and told in err


def test_the_scenarios_are_listed():
    code, out, _ = call("--list", "--json")
    assert code == 0 and "open-federation" in [one["name"] for one in json.loads(out)["scenarios"]]
