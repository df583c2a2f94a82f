"""`tslg verify`, of records held here and of bundles."""

from __future__ import annotations

import json

import pytest

from tslg.node.home import Home
from tslg.protocol.cid import compute, to_text

BOUNDED = """\
[federation]
name = "North Sea"
[anchors]
scheme = "multisig"
threshold = 1
members = ["alice"]
[envelope]
verify_depth = 3
"""


def test_a_record_held_here_is_valid_and_its_log_known_to_the_end(made, cli):
    report = cli.json("verify", made.target, "--data", made.data)
    assert report["verdict"] == "valid" and report["target"] == made.target
    assert {item["from"] for item in report["freshness"]} == {"log"}
    assert {agent["name"] for agent in report["agents"]} == {"alpha", "beta"}


def test_ids_may_be_shortened_and_are_named_if_ambiguous(made, cli):
    assert cli.json("verify", made.target[:20], "--data", made.data)["target"] == made.target
    error = cli.error("verify", made.target[:5], "--data", made.data)
    assert "TSLG-U-AMBIGUOUS" in error and error.count(", bafyrei") == 7


def test_the_text_starts_with_the_verdict_and_draws_the_tree(made, cli):
    text = cli.text("verify", made.target, "--data", made.data)
    assert text.startswith(f"valid  {made.target}\n")
    assert "├─ on beta: decision scan: clean" in text and "by authority of alpha: delegation to beta" in text
    assert "under alpha: policy grant [inspect]" in text
    assert "\x1b" not in text
    assert "├─" not in cli.text("verify", made.target, "--data", made.data, "--no-tree")


@pytest.mark.parametrize("options", [["--signatures", "heads"], ["--log", "full"], ["--workers", "2"], ["--full"]])
def test_every_way_to_verify_agrees(made, cli, options):
    assert cli.json("verify", made.target, "--data", made.data, *options)["verdict"] == "valid"


def test_depth_bounds_the_walk_and_names_the_frontier(made, cli):
    report = cli.json("verify", made.target, "--data", made.data, "--depth", 2)
    assert (report["depth"], report["edges"]) == (2, 2) and report["frontier"]
    full = cli.json("verify", made.target, "--data", made.data)
    assert full["depth"] is None and full["frontier"] == []


def test_the_depth_is_the_manifests_unless_another_is_asked_for(cli, tmp_path):
    from tslg.manifests import genesis, text
    from tslg.node.home import wall_clock

    wanted = text.parse(BOUNDED)
    founded = genesis.found_federation(wanted, random_bytes=lambda n: bytes(range(1, n + 1)), time_ms=wall_clock())
    with Home.open(tmp_path / "d", federation=(founded.manifest_record, founded.seal)) as home:
        agent = home.create_agent("alpha", anchors=founded.anchor_keys)
        target = to_text([agent.state({"n": n}) for n in range(5)][-1].id)
    assert cli.json("verify", target, "--data", tmp_path / "d")["depth"] == 3
    assert cli.json("verify", target, "--data", tmp_path / "d", "--depth", 1)["depth"] == 1
    assert cli.json("verify", target, "--data", tmp_path / "d", "--full")["depth"] is None


def test_a_bundle_says_whose_word_its_federation_is(made, cli):
    text = cli.text("verify", made.car)
    assert text.startswith("valid") and "was taken from the bundle itself" in text and made.federation in text
    assert "tail unknown" in text
    assert cli.json("verify", made.car)["federation_pinned"] is False
    pinned = cli.json("verify", made.car, "--federation", made.federation)
    assert pinned["federation_pinned"] is True and pinned["verdict"] == "valid"
    assert "taken from the bundle" not in cli.text("verify", made.car, "--federation", made.federation)


def test_a_bundle_of_another_federation_is_invalid(made, cli):
    report = cli.json("verify", made.car, "--federation", made.target, code=1)
    assert [finding["code"] for finding in report["findings"]] == ["TSLG-V-FEDERATION"]
    assert report["records"] == 0
    assert cli.text("verify", made.car, "--federation", made.target, code=1).startswith("invalid")


@pytest.mark.parametrize("signatures", ["all", "heads"])
def test_a_bundle_can_be_walked_less_far_than_it_goes(made, cli, signatures):
    for depth in range(12):
        report = cli.json("verify", made.car, "--depth", depth, "--signatures", signatures)
        assert (report["verdict"], report["undetermined"]) == ("valid", [])


def test_a_record_that_is_not_held_is_undetermined(made, cli):
    absent = to_text(compute(b"nowhere"))
    report = cli.json("verify", absent, "--data", made.data, code=2)
    assert {"record": absent, "reason": "absent"} in report["undetermined"]


def test_a_truncated_bundle_is_invalid(made, cli, tmp_path):
    torn = tmp_path / "torn.car"
    torn.write_bytes(made.car.read_bytes()[:-7])
    assert "TSLG-B-TRUNCATED" in cli.error("verify", torn, code=1)
    report = cli.json("verify", torn, code=1)
    assert report["verdict"] == "invalid" and report["findings"][0]["code"] == "TSLG-B-TRUNCATED"


def test_a_changed_block_is_invalid_and_named(made, cli, tmp_path):
    data = bytearray(made.car.read_bytes())
    at = data.index(b"scanner")
    data[at] ^= 1
    changed = tmp_path / "changed.car"
    changed.write_bytes(data)
    report = cli.json("verify", changed, code=1)
    assert report["findings"][0]["record"] == made.observation
    assert report["findings"][0]["path"][-1] == {"class": "evidence", "cid": made.observation}
    assert made.observation in cli.text("verify", changed, code=1)


def test_a_changed_block_is_invalid_even_where_the_walk_does_not_come(made, cli, tmp_path):
    changed = tmp_path / "changed.car"
    changed.write_bytes(made.car.read_bytes().replace(b"scanner", b"scammer"))
    report = cli.json("verify", changed, "--depth", 1, code=1)
    assert [(finding["code"], finding["record"]) for finding in report["findings"]] == [("TSLG-R-ID", made.observation)]


def test_what_was_verified_is_saved_and_resumed(made, cli, tmp_path):
    kept = tmp_path / "kept"
    held = (made.target, "--data", made.data)
    cli.json("verify", *held, "--depth", 2, "--save", kept)
    assert len(json.loads(kept.read_text())["records"]) == 3
    deeper = cli.json("verify", *held, "--resume", kept)
    assert deeper["report_digest"] == cli.json("verify", *held)["report_digest"]


def test_resuming_checks_no_seal_twice(made, cli, tmp_path, monkeypatch):
    from tslg.protocol import signatures

    kept = tmp_path / "kept"
    cli.json("verify", made.car, "--save", kept)
    calls = []
    verify = signatures.verify
    monkeypatch.setattr(signatures, "verify", lambda *args: calls.append(args) or verify(*args))
    cli.json("verify", made.car)
    full, calls[:] = len(calls), []
    cli.json("verify", made.car, "--resume", kept)
    assert len(calls) < full / 2


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000, '{"type": "tslg verified records"}'])
def test_a_file_that_was_not_saved_is_refused(made, cli, tmp_path, content):
    (tmp_path / "kept").write_text(content)
    assert "--save" in cli.error("verify", made.car, "--resume", tmp_path / "kept")


def test_a_saved_walk_to_another_target_is_refused(made, cli, tmp_path):
    cli.json("verify", made.observation, "--data", made.data, "--save", tmp_path / "kept")
    assert "another target" in cli.error("verify", made.car, "--resume", tmp_path / "kept")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["no-such.car"], "TSLG-U-FILE"),
        (["hello"], "TSLG-C-CID"),
        (["bafyreiaaaaaaaaaaaaaaaaa"], "TSLG-U-UNKNOWN"),
        (["b" + "a" * 2000], "TSLG-C-CID"),
    ],
)
def test_targets_that_are_none(made, cli, arguments, code):
    assert code in cli.error("verify", *arguments, "--data", made.data)


def test_directories_that_are_none(made, cli, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    assert "TSLG-D-MISSING" in cli.error("verify", made.target, "--data", tmp_path)
    assert "TSLG-D-MISSING" in cli.error("verify", made.target, "--data", file)
    (tmp_path / "tslg.sqlite").write_text("no database at all")
    assert "TSLG-D-NOT-A-STORE" in cli.error("verify", made.target, "--data", tmp_path)


def test_what_others_wrote_cannot_steer_the_terminal(cli, tmp_path):
    with Home.open(tmp_path / "d") as home:
        agent = home.agent("al\x1b[2Jpha\u202e")
        target = to_text(agent.state({"x": "\x07\r\n"}, name="\x9b31m").id)
    text = cli.text("verify", target, "--data", tmp_path / "d")
    assert all(character.isprintable() or character == "\n" for character in text)
