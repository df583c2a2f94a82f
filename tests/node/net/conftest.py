"""Networks to test with: the same steps, in memory and over libp2p on loopback."""

import hashlib
from collections.abc import Callable

import pytest
import trio

from tslg.node.net.memory import MemoryHub
from tslg.protocol.limits import DEFAULT


class World:
    """Starts and stops networks of one kind."""

    def __init__(self, make: Callable, nursery: trio.Nursery) -> None:
        self._make = make
        self._nursery = nursery
        self._scopes: dict = {}

    async def start(self, name: str, limits=DEFAULT, settings=None, **handlers):
        network = self._make(name, limits, **settings or {})
        for protocol, handler in handlers.items():
            network.serve(f"/test/{protocol}/1", handler)

        async def run(*, task_status) -> None:
            with trio.CancelScope() as scope:
                self._scopes[network.peer_id] = scope, (done := trio.Event())
                try:
                    await network.run(task_status=task_status)
                finally:
                    done.set()

        await self._nursery.start(run)
        return network

    async def stop(self, network) -> None:
        scope, done = self._scopes[network.peer_id]
        scope.cancel()
        await done.wait()


@pytest.fixture
def memory_world(nursery):
    hub = MemoryHub()
    world = World(hub.network, nursery)
    world.hub = hub
    world.everything = {}
    return world


@pytest.fixture
def libp2p_world(nursery):
    from tslg.node.net.libp2p.config import Libp2pConfig
    from tslg.node.net.libp2p.network import Libp2pNetwork

    def make(name, limits=DEFAULT, **settings):
        return Libp2pNetwork(Libp2pConfig(seed=hashlib.sha256(name.encode()).digest(), limits=limits, **settings))

    world = World(make, nursery)
    world.make = make
    world.everything = {"gossip": True, "discovery": True}
    return world


@pytest.fixture(params=["memory", "libp2p"])
def world(request):
    """The conformance suite runs once per network."""
    return request.getfixturevalue(f"{request.param}_world")
