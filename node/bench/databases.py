"""PostgreSQL against SQLite: the same records stored durably by both in turn, on a server of the benchmark's own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from tslg.node.bench.figures import MICRO, WALL, Measure, MeasurementError, Row, Side, Target, interleave, timed
from tslg.node.bench.setting import Setting
from tslg.node.store.interface import LogState, Store
from tslg.node.store.naming import Named
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol.errors import StoreError
from tslg.protocol.record import Record, parse_as

BATCHES: Final = (100, 1_000)
"""Records stored in one transaction: what a busy agent writes at once, and what a node takes in of another's log."""
PER_RECORD: Final = "µs/record"

Batch = tuple[list[tuple[Record, bytes]], list[LogState]]


def ingest(setting: Setting) -> list[Row]:
    """Store whole logs, batch by batch. No row where there is no PostgreSQL; the setting keeps why."""
    with ExitStack() as stack:
        try:
            dsn = stack.enter_context(_server(setting))
        except (MeasurementError, StoreError) as error:
            setting.left_out["postgresql"] = f"{error.detail}; {error.mend}"
            return []
        return [_ingest(setting, dsn, size) for size in BATCHES]


@contextmanager
def _server(setting: Setting) -> Iterator[str]:
    """Name a database to measure on: the one that was given, or one of a server that ends with the measurement."""
    if setting.postgresql is not None:
        Named(setting.postgresql).place()
        yield setting.postgresql
        return
    from tslg.node.bench.cluster import Cluster

    with Cluster() as cluster:
        Named(cluster.dsn).place()
        yield cluster.dsn


def _ingest(setting: Setting, dsn: str, size: int) -> Row:
    batches = list(_batches(setting, size))
    records = sum(len(items) for items, _ in batches)
    sides = interleave(setting.repeat, _into_postgresql(dsn, batches), _into_sqlite(setting, batches))
    ours, reference = (series.times(MICRO / records) for series in sides)
    return Row(
        f"postgresql-ingest-{size}",
        f"{records:,} verified records into PostgreSQL, durable, in batches of {size:,}",
        reference.over(ours),
        "×",
        Side("PostgreSQL", ours, PER_RECORD),
        Side("the same into SQLite", reference, PER_RECORD),
        Target(0.5, True, gates=False),
    )


def _batches(setting: Setting, size: int) -> Iterator[Batch]:
    """Yield the records of a lineage as they are stored, each log's state with its last batch."""
    with SqliteStore.open(setting.lineage().whole, readonly=True) as source:
        for log in source.logs():
            state = source.log_state(log.owner)
            for start in range(0, log.newest + 1, size):
                stretch = source.log_range(log.owner, start, start + size)
                items = [(parse_as(id, entry.data), entry.seal) for id, entry in stretch]
                done = state is not None and start + size > log.newest
                yield items, [state] if done and state is not None else []


def _into_sqlite(setting: Setting, batches: list[Batch]) -> Measure:
    def measure() -> float:
        with SqliteStore.open(setting.scratch() / "tslg.sqlite") as store:
            return timed(lambda: _store(store, batches), WALL)()

    return measure


def _into_postgresql(dsn: str, batches: list[Batch]) -> Measure:
    def measure() -> float:
        named = Named(dsn, f"tslg_bench_{secrets.token_hex(6)}")
        with named.open() as store:
            try:
                return timed(lambda: _store(store, batches), WALL)()
            finally:
                store.drop()

    return measure


def _store(store: Store, batches: list[Batch]) -> None:
    for items, states in batches:
        store.append(items, states)
    if sum(log.held for log in store.logs()) != sum(len(items) for items, _ in batches):
        raise MeasurementError("a stored record is not in the store")
