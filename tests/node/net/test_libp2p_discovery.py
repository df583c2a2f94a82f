"""Hostile peers in the DHT: what they make a node believe, hold, dial and wait for is bounded."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.exceptions import StreamFailure
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.kad_dht.provider_store import PROVIDER_RECORD_EXPIRATION_INTERVAL
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import create_signed_peer_record, env_to_send_in_RPC
from multiaddr import Multiaddr

from tslg.node.net import errors
from tslg.node.net.libp2p.discovery import PROTOCOL, _dht_key
from tslg.node.net.libp2p.peerstore import GuardedPeerStore
from tslg.node.net.libp2p.providers import BoundedProviders
from tslg.node.net.reach import Scope
from tslg.protocol.frames import encode_varint
from tslg.protocol.limits import DEFAULT

DHT = {"discovery": True}
KEY = b"an agent's id"


def made_up(number: int) -> ID:
    return ID.from_pubkey(create_new_key_pair(hashlib.sha256(b"%d" % number).digest()).public_key)


def somewhere(number: int) -> Multiaddr:
    return Multiaddr(f"/ip4/127.0.0.1/tcp/{1 + number % 1000}")


async def until(condition, seconds=10):
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.01)


def dht(network):
    return network._services["discovery"]._dht


async def call(network, peer: ID, message: Message) -> Message:
    """Ask a peer's DHT one question, whatever it is."""
    stream = await network._host.new_stream(peer, [PROTOCOL])
    data = message.SerializeToString()
    await stream.write(encode_varint(len(data)) + data)
    answer = Message()
    answer.ParseFromString(await read_message(stream))
    await stream.close()
    return answer


async def read_message(stream) -> bytes:
    size, shift = 0, 0
    while True:
        byte = (await stream.read(1))[0]
        size, shift = size | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            break
    data = b""
    while len(data) < size:
        data += await stream.read(size - len(data))
    return data


def lies(network, *, providers=0, closer=0):
    """Have a peer answer every question of the DHT with so many peers that are none."""

    async def answer(stream):
        asked = Message()
        asked.ParseFromString(await read_message(stream))
        reply = Message(type=asked.type, key=asked.key)
        for number in range(providers):
            reply.providerPeers.add(id=made_up(number).to_bytes(), addrs=[somewhere(number).to_bytes()])
        for number in range(closer):
            reply.closerPeers.add(id=made_up(number).to_bytes(), addrs=[somewhere(number).to_bytes()])
        data = reply.SerializeToString()
        await stream.write(encode_varint(len(data)) + data)
        await stream.close()

    network._host.set_stream_handler(PROTOCOL, answer)


def counted(network) -> list[str]:
    """Note every dial of a network from now on."""
    dialled, swarm = [], network._dialer.swarm
    dial = swarm.dial_addr

    async def noted(address, peer, *rest):
        dialled.append(str(address))
        return await dial(address, peer, *rest)

    swarm.dial_addr = noted
    return dialled


@pytest.mark.spec("FND-4")
async def test_what_one_peer_makes_up_comes_after_what_several_say(libp2p_world):
    a, b, c = [await libp2p_world.start(name, settings=DHT) for name in "abc"]
    liar = await libp2p_world.start("liar")
    lies(liar, providers=1_000)
    for one in (b, c):
        await one.connect(a.addresses[0])
    await c.provide(KEY)
    asker = await libp2p_world.start("asker", settings=DHT)
    for one in (liar, a):
        await asker.connect(one.addresses[0])
    found = await asker.find_providers(KEY)
    assert found[: len(c.addresses)] == list(c.addresses)
    assert 1 < len(found) <= DEFAULT.providers_per_key + len(c.addresses)


@pytest.mark.spec("FND-8")
async def test_peers_that_are_none_cost_a_bounded_number_of_dials(libp2p_world):
    liar = await libp2p_world.start("liar")
    lies(liar, closer=1_000)
    asker = await libp2p_world.start("asker", settings=DHT)
    dialled = counted(asker)
    await asker.connect(liar.addresses[0])
    assert len(dialled) <= 1 + DEFAULT.lookup_dials
    del dialled[:]
    assert await asker.find_providers(KEY) == []
    assert 0 < len(dialled) <= DEFAULT.lookup_dials
    store = asker._host.get_peerstore()
    assert len(store.peer_data_map) <= DEFAULT.peers_known + 1
    assert dht(asker).routing_table.get_peer_ids() in ([], [ID.from_string(liar.peer_id)])
    assert env_to_send_in_RPC(asker._host)[0]


def test_a_full_book_of_peers_keeps_the_nodes_own_key():
    pair = create_new_key_pair(bytes(32))
    own = ID.from_pubkey(pair.public_key)
    store = GuardedPeerStore(own, replace(DEFAULT, peers_known=10))
    store.add_key_pair(own, pair)
    for number in range(50):
        store.add_addrs(made_up(number), [somewhere(n) for n in range(50)], 3600)
    assert store.privkey(own) == pair.private_key
    assert len(store.peer_data_map) <= 11
    assert len(store.addrs(made_up(49))) == DEFAULT.peer_addresses
    store.add_addrs(own, [somewhere(1)], 3600)
    assert store.addrs(own) == []


def test_what_a_peer_signed_is_not_overruled_by_what_others_say():
    store = GuardedPeerStore(made_up(0), DEFAULT)
    pair = create_new_key_pair(hashlib.sha256(b"signer").digest())
    signer, real = ID.from_pubkey(pair.public_key), Multiaddr("/ip4/127.0.0.1/tcp/4101")
    store.add_addrs(signer, [somewhere(7)], 3600)
    assert store.consume_peer_record(create_signed_peer_record(signer, [real], pair.private_key), 3600)
    store.add_addrs(signer, [somewhere(8)], 3600)
    assert store.addrs(signer) == [real]
    moved = Multiaddr("/ip4/127.0.0.1/tcp/4102")
    assert store.consume_peer_record(create_signed_peer_record(signer, [moved], pair.private_key), 3600)
    assert store.addrs(signer) == [moved]


class NobodysHost:
    """All that a store of providers asks of a host."""

    def get_id(self):
        return made_up(0)


def providers(network_of=lambda peer: "one", **bounds):
    return BoundedProviders(NobodysHost(), None, replace(DEFAULT, **bounds), network_of)


def held(store, key=KEY):
    return {str(info.peer_id) for info in store.get_providers(key)}


@pytest.mark.spec("FND-3")
def test_a_flood_from_one_network_leaves_places_for_others():
    honest, others = made_up(1), range(100, 400)
    store = providers(lambda peer: "elsewhere" if peer == honest else "one")
    for number in others:
        store.add_provider(KEY, PeerInfo(made_up(number), [somewhere(number)]))
    assert len(held(store)) == DEFAULT.providers_per_key
    store.add_provider(KEY, PeerInfo(honest, [somewhere(1)]))
    for number in others:
        store.add_provider(KEY, PeerInfo(made_up(number), [somewhere(number)]))
    assert len(held(store)) == DEFAULT.providers_per_key and str(honest) in held(store)


@pytest.mark.spec("FND-3")
def test_who_came_first_stays_and_what_a_node_provides_itself_always_does():
    store = providers()
    store.add_provider(KEY, PeerInfo(made_up(1), [somewhere(1)]))
    for number in range(100, 200):
        store.add_provider(KEY, PeerInfo(made_up(number), [somewhere(number)]))
    store.add_provider(KEY, PeerInfo(made_up(0), [somewhere(0)]))
    assert {str(made_up(0)), str(made_up(1))} < held(store)
    store.add_provider(KEY, PeerInfo(made_up(1), [somewhere(2)]))
    (info,) = [info for info in store.get_providers(KEY) if info.peer_id == made_up(1)]
    assert info.addrs == [somewhere(2)]


@pytest.mark.spec("FND-3")
def test_whoever_provides_everything_makes_place_for_those_who_provide_little():
    store = providers(provider_records=30, provider_records_per_peer=25)
    store.add_provider(b"small", PeerInfo(made_up(1), [somewhere(1)]))
    for number in range(100):
        store.add_provider(b"%d" % number, PeerInfo(made_up(2), [somewhere(2)]))
    assert store.size() == 26
    for number in range(100):
        store.add_provider(b"%d" % number, PeerInfo(made_up(3), [somewhere(3)]))
    assert store.size() == 30 and held(store, b"small") == {str(made_up(1))}


def test_records_expire(monkeypatch):
    store = providers()
    store.add_provider(KEY, PeerInfo(made_up(1), [somewhere(1)]))
    for record in store.providers[KEY].values():
        record.timestamp -= PROVIDER_RECORD_EXPIRATION_INTERVAL + 1
    assert held(store) == set() and store.size() == 0 and not store._held


@pytest.mark.spec("FND-3")
async def test_nobody_provides_in_the_name_of_another(libp2p_world):
    a = await libp2p_world.start("a", settings=DHT)
    hostile = await libp2p_world.start("hostile", settings=DHT)
    await hostile.connect(a.addresses[0])
    message = Message(type=Message.MessageType.ADD_PROVIDER, key=_dht_key(KEY))
    message.providerPeers.add(id=made_up(1).to_bytes(), addrs=[somewhere(1).to_bytes()])
    await call(hostile, ID.from_string(a.peer_id), message)
    assert dht(a).provider_store.size() == 0


async def test_questions_that_are_never_asked_do_not_keep_others_from_asking(libp2p_world):
    hasty = replace(DEFAULT, progress_timeout_ms=700)
    a = await libp2p_world.start("a", limits=hasty, settings=DHT)
    hostile = await libp2p_world.start("hostile", settings=DHT)
    await hostile.connect(a.addresses[0])
    for _ in range(12):
        with suppress(StreamFailure):
            await hostile._host.new_stream(ID.from_string(a.peer_id), [PROTOCOL])
    answering = a._services["discovery"]._answering
    await until(lambda: answering.total() == DEFAULT.dht_streams_per_peer)
    asker = await libp2p_world.start("asker", settings=DHT)
    await asker.connect(a.addresses[0])
    await a.provide(KEY)
    assert await asker.find_providers(KEY) == list(a.addresses)
    await until(lambda: not answering)


async def test_a_message_of_the_dht_has_a_bound(libp2p_world):
    a = await libp2p_world.start("a", settings=DHT)
    hostile = await libp2p_world.start("hostile", settings=DHT)
    await hostile.connect(a.addresses[0])
    large = Message(type=Message.MessageType.GET_PROVIDERS, key=_dht_key(KEY))
    for number in range(4_000):
        large.closerPeers.add(id=b"\x00\x24" + b"%036d" % number)
    assert len(large.SerializeToString()) > DEFAULT.dht_message_bytes
    with pytest.raises(Exception):  # noqa: B017
        await call(hostile, ID.from_string(a.peer_id), large)
    small = Message(type=Message.MessageType.GET_PROVIDERS, key=_dht_key(KEY))
    assert (await call(hostile, ID.from_string(a.peer_id), small)).key == _dht_key(KEY)


@pytest.mark.spec("FND-2")
async def test_the_keys_of_many_agents_all_arrive(libp2p_world):
    a, b = [await libp2p_world.start(name, settings=DHT) for name in "ab"]
    await b.connect(a.addresses[0])
    for number in range(40):
        await b.provide(b"agent %d" % number)
    await until(lambda: dht(a).provider_store.size() == 40)
    assert not dht(b).provider_store.providing_keys


@pytest.mark.spec("FND-7")
async def test_addresses_that_others_give_do_not_lead_inside(libp2p_world):
    inside = await libp2p_world.start("inside", settings=DHT)
    asker = await libp2p_world.start("asker", settings={**DHT, "reach": Scope.GLOBAL})
    dialled = counted(asker)
    with pytest.raises(errors.NotDialled) as refused:
        async with asker.request(inside.addresses[0], "/test/ask/1", b""):
            pass
    assert refused.value.code == "TSLG-N-REACH" and not dialled
    assert not asker.may_dial(inside.addresses[0])
    await asker.connect(inside.addresses[0])
    assert asker.peers() == (inside.peer_id,) and asker.may_dial(inside.addresses[0])
    other = await libp2p_world.start("other", settings=DHT)
    await other.connect(inside.addresses[0])
    await other.provide(KEY)
    assert await asker.find_providers(KEY) == []
    assert all(address.startswith(inside.addresses[0]) for address in dialled)


@pytest.mark.spec("FND-8")
async def test_at_an_address_of_somebody_else_nothing_is_sent_but_the_handshake(libp2p_world):
    asked = []

    async def hear(request, peer):
        asked.append(request)
        yield request

    a, other = [await libp2p_world.start(name, ask=hear) for name in ("a", "other")]
    asker = await libp2p_world.start("asker")
    wrong = a.addresses[0].replace(a.peer_id, other.peer_id)
    with pytest.raises(errors.ProtocolViolation):
        async with asker.request(wrong, "/test/ask/1", b"secret"):
            pass
    assert asked == [] and asker.peers() == ()


@pytest.mark.spec("FND-8")
async def test_addresses_that_lead_nowhere_are_dialled_a_few_at_a_time(libp2p_world):
    most = []
    asker = await libp2p_world.start("asker", limits=replace(DEFAULT, dials=3, dial_timeout_ms=100))
    under_way = asker._dialer._under_way

    async def never(address, peer, *rest):
        most.append(under_way.borrowed_tokens)
        await trio.sleep_forever()

    asker._dialer.swarm.dial_addr = never

    async def ask(number):
        with pytest.raises(errors.Stalled):
            async with asker.request(f"{somewhere(number)}/p2p/{made_up(number)}", "/test/ask/1", b""):
                pass

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(ask, number)
    assert max(most) == 3


@pytest.mark.spec("FND-7")
async def test_a_name_is_held_to_what_it_stands_for(libp2p_world, monkeypatch):
    async def echo(request, peer):
        yield request

    target = await libp2p_world.start("target", ask=echo)
    asked = []

    async def getaddrinfo(host, port, family, kind):
        asked.append((host, family))
        return [(family, kind, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
    named = target.addresses[0].replace("/ip4/127.0.0.1/", "/dns4/node.example.com/")
    strict = await libp2p_world.start("strict", settings={"reach": Scope.PRIVATE})
    with pytest.raises(errors.Unreachable):
        async with strict.request(named, "/test/ask/1", b""):
            pass
    assert [host for host, _ in asked] == ["node.example.com"]
    near = await libp2p_world.start("near")
    async with near.request(named, "/test/ask/1", b"x") as chunks:
        assert [chunk async for chunk in chunks] == [b"x"]


@pytest.mark.spec("FND-5")
async def test_a_peer_that_listens_nowhere_finds_and_is_entered_nowhere(libp2p_world):
    a, b = [await libp2p_world.start(name, settings=DHT) for name in "ab"]
    await b.connect(a.addresses[0])
    await b.provide(KEY)
    asker = await libp2p_world.start("asker", settings={**DHT, "listen": (), "reach": Scope.LOOPBACK})
    assert asker.addresses == ()
    await asker.connect(a.addresses[0])
    for _ in range(3):
        assert await asker.find_providers(KEY) == list(b.addresses)
    assert ID.from_string(asker.peer_id) not in dht(a).routing_table.get_peer_ids()
    assert ID.from_string(b.peer_id) in dht(a).routing_table.get_peer_ids()


GARBAGE = [
    b"",
    b"\xff" * 50,
    Message(type=Message.MessageType.GET_PROVIDERS, key=b"x").SerializeToString(),
    *(
        Message(
            type=kind,
            providerPeers=[Message.Peer(id=id, addrs=[address])],
            closerPeers=[Message.Peer(id=id, addrs=[address])],
        ).SerializeToString()
        for kind in (Message.MessageType.GET_PROVIDERS, Message.MessageType.FIND_NODE)
        for id in (b"", b"\x00", b"\x12\x20" + bytes(32), b"\xff" * 300)
        for address in (b"", b"\x04\x7f", b"\xff" * 40, somewhere(1).to_bytes())
    ),
]


@pytest.mark.spec("FND-4")
async def test_an_answer_of_garbage_is_no_answer(libp2p_world):
    liar = await libp2p_world.start("liar")
    honest, asker = [await libp2p_world.start(name, settings=DHT) for name in ("honest", "asker")]
    turn = iter(GARBAGE * 10)

    async def answer(stream):
        await read_message(stream)
        data = next(turn)
        await stream.write(encode_varint(len(data)) + data)
        await stream.close()

    liar._host.set_stream_handler(PROTOCOL, answer)
    for one in (liar, honest):
        await asker.connect(one.addresses[0])
    await honest.provide(KEY)
    for _ in range(len(GARBAGE)):
        found = await asker.find_providers(KEY)
        assert set(honest.addresses) <= set(found)
        assert all(asker.may_dial(address) for address in found)
    await asker.provide(KEY)


async def test_questions_of_garbage_leave_the_dht_working(libp2p_world):
    a, hostile, asker = [await libp2p_world.start(name, settings=DHT) for name in ("a", "hostile", "asker")]
    await hostile.connect(a.addresses[0])
    for data in [*GARBAGE, Message(type=Message.MessageType.ADD_PROVIDER, key=b"y" * 90).SerializeToString()]:
        stream = await hostile._host.new_stream(ID.from_string(a.peer_id), [PROTOCOL])
        await stream.write(encode_varint(len(data)) + data)
        await stream.close()
    message = Message(type=Message.MessageType.ADD_PROVIDER, key=_dht_key(KEY))
    message.providerPeers.add(id=ID.from_string(hostile.peer_id).to_bytes(), addrs=[b"\xff" * 40, b"\x04\x7f"])
    with suppress(Exception):
        await call(hostile, ID.from_string(a.peer_id), message)
    await asker.connect(a.addresses[0])
    await a.provide(KEY)
    assert set(a.addresses) <= set(await asker.find_providers(KEY))
