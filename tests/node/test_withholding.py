"""A node under the address scheme `merkle`: what it keeps, what it hands over, and what it keeps to itself."""

from __future__ import annotations

import io

import pytest
from world import MERKLE, NOW, founded, source

from tslg.node.bundling import write_walked
from tslg.node.home import Home
from tslg.node.serving import Server
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.verifying import verify, walk
from tslg.node.withholding import withholding
from tslg.protocol import bundle, codec
from tslg.protocol.errors import AttachmentError, RecordError, UsageError
from tslg.protocol.exchange import HeadRequest, RangeRequest, WalkEnd, WalkRequest, read_walk_chunk
from tslg.protocol.opening import Opened, disclosed

pytestmark = pytest.mark.spec("ATT-3", "MRK-9", "MRK-10")

SECRET = "a secret that only the record's holder knows"


def open_home(path, seed="node"):
    ticks = iter(range(NOW, NOW + 10**6))
    made = founded(MERKLE, "withholding")
    joined = (made.manifest_record, made.seal)
    return Home.open(path, federation=joined, clock=lambda: next(ticks), random_bytes=source(seed))


@pytest.fixture
def home(tmp_path):
    with open_home(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def decision(home):
    agent = home.agent("a")
    seen = agent.observe("sensor", {"reading": SECRET})
    return agent.decide("credit", "granted", evidence=seen, reason=SECRET)


def bundled(home, target, shown=None):
    stream = io.BytesIO()
    write_walked(stream, walk(StoreSource(home.store), target, home.federation, now_ms=home.clock()), shown)
    return stream.getvalue()


async def served(store, request, shown=None):
    """The chunks of an answer, as bytes."""
    server = Server(store, lambda agent: (), shown=shown)
    answer = server.walk if isinstance(request, WalkRequest) else server.log
    return [chunk async for chunk in answer(request.to_bytes(), "peer")]


@pytest.mark.spec("MRK-1", "MRK-2")
def test_the_author_keeps_what_its_record_only_commits_to(home, decision, tmp_path):
    assert decision.body["reason"] == SECRET and decision.withheld == ()
    entry = home.store.get(decision.id)
    assert SECRET.encode() not in entry.data and SECRET.encode() in entry.attachment
    assert home.store.check() == []
    assert verify(StoreSource(home.store), decision.id, home.federation, now_ms=home.clock()).verdict == "valid"
    home.close()
    with open_home(tmp_path / "home", "again") as again:
        assert again.ledger.context.record(decision.id).body == decision.body
        more = again.agent("a").act("notify", {"whom": "the applicant"})
        assert again.ledger.context.record(more.id).body == {"name": "notify", "input": {"whom": "the applicant"}}


def test_every_leaf_has_a_salt_of_its_own(home):
    agent = home.agent("a")
    made = [agent.state({"same": "data"}) for _ in range(3)]
    assert len({record.commitment.root for record in made}) == 3


def test_a_draft_is_refused_before_anything_is_kept(home):
    agent = home.agent("a")
    size = home.store.log_state(agent.id).size
    with pytest.raises(RecordError):
        agent.decide("", "granted", evidence=agent.id)
    assert home.store.log_state(agent.id).size == size


def test_a_batch_that_raises_leaves_no_attachment_behind(home):
    agent = home.agent("a")
    with pytest.raises(KeyError), agent.batch():
        agent.state({"in": "a batch"})
        raise KeyError
    made = agent.state({"after": "it"})
    assert home.store.get(made.id).attachment is not None and home.store.check() == []


def test_a_bundle_shows_what_it_may(home, decision):
    whole, some, none = (
        bundled(home, decision.id, shown)
        for shown in (None, withholding(["decision/reason", "observation/*"]), withholding(["*/*"]))
    )
    assert SECRET.encode() in whole and SECRET.encode() not in some and SECRET.encode() not in none
    assert b"granted" in some and b"granted" not in none
    reports = []
    for data in (whole, some, none):
        held = bundle.read(io.BytesIO(data))
        reports.append(verify(BundleSource(held), decision.id, home.federation, now_ms=home.clock()))
    assert [report.verdict for report in reports] == ["valid"] * 3
    assert [len(report.undisclosed) for report in reports] == [0, 2, 2]
    assert len({report.digest for report in reports}) == 1
    assert reports[1].records[decision.id].body == {"name": "credit", "outcome": "granted"}


@pytest.mark.parametrize("pattern", ["decision", "decision/uses", "policy/*x", "nothing/name", "/", "*/limits"])
def test_patterns_that_name_nothing_are_refused(pattern):
    with pytest.raises(UsageError):
        withholding([pattern])


async def test_peers_get_what_may_be_shown(home, decision):
    state = home.store.log_state(decision.owner)
    requests = [
        WalkRequest((decision.id,)),
        RangeRequest(decision.owner, 0, state.size),
        HeadRequest(decision.owner),
    ]
    for request in requests:
        assert SECRET.encode() in b"".join(await served(home.store, request))
        cut = await served(home.store, request, withholding(["*/reason", "*/data"]))
        assert SECRET.encode() not in b"".join(cut) and b"granted" in b"".join(cut)
        assert b"granted" not in b"".join(await served(home.store, request, withholding(["*/*"])))
    chunks = await served(home.store, WalkRequest((decision.id,)), withholding(["decision/reason"]))
    pairs = [pair for chunk in chunks if not isinstance(part := read_walk_chunk(chunk), WalkEnd) for pair in part]
    kept = next(pair for pair in pairs if pair[0] == decision.data)
    assert disclosed(decision.id, kept).withheld == ("reason",)


def test_another_node_keeps_what_it_was_shown(home, decision, tmp_path):
    with open_home(tmp_path / "other", "other") as other:
        opened = walk(StoreSource(home.store), decision.id, home.federation, now_ms=home.clock()).walker.opened()
        bare = [Opened(one.record, one.seal, one.sealed) for one in opened]
        assert other.ledger.adopt(bare) > 0
        assert disclosed(decision.id, other.store.get(decision.id)).withheld == decision.commitment.names
        assert other.ledger.adopt(opened) == 0
        assert disclosed(decision.id, other.store.get(decision.id)).body == decision.body
        assert other.store.check() == []


@pytest.mark.spec("ATT-3")
def test_a_record_is_not_admitted_with_what_does_not_belong_to_it(home, decision):
    entry = home.store.get(decision.id)
    for attachment in (b"", codec.encode({"leaves": [[0, b"", []]], "redacted": []})):
        with pytest.raises(AttachmentError):
            home.ledger.admit(entry.data, entry.seal, attachment)


def test_fsck_finds_a_disclosure_that_was_changed(home, decision):
    entry = home.store.get(decision.id)
    home.store.set_attachment(decision.id, entry.attachment.replace(b"granted", b"refused"))
    assert [(problem.code, problem.record) for problem in home.store.check()] == [("TSLG-T-PROOF", decision.id)]
    assert disclosed(decision.id, home.store.get(decision.id)).withheld == decision.commitment.names
