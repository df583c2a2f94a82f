"""A real MCP server, as its authors' library makes them: tools, a resource, a prompt, and what asks the client back."""

from __future__ import annotations

import os
import sys

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("calculator", version="3", log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def tell(path: str) -> str:
    """Say something to the log, and break."""
    raise ValueError(f"no {path} here")


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Count, and say how far it is."""
    for n in range(to):
        await ctx.report_progress(n + 1, to)
    return "counted"


@server.tool()
def leave() -> str:
    """End the server."""
    os._exit(7)


@server.resource("note://today")
def today() -> str:
    """A note."""
    return "rain"


@server.prompt()
def greet(name: str) -> str:
    """A prompt."""
    return f"Greet {name}"


if __name__ == "__main__":
    server.run(*sys.argv[1:])
