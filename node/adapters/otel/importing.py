"""Imports files of traces: the records that a span processor makes as spans end, in the order in which they ended.

What a span became is noted under its ids in the transaction that stores it, so a span becomes one record however often
files are imported, and whatever moment a crash chooses. A span that names its record, since a processor wrote it there,
is not recorded again where that record is held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tslg.node.adapters.otel.conventions import looking, read
from tslg.node.adapters.seen.notes import Notes
from tslg.node.adapters.seen.sinks import Made, sink_for
from tslg.node.adapters.seen.steps import Span, SpanKey
from tslg.node.adapters.seen.traces import Traces
from tslg.node.home import Home
from tslg.protocol.errors import AdapterError
from tslg.protocol.limits import DEFAULT, Limits

Tick = Callable[[int], None]
"""Called with the number of spans that were looked at so far."""


@dataclass(slots=True)
class ImportedTraces:
    """What came of one file, or several.

    Attributes:
        spans: how many there were.
        traces: of how many traces.
        verdicts: spans that were recorded, by what became of them.
        already: how many were recorded before.
        last: of each trace, what its last span became.
    """

    spans: int = 0
    traces: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    already: int = 0
    last: dict[bytes, Made] = field(default_factory=dict)


def import_spans(
    home: Home, recorder: Any, spans: Iterable[Span], *, tick: Tick | None = None, limits: Limits = DEFAULT
) -> ImportedTraces:
    """Record the spans of a file that are not recorded yet.

    Args:
        home: the data directory, open for writing.
        recorder: a gate, or an agent of that directory, which records without verdicts.
        spans: in any order, of any number of traces.
        tick: called after every span.
        limits: how many spans are taken.

    Raises:
        AdapterError: more spans than are taken; nothing was recorded. TslgError: the next span could not be recorded;
            those before it are, and another import goes on from there.
    """
    held = _distinct(spans, limits)
    notes = Notes(home.store, getattr(recorder, "agent", recorder).id)
    sink = sink_for(recorder, notes=notes)
    traces = Traces(sink, replace(limits, spans_open=len(held) + 1))
    found = ImportedTraces(len(held), len({key.trace for key in held}))
    depths = _depths(held)
    for span in sorted(held.values(), key=lambda span: depths[span.key]):
        traces.begin(span.key, span.parent, looking(span.attributes))
    ended = sorted(held.values(), key=lambda span: (span.end_ns, -depths[span.key], span.key))
    for count, span in enumerate(ended, 1):
        before = notes.made
        made = traces.end(span, read(span, limits))
        if made is not None:
            found.last[span.key.trace] = made
            if notes.made > before:
                found.verdicts[made.verdict] += 1
            else:
                found.already += 1
        if tick is not None:
            tick(count)
    return found


def _distinct(spans: Iterable[Span], limits: Limits) -> dict[SpanKey, Span]:
    """Return spans by their ids; of several with the same, the first."""
    held: dict[SpanKey, Span] = {}
    for span in spans:
        held.setdefault(span.key, span)
        if len(held) > limits.span_file_spans:
            raise AdapterError(
                f"more than {limits.span_file_spans} spans, nothing was imported",
                code="TSLG-I-SIZE",
                mend="have the exporter rotate its files",
            )
    return held


def _depths(held: Mapping[SpanKey, Span]) -> dict[SpanKey, int]:
    """Return how many spans are above each one. Of a ring of spans, one counts as the first."""
    depths: dict[SpanKey, int] = {}
    for key in held:
        way: dict[SpanKey, None] = {}
        at: SpanKey | None = key
        while at is not None and at in held and at not in depths and at not in way:
            way[at] = None
            at = held[at].parent
        depth = -1 if at is None or at not in depths else depths[at]
        for one in reversed(way):
            depth += 1
            depths[one] = depth
    return depths
