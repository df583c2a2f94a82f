"""MCP: a gate before the tools of any server, one's own or others', and a server that answers about lineage.

`govern` puts a gate into a server of one's own; `tslg mcp proxy` stands in front of any. See docs/guide/mcp.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tslg.node.adapters.mcp.governing import govern as govern


def __getattr__(name: str) -> Any:
    # Imported on first use: the proxy before a command needs nothing of MCP's own library.
    if name != "govern":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from tslg.node.adapters.mcp.governing import govern
    except ModuleNotFoundError as error:
        from tslg.node.adapters.mcp.messages import not_installed

        raise not_installed() from error
    return govern
