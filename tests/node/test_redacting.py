"""Redaction: what was destroyed stands nowhere in the files, every proof still holds, and it is told who did it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import pytest
from world import MERKLE, NOW, founded, source

from tslg.node import challenging, redacting
from tslg.node.bundling import write_walked
from tslg.node.drafting import Draft
from tslg.node.home import Home
from tslg.node.serving import Server
from tslg.node.sources import StoreSource
from tslg.node.store.memory import MemoryStore
from tslg.node.verifying import verify, walk
from tslg.protocol import challenge
from tslg.protocol.admission import RuleBook
from tslg.protocol.cid import to_text
from tslg.protocol.errors import Refusal, StoreError, UsageError
from tslg.protocol.exchange import WalkRequest
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Edge

pytestmark = pytest.mark.spec("RED-1", "RED-2", "RED-3", "RED-4", "RED-5")

SECRET = "the patient's name is Ada Example, born on the tenth of December"


def open_home(path, seed="node"):
    ticks = iter(range(NOW, NOW + 10**6))
    made = founded(MERKLE, "redacting")
    joined = (made.manifest_record, made.seal)
    return Home.open(path, federation=joined, clock=lambda: next(ticks), random_bytes=source(seed))


@pytest.fixture
def home(tmp_path):
    with open_home(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def decision(home):
    """A decision among many records, so that pages have split and cells have moved."""
    agent = home.agent("a")
    agent.adopt(agent.policy("rules"))
    for n in range(60):
        agent.observe("sensor", {"n": n, "padding": "x" * (n * 37 % 1500)})
    seen = agent.observe("interview", {"answer": "nothing to hide"}, content=SECRET.encode() * 40)
    made = agent.decide("triage", "urgent", evidence=seen, reason=SECRET * 20, data={"more": SECRET})
    for n in range(60):
        agent.state({"n": n, "padding": "y" * (n * 53 % 1500)})
    return made


def traces(folder, secret=SECRET):
    """The files below a folder in which the secret stands."""
    return [path.name for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def report_of(home, target):
    return verify(StoreSource(home.store), target.id, home.federation, now_ms=home.clock(), log="full")


@pytest.mark.spec("RED-3", "RED-4")
def test_nothing_of_a_field_is_left_in_any_file(home, decision, tmp_path):
    agent = home.agent("a")
    before = home.store.get(decision.id)
    assert set(traces(tmp_path)) >= {"tslg.sqlite-wal"}
    redaction = agent.redact(decision, fields=["reason", "data"], reason="asked to")
    assert [name for name in traces(tmp_path) if "sqlite" in name] == []
    entry = home.store.get(decision.id)
    assert (entry.data, entry.seal) == (before.data, before.seal)
    shown = disclosed(decision.id, entry)
    assert shown.body == {"name": "triage", "outcome": "urgent"} and shown.withheld == ("data", "reason")
    assert shown.commitment.redacted == (redaction.id,)
    assert home.ledger.context.record(decision.id).body == shown.body
    assert home.store.check() == []


@pytest.mark.spec("RED-5")
def test_every_proof_still_holds_and_the_report_names_the_redaction(home, decision):
    digest = report_of(home, decision).digest
    redaction = home.agent("a").redact(decision, fields=["reason"], reason="asked to")
    report = report_of(home, decision)
    assert report.verdict == "valid" and report_of(home, redaction).verdict == "valid"
    assert [(one.record, one.fields, one.redacted_by) for one in report.undisclosed] == [
        (decision.id, ("reason",), (redaction.id,))
    ]
    assert digest != report.digest or report.frontier == ()


@pytest.mark.spec("RED-4")
async def test_no_bundle_and_no_reply_has_it_afterwards(home, decision):
    home.agent("a").redact(decision, fields=["reason", "data"], reason="asked to")
    stream = io.BytesIO()
    write_walked(stream, walk(StoreSource(home.store), decision.id, home.federation, now_ms=home.clock()))
    server = Server(home.store, lambda agent: ())
    chunks = [chunk async for chunk in server.walk(WalkRequest((decision.id,)).to_bytes(), "peer")]
    for data in (stream.getvalue(), b"".join(chunks)):
        assert SECRET.encode() not in data and b"urgent" in data


def test_a_blob_is_destroyed_beside_the_record(home, decision, tmp_path):
    agent = home.agent("a")
    seen = decision.preds["evidence"][0].cid
    digest = hashlib.sha256(SECRET.encode() * 40).digest()
    assert home.store.get_blob(digest) is not None
    agent.redact(seen, blobs=[digest], reason="asked to")
    assert home.store.get_blob(digest) is None
    assert digest.hex()[2:] not in traces(tmp_path) and home.store.check() == []
    agent.redact(seen, fields=["blob"], blobs=[digest], reason="again, and its name too")
    assert disclosed(seen, home.store.get(seen)).withheld == ("blob",)


def test_what_another_shows_later_does_not_come_back(home, decision, tmp_path):
    opened = walk(StoreSource(home.store), decision.id, home.federation, now_ms=home.clock()).walker.opened()
    home.agent("a").redact(decision, fields=["reason", "data", "name", "outcome", "blob"], reason="asked to")
    home.ledger.adopt(opened)
    assert disclosed(decision.id, home.store.get(decision.id)).withheld == decision.commitment.names
    assert "tslg.sqlite" not in traces(tmp_path) and "tslg.sqlite-wal" not in traces(tmp_path)


def test_a_node_that_learns_of_a_redaction_carries_it_out(home, decision, tmp_path):
    with open_home(tmp_path / "copy", "copy") as copy:
        copy.ledger.adopt(
            walk(StoreSource(home.store), decision.id, home.federation, now_ms=home.clock()).walker.opened()
        )
        assert traces(tmp_path / "copy")
        redaction = home.agent("a").redact(decision, fields=["reason", "data"], reason="asked to")
        copy.ledger.adopt(
            walk(StoreSource(home.store), redaction.id, home.federation, now_ms=home.clock()).walker.opened()
        )
        assert disclosed(decision.id, copy.store.get(decision.id)).withheld == ("data", "reason")
        assert traces(tmp_path / "copy") == []


def test_a_crash_between_record_and_destruction_is_made_good(home, decision, tmp_path, monkeypatch):
    def crash(store, redactions):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(redacting, "carry_out", crash)
        with pytest.raises(KeyboardInterrupt):
            home.agent("a").redact(decision, fields=["reason", "data"], reason="asked to")
    home.close()
    with open_home(tmp_path / "home", "again") as again:
        assert disclosed(decision.id, again.store.get(decision.id)).withheld == ("data", "reason")
        assert [name for name in traces(tmp_path) if "sqlite" in name] == []


@pytest.mark.spec("RED-2", "RED-4")
def test_nothing_is_destroyed_on_the_word_of_a_stranger(home, decision, tmp_path):
    """A redaction of another's record, sealed by an agent against the rules, and handed over by a walk of no depth."""
    victim = home.store.get(decision.id)
    stranger = home.agent("b")
    policy = stranger.policy("mine")
    draft = {"target": decision.id, "fields": ["reason"], "blobs": [], "reason": "not mine to destroy"}
    edges = {"policy": [Edge(policy.id)], "evidence": [Edge(decision.id)]}
    with open_home(tmp_path / "other", "other") as other:
        other.ledger.adopt(
            walk(StoreSource(home.store), decision.id, home.federation, now_ms=home.clock()).walker.opened()
        )
        forged = forge(home, stranger.id, "redaction", draft, edges)
        walked = walk(StoreSource(home.store), forged.id, home.federation, now_ms=home.clock(), depth=0)
        assert walked.report.verdict == "valid"
        other.ledger.adopt(walked.walker.opened())
        assert other.store.has(forged.id)
        assert disclosed(decision.id, other.store.get(decision.id)).body == decision.body
        assert other.ledger.context.record(decision.id).body == decision.body
    with open_home(tmp_path / "other", "again") as other:
        assert disclosed(decision.id, other.store.get(decision.id)).body == decision.body
        assert other.store.get(decision.id).attachment == victim.attachment


def forge(home, owner, kind, body, preds):
    """Append a record to an own log past the rules."""
    with home.ledger.transaction():
        home.ledger._book = type("Anything", (), {"admit": staticmethod(lambda record, seal, *, sealed=False: None)})()
        try:
            return home.ledger._stage(owner, Draft(kind, body, preds))
        finally:
            home.ledger._book = RuleBook(home.ledger.context)


def test_a_reader_that_holds_on_is_told_and_it_can_be_repeated(home, decision, tmp_path, monkeypatch):
    from tslg.node.store import erasing

    monkeypatch.setattr(erasing, "_PATIENCE_S", 0.0)
    with home.store._readers.use() as db:
        home.store._writer._db.execute("PRAGMA busy_timeout = 50")
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM record").fetchone()
        with pytest.raises(StoreError) as caught:
            home.agent("a").redact(decision, fields=["reason", "data"], reason="asked to")
        assert caught.value.code == "TSLG-D-BUSY"
        db.execute("ROLLBACK")
    home.store.erase({}, ())
    assert [name for name in traces(tmp_path) if "sqlite" in name] == []


@pytest.mark.spec("RED-2")
def test_who_may_not_redact_destroys_nothing(home, decision):
    other = home.agent("b")
    other.adopt(other.policy("rules"))
    with pytest.raises(Refusal) as caught:
        other.redact(decision, fields=["reason"], reason="I do not like it")
    assert caught.value.code == "TSLG-A-REDACTION"
    assert disclosed(decision.id, home.store.get(decision.id)).body["reason"] == SECRET * 20
    with pytest.raises(UsageError), other.batch():
        other.redact(decision, fields=["reason"], reason="in a batch")


def test_the_store_in_memory_forgets_as_well(home, decision):
    store = MemoryStore()
    entry = home.store.get(decision.id)
    store.append([(decision, entry.seal)], (), {decision.id: entry.attachment})
    redaction = home.agent("a").redact(decision, fields=["reason"], reason="asked to")
    assert redacting.carry_out(store, [redaction]) == [decision.id]
    assert redacting.carry_out(store, [redaction]) == []
    assert disclosed(decision.id, store.get(decision.id)).withheld == ("reason",)
    assert to_text(redaction.id)


def test_a_challenge_is_answered_by_the_redaction_and_by_no_other_record(home, decision):
    agent = home.agent("a")
    redaction = agent.redact(decision, fields=["reason"], reason="asked to")
    given = challenging.answer(home.store, home.federation, decision.id, None, now_ms=home.clock())
    assert (given.verdict, given.redaction) == ("redacted", redaction.id)
    assert SECRET.encode() not in given.to_bytes()
    read = challenge.read(given.to_bytes())
    assert challenging.check(read, home.federation, home.clock()) is None
    for false in (replace(read, redaction=decision.id), replace(read, redaction=None), replace(read, seq=read.seq - 1)):
        assert challenging.check(false, home.federation, home.clock()) is not None
