"""`tslg mcp`: put a gate before an MCP server's tools, and answer agents' questions about lineage over MCP."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import FILE, Named, data_option, read_home
from tslg.node.cli.output import json_option, note

if TYPE_CHECKING:
    from tslg.node.adapters.mcp.http import Remote
    from tslg.node.governing.gate import Gate
    from tslg.protocol.limits import Limits

_GRACE: Final = 10.0
"""Seconds in which what is under way is recorded once the proxy is told to end."""


@click.group()
def mcp() -> None:
    """Govern the tools of MCP servers, and answer agents' questions about lineage."""


@mcp.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--policy", type=FILE, required=True, help="The gate's policy file.")
@click.option("--agent", "name", default="mcp-proxy", show_default=True, help="In whose log the calls are recorded.")
@click.option("--data", type=Named(path_type=Path), help="The agent's data directory.  [one by its name]")
@click.option("--federation", type=FILE, help="The sealed root manifest of a federation to join, where it is made.")
@click.option("--url", help="The server's address, for streamable HTTP in place of a command.")
@click.option(
    "--header", "headers", multiple=True, metavar="NAME=VARIABLE", help="Send a header, from an environment variable."
)
@click.option("--call-timeout", type=click.FloatRange(0, min_open=True), help="Seconds a tool may take.  [600]")
@click.option("--max-message", type=click.IntRange(1024), help="Bytes that one message may have.  [4194304]")
@json_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND ...]")
def proxy(policy: Path, name: str, data: Path | None, url: str | None, command: tuple[str, ...], **more: Any) -> int:
    """Stand in front of an MCP server: COMMAND, which is started, or the one at --url.

    Speaks to the client over stdin and stdout as the server would. A tool is called once the call was admitted by the
    policy and recorded. How it ended is said on stderr; the exit code is 3 if the server ended first.
    """
    import tslg
    from tslg.protocol.errors import UsageError

    if (url is None) == (not command):
        raise UsageError("which server?", mend="give its command behind `--`, or its --url")
    headers = _headers(more["headers"])
    if headers and url is None:
        raise UsageError("a command is sent no headers", mend="leave out --header")
    limits = _limits(more["call_timeout"], more["max_message"])
    gate = tslg.gate(name, policy=policy, federation=more["federation"], data=data)
    left, status = _relay(gate, command, url, headers, limits)
    if more["as_json"]:
        note(json.dumps({"ended": "client" if left else "server", "status": status}))
    elif not left:
        how = "" if status is None else f" with exit status {status}"
        note(f"error: TSLG-U-SERVER: the MCP server ended{how} (what it said stands above)")
    return 0 if left else 3


@mcp.command()
@data_option
@click.option("--peer", "peers", multiple=True, help="Whom `audit` may ask: an address that ends in /p2p/<id>; repeat.")
def serve(data: Path | None, peers: tuple[str, ...]) -> None:
    """Answer an agent's questions about lineage over MCP, on stdin and stdout. Reads, and never writes."""
    from tslg.node.adapters.mcp.messages import not_installed
    from tslg.node.net.libp2p.dialer import parse_address

    try:
        from tslg.node.adapters.mcp.serving import run
    except ModuleNotFoundError as error:
        raise not_installed() from error
    for peer in peers:
        parse_address(peer)
    with read_home(data) as home:
        run(home, peers)


def _headers(given: tuple[str, ...]) -> dict[str, str]:
    """Return headers by name: their values stand in the environment, for everybody sees a command line."""
    from tslg.protocol.errors import UsageError

    found = {}
    for one in given:
        name, _, variable = one.partition("=")
        if not (name and variable in os.environ):
            raise UsageError(
                f"--header {one[:80]!r} names no environment variable that is set",
                mend="give it as NAME=VARIABLE, such as Authorization=TOKEN_VARIABLE",
            )
        found[name] = os.environ[variable]
    return found


def _limits(timeout: float | None, most: int | None) -> Limits:
    from tslg.protocol.limits import DEFAULT

    limits = DEFAULT if timeout is None else replace(DEFAULT, mcp_call_ms=round(timeout * 1000))
    return limits if most is None else replace(limits, mcp_message_bytes=most)


def _remote(url: str, headers: Mapping[str, str], limits: Limits) -> AbstractAsyncContextManager[Remote]:
    from tslg.node.adapters.mcp.messages import not_installed

    try:
        from tslg.node.adapters.mcp.http import remote
    except ModuleNotFoundError as error:
        raise not_installed() from error
    return remote(url, headers, limits)


def _relay(
    gate: Gate, command: tuple[str, ...], url: str | None, headers: Mapping[str, str], limits: Limits
) -> tuple[bool, int | None]:
    """Relay between stdin and stdout and the server; return whether the client left first, and the exit status."""
    import signal

    import trio

    from tslg.node.adapters.mcp.channels import FileIn, FileOut, Lines
    from tslg.node.adapters.mcp.child import child
    from tslg.node.adapters.mcp.judging import Judge
    from tslg.node.adapters.mcp.relay import Relay

    async def end_on_signal(relay: Relay, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                relay.leave()
                scope.deadline = trio.current_time() + _GRACE

    async def work() -> tuple[bool, int | None]:
        client = Lines(FileIn(0), FileOut(1), limits)
        upstream = child(command, limits) if url is None else _remote(url, headers, limits)
        with trio.CancelScope() as scope:
            async with upstream as server, trio.open_nursery() as nursery:
                relay = Relay(client, server, Judge(gate, limits), limits)
                nursery.start_soon(end_on_signal, relay, scope)
                left = await relay.run()
                nursery.cancel_scope.cancel()
        return scope.cancelled_caught or left, server.status

    return trio.run(work)
