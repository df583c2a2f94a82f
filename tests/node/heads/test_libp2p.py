"""Heads over real gossipsub: along a line of nodes, two histories at its ends, and hostile neighbours."""

from __future__ import annotations

import pytest
import trio
from announced import Scene, fork, heard, until
from hearing import head
from world import World

from tslg.node.config import NodeConfig
from tslg.node.net.libp2p.config import Libp2pConfig
from tslg.node.net.libp2p.network import Libp2pNetwork
from tslg.node.net.seam import running
from tslg.protocol.announcing import HeadNews, topic_of


def meshed(node, *others):
    """Tell whether a node has these in its mesh."""
    gossip = node.network._services["gossip"]
    mesh = gossip._router.mesh.get(node.heads._topic, set())
    return {other.network.peer_id for other in others} <= {str(peer) for peer in mesh}


@pytest.mark.spec("ANN-2", "ANN-12")
async def test_a_head_is_heard_through_others(scene: Scene):
    async with (
        scene.libp2p("b") as b,
        scene.libp2p("a", *b.addresses) as a,
        scene.libp2p("c", *b.addresses) as c,
    ):
        await until(lambda: meshed(b, a, c) and meshed(a, b) and meshed(c, b))
        agent = await a.agent("scanner")
        await agent.state({"n": 1})
        await until(lambda: heard(c, agent) == 3)
        (log,) = c.heads.heads.logs.values()
        assert (log.newest.peer, log.newest.via) == (a.network.peer_id, b.network.peer_id)
        assert a.network.peer_id not in c.network.peers()


@pytest.mark.spec("ANN-8", "ANN-12")
async def test_two_histories_at_both_ends_of_a_line_are_found_in_the_middle_and_told_to_all(scene: Scene):
    async with scene.memory("left", config=NodeConfig()) as node:
        agent = await node.agent("twofaced")
    scene.copy("left", "right")
    (scene.path("right") / "keys" / "peer").unlink(missing_ok=True)
    for name, count in (("left", 3), ("right", 6)):
        async with scene.memory(name, config=NodeConfig()) as node:
            again = await node.agent("twofaced")
            for number in range(count):
                await again.state({"n": f"{name} {number}"})
    async with (
        scene.libp2p("b") as b,
        scene.libp2p("c", *b.addresses) as c,
        scene.libp2p("left", *b.addresses),
        scene.libp2p("right", *c.addresses),
    ):
        await until(lambda: fork(b, agent) is not None and fork(c, agent) is not None)


@pytest.mark.spec("ANN-11")
async def test_a_neighbour_that_announces_forged_heads_is_cut_off_and_named(scene: Scene, caplog):
    world = World(seed="federation")
    author = world.agent("author")
    real = head(world, author)
    async with scene.libp2p("node") as node:
        hostile = Libp2pNetwork(Libp2pConfig(seed=bytes(32), gossip=True, bootstrap=node.addresses))
        async with running(hostile):
            topic = topic_of(node.federation)
            await until(lambda: topic in hostile._services["gossip"]._pubsub.peer_topics)
            await hostile.announce(topic, real.to_bytes())
            await until(lambda: author.owner in node.heads.heads.logs)
            for number in range(1_000):
                forged = real._replace(
                    note=real.note.replace(b"\n2\n", b"\n%d\n" % (3 + number)).replace(b"\n1\n", b"\n9\n")
                )
                await hostile.announce(topic, forged.to_bytes())
                await trio.lowlevel.checkpoint()
            await until(lambda: hostile.peer_id not in node.network.peers())
    assert {one.peer for one in caplog.records if getattr(one, "rule", "") == "announcement_offences"} == {
        hostile.peer_id
    }
    assert node.heads.heads.logs[author.owner].newest.size == 1


@pytest.mark.spec("ANN-9")
async def test_replayed_heads_do_not_silence_a_log(scene: Scene):
    async with scene.libp2p("node") as node, scene.libp2p("author", *node.addresses) as author:
        await until(lambda: meshed(node, author))
        agent = await author.agent("scanner")
        old = []
        for number in range(6):
            await until(lambda: heard(node, agent) == 2 + number)  # noqa: B023
            old.append(HeadNews(node.heads.heads.logs[agent.id].newest.note, told(node, agent)).to_bytes())
            await agent.state({"n": number})
        await until(lambda: heard(node, agent) == 8)
        hostile = Libp2pNetwork(Libp2pConfig(seed=bytes(32), gossip=True, bootstrap=node.addresses))
        async with running(hostile):
            await until(lambda: node.heads._topic in hostile._services["gossip"]._pubsub.peer_topics)
            for number in range(200):
                await hostile.announce(node.heads._topic, old[number % len(old)])
            await agent.state({"n": "on"})
            await until(lambda: heard(node, agent) == 9)
            assert hostile.peer_id in node.network.peers(), "what was replayed was true once"
        assert fork(node, agent) is None


def told(node, agent):
    return node.heads.heads.logs[agent.id].speakers.told
