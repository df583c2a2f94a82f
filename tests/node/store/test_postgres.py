"""What only a store in PostgreSQL does: be shared, be taken over, come back after its server, and keep passwords."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from tslg.node.store import postgres_opening, postgres_reader, postgres_upkeep, postgres_writer
from tslg.node.store.interface import ForkError
from tslg.node.store.memory import MemoryStore
from tslg.node.store.postgres import PostgresStore
from tslg.node.store.postgres_engine import Place
from tslg.protocol.cid import compute, from_text, to_text
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
    assert error.code == code, error
    assert error.mend and "\n" not in str(error)
    return error


@pytest.fixture
def store(place):
    with PostgresStore.open(place) as made:
        yield made


@pytest.fixture
def other(store, place):
    """The same store as another process has it."""
    with PostgresStore.open(place) as made:
        yield made


@pytest.fixture
def impatient(monkeypatch):
    for module in (postgres_writer, postgres_reader, postgres_upkeep):
        monkeypatch.setattr(module, "PATIENCE_S", 0.3)
    monkeypatch.setattr(postgres_writer, "_TAKE_OVER_S", 0.2)


def execute(place, statement, *params):
    with psycopg.connect(place.dsn, autocommit=True) as db:
        db.execute(f"SET search_path = {place.schema}")
        return db.execute(statement, params).fetchall() if statement.startswith("SELECT") else db.execute(statement)


def end_session(store):
    """End a store's write session at the server, as a failing network or an operator would."""
    execute(store.place, "SELECT pg_terminate_backend(%s, 5000)", store._writer._db.info.backend_pid)


# --- several processes -----------------------------------------------------------------------------------------------


def test_what_one_committed_the_others_see_at_once(store, other, new_log, state_of):
    one, two = new_log("one"), new_log("two")
    for number in range(5):
        store.append(sealed(one.last), [state_of(one)])
        assert other.log_state(one.owner).size == number + 1 and other.has(one.last.id)
        other.append(sealed(two.last), [state_of(two)])
        assert store.log_state(two.owner).last == two.last.id
        one.add(preds={"prior": [Edge(one.last.id)], "evidence": [Edge(two.last.id, two.owner)]})
        two.add(preds={"prior": [Edge(two.last.id)], "evidence": [Edge(one.records[number].id, one.owner)]})
    assert set(store.ancestors(two.records[4].id)) == set(other.ancestors(two.records[4].id))
    assert store.check() == []


def test_a_log_has_one_writer_and_the_loser_learns_who_it_is(store, other, new_log, impatient):
    one, two = new_log("one"), new_log("two")
    store.claim(one.owner)
    store.claim(one.owner)
    other.claim(two.owner)
    error = fails("TSLG-D-LOCKED", other.claim, one.owner)
    assert error.record == one.owner and to_text(one.owner) in error.detail
    assert f":{os.getpid()} " in error.detail and str(store._writer._db.info.backend_pid) in error.detail
    store.close()
    other.claim(one.owner)


WRITER = """
import sys
sys.path.insert(0, sys.argv[1] + "/src")
sys.path.insert(0, sys.argv[1] + "/tests/support")
from lineage import LogBuilder
from tslg.node.store.interface import LogState
from tslg.node.store.postgres import PostgresStore
from tslg.node.store.postgres_engine import Place
from tslg.protocol.cid import to_text

store = PostgresStore.open(Place(sys.argv[2], sys.argv[3]))
log = LogBuilder(sys.argv[4])
store.claim(log.owner)
size = 0 if (state := store.log_state(log.owner)) is None else state.size
while len(log.records) <= size:
    log.add()
while True:
    batch = log.records[size:]
    size = len(log.records)
    state = LogState(log.owner, size, log.last.id, log.last.time, log.peaks.copy())
    store.append([(record, b"seal") for record in batch], [state])
    print(*(to_text(record.id) for record in batch), flush=True)
    for _ in range(size % 5 + 1):
        log.add()
"""


@pytest.mark.thorough
def test_a_killed_writer_loses_nothing_that_it_acknowledged_and_the_next_takes_over(store, place, impatient):
    rng = random.Random(20)
    acknowledged = []
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(ROOT), place.dsn, place.schema, "taken over"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(rng.randrange(2, 30)):
                acknowledged.extend(process.stdout.readline().split())
            owner = from_text(acknowledged[0])
            assert f":{process.pid} " in fails("TSLG-D-LOCKED", store.claim, owner).detail
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read()
            acknowledged.extend(rest[: rest.rfind("\n") + 1].split())
            assert process.wait() == -signal.SIGKILL
        assert store.missing([from_text(text) for text in acknowledged]) == []
        (log,) = store.logs()
        state = store.log_state(log.owner)
        assert (state.size, state.last) == (log.held, store.at(log.owner, log.newest)) and log.held == log.newest + 1
    assert store.check() == [] and len(set(acknowledged)) == len(acknowledged) > 20


def run_threads(*works):
    errors = []

    def guarded(work):
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return errors


def test_records_of_foreign_logs_may_arrive_at_two_nodes_at_once(store, other, new_log):
    logs = [new_log(f"foreign {number}") for number in range(6)]
    for turn in range(30):
        for log in logs:
            cited = logs[(turn + 1) % 6].records[-1]
            log.add(preds={"prior": [Edge(log.last.id)], "evidence": [Edge(cited.id, cited.owner)]})
    records = [record for log in logs for record in log.records]

    def feed(into, seed):
        order = records.copy()
        random.Random(seed).shuffle(order)
        for start in range(0, len(order), 7):
            into.append(sealed(*order[start : start + 11]))

    assert run_threads(lambda: feed(store, 1), lambda: feed(other, 2), lambda: feed(other, 3)) == []
    assert store.missing([record.id for record in records]) == [] and store.check() == []
    assert [log.held for log in other.logs()] == [31] * 6


def test_of_two_records_for_one_place_one_wins_and_the_other_is_refused(store, other, new_log, state_of):
    for turn in range(10):
        log = new_log(f"forked {turn}")
        store.append(sealed(log.last), [state_of(log)])
        rivals = [log.make(body={"data": {"by": name}}) for name in ("store", "other")]
        gate = threading.Barrier(2)

        def write(into, record, gate=gate):
            gate.wait()
            into.append(sealed(record))

        lost = run_threads(lambda r=rivals: write(store, r[0]), lambda r=rivals: write(other, r[1]))
        assert [type(error) for error in lost] == [ForkError]
        assert {lost[0].record, lost[0].held} == {record.id for record in rivals}
        assert store.at(log.owner, 1) == other.at(log.owner, 1) == lost[0].held
    assert store.check() == []


def test_what_several_change_at_once_loses_no_change(store, other):
    def add(into, name):
        for number in range(20):
            into.change_meta("list", lambda value, n=number: (value or b"") + b"%s%02d " % (name, n))

    assert run_threads(lambda: add(store, b"a"), lambda: add(other, b"b"), lambda: add(other, b"c")) == []
    words = store.get_meta("list").split()
    assert len(words) == len(set(words)) == 60


def test_what_bears_on_others_is_told_and_nothing_else(store, other, new_log, state_of):
    log = new_log("telling")
    log.add()
    before = other.changes()
    store.append(sealed(*log.records), [state_of(log)])
    store.set_meta("key", b"value")
    assert other.changes() == before
    for turn, tell in enumerate(
        (
            lambda: store.append(sealed(log.add("retraction", {"retracts": [Edge(log.owner)]}, {"reason": "wrong"}))),
            lambda: store.set_attachment(log.owner, b"beside"),
            lambda: store.keep_rivals(sealed(log.last)),
            lambda: store.record_head(log.owner, 1, bytes(32), None, "peer", 1),
        )
    ):
        tell()
        assert other.changes() == before + turn + 1
    assert MemoryStore().changes() == 0


def test_threads_share_transactions_and_each_learns_its_own_outcome(store, new_log, state_of, monkeypatch):
    groups = []
    real = store._group._commit
    monkeypatch.setattr(store._group, "_commit", lambda batches: (groups.append(len(batches)), real(batches)))
    victim = new_log("victim")
    rival = victim.make(body={"data": {"rival": True}})
    victim.add()
    store.append(sealed(*victim.records), [state_of(victim)])
    logs = [new_log(f"log {number}") for number in range(6)]
    works = [lambda log=log: store.append(sealed(log.last), [state_of(log)]) for log in logs]
    works.insert(3, lambda: store.append(sealed(rival)))
    with store._writer._lock:
        # All calls but the first leader's gather behind this lock and share the next transaction.
        gathering = threading.Thread(target=lambda: outcomes.extend(run_threads(*works)))
        outcomes: list[BaseException] = []
        gathering.start()
        while len(store._group._waiting) < len(works) - 1:
            gathering.join(timeout=0.001)
    gathering.join(timeout=60)
    assert [type(error) for error in outcomes] == [ForkError] and max(groups) == len(works) - 1
    assert store.missing([log.owner for log in logs]) == [] and not store.has(rival.id)
    assert store.check() == []


def test_only_one_may_spread_logs_over_a_store(place, impatient):
    with PostgresStore.open(place) as plain:
        fails("TSLG-D-LOCKED", PostgresStore.open, place, alone=True)
        plain.set_meta("key", b"value")
    with PostgresStore.open(place, alone=True):
        assert "is in use, by tslg " in fails("TSLG-D-LOCKED", PostgresStore.open, place).detail
        fails("TSLG-D-LOCKED", PostgresStore.open, place, alone=True)
        with PostgresStore.open(place, readonly=True) as reader:
            assert reader.get_meta("key") == b"value"


# --- a server that goes away -----------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_restart_of_the_server_is_waited_out(cluster, store, new_log, state_of):
    log = new_log("restarted")
    store.claim(log.owner)
    store.append(sealed(log.last), [state_of(log)])
    assert store.has(log.owner)
    cluster.stop()
    starting = threading.Timer(0.2, cluster.start)
    starting.start()
    store.append(sealed(log.add()), [state_of(log)])
    starting.join()
    assert store.log_state(log.owner).size == 2 and store.missing([r.id for r in log.records]) == []
    cluster.restart("immediate")
    assert store.has(log.last.id)
    with PostgresStore.open(store.place) as other:
        store.append(sealed(log.add()), [state_of(log)])
        fails("TSLG-D-LOCKED", other.claim, log.owner)
    assert store.check() == []


def test_a_server_that_stays_away_is_named_and_nothing_is_doubled(cluster, store, new_log, state_of, impatient):
    log = new_log("away")
    store.append(sealed(log.last), [state_of(log)])
    cluster.stop("immediate")
    try:
        fails("TSLG-D-UNKNOWN", store.append, sealed(log.add()), [state_of(log)])
        error = fails("TSLG-D-SERVER", store.append, sealed(log.last), [state_of(log)])
        assert str(store.place) in error.detail
        fails("TSLG-D-SERVER", store.has, log.owner)
        fails("TSLG-D-SERVER", PostgresStore.open, store.place)
    finally:
        cluster.start()
    store.append(sealed(log.last), [state_of(log)])
    assert [one.held for one in store.logs()] == [2] and store.check() == []


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_whose_answer_is_lost_is_looked_up(store, new_log, state_of, monkeypatch, committed):
    log = new_log("unanswered")
    real, calls = store._writer._append, []

    def cut_off(*args):
        calls.append(args)
        if committed or len(calls) > 1:
            real(*args)
        if len(calls) == 1:
            end_session(store)
            store._writer._db.execute("SELECT 1")

    monkeypatch.setattr(store._writer, "_append", cut_off)
    store.append(sealed(log.last), [state_of(log)])
    assert len(calls) == 2
    assert [(one.held, one.complete) for one in store.logs()] == [(1, True)] and store.check() == []


def test_a_log_that_was_taken_over_is_not_written_any_more(store, other, new_log, state_of, impatient):
    log = new_log("taken over")
    store.claim(log.owner)
    store.append(sealed(log.last), [state_of(log)])
    end_session(store)
    other.claim(log.owner)
    ours, theirs = log.make(body={"data": {"by": "us"}}), log.add(body={"data": {"by": "them"}})
    error = fails("TSLG-D-LOCKED", store.append, sealed(ours))
    assert error.record == log.owner and str(other._writer._db.info.backend_pid) in error.detail
    # What was stored before the session was lost is not refused, since it is there.
    store.append(sealed(log.records[0]))
    store.set_meta("still", b"here")
    other.append(sealed(theirs), [state_of(log)])
    other.close()
    with pytest.raises(ForkError):
        store.append(sealed(ours))
    assert store.log_state(log.owner).last == theirs.id
    store.append(sealed(log.add()), [state_of(log)])
    assert store.check() == []


def test_a_lost_race_is_run_again_within_bounds(store, new_log, monkeypatch):
    log = new_log("racing")
    real, left = store._writer._append, [3]

    def race(*args):
        if left[0]:
            left[0] -= 1
            raise psycopg.errors.DeadlockDetected
        real(*args)

    monkeypatch.setattr(store._writer, "_append", race)
    store.append(sealed(log.last))
    assert store.has(log.owner) and left == [0]
    left[0] = 1000
    fails("TSLG-D-BUSY", store.append, sealed(log.add()))
    assert 900 < left[0] < 1000 and not store.has(log.last.id)


# --- opening ---------------------------------------------------------------------------------------------------------


SECRET = "hunter2-is-secret"


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://me:{SECRET}@localhost/db",
        f"host=localhost password={SECRET}",
        f"postgresql://localhost/db?password={SECRET}",
        f"host=localhost {SECRET}",
        f"postgresql://me:{SECRET}@[::1/db",
    ],
)
def test_a_password_is_kept_nowhere_and_shown_nowhere(dsn):
    error = fails("TSLG-D-DSN", Place, dsn)
    shown = [str(error), repr(error), repr(error.__cause__), str(error.__dict__)]
    assert SECRET not in "".join(shown)


def test_a_password_comes_from_the_environment_and_a_wrong_one_is_not_shown(cluster, place, monkeypatch):
    execute(place, f"CREATE ROLE keeper LOGIN PASSWORD '{SECRET}'")
    execute(place, f"CREATE SCHEMA {place.schema} AUTHORIZATION keeper")
    through = Place(f"host=127.0.0.1 port={cluster.port} user=keeper dbname=postgres", place.schema)
    assert SECRET not in f"{through} {through!r}"
    fails("TSLG-D-PERMISSION", PostgresStore.open, through)
    monkeypatch.setenv("PGPASSWORD", SECRET + "x")
    error = fails("TSLG-D-PERMISSION", PostgresStore.open, through)
    assert SECRET not in f"{error!r} {error.__cause__}"
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with PostgresStore.open(through) as made:
        made.set_meta("key", b"value")
        assert SECRET not in repr(vars(made))


def test_names_that_are_no_schemas():
    for name in ("", "Upper", "pg_mine", "a-b", "x" * 64, 'x"; DROP TABLE record; --'):
        fails("TSLG-D-DSN", Place, "host=localhost", name)


def test_what_cannot_be_opened_is_said(cluster, place):
    missing = Place(place.dsn.replace("dbname=postgres", "dbname=nowhere"))
    fails("TSLG-D-MISSING", PostgresStore.open, missing)
    fails("TSLG-D-PERMISSION", PostgresStore.open, Place(place.dsn.replace("user=postgres", "user=nobody_here")))
    fails("TSLG-D-MISSING", PostgresStore.open, place, readonly=True)
    execute(place, f"CREATE SCHEMA {place.schema}")
    execute(place, "CREATE TABLE theirs (a int)")
    for readonly in (False, True):
        fails("TSLG-D-NOT-A-STORE", PostgresStore.open, place, readonly=readonly)
    execute(place, "DROP TABLE theirs")
    PostgresStore.open(place).close()
    execute(place, "UPDATE tslg SET version = version + 1")
    for readonly in (False, True):
        fails("TSLG-D-SCHEMA", PostgresStore.open, place, readonly=readonly)


def test_a_server_that_does_not_sync_is_refused(place):
    try:
        execute(place, "ALTER SYSTEM SET full_page_writes = off")
        execute(place, "SELECT pg_reload_conf()")
        while execute(place, "SELECT current_setting('full_page_writes')") == [("on",)]:
            pass
        fails("TSLG-D-UNSAFE", PostgresStore.open, place)
    finally:
        execute(place, "ALTER SYSTEM RESET full_page_writes")
        execute(place, "SELECT pg_reload_conf()")
        while execute(place, "SELECT current_setting('full_page_writes')") == [("off",)]:
            pass


def test_commits_wait_for_the_disk_whatever_the_database_says(place):
    execute(place, "ALTER ROLE postgres SET synchronous_commit = off")
    try:
        with PostgresStore.open(place) as store:
            assert store._writer._db.execute("SHOW synchronous_commit").fetchone() == ("on",)
    finally:
        execute(place, "ALTER ROLE postgres RESET synchronous_commit")


def test_two_may_make_the_tables_at_once(place):
    assert run_threads(*[lambda: PostgresStore.open(place).close()] * 6) == []
    with PostgresStore.open(place) as store:
        assert store.check() == []


def test_reading_only(store, place, new_log):
    log = new_log("read")
    store.append(sealed(log.last))
    with PostgresStore.open(place, readonly=True) as reader:
        assert reader.has(log.owner)
        for call in (
            lambda: reader.append([]),
            lambda: reader.claim(log.owner),
            lambda: reader.set_meta("key", b""),
            lambda: reader.put_blob(b""),
            lambda: reader.drop_blobs([b""]),
            reader.reclaim,
        ):
            fails("TSLG-D-READONLY", call)
        with reader._readers.use() as db, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            db.execute("DELETE FROM record")


def test_a_closed_store_says_so(store, new_log):
    log = new_log("late")
    store.close()
    store.close()
    fails("TSLG-D-CLOSED", store.get, log.owner)
    fails("TSLG-D-CLOSED", store.append, sealed(log.last))
    fails("TSLG-D-CLOSED", store.set_meta, "key", b"")


# --- what is in it ---------------------------------------------------------------------------------------------------


def test_ancestors_come_level_by_level_and_always_the_same(store, place, new_log):
    rng = random.Random(7)
    log = new_log("wide")
    while len(log.records) < 400:
        cited = rng.sample(log.records[-40:], min(3, len(log.records)))
        log.add(preds={"evidence": sorted(Edge(one.id) for one in cited), "prior": [Edge(log.last.id)]})
    store.append(sealed(*log.records))
    before = store.ancestors(log.last.id)
    execute(place, "ANALYZE")
    assert store.ancestors(log.last.id) == before and len(before) == 399
    parents = {
        record.id: [edge.cid for _, cited in sorted(record.preds.items()) for edge in cited] for record in log.records
    }
    expected, level = {}, [log.last.id]
    while level:
        level = [cid for cid in dict.fromkeys(p for one in level for p in parents[one]) if cid not in expected]
        expected.update(dict.fromkeys(level))
    assert before == list(expected)
    assert store.ancestors(log.last.id, limit=50) == before[:50]


def test_texts_that_postgresql_has_no_room_for(store):
    owner = compute(b"owner")
    for source in ("a\0b", "\ud800", "ß\n"):
        store.record_head(owner, 1, bytes(32), None, source, 1)
    assert {head.source for head in store.heads(owner)} == {"a\0b", "\ud800", "ß\n"}


def test_what_is_erased_is_in_no_file_of_the_tables(cluster, store, place, new_log, impatient):
    log = new_log("erased")
    secret = b"a secret that must go" * 200
    store.append(sealed(log.last), (), {log.owner: secret})
    digest = store.put_blob(b"1" + secret)
    with psycopg.connect(place.dsn) as looking:
        looking.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        looking.execute(f"SELECT count(*) FROM {place.schema}.record")
        fails("TSLG-D-BUSY", store.erase, {log.owner: None}, [digest])
    store.erase({log.owner: None}, [digest])
    execute(place, "CHECKPOINT")
    files = [path for path in (cluster.data / "base").rglob("*") if path.is_file()]
    assert len(files) > 100
    assert [path for path in files if b"a secret that must go" in path.read_bytes()] == []
    assert store.get(log.owner).attachment is None and store.get_blob(digest) is None


def test_what_was_pruned_can_be_given_back_and_comes_again(store, new_log, state_of):
    log = new_log("pruned")
    for _ in range(20):
        log.add()
    store.append(sealed(*log.records), [state_of(log)])
    gone = [record.id for record in log.records[3:15]]
    store.begin_prune(log.last.id, gone)
    store.begin_prune(log.last.id, gone[:2])
    assert [store.drop_pruned(7), store.drop_pruned(7), store.drop_pruned(7)] == [7, 5, 0]
    store.reclaim()
    assert store.missing(gone) == gone and store.pruned_by(gone) == dict.fromkeys(gone, log.last.id)
    assert store.pruned_ids(log.last.id) == sorted(gone) and store.at(log.owner, 5) == gone[2]
    assert store.leaves(log.owner, 21) == [record.id for record in log.records]
    store.append(sealed(log.records[4]))
    assert store.has(gone[1]) and gone[1] not in store.pruned_by(gone) and store.check() == []
    assert [row.parent for row in store.parents([gone[1]])] == [gone[0]]


BREAKAGES = {
    "UPDATE record SET data = '\\x00' WHERE seq = 2": {"TSLG-R-ID"},
    "UPDATE record SET time = 1 WHERE seq = 2": {"TSLG-D-COLUMNS"},
    "UPDATE record SET kind = 'action' WHERE seq = 2": {"TSLG-D-COLUMNS"},
    "UPDATE record SET seq = 77 WHERE seq = 2": {"TSLG-D-COLUMNS", "TSLG-D-STATE"},
    "DELETE FROM edge WHERE child = (SELECT cid FROM record WHERE seq = 2)": {"TSLG-D-EDGES"},
    "UPDATE edge SET class = 'policy'": {"TSLG-D-EDGES"},
    "DELETE FROM record WHERE seq = 2": {"TSLG-D-EDGES", "TSLG-D-STATE"},
    "UPDATE log SET peaks = '\\x00'": {"TSLG-D-STATE"},
    "UPDATE log SET size = 2": {"TSLG-D-STATE"},
    "UPDATE rival SET seq = 9": {"TSLG-D-COLUMNS"},
    "UPDATE rival SET data = '\\x00'": {"TSLG-R-ID"},
    "UPDATE blob SET data = 'other'": {"TSLG-D-BLOB"},
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_check_finds_what_somebody_with_the_database_changed(store, place, new_log, state_of, breakage):
    log = new_log("changed")
    for _ in range(4):
        log.add()
    store.append(sealed(*log.records), [state_of(log)])
    store.keep_rivals(sealed(log.make(body={"data": {"rival": True}})))
    store.put_blob(b"content")
    assert store.check() == []
    assert execute(place, breakage).rowcount > 0
    assert {problem.code for problem in store.check()} == BREAKAGES[breakage]


def test_a_changed_blob_is_not_handed_out(store, place):
    digest = store.put_blob(b"content")
    execute(place, "UPDATE blob SET data = 'other'")
    fails("TSLG-D-BLOB", store.get_blob, digest)


def test_tables_are_made_only_once(store, place, monkeypatch):
    monkeypatch.setattr(postgres_opening, "SCHEMA", "this would fail")
    PostgresStore.open(place).close()


def test_large_batches_of_new_held_and_forked_records_in_turn(store, other, new_log, state_of):
    """Whatever the writer expects next, copied or inserted, the tables come out right."""
    log, second = new_log("large"), new_log("second")
    for _ in range(199):
        log.add(preds={"prior": [Edge(log.last.id)], "evidence": [Edge(second.owner, second.owner, None)]})
        second.add()
    assert store._writer._expect_new
    store.append(sealed(*log.records[:100]))
    store.append(sealed(*log.records[50:150]))
    assert not store._writer._expect_new
    store.append(sealed(*log.records[150:]), [state_of(log)])
    assert store._writer._expect_new
    store.append(sealed(*log.records), [state_of(log)])
    other.append(sealed(*second.records), [state_of(second)])
    rival = new_log("second")
    for number in range(60):
        rival.add(body={"data": {"rival": number}})
    for _ in range(2):
        with pytest.raises(ForkError):
            store.append(sealed(*rival.records, *new_log("beside").records))
    assert not store.has(rival.last.id) and not store.has(new_log("beside").owner)
    assert [(one.held, one.complete) for one in store.logs()] == [(200, True)] * 2
    assert len(store.parents([record.id for record in log.records])) == 398 and store.check() == []
