"""Nodes over libp2p that restart, move, or lose the node through which they found each other."""

from __future__ import annotations

import pytest
import trio

from tslg.node.finding import service


async def until(condition, seconds=20):
    with trio.fail_after(seconds):
        while not await condition():
            await trio.sleep(0.02)


@pytest.fixture(autouse=True)
def brisk(monkeypatch):
    """Look more often than a node needs to."""
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(service, "FIRST_DELAY_SECONDS", 0.1)


def finds(node, key, address):
    async def found() -> bool:
        return address in await node.network.find_providers(key)

    return found


@pytest.mark.spec("FND-9", "FND-11")
async def test_a_node_that_moved_to_a_new_port_is_found_again(federation):
    async with federation.node("hub") as hub:
        async with federation.node("mine", hub.addresses[0]) as mine:
            miner = await mine.agent("mine")
            first = await miner.observe("scale", {"tons": 1})
            peer, old = mine.network.peer_id, mine.addresses[0]
            async with federation.node("mill", hub.addresses[0]) as mill:
                assert (await mill.fetch(first, mine.addresses)).verdict == "valid"
        async with federation.node("mine", hub.addresses[0]) as mine, federation.node("mill", hub.addresses[0]) as mill:
            assert mine.network.peer_id == peer and mine.addresses[0] != old
            assert mill.finding.finder.known(miner.id) == [old]
            second = await (await mine.agent("mine")).observe("scale", {"tons": 2})
            await until(finds(mill, miner.id, mine.addresses[0]))
            assert (await mill.fetch(second)).verdict == "valid"
            assert mine.addresses[0] in mill.finding.finder.known(miner.id)


@pytest.mark.spec("FND-11", "FND-13")
async def test_nodes_that_met_find_each_other_without_the_bootstrap(federation):
    where = ("/ip4/127.0.0.1/tcp/0",)
    async with federation.node("mine", listen=where) as mine:
        miner = await mine.agent("mine")
        async with federation.node("hub") as hub, federation.node("mill", hub.addresses[0]) as mill:
            await mine.network.connect(hub.addresses[0])
            record = await miner.observe("scale", {"tons": 1})
            await until(finds(mill, miner.id, mine.addresses[0]))
            assert (await mill.fetch(record)).verdict == "valid"
            gone = hub.addresses[0]
        async with federation.node("mill", gone) as mill:

            async def reached() -> bool:
                return mine.network.peer_id in mill.network.peers()

            await until(reached)
            record = await miner.observe("scale", {"tons": 2})
            assert (await mill.fetch(record)).verdict == "valid"


@pytest.mark.spec("FND-13")
async def test_a_bootstrap_that_starts_last(federation):
    async with federation.node("hub") as hub:
        address, seed = hub.addresses[0], hub.network.peer_id
    port = address.partition("/p2p/")[0]
    async with federation.node("mine", address) as mine, federation.node("mill", address) as mill:
        miner = await mine.agent("mine")
        assert mine.network.peers() == ()
        async with federation.node("hub", listen=(port,)) as hub:
            assert hub.network.peer_id == seed
            await until(finds(mill, miner.id, mine.addresses[0]))
            record = await miner.observe("scale", {"tons": 1})
            assert (await mill.fetch(record)).verdict == "valid"
