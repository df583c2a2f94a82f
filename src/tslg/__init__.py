"""Signed, content-addressed lineage for AI agents, checkable by a stranger across companies.

import tslg

agent = tslg.agent("billing-bot")
agent.act("send-invoice", {"invoice": 17})
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tslg.node.quick import agent as agent
    from tslg.node.quick import gate as gate

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Imported on first use: whoever needs the protocol alone need not load a database and a network.
    if name in ("agent", "gate"):
        from tslg.node import quick

        return getattr(quick, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
