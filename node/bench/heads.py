"""How soon a head is known to all nodes of a federation: real libp2p hosts on loopback, all of them in one process."""

from __future__ import annotations

import random
import statistics
from contextlib import AsyncExitStack
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Final

import trio

from tslg.manifests import genesis as geneses
from tslg.manifests import signing, text
from tslg.node.agent import Agent
from tslg.node.bench.figures import CPU, MILLI, WALL, MeasurementError, Row, Series, Side, Target
from tslg.node.bench.lineage import SEED
from tslg.node.bench.setting import Setting
from tslg.node.config import NodeConfig
from tslg.node.node import Node
from tslg.protocol.codec import Link
from tslg.protocol.heard import Heard

NODES: Final = 20
"""Nodes that hear of it, beside the one that announces."""
AGENTS: Final = 40
"""Agents of the announcing node, so that none has to wait for its turn: a log is announced once a second."""
NEIGHBOURS: Final = 3
"""Nodes that each node connects to when it starts; more connect to it."""
SECONDS: Final = 60.0


def heads(setting: Setting) -> list[Row]:
    """Append one record after the other, and wait each time until the last node knows of it."""
    nodes = min(NODES, max(2, setting.records // 16))
    agents = min(AGENTS, max(2, setting.records // 16))
    folder = setting.scratch()
    rounds = trio.run(_measure, folder, nodes, agents, setting.repeat)
    waited = [[wall for wall, _ in taken] for taken in rounds]
    high = Series.of(statistics.quantiles(taken, n=100, method="inclusive")[98] for taken in waited).times(MILLI)
    middle = Series.of(statistics.median(taken) for taken in waited).times(MILLI)
    work = Series.of(statistics.median(busy for _, busy in taken) for taken in rounds).times(MILLI)
    title = f"from a durable append until {nodes} nodes know the head"
    return [
        Row("head-p99", f"{title}, p99", high, "ms", Side("tslg", high, "ms"), None, Target(1_000, False)),
        Row("head-p50", f"{title}, p50", middle, "ms", Side("tslg", middle, "ms")),
        Row("head-work", f"of that, processor time of all {nodes + 1} nodes", work, "ms", Side("tslg", work, "ms")),
    ]


async def _measure(folder: Path, nodes: int, agents: int, rounds: int) -> list[list[tuple[float, float]]]:
    manifest = _manifest(folder)
    async with AsyncExitStack() as stack:
        running: list[Node] = []
        for number in range(nodes + 1):
            chosen = random.Random(number).sample(running, min(NEIGHBOURS, len(running)))
            bootstrap = tuple(node.addresses[0] for node in chosen)
            config = NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), gossip=True, bootstrap=bootstrap)
            path = folder / str(number)
            running.append(await stack.enter_async_context(Node.open(path, federation=manifest, config=config)))
        author = running.pop()
        knowing = _Knowing(running)
        tellers = [await author.agent(f"agent {number}") for number in range(agents)]
        for teller in tellers:
            await knowing.wait(teller, 2)
        return [[await knowing.time(teller, 3 + number) for teller in tellers] for number in range(rounds)]


class _Knowing:
    """Who knows what of the heads."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = len(nodes)
        self._sizes: dict[Link, list[int]] = {}
        self._changed = trio.Event()
        for index, node in enumerate(nodes):
            assert node.heads is not None
            node.heads.listen(partial(self._hear, index))

    def _hear(self, at: int, agent: Link, head: Heard) -> None:
        self._sizes.setdefault(agent, [0] * self._nodes)[at] = head.size
        self._changed.set()

    async def time(self, agent: Agent, size: int) -> tuple[float, float]:
        """Return how long it takes from a durable append, which makes the log so large, until all know.

        In seconds, and in seconds of processor time, in which a machine that is busy with something else does not show.
        """
        await agent.state({"size": size})
        started, busy = WALL(), CPU()
        await self.wait(agent, size)
        return WALL() - started, CPU() - busy

    async def wait(self, agent: Agent, size: int) -> None:
        """Wait until all know that an agent's log has this size. Raises MeasurementError."""
        with trio.move_on_after(SECONDS) as patience:
            while min(self._sizes.get(agent.id, [0])) < size:
                self._changed = trio.Event()
                await self._changed.wait()
        if patience.cancelled_caught:
            raise MeasurementError("a head did not reach all nodes within a minute")


def _manifest(folder: Path) -> Path:
    example = (
        resources.files("tslg.manifests.examples").joinpath("single-organisation.toml").read_text(encoding="utf-8")
    )
    alone = example.replace("\nanchors = 1 ", "\nanchors = 0 ")
    founded = geneses.found_federation(text.parse(alone), random_bytes=random.Random(SEED).randbytes, time_ms=0)
    path = folder / "manifest.sealed"
    path.write_bytes(signing.encode_sealed(founded.manifest_record.data, founded.seal))
    return path
