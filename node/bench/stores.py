"""The store against bare SQLite: own appends against sign and insert of the same bytes, ancestors against a query."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing, nullcontext
from typing import Final

from nacl import bindings

from tslg.node.bench.figures import (
    CPU,
    MICRO,
    MILLI,
    WALL,
    MeasurementError,
    Row,
    Series,
    Side,
    Target,
    interleave,
    timed,
)
from tslg.node.bench.lineage import STEP_RECORDS, World, step
from tslg.node.bench.setting import Setting
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol.record import Record
from tslg.protocol.seal import sign1_start, to_be_signed
from tslg.protocol.signatures import Alg, ed25519_secret

SINGLES: Final = 2_000
"""Most records appended one by one: each waits for the disk."""
BATCH: Final = 100
PER_RECORD: Final = "µs/record"

TABLE: Final = "CREATE TABLE record (id INTEGER PRIMARY KEY, cid BLOB UNIQUE NOT NULL, data BLOB, seal BLOB)"
INSERT: Final = "INSERT INTO record (cid, data, seal) VALUES (?, ?, ?)"
ANCESTORS: Final = """
    WITH RECURSIVE ancestor (id) AS (
        SELECT parent FROM edge WHERE child = (SELECT id FROM record WHERE cid = ?)
        UNION SELECT edge.parent FROM ancestor JOIN edge ON edge.child = ancestor.id
    )
    SELECT record.cid FROM ancestor CROSS JOIN record ON record.id = ancestor.id"""


class Appending:
    """Appends to an own log, and what that is held against. The reference takes the bytes that the log just got."""

    def __init__(self, setting: Setting, records: int, batch: int) -> None:
        self._setting = setting
        self._steps = max(1, records // STEP_RECORDS)
        self._batch = batch
        self._secret = ed25519_secret(hashlib.sha256(b"benchmark").digest())
        self.made: list[Record] = []

    def own(self) -> float:
        """Append through an agent, each record or batch durable before the next; return the seconds it took."""
        world = World()
        made: list[Record] = []
        in_batch = self._batch // STEP_RECORDS
        with world.home(self._setting.scratch()) as home:
            agent = world.agent(home, "alpha")

            def append() -> None:
                last: Record | None = None
                for start in range(0, self._steps, max(1, in_batch)):
                    with agent.batch() if in_batch else nullcontext():
                        for turn in range(start, min(self._steps, start + max(1, in_batch))):
                            made.extend(step(agent, last, turn=turn))
                            last = made[-1]

            seconds = timed(append, WALL)()
            if not all(home.store.has(record.id) for record in made):
                raise MeasurementError("an appended record is not in the store")
        self.made = made
        return seconds

    def bare(self) -> float:
        """Sign and insert the same bytes; return the seconds it took."""
        messages = [(record.id, record.data, to_be_signed(record.data, Alg.ED25519)) for record in self.made]
        start = sign1_start(self.made[0].owner)
        sign, secret = bindings.crypto_sign, self._secret
        with closing(bare_database(self._setting)) as db:

            def singly() -> None:
                for id, data, message in messages:
                    db.execute(INSERT, (id, data, start + sign(message, secret)[:64]))

            def batched() -> None:
                for first in range(0, len(messages), self._batch):
                    db.execute("BEGIN")
                    part = messages[first : first + self._batch]
                    db.executemany(INSERT, [(id, data, start + sign(text, secret)[:64]) for id, data, text in part])
                    db.execute("COMMIT")

            return timed(batched if self._batch > 1 else singly, WALL)()


def bare_database(setting: Setting) -> sqlite3.Connection:
    """Open a bare database with the store's own promise: what is committed survives a power cut."""
    db = sqlite3.connect(setting.scratch() / "bare.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(TABLE)
    return db


def append_one(setting: Setting) -> list[Row]:
    """Own appends, one durable commit each."""
    return [_append(setting, "append", min(setting.records, SINGLES), 1, Target(0.7, True))]


def append_batches(setting: Setting) -> list[Row]:
    """Own appends in batches, one durable commit each."""
    return [_append(setting, "append-batches", setting.records, BATCH, Target(0.6, True))]


def _append(setting: Setting, name: str, records: int, batch: int, target: Target) -> Row:
    appending = Appending(setting, records, batch)
    sides = interleave(setting.repeat, appending.own, appending.bare)
    ours, reference = (series.times(MICRO / len(appending.made)) for series in sides)
    how = "one by one" if batch == 1 else f"in batches of {batch}"
    title = f"own append, durable, {how}"
    base = Side("sign and insert into SQLite", reference, PER_RECORD)
    return Row(name, title, reference.over(ours), "×", Side("tslg", ours, PER_RECORD), base, target)


def ancestors(setting: Setting) -> list[Row]:
    """All ancestors of the newest record."""
    rows = _ancestors(setting, setting.records, Target(15, False))
    if setting.large:
        rows += _ancestors(setting, 10 * setting.records, None)
    return rows


def _ancestors(setting: Setting, records: int, target: Target | None) -> list[Row]:
    lineage = setting.lineage(records)
    target_id = lineage.target
    with (
        SqliteStore.open(lineage.whole, readonly=True) as store,
        closing(sqlite3.connect(f"{lineage.whole.as_uri()}?mode=ro", uri=True)) as db,
    ):
        # The reference is to have as much memory as the store's own connections.
        db.execute("PRAGMA cache_size = -32000")

        def bare() -> list[tuple[bytes]]:
            return db.execute(ANCESTORS, (target_id,)).fetchall()

        # Both sides once unmeasured: what is compared is the query, not the first reading of the file. The store then
        # remembers the ids of rows, which the reference does not, and the title says so.
        found = store.ancestors(target_id)
        if {bytes(id) for id in found} != {id for (id,) in bare()} or len(found) < lineage.records - 1:
            raise MeasurementError(f"{len(found)} ancestors in {lineage.records} records", mend="run `tslg fsck`")
        sides = interleave(setting.repeat, timed(lambda: store.ancestors(target_id), CPU), timed(bare, CPU))
    return _ancestor_rows(records, sides, target)


def _ancestor_rows(records: int, sides: Sequence[Series], target: Target | None) -> list[Row]:
    ours, reference = (series.times(MILLI) for series in sides)
    title = f"ancestors of the newest of {records:,} records, asked again"
    name = f"ancestors-{records}"
    sides_shown = Side("tslg", ours, "ms"), Side("one recursive query in SQLite", reference, "ms")
    return [
        Row(name, title, ours.over(reference), "×", *sides_shown, Target(1.1, False)),
        Row(f"{name}-ms", title, ours, "ms", target=target),
    ]
