"""An agent of a framework as people use it: pydantic-ai's own instrumentation, its test model, and three lines."""

from __future__ import annotations

import traced
from pydantic_ai import Agent
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.test import TestModel
from traced import Traced, became, cited

from tslg.node.adapters.otel import LineageProcessor
from tslg.node.governing.gate import Gate
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify


def test_a_frameworks_agent_is_recorded_as_it_is(tmp_path):
    with Home.open(tmp_path / "node") as home:
        gate = Gate(home.agent("support"), traced.POLICY.replace(b"look-up-order", b"look_up"))
        made = Traced(LineageProcessor(gate, strict=True))
        settings = InstrumentationSettings(tracer_provider=made.provider)
        agent = Agent(TestModel(), name="support", capabilities=[Instrumentation(settings)])

        @agent.tool_plain
        def look_up(order: int) -> str:
            return f"order {order} is on its way"

        agent.run_sync("Where is it?")
        ask, answer = (
            became(home.store, span) for span in made.exporter.get_finished_spans() if span.name == "chat test"
        )
        tool, run = (became(home.store, made.spans[name]) for name in ("execute_tool look_up", "invoke_agent support"))
        assert tool.body["intent"] == "look_up" and tool.body["inputs"] and tool.body["output"]
        assert cited(tool, "evidence") == {ask.id} and tool.id in cited(answer, "evidence")
        assert run.kind == "composite" and {ask.id, tool.id, answer.id} < cited(run, "part")
        report = verify(StoreSource(home.store), run.id, home.federation, now_ms=home.clock())
        assert report.verdict == "valid"
