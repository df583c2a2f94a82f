"""The lock of a data directory: one writing process, named by its pid, released by the system if it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from tslg.node.store.engine import make_directory
from tslg.protocol.errors import StoreError


class DataDirLock:
    """Holds `<directory>/lock` with flock(2) until closed. The file stays; only the lock on it counts.

    Args:
        path: the data directory, made if it is not there.

    Raises:
        StoreError: `TSLG-D-LOCKED` if another holder, in this process or another, has it; `TSLG-D-DIRECTORY`,
            `TSLG-D-PERMISSION` if there can be no lock file.
    """

    def __init__(self, path: str | Path) -> None:
        directory = Path(path)
        make_directory(directory)
        self.path = directory / "lock"
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"{self.path}: {error.strerror}",
                code="TSLG-D-PERMISSION",
                mend="give this user the directory and its files",
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise StoreError(
                f"{directory}: in use by the process {holder}",
                code="TSLG-D-LOCKED",
                mend=f"end process {holder}, or name another data directory",
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode("ascii"), 0)

    def close(self) -> None:
        """Release the lock; closing twice is allowed."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
