"""Spans of the real SDK, written as the collector's file exporter writes them: a line of OTLP/JSON for each batch."""

import json


def any_value(value):
    """Return a value as OTLP's AnyValue."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": attributes(value)}}
    return {"arrayValue": {"values": [any_value(one) for one in value]}}


def attributes(mapping):
    """Return attributes as OTLP's list of key and value."""
    return [{"key": key, "value": any_value(value)} for key, value in mapping.items()]


def span_json(span):
    """Return one finished span."""
    found = {
        "traceId": f"{span.context.trace_id:032x}",
        "spanId": f"{span.context.span_id:016x}",
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": attributes(span.attributes),
        "events": [
            {"timeUnixNano": str(one.timestamp), "name": one.name, "attributes": attributes(one.attributes)}
            for one in span.events
        ],
        "links": [
            {"traceId": f"{one.context.trace_id:032x}", "spanId": f"{one.context.span_id:016x}"} for one in span.links
        ],
        "status": {} if span.status.status_code.value == 0 else {"code": span.status.status_code.value},
    }
    if span.parent is not None:
        found["parentSpanId"] = f"{span.parent.span_id:016x}"
    return found


def line(spans, service="support"):
    """Return one line of a file: all of these spans, of one resource and scope."""
    resource = {"attributes": attributes({"service.name": service})}
    scopes = [{"scope": {"name": "test"}, "spans": [span_json(span) for span in spans]}]
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}).encode() + b"\n"
