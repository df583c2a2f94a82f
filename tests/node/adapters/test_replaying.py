"""Conversations that are over, put through a gate: what a policy would have let a model do."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tslg.node.adapters.transcripts import parse
from tslg.node.adapters.transcripts.replaying import Deaf, replay
from tslg.node.governing.gate import Gate
from tslg.node.governing.reports import Window, rejections
from tslg.node.home import Home

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "airline"
SHM = Path("/dev/shm")


@pytest.fixture(scope="module")
def airline():
    spec = importlib.util.spec_from_file_location("airline", EXAMPLE / "airline.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Airline


@pytest.fixture
def gate(tmp_path):
    with Home.open(tmp_path / "desk", name="desk") as home:
        yield Gate(home.agent("desk"), EXAMPLE / "policy.toml", tier="assistant")


def judged(done):
    return {verdict: done.count(verdict) for verdict in ("admitted", "rejected", "decomposed")}


def test_turns_are_judged_by_what_was_heard_before_them(gate, airline):
    read = parse((EXAMPLE / "conversations.json").read_bytes(), "conversations")
    done = replay(gate, read, airline, model="m", version="1")
    assert judged(done) == {"admitted": 9, "rejected": 3, "decomposed": 1}
    assert Counter({(why.intent, why.rule): count for why, count in done.refused.items()}) == {
        ("cancel_reservation", "the-customer-said-yes"): 1,
        ("respond", "one-thing-at-a-time"): 1,
        ("book_reservation", "one-certificate"): 1,
    }
    store = gate.agent._ledger.store
    assert rejections(store, ("rule",), Window()).total == 3
    booked = store.get_many(store.by_kind("decomposition", gate.agent.id))
    assert len(booked) == 1
    assert len(store.children(next(iter(booked)), ("part",))) == 2


def test_what_a_watcher_does_not_know_refuses(gate):
    class Half(Deaf):
        def facts(self, message, call):
            return {"confirmed": True, "alone": True}

    read = parse((EXAMPLE / "conversations.json").read_bytes(), "conversations")
    done = replay(gate, read, Half)
    reasons = [why.reason for why in done.refused if why.intent == "cancel_reservation"]
    assert reasons and all("fact 'flown' is not given" in reason for reason in reasons)


def test_every_step_rests_on_what_was_said_before_it(gate, airline):
    read = parse((EXAMPLE / "conversations.json").read_bytes(), "conversations")
    replay(gate, read, airline)
    store = gate.agent._ledger.store
    for kind in ("inference", "rejection"):
        for id in store.by_kind(kind, gate.agent.id):
            record = gate.agent._ledger.context.record(id)
            assert kind == "rejection" or record.preds.get("evidence"), record.body


SEEN = {"admitted": 2335, "rejected": 209, "decomposed": 90}
WHY = {
    ("respond", "one-thing-at-a-time"): 90,
    ("cancel_reservation", "cancellable"): 28,
    ("update_reservation_flights", "the-customer-said-yes"): 26,
    ("book_reservation", "the-customer-said-yes"): 15,
    ("cancel_reservation", "not-flown"): 14,
    ("cancel_reservation", "the-customer-said-yes"): 11,
    ("update_reservation_flights", "basic-economy-stays"): 10,
    ("update_reservation_flights", "same-route"): 6,
    ("book_reservation", "one-certificate"): 3,
    ("update_reservation_baggages", "the-customer-said-yes"): 3,
    ("update_reservation_flights", "no-certificate-for-changes"): 3,
}
"""What the policy makes of 200 published trajectories of an airline's agent."""


@pytest.mark.skipif("TSLG_TRANSCRIPTS" not in os.environ, reason="TSLG_TRANSCRIPTS names no file of real trajectories")
def test_real_trajectories_are_judged_alike_every_time(airline):
    path = Path(os.environ["TSLG_TRANSCRIPTS"])
    read = parse(path.read_bytes(), path.name)
    # Thousands of commits: in memory, since this is not about the disk.
    with (
        tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder,
        Home.open(Path(folder) / "desk", name="desk") as home,
    ):
        gate = Gate(home.agent("desk"), EXAMPLE / "policy.toml", tier="assistant")
        done = replay(gate, read, airline, model="gpt-4o", version="2024")
        why: Counter = Counter()
        for one, count in done.refused.items():
            why[one.intent, one.rule] += count
        assert (done.conversations, done.turns, judged(done), dict(why)) == (200, 2454, SEEN, WHY)
        told = rejections(home.store, ("intent", "rule"), Window())
        assert {one.key: one.count for one in told.groups} == WHY
