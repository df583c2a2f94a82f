"""A copy of a data directory in one file, taken while a node runs; and what restores it without forking a log.

The file is a tar archive: `tslg-backup.json`, which names every other member with its SHA-256, and then the members. A
restored directory does not know what was recorded after the copy was made. So its own logs stay closed until
peers were asked what they hold (`catching_up`), or the operator says that nothing was recorded since (`resume`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tslg.node import own_log
from tslg.node.store.engine import make_directory, translate_os, translated
from tslg.node.store.interface import Store
from tslg.node.store.lock import DataDirLock
from tslg.node.store.naming import named
from tslg.node.store.opening import FILE, has_store, open_store
from tslg.node.store.sharded import CATALOG, FOLDER
from tslg.node.vault import database as vaults
from tslg.protocol.cid import from_text, to_text
from tslg.protocol.errors import StoreError

INDEX: Final = "tslg-backup.json"
VERSION: Final = 1
_MOST_INDEX: Final = 16 * 1024 * 1024
_SECRET: Final = ("keys", "openings")
_TAKEN: Final = (*_SECRET, "node.toml", "store.toml")
"""What is copied beside the store: keys, what opens confidential policies, and settings."""
_STEP: Final = 1024 * 1024
MASTER: Final = "vault.key"
"""The vault's master key among the keys, which no copy has."""


def back_up(data: Path, file: Path, *, keys: bool = True) -> dict[str, Any]:
    """Copy a data directory into a new file, readable by this user alone; return its index.

    Args:
        data: the directory. A node may be running on it, unless the store is sharded.
        file: where to; it must not be there yet.
        keys: whether the agents' keys go with it. Without them the copy can be read and served, not written on.

    Raises:
        StoreError: `TSLG-D-MISSING` for no data directory, `TSLG-D-LOCKED` for a sharded one in use, `TSLG-D-BACKUP` if
            the file is there already; or the disk fails.
    """
    if not has_store(data):
        raise StoreError(f"{data}: no store here", code="TSLG-D-MISSING", mend="name a data directory with --data")
    partial = file.with_name(file.name + ".partial")
    try:
        if file.exists():
            raise StoreError(f"{file} is there already", code="TSLG-D-BACKUP", mend="name a new file")
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".tslg-backup-") as folder:
            copied = Path(folder)
            _copy_store(data, copied)
            _copy_vault(data, copied)
            _copy_rest(data, copied, keys=keys)
            index = _index(copied, data)
            _write(partial, copied, index)
        partial.replace(file)
    except OSError as error:
        raise translate_os(error, file) from error
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    return index


def restore(file: Path, data: Path) -> dict[str, Any]:
    """Make a data directory from a backup, its own logs closed; return the backup's index.

    Of a directory whose lineage is in a database, only what is beside it was copied and comes back. Its logs end where
    the database says, so they are not closed; another node may be writing them at this moment.

    Raises:
        StoreError: `TSLG-D-BACKUP` if the directory is not empty, or the file is no backup or not whole.
    """
    if data.exists() and any(data.iterdir()):
        raise StoreError(f"{data} is not empty", code="TSLG-D-BACKUP", mend="restore into a new directory")
    make_directory(data)
    folder = Path(tempfile.mkdtemp(dir=data.parent, prefix=".tslg-restore-"))
    try:
        index = _unpack(file, folder)
        if named(folder) is None:
            with open_store(folder) as store:
                _close_logs(store, index)
        data.rmdir()
        folder.replace(data)
    except OSError as error:
        raise translate_os(error, file) from error
    except tarfile.TarError as error:
        raise _no_backup(file, str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return index


def _copy_store(data: Path, to: Path) -> None:
    """Copy the databases, each as it is at one moment."""
    if named(data) is not None:
        return
    if not (data / CATALOG).exists():
        _copy_database(data / FILE, to / FILE)
        return
    if any(named(folder) is not None for folder in (data / FOLDER).iterdir()):
        raise StoreError(
            f"{data} has shards in databases, which are no part of a copy",
            code="TSLG-D-BACKUP",
            mend="stop the node, then dump those databases and copy the directory",
        )
    # Several databases are one store only while nobody writes.
    with DataDirLock(data):
        for path in sorted(data.rglob("*.sqlite")):
            if path.parent == data / vaults.FOLDER:
                continue
            target = to / path.relative_to(data)
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_database(path, target)


def _copy_vault(data: Path, to: Path) -> None:
    """Copy the vault's files in this order, so that every record copied before has its plaintext, key and bytes.

    The master key is never copied: without it the copy opens nothing, and once it is changed nothing opens the copy.
    """
    if not vaults.exists(data / vaults.FOLDER):
        return
    (to / vaults.FOLDER).mkdir()
    for name in (vaults.KEYS, vaults.DATA):
        _copy_database(data / vaults.FOLDER / name, to / vaults.FOLDER / name)


def _copy_database(path: Path, to: Path) -> None:
    with (
        translated(path),
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(to)) as target,
    ):
        source.backup(target)


def _copy_rest(data: Path, to: Path, *, keys: bool) -> None:
    for name in _TAKEN:
        if (data / name).is_dir() and (keys or name not in _SECRET):
            shutil.copytree(data / name, to / name, ignore=shutil.ignore_patterns(f"{MASTER}*"))
        elif (data / name).is_file():
            shutil.copy2(data / name, to / name)


def _index(copied: Path, data: Path) -> dict[str, Any]:
    """Name every file with its digest, and the sizes of the logs that the directory writes."""
    files = {path.relative_to(copied).as_posix(): _digest(path) for path in _files(copied)}
    place = data if named(data) is not None else copied
    with open_store(place, readonly=True) as store:
        sizes = {to_text(log.owner): log.newest + 1 for log in store.logs() if log.complete}
    owned = sorted(path.stem for path in (data / "keys").glob("*.json") if path.stem in sizes)
    return {
        "version": VERSION,
        "own_logs": {owner: sizes[owner] for owner in owned},
        "database": named(data) is not None,
        "files": files,
    }


def _write(to: Path, copied: Path, index: dict[str, Any]) -> None:
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            path = copied / INDEX
            path.write_text(json.dumps(index, indent=2) + "\n", "utf-8")
            archive.add(path, INDEX)
            for name in index["files"]:
                archive.add(copied / name, name)
        stream.flush()
        os.fsync(stream.fileno())


def _unpack(file: Path, folder: Path) -> dict[str, Any]:
    """Extract just the members that the index names, and hold each against its digest."""
    with tarfile.open(file, mode="r:") as archive:
        first = archive.next()
        if first is None or first.name != INDEX or not first.isfile() or first.size > _MOST_INDEX:
            raise _no_backup(file, f"it does not begin with {INDEX}")
        stream = archive.extractfile(first)
        assert stream is not None
        index = _read_index(file, stream.read())
        wanted = dict(index["files"])
        for member in archive:
            if member.name == INDEX:
                continue
            if not member.isfile() or member.name not in wanted:
                raise _no_backup(file, f"{member.name[:80]!r} does not belong there")
            archive.extract(member, folder, filter="data")
            if _digest(folder / member.name) != wanted.pop(member.name):
                raise _no_backup(file, f"{member.name} was changed")
        if wanted:
            raise _no_backup(file, f"{min(wanted)} is missing")
    for path in _files(folder):
        path.chmod(0o600)
    return index


def _read_index(file: Path, data: bytes) -> dict[str, Any]:
    try:
        index = json.loads(data)
        sound = (
            index["version"] == VERSION
            and all(isinstance(size, int) for size in index["own_logs"].values())
            and all(_is_plain(name) for name in index["files"])
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _no_backup(file, f"its {INDEX} cannot be read") from error
    if not sound:
        raise _no_backup(file, f"its {INDEX} is of another version, or names what is no file of a data directory")
    return dict(index)


def _is_plain(name: str) -> bool:
    """Tell whether a member is of a data directory: a database, or below what is copied beside it."""
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts:
        return False
    return parts[0] in _TAKEN or name.endswith(".sqlite")


def _close_logs(store: Store, index: dict[str, Any]) -> None:
    for owner in index["own_logs"]:
        own_log.close_restored(store, from_text(owner))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(_STEP):
            digest.update(part)
    return digest.hexdigest()


def _no_backup(file: Path, why: str) -> StoreError:
    return StoreError(f"{file}: no backup of a data directory: {why}", code="TSLG-D-BACKUP", mend="take another copy")
