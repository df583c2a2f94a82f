"""A governed model: each request is judged before it is sent, and the answer recorded before the agent goes by it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, ModelResponsePart
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext

from tslg.node.adapters.calling import CHAT, content_of, evidence_of, handed_on
from tslg.node.adapters.pydantic_ai.toolset import Course, jsonable
from tslg.node.governing.functions import UNSTATED, GovernedStep
from tslg.protocol.fields import NAME

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate

CALLS: Final = "tslg/calls"
"""Under what name a request's metadata has the records of the calls whose results it hands to the model."""
_PARTS: Final = TypeAdapter[Any](list[ModelResponsePart])


class GovernedModel(WrapperModel):
    """A model whose requests are judged and recorded. The intent is `chat`."""

    def __init__(self, wrapped: Model, gate: Gate, course: Course, agent: str) -> None:
        super().__init__(wrapped)
        self._gate = gate
        self._course = course
        self._agent = agent

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Judge a request, send it, and record the answer. Raises Rejected, and all that `Gate.submit` raises."""
        step = self._step(messages, model_settings, model_request_parameters)
        await step.begin_awaited()
        try:
            response = await self.wrapped.request(messages, model_settings, model_request_parameters)
        except BaseException as error:
            step.failed(error)
            raise
        await self._answered(step, response)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Do the same with an answer that is read as it comes: what was read of it is recorded as it ends."""
        step = self._step(messages, model_settings, model_request_parameters)
        await step.begin_awaited()
        try:
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                yield stream
        except BaseException as error:
            step.failed(error)
            raise
        await self._answered(step, stream.get())

    def _step(
        self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> GovernedStep:
        tools = [*parameters.function_tools, *parameters.output_tools]
        offered = [
            {"name": one.name, "description": one.description, "parameters": one.parameters_json_schema}
            for one in tools
        ]
        inputs = {
            "messages": content_of(ModelMessagesTypeAdapter.dump_python(messages, mode="json")),
            "tools": content_of(offered),
            "settings": jsonable(dict(settings or {})),
        }
        name = self.wrapped.model_name
        facts = {
            "agent": self._agent,
            "model": name,
            "provider": self.wrapped.system,
            "messages": len(messages),
            "tools": [one.name for one in tools],
        }
        evidence = [*evidence_of(self._gate, _notes(messages)), *handed_on(self._gate)]
        return self._gate.step(
            CHAT, inputs, model=_short(name), version=self._course.version, evidence=evidence or None, facts=facts
        )

    async def _answered(self, step: GovernedStep, response: ModelResponse) -> None:
        self._course.version = _short(response.model_name)
        data = {"answered": self._course.version, "state": response.state}
        self._course.answer = await step.finish_awaited(_PARTS.dump_python(list(response.parts), mode="json"), **data)
        self._course.record = step.outcome.record
        self._course.calls.clear()


def _short(name: str | None) -> str:
    found = (name or "")[:256]
    return found if NAME.valid(found) else UNSTATED


def _notes(messages: Iterable[ModelMessage]) -> Iterator[Any]:
    """Yield the notes on what a request hands to the model since its last answer, that answer among them."""
    found: list[Any] = []
    for message in reversed(list(messages)):
        metadata = message.metadata or {}
        if isinstance(message, ModelResponse):
            found.append(metadata)
            break
        calls = metadata.get(CALLS)
        found.extend(calls.values() if isinstance(calls, dict) else ())
    yield from reversed(found)
