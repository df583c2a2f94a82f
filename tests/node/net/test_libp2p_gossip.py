"""Neighbours that flood, forge or stall announcements over libp2p: they are named, bounded, and cut off."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from multiaddr import Multiaddr

from tslg.node.net.libp2p import gossip
from tslg.node.net.neighbours import Neighbours
from tslg.node.net.seam import Verdict
from tslg.protocol.limits import DEFAULT


async def until(condition, seconds=10):
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.01)


class Pair:
    """A node that listens to a topic, and a hostile neighbour in its mesh."""

    def __init__(self, world):
        self.world = world
        self.heard = []

    async def start(self, limits=DEFAULT, verdict=lambda payload: Verdict.ACCEPT):
        self.node = await self.world.start("node", limits, settings={"gossip": True})
        self.hostile = await self.world.start("hostile", settings={"gossip": True})
        await self.hostile._dialer.connect(ID.from_string(self.node.peer_id), Multiaddr(self.node.addresses[0]))

        def judge(announcement):
            self.heard.append(announcement)
            return verdict(announcement.payload)

        self.channel = await self.node.subscribe("topic", judge)
        self.pubsub = self.hostile._services["gossip"]._pubsub
        await until(lambda: "topic" in self.pubsub.peer_topics and self.pubsub.peer_queues)
        return self

    async def send(self, *messages):
        """Hand messages over as they are."""
        (queue,) = self.pubsub.peer_queues.values()
        await until(lambda: len(queue) < 20)
        queue.push(rpc_pb2.RPC(publish=list(messages)))

    def signed(self, data, counter, topics=("topic",), **fields):
        message = rpc_pb2.Message(
            data=data, topicIDs=list(topics), from_id=self.pubsub.my_id.to_bytes(), seqno=counter.to_bytes(8, "big")
        )
        for name, value in fields.items():
            setattr(message, name, value)
        message.signature = self.pubsub.sign_key.sign(b"libp2p-pubsub:" + message.SerializeToString())
        return message


@pytest.fixture
def pair(libp2p_world):
    return Pair(libp2p_world)


def named(caplog, rule):
    return [record.peer for record in caplog.records if getattr(record, "rule", None) == rule]


@pytest.mark.parametrize("wrong", ["forged", "two topics", "long counter", "refused", "oversized"])
async def test_a_neighbour_that_hands_on_what_does_not_hold_is_cut_off_and_named(pair, caplog, wrong):
    await pair.start(replace(DEFAULT, announcement_offences=4), lambda payload: Verdict.REJECT)
    for number in range(4):
        message = pair.signed(b"x", number)
        if wrong == "forged":
            message.data = b"another"
        elif wrong == "two topics":
            message = pair.signed(b"x", number, ("topic", "other"))
        elif wrong == "long counter":
            message = pair.signed(b"x", number, seqno=bytes(1000) + bytes([number]))
        elif wrong == "oversized":
            message = pair.signed(bytes(DEFAULT.announcement_bytes + 1), number)
        await pair.send(message)
    await until(lambda: pair.node.peers() == ())
    assert named(caplog, "announcement_offences") == [pair.hostile.peer_id]
    assert len(pair.heard) == (4 if wrong == "refused" else 0)
    assert pair.channel.statistics().current_buffer_used == 0


async def test_a_flood_is_looked_at_up_to_a_rate_and_its_neighbour_named_once(pair, caplog):
    await pair.start(replace(DEFAULT, announcements_per_second=5), lambda payload: Verdict.IGNORE)
    for start in range(0, 600, 20):
        await pair.send(*(pair.signed(b"x", start + number) for number in range(20)))
    await until(lambda: named(caplog, "announcements_per_second"))
    await pair.send(pair.signed(b"x", 1_000_000))
    assert named(caplog, "announcements_per_second") == [pair.hostile.peer_id]
    assert len(pair.heard) < 100
    assert pair.node.peers() == (pair.hostile.peer_id,)


async def test_what_was_ignored_is_not_looked_at_again(pair):
    await pair.start(verdict=lambda payload: Verdict.ACCEPT if payload == b"end" else Verdict.IGNORE)
    for _ in range(5):
        await pair.send(pair.signed(b"x", 1))
    await pair.send(pair.signed(b"end", 2))
    await pair.channel.receive()
    assert [one.payload for one in pair.heard] == [b"x", b"end"]


async def test_messages_are_remembered_up_to_a_number(pair, monkeypatch):
    monkeypatch.setattr(gossip, "_REMEMBERED", 8)
    await pair.start()
    for number in range(40):
        await pair.send(pair.signed(b"x", number))
    await until(lambda: len(pair.heard) == 40)
    assert pair.node._services["gossip"]._pubsub.seen_messages.length() <= 8
    assert pair.node._services["gossip"]._router.recent_message_deliveries["topic"].maxlen == 0


async def test_a_neighbour_that_takes_nothing_is_waited_for_once(pair, autojump_clock):
    await pair.start()
    pubsub = pair.node._services["gossip"]._pubsub
    (queue,) = pubsub.peer_queues.values()
    filled = type(queue)()
    for _ in range(32):
        filled.push(rpc_pb2.RPC())
    pubsub.peer_queues[ID.from_string(pair.hostile.peer_id)] = filled
    before = trio.current_time()
    await pubsub._room(0.5)
    between = trio.current_time()
    await pubsub._room(0.5)
    assert between - before == pytest.approx(0.5, abs=0.1)
    assert trio.current_time() == between
    pubsub.peer_queues[ID.from_string(pair.hostile.peer_id)] = queue


def test_accounts_are_kept_up_to_a_number():
    async def nothing(peer):
        return None

    neighbours = Neighbours(replace(DEFAULT, connections=4, announcements_per_second=1), nothing)
    assert [neighbours.may("first", 0, 0) for _ in range(3)] == [True, True, False]
    for number in range(100):
        assert neighbours.may(str(number), 0, 1000 + number)
    assert len(neighbours._accounts) == 8
    assert not neighbours.may("large", 3 * 4096, 2000)


async def test_a_message_is_read_in_large_pieces_and_its_sender_s_record_judged_once(pair, monkeypatch):
    from libp2p.network.stream.net_stream import NetStream

    from tslg.node.net.libp2p import thrift

    reads, records = [], []
    original, judged = NetStream.read, thrift.maybe_consume_signed_record
    await pair.start()

    async def read(self, n=None):
        reads.append(n)
        return await original(self, n)

    def judge(msg, host, peer):
        records.append(peer)
        return judged(msg, host, peer)

    monkeypatch.setattr(NetStream, "read", read)
    monkeypatch.setattr(thrift, "maybe_consume_signed_record", judge)
    for number in range(50):
        await pair.hostile.announce("topic", b"%d" % number * 300)
    await until(lambda: len(pair.heard) == 50)
    assert len(reads) < 150, "byte by byte it would be hundreds"
    assert len(records) <= 2
    assert {one.payload for one in pair.heard} == {b"%d" % number * 300 for number in range(50)}
