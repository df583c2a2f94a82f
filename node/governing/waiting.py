"""Rejections that wait for a log that cannot be written: in memory, and in a file beside the store that failed.

The file is one frame after another: the length of what follows in four bytes, its SHA-256, and the DAG-CBOR of one
rejection. A frame is on the disk before its caller is told. Each rejection has a number, and the store takes that of
the last one written in the transaction of its record, so none is written twice, whatever moment a crash chooses.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tslg.manifests.files import sync_folder
from tslg.node.governing.entries import Entry
from tslg.protocol import codec
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError, StoreError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record

_log = logging.getLogger(__name__)
_MORE: Final = "; and "
_HEAD: Final = 4 + 32
_FRAME_BYTES: Final = 2 * DEFAULT.record_bytes
"""Of a rejection, which fits a record, and what stands beside it here."""


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A rejection that waits for the log.

    Attributes:
        number: its place in the order in which they came, rising through all files of an agent.
        rejection: what is to be recorded.
        unsure: the record of the step itself where that may be stored all the same.
        missed: for how many later ones it speaks that are not kept.
    """

    number: int
    rejection: Entry
    unsure: Record | None
    missed: int = 0

    def speaking(self) -> Waiting:
        """Return it, speaking for one more."""
        missed = self.missed + 1
        more = f"{missed} later steps were not recorded either"
        body = self.rejection.body
        reason = body["reason"].partition(_MORE)[0][: DEFAULT.reason_characters - len(_MORE) - len(more)]
        return replace(
            self, rejection=replace(self.rejection, body={**body, "reason": reason + _MORE + more}), missed=missed
        )

    def frame(self) -> bytes:
        """Return what the file has of it. Raises CodecError: no record can hold it either."""
        unsure = None if self.unsure is None else self.unsure.id
        kept = {"number": self.number, "unsure": unsure, "missed": self.missed, **self.rejection.to_map()}
        data = codec.encode(kept)
        return len(data).to_bytes(4, "big") + hashlib.sha256(data).digest() + data


class Queue:
    """The rejections of one agent that wait, oldest first. Whoever uses it holds a lock.

    Args:
        folder: where its file is; None keeps nothing beyond this process.
        agent: whose log they wait for.
        done: the number of the last rejection that the store has.
        dropped: the numbers of others that need not be written any more.
        find: returns a record that is held here.

    Raises:
        StoreError: `TSLG-D-PATH`: the file cannot be read, or not be brought in order.
    """

    def __init__(
        self,
        folder: Path | None,
        agent: Link,
        done: int,
        dropped: Collection[int],
        find: Callable[[Link], Record | None],
    ) -> None:
        self._path = None if folder is None else folder / to_text(agent)
        self._waiting: deque[Waiting] = deque()
        self._frames = 0
        """How many frames the file has."""
        kept = {} if self._path is None else _read(self._path)
        self._next = max([done, *dropped, *kept]) + 1
        for number in sorted(kept):
            if number > done and number not in dropped:
                one = kept[number]
                unsure = None if one["unsure"] is None else find(one["unsure"])
                self._waiting.append(Waiting(number, Entry.from_map(one), unsure, one["missed"]))
        if self._path is not None and self._path.exists():
            try:
                self._shrink(self._path)
            except OSError as error:
                raise _unusable(self._path, error) from error

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(tuple(self._waiting))

    def add(self, rejection: Entry, unsure: Record | None) -> str:
        """Take one in; return why it would not outlast this process, empty if it would.

        Beyond `unrecorded_steps` no more are kept: the newest that is speaks for those after it.
        """
        if len(self._waiting) < DEFAULT.unrecorded_steps:
            one = Waiting(self._next, rejection, unsure)
            self._next += 1
        else:
            one = self._waiting.pop().speaking()
        self._waiting.append(one)
        return self._keep(one)

    def drop(self, one: Waiting) -> None:
        """Forget one that was written, or that never will be."""
        self._waiting.remove(one)
        if self._path is None or self._waiting:
            return
        try:
            self._shrink(self._path)
        except OSError as error:
            # By their numbers none of them is written again; the file is removed at the next opening.
            _log.warning("%s cannot be removed: %s", self._path, error.strerror)

    def _keep(self, one: Waiting) -> str:
        if self._path is None:
            return "its data directory is not open for writing"
        try:
            if self._frames >= 2 * DEFAULT.unrecorded_steps:
                self._shrink(self._path)
            else:
                _append(self._path, one.frame())
                self._frames += 1
        except OSError as error:
            return error.strerror or type(error).__name__
        except CodecError as error:
            return error.detail
        return ""

    def _shrink(self, path: Path) -> None:
        """Leave nothing in the file but what waits: a crash leaves the old one or the new one."""
        if self._waiting:
            fresh = path.with_name(f".{path.name}.new")
            fresh.unlink(missing_ok=True)
            _append(fresh, b"".join(one.frame() for one in self._waiting))
            fresh.replace(path)
        else:
            path.unlink(missing_ok=True)
        self._frames = len(self._waiting)
        sync_folder(path.parent)


def _read(path: Path) -> dict[int, dict[str, Any]]:
    """Return what a file has, by number, the newest of each; nothing behind a frame that a crash cut short."""
    found: dict[int, dict[str, Any]] = {}
    try:
        with path.open("rb") as file:
            while len(head := file.read(_HEAD)) == _HEAD:
                size = int.from_bytes(head[:4], "big")
                data = file.read(min(size, _FRAME_BYTES))
                if hashlib.sha256(data).digest() != head[4:]:
                    break
                one = codec.decode(data)
                found[one["number"]] = one
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unusable(path, error) from error
    return found


def _append(path: Path, data: bytes) -> None:
    """Append to a file, durably, all of it or nothing. Raises OSError."""
    new = not path.exists()
    if new:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb", buffering=0) as file:  # noqa: PTH123
        size = os.fstat(file.fileno()).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            # What is cut short would hide whatever came behind it.
            file.truncate(size)
            raise
    if new:
        sync_folder(path.parent)


def _unusable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: {error.strerror}", code="TSLG-D-PATH", mend="have the data directory readable and writable"
    )
