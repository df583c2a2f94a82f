"""Blobs as files under their SHA-256 digest: contents of tens of megabytes stay out of the database and its log."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tslg.node.store.engine import make_directory, translate_os
from tslg.node.store.interface import Problem
from tslg.protocol.errors import StoreError


class FileBlobs:
    """A directory of blobs, `<first two hex digits>/<the other 62>`, each written whole or not at all.

    Args:
        directory: where they lie; made when the first one is put.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._unfinished = directory / "unfinished"

    def clear_unfinished(self) -> None:
        """Remove what a crash left half-written. Only for the one writing process."""
        if self._unfinished.is_dir():
            for path in self._unfinished.iterdir():
                path.unlink()

    def put(self, data: bytes) -> bytes:
        """Keep `data` durably and return its digest. StoreError if the disk cannot take it."""
        return self.put_all((data,))[0]

    def put_all(self, contents: Iterable[bytes]) -> list[bytes]:
        """Keep every content durably, or none that was not there before, and return their digests in order.

        Each directory is synced once, not once a blob. StoreError if the disk cannot take them.
        """
        digests = []
        made: list[Path] = []
        try:
            for data in contents:
                digest = hashlib.sha256(data).digest()
                digests.append(digest)
                path = self._path(digest)
                if not path.exists():
                    make_directory(path.parent)
                    make_directory(self._unfinished)
                    self._write(path, data)
                    made.append(path)
            if made:
                for directory in (*{path.parent: None for path in made}, self._directory, self._directory.parent):
                    _sync_directory(directory)
        except BaseException as error:
            for path in made:
                path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise translate_os(error, self._directory) from error
            raise
        return digests

    def _write(self, path: Path, data: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._unfinished)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def get(self, digest: bytes) -> bytes | None:
        """Return the blob with this digest, None if it is not there. StoreError `TSLG-D-BLOB` if it changed."""
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise translate_os(error, path) from error
        if hashlib.sha256(data).digest() != digest:
            raise StoreError(f"{path}: not what its name says", code="TSLG-D-BLOB", mend="restore it from a copy")
        return data

    def erase(self, digests: Iterable[bytes]) -> None:
        """Overwrite and remove these blobs, as far as they are there. StoreError if the disk does not let that be."""
        for digest in digests:
            path = self._path(digest)
            try:
                with path.open("r+b") as file:
                    file.write(bytes(path.stat().st_size))
                    file.flush()
                    os.fsync(file.fileno())
                path.unlink()
                _sync_directory(path.parent)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise translate_os(error, path) from error

    def drop(self, digests: Iterable[bytes]) -> int:
        """Remove blobs, durably; return how many were there. StoreError if the disk refuses."""
        paths = [path for path in map(self._path, digests) if path.exists()]
        try:
            for path in paths:
                path.unlink()
            for directory in {path.parent for path in paths}:
                _sync_directory(directory)
        except OSError as error:
            raise translate_os(error, self._directory) from error
        return len(paths)

    def check(self) -> list[Problem]:
        """Read every blob and return those that are not what their names say."""
        problems = []
        for path in sorted(self._directory.glob("[0-9a-f][0-9a-f]/*")):
            try:
                changed = hashlib.sha256(path.read_bytes()).hexdigest() != path.parent.name + path.name
            except OSError as error:
                problems.append(Problem("TSLG-D-IO", f"{path}: {error.strerror}"))
                continue
            if changed:
                problems.append(Problem("TSLG-D-BLOB", f"{path}: not what its name says"))
        return problems

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._directory / name[:2] / name[2:]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
