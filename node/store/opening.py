"""Which store a data directory has: one file, a catalog with shards, or a database that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tslg.node.store.engine import is_file
from tslg.node.store.interface import Store
from tslg.node.store.naming import named
from tslg.node.store.sharded import CATALOG, ShardedStore
from tslg.node.store.sqlite import SqliteStore

FILE: Final = "tslg.sqlite"


def open_store(directory: Path, *, readonly: bool = False) -> Store:
    """Open the store of a data directory; a new one is a single file. Raises StoreError as the stores do."""
    if is_file(directory / CATALOG):
        return ShardedStore.open(directory, readonly=readonly)
    elsewhere = named(directory)
    if elsewhere is not None:
        return elsewhere.open(readonly=readonly)
    return SqliteStore.open(directory / FILE, readonly=readonly)


def has_store(directory: Path) -> bool:
    """Tell whether a data directory has a store, or names one. StoreError if what it names cannot be read."""
    return is_file(directory / CATALOG) or is_file(directory / FILE) or named(directory) is not None
