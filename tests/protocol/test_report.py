"""The report: its verdict, its document, and a digest over all of it but what differs between readers."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from world import World

from tslg.protocol import codec
from tslg.protocol.cid import compute, from_text, to_text
from tslg.protocol.exchange import REASONS
from tslg.protocol.forks import shared_places
from tslg.protocol.freshness import OutsideHead
from tslg.protocol.report import (
    NOT_DIGESTED,
    AgentSummary,
    Finding,
    ForkNote,
    Freshness,
    FrontierEntry,
    Undetermined,
)
from tslg.protocol.traversal import Step

HERE, THERE = compute(b"here"), compute(b"there")
FINDING = Finding("TSLG-A-SEAL", HERE, (Step("prior", HERE, THERE, None),), "it does not hold")


@pytest.fixture
def report():
    w = World()
    a = w.agent("a")
    w.add(a, "policy")
    return w.verify(w.add(a, "observation"), depth=1)


@pytest.mark.spec("VER-1", "REP-3", "REP-5")
def test_the_verdict_follows_from_the_lists(report):
    assert (report.verdict, report.exit_code) == ("valid", 0)
    doubtful = replace(report, undetermined=(Undetermined(HERE, "absent"),))
    assert (doubtful.verdict, doubtful.exit_code) == ("undetermined", 2)
    broken = replace(doubtful, findings=(FINDING,))
    assert (broken.verdict, broken.exit_code) == ("invalid", 1)


@pytest.mark.spec("REP-1")
def test_the_document_is_json_with_the_names_that_others_rely_on(report):
    document = json.loads(json.dumps(replace(report, findings=(FINDING,)).timed(0.25, 3).to_json()))
    assert list(document) == [
        "verdict",
        "target",
        "federation",
        "depth",
        "signatures",
        "log",
        "edges",
        "records",
        "agents",
        "findings",
        "undetermined",
        "frontier",
        "freshness",
        "manifest",
        "forks",
        "report_digest",
        "seconds",
        "round_trips",
    ]
    assert document["findings"][0]["path"] == [{"class": "prior", "cid": to_text(HERE)}]
    assert document["frontier"][0].keys() == {"agent", "record", "size", "root"}
    assert document["freshness"][0].keys() == {"agent", "size", "from", "age_ms"}
    assert document["manifest"] == {"record": to_text(report.federation), "version": 1, "expires": None}
    assert document["seconds"] == 0.25 and document["round_trips"] == 3
    assert "round_trips" not in report.to_json() and bytes.fromhex(document["report_digest"])


@pytest.mark.spec("REP-4")
def test_the_digest_is_that_of_the_text(report):
    document = report.to_json()
    for name in NOT_DIGESTED:
        document.pop(name, None)
    for agent in document["agents"]:
        agent.pop("name", None)
        agent.pop("peer", None)
    assert report.digest == hashlib.sha256(codec.encode(document)).digest()


@pytest.mark.spec("REP-6", "REP-7")
def test_lists_are_in_the_order_of_the_page_and_reasons_begin_with_its_words():
    """Two logs with gaps, of each of which a longer head is known."""
    w = World()
    one, other = w.agent("one"), w.agent("other")
    policy = w.add(one, "policy")
    seen = [w.add(author, "observation") for author in (one, other) for _ in range(12)]
    target = w.add(one, "decision", None, {"policy": [policy], "evidence": [seen[n] for n in (2, 4, 10, 13, 16, 22)]})
    supply = w.supply()
    supply.proves, supply.serves_logs = False, "nobody"
    for lost in (seen[4], seen[16], seen[10]):
        del supply.handed[lost.id]
    heads = [OutsideHead(author.owner, 99, bytes(32), "peer", 5) for author in (other, one)]
    document = w.verify(target, supply, outside=heads).to_json()
    assert document["verdict"] == "undetermined" and len(document["undetermined"]) > 4
    page = (Path(__file__).parents[2] / "docs" / "spec" / "report.md").read_text(encoding="utf-8")
    words = {word for row in re.findall(r"^\| (`.*?) \| ", page, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)}
    reasons = [entry["reason"] for entry in document["undetermined"]]
    assert {"absent", "unproved", "tail"} <= {reason.split(": ")[0] for reason in reasons} <= words
    assert words >= REASONS
    pairs = [(from_text(entry["record"]), entry["reason"]) for entry in document["undetermined"]]
    assert pairs == sorted(set(pairs))
    for name in ("freshness", "frontier"):
        agents = [from_text(entry["agent"]) for entry in document[name]]
        assert agents == sorted(set(agents))
    assert len(document["freshness"]) == 2


@pytest.mark.spec("REP-6")
def test_forks_are_in_order():
    """Sources hand them over in any order."""
    ids = sorted((HERE, THERE))
    places = [(owner, seq) for owner in reversed(ids) for seq in (9, 2)]
    held = [SimpleNamespace(owner=owner, seq=seq, id=id) for owner, seq in places for id in reversed(ids)]
    shared = shared_places(held)
    assert list(shared) == sorted(places) and list(shared.values()) == [ids] * 4


@pytest.mark.spec("REP-4")
def test_what_differs_between_readers_is_not_digested(report):
    agents = tuple(agent._replace(name="another name", peer="a peer") for agent in report.agents)
    assert replace(report, agents=agents).timed(9.0, 9).digest == report.digest


@pytest.mark.parametrize(
    "change",
    [
        {"target": HERE},
        {"federation": HERE},
        {"depth": None},
        {"signatures": "heads"},
        {"log": "none"},
        {"edges": 99},
        {"agents": ()},
        {"agents": (AgentSummary(HERE, None, None, 1),)},
        {"findings": (FINDING,)},
        {"undetermined": (Undetermined(HERE, "absent"),)},
        {"frontier": ()},
        {"frontier": (FrontierEntry(HERE, HERE, 1, bytes(32)),)},
        {"freshness": (Freshness(HERE, 1, "nobody", None),)},
        {"forks": (ForkNote(HERE, 1, (HERE,), False),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_else_differs_changes_the_digest(report, change):
    assert replace(report, **change).digest != report.digest


def test_a_repr_does_not_print_all_records(report):
    assert "records={" not in repr(report) and "data=" not in repr(report)
