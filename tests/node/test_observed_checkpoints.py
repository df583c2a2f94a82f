"""Logs bound to each other by observed checkpoints: one that is cut off or written anew is found out from the other."""

from __future__ import annotations

import io
import shutil

import pytest

from tslg.node.bundling import write_walked
from tslg.node.checkpoints import sign_head
from tslg.node.home import Home
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.verifying import verify, walk
from tslg.protocol import bundle, checkpoint
from tslg.protocol.errors import Refusal, UsageError
from tslg.protocol.report import VALID
from tslg.protocol.signatures import ed25519_secret


@pytest.fixture
def home(tmp_path):
    with Home.open(tmp_path / "d", name="One") as opened:
        yield opened


def signed(home: Home, agent) -> bytes:
    return sign_head(home.store, agent.id, home.keyring.note_key(agent.id)).to_bytes()


def sources(report) -> dict:
    return {entry.agent: (entry.size, entry.source) for entry in report.freshness}


def judged(home: Home, target, source=None):
    return verify(source or StoreSource(home.store), target.id, home.federation, now_ms=home.clock())


def bundled(home: Home, target) -> BundleSource:
    stream = io.BytesIO()
    write_walked(stream, walk(StoreSource(home.store), target.id, home.federation, now_ms=home.clock()))
    return BundleSource(bundle.read(io.BytesIO(stream.getvalue())))


class Without:
    """A source without newest records, as one whose maker leaves out what came last."""

    def __init__(self, source, dropped=()):
        self._source, self._dropped = source, set(dropped)

    def __getattr__(self, name):
        return getattr(self._source, name)

    def newest(self, agent):
        return None

    def seen_last(self, agent):
        return None

    def pairs(self, ids):
        return {id: pair for id, pair in self._source.pairs(ids).items() if id not in self._dropped}

    def ahead(self, target, depth):
        return [(id, pair) for id, pair in self._source.ahead(target, depth) if id not in self._dropped]

    def whole_log(self, agent, size):
        return ()


@pytest.mark.spec("ANC-17", "VER-15")
def test_two_logs_bind_each_other(home):
    a, b = home.agent("a"), home.agent("b")
    a.state({"step": 1})
    seen = b.observe_checkpoint(signed(home, a))
    back = a.observe_checkpoint(signed(home, b))
    assert seen.body["checkpoint"] and [edge.agent for edge in seen.edges("evidence")] == [a.id]
    last = b.decide("go on", "yes", evidence=[back])
    report = judged(home, last, Without(bundled(home, last)))
    assert report.verdict == VALID
    # The walk itself reads further in both than the checkpoints reach.
    assert sources(report)[a.id][0] >= 3 and sources(report)[b.id][0] >= 3


@pytest.mark.spec("ANC-17")
def test_an_observed_checkpoint_is_a_head_from_a_record(home):
    a, b = home.agent("a"), home.agent("b")
    a.state({"step": 1})
    seen = b.observe_checkpoint(signed(home, a))
    report = judged(home, seen, Without(bundled(home, seen)))
    assert report.verdict == VALID and sources(report)[a.id] == (3, "record")


@pytest.mark.spec("ANC-17")
def test_a_log_written_anew_after_it_was_observed_is_convicted(home, tmp_path):
    """The same agent shows one history to b, and another to c."""
    a, b = home.agent("a"), home.agent("b")
    first = a.state({"step": 1})
    home.close()
    shutil.copytree(tmp_path / "d", tmp_path / "fork")
    with Home.open(tmp_path / "fork") as fork:
        fork.agent("a").state({"step": "another"})
        note = signed(fork, fork.agent("a"))
    with Home.open(tmp_path / "d") as again:
        a, b = again.agent("a"), again.agent("b")
        second = a.state({"step": 2})
        # What b is shown is signed by a's key, and covers as many records; of which history, nobody can tell yet.
        seen = b.observe("log", checkpoint=note, evidence=[second])
        last = b.decide("d", "yes", evidence=[seen, first])
        report = judged(again, last)
    assert "TSLG-V-FORK" in {finding.code for finding in report.findings}


@pytest.mark.spec("ANC-17")
def test_a_log_cut_off_behind_an_observed_checkpoint_is_found_out(home):
    """A mediator leaves out the newest records of a, and the evidence of the observation that covers them."""
    a, b = home.agent("a"), home.agent("b")
    first = a.state({"step": 1})
    second = a.state({"step": 2})
    seen = b.observe_checkpoint(signed(home, a))
    last = b.decide("d", "yes", evidence=[seen, first])
    report = judged(home, last, Without(bundled(home, last), [second.id]))
    reasons = {item.reason.split(":")[0] for item in report.undetermined}
    assert reasons >= {"absent", "tail"} and report.verdict != VALID


@pytest.mark.spec("ANC-16")
def test_what_the_agent_did_not_sign_is_refused(home):
    a, b = home.agent("a"), home.agent("b")
    head = checkpoint.parse(signed(home, a)).checkpoint
    with pytest.raises(Refusal) as raised:
        b.observe_checkpoint(checkpoint.encode(head, ed25519_secret(bytes(32))))
    assert raised.value.code == "TSLG-A-CHECKPOINT"
    with pytest.raises(UsageError, match="not held"):
        b.observe_checkpoint(checkpoint.encode(head._replace(size=99), ed25519_secret(bytes(32))))
    with pytest.raises(UsageError, match="not held"):
        b.observe_checkpoint(checkpoint.encode(head._replace(size=0), ed25519_secret(bytes(32))))
