"""Inspects the Python distributions that are really installed: their metadata, and their files against their RECORD.

Nothing is installed, imported or changed. What is read was written by whoever packaged it, so every text is cut to a
length, every file must be a regular one, and a distribution that cannot be read is a finding and not a failure.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import stat
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final, NamedTuple

from tslg.node.demo.licences import Licence, declared

MAX_FILES: Final = 200_000
"""Files of one distribution; the largest real ones have a few ten thousand."""
NAMED: Final = 10
"""Files that a record names of those that are missing or differ; their number is always recorded."""
REQUIREMENTS: Final = 64
"""Requirements that a record lists; their number is always recorded."""
_TEXT: Final = 200
_PATH: Final = 4096
_LICENCE_TEXT: Final = 10_000
_CHUNK: Final = 1024 * 1024
_HASHES: Final = frozenset(("sha256", "sha384", "sha512"))
"""Hashes that RECORD files may use (the wheel specification forbids weaker ones)."""


class FileDigest(NamedTuple):
    """One file as it lies on the disk: its path as RECORD has it, the SHA-256 of its bytes, its size in bytes."""

    path: str
    digest: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is to be seen of one distribution.

    Attributes:
        name, version: as its metadata has them; a name in brackets where there is none.
        licence: what it declares.
        requires: its requirements, as many as are listed; `required` is their number.
        unreadable: why its files cannot be checked, None if they can be.
        editable: it was installed in place, so its code lies where RECORD does not reach.
        files: every file that RECORD gives a hash for and that is there, sorted by path.
        missing: paths of files that RECORD gives a hash for and that are not there.
        mismatched: paths of files whose bytes are not those that were installed.
        unhashed: entries of RECORD without a hash: RECORD itself, compiled files, what a tool added later.
    """

    name: str
    version: str
    licence: Licence
    requires: tuple[str, ...]
    required: int
    unreadable: str | None
    editable: bool
    files: tuple[FileDigest, ...]
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]
    unhashed: int

    @property
    def size(self) -> int:
        """Bytes of the files that were read."""
        return sum(file.size for file in self.files)

    @property
    def listing(self) -> bytes:
        """The files as CSV lines `path,sha256,size`, sorted by path: what the record's `listing` is the SHA-256 of."""
        return "".join(f"{file.path},{file.digest.hex()},{file.size}\n" for file in self.files).encode()


class Installed(NamedTuple):
    """A distribution that was found: where, its name and version, and its metadata, parsed once since that is slow."""

    item: Distribution
    name: str
    version: str
    metadata: Message


class Environment(NamedTuple):
    """The distributions of an environment by name, and how many more are hidden behind one of the same name."""

    distributions: tuple[Installed, ...]
    shadowed: int

    def fingerprint(self) -> str:
        """Return the SHA-256 in hexadecimal over the sorted lines `name==version`: are two agents in the same one?"""
        lines = sorted(f"{found.name}=={found.version}\n" for found in self.distributions)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def site_folders() -> list[str]:
    """Return the folders of the running interpreter into which packages are installed, in the order of import."""
    found = (path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))
    return list(dict.fromkeys(found))


def environment(folders: Sequence[str] | None = None) -> Environment:
    """Find what is installed in `folders` (by default, those of the running interpreter)."""
    seen: dict[str, Installed] = {}
    shadowed = 0
    for item in distributions(path=list(site_folders() if folders is None else folders)):
        found = _installed(item)
        key = re.sub(r"[-_.]+", "-", found.name).lower()
        if key in seen:
            shadowed += 1
        else:
            seen[key] = found
    return Environment(tuple(seen[key] for key in sorted(seen)), shadowed)


def inspect_all(found: Sequence[Installed], workers: int = 2) -> Iterable[Inspection]:
    """Inspect distributions in threads (hashing and reading leave the interpreter free); results in their order."""
    with ThreadPoolExecutor(workers, thread_name_prefix="tslg-inspect") as executor:
        yield from executor.map(inspect, found)


def inspect(found: Installed) -> Inspection:
    """Look at one distribution: its metadata, and each file that RECORD gives a hash for. Never raises."""
    requires = _all(found.metadata, "Requires-Dist")
    unreadable, entries = _record(found.item)
    files, missing, mismatched, unhashed = [], [], [], 0
    for path, method, expected in entries:
        if not expected:
            unhashed += 1
            continue
        read = _digest(Path(str(found.item.locate_file(path))), method)
        shown = clean(path, _PATH)
        if read is None:
            missing.append(shown)
            continue
        digest, size, actual = read
        files.append(FileDigest(shown, digest, size))
        if actual != expected:
            mismatched.append(shown)
    metadata = found.metadata
    text = _one(metadata, "License", _LICENCE_TEXT)
    return Inspection(
        name=found.name,
        version=found.version,
        licence=declared(_one(metadata, "License-Expression", _LICENCE_TEXT), text, _all(metadata, "Classifier")),
        requires=tuple(requires[:REQUIREMENTS]),
        required=len(requires),
        unreadable=unreadable,
        editable=_editable(found.item),
        files=tuple(sorted(files)),
        missing=tuple(sorted(missing)),
        mismatched=tuple(sorted(mismatched)),
        unhashed=unhashed,
    )


def _installed(item: Distribution) -> Installed:
    text = _text(item, "METADATA") or _text(item, "PKG-INFO") or ""
    # The headers alone: what follows them is the project's whole description.
    metadata = HeaderParser().parsestr(text.partition("\n\n")[0])
    folder = clean(Path(str(getattr(item, "_path", "unnamed"))).name)
    return Installed(item, _one(metadata, "Name") or f"[{folder}]", _one(metadata, "Version") or "[none]", metadata)


def _record(item: Distribution) -> tuple[str | None, list[tuple[str, str, str]]]:
    """Return why there is nothing to check, and RECORD's entries: path, hash method, expected digest or nothing."""
    text = _text(item, "RECORD")
    if text is None:
        return "no RECORD: its installer left no list of its files", []
    entries: list[tuple[str, str, str]] = []
    try:
        for row in csv.reader(text.splitlines()):
            if not row:
                continue
            if len(row) < 2 or "\0" in row[0] or len(entries) >= MAX_FILES:
                return "its RECORD is malformed or has too many entries", []
            method, _, expected = row[1].partition("=")
            entries.append((row[0], method, expected if method in _HASHES else ""))
    except csv.Error:
        return "its RECORD is not CSV", []
    if not any(expected for _, _, expected in entries):
        return "its RECORD gives no hash for any file", entries
    return None, entries


def _digest(path: Path, method: str) -> tuple[bytes, int, str] | None:
    """Return a file's SHA-256, its size, and its digest as RECORD writes it; None if there is no such regular file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        ours, theirs = hashlib.sha256(), hashlib.new(method)
        same = method == "sha256"
        size = 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                ours.update(chunk)
                if not same:
                    theirs.update(chunk)
                size += len(chunk)
    except OSError:
        return None
    raw = ours.digest() if same else theirs.digest()
    return ours.digest(), size, base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _editable(item: Distribution) -> bool:
    text = _text(item, "direct_url.json") or "{}"
    if len(text) > _PATH:
        return False
    try:
        # The length bounds the nesting as well: libraries may raise Python's own limit beyond what the stack holds.
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    info = value.get("dir_info") if isinstance(value, dict) else None
    return isinstance(info, dict) and info.get("editable") is True


def _text(item: Distribution, name: str) -> str | None:
    try:
        return item.read_text(name)
    except (OSError, UnicodeDecodeError):
        return None


def _one(metadata: Message, field: str, most: int = _TEXT) -> str | None:
    value = metadata.get(field)
    return clean(str(value), most) or None if value is not None else None


def _all(metadata: Message, field: str) -> list[str]:
    return [clean(str(value)) for value in metadata.get_all(field) or ()]


def clean(text: str, most: int = _TEXT) -> str:
    """Return foreign text fit for a record and a terminal: valid Unicode, no control characters, cut to a length."""
    valid = text[:most].encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else " " for character in valid).strip()
