"""A span processor that turns what an instrumented agent does into records, and writes their ids into the spans.

Ids must be in a span before it is exported, whatever order processors were added in. The hook that is meant for it,
`_on_ending`, is not public, and the SDK calls it when the span no longer takes attributes. So the one span object that
`on_start` is handed gets an `end` of its own, which records, sets attributes and then calls the real one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import SpanContext, StatusCode

from tslg.node.adapters.otel.conventions import looking, read
from tslg.node.adapters.seen.notes import OBSERVATION
from tslg.node.adapters.seen.sinks import Made, sink_for
from tslg.node.adapters.seen.steps import Event, Span, SpanKey, SpanLink
from tslg.node.adapters.seen.traces import Traces
from tslg.protocol.cid import to_text
from tslg.protocol.errors import TslgError, UsageError

RECORD: Final = "tslg.record"
VERDICT: Final = "tslg.verdict"
AGENT: Final = "tslg.agent"
STAGE: Final = "tslg.stage"
REASON: Final = "tslg.reason"
ERROR: Final = "tslg.error"
_OURS: Final = (RECORD, OBSERVATION, VERDICT, AGENT, STAGE, REASON, ERROR)
_logger = logging.getLogger("tslg.otel")
_recording: ContextVar[bool] = ContextVar("tslg_otel_recording", default=False)


class LineageProcessor(SpanProcessor):
    """Records the steps of agents that are instrumented with OpenTelemetry, after they happened.

    Nothing is kept from happening: use `gate.step` or `gate.governed` around what must not run unjudged. Where
    recording fails, the traced program goes on, and is told by a log line, the metric `tslg.lineage.spans` and the
    attribute `tslg.error` of the span.

    Args:
        gate: what judges the steps and records them; or an agent, which records what it sees without a verdict.
        tier: the capability tier that the steps claim.
        strict: let a span's `end` raise what went wrong, after the span has ended.

    Attributes:
        counts: spans by what became of them: a verdict, or `failed`.
    """

    def __init__(self, gate: Any, *, tier: str | None = None, strict: bool = False) -> None:
        sink = sink_for(gate, tier)
        self._traces = Traces(sink)
        self._name, self._agent = sink.agent.name, to_text(sink.agent.id)
        self._strict = strict
        self._forked = False
        self._idle = threading.Condition()
        self._busy = 0
        self._ending: set[SpanKey] = set()
        self._closed = False
        self.counts: Counter[str] = Counter()
        at_fork = weakref.WeakMethod(self._at_fork)
        os.register_at_fork(after_in_child=lambda: (method := at_fork()) and method())
        self._metric = metrics.get_meter("tslg").create_counter(
            "tslg.lineage.spans", description="Spans by what became of them in the lineage."
        )

    # --- what the SDK calls ------------------------------------------------------------------------------------------

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Take note of a span, and have its end recorded before anybody exports it."""
        key = _key(span.get_span_context())
        if key is None or self._closed or _recording.get():
            return
        if not self._forked:
            try:
                self._traces.begin(key, _key(span.parent), looking(lambda: span.attributes or {}))
            except Exception as error:
                # Without it, it counts as the first of its trace.
                self._failed(error)
        really_end = span.end
        first = iter((True,))

        def end(end_time: int | None = None) -> None:
            if not next(first, False):
                really_end(end_time)
                return
            del span.end
            moment = time.time_ns() if end_time is None else end_time
            failure = None
            try:
                failure = self._seen(key, span, moment)
            finally:
                really_end(moment)
                self._ending.discard(key)
            if failure is not None and self._strict:
                raise failure

        span.end = end  # type: ignore[method-assign]

    def on_end(self, span: ReadableSpan) -> None:
        """Record a span that began before this processor was added; its record's id cannot be written into it."""
        key = _key(span.context)
        if key is None or self._closed or _recording.get():
            return
        if key in self._ending:
            return
        failure = self._recorded(lambda: _neutral(key, span, span.end_time or 0))[1]
        if failure is not None and self._strict:
            raise failure

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until every span that has ended is recorded."""
        with self._idle:
            return self._idle.wait_for(lambda: self._busy == 0, timeout_millis / 1000)

    def shutdown(self) -> None:
        """Record nothing from here on. The gate stays open: it is its owner's to close."""
        self.force_flush()
        self._closed = True
        if self._traces.under_way:
            _logger.warning("%d spans had not ended when tracing did, and are in no record", self._traces.under_way)

    def _at_fork(self) -> None:
        """Let go of everything, in a process that was forked: whoever held locks and the store does not exist here."""
        self._forked = True
        self._idle = threading.Condition()
        self._busy = 0

    # --- recording ---------------------------------------------------------------------------------------------------

    def _seen(self, key: SpanKey, span: SdkSpan, moment: int) -> Exception | None:
        """Record a span that is about to end, and write into it what it became."""
        self._ending.add(key)
        made, failure = self._recorded(lambda: _neutral(key, span, moment))
        said = {} if made is None else _attributes(made) | {AGENT: self._agent}
        if failure is not None:
            said = {ERROR: _code(failure)}
        # Whatever the span itself claims to have become does not count.
        claimed = {name: "" for name in _OURS if name in (span.attributes or {})}
        if claimed or said:
            span.set_attributes(claimed | said)
        return failure

    def _recorded(self, read_span: Callable[[], Span]) -> tuple[Made | None, Exception | None]:
        if self._closed:
            return None, None
        if self._forked:
            return None, self._failed(
                UsageError(
                    "this process was forked from the one that opened the gate",
                    code="TSLG-U-PROCESS",
                    mend="open the gate and add the processor after the fork",
                )
            )
        with self._idle:
            self._busy += 1
        mark = _recording.set(True)
        # What storing and anchoring does is nothing that the traced program did.
        token = contexts.attach(contexts.set_value(contexts._SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            span = read_span()
            made = self._traces.end(span, read(span))
        except Exception as error:
            return None, self._failed(error)
        finally:
            contexts.detach(token)
            _recording.reset(mark)
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()
        if made is not None:
            self._count(made.verdict)
        return made, None

    def _failed(self, error: Exception) -> Exception:
        count = self._count("failed")
        # A store that is down fails every span: told once, and again each time that it has become twice as many.
        if count & (count - 1) == 0:
            _logger.error("%d spans so far are not in the lineage of %s: %s", count, self._name, _told(error))
        return error

    def _count(self, outcome: str) -> int:
        with self._idle:
            self.counts[outcome] += 1
            count = self.counts[outcome]
        self._metric.add(1, {"tslg.outcome": outcome})
        return count


def _key(context: SpanContext | None) -> SpanKey | None:
    if context is None or not context.is_valid:
        return None
    return SpanKey(context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big"))


def _neutral(key: SpanKey, span: ReadableSpan, end_ns: int) -> Span:
    links = [(_key(link.context), dict(link.attributes or {})) for link in span.links]
    dropped = {"attributes": span.dropped_attributes, "events": span.dropped_events, "links": span.dropped_links}
    scope = span.instrumentation_scope
    return Span(
        key=key,
        parent=_key(span.parent),
        name=span.name,
        start_ns=span.start_time or end_ns,
        end_ns=end_ns,
        attributes=dict(span.attributes or {}),
        events=tuple(Event(event.name, dict(event.attributes or {})) for event in span.events),
        links=tuple(SpanLink(other, attributes) for other, attributes in links if other is not None),
        error=span.status.status_code is StatusCode.ERROR,
        status=span.status.description or "",
        scope=scope.name if scope is not None else "",
        service=str(span.resource.attributes.get("service.name", "")),
        dropped={name: count for name, count in dropped.items() if count},
        value_limit=getattr(getattr(span, "_limits", None), "max_span_attribute_length", None),
    )


def _attributes(made: Made) -> dict[str, str]:
    found = {RECORD: to_text(made.record.id), OBSERVATION: to_text(made.observation.id), VERDICT: made.verdict}
    if made.verdict == "rejected":
        found |= {STAGE: made.outcome.stage or "", REASON: made.outcome.reason or ""}
    return found


def _code(error: Exception) -> str:
    return error.code if isinstance(error, TslgError) else type(error).__name__


def _told(error: Exception) -> str:
    # Anything else may hold what the traced program said.
    return str(error) if isinstance(error, TslgError) else type(error).__name__
