"""Every store for the tests that hold for every store, and logs to fill them with."""

import sys
from pathlib import Path

import pytest

from tslg.node.store.interface import LogState, Store
from tslg.node.store.memory import MemoryStore
from tslg.node.store.postgres import PostgresStore
from tslg.node.store.sharded import ShardedStore
from tslg.node.store.shards import Layout
from tslg.node.store.sqlite import SqliteStore

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from lineage import LogBuilder


@pytest.fixture(params=["sqlite", "memory", "sharded", "postgres", "mixed"])
def store(request, tmp_path):
    made: Store
    if request.param == "sqlite":
        made = SqliteStore.open(tmp_path / "data" / "tslg.sqlite")
    elif request.param == "sharded":
        # Segments so short that nearly every edge crosses.
        made = ShardedStore.create(tmp_path / "data", Layout(3, 2))
    elif request.param == "postgres":
        made = PostgresStore.open(request.getfixturevalue("place"))
    elif request.param == "mixed":
        # A shard of each kind there is.
        shards = [
            SqliteStore.open(tmp_path / "data" / "shards" / "00" / "tslg.sqlite"),
            PostgresStore.open(request.getfixturevalue("place"), alone=True),
            MemoryStore(),
        ]
        made = ShardedStore(SqliteStore.open(tmp_path / "data" / "catalog.sqlite"), shards, Layout(3, 2))
    else:
        made = MemoryStore()
    with made:
        yield made


@pytest.fixture
def disk(tmp_path):
    with SqliteStore.open(tmp_path / "data" / "tslg.sqlite") as made:
        yield made


@pytest.fixture
def new_log():
    return LogBuilder


@pytest.fixture
def state_of():
    """Return a function from a LogBuilder to its state after its newest record."""
    return lambda log: LogState(log.owner, len(log.records), log.last.id, log.last.time, log.peaks.copy())
