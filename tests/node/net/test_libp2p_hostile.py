"""Peers that speak plaintext, send garbage, stall or break off: one typed error, no hang, and the node lives on."""

import os
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
import trio
from libp2p.stream_muxer.exceptions import MuxedStreamError
from multiaddr import Multiaddr

from tslg.node.net import errors, offenders
from tslg.protocol.limits import DEFAULT

MULTISTREAM = b"\x13/multistream/1.0.0\n"
HASTY = replace(DEFAULT, progress_timeout_ms=300)
SOMEBODY = "12D3KooWAo2aWWG83shnAquCKWo5tqFAWLJdcmb83kUmqgFaNLVR"


async def echo(request, peer):
    yield request


async def collect(network, peer, protocol="/test/ask/1", payload=b"", **kwargs):
    async with network.request(peer, protocol, payload, **kwargs) as chunks:
        return [chunk async for chunk in chunks]


@pytest.fixture
def raw_peer(nursery):
    """Starts a TCP server that answers every connection with the given bytes, and gives its address as a peer's."""

    async def start(answer: bytes, then: str = "wait", ready: bytes = b"") -> str:
        async def talk(stream):
            try:
                if ready:
                    await stream.receive_some()
                await stream.send_all(answer)
                if then == "wait":
                    while await stream.receive_some():
                        pass
            except trio.BrokenResourceError:
                pass

        (listener,) = await nursery.start(partial(trio.serve_tcp, talk, 0, host="127.0.0.1"))
        return f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}/p2p/{SOMEBODY}"

    yield start
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        MULTISTREAM + b"\x03na\n",
        MULTISTREAM + b"\x11/plaintext/2.0.0\n" * 3,
        MULTISTREAM + b"\x07/noise\n" + b"\xff" * 70_000,
        MULTISTREAM + b"\x07/noise\n" + b"\x00\x20" + bytes(32) + b"\x00\x00" * 40,
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + b" " * 200,
        b"SSH-2.0-OpenSSH_9.6\r\n" + b" " * 200,
        b"\x03\xff\xff\n",
        b"\x00",
        b"\xff" * 40,
    ],
)
async def test_a_server_that_does_not_speak_noise_is_a_violation(libp2p_world, raw_peer, answer):
    client = await libp2p_world.start("client")
    address = await raw_peer(answer)
    with trio.fail_after(5), pytest.raises(errors.ProtocolViolation) as caught:
        await collect(client, address)
    assert caught.value.peer == SOMEBODY


@pytest.mark.parametrize(
    "answer", [b"", MULTISTREAM, MULTISTREAM + b"\x07/noise\n", b"\x80\x80\x80\x80\x80\x80\x80\x80\x01"]
)
async def test_a_server_that_stalls_in_the_handshake(libp2p_world, raw_peer, answer):
    client = await libp2p_world.start("client")
    address = await raw_peer(answer)
    with trio.fail_after(5), pytest.raises(errors.Stalled):
        await collect(client, address, limits=HASTY)
    impatient = await libp2p_world.start("impatient", HASTY)
    with trio.fail_after(5), pytest.raises(errors.Stalled):
        await collect(impatient, address, limits=DEFAULT)


@pytest.mark.parametrize("answer", [b"", MULTISTREAM, MULTISTREAM + b"\x07/noise\n"])
async def test_a_server_that_hangs_up_in_the_handshake(libp2p_world, raw_peer, answer):
    client = await libp2p_world.start("client")
    address = await raw_peer(answer, then="close", ready=b"any")
    with trio.fail_after(5), pytest.raises(errors.Unreachable):
        await collect(client, address)


async def test_a_peer_under_another_id_than_its_address_says(libp2p_world):
    server = await libp2p_world.start("server", ask=echo)
    client = await libp2p_world.start("client", ask=echo)
    address = server.addresses[0].replace(server.peer_id, client.peer_id)
    other = await libp2p_world.start("other")
    with pytest.raises(errors.ProtocolViolation):
        await collect(other, address)
    assert await collect(other, server.addresses[0], payload=b"x") == [b"x"]


async def test_raw_connections_with_garbage_leave_a_server_as_it_was(libp2p_world):
    server = await libp2p_world.start("server", HASTY, ask=echo)
    port = int(server.addresses[0].split("/")[4])
    garbage = [
        b"",
        b"\x00",
        os.urandom(10_000),
        b"\x03\xff\xff\n",
        MULTISTREAM + b"\x11/plaintext/2.0.0\n",
        MULTISTREAM + b"\x07/noise\n" + os.urandom(10_000),
        b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(10_000),
    ]
    held = []
    for data in garbage:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(data)
        held.append(stream)
    for stream in held:
        with trio.fail_after(5):
            try:
                answer = b"".join([data async for data in stream])
            except trio.BrokenResourceError:
                answer = b""
        assert b"/plaintext" not in answer
    client = await libp2p_world.start("client")
    assert await collect(client, server.addresses[0], payload=b"x") == [b"x"]


async def secure_connection(address, seed=bytes(32)):
    """An authenticated connection on which nothing was agreed yet."""
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.peer.id import ID
    from libp2p.protocol_muxer.multiselect_client import MultiselectClient
    from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
    from libp2p.transport.tcp.tcp import TCP
    from multiaddr import Multiaddr

    from tslg.node.net.libp2p.upgrade import noise_only

    raw = await TCP().dial(Multiaddr(address))
    ((name, noise),) = noise_only(create_new_key_pair(seed)).items()
    await MultiselectClient().select_one_of([name], MultiselectCommunicator(raw), 5)
    return await noise.secure_outbound(raw, ID.from_string(address.rpartition("/")[2]))


async def read_to_end(conn):
    try:
        while await conn.read(100):
            pass
    except Exception:
        return


YAMUX = MULTISTREAM + b"\x0d/yamux/1.0.0\n"


@pytest.mark.parametrize(
    "said", [b"", MULTISTREAM, MULTISTREAM + b"\x07/noise\n", b"GET / HTTP/1.1\r\n\r\n" + bytes(200)]
)
async def test_who_never_comes_through_the_handshake_is_named_by_its_address(libp2p_world, said, caplog):
    server = await libp2p_world.start("server", replace(DEFAULT, progress_timeout_ms=100), ask=echo)
    port = int(Multiaddr(server.addresses[0]).value_for_protocol("tcp"))
    with trio.fail_after(5):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(said)
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
    (line,) = [one for one in caplog.records if getattr(one, "rule", None) == "handshake"]
    assert line.peer == "127.0.0.1"


async def test_who_asks_the_same_again_and_again_or_gives_up_without_end_is_named(libp2p_world, caplog, monkeypatch):
    monkeypatch.setattr(offenders, "_OFTEN", 5)
    server = await libp2p_world.start("server", ask=echo)
    client = await libp2p_world.start("client")
    for number in range(6):
        await collect(client, server.addresses[0], payload=b"%d" % number)
    (connection,) = client._dialer.swarm.get_connections()
    assert not [one for one in caplog.records if getattr(one, "rule", None)]
    for _ in range(6):
        await collect(client, server.addresses[0], payload=b"the same")
        stream = await connection.muxed_conn.open_stream()
        await stream.write(b"\x13/multistream/1.0.0\n\x0c/test/ask/1\n\x80")
        await stream.read(20)
        await stream.reset()
    with trio.fail_after(5):
        while {getattr(one, "rule", None) for one in caplog.records} < {"repeats", "gives-up"}:
            await trio.sleep(0.01)
    assert {one.peer for one in caplog.records if getattr(one, "rule", None)} == {client.peer_id}


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 30,
        b"\xff\xff\xff\xff\x0f" + bytes(100_000),
        MULTISTREAM + b"\x0c/mplex/6.7.0\n\x80\x80\x80\x08" + bytes(100_000),
        YAMUX + b"\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff" + bytes(1000),
        YAMUX + b"\x00\x00\x00\x00\x00\x00\x00\x07\x00\x20\x00\x00" + bytes(1000),
        YAMUX + b"\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
    ],
)
async def test_garbage_from_an_authenticated_peer_ends_its_connection_only(libp2p_world, data):
    server = await libp2p_world.start("server", HASTY, ask=echo)
    hostile = await secure_connection(server.addresses[0])
    await hostile.write(data)
    with trio.fail_after(5):
        await read_to_end(hostile)
    client = await libp2p_world.start("client")
    assert await collect(client, server.addresses[0], payload=b"x") == [b"x"]
    assert server.peers() == (client.peer_id,)
    await hostile.close()


async def test_yamux_frames_of_unknown_kinds_do_no_harm(libp2p_world):
    server = await libp2p_world.start("server", ask=echo)
    hostile = await secure_connection(server.addresses[0])
    await hostile.write(YAMUX + os.urandom(3).join(b"\x09\x09\x00\x00" for _ in range(200)))
    client = await libp2p_world.start("client")
    assert await collect(client, server.addresses[0], payload=b"x") == [b"x"]
    await hostile.close()


async def test_a_peer_that_asks_for_answers_and_takes_none_is_cut_off(libp2p_world):
    server = await libp2p_world.start("server", ask=echo)
    hostile = await secure_connection(server.addresses[0])
    await hostile.write(YAMUX)
    ping = b"\x00\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01"
    with trio.fail_after(8):
        try:
            while True:
                await hostile.write(ping * 5000)
        except Exception:
            pass
        while server.peers():
            await trio.sleep(0.01)
    await hostile.close()


async def test_a_flood_of_streams_is_cut_down(libp2p_world):
    server = await libp2p_world.start("server", replace(DEFAULT, streams_per_connection=10), ask=echo)
    client = await libp2p_world.start("client")
    await collect(client, server.addresses[0])
    (connection,) = client._dialer.swarm.get_connections()
    streams = [await connection.muxed_conn.open_stream() for _ in range(50)]
    await trio.sleep(0.1)
    (served,) = server._dialer.swarm.get_connections()
    assert len(served.muxed_conn.streams) == len(served.streams) == 10
    for stream in streams:
        await stream.reset()
    assert await collect(client, server.addresses[0], payload=b"x") == [b"x"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"", errors.ProtocolViolation),
        (b"\x00", errors.ProtocolViolation),
        (b"\x00\x05abc", errors.ProtocolViolation),
        (b"\x00\x01a\x00", errors.ProtocolViolation),
        (b"\x06\x00", errors.ProtocolViolation),
        (b"\x00\x80\x00", errors.ProtocolViolation),
        (b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f", errors.ProtocolViolation),
        (b"\x03\x00\x00\x00", errors.NotAvailable),
        (b"\x05\x02\xff\xff", errors.Busy),
    ],
)
async def test_replies_that_are_not_replies(libp2p_world, reply, expected):
    async def talk(net_stream):
        await net_stream.write(reply)
        await net_stream.close()

    server = await libp2p_world.start("server")
    server._host.set_stream_handler("/test/ask/1", talk)
    client = await libp2p_world.start("client")
    with pytest.raises(expected) as caught:
        await collect(client, server.addresses[0])
    assert caught.value.peer == server.peer_id


@pytest.mark.spec("WIR-10")
@pytest.mark.parametrize("end", ["reset", "connection", "frame", "silence"])
async def test_a_reply_that_breaks_off_behind_a_whole_chunk_is_not_complete(libp2p_world, end):
    async def talk(net_stream):
        await net_stream.write(b"\x00\x01a")
        await trio.sleep(0.05)
        if end == "reset":
            await net_stream.reset()
        elif end == "connection":
            await net_stream.muxed_conn.close()
        elif end == "frame":
            header = b"\x00\x00\x00\x00" + net_stream.muxed_stream.stream_id.to_bytes(4, "big") + b"\x00\x00\x00\x20"
            await net_stream.muxed_conn.secured_conn.write(header + b"half")
            await net_stream.muxed_conn.secured_conn.close()
        else:
            await trio.sleep_forever()

    server = await libp2p_world.start("server")
    server._host.set_stream_handler("/test/ask/1", talk)
    client = await libp2p_world.start("client")
    async with client.request(server.addresses[0], "/test/ask/1", b"", limits=HASTY) as chunks:
        assert await anext(chunks) == b"a"
        with pytest.raises(errors.Stalled if end == "silence" else errors.Unreachable):
            await anext(chunks)


@pytest.mark.parametrize(
    "echoed", [b"\x13/multistream/1.0.0\n\x0c/test/asc/1\n", b"\x13/multistream/2.0.0\n", b"garbage"]
)
async def test_a_peer_that_does_not_echo_the_protocols_name(libp2p_world, echoed):
    from libp2p.stream_muxer.yamux.yamux import YamuxStream

    server = await libp2p_world.start("server")

    async def negotiate(net_stream):
        stream = net_stream.muxed_stream
        assert isinstance(stream, YamuxStream)
        await stream.write(echoed)
        await stream.close()

    server._dialer.swarm.set_stream_handler(negotiate)
    client = await libp2p_world.start("client")
    with pytest.raises(errors.ProtocolViolation):
        await collect(client, server.addresses[0])


async def test_a_request_that_is_never_finished_is_given_up(libp2p_world):
    server = await libp2p_world.start("server", HASTY, ask=echo)
    client = await libp2p_world.start("client")
    await collect(client, server.addresses[0])
    (connection,) = client._dialer.swarm.get_connections()
    stream = await connection.muxed_conn.open_stream()
    await stream.write(MULTISTREAM + b"\x0c/test/ask/1\n\x05abc")
    with trio.fail_after(5), pytest.raises(MuxedStreamError):
        while True:
            await stream.read(100)
    assert server._serving._active == {}
