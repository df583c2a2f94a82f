"""LangGraph: what a graph asks of models, which tools it calls and how its state moves is judged and recorded first.

Needs LangGraph, which `pip install 'tslg[langgraph]'` brings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tslg.node.adapters.langgraph.governing import govern

__all__ = ["govern"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from tslg.node.adapters.langgraph import governing
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("lang"):
            raise
        from tslg.protocol.errors import UsageError

        raise UsageError(
            "LangGraph is not installed", code="TSLG-U-EXTRA", mend="pip install 'tslg[langgraph]'"
        ) from error
    return governing.govern
