"""What only the in-memory network does: its faults, and that it repeats itself."""

from dataclasses import replace

import pytest
import trio

from tslg.node.net import errors
from tslg.node.net.seam import Verdict
from tslg.protocol.limits import DEFAULT


async def echo(request, peer):
    yield request


async def collect(network, peer, protocol, payload=b"", **kwargs):
    async with network.request(peer, protocol, payload, **kwargs) as chunks:
        return [chunk async for chunk in chunks]


async def test_a_peer_that_is_down(memory_world):
    server = await memory_world.start("server", ask=echo)
    client = await memory_world.start("client")
    await collect(client, server.addresses[0], "/test/ask/1")
    memory_world.hub.faults("server").down = True
    with pytest.raises(errors.Unreachable):
        await collect(client, server.addresses[0], "/test/ask/1")
    memory_world.hub.faults("server").down = False
    assert await collect(client, server.addresses[0], "/test/ask/1", b"x") == [b"x"]


async def test_a_peer_that_answers_late(memory_world, autojump_clock):
    server = await memory_world.start("server", ask=echo)
    client = await memory_world.start("client")
    memory_world.hub.faults("server").delay_ms = 5_000
    before = trio.current_time()
    assert await collect(client, server.addresses[0], "/test/ask/1", b"x") == [b"x"]
    assert trio.current_time() - before == pytest.approx(5)
    with pytest.raises(errors.Stalled):
        await collect(client, server.addresses[0], "/test/ask/1", limits=replace(DEFAULT, progress_timeout_ms=4_000))


async def test_a_peer_that_trickles_is_stalled(memory_world, autojump_clock):
    async def large(request, peer):
        yield b"\x81" * 1_000_000

    server = await memory_world.start("server", ask=large)
    client = await memory_world.start("client")
    faults = memory_world.hub.faults("server")
    faults.delay_ms = 3_000
    faults.garble = lambda piece: piece[:1]
    with pytest.raises(errors.Stalled):
        await collect(client, server.addresses[0], "/test/ask/1")


async def test_a_peer_that_sends_garbage(memory_world):
    server = await memory_world.start("server", ask=echo)
    client = await memory_world.start("client")
    memory_world.hub.faults("server").garble = lambda piece: b"\xff" + piece[1:]
    with pytest.raises(errors.ProtocolViolation):
        await collect(client, server.addresses[0], "/test/ask/1", b"x")


async def test_ids_are_taken_once(memory_world):
    await memory_world.start("server")
    with pytest.raises(ValueError):
        memory_world.hub.network("server")


async def test_announcements_reach_the_subscribers_whose_validator_agrees(memory_world):
    a = await memory_world.start("a")
    b = await memory_world.start("b")
    received = await b.subscribe("topic", lambda heard: Verdict.REJECT if heard.payload == b"bad" else Verdict.ACCEPT)
    await a.announce("topic", b"bad")
    await a.announce("topic", b"good")
    await a.announce("other", b"else")
    announcement = received.receive_nowait()
    assert (announcement.payload, announcement.peer) == (b"good", "a")
    with pytest.raises(trio.WouldBlock):
        received.receive_nowait()
    received.close()
    await a.announce("topic", b"nobody hears")


async def test_providers_are_found_by_others(memory_world):
    a = await memory_world.start("a")
    b = await memory_world.start("b")
    await a.provide(b"key")
    await b.provide(b"key")
    assert await a.find_providers(b"key") == list(b.addresses)
    assert await a.find_providers(b"nothing") == []
    await memory_world.stop(b)
    assert await a.find_providers(b"key") == []
