"""The parts of a running node: what each answers on the network, and what it does in the background."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import trio

from tslg.node.growth import Growth, Watch
from tslg.node.net.seam import Network
from tslg.node.tasks import background
from tslg.protocol.codec import Link

if TYPE_CHECKING:
    from trio_typing import TaskStatus


class Service(Protocol):
    """One part of a node. What a peer does wrong never ends it: errors that `run` lets out end the node."""

    def serve(self, network: Network) -> None:
        """Register what is answered, before the network runs."""
        ...

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled, beside the running network; `started()` is called when others may rely on it."""
        ...


@asynccontextmanager
async def at_work(services: Iterable[Service]) -> AsyncIterator[trio.Nursery]:
    """Run these services for the length of a block, started one after the other, in the nursery that is returned."""
    async with background() as nursery:
        for service in services:
            await nursery.start(service.run)
        yield nursery


async def grown(growth: Growth) -> AsyncGenerator[list[Link]]:
    """Yield the logs that grew, as often as any did, those of one wake-up together; close it when done.

    `async with aclosing(grown(growth)) as changes: async for owners in changes: …`
    """
    token = trio.lowlevel.current_trio_token()
    event = trio.Event()

    def ring() -> None:
        event.set()

    def wake() -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(ring, idempotent=True)

    with growth.watching(wake) as watch:
        while True:
            await event.wait()
            event = trio.Event()
            owners = watch.take()
            if owners:
                yield owners


class Bell:
    """Waits in trio for logs to grow; a context manager."""

    def __init__(self, growth: Growth) -> None:
        self._event = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._watching = growth.watching(self._wake)
        self._watch: Watch | None = None

    def __enter__(self) -> Bell:
        self._watch = self._watching.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._watching.__exit__(None, None, None)

    def _wake(self) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._ring, idempotent=True)

    def _ring(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> list[Link]:
        """Return the logs that grew since the last call, at the latest after so many seconds."""
        assert self._watch is not None
        with trio.move_on_after(max(0.0, seconds)):
            await self._event.wait()
        self._event = trio.Event()
        return self._watch.take()
