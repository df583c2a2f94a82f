"""The gate for trio and asyncio: every method is that of `Gate`, awaited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tslg.node.agent import in_thread
from tslg.node.governing.candidate import Candidate
from tslg.node.governing.content import Content
from tslg.node.governing.gate import Gate, State
from tslg.node.governing.outcome import Outcome
from tslg.node.governing.replaying import Replay, Run
from tslg.protocol.codec import Link
from tslg.protocol.governing.policy import Finding
from tslg.protocol.record import Record


class AsyncGate:
    """A gate for trio and asyncio.

    Args:
        gate: the gate whose methods run in worker threads.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.agent = gate.agent
        # Both serve either kind of function and block.
        self.step = gate.step
        self.governed = gate.governed

    def __repr__(self) -> str:
        return f"<AsyncGate of {self.gate!r}>"

    async def submit(self, candidate: Candidate) -> Outcome:
        """Judge a candidate and record what was decided; the record is durable when this returns."""
        return await in_thread(lambda: self.gate.submit(candidate))

    async def check(self, candidate: Candidate) -> Finding | None:
        """Return why a candidate would be rejected; nothing is recorded."""
        return await in_thread(lambda: self.gate.check(candidate))

    async def finish(self, outcome: Outcome, output: Content, **data: Any) -> Record:
        """Record the result of an admitted step that came after it was admitted."""
        return await in_thread(lambda: self.gate.finish(outcome, output, **data))

    async def compose(self, outcomes: Iterable[Outcome | Record | Link], **how: Any) -> Record:
        """Record a result that was put together from admitted steps; arguments as for `Gate.compose`."""
        return await in_thread(lambda: self.gate.compose(outcomes, **how))

    async def replay(self, step: Record | Link, run: Run | None = None) -> Replay:
        """Hold a step against what was kept of it, ask its policy once more and, with `run`, do it again."""
        return await in_thread(lambda: self.gate.replay(step, run))

    async def state(self) -> State:
        """Return the agent's semantic state."""
        return await in_thread(lambda: self.gate.state)
