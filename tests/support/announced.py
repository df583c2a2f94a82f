"""Nodes of one federation that announce heads to each other, in memory or over libp2p."""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio
from world import NOW, ONE, source

from tslg.manifests import genesis as geneses
from tslg.manifests import signing, text
from tslg.node.config import NodeConfig
from tslg.node.net.memory import MemoryHub
from tslg.node.node import Node
from tslg.protocol.limits import DEFAULT

QUICK = replace(DEFAULT, head_every_ms=5, head_older_ms=5)
"""Limits under which a log may announce itself as often as tests like."""


async def until(condition, seconds=20):
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.005)


class Scene:
    """A federation without attestation, and data directories of nodes that join it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub = MemoryHub()
        founded = geneses.found_federation(
            text.parse(ONE.format(attested=0)), random_bytes=source("federation"), time_ms=NOW
        )
        self.manifest = folder / "manifest.sealed"
        self.manifest.write_bytes(signing.encode_sealed(founded.manifest_record.data, founded.seal))

    def path(self, name: str) -> Path:
        return self.folder / name

    @asynccontextmanager
    async def memory(self, name, directory=None, **how):
        """Run a node on the hub under a name, in the directory of that name or another's."""
        self.hub.members.pop(name, None)
        config = how.pop("config", NodeConfig(gossip=True))
        async with Node.open(
            self.path(directory or name),
            federation=self.manifest,
            network=self.hub.network(name),
            config=config,
            **({"limits": QUICK} | how),
        ) as node:
            yield node

    @asynccontextmanager
    async def libp2p(self, name, *bootstrap, **how):
        """Run a node over libp2p on loopback, connected to others."""
        config = NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), gossip=True, bootstrap=tuple(bootstrap))
        async with Node.open(
            self.path(name), federation=self.manifest, config=config, **({"limits": QUICK} | how)
        ) as node:
            yield node

    @asynccontextmanager
    async def several(self, *names):
        """Run several nodes on the hub."""
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.memory(name)) for name in names]

    def copy(self, name, other):
        """Copy a data directory, as a backup does; its lock stays behind."""
        shutil.copytree(self.path(name), self.path(other), ignore=shutil.ignore_patterns("lock"))


def heard(node, agent):
    """Return how large a node says that a log is."""
    log = node.heads.heads.logs.get(agent.id)
    return 0 if log is None or log.newest is None else log.newest.size


def fork(node, agent):
    log = node.heads.heads.logs.get(agent.id)
    return None if log is None else log.fork
