"""What only a store over several does: spread logs, prove what crosses, survive a crash between shards, be split."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress

import pytest
from world import World

from tslg.node.sources import StoreSource
from tslg.node.store import splitting
from tslg.node.store.interface import LogState
from tslg.node.store.opening import has_store, open_store
from tslg.node.store.sharded import CATALOG, ShardedStore, shard_path
from tslg.node.store.shards import Crossing, Layout, crossing_key, runs
from tslg.node.store.sqlite import SqliteStore
from tslg.node.verifying import verify
from tslg.protocol.cid import Link
from tslg.protocol.errors import StoreError
from tslg.protocol.record import Edge

LAYOUT = Layout(3, 2)
SEAL = b"seal"


def sealed(*records):
    return [(record, SEAL) for record in records]


@pytest.fixture
def sharded(tmp_path):
    with ShardedStore.create(tmp_path / "data", LAYOUT) as made:
        yield made


@pytest.fixture
def grown(sharded, new_log, state_of):
    """A log of twelve records in a sharded store, each citing the first as evidence."""
    log = new_log("grown")
    for _ in range(11):
        log.add(preds={"prior": [Edge(log.last.id)], "evidence": [Edge(log.owner)]})
        sharded.append(sealed(*log.records[len(log.records) - (2 if len(log.records) == 2 else 1) :]), [state_of(log)])
    return log


def test_a_layout_is_reasonable_and_read_back():
    assert Layout.from_bytes(LAYOUT.to_bytes()) == LAYOUT
    for count, span in [(0, 2), (65, 2), (2, 0), (2, 3)]:
        with pytest.raises(StoreError) as caught:
            Layout(count, span)
        assert caught.value.code == "TSLG-D-SHARDS"
    with pytest.raises(StoreError) as caught:
        Layout.from_bytes(b"\xa0")
    assert caught.value.code == "TSLG-D-CORRUPT"


@pytest.mark.spec("SHD-1")
def test_a_segment_lies_in_one_shard_and_segments_are_spread(grown):
    numbers = [LAYOUT.shard_of(grown.owner, seq) for seq in range(1000)]
    assert all(numbers[seq] == numbers[seq + 1] for seq in range(0, 1000, 2))
    assert all(numbers.count(shard) > 250 for shard in range(3))
    assert runs([1, 1, 0, 2, 2]) == [(1, 0, 2), (0, 2, 3), (2, 3, 5)] and runs([]) == []


@pytest.mark.spec("SHD-2", "SHD-3")
def test_every_edge_into_another_shard_carries_a_proof_that_holds(sharded, grown):
    crossing = 0
    for record in grown.records:
        here = LAYOUT.shard_of(record.owner, record.seq)
        away = {edge.cid for edge in record.edges() if LAYOUT.shard_of(record.owner, place(grown, edge.cid)) != here}
        found = sharded.crossings(record.id)
        assert {row.parent for row, _ in found} == away
        assert all(proof is not None and proof.record == row.parent and sharded.proves(proof) for row, proof in found)
        crossing += len(found)
    assert crossing > 8 and sharded.check() == []


def place(log, id):
    return next(record.seq for record in log.records if record.id == id)


@pytest.mark.spec("SHD-3")
def test_a_proof_names_its_record_place_and_root(sharded, grown):
    proof = next(proof for record in grown.records for _, proof in sharded.crossings(record.id))
    assert Crossing.from_bytes(proof.to_bytes()) == proof and proof.holds()
    for change in ({"seq": proof.seq + 1}, {"root": bytes(32)}, {"record": grown.last.id}, {"proof": ()}):
        assert not proof._replace(**change).holds()
    # A proof into a tree that nobody signed verifies, and proves nothing.
    lone = proof._replace(seq=0, size=1, proof=(), root=grown.peaks.root())
    assert not sharded.proves(lone)


@pytest.mark.spec("SHD-4")
@pytest.mark.parametrize("damage", ["removed", "replaced"])
def test_a_missing_or_false_proof_is_found(sharded, grown, tmp_path, damage):
    record, row = next((record, row) for record in grown.records for row, _ in sharded.crossings(record.id))
    number = LAYOUT.shard_of(record.owner, record.seq)
    with sqlite3.connect(shard_path(tmp_path / "data", number)) as db:
        key = crossing_key(row.parent)
        if damage == "removed":
            assert db.execute("DELETE FROM meta WHERE key = ?", (key,)).rowcount == 1
        else:
            false = Crossing(row.parent, grown.owner, 0, 1, bytes(32), ()).to_bytes()
            assert db.execute("UPDATE meta SET value = ? WHERE key = ?", (false, key)).rowcount == 1
    db.close()
    assert {problem.code for problem in sharded.check()} == {"TSLG-D-CROSSING"}


@pytest.mark.spec("SHD-5")
def test_what_is_not_held_whole_crosses_without_a_proof(sharded, new_log):
    other, log = new_log("other"), new_log("log")
    for _ in range(9):
        other.add()
    sharded.append(sealed(*other.records[1:]))
    away = next(r for r in other.records[1:] if LAYOUT.shard_of(r.owner, r.seq) != LAYOUT.shard_of(log.owner, 1))
    log.add(preds={"prior": [Edge(log.owner)], "evidence": [Edge(away.id, other.owner)]})
    sharded.append(sealed(*log.records))
    assert [(row.parent, proof) for row, proof in sharded.crossings(log.last.id)] == [(away.id, None)]
    assert sharded.check() == []


class Crash(Exception):
    pass


@pytest.mark.parametrize("survived", range(8))
def test_a_crash_between_two_shards_loses_nothing(tmp_path, new_log, state_of, monkeypatch, survived):
    log = new_log("crash")
    for _ in range(11):
        log.add(preds={"prior": [Edge(log.last.id)], "evidence": [Edge(log.owner)]})
    store = ShardedStore.create(tmp_path / "data", LAYOUT)
    left = survived
    real = SqliteStore.append

    def append(self, *args):
        nonlocal left
        if left == 0:
            raise Crash
        left -= 1
        real(self, *args)

    monkeypatch.setattr(SqliteStore, "append", append)
    with suppress(Crash):
        store.append(sealed(*log.records), [state_of(log)])
    store.close()
    monkeypatch.undo()
    with ShardedStore.open(tmp_path / "data") as store:
        state = store.log_state(log.owner)
        assert state is not None and state.size == len(log.records) and store.check() == []
        assert store.leaves(log.owner, state.size) == [record.id for record in log.records]
        assert all(proof is not None for record in log.records for _, proof in store.crossings(record.id))


def test_a_fork_in_one_shard_leaves_the_others_as_they_were(sharded, grown, new_log):
    again, fresh = new_log("grown"), new_log("fresh")
    assert again.owner == grown.owner
    rival = again.make(body={"data": {"rival": 1}})
    with pytest.raises(StoreError) as caught:
        sharded.append(sealed(fresh.records[0], rival))
    assert caught.value.code == "TSLG-D-FORK" and not sharded.has(fresh.owner) and sharded.check() == []


@pytest.fixture
def world():
    world = World()
    a, b = world.agent("a"), world.agent("b")
    policy = world.add(a, "policy")
    for _ in range(9):
        seen = world.add(a, "observation")
    grant = {"delegate": b.owner, "grant": policy.id, "hops": 1}
    granted = world.add(a, "delegation", grant, {"policy": [policy]})
    done = world.add(b, "action", None, {"policy": [policy], "delegation": [granted]})
    world.target = world.add(a, "decision", None, {"policy": [policy], "evidence": [seen, done]})
    return world


def fill(store, world):
    for owner, author in world.authors.items():
        state = LogState(owner, len(author.log), author.last.id, author.last.time, author.tree.peaks())
        store.append([(record, world.seals[record.id]) for record in author.log], [state])


@pytest.mark.spec("SHD-6")
def test_a_walk_does_not_care(tmp_path, world):
    with (
        SqliteStore.open(tmp_path / "one" / "tslg.sqlite") as one,
        ShardedStore.create(tmp_path / "many", LAYOUT) as many,
    ):
        reports = []
        for store in (one, many):
            fill(store, world)
            for depth in (None, 2):
                for how in ({}, {"signatures": "heads"}, {"log": "full"}):
                    source = StoreSource(store)
                    reports.append(
                        verify(source, world.target.id, world.federation, now_ms=world.now_ms, depth=depth, **how)
                    )
        half = len(reports) // 2
        assert [report.digest for report in reports[:half]] == [report.digest for report in reports[half:]]
        assert {report.verdict for report in reports} == {"valid"}


def test_a_store_is_split_without_loss(tmp_path, world):
    data = tmp_path / "data"
    with SqliteStore.open(data / "tslg.sqlite") as one:
        fill(one, world)
        one.set_meta("name", b"value")
        one.record_head(world.target.owner, 3, bytes(32), None, "peer", 7)
        one.set_verified(world.target.id, 5)
        digest = one.put_blob(b"a blob")
        before = {id: one.get(id) for id in world.held}
        ancestors = set(one.ancestors(world.target.id))
    counts = []
    assert splitting.split(data, LAYOUT, counts.append) == []
    assert counts[-1] == len(world.held) and has_store(data) and not (data / "tslg.sqlite").exists()
    with open_store(data) as many:
        assert isinstance(many, ShardedStore) and many.check() == []
        assert {id: many.get(id) for id in world.held} == before
        assert set(many.ancestors(world.target.id)) == ancestors
        assert [head.source for head in many.heads(world.target.owner)] == ["peer"]
        assert (many.get_meta("name"), many.verified(world.target.id).edges, many.get_blob(digest)) == (
            b"value",
            5,
            b"a blob",
        )
    assert {path.name for path in data.iterdir()} >= {splitting.KEPT, CATALOG, "shards"}
    with pytest.raises(StoreError) as caught:
        splitting.split(data, LAYOUT)
    assert caught.value.code == "TSLG-D-SHARDS"


@pytest.mark.parametrize("killed_at", ["copy", "folder", "catalog"])
def test_a_split_that_was_killed_leaves_one_whole_store_and_can_be_done_again(tmp_path, world, monkeypatch, killed_at):
    data = tmp_path / "data"
    with SqliteStore.open(data / "tslg.sqlite") as one:
        fill(one, world)

    def crash(*args):
        raise Crash

    if killed_at == "copy":
        monkeypatch.setattr(splitting, "_put_in_place", crash)
    else:
        real = splitting.Path.rename

        def rename(self, target):
            if self.name == {"folder": "shards", "catalog": CATALOG}[killed_at]:
                raise Crash
            return real(self, target)

        monkeypatch.setattr(splitting.Path, "rename", rename)
    with pytest.raises(Crash):
        splitting.split(data, LAYOUT)
    monkeypatch.undo()
    with open_store(data, readonly=True) as store:
        assert isinstance(store, SqliteStore) and store.check() == []
    assert splitting.split(data, LAYOUT) == []
    with open_store(data) as store:
        assert isinstance(store, ShardedStore) and all(map(store.has, world.held)) and store.check() == []


def test_a_split_whose_copy_is_wrong_is_not_put_in_place(tmp_path, world):
    data = tmp_path / "data"
    with SqliteStore.open(data / "tslg.sqlite") as one:
        fill(one, world)
    with sqlite3.connect(data / "tslg.sqlite") as db:
        db.execute("UPDATE log SET peaks = zeroblob(length(peaks))")
    db.close()
    assert "TSLG-D-STATE" in {problem.code for problem in splitting.split(data, LAYOUT)}
    assert (data / "tslg.sqlite").exists() and not (data / CATALOG).exists()


def test_a_catalog_without_a_layout_is_named(tmp_path):
    with ShardedStore.create(tmp_path, LAYOUT) as store:
        assert store.has(Link(b"x")) is False
    shutil.rmtree(tmp_path / "shards")
    with sqlite3.connect(tmp_path / CATALOG) as db:
        db.execute("DELETE FROM meta")
    db.close()
    with pytest.raises(StoreError) as caught:
        ShardedStore.open(tmp_path)
    assert caught.value.code == "TSLG-D-CORRUPT"
