"""Lines on which nothing comes any more: told from peers that take their time, left behind, and found again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from tslg.node.net.errors import Stalled
from tslg.node.net.libp2p import muxer
from tslg.node.net.libp2p.muxer import BoundedYamux
from tslg.node.net.seam import Line
from tslg.protocol.limits import DEFAULT


async def echo(request, peer):
    yield request


async def take_time(request, peer):
    await trio.sleep(0.6)
    yield request


async def collect(network, peer, protocol="/test/ask/1", payload=b"x"):
    async with network.request(peer, protocol, payload) as chunks:
        return [chunk async for chunk in chunks]


async def until(condition):
    with trio.fail_after(5):
        while not condition():
            await trio.sleep(0.01)


class Cable:
    """What lies between: it can hold up the connections there are, or all, and let them through again."""

    def __init__(self) -> None:
        self.held = 0
        """Connections up to this number are held up."""
        self.made = 0
        self._moved = trio.Condition()

    async def hold(self, count) -> None:
        self.held = count
        async with self._moved:
            self._moved.notify_all()

    async def serve(self, server, *, task_status) -> None:
        port = int(Multiaddr(server.addresses[0]).value_for_protocol("tcp"))

        async def carry(near):
            self.made += 1
            number = self.made
            async with near, await trio.open_tcp_stream("127.0.0.1", port) as far, trio.open_nursery() as pumps:
                pumps.start_soon(self._pump, near, far, number)
                pumps.start_soon(self._pump, far, near, number)

        async def quietly(near):
            try:
                await carry(near)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        await trio.serve_tcp(quietly, 0, host="127.0.0.1", task_status=task_status)

    async def _pump(self, source, sink, number):
        while data := await source.receive_some(65_536):
            async with self._moved:
                while number <= self.held:
                    await self._moved.wait()
            await sink.send_all(data)
        await sink.send_eof()


@pytest.fixture
async def line(libp2p_world, nursery, monkeypatch):
    """A client, a server, the cable between them and the address at its near end."""
    monkeypatch.setattr(muxer, "_SILENT_SECONDS", 0.3)
    monkeypatch.setattr(muxer, "_QUIET_SECONDS", 0.1)
    server = await libp2p_world.start("server", ask=echo, slow=take_time)
    client = await libp2p_world.start("client")
    cable = Cable()
    (listener,) = await nursery.start(cable.serve, server)
    port = listener.socket.getsockname()[1]
    address = f"/ip4/127.0.0.1/tcp/{port}/p2p/{server.peer_id}"
    await client.connect(address)
    assert await collect(client, address) == [b"x"]
    yield client, server, cable, address
    nursery.cancel_scope.cancel()


@pytest.mark.spec("FND-12")
async def test_a_silent_line_is_told_and_is_none_once_something_comes(line):
    client, server, cable, address = line
    assert not client.line(server.peer_id).silent
    await until(lambda: client.line(server.peer_id).round_trip is not None)
    await cable.hold(1_000)
    await until(lambda: client.line(server.peer_id).silent)
    assert client.peers() == (server.peer_id,), "it is not cut off for that alone"
    await cable.hold(0)
    await until(lambda: not client.line(server.peer_id).silent)
    assert await collect(client, address) == [b"x"]


async def test_a_peer_that_takes_its_time_is_not_silent(line):
    client, server, _, address = line
    seen = []
    async with trio.open_nursery() as nursery:

        async def look():
            while True:
                seen.append(client.line(server.peer_id).silent)
                await trio.sleep(0.05)

        nursery.start_soon(look)
        assert await collect(client, address, "/test/slow/1") == [b"x"]
        nursery.cancel_scope.cancel()
    assert len(seen) > 1 and not any(seen)


async def test_a_silent_line_is_left_for_a_new_one(line):
    client, server, cable, address = line
    await cable.hold(1)
    await until(lambda: client.line(server.peer_id).silent)
    await until(lambda: not client.line(server.peer_id).silent)
    assert cable.made == 2 and await collect(client, address) == [b"x"]
    await until(lambda: len(client._dialer.swarm.get_connections()) == 1)


async def test_the_librarys_own_questions_are_not_asked_over_a_silent_line(line):
    client, server, cable, _ = line
    swarm, peer = client._dialer.swarm, ID.from_string(server.peer_id)
    await cable.hold(1_000)
    await until(lambda: client.line(server.peer_id).silent)
    with pytest.raises(SwarmException, match="silent"):
        await swarm.new_stream(peer)


async def test_what_waits_to_be_taken_on_a_silent_line_waits_no_longer(line):
    client, server, cable, _ = line
    (connection,) = client._dialer.swarm.get_connections()
    assert isinstance(connection.muxed_conn, BoundedYamux)
    await cable.hold(1_000)

    async with trio.open_nursery() as nursery:
        # More than fits between the two: it ends with the connection.
        nursery.start_soon(connection.muxed_conn._write_frame, bytes(32 << 20))
        await until(lambda: client.line(server.peer_id).silent and client.peers() == ())
    # What is known of the line outlives the connection: nobody waits for the next dial.
    assert client.line(server.peer_id) == Line(silent=True)


async def test_of_a_stranger_nothing_is_known(libp2p_world):
    client = await libp2p_world.start("client")
    server = libp2p_world.make("server")
    assert client.line(server.peer_id) == client.line("nobody") == Line()


async def test_whoever_gives_out_a_wrong_address_of_a_peer_makes_it_silent_for_nobody(libp2p_world, nursery):
    server = await libp2p_world.start("server", ask=echo)
    client = await libp2p_world.start("client", replace(DEFAULT, dial_timeout_ms=200))

    async def say_nothing(stream):
        await trio.sleep_forever()

    (listener,) = await nursery.start(
        lambda task_status: trio.serve_tcp(say_nothing, 0, host="127.0.0.1", task_status=task_status)
    )
    wrong = f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}/p2p/{server.peer_id}"
    with pytest.raises(Stalled):
        await client.connect(wrong, given=False)
    assert client.line(wrong) == Line()
    with pytest.raises(Stalled):
        await client.connect(wrong)
    assert client.line(wrong) == Line(silent=True), "the operator's own"
    # A peer that has moved meanwhile is found where others say that it is.
    await until(lambda: not client.line(server.addresses[0]).silent)
    assert await collect(client, server.addresses[0]) == [b"x"]
    nursery.cancel_scope.cancel()
