"""Callbacks that judge requests to models, and calls of tools that no tool node makes, before they happen."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from tslg.node.adapters.calling import CHAT, RECORD, content_of, evidence_of, facts_of, handed_on, is_judged
from tslg.node.adapters.langgraph.messages import note, notes, said
from tslg.node.governing.functions import UNSTATED, GovernedStep
from tslg.node.governing.values import described
from tslg.protocol.fields import NAME

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate
    from tslg.protocol.record import Record


_KEPT: Final = 1024
"""How many answers are remembered by their ids, for those that reach the graph in other messages."""
_begun: ContextVar[list[UUID] | None] = ContextVar("tslg_begun", default=None)


class GovernedCalls(BaseCallbackHandler):
    """A handler that stops what the gate does not admit: it raises, and LangChain lets it. Safe to use from threads."""

    raise_error = True

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._steps: dict[UUID, GovernedStep] = {}
        self._answers: OrderedDict[str, tuple[Record, Record]] = OrderedDict()
        self._lock = threading.Lock()

    def __eq__(self, other: object) -> bool:
        # A graph inside of another under the same gate has its calls judged once.
        return isinstance(other, GovernedCalls) and other._gate is self._gate

    def __hash__(self) -> int:
        return hash(id(self._gate))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record what was begun in the block and has no end as ended by what ends the block, such as a cancellation."""
        begun: list[UUID] = []
        token = _begun.set(begun)
        try:
            yield
        except BaseException as error:
            for run_id in begun:
                self._failed(run_id, error)
            raise
        finally:
            _begun.reset(token)

    def note_on(self, messages: Iterable[BaseMessage]) -> None:
        """Note on answers of which records they are, where they were put together from a stream."""
        for message in messages:
            with self._lock:
                found = self._answers.get(message.id or "")
            if found is not None and RECORD not in message.response_metadata:
                note(message, *found)

    # --- models ------------------------------------------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Judge a request before it is sent. Raises Rejected, and all that `Gate.submit` raises."""
        (sent,) = messages
        evidence = evidence_of(self._gate, notes(sent))
        content = content_of([one.model_dump(mode="json") for one in sent])
        self._ask(run_id, "messages", content, serialized, metadata, kwargs, evidence, {"messages": len(sent)})

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Do the same for a model of plain text."""
        self._ask(run_id, "prompts", content_of(prompts), serialized, metadata, kwargs, [], {})

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Record an answer before the graph goes by it, and note on it of which records it is."""
        step = self._steps.pop(run_id, None)
        if step is None:
            return
        answers = [getattr(one, "message", one.text) for many in response.generations for one in many]
        named = next((one.response_metadata.get("model_name") for one in answers if isinstance(one, BaseMessage)), None)
        output = [said(one) if isinstance(one, BaseMessage) else one for one in answers]
        made = step.finish(output, answered=_name(named))
        for one in answers:
            if isinstance(one, BaseMessage):
                note(one, step.outcome.record, made)
                self._remember(one.id, step.outcome.record, made)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Record that a request ended in an exception."""
        self._failed(run_id, error)

    # --- tools -------------------------------------------------------------------------------------------------------

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Judge a call that was not judged yet, before the tool runs. Raises Rejected."""
        if is_judged(self._gate, kwargs.get("tool_call_id")):
            return
        arguments = described(inputs if isinstance(inputs, dict) else {"input": input_str})
        step = self._gate.step(
            _name(serialized.get("name")),
            {"arguments": content_of(arguments)},
            facts=facts_of(arguments),
        )
        self._begin(run_id, step)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Record what a tool returned."""
        step = self._steps.pop(run_id, None)
        if step is not None:
            step.finish(described(output))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Record that a tool raised."""
        self._failed(run_id, error)

    # -----------------------------------------------------------------------------------------------------------------

    def _ask(
        self,
        run_id: UUID,
        what: str,
        content: Any,
        serialized: Mapping[str, Any] | None,
        metadata: Mapping[str, Any] | None,
        kwargs: Mapping[str, Any],
        evidence: list[Any],
        facts: dict[str, Any],
    ) -> None:
        settings = kwargs.get("invocation_params") or {}
        about = metadata or {}
        model = about.get("ls_model_name") or settings.get("model") or (serialized or {}).get("name")
        facts |= {"model": _name(model), "node": about.get("langgraph_node"), "provider": about.get("ls_provider")}
        evidence = [*evidence, *handed_on(self._gate)]
        inputs = {what: content, "settings": described(dict(settings))}
        step = self._gate.step(CHAT, inputs, model=_name(model), evidence=evidence or None, facts=facts)
        self._begin(run_id, step)

    def _begin(self, run_id: UUID, step: GovernedStep) -> None:
        step.begin()
        self._steps[run_id] = step
        begun = _begun.get()
        if begun is not None:
            begun.append(run_id)

    def _remember(self, id: str | None, record: Record, made: Record) -> None:
        if id is None:
            return
        with self._lock:
            self._answers[id] = record, made
            if len(self._answers) > _KEPT:
                self._answers.popitem(last=False)

    def _failed(self, run_id: UUID, error: BaseException) -> None:
        step = self._steps.pop(run_id, None)
        if step is not None:
            step.failed(error)


def _name(value: object) -> str:
    found = value[:256] if isinstance(value, str) else ""
    return found if NAME.valid(found) else UNSTATED
