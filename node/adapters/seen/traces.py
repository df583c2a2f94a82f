"""Puts spans that begin and end, in any thread, into the order of a lineage: what rests on what, what a run is made of.

answer of a model   rests on everything of its run that was over when it was asked, since the answer before it
call of a tool      rests on the answer that asks for it, by the call's id, else on the newest answer before it
any step            rests on what happened inside it, and on the spans that it links to
run of an agent     is composed of its steps; inside the run of another agent, a hand-off is recorded before it
first span          that is no step itself: what several steps below it make up is recorded as a trace

Spans that have nothing to do with generative AI leave no record; what is below them counts as their parent's.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tslg.node.adapters.seen.sinks import Made, Sink
from tslg.node.adapters.seen.steps import HAND_OFF, TRACE, Span, SpanKey, Step
from tslg.protocol.codec import Link
from tslg.protocol.limits import DEFAULT, Limits


class About(NamedTuple):
    """What is known of a span under way: whether it is the run of an agent, and of which."""

    run: bool
    agent: str | None = None


Look = Callable[[], About]
"""Returns what is known so far."""
_CLIMB: Final = 256
"""Ended spans between one that ends late and the next above it that has not; nobody nests deeper."""


class _Scope:
    """What steps of one run rest on each other by."""

    def __init__(self, agent: str | None) -> None:
        self.agent = agent
        self.since: list[Made] = []
        self.asked: dict[str, Made] = {}
        self.answer: Made | None = None
        self.model: str | None = None
        self.version: str | None = None


class _Open:
    """A span under way: what is above it, in which run it is, and what became of the steps below it so far."""

    def __init__(self, key: SpanKey, above: _Open | None, look: Look) -> None:
        self.key = key
        self.above = above
        self.look = look
        self.parts: list[Made] = []
        self.over = False
        self._own: _Scope | None = None
        self.scope: _Scope = self.inner() if above is None else above.inner() if above.is_run() else above.scope

    def is_run(self) -> bool:
        """Tell whether it is known by now to be the run of an agent."""
        return self.above is None or self.look().run

    def inner(self) -> _Scope:
        """Return the scope of the steps of the run that this is."""
        if self._own is None:
            self._own = _Scope(self.look().agent)
        return self._own


class _Rest(NamedTuple):
    """What a step rests on, and the model whose step it is where its span names none."""

    evidence: list[Link]
    model: str | None
    version: str | None


class Traces:
    """Turns spans into records. Safe to use from several threads; what is recorded is durable when `end` returns.

    Args:
        sink: where the records go.
        limits: how much is remembered.
    """

    def __init__(self, sink: Sink, limits: Limits = DEFAULT) -> None:
        self._sink = sink
        # Edges of one record: half for parts, a quarter for evidence, the rest for state, policy and delegations.
        self._most = max(2, sink.fan_in // 2)
        self._weighed = max(1, min(sink.fan_in // 4, limits.span_evidence))
        self._limits = limits
        self._lock = threading.Lock()
        self._open: OrderedDict[SpanKey, _Open] = OrderedDict()
        self._ended: OrderedDict[SpanKey, Link] = OrderedDict()
        self.forgotten = 0
        """Spans under way that were forgotten because there were too many."""

    @property
    def under_way(self) -> int:
        """How many spans have begun and not ended."""
        return len(self._open)

    def begin(self, key: SpanKey, parent: SpanKey | None, look: Look) -> None:
        """Take note that a span begins; `look` returns what it says, then and later."""
        with self._lock:
            above = None if parent is None else self._open.get(parent)
            self._open[key] = _Open(key, above, look)
            if len(self._open) > self._limits.spans_open:
                self._open.popitem(last=False)[1].over = True
                self.forgotten += 1

    def end(self, span: Span, step: Step | None) -> Made | None:
        """Record what a span did, None for one that leaves no record of its own; return what it became.

        Raises:
            TslgError: it could not be recorded. What its parts became counts as its parent's then.
        """
        with self._lock:
            one = self._open.pop(span.key, None) or self._unseen(span)
            one.over = True
            if step is None and one.above is None and len(one.parts) > 1:
                step = Step(TRACE, TRACE, role="run")
            rest = self._rest(one, step, span) if step is not None else None
        if step is None or rest is None:
            self._leave(one, one.parts, span)
            return None
        try:
            made = self._record(one, step, span, rest)
        except BaseException:
            self._leave(one, one.parts, span)
            raise
        self._note(one, step, span, made)
        return made

    # --- what rests on what ------------------------------------------------------------------------------------------

    def _unseen(self, span: Span) -> _Open:
        above = None if span.parent is None else self._open.get(span.parent)
        return _Open(span.key, above, lambda: About(False))

    def _rest(self, one: _Open, step: Step, span: Span) -> _Rest:
        scope = one.scope
        found: dict[Link, None] = {}
        if step.role == "answer":
            over = [made for made in scope.since if made.ended_ns <= span.start_ns]
            scope.since = [made for made in scope.since if made.ended_ns > span.start_ns]
            found.update((made.record.id, None) for made in over)
        elif step.role in ("call", "run"):
            asked = scope.asked.pop(step.call, None) if step.call is not None else None
            answer = scope.answer
            if asked is None and answer is not None and answer.ended_ns <= span.start_ns:
                asked = answer
            if asked is not None:
                found[asked.record.id] = None
        if step.role != "run":
            found.update((made.record.id, None) for made in one.parts)
        for link in span.links:
            if link.key in self._ended:
                found[self._ended[link.key]] = None
        inner = one.inner() if step.role == "run" else scope
        return _Rest(list(found)[-self._weighed :], inner.model, inner.version)

    def _record(self, one: _Open, step: Step, span: Span, rest: _Rest) -> Made:
        evidence = rest.evidence
        named = _named(step, rest)
        by, to = one.scope.agent, step.agent
        if (
            step.judged
            and step.role == "run"
            and one.above is not None
            and by is not None
            and to is not None
            and by != to
        ):
            hand_off = Step(HAND_OFF, HAND_OFF, named.model, named.version, {"from": by, "to": to}, agent=by)
            evidence = [*evidence, self._sink.step(hand_off, span, evidence, ()).record.id]
        parts = one.parts if step.role == "run" else ()
        return self._sink.step(named, span, evidence, self._packed(parts, span) if parts else ())

    def _packed(self, parts: Sequence[Made], span: Span) -> Sequence[Made]:
        """Return parts that fit one record, putting some together in between where they are too many."""
        while len(parts) > self._most:
            groups = [parts[start : start + self._most] for start in range(0, len(parts), self._most)]
            parts = [group[0] if len(group) == 1 else self._sink.group(span, group) for group in groups]
        return parts

    def _note(self, one: _Open, step: Step, span: Span, made: Made) -> None:
        with self._lock:
            self._ended[span.key] = made.record.id
            if len(self._ended) > self._limits.spans_ended:
                self._ended.popitem(last=False)
            scope = one.scope
            if step.role == "answer":
                scope.answer, scope.since = made, [*scope.since, made]
                scope.model, scope.version = step.model or scope.model, step.version or scope.version
                for id in step.asks:
                    scope.asked[id] = made
                while len(scope.asked) > self._limits.span_tool_calls:
                    scope.asked.pop(next(iter(scope.asked)))
            elif one.above is not None:
                scope.since.append(made)
            del scope.since[: -self._weighed]
        self._leave(one, [made], span)

    def _leave(self, one: _Open, parts: Sequence[Made], span: Span) -> None:
        """Hand parts to the nearest span above that is under way, and put together what has become many there."""
        many: list[Made] = []
        with self._lock:
            above = one.above
            for _ in range(_CLIMB):
                if above is None or not above.over:
                    break
                above = above.above
            if above is None or above.over:
                return
            above.parts.extend(parts)
            if len(above.parts) > self._most:
                many, above.parts = above.parts, []
        if not many:
            return
        try:
            packed = self._packed(many, span)
        except BaseException:
            packed = many
            raise
        finally:
            with self._lock:
                above.parts[:0] = packed


def _named(step: Step, rest: _Rest) -> Step:
    """Return a step with the model whose step it is, where its own span names none."""
    if step.model is not None or rest.model is None:
        return step
    fields = {name: getattr(step, name) for name in step.__dataclass_fields__}
    return Step(**fields | {"model": rest.model, "version": step.version or rest.version})
