"""The measured defects of py-libp2p 0.8.1 that a plain node works around, by the numbers that the code gives them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from libp2p.io.exceptions import IOException
from libp2p.stream_muxer.exceptions import MuxedStreamError
from multiaddr import Multiaddr

from tslg.node.net import errors
from tslg.node.net.libp2p.muxer import BoundedYamux
from tslg.node.net.libp2p.upgrade import Budgeted
from tslg.node.net.offenders import Offenders
from tslg.protocol.limits import DEFAULT

MIB = 1024 * 1024


async def echo(request, peer):
    yield request


async def collect(network, peer, protocol, payload=b"", **kwargs):
    async with network.request(peer, protocol, payload, **kwargs) as chunks:
        return [chunk async for chunk in chunks]


def muxers(network):
    return [connection.muxed_conn for connection in network._dialer.swarm.get_connections()]


async def until(condition, seconds=5):
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.01)


async def test_1_an_exception_in_a_stream_ends_that_stream_only(libp2p_world):
    server = await libp2p_world.start("server", ask=echo)
    client = await libp2p_world.start("client")
    await collect(client, server.addresses[0], "/test/ask/1")
    (muxer,) = muxers(client)
    for garbage in (b"\x03\xff\xff\n", b"\x00", b"\xff" * 20, b"\x04na\n\n"):
        stream = await muxer.open_stream()
        await stream.write(garbage)
        with pytest.raises(MuxedStreamError):
            while True:
                await stream.read(100)
    assert await collect(client, server.addresses[0], "/test/ask/1", b"x") == [b"x"]
    assert muxers(client) == [muxer]


async def test_2_and_3_cancelled_requests_cost_neither_the_connection_nor_a_slot(libp2p_world):
    server = await libp2p_world.start("server", ask=echo)
    client = await libp2p_world.start("client")
    await collect(client, server.addresses[0], "/test/ask/1")
    (muxer,) = muxers(client)
    for i in range(100):
        with trio.move_on_after(i / 3_000):
            await collect(client, server.addresses[0], "/test/ask/1", bytes(MIB))
    assert await collect(client, server.addresses[0], "/test/ask/1", b"x") == [b"x"]
    assert muxers(client) == [muxer]
    assert muxer.stream_backlog_semaphore.value == muxer.stream_backlog_limit
    await until(lambda: not muxer.streams and not muxers(server)[0].streams)
    assert not muxer.stream_buffers and not muxer.stream_events


async def test_4_a_peer_that_ignores_the_receive_window_is_cut_off(libp2p_world):
    from libp2p.stream_muxer.yamux import yamux

    frame = bytes(60_000)

    async def flood(net_stream):
        stream = net_stream.muxed_stream
        header = yamux.struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, 0, 0, stream.stream_id, len(frame))
        for _ in range(8 * MIB // len(frame)):
            await stream.conn._write_frame(header + frame)

    server = await libp2p_world.start("server")
    server._host.set_stream_handler("/test/flood/1", flood)
    client = await libp2p_world.start("client")
    async with client.request(server.addresses[0], "/test/flood/1", b"") as chunks:
        (muxer,) = muxers(client)
        held = 0
        with trio.fail_after(10):
            while not muxer.is_closed:
                held = max(held, sum(map(len, muxer.stream_buffers.values())))
                await trio.sleep(0)
        assert MIB < held <= 2 * DEFAULT.receive_window_bytes
        with pytest.raises(errors.PeerError):
            await anext(chunks)
    assert client.peers() == ()


async def test_4_windows_grow_to_the_limit_and_no_further(libp2p_world):
    async def large(request, peer):
        for _ in range(20):
            yield bytes(MIB)

    server = await libp2p_world.start("server", ask=large)
    client = await libp2p_world.start("client")
    async with client.request(server.addresses[0], "/test/ask/1", b"") as chunks:
        windows = set()
        async for _ in chunks:
            windows |= {stream.target_recv_window for stream in muxers(client)[0].streams.values()}
    assert max(windows) <= DEFAULT.receive_window_bytes


def test_4_the_streams_that_a_peer_opens_are_bounded_together():
    class Conn:
        is_initiator = True

    muxer = BoundedYamux(Conn(), None, DEFAULT, 1.0, Offenders(lambda: 0.0))
    full = bytes(DEFAULT.receive_window_bytes)
    for i in range(DEFAULT.requests_per_peer):
        muxer.stream_buffers[2 * i + 2] = bytearray()
        muxer.stream_buffers[2 * i + 2].extend(full)
        muxer.stream_buffers[2 * i + 1] = bytearray()
        muxer.stream_buffers[2 * i + 1].extend(full)
    with pytest.raises(Exception, match="unread bytes on the streams that the peer opened"):
        muxer.stream_buffers[2].extend(b"x")
    assert muxer.event_shutting_down.is_set()


async def test_1_a_negotiation_may_read_so_much_and_no_more():
    class Endless:
        async def read(self, n):
            return bytes(n)

    budgeted = Budgeted(Endless())
    assert await budgeted.read(0) == b""
    assert len(await budgeted.read(4000)) == 4000
    for size in (97, 2**40, None):
        with pytest.raises(IOException):
            await budgeted.read(size)


async def test_5_both_sides_use_the_bounded_muxer(libp2p_world):
    server = await libp2p_world.start("server", ask=echo)
    client = await libp2p_world.start("client")
    await collect(client, server.addresses[0], "/test/ask/1")
    assert [type(muxer) for muxer in muxers(server) + muxers(client)] == [BoundedYamux, BoundedYamux]


async def test_6_a_chunk_in_more_than_a_hundred_pieces(libp2p_world):
    async def trickle(net_stream):
        stream = net_stream.muxed_stream
        while await stream.conn.read_stream(stream.stream_id, 100):
            break
        await stream.write(b"\x00\xac\x02")
        for _ in range(300):
            await stream.write(b"x")
        await stream.close()

    server = await libp2p_world.start("server")
    server._host.set_stream_handler("/test/ask/1", trickle)
    client = await libp2p_world.start("client")
    assert await collect(client, server.addresses[0], "/test/ask/1") == [b"x" * 300]


async def test_7_no_write_meets_a_closed_window(libp2p_world, monkeypatch):
    from libp2p.stream_muxer.yamux.yamux import YamuxStream

    writes = []
    write = YamuxStream.write

    async def watched(self, data):
        writes.append((len(data), self.send_window))
        await write(self, data)

    monkeypatch.setattr(YamuxStream, "write", watched)

    async def large(request, peer):
        for _ in range(4):
            yield bytes(MIB)

    server = await libp2p_world.start("server", ask=large)
    client = await libp2p_world.start("client")
    async with client.request(server.addresses[0], "/test/ask/1", b"") as chunks:
        await trio.sleep(0.3)
        assert [len(chunk) async for chunk in chunks] == [MIB] * 4
    assert all(size <= window for size, window in writes)
    assert min(window - size for size, window in writes) == 0


async def test_7_a_peer_that_takes_nothing_is_given_up_after_the_stall_limit(libp2p_world):
    ended = trio.Event()

    async def large(request, peer):
        try:
            while True:
                yield bytes(MIB)
        finally:
            ended.set()

    server = await libp2p_world.start("server", replace(DEFAULT, write_stall_ms=200), ask=large)
    client = await libp2p_world.start("client")
    async with client.request(server.addresses[0], "/test/ask/1", b"") as chunks:
        with trio.fail_after(5):
            await ended.wait()
        with pytest.raises(errors.Unreachable):
            async for _ in chunks:
                pass


async def test_readers_do_not_wait_for_each_other_when_there_is_much_to_send_both_ways(libp2p_world):
    async def large(request, peer):
        for _ in range(3):
            yield bytes(MIB)

    a = await libp2p_world.start("a", ask=large)
    b = await libp2p_world.start("b", ask=large)
    await collect(a, b.addresses[0], "/test/ask/1")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(DEFAULT.requests_per_peer):
                nursery.start_soon(collect, a, b.peer_id, "/test/ask/1", bytes(MIB))
                nursery.start_soon(collect, b, a.peer_id, "/test/ask/1", bytes(MIB))


async def test_9_a_peer_that_vanishes_without_closing_is_noticed_and_named(libp2p_world, nursery, caplog):
    server = libp2p_world.make("server", pulse_ms=100)
    client = libp2p_world.make("client", pulse_ms=100)
    server.serve("/test/ask/1", echo)
    await nursery.start(server.run)
    await nursery.start(client.run)
    cut = trio.Event()
    sockets = []

    async def pump(source, sink):
        while data := await source.receive_some():
            if cut.is_set():
                await trio.sleep_forever()
            await sink.send_all(data)

    async def proxy(near):
        port = int(Multiaddr(server.addresses[0]).value_for_protocol("tcp"))
        far = await trio.open_tcp_stream("127.0.0.1", port)
        sockets.extend((near, far))
        async with trio.open_nursery() as pumps:
            pumps.start_soon(pump, near, far)
            pumps.start_soon(pump, far, near)

    (listener,) = await nursery.start(
        lambda task_status: trio.serve_tcp(proxy, 0, host="127.0.0.1", task_status=task_status)
    )
    port = listener.socket.getsockname()[1]
    address = f"/ip4/127.0.0.1/tcp/{port}/p2p/{server.peer_id}"
    assert await collect(client, address, "/test/ask/1", b"x") == [b"x"]
    await trio.sleep(0.3)
    assert server.peers() and client.peers()
    cut.set()
    await until(lambda: not server.peers() and not client.peers())
    named = {one.peer for one in caplog.records if getattr(one, "rule", None) == "pulse"}
    assert named == {client.peer_id, server.peer_id}
    nursery.cancel_scope.cancel()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts sockets the Linux way")
async def test_10_stopping_leaves_no_socket_open(libp2p_world):
    def sockets():
        links = list(Path("/proc/self/fd").iterdir())
        return sum(link.is_socket() for link in links)

    server = await libp2p_world.start("server", ask=echo)
    before = sockets()
    clients = [await libp2p_world.start(f"client {i}") for i in range(5)]
    for client in clients:
        await collect(client, server.addresses[0], "/test/ask/1")
    assert sockets() > before
    for client in clients:
        await libp2p_world.stop(client)
    await until(lambda: sockets() == before)
    assert server.peers() == ()


async def test_11_nobody_is_dialled_who_was_not_asked_for(libp2p_world):
    server = await libp2p_world.start("server")
    client = await libp2p_world.start("client")
    swarm = client._dialer.swarm
    from libp2p.peer.id import ID

    swarm.peerstore.add_addrs(ID.from_string(server.peer_id), [Multiaddr(server.addresses[0])], 100)
    await swarm.auto_connector.maybe_connect()
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert client.peers() == ()


async def test_13_a_port_that_is_taken(libp2p_world):
    server = await libp2p_world.start("server")
    listen = server.addresses[0].partition("/p2p/")[0]
    rival = libp2p_world.make("rival", listen=(listen,))
    with pytest.raises(errors.ListenError) as caught:
        await rival.run()
    assert listen in caught.value.detail


@pytest.mark.parametrize(
    "listen", ["nonsense", "/ip4/127.0.0.1/udp/0", "/dns4/localhost/tcp/0", "/ip4/203.0.113.1/tcp/0"]
)
async def test_13_addresses_that_cannot_be_listened_on(libp2p_world, listen):
    with pytest.raises(errors.ListenError):
        await libp2p_world.make("server", listen=(listen,)).run()


async def test_addresses_that_others_can_use(libp2p_world):
    wild = await libp2p_world.start("wild", settings={"listen": ("/ip4/0.0.0.0/tcp/0",)})
    assert wild.addresses and not any("/0.0.0.0/" in address for address in wild.addresses)
    named = await libp2p_world.start("named", settings={"announce": ("/dns4/node.example/tcp/4001",)})
    assert named.addresses == (f"/dns4/node.example/tcp/4001/p2p/{named.peer_id}",)
    with pytest.raises(errors.ListenError):
        libp2p_world.make("wrong", announce=("nonsense",))


async def test_14_two_peers_that_dial_each_other_at_once(libp2p_world):
    a = await libp2p_world.start("a", ask=echo)
    b = await libp2p_world.start("b", ask=echo)
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, a, b.addresses[0], "/test/ask/1")
            nursery.start_soon(collect, b, a.addresses[0], "/test/ask/1")
    assert 1 <= len(muxers(a)) <= 2


async def test_14_many_requests_at_once_share_one_dial(libp2p_world):
    server = await libp2p_world.start("server", ask=echo)
    client = await libp2p_world.start("client")
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(collect, client, server.addresses[0], "/test/ask/1")
    assert len(muxers(client)) == len(muxers(server)) == 1


async def test_15_one_peer_has_two_connections_and_a_third_replaces_the_oldest(libp2p_world, nursery):
    server = await libp2p_world.start("server", ask=echo)
    twins = []
    for expected in (1, 2, 2, 2):
        twins.append(libp2p_world.make("client"))
        await nursery.start(twins[-1].run)
        assert await collect(twins[-1], server.addresses[0], "/test/ask/1", b"x") == [b"x"]
        await until(lambda: len(muxers(server)) == expected)  # noqa: B023
    await until(lambda: [bool(twin.peers()) for twin in twins] == [False, False, True, True])
    nursery.cancel_scope.cancel()


async def test_15_all_connections_are_bounded_and_a_closed_one_makes_room(libp2p_world):
    server = await libp2p_world.start("server", replace(DEFAULT, connections=1), ask=echo)
    one = await libp2p_world.start("one")
    two = await libp2p_world.start("two")
    await collect(one, server.addresses[0], "/test/ask/1")
    for _ in range(3):
        with pytest.raises(errors.Unreachable):
            await collect(two, server.addresses[0], "/test/ask/1")
    await libp2p_world.stop(one)
    await until(lambda: not server._dialer.swarm.get_connections())
    await until(lambda: server._dialer.swarm._inbound_limiter.borrowed_tokens == 0)
    assert await collect(two, server.addresses[0], "/test/ask/1", b"x") == [b"x"]


async def test_places_for_connections_become_free_again(libp2p_world):
    server = await libp2p_world.start("server", replace(DEFAULT, connections=2), ask=echo)
    for i in range(4):
        client = await libp2p_world.start(f"client {i}")
        assert await collect(client, server.addresses[0], "/test/ask/1", b"x") == [b"x"]
        await libp2p_world.stop(client)
        await until(lambda: not muxers(server))


async def test_16_a_peer_that_was_down_can_be_dialled_as_soon_as_it_is_up(libp2p_world, nursery):
    server = await libp2p_world.start("server")
    client = await libp2p_world.start("client")
    address = server.addresses[0]
    await libp2p_world.stop(server)
    with pytest.raises(errors.Unreachable):
        await collect(client, address, "/test/ask/1")
    again = libp2p_world.make("server", listen=(address.partition("/p2p/")[0],))
    again.serve("/test/ask/1", echo)
    await nursery.start(again.run)
    assert await collect(client, address, "/test/ask/1", b"x") == [b"x"]
    nursery.cancel_scope.cancel()


NOISY = """
import logging, trio
from tslg.node.net import errors
from tslg.node.net.libp2p.config import Libp2pConfig
from tslg.node.net.libp2p.network import Libp2pNetwork
from tslg.node.net.seam import running

async def fails(request, peer):
    raise RuntimeError("a bug")
    yield

async def main():
    server = Libp2pNetwork(Libp2pConfig(seed=bytes(32)))
    client = Libp2pNetwork(Libp2pConfig(seed=bytes(31) + b"1"))
    server.serve("/test/1", fails)
    async with running(server), running(client):
        address = server.addresses[0]
        port = int(address.split("/")[4])
        for garbage in (b"", b"GET / HTTP/1.1", b"\\xff" * 100, b"\\x13/multistream/1.0.0\\n\\x03\\xff\\xff\\n"):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(garbage)
            await stream.aclose()
        for peer in (address, "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWAo2aWWG83shnAquCKWo5tqFAWLJdcmb83kUmqgFaNLVR"):
            try:
                async with client.request(peer, "/none/1", b"") as chunks:
                    await anext(chunks)
            except errors.PeerError:
                pass
        (connection,) = server._dialer.swarm.get_connections()
        await connection.muxed_conn.secured_conn.close()
        await trio.sleep(0.1)
    print("done", logging.getLogger().handlers)

trio.run(main)
"""


def test_18_of_what_peers_do_wrong_stderr_shows_who_it_was_and_nothing_of_the_library():
    source = Path(__file__).parents[3] / "src"
    env = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, env=env, timeout=50)
    assert done.stdout == "done []\n"
    assert done.stderr == "peer 127.0.0.1: handshake: failed, or not finished in time\n"


def test_the_seam_and_the_memory_network_do_not_import_libp2p():
    code = (
        "import sys, tslg.node.net.seam, tslg.node.net.memory, tslg.node.net.libp2p.config;"
        "assert 'libp2p' not in sys.modules"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=50)


def test_the_seed_is_not_shown_and_must_have_its_length():
    from tslg.node.net.libp2p.config import Libp2pConfig

    assert "secret" not in repr(Libp2pConfig(seed=b"secret" + bytes(26)))
    with pytest.raises(ValueError):
        Libp2pConfig(seed=b"short")
