"""A capability for pydantic-ai: whatever an agent asks of a model and whichever tool it calls passes a gate first."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering, WrapOutputProcessHandler
from pydantic_ai.exceptions import ModelRetry
from pydantic_ai.messages import ModelRequest, ModelResponse
from pydantic_ai.models import Model, ModelRequestContext
from pydantic_ai.output import OutputContext
from pydantic_ai.tools import RunContext
from pydantic_ai.toolsets import AbstractToolset

from tslg.node.adapters.calling import RECORD, content_of, facts_of
from tslg.node.adapters.pydantic_ai.model import CALLS, GovernedModel
from tslg.node.adapters.pydantic_ai.toolset import Course, GovernedToolset, begun, jsonable, model_name
from tslg.protocol.cid import to_text

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate


class Governed(AbstractCapability[Any]):
    """Governs an agent: `Agent(…, capabilities=[Governed(gate)])`, or the same for one run.

    Requests to the model have the intent `chat`; calls of tools, and of functions that make the run's output, have
    the tools' names. It is the innermost capability: what is judged is what the model and the tools get.

    Args:
        gate: what judges and records.
    """

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate
        self._course = Course()
        self._agent = "agent"

    def get_ordering(self) -> CapabilityOrdering:
        """Stand inside of all other capabilities."""
        return CapabilityOrdering(position="innermost")

    async def for_run(self, ctx: RunContext[Any]) -> Governed:
        """Return a copy that knows what happens in one run."""
        own = copy.copy(self)
        own._course = Course()
        own._agent = (ctx.agent.name if ctx.agent is not None else None) or "agent"
        return own

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        """Put all of the agent's tools behind the gate, also those of a single run."""
        return GovernedToolset(toolset, self.gate, self._course)

    def get_wrapper_model(self, model: Model) -> Model:
        """Put the model behind the gate, whichever it is in an attempt."""
        return GovernedModel(model, self.gate, self._course, self._agent)

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Note on a request of which records the results are that it hands to the model."""
        for message in (ctx.messages[-1:], request_context.messages[-1:]):
            if self._course.calls and message and isinstance(message[0], ModelRequest):
                message[0].metadata = {**(message[0].metadata or {}), CALLS: dict(self._course.calls)}
        return request_context

    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Note on an answer of which record it is."""
        if self._course.record is not None:
            response.metadata = {**(response.metadata or {}), RECORD: to_text(self._course.record.id)}
        return response

    async def wrap_output_process(
        self, ctx: RunContext[Any], *, output_context: OutputContext, output: Any, handler: WrapOutputProcessHandler
    ) -> Any:
        """Judge a function that makes the run's output from what the model said, before it runs."""
        if not output_context.has_function or ctx.partial_output:
            return await handler(output)
        call = output_context.tool_call
        name = call.tool_name if call is not None else output_context.function_name or "final_result"
        arguments = jsonable(output)
        step = self.gate.step(
            name,
            {"arguments": content_of(arguments)},
            model=model_name(ctx),
            version=self._course.version,
            evidence=self._course.answer,
            facts=facts_of(arguments if isinstance(arguments, dict) else {"output": arguments}),
        )
        # An output that is refused leaves the run without one: the model is asked for another.
        await begun(step, self._course, None if call is None else call.tool_call_id, ModelRetry)
        try:
            with step.current():
                result = await handler(output)
        except BaseException as error:
            step.failed(error)
            raise
        await step.finish_awaited(jsonable(result))
        return result
