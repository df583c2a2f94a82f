"""An agent that is instrumented with OpenTelemetry by its conventions, the real SDK, and what became of its spans."""

import json
from contextlib import contextmanager

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tslg.protocol.cid import from_text
from tslg.protocol.opening import disclosed

POLICY = b"""
name = "support"
class = "internal"

[intents.chat]
[intents.invoke_agent]
[intents.hand-off]
[intents.look-up-order]
[intents.refund]

[[rules]]
name = "small refunds"
intents = ["refund"]
when.arguments.cents = { above = 10_000 }
reason = "more than 100 euros are for people to refund"
"""


class Traced:
    """A provider with an exporter, and with processors that are added before or after it."""

    def __init__(self, *processors, before=(), **options):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        for one in (*before, SimpleSpanProcessor(self.exporter), *processors):
            self.provider.add_span_processor(one)
        self.tracer = self.provider.get_tracer("test")

    @property
    def spans(self):
        """All spans that were exported, by name; of several with one name, the last."""
        return {span.name: span for span in self.exporter.get_finished_spans()}

    @contextmanager
    def run(self, agent, **more):
        """Run an agent."""
        attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent, **more}
        with self.tracer.start_as_current_span(f"invoke_agent {agent}", attributes=attributes) as span:
            yield span

    @contextmanager
    def chat(self, name="chat gpt", asks=(), content=True, **more):
        """Ask a model, which asks for tools by these call ids."""
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt", "gen_ai.provider.name": "openai"}
        with self.tracer.start_as_current_span(name, attributes={**attributes, **more}) as span:
            yield span
            span.set_attribute("gen_ai.response.model", "gpt-2026-10-01")
            span.set_attribute("gen_ai.usage.input_tokens", 12)
            span.set_attribute("gen_ai.usage.output_tokens", 7)
            if content:
                parts = [{"type": "tool_call", "id": id, "name": "look-up-order", "arguments": {}} for id in asks]
                answer = [{"role": "assistant", "parts": parts or [{"type": "text", "content": "Done."}]}]
                span.set_attribute("gen_ai.input.messages", json.dumps([{"role": "user", "parts": []}]))
                span.set_attribute("gen_ai.output.messages", json.dumps(answer))

    @contextmanager
    def tool(self, tool, call=None, arguments=None, result="{}"):
        """Call a tool."""
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
        if call is not None:
            attributes["gen_ai.tool.call.id"] = call
        if arguments is not None:
            attributes["gen_ai.tool.call.arguments"] = json.dumps(arguments)
        with self.tracer.start_as_current_span(f"execute_tool {tool}", attributes=attributes) as span:
            yield span
            if result is not None:
                span.set_attribute("gen_ai.tool.call.result", result)


def became(store, span, attribute="tslg.record"):
    """Return the record that a span names."""
    id = from_text(span.attributes[attribute])
    return disclosed(id, store.get(id))


def cited(record, cls):
    """Return the ids that a record cites under a class."""
    return {edge.cid for edge in record.preds.get(cls, ())}


def a_day_at_support(traced):
    """Run an agent that asks a model, looks an order up, refunds it twice, and has another agent write the answer."""
    with traced.run("support"):
        with traced.chat("ask", asks=["call-1"]):
            pass
        with traced.tool("look-up-order", "call-1", {"order": 17}):
            pass
        with traced.tool("refund", None, {"cents": 500}):
            pass
        with traced.tool("refund", "too much", {"cents": 50_000}):
            pass
        with traced.run("writer"), traced.chat("write"):
            pass
        with traced.chat("answer"):
            pass
