"""`tslg verify --record, --rely, --deepen` and `tslg query verified`: one document each, one line where they fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.cid import from_text, to_text


@pytest.fixture
def shop(cli, tmp_path):
    """A directory with a maker and two auditors, and the id of a decision."""
    data = tmp_path / "shop"
    for name in ("maker", "first", "second"):
        cli.text("agent", "new", name, "--data", data)
    seen = cli.json("record", "observe", "sensor", "n=1", "--agent", "maker", "--data", data)["record"]
    made = cli.json("record", "decide", "go", "yes", "--evidence", seen, "--agent", "maker", "--data", data)["record"]
    return data, made


def test_a_report_is_published_deepened_and_summed_up(cli, shop):
    data, made = shop
    shallow = cli.json("verify", made, "--depth", "1", "--record", "first", "--data", data)["verification"]
    told = cli.json("query", "verified", made, "--data", data)
    assert (told["depth"], told["whole"], [one["name"] for one in told["by"]]) == (1, False, ["first"])
    deep = cli.json("verify", made, "--full", "--deepen", shallow, "--record", "second", "--data", data)
    assert deep["deepened"]["confirmed"] and deep["deepened"]["record"] == shallow
    told = cli.json("query", "verified", made, "--data", data)
    assert told["whole"] and told["depth"] == told["known"] > 1
    assert {one["record"]: one["adds"] for one in told["verifications"]}[shallow] == 1
    only = cli.json("query", "verified", made, "--trust", "first", "--data", data)
    assert only["depth"] == 1 and len(only["verifications"]) == 1
    assert "all of" in cli.text("query", "verified", made, "--data", data)
    unseen = cli.json("record", "observe", "sensor", "n=2", "--agent", "maker", "--data", data)["record"]
    assert cli.text("query", "verified", unseen, "--data", data).endswith("edges verified, by nobody\n")


def test_what_is_relied_on_is_said(cli, shop):
    data, made = shop
    first = cli.json("verify", made, "--full", "--record", "first", "--data", data)
    use = cli.json("record", "decide", "use", "yes", "--evidence", made, "--agent", "second", "--data", data)["record"]
    rely = ("--rely", first["verification"], "--trust", "first", "--full")
    report = cli.json("verify", use, *rely, "--record", "first", "--data", data)
    assert [(one["record"], one["target"]) for one in report["relied"]] == [(first["verification"], made)]
    assert report["edges"] < cli.json("verify", use, "--full", "--data", data)["edges"]
    assert "\nrelied     on " in cli.text("verify", use, *rely, "--data", data)
    shown = cli.json("query", "verified", use, "--data", data)
    assert shown["whole"] and {one["name"] for one in shown["by"]} == {"first"}


def test_what_cannot_be_built_on_fails_in_one_line(cli, shop, world):
    data, made = shop
    first = cli.json("verify", made, "--record", "first", "--data", data)["verification"]
    own = cli.json("verify", made, "--record", "maker", "--data", data)["verification"]
    assert "nobody said to trust" in cli.error("verify", made, "--rely", first, "--data", data)
    assert "of its own" in cli.error("verify", made, "--rely", own, "--trust", "maker", "--data", data)
    assert "it is a decision" in cli.error("verify", made, "--deepen", made, "--data", data)
    assert "it is about" in cli.error("verify", first, "--deepen", own, "--data", data)
    assert "no agent" in cli.error("verify", made, "--record", "nobody", "--data", data)
    for option in (("--rely", first), ("--deepen", first), ("--record", "first")):
        assert "not on a file" in cli.error("verify", world.car, *option, "--data", data)


def test_a_lie_is_found_out_and_refuted(cli, shop):
    data, made = shop
    with Home.open(data) as home:
        report = verify(StoreSource(home.store), from_text(made), home.federation, now_ms=home.clock(), depth=2)
        lie = to_text(home.agent("first").verification(replace(report, frontier=())).id)
    found = cli.json("verify", made, "--full", "--deepen", lie, "--record", "second", "--data", data, code=1)
    assert [(one["code"], one["record"]) for one in found["findings"]] == [("TSLG-V-CLAIM", lie)]
    assert not found["deepened"]["confirmed"]
    with Home.read(data) as home:
        refutation = home.ledger.context.record(from_text(found["verification"]))
        assert [to_text(edge.cid) for edge in refutation.preds["counters"]] == [lie]
        assert refutation.body["verdict"] == "valid", "of the target itself nothing bad was found"
    told = cli.json("query", "verified", made, "--data", data)
    assert [one["name"] for one in told["by"]] == ["second"]
    assert {one["record"]: bool(one["faults"]) for one in told["verifications"]}[lie]
    assert "frontier" in cli.text("query", "verified", made, "--data", data)
