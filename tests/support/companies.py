"""Nodes of one federation on a network in memory, under a clock that tests set."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import trio
from world import NOW, ONE, World

from tslg.manifests.signing import encode_sealed
from tslg.node.net.memory import MemoryHub
from tslg.node.node import Node
from tslg.protocol.exchange import DELEGATE
from tslg.protocol.limits import DEFAULT

HOUR, DAY = 3_600_000, 86_400_000


class Company:
    """Opens nodes by name, again and again, and lets time pass for all of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOW + 1_000
        self.hub = MemoryHub()
        anchors = World(ONE.format(attested=0), "delegating")
        self.sealed = path / "root.sealed"
        self.sealed.write_bytes(encode_sealed(anchors.anchors.log[0].data, anchors.seals[anchors.federation]))
        self.open: dict[str, Node] = {}

    @asynccontextmanager
    async def node(self, name: str, at: str | None = None, limits=DEFAULT):
        """Open the node of this name, under the peer id `at`."""
        peer = at or name
        self.hub.members.pop(peer, None)
        network = self.hub.network(peer, limits)
        path = self.path / name
        async with Node.open(
            path, federation=self.sealed, network=network, clock=lambda: self.now, limits=limits
        ) as node:
            self.open[name] = node
            try:
                yield node
            finally:
                del self.open[name]

    def elapse(self, ms: int) -> None:
        """Set all clocks ahead."""
        self.now += ms
        for node in self.open.values():
            node._delegating.inbox.woken.set()
            node._delegating.outbox.woken.set()

    async def until(self, condition) -> None:
        """Let an hour pass again and again, and everything happen meanwhile, until a condition holds."""
        with trio.fail_after(20):
            while not condition():
                self.elapse(HOUR)
                await trio.sleep(0.01)


async def grant(agent):
    """Record what is granted."""
    return await agent.policy("listening", capabilities=["listen"])


async def ask(network, peer: str, request: bytes) -> list[bytes]:
    """Send a request on the wire and return the chunks of the reply."""
    async with network.request(peer, DELEGATE, request) as chunks:
        return [chunk async for chunk in chunks]


def record_of(name: str):
    """Return a work that observes, counts its runs in `.runs`, and answers with what it observed."""

    def work(agent, delegation, progress):
        work.runs.append(delegation.id)
        progress(1, 2)
        return agent.observe(name, {"n": len(work.runs)}, delegation=delegation)

    work.runs = []
    return work
