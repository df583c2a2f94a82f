"""`tslg import transcripts`: what it prints, how it ends, and what it leaves behind."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tslg.node.cli.import_transcripts import transcripts
from tslg.node.cli.root import tslg
from tslg.node.home import Home
from tslg.protocol.cid import from_text
from tslg.protocol.errors import AdapterError

CALL = {"id": "c1", "type": "function", "function": {"name": "find_boat", "arguments": "{}"}}
MESSAGES = [
    {"role": "system", "content": "You rent out boats."},
    {"role": "user", "content": "Is it free?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "yes"},
    {"role": "assistant", "content": "It is."},
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "boats.json"
    path.write_text(json.dumps([{"task_id": "t-1", "traj": MESSAGES}, MESSAGES[:3]]))
    return path


def run(tmp_path, *arguments, **options):
    return CliRunner().invoke(transcripts, [*map(str, arguments), "--data", str(tmp_path / "node")], **options)


def document(tmp_path, *arguments):
    result = run(tmp_path, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_document(tmp_path, file):
    data = document(tmp_path, file)
    assert (data["trajectories"], data["messages"], data["verdicts"]) == (2, 8, {"valid": 2})
    assert [agent["name"] for agent in data["agents"]] == ["assistant", "tools"]
    assert data["records"] == sum(data["kinds"].values()) and data["kinds"]["action"] == 2
    first, second = data["targets"]
    assert (first["index"], first["task_id"], first["agents"], second["index"]) == (0, "t-1", 2, 1)
    assert first["records"] + second["records"] == data["records"] - 1
    (about,) = data["files"]
    assert (about["file"], about["already"]) == (str(file), False)
    (warning,) = about["warnings"]
    assert (warning["code"], warning["line"]) == ("TSLG-I-RESULT", 1)
    with Home.read(tmp_path / "node") as home:
        assert home.store.has(from_text(first["target"])) and home.store.has(from_text(about["record"]))


def test_again(tmp_path, file):
    first, second = document(tmp_path, file), document(tmp_path, file, "--tools", "others")
    assert second["files"][0]["already"] and second["records"] == 0 and second["agents"] == first["agents"]
    assert [entry["target"] for entry in second["targets"]] == [entry["target"] for entry in first["targets"]]
    assert document(tmp_path, file, "--again", "--no-verify")["verdicts"] == {}


def test_for_people(tmp_path, file):
    result = run(tmp_path, file)
    assert result.exit_code == 0 and "verified: 2 valid" in result.stdout and "task t-1" in result.stdout
    assert f"warning: TSLG-I-RESULT: {file}:1:" in result.stderr
    assert "imported before, nothing added" in run(tmp_path, file).stdout


def test_standard_input(tmp_path):
    result = run(tmp_path, "-", input=json.dumps(MESSAGES))
    assert result.exit_code == 0 and "stdin: imported" in result.stdout


def test_of_several_files_none_is_imported_if_one_is_broken(tmp_path, file):
    broken = tmp_path / "broken.json"
    broken.write_text('[{"role": "user"},\n {"role"]')
    result = run(tmp_path, file, broken)
    assert isinstance(result.exception, AdapterError)
    assert result.exception.detail.startswith(f"{broken}:2:9: expected ':'")
    assert not (tmp_path / "node").exists()


def test_a_long_list_is_cut_for_people(tmp_path):
    result = run(tmp_path, "-", "--no-verify", input=json.dumps([[MESSAGES[1]]] * 25))
    assert "… 5 more, see --json" in result.stdout and "verified: nothing" in result.stdout


def test_the_command_is_where_people_look_for_it(tmp_path, file):
    result = CliRunner().invoke(tslg, ["import", "transcripts", str(file), "--data", str(tmp_path / "node"), "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["trajectories"] == 2
    result = CliRunner().invoke(
        tslg, ["import", "transcripts", str(file), "--tools", "assistant", "--data", str(tmp_path)]
    )
    assert result.exit_code == 3 and "error: TSLG-U-USAGE: the assistant and the tools are two agents" in result.stderr
