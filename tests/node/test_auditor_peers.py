"""What an audit makes of peers that cannot be reached, or answer with anything but records."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from types import SimpleNamespace

import pytest
import trio

from tslg.node import hedging
from tslg.node.auditor import Auditor
from tslg.node.finding import asking
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import Line, peer_id_of, running
from tslg.node.node import Node
from tslg.protocol.cid import compute
from tslg.protocol.exchange import LOG, WALK, records_chunk
from tslg.protocol.limits import DEFAULT

TARGET, FEDERATION = compute(b"target"), compute(b"federation")


async def audit(hub: MemoryHub, peer: str):
    network = hub.network("auditor")
    async with running(network):
        return await Auditor(network, FEDERATION, clock=lambda: 0).audit(TARGET, [peer])


@pytest.mark.spec("VER-8", "WIR-10")
async def test_a_peer_that_cannot_be_reached_leaves_the_audit_undetermined():
    report = await audit(MemoryHub(), "/memory/nobody/p2p/nobody")
    assert report.verdict == "undetermined"
    assert {item.reason for item in report.undetermined} == {"unreachable"}


@pytest.mark.parametrize("chunk", [b"garbage", records_chunk([(b"garbage", b"garbage")])])
async def test_a_peer_that_answers_with_garbage_leaves_the_audit_undetermined(chunk):
    async def answer(request: bytes, peer: str):
        yield chunk

    hub = MemoryHub()
    hostile = hub.network("hostile")
    hostile.serve(WALK, answer)
    async with running(hostile):
        report = await audit(hub, hostile.addresses[0])
    assert report.verdict == "undetermined" and report.records == {}


@pytest.mark.parametrize("silent", ["from the start", "after a part"])
async def test_beside_a_peer_that_says_nothing_the_next_is_asked(tmp_path, monkeypatch, silent):
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.05)
    hub = MemoryHub()
    mute = hub.network("mute")

    async def say_nothing(request: bytes, peer: str):
        if silent == "after a part":
            yield records_chunk([])
        await trio.sleep_forever()
        yield b""

    for protocol in (WALK, LOG):
        mute.serve(protocol, say_nothing)
    hasty = replace(DEFAULT, progress_timeout_ms=10_000 if silent == "from the start" else 300)
    async with running(mute), Node.open(tmp_path / "a", network=hub.network("a")) as node:
        agent = await node.agent("one")
        record = await agent.state({"n": 1})
        stranger = hub.network("stranger")
        async with running(stranger):
            auditor = Auditor(stranger, node.federation, clock=node.home.clock, limits=hasty)
            with trio.fail_after(5):
                report = await auditor.audit(record.id, [mute.addresses[0], node.addresses[0]])
    assert report.verdict == "valid"


async def test_a_slow_peer_is_waited_for_where_nobody_else_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.01)
    hub = MemoryHub()
    async with Node.open(tmp_path / "a", network=hub.network("a")) as node:
        agent = await node.agent("one")
        record = await agent.state({"n": 1})
        slow, stranger, empty = hub.network("slow"), hub.network("stranger"), hub.network("empty")

        async def pass_on(protocol: str, request: bytes):
            await trio.sleep(0.2)
            async with slow.request(node.addresses[0], protocol, request) as chunks:
                async for chunk in chunks:
                    yield chunk

        for protocol in (WALK, LOG):
            slow.serve(protocol, lambda request, peer, protocol=protocol: pass_on(protocol, request))
        async with running(slow), running(stranger), running(empty):
            auditor = Auditor(stranger, node.federation, clock=node.home.clock)
            with trio.fail_after(5):
                report = await auditor.audit(record.id, [slow.addresses[0], empty.addresses[0]])
    assert report.verdict == "valid"


@pytest.fixture
async def parted(tmp_path, monkeypatch):
    """A stranger, a node with a record, and peers that say nothing, with the ids of those whose line is silent."""
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.05)
    hub, silent = MemoryHub(), set()

    async def say_nothing(request: bytes, peer: str):
        asked.append(request)
        await trio.sleep_forever()
        yield b""

    asked = []
    async with AsyncExitStack() as stack:
        mute = [hub.network(f"mute{number}") for number in range(3)]
        for network in mute:
            for protocol in (WALK, LOG):
                network.serve(protocol, say_nothing)
            await stack.enter_async_context(running(network))
        node = await stack.enter_async_context(Node.open(tmp_path / "a", network=hub.network("a")))
        stranger = hub.network("stranger")
        monkeypatch.setattr(stranger, "line", lambda peer: Line(0.02, peer_id_of(peer) in silent))
        await stack.enter_async_context(running(stranger))
        yield SimpleNamespace(node=node, stranger=stranger, mute=mute, silent=silent, asked=asked)


@pytest.mark.spec("FND-12")
async def test_behind_a_partition_nobody_is_waited_for_whose_line_is_silent(parted):
    parted.silent.update(network.peer_id for network in parted.mute)
    record = await (await parted.node.agent("one")).state({"n": 1})
    peers = [*(network.addresses[0] for network in parted.mute), parted.node.addresses[0]]
    auditor = Auditor(parted.stranger, parted.node.federation, clock=parted.node.home.clock)
    with trio.fail_after(5):
        assert (await auditor.audit(record.id, peers)).verdict == "valid"
        beyond = await auditor.audit(TARGET, peers)
    assert beyond.verdict == "undetermined" and {one.reason for one in beyond.undetermined} == {"absent"}
    assert dict(beyond.asked) == {network.peer_id: "TSLG-N-STALLED" for network in parted.mute} | {"a": "answered"}
    assert not parted.asked


async def test_a_line_that_falls_silent_ends_the_waiting(parted):
    first = parted.mute[0]

    async def fall_silent():
        while not parted.asked:
            await trio.sleep(0.01)
        parted.silent.add(first.peer_id)

    auditor = Auditor(parted.stranger, parted.node.federation, clock=parted.node.home.clock)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fall_silent)
            report = await auditor.audit(TARGET, [first.addresses[0]])
    assert report.verdict == "undetermined" and {one.reason for one in report.undetermined} == {"unreachable"}
    assert len(parted.asked) == 1


async def test_a_line_that_comes_back_within_an_answers_time_is_used(parted, monkeypatch):
    lines = iter([True])
    monkeypatch.setattr(parted.stranger, "line", lambda peer: Line(0.02, next(lines, False)))
    record = await (await parted.node.agent("one")).state({"n": 1})
    auditor = Auditor(parted.stranger, parted.node.federation, clock=parted.node.home.clock)
    assert (await auditor.audit(record.id, parted.node.addresses)).verdict == "valid"


async def test_beside_those_who_say_nothing_twice_as_many_are_asked_each_time(parted):
    record = await (await parted.node.agent("one")).state({"n": 1})
    waited = []
    hedged = hedging.Hedge._answered

    async def answered(self, seconds):
        waited.append(seconds)
        return await hedged(self, seconds)

    auditor = Auditor(parted.stranger, parted.node.federation, clock=parted.node.home.clock)
    peers = [*(network.addresses[0] for network in parted.mute), parted.node.addresses[0]]
    with pytest.MonkeyPatch.context() as patch, trio.fail_after(5):
        patch.setattr(hedging.Hedge, "_answered", answered)
        assert (await auditor.audit(record.id, peers)).verdict == "valid"
    assert len(parted.asked) == 3 and len(waited) == 3, "one, then two, then one that answers"
