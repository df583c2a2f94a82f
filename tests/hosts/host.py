"""One host as a process: a node that does what it is told in lines of JSON, and answers in such lines.

`python host.py SETTINGS` with a JSON object: data, federation, agent, config (settings of the node), source (the
address that its connections come from, null for the default). It says `ready` first. Commands have a `do`:

append {count, pause}      appends in the background; `acked` with the position of each record that is durable
logs {}                    `logs`: size and root of every log that is held whole
audit {record, peers, depth}  `audit`: the verdict, what is missing, and how long it took
stop {}                    ends in order
"""

from __future__ import annotations

import functools
import gc
import json
import logging
import resource
import sys
import threading
from pathlib import Path
from typing import Any

import trio

from tslg.node.allocator import bound_arenas, keep_lean
from tslg.node.auditor import Auditor
from tslg.node.config import NodeConfig
from tslg.node.home import Home, wall_clock
from tslg.node.node import Node
from tslg.protocol.cid import from_text, to_text


def say(**values: Any) -> None:
    """Print one line at once."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


class Host:
    """Carries out commands on a running node."""

    def __init__(self, node: Node, agent: Any, nursery: trio.Nursery) -> None:
        self._node, self._agent, self._nursery = node, agent, nursery

    async def append(self, count: int, pause: float) -> None:
        """Append in the background, and say of each record that it is durable."""
        self._nursery.start_soon(self._append, count, pause)

    async def _append(self, count: int, pause: float) -> None:
        for number in range(count):
            made = await self._agent.state({"number": number})
            say(acked=made.seq, record=to_text(made.id))
            await trio.sleep(pause)
        say(appended=count)

    async def logs(self) -> None:
        """Say what is held whole."""
        say(logs=await trio.to_thread.run_sync(whole_logs, self._node.home))

    async def audit(self, record: str, peers: list[str], depth: int | None = None) -> None:
        """Audit in the background, as a stranger would who holds nothing."""
        self._nursery.start_soon(self._audit, record, peers, depth)

    async def _audit(self, record: str, peers: list[str], depth: int | None) -> None:
        assert self._node.network is not None
        started = trio.current_time()
        stranger = Auditor(self._node.network, self._node.federation, clock=self._node.home.clock)
        report = await stranger.audit(from_text(record), peers, depth=depth)
        seconds = trio.current_time() - started
        missing = [f"{to_text(one.record)} {one.reason}" for one in report.undetermined]
        say(audit=report.verdict, record=record, missing=missing[:5], records=len(report.records), seconds=seconds)

    async def set_clock(self, ahead_ms: int) -> None:
        """Set the node's clock ahead of the machine's."""
        clock.ahead_ms = ahead_ms
        say(clock=clock())

    async def count(self) -> None:
        """Say what the process holds, once nothing is under way that need not be."""
        gc.collect()
        await trio.sleep(0.5)
        swarm = self._node.network._dialer.swarm
        muxers = [connection.muxed_conn for connection in swarm.get_connections()]
        statm = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        say(
            count={
                "files": len(list(Path("/proc/self/fd").iterdir())),
                "streams": sum(len(muxer.streams) for muxer in muxers),
                "connections": len(muxers),
                "tasks": trio.lowlevel.current_statistics().tasks_living,
                "threads": threading.active_count(),
                "memory": statm,
            }
        )


class Clock:
    """The machine's clock, set ahead."""

    ahead_ms = 0

    def __call__(self) -> int:
        return wall_clock() + self.ahead_ms


clock = Clock()


def whole_logs(home: Home) -> dict[str, list[Any]]:
    """Return size and root of every log that is held whole, by owner."""
    states = [home.store.log_state(log.owner) for log in home.store.logs()]
    return {to_text(one.owner): [one.size, one.peaks.root().hex()] for one in states if one is not None}


async def main(settings: dict[str, Any]) -> None:
    """Run the node until standard input ends or `stop` comes."""
    if settings["source"]:
        trio.open_tcp_stream = functools.partial(trio.open_tcp_stream, local_address=settings["source"])
    config = NodeConfig().with_values(settings["config"])
    federation = Path(settings["federation"])
    async with (
        Node.open(settings["data"], federation=federation, config=config, clock=clock) as node,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(keep_lean)
        agent = await node.agent(settings["agent"])
        assert node.network is not None
        say(
            ready=node.network.peer_id,
            addresses=list(node.addresses),
            agent=to_text(agent.id),
            federation=to_text(node.federation),
        )
        host = Host(node, agent, nursery)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            command = json.loads(line)
            name = command.pop("do")
            if name == "stop":
                break
            await getattr(host, name)(**command)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    bound_arenas()
    trio.run(main, json.loads(sys.argv[1]))
