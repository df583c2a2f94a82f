"""Logs under an anchoring policy: closed while witnesses are away, nothing lost, and read by strangers as anchored."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio

from tslg.manifests import examples, text
from tslg.manifests import genesis as geneses
from tslg.node.auditor import Auditor
from tslg.node.bundling import write_walked
from tslg.node.checkpoints import sign_head
from tslg.node.cli.verify import outside_heads
from tslg.node.home import Home
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.node.node import Node
from tslg.node.serving import Server
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.verifying import verify, walk
from tslg.node.witness.key import WitnessKey
from tslg.protocol import bundle, codec, witnessing
from tslg.protocol.checkpoint import Checkpoint, Signed, encode, parse
from tslg.protocol.cosignature import cosigned
from tslg.protocol.errors import AnchoringError, CheckpointError, NetworkError, UsageError
from tslg.protocol.exchange import LOG, WALK, MessageError, WalkEnd, WalkRequest, read_walk_chunk
from tslg.protocol.limits import Limits
from tslg.protocol.log import Tree
from tslg.protocol.note import COSIGNATURE
from tslg.protocol.report import VALID
from tslg.protocol.signatures import ed25519_secret

KEYS = [WitnessKey(f"w.example/{name}", COSIGNATURE, name.encode() * 32) for name in "abc"]
SECOND = 1_700_000_000


class Clock:
    def __init__(self) -> None:
        self.ms = SECOND * 1000

    def __call__(self) -> int:
        return self.ms


class Asked:
    """Witnesses at hand, each of which can be away."""

    def __init__(self, clock: Clock) -> None:
        self.away: set[str] = set()
        self.sizes: list[int] = []
        self.clock = clock

    def gather(
        self, signed: Signed, policy: Any, prove: Callable[[int, int], Any], shown: bytes | None = None
    ) -> Signed:
        self.sizes.append(signed.checkpoint.size)
        lines = tuple(
            key.cosign(signed.checkpoint, self.clock.ms // 1000)
            for key in KEYS
            if key.name not in self.away and key.public in policy.witnesses
        )
        merged = witnessing.merge(signed, [Signed(signed.checkpoint, lines)])
        if len(cosigned(merged, policy)) < policy.quorum:
            raise NetworkError("too few", code="TSLG-N-QUORUM")
        return merged

    def close(self) -> None:
        self.away = {key.name for key in KEYS}


def anchoring(cadence: str, quorum: int = 2, **more: int) -> dict[str, Any]:
    return {"cadence": cadence, "witnesses": sorted(key.public.text for key in KEYS), "quorum": quorum, **more}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def asked(clock) -> Asked:
    return Asked(clock)


@pytest.fixture
def opened(tmp_path, clock, asked, monkeypatch):
    """Open a home whose federation asks for this anchoring; call again to open it anew."""
    homes: list[Home] = []
    monkeypatch.setattr(Home, "_ask_witnesses", lambda self: asked)

    def open_home(asks: dict[str, Any] | None = None) -> Home:
        if homes:
            homes.pop().close()
        sealed = None
        if asks is not None:
            plain = text.parse(examples.read("single-organisation"))
            envelope = {**plain.envelope, "anchoring": asks, "genesis": {"anchors": 0}}
            founded = geneses.found_federation(
                replace(plain, envelope=envelope), random_bytes=lambda n: bytes(range(n)), time_ms=clock()
            )
            sealed = (founded.manifest_record, founded.seal)
        homes.append(Home.open(tmp_path / "d", federation=sealed, clock=clock))
        return homes[0]

    yield open_home
    for home in homes:
        home.close()


def report(home: Home, target, source=None, **more):
    return verify(source or StoreSource(home.store), target, home.federation, now_ms=home.clock(), **more)


def reasons(report) -> list[str]:
    return [item.reason.split(":")[0] for item in report.undetermined]


@pytest.mark.spec("ANC-10", "ANC-13")
@pytest.mark.parametrize("cadence", ["record", "batch"])
def test_an_append_returns_once_a_quorum_cosigned(opened, asked, cadence):
    home = opened(anchoring(cadence))
    agent = home.agent("a")
    asked.sizes.clear()
    record = agent.state({"step": 1})
    assert asked.sizes == [3] and home.anchorer.behind(agent.id) == 0
    found = report(home, record.id)
    assert found.verdict == VALID
    assert [(one.size, one.source) for one in found.freshness if one.agent == agent.id] == [(3, "witness")]


@pytest.mark.spec("ANC-10", "ANC-11")
@pytest.mark.parametrize("cadence", ["record", "batch"])
def test_without_a_quorum_the_log_closes_and_nothing_is_lost(opened, asked, cadence):
    home = opened(anchoring(cadence))
    agent = home.agent("a")
    asked.away = {"w.example/a"}
    agent.state({"step": 1})
    asked.away = {"w.example/a", "w.example/b"}
    with pytest.raises(AnchoringError, match="is on disk") as raised:
        agent.state({"step": 2})
    assert raised.value.code == "TSLG-N-UNANCHORED" and raised.value.record == agent.id
    size = home.store.log_state(agent.id).size
    assert size == 4
    for _ in range(2):
        with pytest.raises(AnchoringError, match="nothing was appended"):
            agent.state({"step": 3})
    assert home.store.log_state(agent.id).size == size
    last = home.store.log_state(agent.id).last
    found = report(home, last)
    assert reasons(found) == ["unanchored"] and found.undetermined[0].record == last
    asked.away = set()
    third = agent.state({"step": 3})
    assert third.seq == size and report(home, third.id).verdict == VALID


@pytest.mark.spec("ANC-11")
def test_a_log_that_is_ahead_stays_closed_after_a_restart(opened, asked):
    home = opened(anchoring("record"))
    home.agent("a")
    asked.close()
    with pytest.raises(AnchoringError):
        home.agent("a").state({"step": 1})
    again = opened()
    with pytest.raises(AnchoringError, match="nothing was appended"):
        again.agent("a").state({"step": 2})
    asked.away = set()
    assert again.agent("a").state({"step": 2}).seq == 3


def test_an_agent_is_made_while_no_witness_answers(opened, asked):
    home = opened(anchoring("record"))
    asked.close()
    with pytest.raises(AnchoringError):
        home.agent("a")
    again = opened()
    agent = again.agent("a")
    assert again.store.log_state(agent.id).size == 2
    asked.away = set()
    agent.act("go")
    assert again.store.log_state(agent.id).size == 3


@pytest.mark.spec("ANC-10")
def test_a_batch_is_one_checkpoint_and_not_one_of_records(opened, asked):
    home = opened(anchoring("batch"))
    one, two = home.agent("a"), home.agent("b")
    asked.sizes.clear()
    with one.batch():
        for step in range(5):
            one.state({"step": step})
        two.state({"step": 0})
    assert sorted(asked.sizes) == [3, 7]
    assert home.anchorer.behind(one.id) == home.anchorer.behind(two.id) == 0


@pytest.mark.spec("ANC-10")
def test_a_cadence_of_records_knows_no_batches(opened):
    home = opened(anchoring("record"))
    with pytest.raises(UsageError) as raised, home.agent("a").batch():
        raise AssertionError("never reached")
    assert raised.value.code == "TSLG-U-CADENCE"


@pytest.mark.spec("ANC-12")
def test_an_epoch_ends_with_a_checkpoint(opened, asked, clock):
    home = opened(anchoring("epoch", epoch_ms=60_000))
    agent = home.agent("a")
    record = agent.state({"step": 1})
    assert asked.sizes == [] and not home.anchorer.due(agent.id)
    assert reasons(report(home, record.id)) == ["unanchored"]
    asked.close()
    clock.ms += 59_999
    agent.state({"step": 2})
    clock.ms += 1
    assert home.anchorer.due(agent.id)
    with pytest.raises(AnchoringError):
        agent.state({"step": 3})
    asked.away = set()
    agent.state({"step": 3})
    assert asked.sizes[-1] == 4 and home.anchorer.behind(agent.id) == 1
    assert home.anchorer.anchor(agent.id).checkpoint.size == 5
    assert report(home, record.id).verdict == VALID


def test_threads_append_at_once_and_all_is_anchored(opened, asked):
    home = opened(anchoring("batch"))
    agent = home.agent("a")
    threads = [threading.Thread(target=agent.state, args=({"thread": n},)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert home.store.log_state(agent.id).size == 14 and home.anchorer.behind(agent.id) == 0


def test_nothing_is_asked_where_the_manifest_asks_for_nothing(opened, asked):
    home = opened({})
    agent = home.agent("a")
    record = agent.state({})
    assert asked.sizes == [] and home.anchorer.anchor(agent.id) is None
    assert report(home, record.id).verdict == VALID


@pytest.mark.spec("ANC-13", "ANC-14", "ANC-15", "VER-20")
def test_a_bundle_carries_the_cosignatures(opened, asked):
    home = opened(anchoring("record"))
    agent = home.agent("a")
    target = agent.decide("d", "yes", evidence=[agent.observe("o")])
    agent.state({"later": 1})
    stream = io.BytesIO()
    write_walked(stream, walk(StoreSource(home.store), target.id, home.federation, now_ms=home.clock()))
    read = bundle.read(io.BytesIO(stream.getvalue()))
    assert len(read.checkpoints) == 1
    found = report(home, target.id, BundleSource(read))
    assert found.verdict == VALID and {one.source for one in found.freshness if one.agent == agent.id} == {"witness"}
    heads = report(home, target.id, BundleSource(read), signatures="heads")
    assert heads.verdict == VALID


@pytest.mark.spec("ANC-13", "ANC-14", "ANC-18")
def test_checkpoints_that_do_not_hold_anchor_nothing(opened, asked, clock):
    """Handed over by a server that lies: short of the quorum, of other witnesses, forged, of the future."""
    home = opened(anchoring("record"))
    agent = home.agent("a")
    target = agent.state({"step": 1})
    good = home.anchorer.anchor(agent.id)
    head, own = good.checkpoint, good.signatures[0]
    lines = {key.name: key.cosign(head, SECOND) for key in KEYS}
    stranger = WitnessKey("w.example/a", COSIGNATURE, b"x" * 32).cosign(head, SECOND)
    a, b = lines["w.example/a"], lines["w.example/b"]
    bad = {
        "one of two": (own, a),
        "one twice": (own, a, KEYS[0].cosign(head, SECOND + 1)),
        "a stranger of that name": (own, a, stranger),
        "not by the log": (a, b),
        "another time": (own, a, b._replace(value=(SECOND + 1).to_bytes(8, "big") + b.value[8:])),
        "time zero": (own, a, KEYS[1].cosign(head, 0)),
        "the future": (own, a, KEYS[1].cosign(head, SECOND + 3600)),
        "another size": (own, a, KEYS[1].cosign(head._replace(size=2), SECOND)),
    }
    state = _State(StoreSource(home.store))
    for name, signatures in bad.items():
        state.notes = (Signed(head, signatures).to_bytes(), b"nonsense")
        found = report(home, target.id, state)
        assert reasons(found) == ["unanchored"], name
        assert "witness" not in {one.source for one in found.freshness}, name
    state.notes = (Signed(head, (own, a, b)).to_bytes(),)
    assert report(home, target.id, state).verdict == VALID
    # However many larger ones a liar hands over first, they do not crowd out the one that holds.
    fakes = [Signed(head._replace(size=100 + n), (own, a, b)).to_bytes() for n in range(500)]
    state.notes = (*fakes, *state.notes)
    crowded = walk(state, target.id, home.federation, now_ms=home.clock())
    assert crowded.report.verdict == VALID and len(crowded.walker.checkpoints()) == 1
    assert reasons(report(home, target.id, state, log="none")) == ["unanchored"]


class _State:
    """A store as a source, but for the checkpoints that it hands over."""

    def __init__(self, source: StoreSource) -> None:
        self._source = source
        self.notes: tuple[bytes, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def checkpoints(self, agent) -> tuple[bytes, ...]:
        return self.notes


@pytest.mark.spec("ANC-14")
def test_a_log_cut_off_behind_a_cosigned_checkpoint_is_found_out(opened, asked):
    home = opened(anchoring("record"))
    agent = home.agent("a")
    target = agent.state({"step": 1})
    cut = io.BytesIO()
    write_walked(cut, walk(StoreSource(home.store), target.id, home.federation, now_ms=home.clock()))
    agent.state({"step": 2})
    newer = home.anchorer.anchor(agent.id)
    source = _State(BundleSource(bundle.read(io.BytesIO(cut.getvalue()))))
    source.notes = (newer.to_bytes(),)
    found = report(home, target.id, source)
    assert "tail" in reasons(found) and found.verdict != VALID


@pytest.mark.spec("ANC-15", "WIR-9")
async def test_a_walk_carries_the_cosignatures_and_the_proofs_that_lead_from_them(opened, asked):
    home = opened(anchoring("epoch", epoch_ms=60_000))
    agent = home.agent("a")
    target = agent.state({"step": 1})
    agent.state({"step": 2})
    home.anchorer.anchor(agent.id)
    agent.state({"step": 3})
    served = [
        chunk async for chunk in Server(home.store, lambda agent: []).walk(WalkRequest((target.id,)).to_bytes(), "p")
    ]
    end = read_walk_chunk(served[-1])
    assert isinstance(end, WalkEnd) and WalkEnd.to_bytes(end) == served[-1]
    (note,) = end.checkpoints
    assert parse(note).checkpoint.size == 4
    hub = MemoryHub()
    network = hub.network("server")
    network.serve(WALK, Server(home.store, lambda agent: []).walk)
    network.serve(LOG, Server(home.store, lambda agent: []).log)
    asker = hub.network("asker")
    async with running(network), running(asker):
        auditor = Auditor(asker, home.federation, clock=home.clock)
        walked = await auditor.walk(target.id, [network.addresses[0]])
    assert walked.report.verdict == VALID
    (vouched,) = walked.walker._vouched(agent.id)
    assert vouched.signed.checkpoint.size == 4
    assert 0 <= vouched.head.age_ms < 3_600_000
    assert "unanchored" in reasons(report(home, home.store.log_state(agent.id).last))
    for broken in (
        b"\xa1",
        codec.encode({"end": {"missing": [], "heads": [], "inclusion": [], "consistency": [], "checkpoints": []}}),
    ):
        with pytest.raises(MessageError):
            read_walk_chunk(broken)


async def test_a_running_node_catches_up_by_itself(opened, asked, tmp_path):
    home = opened(anchoring("batch"))
    agent = home.agent("a")
    asked.close()
    with pytest.raises(AnchoringError):
        agent.state({"step": 1})
    home.close()
    async with Node.open(tmp_path / "d", clock=home.clock, limits=Limits(anchoring_check_ms=10)) as node:
        await trio.sleep(0.05)
        assert node.home.anchorer.behind(agent.id) == 1
        asked.away = set()
        with trio.fail_after(30):
            while node.home.anchorer.behind(agent.id):
                await trio.sleep(0.01)
        again = await node.agent("a")
        assert (await again.state({"step": 2})).seq == 3


@pytest.mark.spec("ANC-13")
def test_a_checkpoint_file_with_cosignatures_is_a_witnesss(opened, asked, tmp_path):
    home = opened(anchoring("record"))
    agent = home.agent("a")
    target = agent.state({"step": 1})
    (tmp_path / "head").write_bytes(home.anchorer.anchor(agent.id).to_bytes())
    source = _State(StoreSource(home.store))
    found = report(home, target.id, source, outside=outside_heads((tmp_path / "head",)))
    assert found.verdict == VALID and ("witness", 3) in {(one.source, one.size) for one in found.freshness}


@pytest.mark.spec("CHK-6")
@pytest.mark.parametrize("log", ["visited", "full"])
def test_a_checkpoint_file_by_a_key_that_was_dead_by_then_is_refused(opened, asked, tmp_path, log):
    home = opened({})
    agent = home.agent("a")
    stolen = home.keyring.note_key(agent.id)
    early = sign_head(home.store, agent.id, stolen).to_bytes()
    second = agent.rotate()
    late = sign_head(home.store, agent.id, stolen).to_bytes()
    agent.revoke(agent.id, "stolen")
    target = agent.state({"step": 1})
    tree = Tree(home.store.leaves(agent.id, target.seq + 1))

    def verified(note: bytes):
        (tmp_path / "head").write_bytes(note)
        source = StoreSource(home.store)
        return report(home, target.id, source, log=log, outside=outside_heads((tmp_path / "head",)))

    def stated(size: int, key) -> bytes:
        return encode(Checkpoint.of(agent.id, size, tree.root(size)), ed25519_secret(key.seed))

    for note in (early, late, sign_head(home.store, agent.id, home.keyring.note_key(agent.id)).to_bytes()):
        assert verified(note).verdict == VALID
    # The first key is dead from the position behind the revocation: a log of as many records is the last that it signs.
    end = target.seq
    assert verified(stated(end, stolen)).verdict == VALID
    with pytest.raises(CheckpointError, match="not in force") as caught:
        verified(stated(end + 1, stolen))
    assert caught.value.code == "TSLG-K-SIGNATURE"
    with pytest.raises(CheckpointError, match="not in force"):
        verified(stated(second.seq, home.keyring.note_key(agent.id)))


def test_checkpoints_follow_the_keys_that_are_in_force(opened, asked):
    home = opened(anchoring("record"))
    agent = home.agent("a")
    home.keyring.rotate(agent.id)
    home.keyring.revoke(agent.id, agent.id, "lost")
    target = agent.state({"step": 1})
    assert home.anchorer.behind(agent.id) == 0
    found = report(home, target.id)
    assert found.verdict == VALID and "witness" in {one.source for one in found.freshness}
