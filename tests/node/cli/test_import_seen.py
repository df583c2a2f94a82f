"""`tslg import otel`, and `tslg import transcripts` line by line: what they print, and how they end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import otlp
import pytest
import traced

from tslg.node.home import Home
from tslg.protocol import codec
from tslg.protocol.cid import to_text
from tslg.protocol.errors import StoreError

MESSAGES = [
    {"role": "user", "content": "Is it free?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": {"name": "look-up-order"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "yes"},
    {"role": "assistant", "content": "It is."},
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A policy, a file of traces, a stream of messages, and a file with two conversations."""
    folder = tmp_path_factory.mktemp("seen")
    made = traced.Traced()
    traced.a_day_at_support(made)
    (folder / "policy.toml").write_bytes(traced.POLICY)
    (folder / "traces.jsonl").write_bytes(otlp.line(made.exporter.get_finished_spans()))
    (folder / "chat.jsonl").write_text("".join(json.dumps(one) + "\n" for one in MESSAGES))
    (folder / "chats.json").write_text(json.dumps([{"traj": MESSAGES}, {"traj": MESSAGES[:2]}], indent=1))
    return folder


def test_traces(cli, files, tmp_path):
    how = ("--data", tmp_path / "node", "--policy", files / "policy.toml")
    data = cli.json("import", "otel", files / "traces.jsonl", *how)
    assert (data["spans"], data["traces"], data["already"]) == (8, 1, 0)
    assert data["verdicts"] == {"admitted": 5, "composed": 2, "rejected": 1}
    (target,) = data["targets"]
    assert cli.json("verify", target["target"], "--data", tmp_path / "node")["verdict"] == "valid"
    text = cli.text("import", "otel", files / "traces.jsonl", *how)
    assert "recorded: 0\nrecorded before: 8\n" in text and target["target"] in text


def test_traces_without_a_policy_and_from_standard_input(cli, files, tmp_path):
    how = ("--data", tmp_path / "node", "--agent", "watcher")
    result = cli.run("import", "otel", "-", *how, "--json", input=(files / "traces.jsonl").read_text())
    data = json.loads(result.stdout)
    assert data["verdicts"] == {"observed": 8} and data["agent"]["name"] == "watcher"


def test_traces_that_are_none(cli, files, tmp_path):
    line = cli.error("import", "otel", files / "chat.jsonl", files / "policy.toml", "--data", tmp_path / "node")
    assert "policy.toml:2: no JSON" in line
    line = cli.error("import", "otel", tmp_path / "missing", "--data", tmp_path / "node")
    assert "TSLG-U-FILE" in line


def test_a_stream(cli, files, tmp_path):
    how = ("--data", tmp_path / "node", "--policy", files / "policy.toml", "--model", "gpt")
    data = cli.json("import", "transcripts", files / "chat.jsonl", *how)
    assert data["verdicts"] == {"admitted": 3, "composed": 1, "observed": 1} and data["conversations"] == 1
    assert cli.json("import", "transcripts", files / "chat.jsonl", *how)["verdicts"] == {}
    target = data["targets"][0]["target"]
    assert cli.json("verify", target, "--data", tmp_path / "node")["verdict"] == "valid"
    text = cli.text("import", "transcripts", "-", "--stream", "--data", tmp_path / "other")
    assert "recorded: 0" in text


def test_a_file_of_conversations_is_judged(cli, files, tmp_path):
    how = ("--data", tmp_path / "node", "--policy", files / "policy.toml")
    text = cli.text("import", "transcripts", files / "chats.json", *how)
    assert "conversations: 2\n" in text and "5 admitted" in text


def test_only_one_file_is_followed(cli, files, tmp_path):
    for wrong in ((files / "chat.jsonl", files / "chats.json"), ("-",)):
        assert "one file is followed" in cli.error(
            "import", "transcripts", *wrong, "--follow", "--data", tmp_path / "node"
        )


def test_a_file_is_followed_until_ctrl_c_and_from_there_the_next_time(files, tmp_path):
    path = tmp_path / "growing.jsonl"
    lines = (files / "chat.jsonl").read_text().splitlines(keepends=True)
    arguments = ["import", "transcripts", path, "--follow", "--data", tmp_path / "node", "--json"]
    command = [sys.executable, "-m", "tslg.node.cli", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = []
    for count in (2, 4):
        path.write_text("".join(lines[:count]))
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as follower:
            _wait_for_note(tmp_path / "node", path, sum(map(len, lines[:count])), follower)
            follower.send_signal(signal.SIGINT)
            found.append(json.loads(follower.communicate(timeout=30)[0]))
        assert follower.returncode == 0
    assert [(one["verdicts"], one["already"]) for one in found] == [({"observed": 2}, 0), ({"observed": 2}, 2)]


def _wait_for_note(data, path, at, follower):
    """Wait until it is noted that the file was read to there."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    for _ in range(400):
        assert follower.poll() is None, "it ended by itself"
        try:
            with Home.read(data) as home:
                notes = [home.store.get_meta(f"stream/{to_text(log.owner)}/{name}") for log in home.store.logs()]
        except StoreError:
            # Not there yet.
            notes = []
        if any(note is not None and codec.decode(note)["at"] == at for note in notes):
            return
        time.sleep(0.05)
    raise AssertionError("it was not read")
