"""A governed toolset: each call is judged before the tool runs, and its result recorded before the model reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.tools import RunContext
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset

from tslg.node.adapters.calling import RECORD, RESULT, Call, calling, content_of, facts_of, is_judged, told
from tslg.node.governing.content import Content
from tslg.node.governing.errors import Rejected
from tslg.node.governing.functions import UNSTATED, GovernedStep
from tslg.node.governing.values import described
from tslg.protocol.cid import to_text
from tslg.protocol.record import Record

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate

_ANY: Final = TypeAdapter[Any](Any)


@dataclass
class Course:
    """What is known of one run of an agent.

    Attributes:
        record: the record of the last request to the model, None before the first.
        answer: the record of what the model answered to it.
        version: the exact model that gave it.
        calls: notes on the calls that it asked for, by their ids in the framework.
    """

    record: Record | None = None
    answer: Record | None = None
    version: str = UNSTATED
    calls: dict[str, dict[str, str]] = field(default_factory=dict)

    def note(self, id: str | None, record: Record, result: Record | None = None) -> None:
        """Take note of a call's records."""
        if id is not None:
            self.calls[id] = {RECORD: to_text(record.id)} | ({} if result is None else {RESULT: to_text(result.id)})


def govern(toolset: AbstractToolset[Any], gate: Gate) -> AbstractToolset[Any]:
    """Return a toolset each of whose calls is judged and recorded by a gate, before the tool runs.

    Args:
        toolset: any of pydantic-ai's, such as a `FunctionToolset` or that of an MCP server.
        gate: what judges and records. The intents are the tools' names, the facts their arguments.
    """
    return GovernedToolset(toolset, gate)


@dataclass
class GovernedToolset(WrapperToolset[Any]):
    """What `govern` returns; also what `Governed` puts around all of an agent's tools.

    Attributes:
        gate: what judges and records.
        course: the run whose calls these are.
    """

    gate: Gate
    course: Course = field(default_factory=Course)

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Judge a call, make it, and record what came of it.

        Raises:
            ToolFailed: it was not admitted; the model reads why, and may do something else.
            TslgError: it could not be recorded: the tool did not run, or its result is held back.
        """
        if is_judged(self.gate, ctx.tool_call_id):
            return await self.wrapped.call_tool(name, tool_args, ctx, tool)
        step = self._step(name, tool_args, ctx, tool)
        await begun(step, self.course, ctx.tool_call_id)
        call = Call(self.gate, ctx.tool_call_id, step.outcome.record)
        try:
            with step.current(), calling(call):
                result = await self.wrapped.call_tool(name, tool_args, ctx, tool)
        except BaseException as error:
            step.failed(error)
            raise
        made = await step.finish_awaited(jsonable(result))
        self.course.note(ctx.tool_call_id, step.outcome.record, made)
        return result

    def _step(self, name: str, args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]) -> GovernedStep:
        definition = tool.tool_def
        arguments = jsonable(args)
        inputs = {
            "arguments": content_of(arguments),
            "tool": content_of(
                {
                    "name": definition.name,
                    "description": definition.description,
                    "parameters": definition.parameters_json_schema,
                }
            ),
        }
        return self.gate.step(
            name,
            inputs,
            model=model_name(ctx),
            version=self.course.version,
            evidence=self.course.answer,
            facts=facts_of(arguments),
        )


async def begun(
    step: GovernedStep, course: Course, id: str | None, refusal: type[ToolFailed] | type[ModelRetry] = ToolFailed
) -> None:
    """Have a call judged. Raises `refusal` if it is not admitted, and all else that `Gate.submit` raises."""
    try:
        await step.begin_awaited()
    except Rejected as refused:
        course.note(id, refused.step)
        raise refusal(told(refused)) from refused


def model_name(ctx: RunContext[Any]) -> str:
    """Return the name of the model that a run is with."""
    return str(getattr(ctx.model, "model_name", "") or UNSTATED)[:256]


def jsonable(value: Any) -> Content:
    """Return a value as pydantic writes it as JSON; where it cannot, what stands for it."""
    try:
        written: Content = _ANY.dump_python(value, mode="json")
    except ValueError:
        return described(value)
    return written
