"""Files that commands write: whole or not at all, and in place of what was there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tslg.manifests.files import give_name, sync_folder
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
            sync_folder(path.parent)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def fresh(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that its owner alone can read, and that has its name once the block ended without an error.

    Raises:
        UsageError: `TSLG-U-FILE` if there is something of that name, or it cannot be written; what was there stays.
    """
    there = UsageError(f"{path} is there already", code="TSLG-U-FILE", mend="name a new file")
    if os.path.lexists(path):
        raise there
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            give_name(Path(name), path)
            sync_folder(path.parent)
        finally:
            Path(name).unlink(missing_ok=True)
    except FileExistsError as error:
        raise there from error
    except OSError as error:
        raise _unwritable(path, error) from error


def write_replacing(path: Path, data: bytes) -> None:
    """Write a file in place of what was there. Raises as `replacing`."""
    with replacing(path) as file:
        file.write(data)


def _unwritable(path: Path, error: OSError) -> UsageError:
    what = f"{path} cannot be written: {error.strerror or error}"
    return UsageError(what, code="TSLG-U-FILE", mend="check the path and its rights")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
