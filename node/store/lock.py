"""The lock of a data directory: one writing process, named by its pid, released by the system if it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from tslg.node.store.engine import make_directory, translate_os
from tslg.protocol.errors import StoreError


class DataDirLock:
    """The lock on `<directory>/lock`, by flock(2). The file stays after the release; only the lock on it counts.

    Args:
        path: the data directory, made by `acquire` if it is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self._directory = Path(path)
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock, at once or not at all.

        Raises:
            StoreError: `TSLG-D-LOCKED` if another holder, in this process or another, has it; `TSLG-D-DIRECTORY` or
                `TSLG-D-PERMISSION` if there can be no lock file.
        """
        make_directory(self._directory)
        path = self._directory / "lock"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise translate_os(error, path) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "of unknown id"
            os.close(file)
            raise StoreError(
                f"{self._directory}: in use by process {holder}",
                code="TSLG-D-LOCKED",
                mend=f"end process {holder}, or name another data directory",
            ) from error
        except OSError as error:
            os.close(file)
            raise translate_os(error, path) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode("ascii"), 0)
        self._file = file

    def release(self) -> None:
        """Give the lock back; without effect if it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()
