"""Where a stream of lines goes, and the cursor that is kept with it: over restarts nothing is lost.

A file holds each record once, whatever happens: what stands behind the length that the cursor names was written
without being noted, and is cut off. Of a pipe nobody can take anything back: after a crash its last lines come again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, Self

from tslg.node.cli.files import write_replacing
from tslg.node.streaming.feed import Cursor, decode_cursor, encode_cursor
from tslg.protocol.errors import UsageError

CURSORS: Final = "streams"
"""Folder of a data directory with the cursors of streams that go nowhere but to a pipe, by name."""


class Outlet:
    """Lines and their cursor; a context manager.

    Args:
        out: the file that the lines are appended to, or a stream that is somebody else's.
        kept: the file with the cursor.
        most: logs of one cursor, at most.

    Raises:
        UsageError: `TSLG-U-FILE`: a file cannot be used. `TSLG-U-CURSOR`: the cursor is none, or is of a longer file.
    """

    def __init__(self, out: Path | BinaryIO, kept: Path, most: int) -> None:
        self._kept = kept
        self._most = most
        self.cursor: Cursor | None = None
        """Where to go on; None at the beginning."""
        length = self._read()
        self._path = out if isinstance(out, Path) else None
        try:
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._stream = self._open(out, length) if isinstance(out, Path) else out
        except OSError as error:
            where = error.filename or out
            raise UsageError(
                f"{where}: {error.strerror}", code="TSLG-U-FILE", mend="name another file with --out"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            self._stream.close()

    def write(self, lines: Sequence[bytes], cursor: Cursor) -> None:
        """Write lines out, durably if they go to a file, and then the cursor after them. OSError if it cannot be."""
        if lines:
            self._stream.write(b"".join(lines))
            self._stream.flush()
        length = 0
        if self._path is not None:
            os.fsync(self._stream.fileno())
            length = self._stream.tell()
        note = {"cursor": encode_cursor(cursor), "length": length}
        write_replacing(self._kept, json.dumps(note).encode())
        self.cursor = cursor

    def _read(self) -> int:
        try:
            note = json.loads(self._kept.read_bytes())
            self.cursor = decode_cursor(str(note["cursor"]), self._most)
            return int(note["length"])
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self._kept}: no cursor can be read there", code="TSLG-U-CURSOR", mend="begin anew: remove the file"
            ) from error

    def _open(self, out: Path, length: int) -> BinaryIO:
        stream = out.open("ab")
        size = stream.tell()
        if size < length or (self.cursor is None and size > 0):
            stream.close()
            raise UsageError(
                f"{out} has {size} bytes, and its cursor in {self._kept} is of {length}",
                code="TSLG-U-CURSOR",
                mend="give back the file or its cursor, or name another file",
            )
        stream.truncate(length)
        return stream
