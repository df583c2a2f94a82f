"""What only the store on disk does: survive, share, group commits, and say what is wrong with a file."""

import hashlib
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tslg.node.store import schema, sqlite_graph
from tslg.node.store.interface import ForkError, LogState, LogSummary
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol.cid import from_text, to_text
from tslg.protocol.errors import StoreError
from tslg.protocol.record import Edge

SEAL = b"seal"
ROOT = Path(__file__).parents[3]


def sealed(*records):
    return [(record, SEAL) for record in records]


def fails(code, function, *args, **kwargs):
    with pytest.raises(StoreError) as caught:
        function(*args, **kwargs)
    error = caught.value
    assert error.code == code
    assert error.mend and "\n" not in str(error)
    return error


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "tslg.sqlite"


def test_everything_is_there_after_reopening(path, new_log, state_of):
    log, foreign = new_log("kept"), new_log("foreign")
    log.add(preds={"prior": [Edge(log.owner)], "evidence": [Edge(foreign.owner, foreign.owner, None)]})
    with SqliteStore.open(path) as store:
        store.append(sealed(*log.records), [state_of(log)])
        store.set_meta("key", b"value")
        store.set_verified(foreign.owner, 3)
        store.record_head(foreign.owner, 1, bytes(32), None, "peer", 5)
        digest = store.put_blob(b"content")
    with SqliteStore.open(path) as store:
        assert store.missing([record.id for record in log.records]) == []
        assert store.log_state(log.owner).peaks.root() == log.peaks.root()
        assert store.get_meta("key") == b"value"
        assert store.verified(foreign.owner).edges == 3
        assert store.heads(foreign.owner)[0].seen_ms == 5
        assert store.get_blob(digest) == b"content"
        store.append(sealed(foreign.last))
        assert store.ancestors(log.last.id) == [log.owner, foreign.owner]
        assert store.check() == []


def test_commits_are_synced_and_written_ahead(disk):
    with disk._writer.transaction() as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


WRITER = """
import sys
sys.path.insert(0, sys.argv[1] + "/src")
sys.path.insert(0, sys.argv[1] + "/tests/support")
from lineage import LogBuilder
from tslg.node.store.interface import LogState
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol.cid import to_text

store = SqliteStore.open(sys.argv[2])
log = LogBuilder(sys.argv[3])
size = 0
while True:
    batch = log.records[size:]
    size = len(log.records)
    state = LogState(log.owner, size, log.last.id, log.last.time, log.peaks.copy())
    store.append([(record, b"seal") for record in batch], [state])
    store.put_blob(log.last.data)
    print(*(to_text(record.id) for record in batch), flush=True)
    for _ in range(size % 5 + 1):
        log.add()
"""


def test_a_killed_writer_loses_nothing_that_it_acknowledged(path):
    rng = random.Random(20)
    acknowledged = []
    for life in range(5):
        command = [sys.executable, "-c", WRITER, str(ROOT), str(path), f"life {life}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            lines = rng.randrange(2, 60)
            for _ in range(lines):
                acknowledged.extend(process.stdout.readline().split())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read()
            acknowledged.extend(rest[: rest.rfind("\n") + 1].split())
            assert process.wait() == -signal.SIGKILL
        with SqliteStore.open(path) as store:
            assert store.missing([from_text(text) for text in acknowledged]) == []
            logs = store.logs()
            assert len(logs) == life + 1 and all(log.complete and log.held == log.newest + 1 for log in logs)
            for log in logs:
                state = store.log_state(log.owner)
                assert (state.size, state.last) == (log.held, store.at(log.owner, log.newest))
            assert store.check() == []
    assert len(acknowledged) > 50


def test_eight_threads_commit_together_and_each_is_durable_when_told_so(disk, path, new_log, state_of):
    commits = []
    disk._writer._db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    gate = threading.Barrier(8)
    problems = []

    def work(name):
        log = new_log(name)
        gate.wait()
        for _ in range(25):
            disk.append(sealed(log.last), [state_of(log)])
            with SqliteStore.open(path, readonly=True) as reader:
                if not reader.has(log.last.id):
                    problems.append(log.last)
            log.add()

    run_threads([threading.Thread(target=work, args=(f"thread {number}",)) for number in range(8)])
    assert problems == []
    assert sorted(log.held for log in disk.logs()) == [25] * 8
    assert len(commits) < 200
    assert disk.check() == []


def run_threads(threads):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_one_callers_fork_does_not_fail_the_others_in_its_group(disk, new_log, state_of):
    victim = new_log("victim")
    rival = victim.make(body={"data": {"rival": True}})
    victim.add()
    disk.append(sealed(*victim.records), [state_of(victim)])
    logs = [new_log(f"log {number}") for number in range(6)]
    outcomes = {}

    def call(name, *args):
        try:
            disk.append(*args)
            outcomes[name] = None
        except StoreError as error:
            outcomes[name] = error

    threads = [threading.Thread(target=call, args=(n, sealed(log.last), [state_of(log)])) for n, log in enumerate(logs)]
    threads.insert(3, threading.Thread(target=call, args=("fork", sealed(rival))))
    with disk._writer.transaction():
        # All calls but the first leader's gather behind this transaction and share the next one.
        for thread in threads:
            thread.start()
        while len(disk._group._waiting) < len(threads) - 1:
            threads[0].join(timeout=0.001)
    for thread in threads:
        thread.join(timeout=30)
    assert isinstance(outcomes.pop("fork"), ForkError)
    assert outcomes == dict.fromkeys(range(6))
    assert disk.missing([log.owner for log in logs]) == [] and not disk.has(rival.id)
    assert disk.check() == []


def test_an_interrupted_commit_fails_every_caller_and_leaves_nothing(disk, new_log, state_of, monkeypatch):
    log = new_log("interrupted")

    def interrupt(batches):
        raise KeyboardInterrupt

    monkeypatch.setattr(disk._group, "_commit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        disk.append(sealed(log.last), [state_of(log)])
    monkeypatch.undo()
    disk.append(sealed(log.last), [state_of(log)])
    assert disk.logs() == [LogSummary(log.owner, 1, 0, True)]


def test_reading_while_another_process_writes(path, new_log, state_of):
    command = [sys.executable, "-c", WRITER, str(ROOT), str(path), "busy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        seen = [from_text(text) for text in process.stdout.readline().split()]
        with SqliteStore.open(path, readonly=True) as store:
            for _ in range(40):
                seen.extend(from_text(text) for text in process.stdout.readline().split())
                assert store.missing(seen) == []
                assert store.log_state(seen[0]).size >= len(seen)
            for call in (
                lambda: store.append([]),
                lambda: store.set_meta("key", b""),
                lambda: store.set_verified(seen[0], 1),
                lambda: store.record_head(seen[0], 1, bytes(32), None, "peer", 1),
                lambda: store.put_blob(b""),
            ):
                fails("TSLG-D-READONLY", call)
        process.kill()


def test_reading_after_the_writer_has_closed(path, new_log):
    log = new_log("closed")
    with SqliteStore.open(path) as store:
        store.append(sealed(log.last))
    with SqliteStore.open(path, readonly=True) as store:
        assert store.has(log.owner)
        assert store.check() == []


def test_records_are_found_after_a_writer_failed_half_way(disk, new_log, state_of):
    """Row ids and names given out in a transaction that was undone must not be used again for something else."""
    log, other = new_log("first"), new_log("second")
    child = log.add()
    with pytest.raises(StoreError, match="TSLG-D-STATE"):
        disk.append(sealed(*log.records), [state_of(log)._replace(size=9)])
    disk.append(sealed(other.last), [state_of(other)])
    disk.append(sealed(child))
    disk.append(sealed(log.records[0]), [state_of(log)])
    assert disk.children(log.owner) == [child.id] and disk.by_kind("state") == [child.id]
    assert disk.check() == []


def test_states_alone_and_records_that_were_partly_cited_or_held(disk, new_log, state_of):
    """Batches of new, cited and held ids in turn: whatever the writer expects next, the tables come out right."""
    one, two = new_log("one"), new_log("two")
    for _ in range(3):
        one.add()
        two.add(preds={"prior": [Edge(two.last.id)], "evidence": [Edge(one.last.id, one.owner, 0)]})
    disk.append(sealed(*two.records))
    disk.append(sealed(*one.records[2:]))
    disk.append(sealed(*one.records[:2], *two.records))
    disk.append([], [state_of(one), state_of(two)])
    disk.append(sealed(two.add(), one.add()), [state_of(two)])
    assert [log.held for log in disk.logs()] == [5, 5]
    assert disk.log_state(one.owner).size == 4 and disk.log_state(two.owner).size == 5
    with disk._readers.use() as db:
        assert db.execute("SELECT count(*) FROM record").fetchone() == (10,)
    assert disk.check() == []


def test_a_held_record_keeps_its_seal_when_it_comes_again_behind_one_that_cites_it(path, new_log):
    log = new_log("sealed")
    child = log.add()
    with SqliteStore.open(path) as store:
        store.append(sealed(log.records[0]))
    with SqliteStore.open(path) as store:
        store.append([(child, SEAL), (log.records[0], b"another seal")])
        assert store.get(log.owner).seal == SEAL
        assert store.check() == []


def test_more_readers_than_idle_connections(disk, new_log):
    log = new_log("read")
    disk.append(sealed(log.last))
    gate = threading.Barrier(12)
    found = []

    def read():
        with disk._readers.use() as db:
            gate.wait(timeout=30)
            found.append(db.execute("SELECT count(*) FROM record").fetchone())

    run_threads([threading.Thread(target=read) for _ in range(12)])
    assert found == [(1,)] * 12
    assert 0 < len(disk._readers._idle) <= 4


def test_a_closed_store_says_so(disk, new_log):
    log = new_log("late")
    disk.close()
    disk.close()
    fails("TSLG-D-CLOSED", disk.get, log.owner)
    fails("TSLG-D-CLOSED", disk.append, sealed(log.last))
    fails("TSLG-D-CLOSED", disk.set_meta, "key", b"")


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_database(path, readonly, content):
    path.parent.mkdir()
    path.write_bytes(content)
    error = fails("TSLG-D-NOT-A-STORE", SqliteStore.open, path, readonly=readonly)
    assert str(path) in error.detail
    assert path.read_bytes() == content


@pytest.mark.parametrize("readonly", [False, True])
def test_another_programs_database_is_left_alone(path, readonly):
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (a)")
    db.close()
    before = path.read_bytes()
    fails("TSLG-D-NOT-A-STORE", SqliteStore.open, path, readonly=readonly)
    assert path.read_bytes() == before


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_schema_is_refused(path, readonly):
    SqliteStore.open(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()
    error = fails("TSLG-D-SCHEMA", SqliteStore.open, path, readonly=readonly)
    assert f"version {schema.VERSION + 1}" in error.detail


def test_an_older_file_is_brought_up_to_date_by_whoever_writes_it(path, new_log):
    log = new_log("older")
    with SqliteStore.open(path) as store:
        store.append(sealed(*log.records))
    with sqlite3.connect(path) as db:
        db.executescript("ALTER TABLE record DROP COLUMN attachment; PRAGMA user_version = 1;")
    db.close()
    error = fails("TSLG-D-SCHEMA", SqliteStore.open, path, readonly=True)
    assert "once" in error.mend
    with SqliteStore.open(path) as store:
        store.append(sealed(log.add()), (), {log.last.id: b"beside"})
        assert store.get(log.last.id).attachment == b"beside" and store.get(log.records[0].id).attachment is None
    with SqliteStore.open(path, readonly=True) as store:
        assert store.get(log.last.id).attachment == b"beside"


def test_nothing_to_read(path):
    fails("TSLG-D-MISSING", SqliteStore.open, path, readonly=True)
    path.parent.mkdir()
    path.touch()
    fails("TSLG-D-MISSING", SqliteStore.open, path, readonly=True)


def test_a_file_in_place_of_the_directory(tmp_path):
    (tmp_path / "data").write_text("a file")
    fails("TSLG-D-DIRECTORY", SqliteStore.open, tmp_path / "data" / "tslg.sqlite")
    fails("TSLG-D-MISSING", SqliteStore.open, tmp_path / "data" / "tslg.sqlite", readonly=True)


def test_a_directory_in_place_of_the_file(path):
    path.mkdir(parents=True)
    fails("TSLG-D-OPEN", SqliteStore.open, path)
    fails("TSLG-D-OPEN", SqliteStore.open, path, readonly=True)


STRANGER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tslg.node.store.lock import DataDirLock
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol.errors import StoreError
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
def attempt(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
        print("ok")
    except StoreError as error:
        print(error.code)
for name in ("hidden", "frozen"):
    path = os.path.join(sys.argv[2], name, "tslg.sqlite")
    attempt(SqliteStore.open, path)
    attempt(SqliteStore.open, path, readonly=True)
    attempt(DataDirLock(os.path.join(sys.argv[2], name)).acquire)
"""


def test_a_user_without_permission():
    """The superuser may do anything, so a process without privileges tries: a hidden directory, and one to look at."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        for directory in ("hidden", "frozen"):
            SqliteStore.open(place / directory / "tslg.sqlite").close()
        (place / "frozen" / "tslg.sqlite").chmod(0o444)
        (place / "frozen").chmod(0o555)
        (place / "hidden").chmod(0)
        command = [sys.executable, "-c", STRANGER, str(ROOT / "src"), name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        (place / "hidden").chmod(0o700)
        (place / "frozen").chmod(0o700)
    assert said == ["TSLG-D-PERMISSION"] * 6


def test_a_damaged_page_is_named_by_check(path, new_log):
    log = new_log("damaged")
    for _ in range(300):
        log.add()
    with SqliteStore.open(path) as store:
        store.append(sealed(*log.records))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    with SqliteStore.open(path, readonly=True) as store:
        codes = {problem.code for problem in store.check()}
        assert "TSLG-D-CORRUPT" in codes


def test_a_flipped_bit_in_a_record_is_named_by_check(path, new_log):
    log = new_log("flipped")
    record = log.add()
    with SqliteStore.open(path) as store:
        store.append(sealed(*log.records))
    data = path.read_bytes()
    assert data.count(b"step") == 1
    path.write_bytes(data.replace(b"step", b"stap"))
    with SqliteStore.open(path) as store:
        assert [(problem.code, problem.record) for problem in store.check()] == [("TSLG-R-ID", record.id)]


def test_check_finds_edges_and_rows_that_point_nowhere(disk, new_log):
    log = new_log("strays")
    log.add()
    disk.append(sealed(log.last))
    with disk._writer.transaction() as db:
        db.execute("INSERT INTO edge (child, class, parent) SELECT r.id, 1, 999 FROM record r WHERE data IS NULL")
    assert {problem.code for problem in disk.check()} == {"TSLG-D-CORRUPT", "TSLG-D-EDGES"}


def test_a_full_disk_is_said_and_undone(disk, new_log):
    log = new_log("full")
    for _ in range(100):
        log.add()
    disk.append(sealed(*log.records[:1]))
    with disk._writer.transaction() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
    disk._writer._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    fails("TSLG-D-FULL", disk.append, sealed(*log.records))
    assert disk.logs() == [LogSummary(log.owner, 1, 0, False)]
    disk._writer._db.execute("PRAGMA max_page_count = 1000000")
    disk.append(sealed(*log.records))
    assert disk.check() == []


def test_a_log_state_that_cannot_be_read(disk, new_log, state_of):
    log = new_log("state")
    disk.append(sealed(log.last), [state_of(log)])
    with disk._writer.transaction() as db:
        db.execute("UPDATE log SET peaks = x'00'")
    fails("TSLG-D-CORRUPT", disk.log_state, log.owner)
    assert [problem.code for problem in disk.check()] == ["TSLG-D-STATE"]
    with disk._writer.transaction() as db:
        db.execute("UPDATE log SET peaks = x'', size = 0")
    assert [problem.code for problem in disk.check()] == ["TSLG-D-STATE"]


def test_of_blobs_kept_together_all_are_kept_or_none(disk, path):
    disk.put_blob(b"held")

    def contents():
        yield from (b"new", b"held")
        raise OSError(28, "No space left on device")

    fails("TSLG-D-FULL", disk.put_blobs, contents())
    files = [file for file in (path.parent / "blobs").glob("*/*") if file.is_file()]
    assert [file.read_bytes() for file in files] == [b"held"]
    disk.put_blobs([b"new", b"held"])
    assert disk.get_blob(hashlib.sha256(b"new").digest()) == b"new"


def test_blobs_are_whole_or_absent(disk, path):
    digest = disk.put_blob(b"content" * 1000)
    file = path.parent / "blobs" / digest.hex()[:2] / digest.hex()[2:]
    unfinished = path.parent / "blobs" / "unfinished"
    assert list(unfinished.iterdir()) == []
    file.write_bytes(b"something else")
    fails("TSLG-D-BLOB", disk.get_blob, digest)
    assert [problem.code for problem in disk.check()] == ["TSLG-D-BLOB"]
    (unfinished / "left by a crash").write_bytes(b"half")
    disk.close()
    SqliteStore.open(path).close()
    assert list(unfinished.iterdir()) == []


def test_ids_in_errors_are_text(disk, new_log):
    log = new_log("named")
    error = fails("TSLG-D-INCOMPLETE", disk.leaves, log.owner, 1)
    assert to_text(log.owner) in error.detail and error.record == log.owner
    bad = LogState(log.owner, 1, log.owner, 0, log.peaks)
    assert fails("TSLG-D-STATE", disk.append, [], [bad]).record == log.owner


def test_ancestors_are_the_same_whatever_is_remembered_of_earlier_queries(disk, new_log, monkeypatch):
    log = new_log("long")
    while len(log.records) < 8:
        log.add(preds={"prior": [Edge(log.last.id)]})
    wanted = [record.id for record in reversed(log.records[:-1])]
    for room in (0, 3, 100):
        monkeypatch.setattr(sqlite_graph, "_REMEMBERED", room)
        disk.append(sealed(*log.records))
        assert disk.ancestors(log.records[4].id) == wanted[3:]
        assert disk.ancestors(log.last.id) == disk.ancestors(log.last.id) == wanted
        assert len(disk._ids) <= room
