"""What a node sends for a walk: everything that was asked for, in the order of the walk, in few and bounded chunks."""

from __future__ import annotations

import pytest
from world import NOW, source

from tslg.node import serving
from tslg.node.home import Home
from tslg.node.serving import Server
from tslg.protocol.cid import compute
from tslg.protocol.exchange import WalkEnd, WalkRequest, read_walk_chunk
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import parse
from tslg.protocol.traversal import Traversal, steps_of

CHAIN = {"manifest", "genesis", "registration"}
"""Kinds of which the fixture's chains consist; they go out before everything else."""


@pytest.fixture
def home(tmp_path):
    ticks = iter(range(NOW, NOW + 10**6))
    with Home.open(tmp_path, clock=lambda: next(ticks), random_bytes=source("serving")) as opened:
        yield opened


@pytest.fixture
def target(home):
    """The newest of forty decisions, each on two observations, the decision before and the very first observation."""
    agent = home.agent("a")
    first = last = agent.observe("sensor", {"n": -1})
    with agent.batch():
        for n in range(40):
            seen = [agent.observe("sensor", {"n": n, "of": which}) for which in range(2)]
            last = agent.decide("judge", "fine", evidence=[*seen, last, *([first] if last is not first else [])])
    return last.id


async def walk(store, request, limits=DEFAULT):
    """Return the ids of each chunk of the reply, and its end."""
    server = Server(store, lambda agent: (), limits)
    parts = [read_walk_chunk(chunk) async for chunk in server.walk(request.to_bytes(), "peer")]
    assert isinstance(parts[-1], WalkEnd)
    return [[parse(pair[0], "sha2-256") for pair in part] for part in parts[:-1]], parts[-1]


def in_order(store, root, edges=DEFAULT.walk_edges, classes=None):
    """Return the ancestry as the specification orders it, read record by record."""
    traversal, records = Traversal([root], edges), {}
    while not traversal.done:
        for id in traversal.level:
            records[id] = parse(store.get(id).data, "sha2-256")
        traversal.expand(lambda id: steps_of(records[id], classes))
    return list(traversal.visited)


@pytest.mark.spec("WIR-7", "WIR-8")
@pytest.mark.parametrize("read_ahead", [1, 7, 1_000])
@pytest.mark.parametrize(("edges", "classes"), [(None, None), (25, None), (None, ("evidence",)), (0, None)])
async def test_a_walk_goes_out_in_order_however_it_is_read(home, target, monkeypatch, read_ahead, edges, classes):
    monkeypatch.setattr(serving, "READ_AHEAD", read_ahead)
    chunks, end = await walk(home.store, WalkRequest((target,), classes, edges))
    sent = [record for chunk in chunks for record in chunk]
    chain = [record.id for record in sent if record.kind in CHAIN]
    expected = in_order(home.store, target, DEFAULT.walk_edges if edges is None else edges, classes)
    assert [record.id for record in sent] == [*chain, *(id for id in expected if id not in chain)]
    assert len(chain) == len(set(chain)) >= 2
    assert end.missing == ()


async def test_narrow_levels_share_a_chunk_and_every_chunk_but_the_last_is_full(home, target, monkeypatch):
    monkeypatch.setattr(serving, "CHUNK_RECORDS", 50)
    chunks, _ = await walk(home.store, WalkRequest((target,)))
    assert len(chunks) == 3
    assert [len(chunk) for chunk in chunks[:-1]] == [50, 50] and 0 < len(chunks[-1]) <= 50


@pytest.mark.spec("WIR-9")
async def test_what_is_not_held_is_named_once_and_the_rest_still_comes(home, target):
    absent = compute(b"nobody has this")
    chunks, end = await walk(home.store, WalkRequest((absent, target)))
    assert end.missing == ((absent, "absent"),)
    assert {record.id for chunk in chunks for record in chunk} >= set(in_order(home.store, target))


async def test_a_long_chain_is_read_in_few_queries(home, target, monkeypatch):
    asked = []
    read = home.store.get_many
    monkeypatch.setattr(home.store, "get_many", lambda ids: asked.append(ids) or read(ids))
    await walk(home.store, WalkRequest((target,)))
    # One per level would be forty.
    assert len(asked) < 20
