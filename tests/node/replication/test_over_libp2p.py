"""A hot replica in a process of its own, over libp2p: killed, restarted, and asked when the author is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
import trio
from replicas import Scene

from tslg.node.auditor import Auditor
from tslg.node.config import NodeConfig
from tslg.node.net.errors import PeerError
from tslg.node.net.libp2p.config import Libp2pConfig
from tslg.node.net.libp2p.network import Libp2pNetwork
from tslg.node.net.seam import running
from tslg.node.node import Node
from tslg.protocol.cid import to_text
from tslg.protocol.exchange import LOG, HeadReply, HeadRequest
from tslg.protocol.report import VALID

ENV = os.environ | {"PYTHONPATH": "src", "TSLG_DATA": ""}
SECONDS = 60


@pytest.fixture
def scene(tmp_path) -> Scene:
    return Scene(tmp_path)


@contextmanager
def process(scene, agent, address):
    """Run a replica until the block ends, then kill it without warning."""
    chosen = ["--replicate", to_text(agent.id), "--replicate-from", address, "--federation", scene.file]
    command = ["node", "run", "--data", scene.path / "replica", "--json", "--api", "off", *chosen]
    started = subprocess.Popen(
        [sys.executable, "-m", "tslg.node.cli", *map(str, command)], stdout=subprocess.PIPE, text=True, env=ENV
    )
    try:
        yield json.loads(started.stdout.readline())["addresses"][0]
    finally:
        started.kill()
        started.communicate()


async def size_at(network, peer, agent) -> int:
    try:
        async with network.request(peer, LOG, HeadRequest(agent.id).to_bytes()) as chunks:
            return HeadReply.from_bytes(b"".join([chunk async for chunk in chunks])).head.size
    except PeerError:
        return 0


async def converged(network, peer, agent, size: int) -> None:
    with trio.fail_after(SECONDS):
        while await size_at(network, peer, agent) < size:
            await trio.sleep(0.05)


@pytest.mark.thorough
@pytest.mark.spec("RPL-21")
@pytest.mark.parametrize("appends", [200, pytest.param(2_000, marks=pytest.mark.slow)])
async def test_a_hot_replica_outlives_a_kill_and_its_leader(scene, appends):
    turn = appends // 20
    listen = NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",))
    async with running(Libp2pNetwork(Libp2pConfig(seed=os.urandom(32)))) as network:
        auditor = Auditor(network, scene.federation, clock=scene.clock)
        async with Node.open(scene.path / "leader", federation=scene.file, config=listen, clock=scene.clock) as leader:
            agent, (address,) = scene.agent(leader, "a"), leader.addresses
            with process(scene, agent, address) as replica:
                for _ in range(10):
                    last = await trio.to_thread.run_sync(scene.grow, agent, turn)
                await converged(network, replica, agent, last.seq // 2)
            for _ in range(5):
                last = await trio.to_thread.run_sync(scene.grow, agent, turn)
            with process(scene, agent, address) as replica:
                for _ in range(5):
                    last = await trio.to_thread.run_sync(scene.grow, agent, turn)
                await converged(network, replica, agent, last.seq + 1)
            expected = await auditor.audit(last.id, [address], log="full")
        with process(scene, agent, address) as replica:
            report = await auditor.audit(last.id, [replica], log="full")
    assert report.verdict == expected.verdict == VALID
    assert report.digest == expected.digest and report.records.keys() == expected.records.keys()
    assert last.seq > appends
