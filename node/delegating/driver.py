"""What drives one side's state machine: a step at a time, each with all that it wants carried out before the next."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import trio

E = TypeVar("E")


class Driver(Generic[E]):
    """The steps of a state machine whose effects are of type `E`."""

    def __init__(self) -> None:
        self._lock = trio.Lock()
        self.woken = trio.Event()
        """Set when `tick` may have something to do sooner than it was told."""

    async def _do(self, step: Callable[[], Iterable[E]]) -> None:
        """Take one step of the state machine, and carry out what it wants in order, whoever asked and goes away."""
        with trio.CancelScope(shield=True):
            async with self._lock:
                effects = deque(step())
                while effects:
                    await self._carry_out(effects.popleft())
        self.woken.set()

    @abstractmethod
    async def _carry_out(self, effect: E) -> None:
        """Carry out one effect."""
