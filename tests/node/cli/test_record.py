"""Agents and their records from a shell: `agent`, `record`, `log`, `show` and `query`."""

from __future__ import annotations

import base64
import json

import pytest

from tslg.protocol import codec
from tslg.protocol.cid import compute, from_text


@pytest.fixture
def data(tmp_path, cli):
    """A directory with the one agent alice."""
    cli.text("agent", "new", "alice", "--data", tmp_path / "alice")
    return tmp_path / "alice"


def body(cli, data, id):
    return cli.json("show", id, "--data", data)["record"]["body"]


def test_a_new_agent_is_listed_and_shown(cli, data):
    made = cli.json("agent", "new", "bob", "--data", data)
    listed = cli.json("agent", "list", "--data", data)["agents"]
    assert [(one["name"], one["state"], one["records"]) for one in listed] == [
        ("alice", "joined", 2),
        ("bob", "joined", 2),
    ]
    shown = cli.json("agent", "show", "bob", "--data", data)
    assert shown["agent"] == made["agent"] and shown["federation"] == made["federation"]
    assert shown == cli.json("agent", "show", made["agent"][:20], "--data", data)
    assert "bob" in cli.text("agent", "list", "--data", data)
    assert "already" in cli.error("agent", "new", "bob", "--data", data)


def test_the_seed_is_never_shown(cli, data):
    (file,) = (data / "keys").glob("b*.json")
    seed = json.loads(file.read_text())["seed"]
    for command in (["agent", "show", "alice"], ["agent", "list"], ["log", "alice"], ["checkpoint", "alice"]):
        assert seed not in cli.text(*command, "--data", data)


def test_every_kind_of_record_is_appended_and_shown(cli, data):
    def record(*arguments):
        return cli.json("record", *arguments, "--data", data)["record"]

    state = record("state", "mode=idle", "n:=3", "--name", "start")
    seen = record("observe", "sensor", "--data-json", '{"celsius": 21, "tags": ["a", null, true]}')
    record("policy", "own", "--capability", "ship", "--limit", "eur=10", "--not-after", "7d", "--adopt")
    act = record("act", "pay", "to=bob", "--output-json", '{"ok": true}', "--uses", "ship", "--spends", "eur=3")
    decided = record("decide", "release", "ship", "--evidence", seen[:20], "--evidence", act, "--reason", "warm")
    grant = record("policy", "grant", "--capability", "ship")
    other = cli.json("agent", "new", "bob", "--data", data)["agent"]
    given = cli.json("record", "delegate", "bob", "do=it", "--grant", grant, "--agent", "alice", "--data", data)
    assert body(cli, data, state) == {"name": "start", "data": {"mode": "idle", "n": 3}}
    assert body(cli, data, seen)["data"] == {"celsius": 21, "tags": ["a", None, True]}
    assert body(cli, data, act)["spends"] == {"eur": 3} and body(cli, data, act)["uses"] == ["ship"]
    assert body(cli, data, given["record"])["delegate"] == {"/": other}
    shown = cli.json("show", decided, "--data", data)["record"]
    assert {edge["cid"]["/"] for edge in shown["preds"]["evidence"]} == {seen, act}
    assert cli.json("verify", decided, "--data", data)["verdict"] == "valid"
    kinds = [one["kind"] for one in cli.json("log", "alice", "--data", data)["records"]]
    assert kinds[2:] == ["state", "observation", "policy", "action", "decision", "policy", "delegation"]


def test_content_goes_into_the_blob_store(cli, data, tmp_path):
    from tslg.node.home import Home

    (tmp_path / "photo").write_bytes(b"\x00" * 100_000)
    seen = cli.json("record", "observe", "camera", "--content", tmp_path / "photo", "--data", data)["record"]
    blob = body(cli, data, seen)["blob"]
    assert blob["size"] == 100_000
    digest = base64.b64decode(blob["digest"]["/"]["bytes"] + "=")
    with Home.read(data) as home:
        assert home.store.get_blob(digest) == b"\x00" * 100_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["state", "x"], "KEY=VALUE"),
        (["state", "x=1", "x=2"], "given twice"),
        (["state", "x:=[1,"], "not JSON"),
        (["state", "--data-json", "[1]"], "not a map"),
        (["state", "--data-json", '{"a": 1, "a": 2}'], "comes twice"),
        (["state", "x:=1.5"], "TSLG-C-FLOAT"),
        (["state", "x:=" + "[" * 100_000], "not JSON"),
        (["state", "x:=" + "[" * 50 + "]" * 50], "TSLG-"),
        (["state", f"x:={2**60}"], "TSLG-C-INTEGER"),
        (["state", "x=" + "y" * 70_000], "TSLG-R-SIZE"),
        (["state", "--principal", "alice"], "TSLG-U-USAGE"),
        (["decide", "a", "b"], "TSLG-A-CLASSES"),
        (["act", "a", "--spends", "x=y"], "whole number"),
        (["act", "a", "--uses", "everything"], "TSLG-A-SCOPE"),
        (["act", "a", "--evidence", "hello"], "TSLG-C-CID"),
        (["act", "a", "--evidence", str(Ellipsis)], "TSLG-C-CID"),
        (["observe", "a", "--content", "/no/such/file"], "TSLG-U-FILE"),
        (["policy", "a", "--not-after", "tomorrow"], "no moment"),
        (["policy", "a", "--not-after", "2030-01-31T12:00:00"], "no moment"),
        (["delegate", "nobody", "--grant", "bafyrei"], "no agent here is named"),
        (["state", "--agent", "nobody"], "TSLG-U-UNKNOWN"),
    ],
)
def test_what_cannot_be_recorded_is_refused_in_one_line(cli, data, arguments, said):
    before = cli.json("log", "--data", data)
    assert said in cli.error("record", *arguments, "--data", data)
    assert cli.json("log", "--data", data) == before


def test_an_id_that_is_not_held_cannot_be_cited(cli, data):
    from tslg.protocol.cid import to_text

    error = cli.error("record", "act", "a", "--evidence", to_text(compute(b"x")), "--data", data)
    assert "not held" in error


def test_where_no_agent_is_nothing_is_made(cli, tmp_path):
    for command in (["record", "state"], ["log"], ["agent", "list"], ["fsck"], ["export", "car", "b", "f"]):
        assert "TSLG-D-MISSING" in cli.error(*command, "--data", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_several_agents_must_be_told_apart(cli, data):
    cli.text("agent", "new", "bob", "--data", data)
    assert "alice, bob" in cli.error("record", "state", "--data", data)
    assert cli.json("record", "state", "--agent", "bob", "--data", data)["seq"] == 2


def test_the_data_directory_may_come_from_the_environment(cli, data, monkeypatch):
    from click.testing import CliRunner

    from tslg.node.cli.root import tslg

    result = CliRunner().invoke(tslg, ["log", "--json"], env={"TSLG_DATA": str(data)})
    assert json.loads(result.stdout)["logs"]
    result = CliRunner().invoke(tslg, ["log"], env={"TSLG_DATA": None, "TSLG_HOME": str(data.parent / "none")})
    assert result.exit_code == 3 and str(data.parent / "none" / "node") in result.stderr


# --- looking ---


def test_logs_and_records_are_listed(made, cli):
    logs = cli.json("log", "--data", made.data)
    assert {one["name"] for one in logs["logs"]} == {"North Sea", "alpha", "beta"}
    assert all(one["complete"] for one in logs["logs"]) and logs["federation"] == made.federation
    records = cli.json("log", made.alpha[:20], "--data", made.data)["records"]
    assert [one["seq"] for one in records] == list(range(len(records)))
    assert cli.json("log", "alpha", "--last", 2, "--data", made.data)["records"] == records[-2:]
    lines = cli.text("log", "beta", "--data", made.data).splitlines()
    assert lines[0].split() == ["SEQ", "TIME", "CLAIMED", "WHAT", "RECORD"] and made.beta in lines[1]


def test_a_record_is_shown_whole(made, cli):
    shown = cli.json("show", made.target, "--data", made.data)
    assert shown["id"] == made.target and shown["record"]["agent"] == {"/": made.alpha}
    assert compute(base64.b64decode(shown["data"])) == from_text(made.target)
    text = cli.text("show", made.target, "--data", made.data)
    assert "decision release: ship" in text and "of beta" in text and "ED25519" in text


def test_raw_bytes_are_those_that_the_id_names(made, cli):
    result = cli.run("show", made.target, "--raw", "--data", made.data)
    assert compute(result.stdout_bytes) == from_text(made.target)
    assert codec.decode(result.stdout_bytes)["kind"] == "decision"


def test_what_is_not_here_is_not_shown(made, cli):
    from tslg.protocol.cid import to_text

    assert "TSLG-U-UNKNOWN" in cli.error("show", to_text(compute(b"x")), "--data", made.data)
    assert "TSLG-U-UNKNOWN" in cli.error("log", "nobody", "--data", made.data)
    assert "TSLG-U-UNKNOWN" in cli.error("log", made.target, "--data", made.data)


def test_questions_to_the_graph(made, cli):
    def ask(*arguments):
        return [one["record"] for one in cli.json("query", *arguments, "--data", made.data)["found"]]

    (finding,) = ask("children", made.observation, "--class", "evidence")
    assert ask("descendants", made.observation) == [finding, made.target]
    assert ask("evidence", made.target) == [finding, made.observation]
    assert made.delegation in ask("policy", made.target[:20]) or made.delegation in ask("policy", finding)
    assert {made.alpha, made.beta, made.observation, made.delegation} <= set(ask("ancestors", made.target))
    assert ask("ancestors", made.target, "--class", "evidence") == ask("evidence", made.target)
    assert ask("children", made.target) == []


def test_answers_are_cut_and_say_so(made, cli):
    answer = cli.json("query", "ancestors", made.target, "--limit", 2, "--data", made.data)
    assert len(answer["found"]) == 2 and answer["more"] is True
    result = cli.run("query", "descendants", made.alpha, "--limit", 1, "--data", made.data)
    assert len(result.stdout.splitlines()) == 2 and "--limit" in result.stderr
    assert "classes are" in cli.error("query", "children", made.target, "--class", "x", "--data", made.data)


# --- a federation whose anchors attest ---


def test_an_agent_that_anchors_must_attest(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.toml").write_text(
        '[federation]\nname = "f"\n[anchors]\nscheme = "multisig"\nthreshold = 1\nmembers = ["ann"]\n'
        "[envelope.genesis]\nanchors = 1\n"
    )
    made = cli.json("federation", "new", "f.toml", "--single")
    data = ["--data", tmp_path / "d"]
    assert "tslg agent request" in cli.error("agent", "new", "carl", "--federation", made["sealed"], *data)
    asked = cli.json("agent", "request", "carl", *data)
    assert [one["state"] for one in cli.json("agent", "list", *data)["agents"]] == ["requested"]
    assert cli.json("agent", "request", "carl", *data) == asked
    cli.text("federation", "sign", asked["request"], "--key", made["key"], "--yes", "--out", "p")
    cli.text("federation", "combine", asked["request"], "p", "--out", "carl.sealed")
    joined = cli.json("agent", "join", "carl.sealed", *data)
    assert joined == {"agent": asked["agent"], "name": "carl", "federation": made["federation"]}
    record = cli.json("record", "state", *data)["record"]
    assert cli.json("verify", record, *data)["verdict"] == "valid"
    assert "not an agent's genesis" in cli.error("agent", "join", made["sealed"], *data)
    assert "TSLG-M-ABSENT" in cli.error("agent", "join", "no-such-file", *data)


def test_a_request_needs_a_federation(cli, tmp_path):
    assert "no federation yet" in cli.error("agent", "request", "carl", "--data", tmp_path / "d")
    (tmp_path / "f").write_text("malformed = [")
    error = cli.error("agent", "new", "carl", "--federation", tmp_path / "f", "--data", tmp_path / "d")
    assert "TSLG-M-FILE" in error
