"""Packages of files on disk: their listing and content hash, and whether a folder is the package that a record names.

Files are read as streams. Whatever the folder's owner does meanwhile, nothing outside of it is read: no link is
followed, and every step goes from an open directory to an entry of it. Normative text: docs/spec/artifacts.md.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tslg.protocol import codec
from tslg.protocol.errors import CodecError, PackageError
from tslg.protocol.lifecycle import PACKAGE
from tslg.protocol.limits import DEFAULT

_CHUNK: Final = 1024 * 1024
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Tick = Callable[[int], None]
"""Is told how many bytes were read since it was told last."""


class FileEntry(NamedTuple):
    """One file of a package: its size in bytes and the SHA-256 of its content."""

    size: int
    digest: bytes


class Package(NamedTuple):
    """The files of a package by path, sorted as the listing has them, and the listing's bytes."""

    files: Mapping[str, FileEntry]
    listing: bytes

    @property
    def digest(self) -> bytes:
        """The content hash of all files: the SHA-256 of the listing."""
        return hashlib.sha256(self.listing).digest()

    @property
    def size(self) -> int:
        """The sum of the files' sizes."""
        return sum(entry.size for entry in self.files.values())

    def body(self) -> dict[str, object]:
        """Return what an `artifact` record says of the package."""
        blob = {"digest": self.digest, "size": len(self.listing), "media_type": PACKAGE}
        return {"package": blob, "files": len(self.files), "bytes": self.size}


class Difference(NamedTuple):
    """One way in which files are not those of a package: `missing`, `added` or `changed`, and the path."""

    how: str
    path: str


def package_of(files: Mapping[str, FileEntry]) -> Package:
    """Return the package of files given by path. Raises PackageError for paths or numbers that no package has."""
    if not files:
        raise PackageError("a package without files", mend="put in what the artifact consists of")
    if len(files) > DEFAULT.package_files:
        raise _too_many()
    for path, entry in files.items():
        check_path(path)
        if not 0 <= entry.size <= DEFAULT.integer or len(entry.digest) != 32:
            raise PackageError(f"{path[:80]!a} has no such size or digest", mend="give bytes, and a SHA-256")
        parts = path.split("/")
        if any("/".join(parts[:count]) in files for count in range(1, len(parts))):
            raise PackageError(f"{path[:80]!a} lies below a file", code="TSLG-F-PATH", mend="name files alone")
    listing = codec.encode({path: [entry.size, entry.digest] for path, entry in files.items()})
    return Package(dict(sorted(files.items(), key=lambda item: _order(item[0]))), listing)


def read_listing(listing: bytes) -> Package:
    """Read a listing that came from somewhere. Raises PackageError for anything that is none."""
    wrong = PackageError("that is no listing of a package", mend="ask for the listing that the record names")
    if len(listing) > DEFAULT.listing_bytes:
        raise wrong
    try:
        value = codec.decode(listing)
    except CodecError as error:
        raise wrong from error
    if not isinstance(value, dict):
        raise wrong
    for entry in value.values():
        if not isinstance(entry, list) or list(map(type, entry)) != [int, bytes]:
            raise wrong
    return package_of({path: FileEntry(*entry) for path, entry in value.items()})


def hash_folder(root: Path, tick: Tick | None = None) -> Package:
    """Hash all files below a folder, or one file by its name, whatever their order, times and rights.

    Raises:
        PackageError: `TSLG-F-LINK`, `TSLG-F-SPECIAL`, `TSLG-F-PATH`, `TSLG-F-CHANGED`; none or too many files; or
            something cannot be read.
    """
    files: dict[str, FileEntry] = {}
    try:
        if root.is_file():
            with _Opened(_open(root.name, None, root)) as descriptor:
                return package_of({root.name: _hash(descriptor, root.name, tick)})
        for path, descriptor in _walk(root):
            with _Opened(descriptor):
                files[path] = _hash(descriptor, path, tick)
            if len(files) > DEFAULT.package_files:
                raise _too_many()
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else str(root)
        raise PackageError(f"{name}: {error.strerror or error}", mend="check the path and its rights") from error
    return package_of(files)


def read_bounded(path: Path, most: int) -> bytes:
    """Return the content of a file of at most so many bytes, which is no link.

    Raises:
        PackageError: `TSLG-F-SPECIAL`: it is a pipe or the like, for which nobody waits; it is larger, or cannot be
            read.
    """
    try:
        with open(_open(path.name, None, path), "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise PackageError(f"{path}: {error.strerror or error}", mend="check the path and its rights") from error
    if len(content) > most:
        raise PackageError(f"{path} has more than {most} bytes", mend="make it smaller")
    return content


def read_file(path: Path, entry: FileEntry) -> bytes:
    """Return the content of a file that was hashed, and of no other. Raises as `read_bounded`; `TSLG-F-CHANGED`."""
    content = read_bounded(path, DEFAULT.kept_bytes)
    if (len(content), hashlib.sha256(content).digest()) != entry:
        raise PackageError(f"{path} changed while it was read", code="TSLG-F-CHANGED", mend="do it again")
    return content


def compare(recorded: Package, found: Package) -> list[Difference]:
    """Return how files differ from those of a package, by path; nothing for the same package."""
    differences = []
    for path in sorted(recorded.files.keys() | found.files.keys()):
        if path not in found.files:
            differences.append(Difference("missing", path))
        elif path not in recorded.files:
            differences.append(Difference("added", path))
        elif recorded.files[path] != found.files[path]:
            differences.append(Difference("changed", path))
    return differences


def write_package(package: Package, contents: Callable[[bytes], bytes | None], folder: Path) -> list[str]:
    """Write the files of a package, whose contents are asked for by digest, into an empty or new folder.

    Returns the paths of those that cannot be had; if there are any, nothing is written.

    Raises:
        PackageError: the folder is not empty or cannot be written to, or a content is not what its digest says.
    """
    make_empty(folder)
    missing = []
    whole = False
    try:
        for path, entry in package.files.items():
            content = contents(entry.digest)
            if content is None:
                missing.append(path)
            elif not missing:
                _write(folder / path, path, content, entry)
        whole = not missing
    finally:
        if not whole:
            for one in folder.iterdir():
                shutil.rmtree(one) if one.is_dir() else one.unlink()
    return missing


def _write(place: Path, path: str, content: bytes, entry: FileEntry) -> None:
    if (len(content), hashlib.sha256(content).digest()) != entry:
        raise PackageError(f"what is kept of {path} is not that file", code="TSLG-F-CHANGED", mend="fetch it again")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    except OSError as error:
        # Such as a name that this file system does not take.
        mend = "name a folder on another file system, or make room"
        raise PackageError(f"{path[:80]!a} cannot be written: {error.strerror}", mend=mend) from error


def make_empty(folder: Path) -> None:
    """Make a folder unless it is there. Raises PackageError if it cannot be, or is not empty."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except OSError as error:
        raise PackageError(f"{folder}: {error.strerror}", mend="check the path and its rights") from error
    if not empty:
        raise PackageError(f"{folder} is not empty", mend="name a new folder")


def check_path(path: object) -> None:
    """Refuse a path that no package may have. Raises PackageError `TSLG-F-PATH`."""
    if isinstance(path, str):
        segments = path.split("/")
        plain = all(char.isprintable() or char >= "\x80" for char in path) and "\\" not in path
        fits = len(path.encode("utf-8", "replace")) <= DEFAULT.package_path and len(segments) <= DEFAULT.package_levels
        utf8 = not any("\ud800" <= char <= "\udfff" for char in path)
        if plain and fits and utf8 and not {"", ".", ".."} & set(segments):
            return
    raise PackageError(
        f"{str(path)[:80]!a} is no path of a package",
        code="TSLG-F-PATH",
        mend="use plain names below the package's folder, at most 1,024 bytes and 64 levels",
    )


def _order(path: str) -> tuple[int, bytes]:
    key = path.encode()
    return len(key), key


def _walk(root: Path) -> Iterator[tuple[str, int]]:
    """Yield the path of every regular file below a folder, and a descriptor that whoever gets it closes."""
    stack: list[tuple[str, int, Iterator[str]]] = [("", os.open(root, _DIRECTORY), iter(()))]
    try:
        prefix, top, _ = stack[0]
        stack[0] = (prefix, top, _names(top))
        while stack:
            prefix, directory, names = stack[-1]
            name = next(names, None)
            if name is None:
                os.close(stack.pop()[1])
                continue
            path = prefix + name
            check_path(path)
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                opened = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                stack.append((f"{path}/", opened, _names(opened)))
            else:
                _refuse_special(mode, path)
                yield path, _open(name, directory, path)
    finally:
        for _, directory, _ in stack:
            os.close(directory)


def _names(directory: int) -> Iterator[str]:
    with os.scandir(directory) as entries:
        return iter(sorted(entry.name for entry in entries))


def _refuse_special(mode: int, path: str) -> None:
    if stat.S_ISLNK(mode):
        mend = "put in the file itself: what a link leads to may be anything, and elsewhere"
        raise PackageError(f"{path} is a symbolic link", code="TSLG-F-LINK", mend=mend)
    if not stat.S_ISREG(mode):
        raise PackageError(f"{path} is no regular file", code="TSLG-F-SPECIAL", mend="leave it out")


def _open(name: str, directory: int | None, path: str | Path) -> int:
    """Open a file for reading. It may be another one than was looked at, so that its kind is looked at again."""
    descriptor = os.open(path if directory is None else name, _FILE, dir_fd=directory)
    try:
        _refuse_special(os.fstat(descriptor).st_mode, str(path))
    except PackageError:
        os.close(descriptor)
        raise
    return descriptor


def _hash(descriptor: int, path: str, tick: Tick | None) -> FileEntry:
    before = os.fstat(descriptor)
    digest, size = hashlib.sha256(), 0
    # A file that grows as fast as it is read would have no end.
    while size <= before.st_size and (part := os.read(descriptor, _CHUNK)):
        digest.update(part)
        size += len(part)
        if tick is not None:
            tick(len(part))
    after = os.fstat(descriptor)
    if size != before.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise PackageError(f"{path} changed while it was read", code="TSLG-F-CHANGED", mend="wait until it is written")
    return FileEntry(size, digest.digest())


def _too_many() -> PackageError:
    mend = "record parts of it as packages of their own"
    return PackageError(f"a package of more than {DEFAULT.package_files} files", mend=mend)


class _Opened:
    """Closes a descriptor at the end of a block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)
