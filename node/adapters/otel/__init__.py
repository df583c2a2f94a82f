"""OpenTelemetry: agents that are instrumented with it are recorded as they run, and files of their traces imported.

`LineageProcessor` and `RecordAll` need the SDK, which `pip install 'tslg[otel]'` brings; importing files needs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tslg.node.adapters.otel.sdk.processor import LineageProcessor
    from tslg.node.adapters.otel.sdk.sampling import RecordAll

__all__ = ["LineageProcessor", "RecordAll"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from tslg.node.adapters.otel.sdk import processor, sampling
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        from tslg.protocol.errors import UsageError

        raise UsageError(
            "OpenTelemetry's SDK is not installed", code="TSLG-U-EXTRA", mend="pip install 'tslg[otel]'"
        ) from error
    return processor.LineageProcessor if name == "LineageProcessor" else sampling.RecordAll
