"""What a delegate does: the functions that answer delegations, and what they are told and may tell while they work."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio

from tslg.node.agent import Agent, BlockingAgent
from tslg.protocol.errors import TslgError
from tslg.protocol.record import Record

Work = Callable[[BlockingAgent, Record, "Progress"], Record] | Callable[[Agent, Record, "Progress"], Awaitable[Record]]
"""`work(agent, delegation, progress) -> Record`: records under the delegation and returns the record that answers it.

A plain function is called in a thread with a `BlockingAgent`, an `async def` one in trio with an `Agent`."""


class Declined(TslgError):
    """Raise it in a work to refuse the delegation, with the reason in one line."""

    code = "TSLG-U-DECLINED"


class Stopped(TslgError):
    """The delegation was withdrawn or has expired, and nobody waits for the work any more."""

    code = "TSLG-U-STOPPED"


class Progress:
    """What a work is handed: call it with how far it is; it tells whether anybody still waits. Safe in any thread."""

    def __init__(self, tell: Callable[[int, int | None], None]) -> None:
        self._tell = tell
        self._cancelled = False
        self.scope = trio.CancelScope()
        """In which an `async def` work runs."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Tell how far the work is, in counts of whatever it does; `total` None if that is not known."""
        if type(done) is not int or done < 0 or not (total is None or (type(total) is int and total >= 0)):
            raise ValueError("progress is counted in whole numbers from 0")
        self._tell(done, total)

    @property
    def cancelled(self) -> bool:
        """Whether the delegation was withdrawn or has expired. What is recorded under it from then on is refused."""
        return self._cancelled

    def check(self) -> None:
        """Raise `Stopped` once nobody waits any more."""
        if self._cancelled:
            raise Stopped("nobody waits for this work any more", mend="end it")

    def cancel(self) -> None:
        """Tell the work that nobody waits any more. Called in trio."""
        self._cancelled = True
        self.scope.cancel()


@dataclass(frozen=True, slots=True)
class Worker:
    """Who does delegations to one agent.

    Attributes:
        agent: the agent.
        work: what is done.
        again: whether the work may be begun again after a crash in the middle of it.
        at_once: how many are done at a time.
    """

    agent: BlockingAgent
    work: Work
    again: bool
    at_once: int

    async def do(self, delegation: Record, progress: Progress) -> Record:
        """Do the work and return what it made. Raises whatever it raises; a thread is left behind on cancellation."""
        made: Any = None
        work: Callable[..., Any] = self.work
        if inspect.iscoroutinefunction(work):
            with progress.scope:
                made = await work(Agent(self.agent), delegation, progress)
            if progress.scope.cancelled_caught:
                progress.check()
        else:
            made = await _left_behind(lambda: work(self.agent, delegation, progress))
        if not isinstance(made, Record):
            raise TypeError("the work returned no record")
        return made


async def _left_behind(work: Callable[[], Any]) -> Any:
    """Run a function in a thread that is left behind on cancellation; how many there are is not bounded here."""
    run: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync
    return await run(work, abandon_on_cancel=True, limiter=trio.CapacityLimiter(math.inf))
