"""Gates under policies that others granted, that end, or that several gates put on record at once."""

from __future__ import annotations

import threading

import pytest
from gates import POLICY, candidate, gated
from homes import opened

from tslg.node.governing.errors import Unrecorded
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol.errors import StoreError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("granted") / "node") as home:
        yield home


def delegated(home, agent, **terms):
    """Return a delegation from another agent, of a policy that grants what the gate's allows."""
    boss = home.agent("boss")
    wide = {"capabilities": ["read-orders", "refund"], "limits": {"cents": 50_000}} | terms
    envelope = boss._manifest().envelope
    cedar = wide.pop("cedar", None)
    body = {"name": "grant", "classes": sorted(envelope.classes), "tiers": sorted(envelope.tiers), **wide}
    body |= {"not_before": None, "not_after": None} | ({} if cedar is None else {"cedar": cedar})
    grant = boss._policy_record(body)
    return boss.delegate(agent.id, {}, grant, expires=home.clock() + 3_600_000)


def stored_and_denied(monkeypatch):
    """Have the store keep what it is given and say that it did not."""
    real = SqliteStore.append

    def append(self, *args):
        real(self, *args)
        raise StoreError("the server went away")

    monkeypatch.setattr(SqliteStore, "append", append)


@pytest.mark.parametrize("state", [None, {"turn": 1}])
def test_a_step_under_a_delegation_is_taken_back_too(home, monkeypatch, state):
    gate = gated(home, name=f"granted {state}")
    given = candidate(delegation=delegated(home, gate.agent), state=state)
    assert gate.submit(given).admitted
    with monkeypatch.context() as patch:
        stored_and_denied(patch)
        with pytest.raises(Unrecorded, match="on disk"):
            gate.submit(given)
    assert gate.submit(given).admitted
    assert gate.submit(candidate()).admitted


@pytest.mark.spec("INF-16")
def test_what_waits_under_a_policy_that_was_replaced_stops_no_later_step(home, monkeypatch):
    gate = gated(home, name="replaced")

    def refuse(self, *args):
        raise StoreError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "append", refuse)
        with pytest.raises(Unrecorded, match="was not recorded"):
            gate.submit(candidate())
    newer = gated(home, POLICY.replace("20_000", "10_000"), name="replaced")
    assert newer.submit(candidate()).admitted


def test_a_rejection_that_nothing_can_bear_any_more_stops_no_later_step(home, monkeypatch):
    gate = gated(home, name="unbearable")

    def refuse(self, *args):
        raise StoreError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "append", refuse)
        with pytest.raises(Unrecorded):
            gate.submit(candidate())
    # As after an amendment by which steps have it.
    next(iter(gate._writer._waiting)).rejection.body["facts"] = bytes(32)
    assert gate.submit(candidate()).admitted


@pytest.mark.spec("INF-16")
def test_a_step_under_a_policy_that_was_replaced_is_rejected(home):
    gate = gated(home, name="outdated")
    gated(home, POLICY.replace("20_000", "10_000"), name="outdated")
    outcome = gate.submit(candidate())
    assert outcome.verdict == "rejected"


@pytest.mark.spec("INF-16")
def test_a_step_under_a_delegation_that_was_withdrawn_is_rejected(home):
    gate = gated(home, name="withdrawn")
    given = candidate(delegation=delegated(home, gate.agent))
    assert gate.submit(given).admitted
    home.agent("boss").retract(given.delegation, reason="enough")
    outcome = gate.submit(given)
    assert (outcome.verdict, outcome.stage) == ("rejected", "admission")
    assert gate.submit(candidate()).admitted


def test_cedar_of_a_grant_that_is_none_rejects(home):
    gate = gated(home, name="bad cedar")
    outcome = gate.submit(candidate(delegation=delegated(home, gate.agent, cedar="permit everything")))
    assert outcome.verdict == "rejected" and outcome.stage == "cedar"


def test_gates_made_at_once_share_one_policy(home):
    agent = home.agent("at once")
    made, failed = [], []

    def make():
        try:
            made.append(gated(home, name="at once")._authorities.own.record)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(set(made)) == 1
    held = map(agent._ledger.context.record, agent._ledger.store.by_kind("policy", agent.id))
    assert [one.body["name"] for one in held].count("support") == 1
