"""An MCP server of one's own, governed where it runs: every call of a tool passes the gate before the tool does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio
from anyio import to_thread
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from tslg.node.adapters.mcp import messages
from tslg.node.adapters.mcp.judging import Judge, ids, refusal
from tslg.protocol.errors import TslgError
from tslg.protocol.limits import DEFAULT, Limits

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate
    from tslg.node.governing.outcome import Outcome


class Governable(Protocol):
    """A server of MCP's own library: an `MCPServer`, or the low-level `Server`."""

    name: Any
    version: Any
    middleware: Any


S = TypeVar("S", bound=Governable)
R = TypeVar("R")


def govern(server: S, gate: Gate, limits: Limits = DEFAULT) -> S:
    """Have every call of the server's tools judged and recorded by a gate, before the tool runs; return the server.

    The gate becomes the innermost middleware: add it after all others.

    Args:
        server: an `MCPServer`, or the low-level `Server`.
        gate: what judges and records.
        limits: `mcp_tools`.
    """
    judge = Judge(gate, limits)
    judge.introduce({"name": server.name, "version": server.version})
    server.middleware.append(_Governed(server, judge))
    return server


class _Governed:
    """The middleware. See `mcp.server.context.ServerMiddleware`."""

    def __init__(self, server: object, judge: Judge) -> None:
        self._server = server
        self._judge = judge

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method != messages.CALL:
            result = await call_next(ctx)
            if ctx.method == messages.LIST and isinstance(result, dict):
                self._judge.learn(result.get("tools"))
            return result
        params = dict(ctx.params or {})
        await self._learn(params.get("name"))
        wrong = messages.wrong_with_call(params, self._judge.declared(params.get("name")))
        if wrong is not None:
            raise MCPError(code=INVALID_PARAMS, message=f"Not called: {wrong}")
        judged = await _try(lambda: self._judge.judge(params))
        if isinstance(judged, TslgError):
            return messages.tool_error(f"Not called: it could not be recorded ({judged})", {})
        if judged.verdict != "admitted":
            return refusal(judged)
        return await self._run(ctx, call_next, judged)

    async def _run(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext, outcome: Outcome) -> HandlerResult:
        """Run the tool, and record what came of it, whatever that is."""
        try:
            came = _wire(await call_next(ctx))
        except MCPError as error:
            await self._finish(outcome, {"error": {"code": error.error.code, "message": error.error.message}})
            raise
        except BaseException as error:
            # Also where the call is cancelled: what began has an end in the log.
            with anyio.CancelScope(shield=True):
                await self._finish(outcome, {"unanswered": type(error).__name__, "forwarded": True})
            raise
        made = await self._finish(outcome, came)
        if isinstance(made, TslgError):
            text = f"Called, but its result could not be recorded ({made}): the result is not handed on"
            return messages.tool_error(text, ids(outcome))
        return messages.marked(came, ids(outcome, made))

    async def _finish(self, outcome: Outcome, came: Mapping[str, Any]) -> Any:
        return await _try(lambda: self._judge.finish(outcome, came))

    async def _learn(self, name: object) -> None:
        """Take note of the tools of a server that can list them by itself."""
        if isinstance(self._server, MCPServer) and isinstance(name, str) and not self._judge.knows(name):
            tools = await self._server.list_tools()
            self._judge.learn([tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in tools])


async def _try(work: Callable[[], R]) -> R | TslgError:
    """Do what waits for the disk in a thread, and return an error of ours as what it is."""
    try:
        return await to_thread.run_sync(work)
    except TslgError as error:
        return error


def _wire(result: HandlerResult) -> dict[str, Any]:
    """Return a result as it goes out, where a middleware answered with a model of it."""
    if result is None or isinstance(result, dict):
        return dict(result or {})
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)
