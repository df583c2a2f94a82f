"""Discovery and gossip over libp2p: defects 12 and 17, and that neither runs unless asked for nor takes a node down."""

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2

from tslg.node.net import errors
from tslg.node.net.seam import Verdict


async def connect(a, b):
    await a._dialer.connect(ID.from_string(b.peer_id), a_multiaddr(b))


def a_multiaddr(network):
    from multiaddr import Multiaddr

    return Multiaddr(network.addresses[0])


async def until(condition, seconds=10):
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.01)


def always(announcement):
    return Verdict.ACCEPT


async def test_a_plain_node_runs_neither(libp2p_world):
    plain = await libp2p_world.start("plain")
    served = set(plain._host.multiselect.handlers)
    assert not [name for name in served if "kad" in name or "meshsub" in name or "push" in name]
    for call in (
        plain.announce("topic", b""),
        plain.subscribe("topic", always),
        plain.provide(b"key"),
        plain.find_providers(b"key"),
    ):
        with pytest.raises(errors.FeatureOff):
            await call


@pytest.mark.spec("FND-1")
async def test_12_the_dht_is_our_own_and_stores_no_values(libp2p_world):
    a, b = [await libp2p_world.start(name, settings={"discovery": True}) for name in "ab"]
    served = set(a._host.multiselect.handlers)
    assert "/tslg/kad/1.0.0" in served and "/ipfs/kad/1.0.0" not in served
    assert not a._services["discovery"]._dht.enable_values
    asked = []
    handler = b._host.multiselect.handlers["/tslg/kad/1.0.0"]

    async def watched(stream):
        asked.append(stream.get_protocol())
        await handler(stream)

    b._host.multiselect.handlers["/tslg/kad/1.0.0"] = watched
    await connect(a, b)
    await a.provide(b"key")
    await until(lambda: asked)
    await until(lambda: b._services["discovery"]._dht.provider_store.size() == 1)


async def test_bootstrap_connects_at_the_start(libp2p_world):
    b = await libp2p_world.start("b", settings={"discovery": True})
    nobody = b.addresses[0].replace(b.addresses[0].split("/")[4], "1")
    a = await libp2p_world.start("a", settings={"discovery": True, "bootstrap": (nobody, "nonsense", b.addresses[0])})
    await until(lambda: a.peers() == (b.peer_id,))


async def test_17_a_burst_of_announcements_arrives(libp2p_world):
    a, b = [await libp2p_world.start(name, settings={"gossip": True}) for name in "ab"]
    await connect(a, b)
    channel = await b.subscribe("topic", always)
    await until(lambda: "topic" in a._services["gossip"]._pubsub.peer_topics)
    for i in range(100):
        await a.announce("topic", b"%d" % i)
    await until(lambda: channel.statistics().current_buffer_used == 100)
    assert {channel.receive_nowait().payload for _ in range(100)} == {b"%d" % i for i in range(100)}


async def test_17_the_mesh_is_repaired_every_second(libp2p_world):
    gossip = (await libp2p_world.start("a", settings={"gossip": True}))._services["gossip"]
    assert gossip._router.heartbeat_interval == 1


async def test_17_a_message_with_an_unreadable_key_does_not_end_gossip(libp2p_world):
    a, b = [await libp2p_world.start(name, settings={"gossip": True}) for name in "ab"]
    await connect(a, b)
    channel = await b.subscribe("topic", always)
    pubsub = a._services["gossip"]._pubsub
    await until(lambda: "topic" in pubsub.peer_topics and pubsub.peer_queues)
    broken = rpc_pb2.Message(data=b"x", topicIDs=["topic"], from_id=b"\x12\x20" + bytes(32), seqno=b"1")
    broken.key, broken.signature = b"\xff\xff", b"signature"
    a._services["gossip"]._router.send_rpc(ID.from_string(b.peer_id), rpc_pb2.RPC(publish=[broken]))
    await a.announce("topic", b"fine")
    assert (await channel.receive()).payload == b"fine"
    assert "gossip" in b._services


async def test_a_service_that_fails_is_missed_but_leaves_the_node_running(libp2p_world):
    async def echo(request, peer):
        yield request

    a = await libp2p_world.start("a", settings={"gossip": True}, ask=echo)
    b = await libp2p_world.start("b")

    async def fail():
        raise RuntimeError("a bug")

    a._services["gossip"]._pubsub.manager.run_task(fail)
    await until(lambda: "gossip" not in a._services)
    with pytest.raises(errors.FeatureOff):
        await a.announce("topic", b"x")
    async with b.request(a.addresses[0], "/test/ask/1", b"x") as chunks:
        assert [chunk async for chunk in chunks] == [b"x"]


async def test_closing_a_subscription_leaves_the_topic(libp2p_world):
    a, b = [await libp2p_world.start(name, settings={"gossip": True}) for name in "ab"]
    await connect(a, b)
    pubsub = b._services["gossip"]._pubsub
    channel = await b.subscribe("topic", always)
    await until(lambda: "topic" in a._services["gossip"]._pubsub.peer_topics)
    channel.close()
    await a.announce("topic", b"the last")
    await until(lambda: "topic" not in pubsub.topic_ids)
    again = await b.subscribe("topic", always)
    await until(lambda: "topic" in a._services["gossip"]._pubsub.peer_topics)
    await a.announce("topic", b"x")
    assert (await again.receive()).payload == b"x"
