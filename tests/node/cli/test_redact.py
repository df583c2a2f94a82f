"""`tslg redact`: what is destroyed is gone from the directory, and `show` names the record that says so."""

from __future__ import annotations

import pytest
from world import MERKLE, founded

from tslg.node.home import Home
from tslg.protocol.cid import to_text

SECRET = "because the applicant's brother is ill"


@pytest.fixture
def clinic(tmp_path):
    """A data directory, and in it a decision that withholds, with a blob behind it."""
    data = tmp_path / "data"
    made = founded(MERKLE, "cli")
    with Home.open(data, federation=(made.manifest_record, made.seal)) as home:
        agent = home.agent("triage")
        seen = agent.observe("interview", content=SECRET.encode())
        decision = agent.decide("credit", "granted", evidence=seen, reason=SECRET)
    return data, to_text(decision.id), seen.body["blob"]["digest"].hex(), to_text(seen.id)


def traces(data):
    return [path.name for path in data.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_fields_and_blobs_are_destroyed(clinic, cli):
    data, decision, blob, seen = clinic
    assert len(traces(data)) >= 2
    first = cli.json("redact", decision[:20], "--field", "reason", "--reason", "asked to", "--data", data)
    assert first["target"] == decision and first["fields"] == ["reason"]
    cli.text("redact", seen, "--blob", blob, "--field", "blob", "--reason", "asked to", "--data", data)
    assert traces(data) == []
    shown = cli.json("show", decision, "--data", data)
    assert shown["withheld"] == ["reason"] and shown["redacted_by"] == [first["record"]]
    assert f"redacted  by {first['record']}" in cli.text("show", decision, "--data", data)
    assert cli.json("verify", decision, "--data", data)["verdict"] == "valid"
    assert cli.text("fsck", "--data", data)


def test_what_cannot_be_redacted_is_said(clinic, cli):
    data, decision, _, _ = clinic
    assert "TSLG-A-REDACTION" in cli.error("redact", decision, "--reason", "x", "--data", data)
    assert "does not commit" in cli.error("redact", decision, "--field", "uses", "--reason", "x", "--data", data)
    assert "hexadecimal" in cli.error("redact", decision, "--blob", "x", "--reason", "x", "--data", data)
