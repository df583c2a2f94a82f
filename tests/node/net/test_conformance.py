"""What every network must do: these tests run in memory and over libp2p."""

from dataclasses import replace

import pytest
import trio

from tslg.node.net import errors
from tslg.node.net.seam import Verdict, running
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT


async def echo(request, peer):
    yield request


async def collect(network, peer, protocol, payload=b"", **kwargs):
    async with network.request(peer, protocol, payload, **kwargs) as chunks:
        return [chunk async for chunk in chunks]


async def test_a_request_brings_its_payload_and_the_asker_to_the_handler(world):
    seen = []

    async def handler(request, peer):
        seen.append((request, peer))
        yield b"one"
        yield b""
        yield b"two"

    server = await world.start("server", ask=handler)
    client = await world.start("client")
    assert await collect(client, server.addresses[0], "/test/ask/1", b"hello") == [b"one", b"", b"two"]
    assert seen == [(b"hello", client.peer_id)]
    assert client.peers() == (server.peer_id,) and server.peers() == (client.peer_id,)


async def test_a_connected_peer_can_be_asked_by_its_id_in_both_directions(world):
    server = await world.start("server", ask=echo)
    client = await world.start("client", ask=echo)
    await collect(client, server.addresses[0], "/test/ask/1")
    assert await collect(client, server.peer_id, "/test/ask/1", b"a") == [b"a"]
    assert await collect(server, client.peer_id, "/test/ask/1", b"b") == [b"b"]


async def test_a_reply_without_a_payload_is_one_empty_chunk(world):
    async def nothing(request, peer):
        return
        yield

    server = await world.start("server", ask=nothing)
    client = await world.start("client")
    assert await collect(client, server.addresses[0], "/test/ask/1") == [b""]


async def test_large_requests_and_replies_arrive_whole(world):
    async def large(request, peer):
        for i in range(12):
            yield bytes([i]) * DEFAULT.chunk_bytes
        yield request

    server = await world.start("server", ask=large)
    client = await world.start("client")
    request = b"r" * DEFAULT.request_bytes
    chunks = await collect(client, server.addresses[0], "/test/ask/1", request)
    assert chunks == [bytes([i]) * DEFAULT.chunk_bytes for i in range(12)] + [request]


async def test_many_requests_at_a_time_get_each_its_own_reply(world):
    server = await world.start("server", ask=echo)
    client = await world.start("client")
    replies = {}

    async def one(i):
        replies[i] = await collect(client, server.addresses[0], "/test/ask/1", b"%d" % i)

    async with trio.open_nursery() as nursery:
        for i in range(100):
            nursery.start_soon(one, i)
    assert replies == {i: [b"%d" % i] for i in range(100)}


@pytest.mark.parametrize(
    "kind",
    [errors.InvalidRequest, errors.ServerError, errors.NotAvailable, errors.RequestRefused, errors.Busy],
)
async def test_a_handler_answers_with_a_code_and_a_reason(world, kind):
    async def handler(request, peer):
        yield b"first"
        raise kind("because\nof that")

    server = await world.start("server", ask=handler)
    client = await world.start("client")
    async with client.request(server.addresses[0], "/test/ask/1", b"") as chunks:
        assert await anext(chunks) == b"first"
        with pytest.raises(kind) as caught:
            await anext(chunks)
    assert caught.value.peer == server.peer_id
    assert "because?of that" in caught.value.detail
    assert caught.value.mend and caught.value.code.startswith("TSLG-N-")


async def test_a_handler_that_fails_costs_its_own_reply_only(world):
    async def handler(request, peer):
        if request == b"fail":
            raise RuntimeError("a secret path")
        if request == b"large":
            yield bytes(DEFAULT.chunk_bytes + 1)
        yield request

    server = await world.start("server", ask=handler)
    client = await world.start("client")
    for request in (b"fail", b"large"):
        with pytest.raises(errors.ServerError) as caught:
            await collect(client, server.addresses[0], "/test/ask/1", request)
        assert "secret" not in str(caught.value)
    assert await collect(client, server.addresses[0], "/test/ask/1", b"fine") == [b"fine"]


async def test_what_another_peer_answered_is_not_passed_on(world):
    async def relay(request, peer):
        raise errors.NotAvailable("third party has no such thing", peer="third party")
        yield

    server = await world.start("server", ask=relay)
    client = await world.start("client")
    with pytest.raises(errors.ServerError) as caught:
        await collect(client, server.addresses[0], "/test/ask/1")
    assert "third party" not in str(caught.value)


async def test_a_protocol_that_is_not_served(world):
    server = await world.start("server", ask=echo)
    client = await world.start("client")
    with pytest.raises(errors.NotServed) as caught:
        await collect(client, server.addresses[0], "/test/other/1")
    assert caught.value.peer == server.peer_id


async def test_a_peer_that_is_not_there_and_one_that_is_gone(world):
    server = await world.start("server", ask=echo)
    client = await world.start("client")
    address = server.addresses[0]
    await collect(client, address, "/test/ask/1")
    await world.stop(server)
    with pytest.raises(errors.Unreachable) as caught:
        await collect(client, address, "/test/ask/1")
    assert caught.value.peer == server.peer_id
    assert client.peers() == ()
    assert server.addresses == ()


async def test_a_peer_that_goes_away_in_the_middle_of_its_reply(world):
    async def handler(request, peer):
        yield b"first"
        await trio.sleep_forever()

    server = await world.start("server", ask=handler)
    client = await world.start("client")
    async with client.request(server.addresses[0], "/test/ask/1", b"") as chunks:
        assert await anext(chunks) == b"first"
        await world.stop(server)
        with pytest.raises(errors.Unreachable):
            await anext(chunks)


async def test_a_network_that_is_stopped_in_the_middle_of_a_reply(world):
    async def handler(request, peer):
        yield b"first"
        await trio.sleep_forever()

    server = await world.start("server", ask=handler)
    client = await world.start("client")
    async with client.request(server.addresses[0], "/test/ask/1", b"") as chunks:
        assert await anext(chunks) == b"first"
        await world.stop(client)
        with pytest.raises(errors.Unreachable):
            await anext(chunks)


@pytest.mark.spec("WIR-6")
async def test_a_peer_that_makes_no_progress(world):
    async def handler(request, peer):
        yield b"first"
        await trio.sleep_forever()

    server = await world.start("server", ask=handler)
    client = await world.start("client")
    hasty = replace(DEFAULT, progress_timeout_ms=200)
    async with client.request(server.addresses[0], "/test/ask/1", b"", limits=hasty) as chunks:
        assert await anext(chunks) == b"first"
        with pytest.raises(errors.Stalled):
            await anext(chunks)


async def test_the_time_that_the_reader_takes_is_not_the_peers(world):
    async def handler(request, peer):
        yield b"first"
        yield b"second"

    server = await world.start("server", ask=handler)
    client = await world.start("client")
    hasty = replace(DEFAULT, progress_timeout_ms=200)
    async with client.request(server.addresses[0], "/test/ask/1", b"", limits=hasty) as chunks:
        assert await anext(chunks) == b"first"
        await trio.sleep(0.3)
        assert await anext(chunks) == b"second"


async def test_leaving_a_reply_early_ends_its_handler(world):
    ended = trio.Event()

    async def handler(request, peer):
        try:
            while True:
                yield bytes(100_000)
        finally:
            ended.set()

    server = await world.start("server", ask=handler, echo=echo)
    client = await world.start("client")
    async with client.request(server.addresses[0], "/test/ask/1", b"") as chunks:
        await anext(chunks)
    with trio.fail_after(5):
        await ended.wait()
    assert await collect(client, server.addresses[0], "/test/echo/1", b"x") == [b"x"]


async def test_a_cancelled_request_leaves_the_connection_usable(world):
    async def handler(request, peer):
        yield b"first"
        await trio.sleep_forever()

    server = await world.start("server", ask=handler, echo=echo)
    client = await world.start("client")
    for _ in range(40):
        with trio.move_on_after(0.005):
            await collect(client, server.addresses[0], "/test/ask/1")
    assert await collect(client, server.addresses[0], "/test/echo/1", b"x") == [b"x"]


async def test_an_iteration_that_is_cancelled_can_go_on(world):
    proceed = trio.Event()

    async def handler(request, peer):
        yield b"first"
        await proceed.wait()
        yield b"second"

    server = await world.start("server", ask=handler)
    client = await world.start("client")
    async with client.request(server.addresses[0], "/test/ask/1", b"") as chunks:
        assert await anext(chunks) == b"first"
        with trio.move_on_after(0.05):
            await anext(chunks)
        proceed.set()
        assert [chunk async for chunk in chunks] == [b"second"]


async def test_a_request_that_is_too_large_is_refused(world):
    server = await world.start("server", replace(DEFAULT, request_bytes=1000), ask=echo)
    client = await world.start("client")
    assert await collect(client, server.addresses[0], "/test/ask/1", bytes(1000)) == [bytes(1000)]
    with pytest.raises(errors.InvalidRequest):
        await collect(client, server.addresses[0], "/test/ask/1", bytes(1001))


@pytest.mark.spec("WIR-6")
@pytest.mark.parametrize("bound", [{"chunk_bytes": 999}, {"reply_bytes": 2999}])
async def test_a_reply_that_is_too_large_is_a_violation(world, bound):
    async def handler(request, peer):
        for _ in range(3):
            yield bytes(1000)

    server = await world.start("server", ask=handler)
    client = await world.start("client")
    with pytest.raises(errors.ProtocolViolation) as caught:
        await collect(client, server.addresses[0], "/test/ask/1", limits=replace(DEFAULT, **bound))
    assert caught.value.peer == server.peer_id


async def test_a_server_answers_so_many_requests_of_one_peer_and_no_more(world):
    started = []
    proceed = trio.Event()

    async def handler(request, peer):
        started.append(peer)
        yield b"first"
        await proceed.wait()

    server = await world.start("server", replace(DEFAULT, requests_per_peer=2), ask=handler)
    client = await world.start("client")
    async with (
        client.request(server.addresses[0], "/test/ask/1", b"") as one,
        client.request(server.addresses[0], "/test/ask/1", b"") as two,
    ):
        assert [await anext(one), await anext(two)] == [b"first", b"first"]
        with pytest.raises(errors.Busy):
            await collect(client, server.addresses[0], "/test/ask/1")
        proceed.set()
    assert len(started) == 2
    other = await world.start("other")
    assert await collect(other, server.addresses[0], "/test/ask/1") == [b"first"]


async def test_own_requests_wait_for_their_turn_instead_of_being_refused(world):
    server = await world.start("server", ask=echo)
    client = await world.start("client", replace(DEFAULT, requests_per_peer=1))
    async with client.request(server.addresses[0], "/test/ask/1", b"") as chunks:
        with trio.move_on_after(0.05) as wait:
            await collect(client, server.addresses[0], "/test/ask/1")
        assert wait.cancelled_caught
        assert [chunk async for chunk in chunks] == [b""]
    assert await collect(client, server.addresses[0], "/test/ask/1", b"x") == [b"x"]


async def test_a_peer_that_was_cut_off_is_not_talked_to(world):
    server = await world.start("server", ask=echo)
    client = await world.start("client", ask=echo)
    await collect(client, server.addresses[0], "/test/ask/1")
    await server.cut_off(client.peer_id)
    assert server.peers() == ()
    for asker, peer in ((client, server.addresses[0]), (server, client.addresses[0])):
        with pytest.raises(errors.Unreachable):
            await collect(asker, peer, "/test/ask/1")


async def test_cutting_a_peer_off_breaks_what_is_under_way(world):
    async def handler(request, peer):
        yield b"first"
        await trio.sleep_forever()

    server = await world.start("server", ask=handler)
    client = await world.start("client")
    async with client.request(server.addresses[0], "/test/ask/1", b"") as chunks:
        assert await anext(chunks) == b"first"
        await client.cut_off(server.addresses[0])
        with pytest.raises(errors.Unreachable):
            await anext(chunks)


@pytest.mark.parametrize("text", ["", "/", "/p2p/", "/p2p/x", "/ip4/127.0.0.1/tcp/1", "a/b"])
async def test_text_that_names_no_peer(world, text):
    client = await world.start("client")
    with pytest.raises(errors.AddressError):
        await collect(client, text, "/test/ask/1")


async def test_errors_of_the_block_leave_running_as_they_are(world):
    server = await world.start("server")
    address = server.addresses[0]
    await world.stop(server)
    with pytest.raises(errors.Unreachable):
        async with running(server) as network:
            assert network is server
            raise errors.Unreachable(address)


async def connect(a, b):
    with pytest.raises(errors.NotServed):
        await collect(a, b.addresses[0], "/test/nothing/1")


async def announce_until(condition, network, topic, payload):
    with trio.fail_after(10):
        while not condition():
            await network.announce(topic, payload)
            await trio.sleep(0.05)


async def test_announcements_reach_subscribers_over_others(world):
    a, b, c = [await world.start(name, settings=world.everything) for name in "abc"]
    await connect(a, b)
    await connect(c, b)
    channels = [await network.subscribe("topic", lambda announcement: Verdict.ACCEPT) for network in (b, c)]
    for channel in channels:
        await announce_until(lambda: channel.statistics().current_buffer_used, a, "topic", b"payload")  # noqa: B023
        announcement = channel.receive_nowait()
        assert (announcement.payload, announcement.peer) == (b"payload", a.peer_id)


async def test_announcements_that_a_validator_refuses_are_not_delivered(world):
    a, b = [await world.start(name, settings=world.everything) for name in "ab"]
    await connect(a, b)
    seen = []

    def validator(heard):
        seen.append((heard.payload, heard.peer, heard.via))
        if heard.payload == b"error":
            raise RuntimeError("a bug")
        return {b"good": Verdict.ACCEPT, b"old": Verdict.IGNORE}.get(heard.payload, Verdict.REJECT)

    channel = await b.subscribe("topic", validator)
    for payload in (b"bad", b"error", b"old"):
        await announce_until(lambda: (payload, a.peer_id, a.peer_id) in seen, a, "topic", payload)  # noqa: B023
    await announce_until(lambda: channel.statistics().current_buffer_used, a, "topic", b"good")
    assert channel.receive_nowait().payload == b"good"
    channel.close()
    await a.announce("topic", b"good")


async def test_own_announcements_are_not_heard_and_large_ones_not_made(world):
    a, b = [await world.start(name, settings=world.everything) for name in "ab"]
    await connect(a, b)
    own = await a.subscribe("topic", lambda announcement: Verdict.ACCEPT)
    other = await b.subscribe("topic", lambda announcement: Verdict.ACCEPT)
    await announce_until(lambda: other.statistics().current_buffer_used, a, "topic", b"x")
    assert own.statistics().current_buffer_used == 0
    with pytest.raises(UsageError):
        await a.announce("topic", bytes(DEFAULT.announcement_bytes + 1))


async def test_providers_are_found_by_others(world):
    a, b, c = [await world.start(name, settings=world.everything, ask=echo) for name in "abc"]
    await connect(a, b)
    await connect(c, b)
    await c.provide(b"an agent's id")
    await a.provide(b"an agent's id")
    with trio.fail_after(10):
        while not (found := await a.find_providers(b"an agent's id")):
            await trio.sleep(0.05)
    assert found == list(c.addresses)
    assert await collect(a, found[0], "/test/ask/1", b"x") == [b"x"]
    assert await a.find_providers(b"another") == []
