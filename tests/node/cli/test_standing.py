"""`tslg record correct …` and `tslg query operative …`: one JSON document each, and one line where they fail."""

from __future__ import annotations

import pytest


@pytest.fixture
def data(cli, tmp_path):
    cli.text("agent", "new", "alice", "--data", tmp_path / "home")
    return tmp_path / "home"


def test_statements_are_recorded_and_followed(cli, data):
    def made(*arguments):
        return cli.json("record", *arguments, "--data", data)["record"]

    seen = made("observe", "x", "n:=1")
    fixed = made("correct", seen, "n:=2", "--reason", "misread", "--evidence", seen)
    next_one = made("amend", fixed, "n:=3", "--reason", "moved")
    told = cli.json("query", "operative", seen, "--data", data)
    assert [one["record"] for one in told["holds"]] == [seen, next_one] and told["conflicts"] == []
    assert [(one["act"], one["why"], one["stands"]) for one in told["chain"]] == [
        ("corrects", "misread", True),
        ("amends", "moved", True),
    ]
    made("retract", seen, "--reason", "all wrong")
    assert cli.json("query", "operative", seen, "--data", data)["holds"] == []
    assert "holds now: nothing" in cli.text("query", "operative", seen, "--data", data)
    decision = made("decide", "a", "b", "--evidence", seen, "--counters", fixed)
    told = cli.json("query", "considered", decision, "--data", data)
    assert [(one["class"], one["record"]) for one in told["considered"]] == [("counters", fixed)]
    told = cli.json("query", "policy-at", decision, "--data", data)
    assert [(one["version"], one["ended_by"]) for one in told["policies"]] == [(1, [])]
    assert cli.text("query", "policy-at", seen, "--data", data) == "made under no policy\n"


def test_agents_vote(cli, data):
    def made(*arguments):
        return cli.json("record", *arguments, "--data", data)["record"]

    proposal = made("propose", "go", "n:=1", "--elector", "alice", "--threshold", "1")
    vote = made("vote", proposal, "for")
    assert made("conclude", proposal, vote)
    assert "TSLG-U-USAGE" in cli.error("record", "vote", proposal, "perhaps", "--data", data)
    assert "TSLG-A-CONSENSUS" in cli.error("record", "conclude", proposal, "--data", data)


@pytest.mark.parametrize(
    "arguments",
    [["correct", "{}", "n:=1"], ["retract", "{}"], ["amend", "{}", "n", "--reason", "r"], ["propose", "x"]],
)
def test_what_is_not_complete_is_refused(cli, data, arguments):
    seen = cli.json("record", "observe", "x", "--data", data)["record"]
    assert "TSLG-U-USAGE" in cli.error("record", *[one.format(seen) for one in arguments], "--data", data)
