"""The called agent's side of A2A: nothing is done but under a delegation, and what is done becomes a record.

A delegation allows one message: its digest stands in it. It is verified as any stranger would, down to the founding of
the federation, and used once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from a2a.helpers import new_task_from_user_message, new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.types.a2a_pb2 import (
    Artifact,
    Message,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

from tslg.node.adapters.a2a.extension import URI, Attached, Party, answer_digest, read, refused, request_digest
from tslg.node.adapters.a2a.fetching import fetched
from tslg.node.agent import BlockingAgent, in_thread
from tslg.node.background import BackgroundNode
from tslg.node.delegating.answering import answer, answered, withdrawn
from tslg.protocol.cid import short
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.record import Record

_DONE: Final = frozenset(
    (TaskState.TASK_STATE_COMPLETED, TaskState.TASK_STATE_INPUT_REQUIRED, TaskState.TASK_STATE_AUTH_REQUIRED)
)
_NOT_DONE: Final = {
    TaskState.TASK_STATE_FAILED: "failed",
    TaskState.TASK_STATE_CANCELED: "failed",
    TaskState.TASK_STATE_REJECTED: "refused",
}
_REASON: Final = 300


@dataclass
class Delegated:
    """What an executor works under; `current` returns it.

    Attributes:
        agent: who works.
        delegation: under which delegation: cite it in what is recorded on the way.
        cited: records that the result rests on; add to it.
    """

    agent: BlockingAgent
    delegation: Record
    cited: list[Record] = field(default_factory=list)


_current: ContextVar[Delegated] = ContextVar("delegated")


def current() -> Delegated:
    """Return what the running executor works under. Raises UsageError outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise refused("nothing was delegated here", "call it inside `AgentExecutor.execute`") from None


class Delegate(AgentExecutor):
    """Wraps an executor: it runs under a verified delegation, and what came of it is recorded before anybody sees it.

    Args:
        node: a running node, on a network.
        agent: who works.
        executor: what does the work; `current` tells it under which delegation.
        name: what the result's record is named.
        uses: capabilities of the grant that every result claims.
        required: whether a message without a delegation is refused; otherwise it is worked on, and not recorded.
        limits: how much is verified for whoever sends messages, and for how long.
    """

    def __init__(
        self,
        node: BackgroundNode,
        agent: BlockingAgent,
        executor: AgentExecutor,
        *,
        name: str = "a2a",
        uses: Iterable[str] = (),
        required: bool = True,
        limits: Limits = DEFAULT,
    ) -> None:
        self._node = node
        self._agent = agent
        self._executor = executor
        self._name = name
        self._uses = tuple(uses)
        self._required = required
        self._at_work: set[Link] = set()
        self._limits = limits
        self._verifying = asyncio.Semaphore(limits.a2a_checks)
        self._checks = 0
        """Messages whose delegations are verified, or wait for it."""

    @property
    def party(self) -> Party:
        """Whom it speaks for, for `declare`."""
        return Party(self._node.federation, self._agent.id, self._node.addresses)

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """See `AgentExecutor.execute`. What is refused becomes a rejected task that says why."""
        try:
            delegation = await self._verified(context)
        except TslgError as error:
            await _end(context, event_queue, TaskState.TASK_STATE_REJECTED, str(error))
            return
        if delegation is None:
            await self._executor.execute(context, event_queue)
            return
        work = Delegated(self._agent, delegation)
        recording = _Recording(self, work, context, event_queue)
        token = _current.set(work)
        try:
            await self._executor.execute(context, recording)
            await recording.close("failed", "the work ended without a result")
        except TslgError as error:
            if not recording.closed:
                await recording.close("failed", str(error))
                await _end(context, event_queue, TaskState.TASK_STATE_FAILED, str(error))
        except BaseException as error:
            # Also where the task is cancelled: the delegation was used, and its log says what became of it.
            await asyncio.shield(recording.close("failed", type(error).__name__))
            raise
        finally:
            _current.reset(token)
            self._at_work.discard(delegation.id)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """See `AgentExecutor.cancel`."""
        await self._executor.cancel(context, event_queue)

    async def _verified(self, context: RequestContext) -> Record | None:
        """Return the delegation under which a message is worked on. Raises TslgError that says why there is none."""
        message = context.message
        attached = None if message is None else read(message.metadata)
        if message is None or attached is None:
            if self._required:
                raise refused("the message carries no delegation", f"attach one under {URI}")
            return None
        if attached.federation != self._node.federation:
            raise refused("the delegation is of another federation")
        record = await self._fetched(attached)
        ledger, body = self._node.node.home.ledger, record.body
        if body["delegate"] != self._agent.id:
            raise refused("the delegation is to somebody else")
        if body["task"].get("a2a") != request_digest(message):
            raise refused("the delegation is for another message")
        if body["expires"] <= self._node.node.home.clock():
            raise refused("the delegation has expired")
        if withdrawn(ledger, record.id) is not None:
            raise refused("the delegation was withdrawn")
        if record.id in self._at_work or answered(ledger, record.id, self._agent.id) is not None:
            raise refused("the delegation was used already", "delegate anew")
        self._at_work.add(record.id)
        return record

    async def _fetched(self, attached: Attached) -> Record:
        if self._checks >= self._limits.a2a_checks_waiting:
            raise refused("too many delegations are being verified", "ask again in a while")
        self._checks += 1
        try:
            async with self._verifying:
                record, _ = await fetched(
                    self._node, "the delegation", attached.delegation, attached.addresses, self._limits
                )
        finally:
            self._checks -= 1
        if record.kind != "delegation":
            raise refused(f"{short(record.id)} is no delegation")
        return record

    def record(self, work: Delegated, request: bytes, came: bytes) -> Record:
        """Record a result, and answer the delegation with it. Blocks. Raises TslgError."""
        made = self._agent.act(
            self._name,
            {"a2a": request},
            {"answer": came},
            delegation=work.delegation.id,
            evidence=work.cited or None,
            uses=self._uses,
        )
        answer(self._node.node.home.ledger, work.delegation, "result", None, made.id)
        return made

    def end(self, work: Delegated, outcome: str, reason: str) -> None:
        """Answer a delegation that came to nothing. Blocks. Raises TslgError."""
        answer(self._node.node.home.ledger, work.delegation, outcome, reason[:_REASON], None)


class _Recording(EventQueue):
    """What an executor tells goes through here: the last of it is recorded, and carries the record's id."""

    def __init__(self, delegate: Delegate, work: Delegated, context: RequestContext, queue: EventQueue) -> None:
        self._delegate = delegate
        self._work = work
        self._context = context
        self._queue = queue
        before = () if context.current_task is None else context.current_task.artifacts
        self._artifacts = {one.artifact_id: one for one in before}
        self.closed = False

    async def enqueue_event(self, event: Any) -> None:
        """See `EventQueue.enqueue_event`. Raises TslgError where what is told cannot be recorded: it is not told."""
        if isinstance(event, TaskArtifactUpdateEvent):
            self._merge(event)
        elif isinstance(event, Task):
            self._artifacts = {one.artifact_id: one for one in event.artifacts}
            await self._status(event, event.status)
        elif isinstance(event, TaskStatusUpdateEvent):
            await self._status(event, event.status)
        elif isinstance(event, Message):
            await self._result(event, event)
        await self._queue.enqueue_event(event)

    async def close(self, outcome: str, reason: str) -> None:
        """Answer the delegation, unless that was done."""
        if not self.closed:
            self.closed = True
            await in_thread(lambda: self._delegate.end(self._work, outcome, reason))

    async def _status(self, event: Task | TaskStatusUpdateEvent, status: TaskStatus) -> None:
        message = status.message if status.HasField("message") else None
        if status.state in _DONE:
            await self._result(event, message)
        elif status.state in _NOT_DONE:
            text = " ".join(part.text for part in message.parts) if message is not None else ""
            await self.close(_NOT_DONE[status.state], text or "it gave no reason")

    async def _result(self, event: Task | TaskStatusUpdateEvent | Message, message: Message | None) -> None:
        """Record what came of the work, and name the record in the event. What comes later belongs to nothing."""
        if self.closed:
            raise refused("the delegation was answered already", "tell the result last")
        request = self._context.message
        assert request is not None
        came = answer_digest(self._artifacts.values(), message)
        made = await in_thread(lambda: self._delegate.record(self._work, request_digest(request), came))
        self.closed = True
        party = self._delegate.party
        told = Attached(party.federation, self._work.delegation.id, party.addresses, made.id)
        event.metadata.update({URI: told.to_map()})

    def _merge(self, event: TaskArtifactUpdateEvent) -> None:
        """Keep artifacts as the task will have them in the end."""
        if self.closed:
            raise refused("the delegation was answered already", "tell the result last")
        new, kept = event.artifact, self._artifacts.get(event.artifact.artifact_id)
        if event.append and kept is not None:
            kept.parts.extend(new.parts)
        else:
            copied = Artifact()
            copied.CopyFrom(new)
            self._artifacts[new.artifact_id] = copied


async def _end(context: RequestContext, queue: EventQueue, state: TaskState, reason: str) -> None:
    """Tell that a task ended, and why."""
    if context.message is None:
        return
    if context.current_task is None:
        await queue.enqueue_event(new_task_from_user_message(context.message))
    text = new_text_message(
        reason[:_REASON], context_id=context.context_id, task_id=context.task_id, role=Role.ROLE_AGENT
    )
    status = TaskStatus(state=state, message=text)
    await queue.enqueue_event(
        TaskStatusUpdateEvent(task_id=context.task_id, context_id=context.context_id, status=status)
    )
