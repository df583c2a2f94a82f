"""pydantic-ai: what an agent asks of its model and which tools it calls is judged and recorded before it happens.

`Governed` governs all of an agent, `govern` one toolset. Both need pydantic-ai: `pip install 'tslg[pydantic-ai]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tslg.node.adapters.pydantic_ai.capability import Governed
    from tslg.node.adapters.pydantic_ai.toolset import govern

__all__ = ["Governed", "govern"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from tslg.node.adapters.pydantic_ai import capability, toolset
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("pydantic"):
            raise
        from tslg.protocol.errors import UsageError

        raise UsageError(
            "pydantic-ai is not installed", code="TSLG-U-EXTRA", mend="pip install 'tslg[pydantic-ai]'"
        ) from error
    return capability.Governed if name == "Governed" else toolset.govern
