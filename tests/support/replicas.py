"""Nodes of one federation on a network in memory: those who write logs, and those who hold them whole."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from itertools import count

import trio
from world import NOW, source

from tslg.manifests import genesis as geneses
from tslg.manifests.signing import encode_sealed
from tslg.node.config import NodeConfig
from tslg.node.net.memory import MemoryHub
from tslg.node.node import Node
from tslg.protocol.exchange import LOG, MessageError, RangeRequest, read_log_request, read_walk_chunk, records_chunk
from tslg.protocol.limits import DEFAULT


class Scene:
    """A federation whose anchor is at hand, and its nodes by name."""

    def __init__(self, path) -> None:
        self.path = path
        self.hub = MemoryHub()
        self.founded = geneses.single_organisation("Scene", random_bytes=source("scene"), time_ms=NOW)
        self.federation = self.founded.manifest_record.id
        self.file = path / "federation.sealed"
        self.file.write_bytes(encode_sealed(self.founded.manifest_record.data, self.founded.seal))
        self.ticks = count(NOW + 1_000)

    def clock(self) -> int:
        """Return the next millisecond."""
        return next(self.ticks)

    @asynccontextmanager
    async def node(self, name: str, limits=DEFAULT, **settings):
        """Run a node whose data directory stays from one time to the next."""
        self.hub.members.pop(name, None)
        async with Node.open(
            self.path / name,
            federation=self.file,
            network=self.hub.network(name, limits),
            clock=self.clock,
            limits=limits,
            config=NodeConfig(**settings),
        ) as node:
            yield node

    def agent(self, node: Node, name: str):
        """Make an agent of a node, or return it, to be used without waiting."""
        found = next((agent for agent in node.home.agents if agent.name == name), None)
        return found or node.home.create_agent(name, anchors=self.founded.anchor_keys)

    def grow(self, agent, number: int, evidence=None):
        """Append so many records, the first of which rests on `evidence`; return the last."""
        last = None
        with agent.batch():
            for index in range(number):
                if index == 0 and evidence is not None:
                    last = agent.decide("next", "on it goes", evidence=[evidence])
                else:
                    last = agent.observe("sensor", {"n": index})
        return last


def ranges(node: Node) -> list[tuple[str, int, int]]:
    """Note from now on which ranges a node is asked for: by whom, from where, up to where."""
    seen: list[tuple[str, int, int]] = []

    def noting(handler):
        def answer(request: bytes, peer: str):
            asked = read_log_request(request)
            if isinstance(asked, RangeRequest):
                seen.append((peer, asked.start, asked.stop))
            return handler(request, peer)

        return answer

    wrap(node, LOG, noting)
    return seen


def wrap(node: Node, protocol: str, around) -> None:
    """Put something around what answers a protocol at a node."""
    handlers = node.network._serving.handlers
    handlers[protocol] = around(handlers[protocol])


def rewriting(change):
    """Return what passes every chunk of a node's records through `change(pairs)`."""

    def around(handler):
        async def answer(request: bytes, peer: str):
            async with aclosing(handler(request, peer)) as chunks:
                async for chunk in chunks:
                    try:
                        part = read_walk_chunk(chunk)
                    except MessageError:
                        part = None
                    yield records_chunk(change(part)) if isinstance(part, list) else chunk

        return answer

    return around


async def reach(condition, seconds: float = 20.0, step: float = 0.01) -> None:
    """Wait until something holds."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(step)


def size(node: Node, owner) -> int:
    """Return how much of a log a node holds whole."""
    state = node.home.store.log_state(owner)
    return 0 if state is None else state.size


def address(name: str) -> str:
    """Return the address of a node of a scene, whether it is up or not."""
    return f"/memory/{name}/p2p/{name}"
