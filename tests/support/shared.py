"""A neutral operator, and tenants of its log who may read nothing of each other, on a network in memory."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

from homes import anchor
from world import NOW, source

from tslg.manifests import genesis as geneses
from tslg.manifests import text
from tslg.manifests.signing import encode_sealed
from tslg.node.binding import peer_bytes
from tslg.node.config import NodeConfig
from tslg.node.net.memory import MemoryHub
from tslg.node.node import Node
from tslg.node.sharing.sequencing import sequencer

ACCESS = """
[envelope.access]
default = ["parties"]
grantable = ["members"]
"""
TOML = """
[federation]
name = "Consortium"
[anchors]
scheme = "multisig"
threshold = 1
members = ["a"]
[envelope]
[envelope.genesis]
anchors = 1
"""
TENANTS = ("north", "south", "west")


class Consortium:
    """Opens nodes by name; each has the agent of its name, whose node it is bound to."""

    def __init__(self, path, access: str = ACCESS) -> None:
        self.path = path
        self.text = TOML + access
        self.hub = MemoryHub()
        founded = geneses.found_federation(text.parse(self.text), random_bytes=source("federation"), time_ms=NOW)
        self.file = path / "consortium.sealed"
        self.file.write_bytes(encode_sealed(founded.manifest_record.data, founded.seal))
        self.ticks = count(NOW + 1_000)
        self.agents = {}

    @asynccontextmanager
    async def node(self, name: str, data: str | None = None, **settings):
        """Run a node under the peer id `name` on the data directory `data`, which stays."""
        self.hub.members.pop(name, None)
        async with Node.open(
            self.path / (data or name),
            federation=self.file,
            network=self.hub.network(name),
            clock=lambda: next(self.ticks),
            config=NodeConfig(**settings),
        ) as node:
            found = [agent for agent in node.home.agents if agent.name == name]
            agent = found[0] if found else node.home.create_agent(name, anchors=anchor(self.text))
            if not found:
                agent.register_peer(peer_bytes(name))
            self.agents[name] = agent
            yield node

    @asynccontextmanager
    async def running(self, *names: str, data: str | None = None, tenants=()):
        """Run the operator, on another data directory if one is named, and tenants; give their nodes by name."""
        async with AsyncExitStack() as stack:
            nodes = {"operator": await stack.enter_async_context(self.node("operator", data))}
            operator = nodes["operator"]
            chosen = tuple(self.agents[name].id for name in tenants)
            operator.on_delegation(self.agents["operator"], sequencer(operator.gatekeeper, chosen), again=True)
            for name in names:
                nodes[name] = await stack.enter_async_context(self.node(name))
            yield nodes
