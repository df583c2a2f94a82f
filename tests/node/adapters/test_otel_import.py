"""Files of traces as the collector writes them: read with every fault in its place, and imported once."""

from __future__ import annotations

import io
import json
import random

import otlp
import pytest
import traced
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.node.adapters.otel import LineageProcessor
from tslg.node.adapters.otel.importing import import_spans
from tslg.node.adapters.otel.otlp import read_spans
from tslg.node.governing.gate import Gate
from tslg.node.home import Home
from tslg.protocol.errors import AdapterError, StoreError
from tslg.protocol.limits import Limits
from tslg.protocol.opening import disclosed

TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
OPERATION = {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}
FLAG = {"key": "b", "value": {"boolValue": True}}
EXAMPLE = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "support"}}]},
            "scopeSpans": [
                {
                    "scope": {"name": "an.instrumentation", "version": "1.0.0"},
                    "spans": [
                        {
                            "traceId": TRACE.upper(),
                            "spanId": SPAN,
                            "parentSpanId": "eee19b7ec3c1b173",
                            "name": "chat gpt",
                            "startTimeUnixNano": "1544712660000000000",
                            "endTimeUnixNano": 1544712661000000000,
                            "kind": 3,
                            "status": {"code": 2, "message": "overloaded"},
                            "droppedAttributesCount": 2,
                            "attributes": [
                                OPERATION,
                                {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "12"}},
                                {"key": "a", "value": {"arrayValue": {"values": [{"doubleValue": 1.5}, {}]}}},
                                {"key": "m", "value": {"kvlistValue": {"values": [FLAG]}}},
                            ],
                            "links": [{"traceId": TRACE, "spanId": "eee19b7ec3c1b175"}],
                            "unknownField": {"is": "left alone"},
                        }
                    ],
                }
            ],
        }
    ]
}


def read(*lines, **how):
    data = b"".join(json.dumps(one).encode() + b"\n" if isinstance(one, dict | list) else one for one in lines)
    return list(read_spans(io.BytesIO(data), "traces.jsonl", **how))


def changed(**fields):
    whole = json.loads(json.dumps(EXAMPLE))
    whole["resourceSpans"][0]["scopeSpans"][0]["spans"][0] |= fields
    return whole


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with Home.open(tmp_path_factory.mktemp("import") / "node") as opened:
        yield opened


@pytest.fixture
def agent(home, request):
    return home.agent(request.node.name[:200])


@pytest.fixture(scope="module")
def day():
    """The spans of a day at support, with a request around it."""
    made = traced.Traced()
    with made.tracer.start_as_current_span("POST /chat"):
        traced.a_day_at_support(made)
    return made.exporter.get_finished_spans()


def log(home, agent):
    return [disclosed(id, home.store.get(id)) for id, _ in home.store.log_range(agent.id, 0, 10_000)]


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_line_as_the_specification_shows_it():
    (span,) = read(EXAMPLE)
    assert (span.key.trace.hex(), span.key.id.hex(), span.parent.id.hex()) == (TRACE, SPAN, "eee19b7ec3c1b173")
    assert (span.start_ns, span.end_ns) == (1544712660000000000, 1544712661000000000)
    assert span.attributes["gen_ai.usage.input_tokens"] == 12
    assert (span.attributes["a"], span.attributes["m"]) == ([1.5, None], {"b": True})
    assert (span.error, span.status, span.service, span.scope) == (True, "overloaded", "support", "an.instrumentation")
    assert span.dropped == {"attributes": 2} and span.links[0].key.id.hex() == "eee19b7ec3c1b175"


@pytest.mark.parametrize("number", ["9223372036854775807", "-9223372036854775808", 12, None])
def test_every_integer_of_64_bits_is_read_as_it_is(number):
    (span,) = read(changed(attributes=[OPERATION, {"key": "n", "value": {"intValue": number}}]))
    assert span.attributes["n"] == (None if number is None else int(number))


def test_what_other_spans_say_is_not_kept():
    said = [{"key": "http.request.body", "value": {"stringValue": "secret"}}]
    (span,) = read(changed(attributes=said, events=[{"name": "x", "attributes": said}]))
    assert (span.attributes, span.events) == ({}, ())


def test_metrics_logs_and_empty_lines_are_passed_over():
    assert read({"resourceMetrics": [{}]}, {"resourceLogs": []}, b"\n", b"  \n", {}) == []


@pytest.mark.parametrize(
    ("line", "code", "detail"),
    [
        (b"{\n", "TSLG-I-JSON", "no JSON"),
        (b'{"a": NaN}\n', "TSLG-I-JSON", "NaN"),
        (b"\xff\n", "TSLG-I-TEXT", "UTF-8"),
        (b"[" * 100_000 + b"\n", "TSLG-I-SIZE", "nested"),
        ([], "TSLG-I-SHAPE", "no object"),
        ({"resourceSpans": {}}, "TSLG-I-SHAPE", "`resourceSpans`"),
        ({"resourceSpans": [1]}, "TSLG-I-SHAPE", "`resourceSpans`"),
        (changed(traceId="00" * 16), "TSLG-I-SHAPE", "`traceId`"),
        (changed(traceId=None), "TSLG-I-SHAPE", "`traceId`"),
        (changed(spanId="zz" * 8), "TSLG-I-SHAPE", "`spanId`"),
        (changed(parentSpanId="11"), "TSLG-I-SHAPE", "`parentSpanId`"),
        (changed(startTimeUnixNano="-1"), "TSLG-I-SHAPE", "`startTimeUnixNano`"),
        (changed(endTimeUnixNano="9" * 30), "TSLG-I-SHAPE", "`endTimeUnixNano`"),
        (changed(endTimeUnixNano=1.5), "TSLG-I-SHAPE", "`endTimeUnixNano`"),
        (changed(status=[]), "TSLG-I-SHAPE", "`status`"),
        *(
            (changed(attributes=[{"key": "n", "value": {"intValue": number}}]), "TSLG-I-SHAPE", "`intValue`")
            for number in ("many", "9" * 21, "1" + "0" * 30, "9223372036854775808", 2**63, "1_0", " 1", 1.5, True)
        ),
        (changed(links=[{}]), "TSLG-I-SHAPE", "`traceId`"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(line, code, detail):
    with pytest.raises(AdapterError, match=detail) as wrong:
        read(EXAMPLE, line)
    assert wrong.value.code == code and wrong.value.detail.startswith("traces.jsonl:2: ")


def test_limits():
    with pytest.raises(AdapterError, match="in a line"):
        read(EXAMPLE, limits=Limits(span_line_bytes=100))
    with pytest.raises(AdapterError, match="more than 999 values in a line"):
        read(EXAMPLE, b"[" + b"[]," * 1_000 + b"[]]\n", limits=Limits(span_line_values=999))
    with pytest.raises(AdapterError, match="more than 1000 bytes"):
        read(EXAMPLE, EXAMPLE, limits=Limits(span_file_bytes=1000))
    deep = {"stringValue": "x"}
    for _ in range(100):
        deep = {"arrayValue": {"values": [deep]}}
    with pytest.raises(AdapterError, match="nested"):
        read(changed(attributes=[{"key": "gen_ai.operation.name", "value": deep}]))


@settings(max_examples=20, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["resourceSpans", "scopeSpans", "spans", "attributes", "key", "value", "traceId", "arrayValue"]
                ),
                inner,
            )
        ),
    )
)
def test_whatever_a_line_holds_it_is_read_or_refused(line):
    try:
        read(json.dumps(line).encode() + b"\n")
    except AdapterError as error:
        assert error.code.startswith("TSLG-I-")


# --- importing -------------------------------------------------------------------------------------------------------


def test_a_file_makes_the_lineage_that_a_processor_makes(home, agent, day):
    lived = home.agent("lived through")
    made = traced.Traced(LineageProcessor(Gate(lived, traced.POLICY)))
    with made.tracer.start_as_current_span("POST /chat"):
        traced.a_day_at_support(made)
    mixed = list(made.exporter.get_finished_spans())
    random.Random(1).shuffle(mixed)
    for span in mixed:
        span._attributes = {name: value for name, value in span.attributes.items() if not name.startswith("tslg.")}
    found = import_spans(home, Gate(agent, traced.POLICY), read(otlp.line(mixed[:4]), otlp.line(mixed[4:])))
    assert (found.spans, found.traces, found.already) == (9, 1, 0)
    assert found.verdicts == {"admitted": 5, "rejected": 1, "composed": 2}

    def shape(whose):
        return [
            (one.kind, one.body.get("intent"), {name: len(edges) for name, edges in one.preds.items()})
            for one in log(home, whose)
        ]

    assert shape(agent) == shape(lived)


@pytest.mark.spec("SEE-7")
def test_a_span_is_recorded_once_however_often_it_is_imported(home, agent, day):
    gate = Gate(agent, traced.POLICY)
    first = import_spans(home, gate, read(otlp.line(day)))
    size = len(log(home, agent))
    again = import_spans(home, gate, read(otlp.line(day), otlp.line(day[::-1])))
    assert first.verdicts.total() == again.already == 8 and again.verdicts.total() == 0
    assert len(log(home, agent)) == size
    assert {made.record.id for made in again.last.values()} == {made.record.id for made in first.last.values()}


@pytest.mark.spec("SEE-7", "INF-18")
def test_a_step_in_parts_of_which_one_was_rejected_is_composed_into_nothing_however_often(
    home, agent, day, tmp_path, monkeypatch
):
    (tmp_path / "halving.py").write_text(
        "from dataclasses import replace\n\n\ndef halves(one):\n"
        "    return [replace(one, intent=name) for name in ('refund', 'keep-the-money')]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    decomposing = '[intents.look-up-order]\ndecompose = "halving:halves"'
    gate = Gate(agent, traced.POLICY.decode().replace("[intents.look-up-order]", decomposing).encode())
    first = import_spans(home, gate, read(otlp.line(day)))
    made = log(home, agent)
    (whole,) = (one for one in made if one.kind == "decomposition")
    assert first.verdicts["decomposed"] == 1
    assert whole.id not in {edge.cid for one in made if one.kind == "composite" for edge in one.preds["part"]}
    again = import_spans(home, gate, read(otlp.line(day)))
    assert again.already == 8 and len(log(home, agent)) == len(made)


@pytest.mark.spec("SEE-7")
@pytest.mark.parametrize("after", [1, 2, 3, 6, 9, 13])
def test_an_import_that_was_cut_off_goes_on_where_it_was(home, agent, day, after, monkeypatch):
    gate = Gate(agent, traced.POLICY)
    appended = agent._ledger.append
    left = [after]

    def failing(owner, draft):
        left[0] -= 1
        if left[0] < 0:
            raise StoreError("no space left", code="TSLG-D-FULL")
        return appended(owner, draft)

    monkeypatch.setattr(agent._ledger, "append", failing)
    with pytest.raises(Exception, match="TSLG-"):
        import_spans(home, gate, read(otlp.line(day)))
    monkeypatch.undo()
    import_spans(home, gate, read(otlp.line(day)))
    said = [(one.kind, one.body.get("intent"), one.preds.keys()) for one in log(home, agent)]
    whole = home.agent("never cut off")
    if len(log(home, whole)) < 4:
        import_spans(home, Gate(whole, traced.POLICY), read(otlp.line(day)))
    # What was rejected because it could not be recorded stays on record; everything else is there once.
    wanted = [(one.kind, one.body.get("intent"), one.preds.keys()) for one in log(home, whole)]
    assert [one for one in said if one in wanted] and sorted(map(repr, wanted)) == sorted(
        map(repr, (one for one, record in zip(said, log(home, agent), strict=True) if not failed(record)))
    )


def failed(record):
    """Tell whether a record is a rejection for not having been recorded."""
    return record.kind == "rejection" and record.body["stage"] in ("recording", "anchoring")


def test_what_a_processor_recorded_is_not_recorded_again(home, agent):
    gate = Gate(agent, traced.POLICY)
    made = traced.Traced(LineageProcessor(gate))
    with made.tracer.start_as_current_span("POST /chat"):
        traced.a_day_at_support(made)
    size = len(log(home, agent))
    found = import_spans(home, gate, read(otlp.line(made.exporter.get_finished_spans())))
    assert (found.already, found.verdicts.total()) == (8, 0) and len(log(home, agent)) == size


def test_a_file_cannot_pass_off_another_record_as_a_spans(home, agent, day):
    other = home.agent("somebody else")
    stolen = other.observe("opentelemetry", {"trace": day[0].context.trace_id.to_bytes(16, "big"), "span": b"12345678"})
    from tslg.protocol.cid import to_text

    data = json.loads(otlp.line(day[:1]))
    span = data["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    for text in (to_text(stolen.id), to_text(agent.id), "nonsense"):
        span["spanId"] = b"12345678".hex()
        span["attributes"] += [{"key": "tslg.observation", "value": {"stringValue": text}}]
        found = import_spans(home, agent, read(data))
        assert all(made.record.owner == agent.id and made.record.id != agent.id for made in found.last.values())
    assert [one.kind for one in log(home, agent)][2:] == ["observation"]


def test_spans_above_each_other_in_a_ring_and_spans_without_the_one_above_them(home, agent):
    def one(id, parent):
        return changed(spanId=id, parentSpanId=parent)

    ring = [one("aa" * 8, "bb" * 8), one("bb" * 8, "cc" * 8), one("cc" * 8, "aa" * 8), one("dd" * 8, "ee" * 8)]
    found = import_spans(home, agent, read(*ring))
    assert found.verdicts == {"observed": 4}


def test_a_deep_trace(home, agent):
    spans = [
        changed(spanId=f"{number + 1:016x}", parentSpanId=f"{number:016x}" if number else "", attributes=[])
        for number in range(3_000)
    ]
    spans.append(changed(spanId="f" * 16, parentSpanId=f"{3_000:016x}"))
    assert import_spans(home, agent, read(*spans)).verdicts == {"observed": 1}


def test_too_many_spans_are_refused_before_anything_is_recorded(home, agent, day):
    with pytest.raises(AdapterError, match="more than 3 spans"):
        import_spans(home, agent, read(otlp.line(day)), limits=Limits(span_file_spans=3))
    assert len(log(home, agent)) == 2
