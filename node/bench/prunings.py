"""How fast a log is pruned: the commitment to what goes, the bytes and their index dropped, the space given back."""

from __future__ import annotations

from typing import Final

from tslg.node.bench.figures import WALL, MeasurementError, Row, Series, Target, timed
from tslg.node.bench.lineage import STEP_RECORDS, World, step
from tslg.node.bench.setting import Setting
from tslg.node.pruning import CHUNK
from tslg.node.store.interface import Store
from tslg.protocol.codec import Link
from tslg.protocol.commitment import set_root
from tslg.protocol.record import Record

BATCH: Final = 100
"""Steps appended at a time while the log is made."""


def prune_log(setting: Setting) -> list[Row]:
    """Records pruned a second; a hundred thousand shall go within ten seconds."""
    series = Series.of([_pruned_per_second(setting) for _ in range(setting.repeat)])
    title = f"pruning {setting.records:,} records of a log"
    return [Row("prune", title, series, "records/s", target=Target(10_000, True, gates=False))]


def _pruned_per_second(setting: Setting) -> float:
    world = World()
    with world.home(setting.scratch()) as home:
        agent = world.agent(home, "alpha")
        made: list[Record] = []
        for start in range(0, max(1, setting.records // STEP_RECORDS), BATCH):
            with agent.batch():
                for turn in range(start, min(setting.records // STEP_RECORDS, start + BATCH)):
                    made.extend(step(agent, made[-1] if made else None, turn=turn))
        gone = sorted(record.id for record in made[:-1])
        seconds = timed(lambda: _prune(home.store, made[-1].id, gone), WALL)()
        if len(home.store.pruned_by(gone)) != len(gone):
            raise MeasurementError("something was not pruned")
    return len(gone) / seconds


def _prune(store: Store, prune: Link, gone: list[Link]) -> None:
    """Do what follows a prune record, for which the last record of the log stands here."""
    set_root(gone)
    store.begin_prune(prune, gone)
    while store.drop_pruned(CHUNK):
        pass
    store.reclaim()
