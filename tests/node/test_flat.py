"""A node in a flat federation: it writes edges without classes, and answers every question by the recovered ones."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager

import pytest
from breaches_flat import FLAT
from world import NOW, World

from tslg.manifests.signing import encode_sealed
from tslg.node.bundling import write_walked
from tslg.node.home import Home
from tslg.node.net.memory import MemoryHub
from tslg.node.node import Node
from tslg.node.serving import Server
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.store.memory import MemoryStore
from tslg.node.verifying import resume, verify, walk
from tslg.protocol import bundle
from tslg.protocol.errors import Refusal, UsageError
from tslg.protocol.exchange import WalkEnd, WalkRequest, read_walk_chunk
from tslg.protocol.flat import Recovered
from tslg.protocol.record import parse


@pytest.fixture
def root(tmp_path):
    w = World(FLAT, "flat node")
    file = tmp_path / "root.sealed"
    file.write_bytes(encode_sealed(w.founded.manifest_record.data, w.founded.seal))
    return file


@pytest.fixture
def open_home(tmp_path, root):
    ticks = iter(range(NOW + 1_000, NOW + 900_000))
    return lambda: Home.open(tmp_path / "home", federation=root, clock=lambda: next(ticks))


def work(home: Home) -> dict:
    boss, hand = home.agent("boss"), home.agent("hand")
    grant = boss.policy("grant", capabilities=["look"], limits={"cost": 9})
    task = boss.delegate(hand.id, {"look": "around"}, grant, expires=NOW + 10**6)
    state = hand.state({"n": 1})
    seen = hand.observe("sensor", {"n": 2})
    found = hand.decide("find", "it", evidence=seen, delegation=task, uses=["look"], spends={"cost": 2})
    return {
        "grant": grant,
        "task": task,
        "state": state,
        "seen": seen,
        "found": found,
        "done": boss.decide("accept", "yes", evidence=found),
    }


def test_records_are_flat_and_indexed_by_class(open_home):
    with open_home() as home:
        made = work(home)
        assert list(parse(made["found"].data).preds) == ["any"] and isinstance(made["found"], Recovered)
        by_class = {
            name: {row.parent for row in home.store.parents([made["found"].id]) if row.name == name}
            for name in ("prior", "policy", "evidence", "delegation", "any")
        }
        assert by_class == {
            "prior": {made["state"].id},
            "policy": {made["grant"].id},
            "evidence": {made["seen"].id},
            "delegation": {made["task"].id},
            "any": set(),
        }
        assert home.store.children(made["grant"].id, ("policy",)) != []
        assert home.store.check() == []
    with open_home() as home:
        again = home.ledger.context.record(made["found"].id)
        assert again.preds == made["found"].preds
        assert home.agent("hand").state({"n": 3}).preds.keys() == {"prior"}
        report = verify(StoreSource(home.store), made["done"].id, home.federation, now_ms=NOW + 10**6)
        assert report.verdict == "valid"


def test_an_edge_that_would_be_read_otherwise_is_not_written(open_home):
    with open_home() as home:
        made = work(home)
        hand = home.agent("hand")
        before = home.store.log_state(hand.id).size
        with pytest.raises(UsageError, match=r"TSLG-U-FLAT: its evidence .* would be read as prior"):
            hand.decide("again", "no", evidence=[made["state"], made["seen"]], delegation=made["task"])
        with pytest.raises(Refusal, match="TSLG-A-CLASSES"):
            hand.decide("again", "no", evidence=[], delegation=made["task"])
        assert home.store.log_state(hand.id).size == before


def test_a_bundle_and_a_resumed_walk_say_the_same(open_home):
    with open_home() as home:
        made = work(home)
        source, now = StoreSource(home.store), NOW + 10**6
        walked = walk(source, made["done"].id, home.federation, now_ms=now)
        stream = io.BytesIO()
        write_walked(stream, walked)
        stream.seek(0)
        held = BundleSource(bundle.read(stream))
        report = verify(held, made["done"].id, home.federation, now_ms=now)
        assert report.verdict == "valid" and report.edges == walked.report.edges
        for depth in range(report.edges):
            bounded = verify(source, made["done"].id, home.federation, now_ms=now, depth=depth)
            assert bounded.verdict == "valid" and bounded.edges == depth
            deeper = resume(source, bounded, None, now_ms=now)
            assert deeper.digest == walked.report.digest


async def test_a_server_follows_the_classes_that_are_asked_for(open_home):
    with open_home() as home:
        made = work(home)
        server = Server(home.store, lambda agent: ())
        request = WalkRequest((made["done"].id,), ("evidence",), None).to_bytes()
        parts = [read_walk_chunk(chunk) async for chunk in server.walk(request, "peer")]
        sent = {parse(pair[0]).id for part in parts if not isinstance(part, WalkEnd) for pair in part}
        assert {made["done"].id, made["found"].id, made["seen"].id} <= sent
        assert made["grant"].id not in sent


async def test_an_audit_and_what_is_kept_of_it(tmp_path, root):
    hub, ticks = MemoryHub(), iter(range(NOW + 1_000, NOW + 900_000))

    @asynccontextmanager
    async def node(name: str):
        network = hub.network(name)
        async with Node.open(tmp_path / name, federation=root, network=network, clock=lambda: next(ticks)) as one:
            yield one

    async with node("a") as a, node("b") as b:
        made = work(a.home)
        report = await b.fetch(made["found"], a.addresses)
        assert report.verdict == "valid", (report.findings, report.undetermined)
        other = await b.agent("other")
        assert (await other.state({}, evidence=made["found"])).preds.keys() == {"prior", "evidence"}
        assert b.home.store.children(made["seen"].id, ("evidence",)) == [made["found"].id]
        assert b.home.store.check() == []
    async with node("c") as c, node("d") as d:
        made = work(c.home)
        report = await d.fetch(made["done"], c.addresses, depth=3)
        assert report.verdict == "valid" and report.frontier
        assert d.home.store.check() == []


def test_the_memory_store_keeps_recovered_classes(open_home):
    with open_home() as home:
        made = work(home)
        store = MemoryStore()
        store.append([(made["found"], b"")])
        assert {row.name for row in store.parents([made["found"].id])} == {"prior", "policy", "evidence", "delegation"}
