"""The relay between an MCP client and its server: everything goes through as it came, but for calls of tools.

A call is judged and recorded before the server hears of it. What is refused is answered here, as a tool's result that
the model reads, and goes no further. What came of a call that went on is recorded before the client hears of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import trio

from tslg.node.adapters.mcp import messages
from tslg.node.adapters.mcp.channels import Channel
from tslg.node.adapters.mcp.judging import Judge, ids, refusal
from tslg.node.adapters.mcp.messages import Id, Malformed, Message
from tslg.protocol.errors import TslgError
from tslg.protocol.limits import DEFAULT, Limits

if TYPE_CHECKING:
    from tslg.node.governing.outcome import Outcome

_log = logging.getLogger(__name__)
R = TypeVar("R")

_TASK_RESULT: Final = "tasks/result"
_GONE: Final = "the MCP server ended before it answered"


class Upstream(Channel, Protocol):
    """The server's side of a conversation."""

    async def finish(self) -> None:
        """Have the server end, by force if it does not; `receive` returns None soon."""


@dataclass(eq=False, slots=True)
class Pending:
    """A request of the client's that has no answer yet.

    Attributes:
        method: what was asked for.
        outcome: of a call, once it was judged.
        forwarded: whether the server has it.
        cancelled: whether the client no longer wants it.
        answer: what the server said, for what is recorded.
        answered: set when there is an answer, or none will come.
    """

    method: str
    outcome: Outcome | None = None
    forwarded: bool = False
    cancelled: bool = False
    answer: Message | None = None
    answered: trio.Event = field(default_factory=trio.Event)

    @property
    def recorded(self) -> bool:
        """Tell whether its answer is recorded before it goes on."""
        return self.method == messages.CALL or self.outcome is not None


class Relay:
    """One client's conversation with one server.

    Args:
        client, server: the two sides.
        judge: what judges calls, and records them and what comes of them.
        limits: `mcp_pending`, `mcp_judging` and `mcp_call_ms`.
    """

    def __init__(self, client: Channel, server: Upstream, judge: Judge, limits: Limits = DEFAULT) -> None:
        self._client = client
        self._server = server
        self._judge = judge
        self._limits = limits
        self._pending: dict[Id, Pending] = {}
        self._tasks: dict[str, Outcome] = {}
        self._judging = trio.Semaphore(limits.mcp_judging)
        self._recording = trio.Semaphore(limits.mcp_judging)
        self._ending = trio.Event()
        self._listening = trio.CancelScope()
        self._left = False
        self._warned: set[str] = set()
        self._server_gone = False

    def leave(self) -> None:
        """End the conversation as if the client had."""
        self._left = True
        self._ending.set()

    async def run(self) -> bool:
        """Relay until either side is gone and what was under way is recorded; tell whether the client left first."""
        async with trio.open_nursery() as calls:
            async with trio.open_nursery() as sides:
                sides.start_soon(self._from_client, calls)
                sides.start_soon(self._end_server)
                await self._from_server()
                left, self._server_gone = self._left, True
                self._listening.cancel()
                self._ending.set()
            for id, pending in list(self._pending.items()):
                if pending.recorded:
                    pending.answered.set()
                else:
                    await self._tell(messages.error(id, messages.CLOSED, _GONE))
        return left

    # --- from the client --------------------------------------------------------------------------------------------

    async def _from_client(self, calls: trio.Nursery) -> None:
        while (message := await self._heard()) is not None:
            if isinstance(message, Malformed):
                await self._tell(messages.error(message.id, message.code, f"Not a message: {message.reason}"))
            elif "method" in message and "id" in message:
                await self._request(message, calls)
            elif message.get("method") == messages.CALL or messages.is_nearly_call(message.get("method", "")):
                self._warn("a call that wants no answer was not forwarded: it could not be refused")
            elif message.get("method") == messages.CANCELLED:
                await self._cancelled(message)
            else:
                await self._forward(message)

    async def _heard(self) -> Message | Malformed | None:
        """Return what the client sends next, None where either side is gone: writing is never broken off."""
        if self._server_gone:
            return None
        with trio.CancelScope() as self._listening:
            message = await self._client.receive()
            if message is None:
                self.leave()
            return message
        return None

    async def _end_server(self) -> None:
        await self._ending.wait()
        await self._server.finish()

    async def _request(self, message: Message, calls: trio.Nursery) -> None:
        id, method = message["id"], message["method"]
        if id in self._pending:
            await self._tell(
                messages.error(None, messages.INVALID_REQUEST, "the id of a request that waits was used again")
            )
        elif len(self._pending) >= self._limits.mcp_pending:
            await self._tell(messages.error(id, messages.CLOSED, f"{len(self._pending)} requests wait already"))
        elif messages.is_nearly_call(method):
            await self._tell(messages.error(id, messages.INVALID_REQUEST, f"Not called: the method is {messages.CALL}"))
        elif method == messages.CALL:
            await self._call_request(message, calls)
        else:
            pending = self._pending[id] = Pending(method, self._task_of(message), forwarded=True)
            if pending.recorded:
                calls.start_soon(self._task_result, id, pending)
            await self._forward(message)

    async def _call_request(self, message: Message, calls: trio.Nursery) -> None:
        params = message.get("params")
        name = messages.parameters(message).get("name")
        wrong = messages.wrong_with_call(params, self._judge.declared(name))
        if wrong is not None:
            await self._tell(messages.error(message["id"], messages.INVALID_PARAMS, f"Not called: {wrong}"))
            return
        pending = self._pending[message["id"]] = Pending(messages.CALL)
        await self._judging.acquire()
        calls.start_soon(self._call, message, pending)

    async def _cancelled(self, message: Message) -> None:
        """Hand on that a request is no longer wanted, unless the server has not heard of that request either."""
        id = messages.parameters(message).get("requestId")
        pending = self._pending.pop(id, None) if messages.is_id(id) else None
        if pending is None or pending.forwarded:
            await self._forward(message)
        if pending is not None:
            pending.cancelled = True
            pending.answered.set()

    async def _forward(self, message: Message) -> None:
        """Hand a message to the server; where it is gone, whoever reads from it says so."""
        try:
            await self._server.send(message)
        except trio.BrokenResourceError:
            self._ending.set()

    def _warn(self, text: str) -> None:
        """Log what a side did wrong, once: it can do so as often as it likes."""
        if text not in self._warned:
            self._warned.add(text)
            _log.warning("%s; said once", text)

    # --- calls ------------------------------------------------------------------------------------------------------

    async def _call(self, message: Message, pending: Pending) -> None:
        """Judge a call, record it, and hand it on if it was admitted; then wait for what comes of it."""
        id = message["id"]
        try:
            judged = await self._try(partial(self._judge.judge, message["params"]), "it could not be recorded")
        finally:
            self._judging.release()
        if isinstance(judged, str):
            await self._respond(id, pending, messages.answer(id, messages.tool_error(f"Not called: {judged}", {})))
            return
        if judged.verdict != "admitted":
            await self._respond(id, pending, messages.answer(id, refusal(judged)))
            return
        pending.outcome = judged
        with trio.move_on_after(self._limits.mcp_call_ms / 1000):
            if not (pending.cancelled or self._ending.is_set()):
                pending.forwarded = True
                await self._forward(message)
                del message
                await pending.answered.wait()
        await self._complete(id, pending)

    async def _task_result(self, id: Id, pending: Pending) -> None:
        """Wait for the result of a task, as long as its client does."""
        await pending.answered.wait()
        await self._complete(id, pending)

    async def _complete(self, id: Id, pending: Pending) -> None:
        """Record what came of a call, and hand it on."""
        answer, outcome = pending.answer, pending.outcome
        assert outcome is not None
        if answer is None:
            await self._unanswered(id, pending, outcome)
            return
        try:
            result, error = answer.get("result"), answer.get("error")
            came = result if isinstance(result, dict) else {"error": error} if "error" in answer else {"result": result}
            made = await self._try(lambda: self._judge.finish(outcome, came), "its result could not be recorded")
            if isinstance(made, str):
                text = f"Called, but {made}: the result is not handed on"
                answer = messages.answer(id, messages.tool_error(text, ids(outcome)))
            elif isinstance(result, dict):
                self._keep_task(result, outcome)
                answer = {**answer, "result": messages.marked(result, ids(outcome, made))}
            elif isinstance(error, dict) and isinstance(error.get("data", {}), dict):
                answer = {**answer, "error": {**error, "data": {**error.get("data", {}), **ids(outcome, made)}}}
            await self._respond(id, pending, answer)
        finally:
            self._recording.release()

    async def _unanswered(self, id: Id, pending: Pending, outcome: Outcome) -> None:
        """Record that nothing came of a call, and say so."""
        if self._pending.get(id) is pending:
            del self._pending[id]
        late = False
        if pending.cancelled:
            reason = "its caller cancelled it"
        elif self._ending.is_set():
            reason = _GONE
        else:
            reason, late = f"no answer came within {self._limits.mcp_call_ms} ms", True
        made = await self._try(
            lambda: self._judge.finish(outcome, {"unanswered": reason, "forwarded": pending.forwarded}),
            "that could not be recorded",
        )
        text = f"{'Called' if pending.forwarded else 'Not called'}: {reason}"
        if isinstance(made, str):
            answer = messages.tool_error(f"{text}; {made}", ids(outcome))
        else:
            answer = messages.tool_error(text, ids(outcome, made))
        await self._respond(id, pending, messages.answer(id, answer))
        if late:
            params = {"requestId": id, "reason": reason}
            await self._forward({"jsonrpc": "2.0", "method": messages.CANCELLED, "params": params})

    async def _try(self, work: Callable[[], R], failed: str) -> R | str:
        """Do what waits for the disk in a thread; return why it failed, without a word of what it was about."""
        try:
            return await trio.to_thread.run_sync(work)
        except TslgError as error:
            _log.error("%s: %s", failed, error.code)
            return f"{failed} ({error})"
        except Exception as error:
            _log.error("%s: %s", failed, type(error).__name__)
            return f"{failed} ({type(error).__name__})"

    def _keep_task(self, result: Mapping[str, Any], outcome: Outcome) -> None:
        """Remember for which call a server opened a task, so that the task's result is recorded as the call's."""
        task = result.get("task")
        name = task.get("taskId") if isinstance(task, dict) else None
        if isinstance(name, str):
            self._tasks[name] = outcome
            while len(self._tasks) > self._limits.mcp_pending:
                del self._tasks[next(iter(self._tasks))]

    def _task_of(self, message: Message) -> Outcome | None:
        name = messages.parameters(message).get("taskId") if message["method"] == _TASK_RESULT else None
        return self._tasks.get(name) if isinstance(name, str) else None

    async def _respond(self, id: Id, pending: Pending, answer: Message) -> None:
        """Answer a request, unless its client no longer wants to know."""
        if self._pending.get(id) is pending:
            del self._pending[id]
        if not pending.cancelled:
            await self._tell(answer)

    async def _tell(self, message: Message) -> None:
        try:
            await self._client.send(message)
        except trio.BrokenResourceError:
            self.leave()

    # --- from the server --------------------------------------------------------------------------------------------

    async def _from_server(self) -> None:
        while (message := await self._server.receive()) is not None:
            if isinstance(message, Malformed):
                self._warn(f"what the server sent is not a message: {message.reason}")
                if message.id is None:
                    continue
                text = f"the server's answer cannot be read: {message.reason}"
                message = messages.error(message.id, messages.PARSE_ERROR, text)
            if "method" in message or message.get("id") is None:
                await self._tell(message)
            else:
                await self._answer(message)

    async def _answer(self, message: Message) -> None:
        """Hand the server's answer to who waits for it; what nobody asked for goes no further."""
        pending = self._pending.get(message["id"])
        if pending is None or not pending.forwarded:
            self._warn("the server answered what it was not asked")
            return
        self._look_at(pending.method, message.get("result"))
        if not pending.recorded:
            del self._pending[message["id"]]
            await self._tell(messages.disowned(message))
            return
        await self._recording.acquire()
        if self._pending.get(message["id"]) is not pending:
            self._recording.release()
            return
        del self._pending[message["id"]]
        pending.answer = message
        pending.answered.set()

    def _look_at(self, method: str, result: object) -> None:
        """Take note of what an answer tells of the server and its tools."""
        if not isinstance(result, dict):
            return
        meta = result.get("_meta")
        if isinstance(meta, dict):
            self._judge.introduce(meta.get(messages.SERVER_INFO))
        self._judge.introduce(result.get("serverInfo"))
        if method == messages.LIST:
            self._judge.learn(result.get("tools"))
