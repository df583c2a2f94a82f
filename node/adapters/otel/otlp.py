"""Reads files of traces as the collector writes them: JSON Lines of OTLP, each line a `TracesData`.

https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/ and
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids are hexadecimal, 64-bit integers text, fields that
are not known are left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, NoReturn

from tslg.node.adapters.otel.conventions import operation_of
from tslg.node.adapters.seen.notes import OBSERVATION
from tslg.node.adapters.seen.steps import Event, Span, SpanKey, SpanLink
from tslg.protocol.errors import AdapterError
from tslg.protocol.limits import DEFAULT, Limits

_SCALARS: Final = ("stringValue", "boolValue", "intValue", "doubleValue", "bytesValue")
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")
_ERROR_CODES: Final = (2, "2", "STATUS_CODE_ERROR")
_SPLIT: Final = "have the exporter rotate its files"
_SHAPE: Final = "write traces with the collector's file exporter, format `json`"


class Place(NamedTuple):
    """Where in which file something stands; `line` is from 1."""

    name: str
    line: int

    def wrong(self, code: str, detail: str, mend: str) -> AdapterError:
        """Return the error that says so."""
        return AdapterError(f"{self.name}:{self.line}: {detail}", code=code, mend=mend)


def read_spans(file: IO[bytes], name: str, limits: Limits = DEFAULT) -> Iterator[Span]:
    """Read the spans of a file, in its order.

    Args:
        file: JSON Lines in UTF-8; metrics and logs among them are passed over.
        name: what the file is called in messages.
        limits: what is accepted.

    Raises:
        AdapterError: with file and line; spans before it were read.
    """
    number = size = 0
    while line := file.readline(limits.span_line_bytes + 1):
        number += 1
        size += len(line)
        place = Place(name, number)
        if len(line) > limits.span_line_bytes:
            raise place.wrong("TSLG-I-SIZE", f"more than {limits.span_line_bytes} bytes in a line", _SHAPE)
        if size > limits.span_file_bytes:
            raise place.wrong("TSLG-I-SIZE", f"more than {limits.span_file_bytes} bytes", _SPLIT)
        if line.strip():
            yield from _Line(place, limits).spans(_parsed(line, place, limits))


def _parsed(line: bytes, place: Place, limits: Limits) -> Any:
    # Each value but the first stands behind one of these signs, which texts have too.
    if sum(map(line.count, b",[{")) > limits.span_line_values:
        raise place.wrong("TSLG-I-SIZE", f"more than {limits.span_line_values} values in a line", _SPLIT)
    try:
        return json.loads(line.decode(), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise place.wrong("TSLG-I-TEXT", "not UTF-8", "convert the file to UTF-8") from error
    except ValueError as error:
        raise place.wrong("TSLG-I-JSON", f"no JSON: {str(error)[:80]}", "export the traces anew") from error
    except RecursionError as error:
        raise place.wrong("TSLG-I-SIZE", "nested too deeply", _SHAPE) from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _Line:
    """Reads one line; every fault in it says where it is."""

    def __init__(self, place: Place, limits: Limits) -> None:
        self._place = place
        self._limits = limits

    def spans(self, top: Any) -> Iterator[Span]:
        """Return the spans of a `TracesData`."""
        if not isinstance(top, dict):
            raise self._shape("a line that is no object")
        for of_resource in self._list(top, "resourceSpans"):
            service = self._attributes(self._map(of_resource, "resource")).get("service.name", "")
            for of_scope in self._list(of_resource, "scopeSpans"):
                scope = self._map(of_scope, "scope").get("name", "")
                for span in self._list(of_scope, "spans"):
                    yield self._span(span, str(service), str(scope))

    def _span(self, span: Any, service: str, scope: str) -> Span:
        key = self._key(span)
        parent = span.get("parentSpanId")
        attributes = self._attributes(span)
        counts = {name: self._whole(span, f"dropped{name.title()}Count") for name in ("attributes", "events", "links")}
        status = self._map(span, "status")
        if operation_of(attributes) is None:
            # Kept for what is above and below it only, and for what it may have become.
            attributes = {OBSERVATION: attributes[OBSERVATION]} if OBSERVATION in attributes else {}
        return Span(
            key=key,
            parent=SpanKey(key.trace, self._id(parent, 8, "parentSpanId")) if parent else None,
            name=str(span.get("name", "")),
            start_ns=self._whole(span, "startTimeUnixNano"),
            end_ns=self._whole(span, "endTimeUnixNano"),
            attributes=attributes,
            events=tuple(
                Event(str(event.get("name", "")), self._attributes(event))
                for event in self._list(span, "events")
                if operation_of(attributes) is not None
            ),
            links=tuple(SpanLink(self._key(link), self._attributes(link)) for link in self._list(span, "links")),
            error=status.get("code") in _ERROR_CODES,
            status=str(status.get("message", "")),
            scope=scope,
            service=service,
            dropped={name: count for name, count in counts.items() if count},
        )

    def _key(self, of: Any) -> SpanKey:
        if not isinstance(of, dict):
            raise self._shape("a span or link that is no object")
        return SpanKey(self._id(of.get("traceId"), 16, "traceId"), self._id(of.get("spanId"), 8, "spanId"))

    def _id(self, text: Any, size: int, name: str) -> bytes:
        if isinstance(text, str) and len(text) == 2 * size:
            try:
                found = bytes.fromhex(text)
            except ValueError:
                found = b""
            if len(found) == size and any(found):
                return found
        raise self._shape(f"`{name}` is not {2 * size} hexadecimal digits")

    def _whole(self, of: Mapping[str, Any], name: str) -> int:
        value = of.get(name, 0)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
            value = int(value)
        if type(value) is int and 0 <= value < 2**64:
            return value
        raise self._shape(f"`{name}` is no whole number")

    def _list(self, of: Any, name: str) -> list[Any]:
        value = of.get(name) if isinstance(of, dict) else None
        if value is None:
            return []
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return value
        raise self._shape(f"`{name}` is no list of objects")

    def _map(self, of: Any, name: str) -> dict[str, Any]:
        value = of.get(name)
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        raise self._shape(f"`{name}` is no object")

    def _attributes(self, of: Mapping[str, Any]) -> dict[str, Any]:
        return {str(item.get("key", "")): self._value(item.get("value")) for item in self._list(of, "attributes")}

    def _value(self, value: Any, level: int = 0) -> Any:
        if level > self._limits.transcript_nesting:
            raise self._shape("an attribute that is nested too deeply")
        if not isinstance(value, dict):
            return None
        for name in _SCALARS:
            if value.get(name) is not None:
                return self._integer(value[name]) if name == "intValue" else value[name]
        if "arrayValue" in value:
            return [self._value(item, level + 1) for item in self._list(value["arrayValue"], "values")]
        if "kvlistValue" in value:
            listed = self._list(value["kvlistValue"], "values")
            return {str(item.get("key", "")): self._value(item.get("value"), level + 1) for item in listed}
        return None

    def _integer(self, value: Any) -> int:
        """Return a 64-bit integer, which is text, or a number in what older exporters write."""
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)
        if type(value) is int and -(2**63) <= value < 2**63:
            return value
        raise self._shape("`intValue` is no whole number of 64 bits")

    def _shape(self, detail: str) -> AdapterError:
        return self._place.wrong("TSLG-I-SHAPE", detail, _SHAPE)


def open_traces(path: Path) -> IO[bytes]:
    """Open a file for reading, standard input for `-`."""
    import sys

    return sys.stdin.buffer if str(path) == "-" else path.open("rb")
