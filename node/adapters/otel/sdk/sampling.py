"""A sampler that lets every span be recorded, and only those exported that another sampler chooses."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes


class RecordAll(Sampler):
    """Has spans that `sampler` drops recorded all the same: processors see them, exporters do not.

    A lineage of every tenth step would prove nothing. What is exported stays as it was.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return what the other sampler says, with `RECORD_ONLY` in place of `DROP`."""
        found = self._sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if found.decision is not Decision.DROP:
            return found
        return SamplingResult(Decision.RECORD_ONLY, found.attributes or attributes, found.trace_state)

    def get_description(self) -> str:
        """Return what to call it."""
        return f"RecordAll{{{self._sampler.get_description()}}}"
