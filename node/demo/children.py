"""Child processes of the demonstration: they talk in JSON lines, they end when their parent does, they fail with words.

A child reads requests from standard input and writes answers to standard output, one JSON document a line. The end of
its input means that the parent is gone or wants it gone. What it writes to standard error is shown only if it fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

import tslg
from tslg.node.demo.errors import DemoError

LINE_BYTES: Final = 64 * 1024 * 1024
"""One line from a child: a report of a hundred thousand records fits."""
STOP_SECONDS: Final = 3.0
"""What a child gets to end by itself, and then again to end on being told to."""
_SHOWN_BYTES: Final = 2_000
_PIECE: Final = 64 * 1024


class Lines:
    """JSON documents, one a line, from a stream."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def receive(self) -> Any:
        """Return the next document, None at the end of the stream.

        Raises:
            ValueError: a line is not JSON, or longer than the limit.
        """
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LINE_BYTES:
                raise ValueError(f"a line of more than {LINE_BYTES} bytes")
            piece = await self._stream.receive_some(_PIECE)
            if not piece:
                return None
            self._buffer += piece
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return json.loads(line)


class Child:
    """A running child: `name` for messages, `pid`."""

    def __init__(self, name: str, process: trio.Process, errors: Path) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.name = name
        self.pid = process.pid
        self._process = process
        self._stdin = process.stdin
        self._lines = Lines(process.stdout)
        self._errors = errors

    async def send(self, document: Any) -> None:
        """Send one document.

        Raises:
            DemoError: the child has ended.
        """
        try:
            await self._stdin.send_all(json.dumps(document).encode() + b"\n")
        except trio.BrokenResourceError as error:
            raise await self._failure("ended") from error

    async def receive(self, seconds: float) -> Any:
        """Return the next document that the child writes.

        Raises:
            DemoError: it ended, wrote something else, or wrote nothing for so many seconds.
        """
        with trio.move_on_after(seconds):
            try:
                document = await self._lines.receive()
            except ValueError as error:
                raise await self._failure("wrote something that is not JSON") from error
            if document is None:
                raise await self._failure("ended without an answer")
            return document
        raise await self._failure(f"did not answer within {seconds:.0f} s")

    async def _failure(self, what: str) -> DemoError:
        await self.stop(patience=0)
        said = self._errors.read_bytes()[-_SHOWN_BYTES:].decode(errors="replace").strip()
        status = self._process.returncode
        return DemoError(f"{self.name} (process {self.pid}, exit status {status}) {what}" + (f":\n{said}" * bool(said)))

    async def stop(self, patience: float = STOP_SECONDS) -> None:
        """End the child: by the end of its input, then by SIGTERM, then by SIGKILL. Returns when it is gone."""
        with trio.CancelScope(shield=True):
            await self._stdin.aclose()
            if await self._gone_within(patience):
                return
            self._process.terminate()
            if await self._gone_within(STOP_SECONDS):
                return
            self._process.kill()
            await self._process.wait()

    async def _gone_within(self, seconds: float) -> bool:
        with trio.move_on_after(seconds):
            await self._process.wait()
        return self._process.returncode is not None


@asynccontextmanager
async def child(name: str, module: str, arguments: Sequence[str], folder: Path) -> AsyncIterator[Child]:
    """Run `python -m module arguments` while the block runs; its standard error goes to a file in `folder`."""
    errors = folder / f"{name.replace(' ', '-')}.stderr"
    with errors.open("wb") as sink:
        # A session of its own: Ctrl-C goes to the parent alone, which ends its children in order.
        process = await trio.lowlevel.open_process(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            start_new_session=True,
            env=_environment(),
        )
    running = Child(name, process, errors)
    try:
        yield running
    finally:
        await running.stop()


def _environment() -> dict[str, str]:
    """Return this process's environment, with the package on the child's path if it is not installed."""
    home = Path(tslg.__file__).resolve().parent.parent
    if home.name in ("site-packages", "dist-packages"):
        return dict(os.environ)
    path = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def write_line(document: Any) -> None:
    """Write one document to standard output: the child's side."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


@asynccontextmanager
async def parent() -> AsyncIterator[Lines]:
    """Give the child's side the lines of its standard input."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
        yield Lines(stream)
