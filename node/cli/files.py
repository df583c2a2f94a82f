"""Files that commands write: whole or not at all, and in place of what was there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tslg.protocol.errors import UsageError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of `path`, durably, when the block ends without an error.

    Raises:
        UsageError: `TSLG-U-FILE` if it cannot be written, or is a pipe, a device or a folder; what was there stays.
    """
    if path.exists() and not path.is_file():
        # Nothing could take its place: whoever was root would be left without the device.
        mend = "name a file; without one it goes to standard output, where there is a choice"
        raise UsageError(f"{path} is no regular file", code="TSLG-U-FILE", mend=mend)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary = Path(name)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}", code="TSLG-U-FILE", mend="check the path and its rights"
        ) from error


def write_replacing(path: Path, data: bytes) -> None:
    """Write a file in place of what was there. Raises as `replacing`."""
    with replacing(path) as file:
        file.write(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
