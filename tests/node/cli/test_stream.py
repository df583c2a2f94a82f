"""`tslg stream`: what it prints, where it goes on, and what it refuses."""

from __future__ import annotations

import json
import shutil

import pytest
from steps import step

from tslg.node.home import Home


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held")
    with Home.open(folder / "d") as home:
        agent = home.agent("one")
        for n in range(3):
            step(agent, n)
        step(agent, 3, "rejection")
    return folder / "d"


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.spec("STR-10")
def test_each_run_goes_on_where_the_last_one_ended(held, cli, tmp_path):
    shutil.copytree(held, tmp_path / "d")
    data = tmp_path / "d"
    found = objects(cli.text("stream", "--once", "--json", "--data", data))
    assert [one["kind"] for one in found] == ["inference"] * 3 + ["rejection"] and found[-1]["behind"] == 0
    assert cli.text("stream", "--once", "--json", "--data", data) == ""
    named = ("--once", "--cursor", "other", "--kinds", "rejection", "--data", data)
    assert cli.text("stream", *named).count("\n") == 1
    with Home.open(data) as home:
        step(home.agent("one"), 5)
    assert len(objects(cli.text("stream", "--once", "--json", "--data", data))) == 1
    assert cli.text("stream", "--once", "--new", "--cursor", "new", "--kinds", "all", "--data", data) == ""
    out = tmp_path / "steps.jsonl"
    for _ in range(2):
        assert cli.text("stream", "--once", "--out", out, "--data", data) == ""
        assert len(objects(out.read_text())) == 5


def test_what_an_agent_is_called_steers_no_terminal(cli, tmp_path):
    with Home.open(tmp_path / "d") as home:
        step(home.agent("o\x9bne\nforged"), 1)
    (line,) = cli.text("stream", "--once", "--data", tmp_path / "d").splitlines()
    assert "\x9b" not in line and "o\ufffdne" in line


@pytest.mark.spec("STR-11")
def test_a_fork_ends_in_exit_code_1(held, cli, tmp_path):
    shutil.copytree(held, tmp_path / "d")
    shutil.copytree(held, tmp_path / "e")
    with Home.open(tmp_path / "e") as home:
        other = step(home.agent("one"), 9)
        seal = home.store.get(other.id).seal
    with Home.open(tmp_path / "d") as home:
        step(home.agent("one"), 8)
        assert home.ledger.note_rival(other, seal)
    result = cli.run("stream", "--once", "--json", "--data", tmp_path / "d")
    assert result.exit_code == 1 and "is forked at position" in result.stderr
    assert len(objects(result.stdout)) == 5


def test_what_cannot_be_streamed_is_said(held, cli, tmp_path):
    assert "no kind 'thought'" in cli.error("stream", "--once", "--kinds", "thought", "--data", held)
    assert "no name for a cursor" in cli.error("stream", "--once", "--cursor", "../x", "--data", held)
    assert "no federation yet" in cli.error("stream", "--once", "--data", tmp_path / "none")
    assert "TSLG-N-ADDRESS" in cli.error("stream", "--from", "/ip4/", "--data", held)
    out = tmp_path / "out"
    out.write_text("something else\n")
    assert "TSLG-U-CURSOR" in cli.error("stream", "--once", "--out", out, "--data", held)
    shutil.copytree(held, tmp_path / "d")
    options = ("--once", "--observe-as", "nobody", "--kinds", "release", "--data", tmp_path / "d")
    assert "no agent here is named" in cli.error("stream", *options)
