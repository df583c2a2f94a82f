"""The whole demonstration as a user runs it: three processes, libp2p, the packages really installed here."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tslg
from tslg.manifests.signing import read_sealed
from tslg.node.demo import tampering
from tslg.node.home import Home, wall_clock
from tslg.protocol import cid
from tslg.protocol.manifest import Manifest

pytestmark = pytest.mark.thorough

COMMAND = [sys.executable, "-m", "tslg.node.cli", "demo"]


def surroundings(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(tslg.__file__).resolve().parent.parent), **more}


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *arguments]
    return subprocess.run(
        command, cwd=folder, env=surroundings(), capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    done = demo(folder, "--json", "--keep", str(folder / "kept"))
    assert done.returncode == 0, done.stderr
    return folder / "kept", json.loads(done.stdout), done.stderr


def test_the_document_has_exactly_its_entries(run):
    kept, document, _ = run
    assert list(document) == [
        "federation",
        "threshold",
        "agents",
        "delegation",
        "outcome",
        "audit",
        "bounded",
        "resumed_agrees",
        "tampered",
        "bundle",
        "records",
    ]
    assert document["threshold"] == [2, 3] and document["bundle"] == str(kept / "demo.car")
    assert {agent["name"] for agent in document["agents"]} == {"vendor-a-release", "vendor-b-scanner"}
    assert len({agent["peer"] for agent in document["agents"]}) == 2
    assert document["records"] == document["audit"]["records"] == sum(agent["records"] for agent in document["agents"])


def test_the_audit_is_valid_across_both_vendors_and_agrees_with_the_bounded_one(run):
    _, document, _ = run
    audit, bounded = document["audit"], document["bounded"]
    assert audit["verdict"] == bounded["verdict"] == "valid"
    assert audit["target"] == bounded["target"] == document["outcome"]
    assert audit["depth"] is None and not audit["frontier"] and len(audit["agents"]) == 2
    assert bounded["depth"] == bounded["edges"] == 50 and bounded["frontier"]
    assert {item["from"] for item in audit["freshness"]} == {"peer"}
    assert document["resumed_agrees"] is True


def test_the_three_tampered_reports_differ(run):
    _, document, _ = run
    tampered = document["tampered"]
    assert {name: report["verdict"] for name, report in tampered.items()} == {
        "altered": "invalid",
        "dropped": "undetermined",
        "forged": "invalid",
    }
    codes = {name: {finding["code"] for finding in report["findings"]} for name, report in tampered.items()}
    assert codes == {"altered": {"TSLG-R-ID"}, "dropped": set(), "forged": {"TSLG-A-SEAL", "TSLG-A-WIDENED"}}
    assert "absent" in {item["reason"] for item in tampered["dropped"]["undetermined"]}


def test_the_bundles_that_are_kept_verify_as_reported(run):
    kept, document, _ = run
    report = tampering.judged((kept / "demo.car").read_bytes(), wall_clock())
    assert report.verdict == "valid" and len(report.records) == document["records"]
    assert cid.to_text(report.target) == document["outcome"]
    assert tampering.judged((kept / "demo.car").read_bytes(), wall_clock(), depth=50).verdict == "valid"
    for name, wanted in document["tampered"].items():
        again = tampering.judged((kept / f"{name}.car").read_bytes(), wall_clock())
        assert again.to_json()["findings"] == wanted["findings"]
        bounded = tampering.judged((kept / f"{name}.car").read_bytes(), wall_clock(), depth=50)
        assert bounded.verdict == wanted["verdict"], "found by whoever goes no deeper than the manifest asks"


def test_what_is_kept_can_be_opened_again(run):
    kept, document, _ = run
    record, _ = read_sealed(kept / "federation" / "federation.sealed")
    assert cid.to_text(record.id) == document["federation"]
    assert Manifest.from_record(record).envelope.verify_depth == 50
    for name in ("vendor-a-release", "vendor-b-scanner"):
        with Home.open(kept / name) as home:
            assert [agent.name for agent in home.agents] == [name]
            assert home.federation == record.id and home.store.check() == []
    for key in kept.rglob("*key.json"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_everything_vendor_b_decided_is_about_what_is_installed_here(run):
    kept, _, _ = run
    report = tampering.judged((kept / "demo.car").read_bytes(), wall_clock())
    seen = {r.body["data"]["name"] for r in report.records.values() if r.body.get("source") == "importlib.metadata"}
    assert {"libp2p", "trio", "pytest"} <= seen
    release = report.records[report.target]
    assert release.body["outcome"] in ("ship", "hold") and sum(release.body["data"].values()) == len(seen)


def test_the_story_is_told_on_standard_error(run):
    kept, document, story = run
    for said in (
        document["federation"],
        document["outcome"],
        "importlib.metadata",
        "TSLG-A-WIDENED",
        f"{kept}/demo.car",
    ):
        assert said in story
    assert "\x1b" not in story


def test_a_directory_that_is_in_use_is_left_alone(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine").write_text("mine")
    done = demo(tmp_path, "--keep", str(tmp_path / "kept"))
    assert done.returncode == 3 and "not empty" in done.stderr
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["mine"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demonstration_leaves_nothing_behind(tmp_path, number):
    (tmp_path / "temporary").mkdir()
    environment = surroundings(TMPDIR=str(tmp_path / "temporary"))
    with subprocess.Popen(COMMAND, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("temporary/*/data/vendor-b-scanner/keys/b*.json")):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(number)
        assert running.wait(60) == 130
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]
