"""Moving a store into a database, naming it, and shards in databases: all there afterwards, or as it was before."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest

from tslg.node.store import moving, splitting
from tslg.node.store.interface import StoreError
from tslg.node.store.memory import MemoryStore
from tslg.node.store.moving import KEPT, move
from tslg.node.store.naming import FILE, Named, named
from tslg.node.store.opening import has_store, open_store
from tslg.node.store.postgres import PostgresStore
from tslg.node.store.sharded import ShardedStore, shard_path
from tslg.node.store.shards import Layout
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol.record import Edge


@pytest.fixture
def to(place):
    return Named(place.dsn, place.schema)


@pytest.fixture
def filled(tmp_path, new_log, state_of):
    """A directory whose store holds something in every table."""
    return fill(tmp_path / "data", new_log, state_of, prune=True)


@pytest.fixture
def unpruned(tmp_path, new_log, state_of):
    return fill(tmp_path / "data", new_log, state_of, prune=False)


def fill(directory, new_log, state_of, *, prune):
    log, other = new_log("one"), new_log("two")
    for number in range(30):
        log.add(preds={"prior": [Edge(log.last.id)], "evidence": [Edge(other.owner, other.owner, None)]})
        if number % 2:
            other.add(preds={"prior": [Edge(other.last.id)]})
    with SqliteStore.open(directory / "tslg.sqlite") as store:
        store.append([(record, b"seal") for record in log.records], [state_of(log)])
        store.append([(record, b"seal") for record in other.records[3:]])
        store.set_meta("key", b"\x00value")
        store.set_verified(other.owner, 7)
        store.record_head(other.owner, 9, bytes(32), None, "a peer", 5)
        store.record_head(log.owner, 9, bytes(32), log.owner, "wit\0ness", 6)
        store.keep_rivals([(log.make(body={"data": {"rival": True}}), b"seal"), (log.last, b"seal")])
        if prune:
            store.begin_prune(log.records[20].id, [record.id for record in log.records[2:9]])
            store.drop_pruned(5)
        store.put_blobs([b"a blob", b"", bytes(100_000)])
    return directory, log, other


def answers(store, log, other):
    size = len(log.records)
    ids = [record.id for record in (*log.records, *other.records)]
    return {
        "logs": store.logs(),
        "state": store.log_state(log.owner)._replace(peaks=store.log_state(log.owner).peaks.to_bytes()),
        "leaves": store.leaves(log.owner, size),
        "rows": store.log_rows(log.owner, size),
        "ancestors": sorted(store.ancestors(log.last.id)),
        "children": store.children(other.owner),
        "parents": store.parents(ids),
        "entries": store.get_many(ids),
        "kinds": store.by_kind("state"),
        "meta": store.get_meta("key"),
        "verified": store.verified(other.owner),
        "heads": [store.heads(other.owner), store.heads(log.owner)],
        "forks": store.forks(),
        "pruned": (store.pruned_by(ids), store.pruned_ids(log.records[20].id)),
        "citations": sorted(store.citations(log.owner, size, ["prior"], ["state"])),
        "blob": [store.get_blob(store_digest(data)) for data in (b"a blob", b"", bytes(100_000))],
    }


def store_digest(data):
    return MemoryStore().put_blob(data)


def test_all_of_it_is_moved(filled, to, place, monkeypatch):
    monkeypatch.setattr(moving, "_STEP", 50)
    directory, log, other = filled
    with open_store(directory) as store:
        before, problems = answers(store, log, other), store.check()
    counts = []
    assert move(directory, to, counts.append) == [] == problems
    assert counts[-1] >= 100 and not (directory / "tslg.sqlite").exists() and (directory / KEPT).exists()
    assert named(directory) == to and has_store(directory)
    with open_store(directory) as store:
        assert isinstance(store, PostgresStore) and answers(store, log, other) == before
        assert store.drop_pruned(9) == 2 and store.check() == []
    with pytest.raises(StoreError) as caught:
        move(directory, to)
    assert caught.value.code == "TSLG-D-MOVED"


def test_a_new_directory_takes_part_in_what_the_database_holds(filled, to, tmp_path):
    directory, log, _ = filled
    assert move(directory, to) == []
    with open_store(directory) as first:
        (tmp_path / "second").mkdir()
        assert move(tmp_path / "second", to) == [] and not (tmp_path / "second" / KEPT).exists()
        with open_store(tmp_path / "second") as second:
            assert second.has(log.owner)
            second.set_meta("key", b"from the second")
        assert first.get_meta("key") == b"from the second"
        assert len(first.writers()) == 1


def test_a_full_directory_is_not_poured_into_a_full_database(filled, to, place, new_log):
    directory, *_ = filled
    with PostgresStore.open(place) as store:
        store.append([(new_log("there already").last, b"seal")])
    with pytest.raises(StoreError) as caught:
        move(directory, to)
    assert caught.value.code == "TSLG-D-MOVED" and (directory / "tslg.sqlite").exists() and named(directory) is None


def test_a_copy_that_is_wrong_is_taken_back(filled, to, place):
    directory, *_ = filled
    with sqlite3.connect(directory / "tslg.sqlite") as db:
        db.execute("UPDATE record SET time = 1 WHERE seq = 25")
    db.close()
    assert {problem.code for problem in move(directory, to)} == {"TSLG-D-COLUMNS"}
    assert (directory / "tslg.sqlite").exists() and not (directory / FILE).exists()
    with PostgresStore.open(place) as store:
        assert store.logs() == [] and store.get_meta("key") is None and store.forks() == []


def test_what_is_attached_goes_along(filled, to, monkeypatch):
    directory, log, _ = filled
    with open_store(directory) as store:
        store.set_attachment(log.last.id, b"beside")
    monkeypatch.setattr(PostgresStore, "check", lambda store: [])
    assert move(directory, to) == []
    with open_store(directory) as store:
        assert store.get(log.last.id).attachment == b"beside" and store.get(log.owner).attachment is None


class Crash(Exception):
    pass


@pytest.mark.parametrize("killed_at", ["copy", "name", "rename"])
def test_a_move_that_was_killed_leaves_one_whole_store(filled, to, place, monkeypatch, killed_at):
    directory, log, other = filled

    def crash(*args):
        raise Crash

    if killed_at == "rename":
        monkeypatch.setattr(moving.Path, "rename", crash)
    elif killed_at == "name":
        monkeypatch.setattr(Named, "write", crash)
    else:
        monkeypatch.setattr(PostgresStore, "put_blob", crash)
    with open_store(directory) as store:
        before = answers(store, log, other)
    with pytest.raises(Crash):
        move(directory, to)
    monkeypatch.undo()
    with open_store(directory) as store:
        assert isinstance(store, PostgresStore) == (killed_at == "rename")
        assert answers(store, log, other) == before


def test_a_session_that_is_lost_while_copying_copies_nothing_twice(filled, to, monkeypatch):
    directory, log, other = filled
    with open_store(directory) as store:
        before = answers(store, log, other)
    real, cut = moving._rows, []

    def rows(source, table, query, count, tick):
        for row in real(source, table, query, count, tick):
            yield row
            if not cut and table == "edge":
                cut.append(table)
                with psycopg.connect(to.dsn, autocommit=True) as db:
                    db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    monkeypatch.setattr(moving, "_rows", rows)
    assert move(directory, to) == [] and cut
    with open_store(directory) as store:
        assert answers(store, log, other) == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[postgresql]",
        "[sqlite]\ndsn = 'x'",
        "[postgresql]\ndsn = 5",
        "[postgresql]\ndsn = 'host=x'\npassword = 'hunter2'",
        "dsn = postgresql://me:hunter2@host",
        "[postgresql]\ndsn = 'postgresql://me:hunter2@host/db'",
        "[postgresql]\ndsn = 'host=x'\nschema = 'No; good'",
    ],
)
def test_a_file_that_names_no_store_is_said_and_not_quoted(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path)
    assert caught.value.code == "TSLG-D-DSN" and "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_what_is_named_is_read_back(tmp_path):
    one = Named('service=lineage options="-c \\"x\\""', "other")
    with pytest.raises(StoreError):
        Named("host=localhost password=hunter2").write(tmp_path)
    assert not (tmp_path / FILE).exists() and named(tmp_path) is None
    one = Named("service=lineage application_name='a \\'b\\''", "other")
    one.write(tmp_path)
    assert named(tmp_path) == one


def test_shards_may_lie_in_files_and_in_databases(unpruned, place, tmp_path, new_log, state_of):
    directory, *_ = unpruned
    with open_store(directory) as store:
        held = [cid for log in store.logs() for cid in store.ids(log.owner, 0, 99) if store.has(cid)]
        before = store.get_many(held)
    databases = {1: Named(place.dsn, place.schema)}
    assert splitting.split(directory, Layout(3, 2), databases=databases) == []
    with open_store(directory) as store:
        assert isinstance(store, ShardedStore)
        assert [type(shard).__name__ for shard in store.shards] == ["SqliteStore", "PostgresStore", "SqliteStore"]
        assert not shard_path(directory, 1).exists() and store.shards[1].logs() != []
        assert store.get_many(held) == before and store.check() == []
        crossing = [proof for cid in held for _, proof in store.crossings(cid) if proof is not None]
        assert crossing and all(map(store.proves, crossing))
        log = new_log("more")
        for _ in range(20):
            log.add()
            store.append([(record, b"seal") for record in log.records], [state_of(log)])
        with pytest.raises(StoreError) as caught:
            PostgresStore.open(place)
        assert caught.value.code == "TSLG-D-LOCKED"
    with open_store(directory, readonly=True) as store:
        assert store.log_state(log.owner).size == 21 and store.check() == []


def test_a_shard_is_not_put_where_records_are(unpruned, place, new_log):
    directory, *_ = unpruned
    with PostgresStore.open(place) as store:
        store.append([(new_log("there already").last, b"seal")])
    for number, code in ((1, "TSLG-D-SHARDS"), (3, "TSLG-D-SHARDS")):
        with pytest.raises(StoreError) as caught:
            splitting.split(directory, Layout(3, 2), databases={number: Named(place.dsn, place.schema)})
        assert caught.value.code == code
    with open_store(directory) as store:
        assert isinstance(store, SqliteStore) and store.check() == []


def test_a_split_whose_copy_is_wrong_leaves_nothing_in_the_database(unpruned, place):
    directory, *_ = unpruned
    with sqlite3.connect(directory / "tslg.sqlite") as db:
        db.execute("UPDATE log SET peaks = zeroblob(length(peaks))")
    db.close()
    assert splitting.split(directory, Layout(2, 2), databases={0: Named(place.dsn, place.schema)}) != []
    with PostgresStore.open(place) as store:
        assert store.logs() == []


def test_what_has_let_go_of_records_is_not_split(filled):
    directory, *_ = filled
    with pytest.raises(StoreError) as caught:
        splitting.split(directory, Layout(2, 2))
    assert caught.value.code == "TSLG-D-SHARDS" and (directory / "tslg.sqlite").exists()
