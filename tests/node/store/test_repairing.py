"""Repair: the index is made anew from the records, and nothing is invented or dropped."""

from __future__ import annotations

import sqlite3

import pytest

from tslg.node.store.sqlite import SqliteStore
from tslg.protocol.errors import StoreError
from tslg.protocol.record import Edge

BREAKAGES = {
    "edges gone": "DELETE FROM edge",
    "an edge too many": "INSERT OR IGNORE INTO edge SELECT child, class, child FROM edge LIMIT 3",
    "an edge elsewhere": "UPDATE OR IGNORE edge SET parent = child",
    "times": "UPDATE record SET time = 1 WHERE time IS NOT NULL",
    "kinds": "UPDATE record SET kind = (SELECT min(id) FROM name) WHERE kind IS NOT NULL",
    "places": "UPDATE record SET seq = seq + 100 WHERE seq IS NOT NULL",
    "a place taken": "UPDATE record SET seq = 77 WHERE seq = 2",
    "logs": "UPDATE record SET log = NULL",
    "peaks": "UPDATE log SET peaks = zeroblob(length(peaks))",
    "sizes": "UPDATE log SET size = 1, last = id, peaks = zeroblob(32)",
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "tslg.sqlite"


@pytest.fixture
def filled(path, new_log, state_of):
    log, other = new_log("one"), new_log("two")
    for number in range(6):
        log.add(preds={"prior": [Edge(log.owner)], "evidence": [Edge(other.owner, other.owner, None)]})
        if number % 2:
            other.add(preds={"prior": [Edge(other.owner)]})
    with SqliteStore.open(path) as store:
        store.append([(record, b"seal") for record in log.records], [state_of(log)])
        store.append([(record, b"seal") for record in other.records[1:]])
    return log, other


def answers(store, log, other):
    size = len(log.records)
    return (
        store.logs(),
        store.log_state(log.owner).peaks.to_bytes(),
        store.leaves(log.owner, size),
        sorted(store.ancestors(log.last.id)),
        store.children(other.owner),
        store.by_kind("state"),
        [entry for _, entry in store.log_range(log.owner, 0, size)],
        store.check(),
    )


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=list(BREAKAGES))
def test_a_broken_index_is_made_anew(path, tmp_path, filled, breakage):
    log, other = filled
    with SqliteStore.open(path) as store:
        before = answers(store, log, other)
    with sqlite3.connect(path) as db:
        db.execute(breakage)
    db.close()
    with SqliteStore.open(path) as store:
        assert store.check() != []
        assert store.repair(tmp_path / "copy.sqlite") == []
        assert answers(store, log, other) == before
        log.add(preds={"prior": [Edge(log.owner)]})
        store.append([(log.last, b"seal")])
        assert store.check() == []
    with sqlite3.connect(tmp_path / "copy.sqlite") as copy:
        assert copy.execute("SELECT count(*) FROM record WHERE data IS NOT NULL").fetchone()[0] == 10
    copy.close()


def test_what_is_whole_stays_as_it_is(path, tmp_path, filled):
    with SqliteStore.open(path) as store:
        before = answers(store, *filled)
        store.repair(tmp_path / "copy.sqlite")
        assert answers(store, *filled) == before


def test_damaged_bytes_are_told_and_left_alone(path, tmp_path, filled):
    log, _ = filled
    with sqlite3.connect(path) as db:
        db.execute("UPDATE record SET data = substr(data, 1, 50) WHERE seq = 3 AND log = 1")
    db.close()
    with SqliteStore.open(path) as store:
        problems = store.repair(tmp_path / "copy.sqlite")
        assert [problem.record for problem in problems] == [log.records[3].id]
        assert len(store.get(log.records[3].id).data) == 50
        assert store.get(log.records[4].id).data == log.records[4].data


def test_a_copy_that_is_there_is_not_overwritten(path, tmp_path, filled):
    (tmp_path / "copy.sqlite").write_bytes(b"mine")
    with SqliteStore.open(path) as store, pytest.raises(StoreError, match="there already"):
        store.repair(tmp_path / "copy.sqlite")
    assert (tmp_path / "copy.sqlite").read_bytes() == b"mine"


def test_a_repair_that_fails_leaves_everything(path, tmp_path, filled, monkeypatch):
    from tslg.node.store import repairing

    with SqliteStore.open(path) as store:
        before = answers(store, *filled)

        def fail(db):
            raise RuntimeError("in the middle")

        monkeypatch.setattr(repairing, "_states", fail)
        with pytest.raises(RuntimeError):
            store.repair(tmp_path / "copy.sqlite")
        assert answers(store, *filled) == before
