"""Five nodes of three companies over libp2p, and an auditor with a record's id and the address of one of them."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

import pytest
import trio

from tslg.node.auditor import Auditor
from tslg.node.finding.finder import Finder
from tslg.node.home import wall_clock
from tslg.node.net.libp2p.config import Libp2pConfig
from tslg.node.net.libp2p.network import Libp2pNetwork
from tslg.node.net.reach import Scope
from tslg.node.tasks import background


async def until(condition, seconds=20):
    with trio.fail_after(seconds):
        while not await condition():
            await trio.sleep(0.02)


def stranger() -> Libp2pNetwork:
    """A peer that nobody can reach, and that has never heard of anybody."""
    return Libp2pNetwork(Libp2pConfig(seed=os.urandom(32), listen=(), discovery=True, reach=Scope.LOOPBACK))


async def lineage(nodes):
    """Have three agents build on each other, each node holding only what it needs to cite its neighbour's record."""
    mine, mill, shop = [await nodes[name].agent(name) for name in ("mine", "mill", "shop")]
    ore = await mine.observe("scale", {"tons": 3})
    for number in range(4):
        ore = await mine.state({"washed": number}, evidence=ore)
    assert (await nodes["mill"].fetch(ore, nodes["mine"].addresses, depth=1)).verdict == "valid"
    steel = await mill.decide("melt", "yes", evidence=[ore])
    for number in range(4):
        steel = await mill.state({"rolled": number}, evidence=steel)
    assert (await nodes["shop"].fetch(steel, nodes["mill"].addresses, depth=1)).verdict == "valid"
    return await shop.decide("sell", "yes", evidence=[steel])


@pytest.mark.spec("FND-2", "FND-9")
async def test_an_auditor_finds_the_rest(federation):
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(federation.node("hub"))
        nodes = {"hub": hub}
        for name in ("mine", "mill", "shop", "idle"):
            nodes[name] = await stack.enter_async_context(federation.node(name, hub.addresses[0]))
        target = await lineage(nodes)
        agents = [home.id for name in ("mine", "mill", "shop") for home in nodes[name].home.agents]
        for key in agents:

            async def known(key=key) -> bool:
                return bool(await hub.network.find_providers(key))

            await until(known)
        network = stranger()
        dialled, dial = [], network._dialer.swarm.dial_addr

        async def counted(address, peer, *rest):
            dialled.append(str(address))
            return await dial(address, peer, *rest)

        network._dialer.swarm.dial_addr = counted
        async with background() as nursery:
            await nursery.start(network.run)
            await network.connect(hub.addresses[0])
            finder = Finder(network, federation.id, clock=wall_clock)
            report = await Auditor(network, federation.id, clock=wall_clock, finder=finder).audit(target.id)
        assert report.verdict == "valid", report.to_json()
        assert {agent.name for agent in report.agents} == {"mine", "mill", "shop"}
        served = {agent.name: agent.peer for agent in report.agents}
        assert served == {name: nodes[name].network.peer_id for name in served}
        # Five peers; on a busy machine one that is slow is dialled beside the next, and then again.
        assert 3 <= len(dialled) <= 10, dialled
        assert all(item.source == "peer" for item in report.freshness)
