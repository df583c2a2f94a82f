"""A node for programs that are not written in trio: it runs in a thread of its own and is called from any other.

with BackgroundNode(path, listen="/ip4/127.0.0.1/tcp/0") as node:
    agent = node.agent("billing-bot")       # plain methods; `Agent(agent)` awaits them under asyncio
    report = node.fetch(id, [address])
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

import trio

from tslg.node.agent import BlockingAgent
from tslg.node.authoring import Reference
from tslg.node.delegating.works import Work
from tslg.node.node import Node
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record
from tslg.protocol.report import Report

T = TypeVar("T")


class BackgroundNode:
    """A `Node` in a background thread, with blocking methods. Arguments as for `Node.open`; a context manager."""

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        self._path = path
        self._options = options
        self._node: Node | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="tslg-node", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None and self._stop is not None and self._thread.is_alive():
            self._token.run_sync_soon(self._stop.set)
        self._thread.join()

    @property
    def node(self) -> Node:
        """The node itself. Its coroutines belong into its own thread: see `call`."""
        if self._node is None:
            raise UsageError("the node is not running", mend="use it inside its `with` block")
        return self._node

    @property
    def federation(self) -> Link:
        """The federation's id."""
        return self.node.federation

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses at which others can reach this node."""
        return self.node.addresses

    def agent(self, name: str) -> BlockingAgent:
        """Return the agent of this name, made if there is none."""
        return self.node.home.agent(name)

    def fetch(self, target: Reference, peers: Sequence[str], *, depth: int | None = None) -> Report:
        """Do as `Node.fetch`."""
        return self.call(lambda: self.node.fetch(target, peers, depth=depth))

    def delegate(
        self,
        agent: BlockingAgent,
        to: Reference,
        task: Mapping[str, Any],
        grant: Reference,
        *,
        peer: str,
        expires: int,
        hops: int = 0,
    ) -> tuple[Record, Link]:
        """Do as `Node.delegate`."""
        return self.call(lambda: self.node.delegate(agent, to, task, grant, peer=peer, expires=expires, hops=hops))

    def on_delegation(
        self, agent: BlockingAgent, work: Work, *, again: bool = False, at_once: int | None = None
    ) -> None:
        """Do as `Node.on_delegation`."""

        async def serve() -> None:
            self.node.on_delegation(agent, work, again=again, at_once=at_once)

        self.call(serve)

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine in the node's thread and wait for its result."""
        if self._token is None:
            raise UsageError("the node is not running", mend="use it inside its `with` block")
        return trio.from_thread.run(work, trio_token=self._token)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            # Handed to whoever waits for the start; after it, a failure ends the thread and shows at the next call.
            self._error = error
        finally:
            self._node, self._token = None, None
            self._started.set()

    async def _main(self) -> None:
        async with Node.open(self._path, **self._options) as node:
            self._node = node
            self._token = trio.lowlevel.current_trio_token()
            self._stop = trio.Event()
            self._started.set()
            await self._stop.wait()
