"""An agent that is instrumented with OpenTelemetry: the real SDK, real exporters, and the records behind spans."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading

import pytest
import traced
from opentelemetry import trace
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, SpanLimits
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, TraceIdRatioBased
from traced import Traced, became, cited

from tslg.node.adapters.otel import LineageProcessor, RecordAll
from tslg.node.governing.gate import Gate
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.cid import to_text
from tslg.protocol.errors import StoreError, UsageError
from tslg.protocol.opening import disclosed

SECRET = "The customer's card is 4711 0815."


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with Home.open(tmp_path_factory.mktemp("otel") / "node") as opened:
        yield opened


@pytest.fixture
def gate(home, request):
    return Gate(home.agent(request.node.name[:200]), traced.POLICY)


def records(home, agent):
    return [disclosed(id, home.store.get(id)) for id, _ in home.store.log_range(agent.id, 0, 10_000)]


def seen(home, agent):
    return [one for one in records(home, agent) if one.kind not in ("genesis", "policy")]


@pytest.fixture(scope="module")
def day(home):
    """A day at support, recorded once for all tests that look at it."""
    gate = Gate(home.agent("support-bot"), traced.POLICY)
    made = Traced(LineageProcessor(gate, strict=True))
    traced.a_day_at_support(made)
    return made, gate


# --- ids in spans ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("SEE-1", "SEE-8")
def test_exported_spans_name_their_records(home, day):
    made, gate = day
    spans = made.exporter.get_finished_spans()
    assert len(spans) == 8
    for span in spans:
        record = became(home.store, span)
        assert record.owner == gate.agent.id
        observation = became(home.store, span, "tslg.observation")
        assert observation.body["data"]["span"] == span.context.span_id.to_bytes(8, "big")
        assert observation.body["data"]["trace"] == span.context.trace_id.to_bytes(16, "big")
        assert observation.body["data"].keys() >= {"operation", "intent", "digests"}
        assert span.attributes["tslg.agent"] == to_text(gate.agent.id)
    assert {span.attributes["tslg.verdict"] for span in spans} == {"admitted", "rejected", "composed"}


@pytest.mark.parametrize("multi", [None, ConcurrentMultiSpanProcessor])
def test_whatever_order_processors_are_added_in(home, multi):
    agent = home.agent(f"order {multi}")
    batched = InMemorySpanExporter()
    processors = {} if multi is None else {"active_span_processor": multi()}
    last = Traced(LineageProcessor(agent), before=[BatchSpanProcessor(batched)], **processors)
    with last.chat():
        pass
    last.provider.force_flush()
    for span in (*last.spans.values(), *batched.get_finished_spans()):
        assert became(home.store, span).kind == "observation" and span.attributes["tslg.verdict"] == "observed"
    last.provider.shutdown()


def test_a_span_that_ends_twice_is_recorded_once(home, gate):
    made = Traced(LineageProcessor(gate))
    with made.chat() as span:
        pass
    span.end()
    assert len(seen(home, gate.agent)) == 2 and len(made.exporter.get_finished_spans()) == 1


def test_recording_does_not_make_a_span_longer(gate):
    made = Traced(LineageProcessor(gate))
    span = made.tracer.start_span("chat", attributes={"gen_ai.operation.name": "chat"}, start_time=5_000)
    span.end(end_time=9_000)
    assert (made.spans["chat"].start_time, made.spans["chat"].end_time) == (5_000, 9_000)


def test_a_span_that_began_before_is_recorded_and_does_not_learn_it(home, gate):
    made = Traced()
    with made.chat():
        made.provider.add_span_processor(LineageProcessor(gate))
    assert [one.kind for one in seen(home, gate.agent)] == ["observation", "inference"]
    assert "tslg.record" not in made.spans["chat gpt"].attributes


# --- the lineage -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("SEE-6")
def test_steps_rest_on_what_they_follow_from(home, day):
    spans = day[0].spans
    ask, write, answer = (became(home.store, spans[name]) for name in ("ask", "write", "answer"))
    look_up, run = (
        became(home.store, spans["execute_tool look-up-order"]),
        became(home.store, spans["invoke_agent writer"]),
    )
    assert cited(ask, "evidence") == set()
    assert cited(look_up, "evidence") == {ask.id}
    assert {ask.id, look_up.id, run.id} <= cited(answer, "evidence")
    assert write.id not in cited(answer, "evidence")
    assert ask.body["model"] == look_up.body["model"] == "gpt" and ask.body["model_version"] == "gpt-2026-10-01"


@pytest.mark.spec("SEE-4")
def test_a_verdict_shows_that_it_came_after_the_fact(home, day):
    for span in day[0].exporter.get_finished_spans():
        record, observation = became(home.store, span), became(home.store, span, "tslg.observation")
        assert observation.body["source"] == "opentelemetry" and observation.seq < record.seq
        if record.kind != "composite":
            assert cited(record, "observes") == {observation.id}


@pytest.mark.spec("SEE-5")
def test_a_run_is_composed_of_what_was_admitted(home, day):
    made, _ = day
    outer, inner = (became(home.store, made.spans[f"invoke_agent {name}"]) for name in ("support", "writer"))
    assert outer.kind == inner.kind == "composite" and outer.body["rule"] == "invoke_agent"
    parts = {id: disclosed(id, home.store.get(id)) for id in cited(outer, "part")}
    assert inner.id in parts and "rejection" not in {one.kind for one in parts.values()}
    assert sorted(one.body["intent"] for one in parts.values()) == [
        *("chat", "chat", "invoke_agent", "invoke_agent", "look-up-order", "refund")
    ]
    observation = became(home.store, made.spans["invoke_agent support"], "tslg.observation")
    refused = became(home.store, made.spans["execute_tool refund"])
    assert refused.id in cited(observation, "evidence")


@pytest.mark.spec("SEE-8")
def test_what_the_policy_would_have_refused_is_on_record(home, day):
    refused = day[0].spans["execute_tool refund"]
    assert refused.attributes["tslg.verdict"] == "rejected"
    assert refused.attributes["tslg.stage"] == "rule:small refunds"
    assert refused.attributes["tslg.reason"] == "more than 100 euros are for people to refund"
    assert became(home.store, refused).kind == "rejection"


@pytest.mark.spec("SEE-1")
def test_a_hand_off_is_recorded_before_the_run_that_it_leads_to(home, day):
    made, gate = day
    (handed,) = [one for one in seen(home, gate.agent) if one.kind == "inference" and one.body["intent"] == "hand-off"]
    run = became(home.store, made.spans["invoke_agent writer"], "tslg.observation")
    assert handed.id in cited(run, "evidence")
    assert set(handed.body["inputs"]) == {"from", "to"}


def test_a_stranger_finds_the_whole_day_valid(home, day):
    made, _ = day
    target = became(home.store, made.spans["invoke_agent support"])
    report = verify(StoreSource(home.store), target.id, home.federation, now_ms=home.clock())
    assert report.verdict == "valid" and len(report.records) > 15


def test_links_are_evidence(home, gate):
    made = Traced(LineageProcessor(gate))
    with made.chat("first") as first:
        pass
    link = trace.Link(first.get_span_context())
    attributes = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "small"}
    with made.tracer.start_as_current_span("embed", links=[link], attributes=attributes):
        pass
    one, other = (became(home.store, made.spans[name]) for name in ("first", "embed"))
    assert one.id in cited(other, "evidence")


def test_several_steps_below_a_span_of_something_else_make_up_a_trace(home, gate):
    made = Traced(LineageProcessor(gate))
    with made.tracer.start_as_current_span("GET /"), made.tracer.start_as_current_span("handler"):
        with made.chat("one"):
            pass
        with made.chat("two"):
            pass
    whole = became(home.store, made.spans["GET /"])
    assert whole.kind == "composite" and whole.body["rule"] == "trace"
    assert cited(whole, "part") == {became(home.store, made.spans[name]).id for name in ("one", "two")}
    assert "tslg.record" not in made.spans["handler"].attributes


def test_a_run_of_more_steps_than_fit_a_record_is_put_together_in_between(home, gate):
    processor = LineageProcessor(gate, strict=True)
    processor._traces._most = 4
    made = Traced(processor)
    with made.run("busy"):
        for _ in range(11):
            with made.chat():
                pass
    found, chats, todo = set(), 0, [became(home.store, made.spans["invoke_agent busy"])]
    while todo:
        one = todo.pop()
        assert one.id not in found and len(one.preds.get("part", ())) <= 6
        found.add(one.id)
        chats += one.body["intent"] == "chat"
        todo += [disclosed(id, home.store.get(id)) for id in cited(one, "part")]
    assert chats == 11


def test_an_agent_alone_records_without_verdicts(home):
    agent = home.agent("only looks")
    made = Traced(LineageProcessor(agent))
    traced.a_day_at_support(made)
    assert {one.kind for one in seen(home, agent)} == {"observation"}
    assert {span.attributes["tslg.verdict"] for span in made.spans.values()} == {"observed"}


# --- content ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("SEE-2", "SEE-3")
def test_digests_are_recorded_and_nothing_that_was_said(home, gate):
    made = Traced(LineageProcessor(gate))
    with made.chat(content=False) as span:
        span.set_attribute("gen_ai.input.messages", SECRET)
        span.set_attribute("gen_ai.output.messages", SECRET[::-1])
        span.record_exception(ValueError(SECRET))
        span.set_status(trace.Status(trace.StatusCode.ERROR, SECRET))
    record = became(home.store, made.spans["chat gpt"])
    assert record.body["inputs"] == {"gen_ai.input.messages": hashlib.sha256(SECRET.encode()).digest()}
    assert record.body["output"] == hashlib.sha256(SECRET[::-1].encode()).digest()
    assert became(home.store, made.spans["chat gpt"], "tslg.observation").body["data"]["error"] == "ValueError"
    assert not any(b"4711" in one.data for one in records(home, gate.agent))


@pytest.mark.spec("SEE-2")
def test_where_content_is_not_captured_the_record_says_so(home, gate):
    made = Traced(LineageProcessor(gate))
    with made.chat(content=False):
        pass
    record = became(home.store, made.spans["chat gpt"])
    observation = became(home.store, made.spans["chat gpt"], "tslg.observation")
    assert record.body["inputs"] == {} and "output" not in record.body
    assert observation.body["data"]["digests"] == {}
    assert observation.body["data"]["usage"] == {"input": 12, "output": 7}


@pytest.mark.spec("SEE-2")
def test_what_the_sdk_dropped_or_cut_off_is_told(home, gate):
    limits = SpanLimits(max_span_attributes=20, max_span_attribute_length=80, max_events=1)
    made = Traced(LineageProcessor(gate), span_limits=limits)
    with made.chat(content=False) as span:
        for number in range(20):
            span.set_attribute(f"app.{number}", number)
        span.set_attribute("gen_ai.operation.name", "chat")
        span.set_attribute("gen_ai.input.messages", "x" * 200)
        span.add_event("one")
        span.add_event("two")
    data = became(home.store, made.spans["chat gpt"], "tslg.observation").body["data"]
    assert data["cut"] == ["gen_ai.input.messages"]
    assert data["dropped"]["events"] == 1 and data["dropped"]["attributes"] >= 1


# --- when it goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.spec("SEE-8")
def test_a_store_that_fails_does_not_stop_the_program_and_is_told(tmp_path, caplog):
    with Home.open(tmp_path / "node") as home:
        processor = LineageProcessor(home.agent("unlucky"))
    made = Traced(processor)
    for number in range(5):
        with made.chat(f"chat {number}"):
            pass
    assert len(made.spans) == 5 and processor.counts == {"failed": 5}
    assert all(span.attributes["tslg.error"] for span in made.spans.values())
    assert not any("tslg.record" in span.attributes for span in made.spans.values())
    told = [entry.message for entry in caplog.records if entry.name == "tslg.otel"]
    assert len(told) == 3 and "unlucky" in told[0]


def test_strict_raises_after_the_span_has_ended(home, gate, monkeypatch):
    def full(*_, **__):
        raise StoreError("no space left", code="TSLG-D-FULL")

    made = Traced(LineageProcessor(gate, strict=True))
    monkeypatch.setattr(gate.agent, "observe", full)
    with pytest.raises(StoreError), made.chat():
        pass
    assert made.spans["chat gpt"].attributes["tslg.error"] == "TSLG-D-FULL"


def test_steps_of_a_run_that_could_not_be_recorded_count_for_the_run_above(home, gate, monkeypatch):
    made = Traced(LineageProcessor(gate))
    with made.run("outer"):
        with made.run("inner"):
            with made.chat("inside"):
                pass
            monkeypatch.setattr(gate, "submit", lambda candidate: 1 / 0)
        monkeypatch.undo()
    assert made.spans["invoke_agent inner"].attributes["tslg.error"] == "ZeroDivisionError"
    outer = became(home.store, made.spans["invoke_agent outer"])
    assert became(home.store, made.spans["inside"]).id in cited(outer, "part")


def test_what_a_span_claims_of_its_record_is_written_over(home, gate):
    made = Traced(LineageProcessor(gate))
    forged = ("tslg.record", "tslg.verdict", "tslg.observation", "tslg.reason", "tslg.error")
    with made.chat(**dict.fromkeys(forged, "forged")):
        pass
    assert became(home.store, made.spans["chat gpt"]).kind == "inference"
    with made.tracer.start_as_current_span("no step", attributes=dict.fromkeys(forged, "forged")):
        pass
    for span in made.spans.values():
        assert "forged" not in span.attributes.values()


# --- sampling, threads, tasks, processes, ends -----------------------------------------------------------------------


def test_spans_that_are_dropped_leave_no_record_unless_all_are_recorded(home, gate):
    dropped = Traced(LineageProcessor(gate), sampler=ALWAYS_OFF)
    with dropped.chat():
        pass
    assert seen(home, gate.agent) == [] and dropped.spans == {}
    recorded = Traced(LineageProcessor(gate), sampler=RecordAll(TraceIdRatioBased(0.0)))
    with recorded.chat():
        pass
    assert len(seen(home, gate.agent)) == 2 and recorded.spans == {}


@pytest.mark.spec("SEE-7")
def test_threads(home, gate):
    processor = LineageProcessor(gate, strict=True)
    made = Traced(processor)

    def work(name):
        with made.run(name):
            for _ in range(2):
                with made.chat(f"{name} chat"):
                    pass

    workers = [threading.Thread(target=work, args=(f"worker {number}",)) for number in range(4)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert processor.counts == {"admitted": 8, "composed": 4}
    for number in range(4):
        run = became(home.store, made.spans[f"invoke_agent worker {number}"])
        assert len(cited(run, "part")) == 3


def test_tasks(home, gate):
    made = Traced(LineageProcessor(gate, strict=True))

    async def call(number):
        with made.tool("look-up-order", f"call-{number}"):
            await asyncio.sleep(0)

    async def agent():
        with made.run("concurrent"):
            with made.chat("ask", asks=["call-0", "call-1", "call-2"]):
                await asyncio.sleep(0)
            await asyncio.gather(*map(call, range(3)))
            with made.chat("answer"):
                await asyncio.sleep(0)

    asyncio.run(agent())
    ask, answer = became(home.store, made.spans["ask"]), became(home.store, made.spans["answer"])
    spans = [one for one in made.exporter.get_finished_spans() if one.name == "execute_tool look-up-order"]
    tools = [became(home.store, span) for span in spans]
    assert [cited(one, "evidence") for one in tools] == [{ask.id}] * 3
    assert cited(answer, "evidence") == {ask.id, *(one.id for one in tools)}


def test_a_forked_process_writes_nothing_and_says_so(home, gate):
    made = Traced(LineageProcessor(gate))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with made.chat():
                pass
            os.write(writer, made.spans["chat gpt"].attributes["tslg.error"].encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"TSLG-U-PROCESS"
    os.close(reader)
    assert seen(home, gate.agent) == []
    with made.chat():
        pass
    assert len(seen(home, gate.agent)) == 2


def test_nothing_is_recorded_after_shutdown_and_the_gate_stays_open(home, gate, caplog):
    made = Traced(LineageProcessor(gate))
    under_way = made.tracer.start_span("chat", attributes={"gen_ai.operation.name": "chat"})
    assert made.provider.force_flush()
    made.provider.shutdown()
    assert "1 spans had not ended" in caplog.text
    under_way.end()
    with made.chat():
        pass
    assert seen(home, gate.agent) == []
    assert gate.agent.act("still works").seq > 0


def test_force_flush_waits_for_what_is_being_recorded(gate, monkeypatch):
    processor = LineageProcessor(gate)
    made = Traced(processor)
    holding, held = threading.Event(), threading.Event()
    submit = gate.submit

    def slow(candidate):
        held.set()
        holding.wait(10)
        return submit(candidate)

    monkeypatch.setattr(gate, "submit", slow)

    def work():
        with made.chat():
            pass

    worker = threading.Thread(target=work)
    worker.start()
    held.wait(10)
    assert not processor.force_flush(1)
    holding.set()
    assert processor.force_flush()
    worker.join()


def test_spans_that_never_end_are_forgotten_after_a_while(home, gate):
    processor = LineageProcessor(gate)
    from dataclasses import replace

    processor._traces._limits = replace(processor._traces._limits, spans_open=3)
    made = Traced(processor)
    leaked = [made.tracer.start_span(f"leaked {number}") for number in range(5)]
    assert processor._traces.under_way == 3 and processor._traces.forgotten == 2
    with trace.use_span(leaked[0]), made.chat():
        pass
    assert became(home.store, made.spans["chat gpt"]).kind == "inference"


def test_only_a_gate_or_an_agent_records():
    with pytest.raises(UsageError, match="a gate or an agent"):
        LineageProcessor("support-bot")


def test_without_the_extra_one_line_says_what_to_install():
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from tslg.protocol.errors import UsageError\n"
        "try:\n    from tslg.node.adapters.otel import LineageProcessor\n"
        "except UsageError as error:\n    print(error)\n"
        "from tslg.node.adapters.otel.importing import import_spans\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.strip().endswith("(pip install 'tslg[otel]')")
