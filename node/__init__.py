"""Everything that touches the world: stores, the network, the agent's interface, the auditor, the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tslg.node.agent import Agent as Agent
    from tslg.node.agent import BlockingAgent as BlockingAgent
    from tslg.node.api.client import LocalNode as LocalNode
    from tslg.node.auditor import Auditor as Auditor
    from tslg.node.background import BackgroundNode as BackgroundNode
    from tslg.node.governing.async_gate import AsyncGate as AsyncGate
    from tslg.node.governing.gate import Gate as Gate
    from tslg.node.node import Node as Node

_HOMES: Final = {
    "Agent": "tslg.node.agent",
    "AsyncGate": "tslg.node.governing.async_gate",
    "Auditor": "tslg.node.auditor",
    "BackgroundNode": "tslg.node.background",
    "BlockingAgent": "tslg.node.agent",
    "Gate": "tslg.node.governing.gate",
    "LocalNode": "tslg.node.api.client",
    "Node": "tslg.node.node",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that the command line's help does not wait for trio.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
