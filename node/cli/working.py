"""Works in any language: a command that is handed a delegation on its standard input and answers in lines of JSON.

Its standard input is one JSON document, `{"delegation", "delegator", "task", "grant", "expires"}`. It writes lines:

    {"done": 3, "total": 7}                       how far it is, as often as it likes; `total` may be null
    {"result": {…}, "uses": […], "spends": {…}}   what it did, once; `uses` and `spends` if it claims any
    {"refused": "why"}                            in place of a result

The result becomes the output of an action under the delegation. Any other exit code than 0 is a failure, with the last
line of its standard error as the reason. It is ended when the delegation is cancelled or expires.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from tslg.node.cli.describing import dag_json
from tslg.node.delegating.works import Declined, Progress
from tslg.protocol.cid import to_text
from tslg.protocol.errors import TslgError

if TYPE_CHECKING:
    from tslg.node.agent import Agent
    from tslg.protocol.record import Record

LINE_BYTES: Final = 64 * 1024
"""One line of output: as much as a record can hold."""
LINES: Final = 100_000
"""Lines of one command, nearly all of them progress."""
ERROR_BYTES: Final = 4 * 1024
"""What is kept of standard error, the end of it."""


class CommandFailed(TslgError):
    """A command that ended badly, or said what is not understood."""

    code = "TSLG-U-COMMAND"


def work_by(command: Sequence[str]) -> Callable[[Agent, Record, Progress], Awaitable[Record]]:
    """Return a work that runs a command for each delegation."""

    async def work(agent: Agent, delegation: Record, progress: Progress) -> Record:
        said = await _run(command, _document(delegation), progress)
        task = delegation.body["task"]
        name = task.get("do") if isinstance(task.get("do"), str) and task.get("do") else "work"
        claims = {key: said[key] for key in ("uses", "spends") if key in said}
        try:
            return await agent.act(name, dict(task), said["result"], delegation=delegation, **claims)
        except (TypeError, ValueError) as error:
            raise CommandFailed(f"its result cannot be recorded: {error}") from error

    return work


async def _run(command: Sequence[str], document: bytes, progress: Progress) -> dict[str, Any]:
    """Run a command to its end and return the line with its result. Raises CommandFailed, Declined."""
    found: dict[str, Any] | None = None
    complaint = bytearray()
    failure: TslgError | None = None
    try:
        async with trio.open_nursery() as nursery:
            pipes: dict[str, Any] = {"stdin": document, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            start: Any = partial(trio.run_process, list(command), check=False, **pipes)
            process = await nursery.start(start)
            nursery.start_soon(_keep_end, process.stderr, complaint)
            try:
                async for line in _lines(process.stdout):
                    said = _read(line)
                    if "done" in said:
                        progress(said["done"], said["total"])
                    elif found is not None:
                        raise CommandFailed("it gave two results")
                    else:
                        found = said
            except (TslgError, ValueError) as error:
                failure = error if isinstance(error, TslgError) else CommandFailed(f"its progress: {error}")
                nursery.cancel_scope.cancel()
    except* OSError as errors:
        raise CommandFailed(f"{command[0]}: {errors.exceptions[0]}") from None
    if failure is not None:
        raise failure
    if process.returncode != 0:
        last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise CommandFailed(f"it ended with exit code {process.returncode}: {last or 'and said nothing'}")
    if found is None:
        raise CommandFailed("it ended without a result")
    if "refused" in found:
        raise Declined(found["refused"])
    return found


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    buffer, count = bytearray(), 0
    async for data in stream:
        buffer += data
        while (end := buffer.find(b"\n")) >= 0:
            line, count = bytes(buffer[:end]), count + 1
            del buffer[: end + 1]
            if len(line) > LINE_BYTES or count > LINES:
                raise CommandFailed(f"it said more than {LINES} lines of {LINE_BYTES} bytes")
            if line.strip():
                yield line
        if len(buffer) > LINE_BYTES:
            raise CommandFailed(f"it said more than {LINE_BYTES} bytes in one line")
    if buffer.strip():
        yield bytes(buffer)


async def _keep_end(stream: trio.abc.ReceiveStream, kept: bytearray) -> None:
    async for data in stream:
        kept += data
        del kept[:-ERROR_BYTES]


def _read(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError as error:
        raise CommandFailed(f"it said what is no JSON: {line[:80]!r}") from error
    if isinstance(said, dict):
        if said.keys() == {"done", "total"}:
            return said
        if said.keys() == {"refused"} and isinstance(said["refused"], str):
            return said
        if {"result"} <= said.keys() <= {"result", "uses", "spends"} and isinstance(said["result"], dict):
            return said
    raise CommandFailed(f"it said what is not understood: {line[:80]!r}")


def _document(delegation: Record) -> bytes:
    body = delegation.body
    document = {
        "delegation": to_text(delegation.id),
        "delegator": to_text(delegation.owner),
        "task": dag_json(body["task"]),
        "grant": to_text(body["grant"]),
        "expires": body["expires"],
    }
    return json.dumps(document).encode() + b"\n"
