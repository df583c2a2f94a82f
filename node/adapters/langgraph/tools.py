"""A governed `ToolNode`: each call is judged before the tool runs; one that is refused comes back as an error."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.messages import ToolMessage
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from tslg.node.adapters.calling import Call, calling, content_of, evidence_of, facts_of, is_judged, told
from tslg.node.adapters.langgraph.messages import asked, note
from tslg.node.governing.errors import Rejected
from tslg.node.governing.functions import UNSTATED, GovernedStep
from tslg.node.governing.values import described

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate
    from tslg.protocol.record import Record

R = TypeVar("R")
Result = ToolMessage | Command[Any]
Execute = Callable[[ToolCallRequest], Result]
ExecuteAwaited = Callable[[ToolCallRequest], Awaitable[Result]]


def governed(node: ToolNode, gate: Gate) -> ToolNode:
    """Return a tool node like another, whose calls are judged; the gate stands inside of the node's own wrappers."""
    tools = _Tools(gate)
    outer, awaited = node._wrap_tool_call, node._awrap_tool_call
    made = copy.copy(node)
    # What a node runs are methods of its own, which a copy takes over from the original.
    made.func, made.afunc = made._func, made._afunc

    def wrap(request: ToolCallRequest, execute: Execute) -> Result:
        if outer is None:
            return tools.call(request, execute)
        return outer(request, lambda one: tools.call(one, execute))

    async def awrap(request: ToolCallRequest, execute: ExecuteAwaited) -> Result:
        if awaited is None:
            return await tools.call_awaited(request, execute)
        return await awaited(request, lambda one: tools.call_awaited(one, execute))

    made._wrap_tool_call = wrap
    # A node with a wrapper for calls that wait alone keeps to it, whichever way it is run.
    made._awrap_tool_call = awrap if awaited is not None or outer is None else None
    return made


class _Tools:
    """Judges and makes calls."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def call(self, request: ToolCallRequest, execute: Execute) -> Result:
        """Judge a call, make it, and record what came of it. Raises TslgError where it cannot be recorded."""
        id = request.tool_call["id"]
        if is_judged(self._gate, id):
            return execute(request)
        step = self._step(request)
        try:
            step.begin()
        except Rejected as refused:
            return _refusal(request, refused)
        try:
            with step.current(), calling(Call(self._gate, id, step.outcome.record)):
                result = execute(request)
        except BaseException as error:
            step.failed(error)
            raise
        made = step.finish(_came(result))
        return _noted(result, step, made)

    async def call_awaited(self, request: ToolCallRequest, execute: ExecuteAwaited) -> Result:
        """Do the same without holding up others."""
        id = request.tool_call["id"]
        if is_judged(self._gate, id):
            return await execute(request)
        step = self._step(request)
        try:
            await step.begin_awaited()
        except Rejected as refused:
            return _refusal(request, refused)
        try:
            with step.current(), calling(Call(self._gate, id, step.outcome.record)):
                result = await execute(request)
        except BaseException as error:
            step.failed(error)
            raise
        made = await step.finish_awaited(_came(result))
        return _noted(result, step, made)

    def _step(self, request: ToolCallRequest) -> GovernedStep:
        call, tool = request.tool_call, request.tool
        inputs = {"arguments": content_of(call["args"])}
        if tool is not None:
            definition = {"name": tool.name, "description": tool.description, "parameters": tool.args}
            inputs["tool"] = content_of(definition)
        notes = list(asked(call["id"], request.state))
        return self._gate.step(
            call["name"],
            inputs,
            model=next((str(one["model_name"])[:256] for one in notes if one.get("model_name")), UNSTATED),
            evidence=evidence_of(self._gate, notes) or None,
            facts=facts_of(call["args"]),
        )


def _refusal(request: ToolCallRequest, refused: Rejected) -> ToolMessage:
    call = request.tool_call
    message = ToolMessage(content=told(refused), name=call["name"], tool_call_id=call["id"], status="error")
    note(message, refused.step)
    return message


def _came(result: Any) -> Any:
    if isinstance(result, ToolMessage):
        return described({"content": result.content, "status": result.status})
    if isinstance(result, Command):
        return described({"update": result.update, "goto": result.goto})
    return described(result)


def _noted(result: R, step: GovernedStep, made: Record) -> R:
    if isinstance(result, ToolMessage):
        note(result, step.outcome.record, made)
    return result
