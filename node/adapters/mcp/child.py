"""An MCP server as a child process: it speaks over its stdin and stdout, and ends when the first is closed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from tslg.node.adapters.mcp.channels import Lines
from tslg.node.adapters.mcp.messages import Malformed, Message
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT, Limits

_GRACE: Final = 2.0
"""Seconds for a server to end by itself, and again after it was asked to: what MCP's own libraries give it."""


class Child:
    """The channel to a server that runs as a child. `child` starts and ends it."""

    def __init__(self, process: trio.Process, limits: Limits) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._input = process.stdin
        self._output = process.stdout
        self._lines = Lines(process.stdout, process.stdin, limits)
        self._finished = False

    @property
    def status(self) -> int | None:
        """Return the exit status, below zero for the signal that killed it, or None while it runs."""
        return self._process.returncode

    async def receive(self) -> Message | Malformed | None:
        """Return what the server says next, None where it has ended."""
        return await self._lines.receive()

    async def send(self, message: Message) -> None:
        """Say something to the server. Raises trio.BrokenResourceError."""
        await self._lines.send(message)

    async def finish(self) -> None:
        """Close the server's input, and have it end with all that it started: asked first, killed in the end."""
        await self._input.aclose()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with trio.move_on_after(_GRACE):
                await self._process.wait()
                break
            self._signal(number)
        await self._process.wait()
        if not self._finished:
            # Once: later its group's number may be another's.
            self._finished = True
            self._signal(signal.SIGKILL)
        await self._output.aclose()

    def _signal(self, number: int) -> None:
        """Signal the server's process group: what it started must not outlive it with our pipes in hand."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


@asynccontextmanager
async def child(command: Sequence[str], limits: Limits = DEFAULT) -> AsyncIterator[Child]:
    """Run a server for the length of a block. It inherits the environment and stderr, and has a process group.

    Raises:
        UsageError: the command cannot be run.
    """
    try:
        process = await trio.lowlevel.open_process(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise UsageError(
            f"{command[0]} cannot be run: {error.strerror}", mend="give the server's command behind `--`"
        ) from error
    running = Child(process, limits)
    try:
        yield running
    finally:
        with trio.CancelScope(shield=True):
            await running.finish()
