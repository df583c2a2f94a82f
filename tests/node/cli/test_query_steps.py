"""`tslg query rejections`, `refinements` and `led-to`."""

from __future__ import annotations

import hashlib

import pytest
from governed_day import lived

from tslg.protocol.cid import to_text


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    path = tmp_path_factory.mktemp("day") / "node"
    home, _, told = lived(path)
    home.close()
    return path, {name: to_text(record.id) for name, record in told.items()}


def test_rejections_as_a_table_and_as_a_document(day, cli):
    path, told = day
    text = cli.text("query", "rejections", "--data", path)
    assert text.splitlines()[0].split() == ["STAGE", "RULE", "COUNT", "NEWEST", "WHY"]
    assert "rule:confirmed" in text and "the user has not confirmed" in text
    found = cli.json("query", "rejections", "--by", "intent", "--by", "policy", "--data", path)
    assert found["rejections"] == 6 and found["by"] == ["intent", "policy"] and not found["more"]
    assert [(one["intent"], one["count"]) for one in found["groups"]] == [("refund", 4), ("drop-tables", 2)]
    assert found["groups"][1]["newest"] == told["unknown too"] and found["groups"][0]["share"] == round(4 / 6, 6)
    assert "support" in cli.text("query", "rejections", "--by", "policy", "--data", path)
    assert cli.json("query", "rejections", "--limit", 1, "--data", path)["more"]


def test_rejections_in_a_window(day, cli):
    path, _ = day
    count = lambda *more: cli.json("query", "rejections", *more, "--data", path)["rejections"]  # noqa: E731
    assert count("--agent", "bot") == 6 == count("--since", "1970-01-01T00:00:00Z") and count("--since", "1s") == 0
    assert count("--intent", "refund", "--stage", "rule:confirmed") == 2 == count("--rule", "confirmed")
    assert count("--until", "1970-01-01T00:00:00Z") == 0
    assert "no agent here" in cli.error("query", "rejections", "--agent", "nobody", "--data", path)
    assert "no moment" in cli.error("query", "rejections", "--since", "noon", "--data", path)


def test_refinements_as_text_and_as_a_document(day, cli):
    path, told = day
    text = cli.text("query", "refinements", "--data", path)
    assert "policy support of bot" in text and "5 admitted, 6 rejected, 1 decomposed" in text
    assert "rules that refused nothing: never-asked" in text and "drop-tables (2)" in text
    (use,) = cli.json("query", "refinements", "--data", path)["policies"]
    assert use["retries"] == [{"rejection": told["unconfirmed"], "admitted": told["confirmed"]}]
    assert use["never_fired"] == ["never-asked"] and use["gaps"] == {"drop-tables": 2, "compose": 1}
    assert use["steps"] == {"admitted": 5, "rejected": 6, "decomposed": 1} and use["document"]
    assert {one["record"] for one in use["near_misses"]} == {told[name] for name in ("dear", "unknown", "unknown too")}
    assert cli.text("query", "refinements", "--since", "1s", "--data", path) == "no governed steps\n"


def test_what_led_to_a_record_a_file_and_a_digest(day, cli, tmp_path):
    path, told = day
    found = cli.json("query", "led-to", told["sent"][:20], "--data", path)
    assert found["roots"] == [told["sent"]] and found["steps"][0]["record"] == told["whole"]
    assert found["steps"][1]["path"][0] == {"class": "evidence", "cid": told["whole"]}
    (tmp_path / "whole.txt").write_bytes(b"all of it\n")
    for output in (tmp_path / "whole.txt", hashlib.sha256(b"all of it\n").hexdigest()):
        found = cli.json("query", "led-to", output, "--data", path)
        assert found["roots"] == [told["whole"]] and len(found["steps"]) == 6
    (tmp_path / "text").write_text("it left\n")
    assert cli.json("query", "led-to", tmp_path / "text", "--data", path)["roots"] == [told["found"]]
    text = cli.text("query", "led-to", told["sent"], "--data", path)
    assert "inference refund by model-x 2026-01" in text and "evidence > part > evidence" in text


def test_what_led_to_nothing_known_is_undetermined(day, cli, tmp_path):
    path, told = day
    (tmp_path / "odd.json").write_text('{"a": 1')
    for output in ("0" * 64, tmp_path / "odd.json"):
        assert cli.json("query", "led-to", output, "--data", path, code=2)["roots"] == []
    assert "no record here" in cli.run("query", "led-to", "0" * 64, "--data", path).stderr
    assert "no class" in cli.error("query", "led-to", told["sent"], "--class", "cousin", "--data", path)
    many = cli.json("query", "led-to", told["sent"], "--all", "--class", "evidence", "--data", path)
    assert [one["kind"] for one in many["steps"]] == ["action", "composite"]
    assert "see --limit" in cli.run("query", "led-to", told["sent"], "--limit", 1, "--data", path).stderr
