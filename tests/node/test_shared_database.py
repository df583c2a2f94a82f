"""Several nodes on one database: each writes its own agents' logs, sees what others stored at once, and forks none."""

from __future__ import annotations

import shutil
import threading

import psycopg
import pytest
from world import NOW, ONE, World, source

from tslg.manifests.keys import read_key
from tslg.manifests.signing import encode_sealed
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.store import postgres_reader, postgres_writer
from tslg.node.store.naming import Named
from tslg.node.verifying import verify
from tslg.protocol.errors import Refusal, StoreError, UsageError
from tslg.protocol.opening import Opened


class Clock:
    """A clock that goes on by itself, for all threads."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        self.now += 1
        return self.now


@pytest.fixture
def open_home(tmp_path, place):
    """Return a function that opens the directory of a node on the one database."""
    clock = Clock()

    def opened(name, **how):
        path = tmp_path / name
        if not (path / "store.toml").exists():
            path.mkdir(exist_ok=True)
            Named(place.dsn, place.schema).write(path)
        return Home.open(path, clock=clock, random_bytes=source(how.pop("seed", name)), **how)

    return opened


@pytest.fixture
def impatient(monkeypatch):
    for module in (postgres_writer, postgres_reader):
        monkeypatch.setattr(module, "PATIENCE_S", 0.3)
    monkeypatch.setattr(postgres_writer, "_TAKE_OVER_S", 0.2)


@pytest.fixture
def agent_of(tmp_path):
    """Return a function that makes an agent at a node, attested by the anchor of the federation's founder."""
    anchor = tmp_path / "a" / "keys" / "anchor.json"
    return lambda home, name: home.create_agent(name, anchors=(read_key(anchor),))


def end_sessions(place):
    with psycopg.connect(place.dsn, autocommit=True) as db:
        db.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'tslg%'")


def valid(home, record):
    report = verify(StoreSource(home.store), record.id, home.federation, now_ms=NOW + 10**6, log="full")
    return report.verdict == "valid"


def test_two_nodes_write_side_by_side_and_cite_each_other(open_home, agent_of):
    with open_home("a") as one, open_home("b") as two:
        a, b = one.agent("a"), agent_of(two, "b")
        assert one.federation == two.federation and {x.name for x in one.agents} == {"a"}
        last = a.observe("start", {"n": 0})
        for number in range(10):
            said = b.state({"n": number}, evidence=last)
            last = a.state({"n": number}, evidence=said)
        errors = []

        def work(agent, count):
            try:
                for number in range(count):
                    agent.observe("beside", {"n": number})
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(agent, 20)) for agent in (a, b, a, b)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert errors == [] and valid(one, last) and valid(two, last)
        end = b.observe("last")
        assert one.store.log_state(b.id).last == end.id and valid(one, end)
        assert one.store.check() == []
        assert [log.complete for log in one.store.logs()] == [True] * 3


def test_a_copy_of_a_directory_cannot_write_beside_the_original(open_home, tmp_path, impatient):
    with open_home("a") as home:
        agent = home.agent("a")
        agent.observe("first")
        shutil.copytree(tmp_path / "a", tmp_path / "copy")
        with pytest.raises(StoreError) as caught:
            open_home("copy")
        assert caught.value.code == "TSLG-D-LOCKED" and "written elsewhere, by tslg " in caught.value.detail
        agent.observe("second")
    # Once the original has stopped, the copy goes on where it ended: the log is in the database, not in the directory.
    with open_home("copy") as home:
        third = home.agent("a").observe("third")
        assert third.prev == home.store.at(agent.id, third.seq - 1) and valid(home, third) and home.store.check() == []


def test_a_withdrawal_binds_the_other_node_at_once(open_home, agent_of):
    with open_home("a") as one, open_home("b") as two:
        a, b = one.agent("a"), agent_of(two, "b")
        grant = a.policy("grant", capabilities=["x"])
        handed = a.delegate(b.id, {}, grant, expires=NOW + 10**7)
        b.act("x", delegation=handed)
        b.act("x", delegation=handed)
        a.retract(handed, reason="done")
        with pytest.raises((UsageError, Refusal)):
            b.act("x", delegation=handed)


def test_a_revocation_that_another_node_stored_is_known_at_once(open_home, agent_of):
    with open_home("a") as one, open_home("b") as two:
        a, b = one.agent("a"), agent_of(two, "b")
        first = a.id
        assert b.state({}, evidence=a.observe("x")) and not two.ledger.context.revocations(a.id).ends
        a.rotate()
        a.revoke(first, "stolen")
        b.observe("anything")
        assert two.ledger.context.revocations(a.id).ends


def test_a_manifest_that_one_node_took_in_is_in_force_at_the_other(open_home, tmp_path):
    anchors = World(ONE.format(attested=0), "amending")
    file = tmp_path / "root.sealed"
    file.write_bytes(encode_sealed(anchors.anchors.log[0].data, anchors.seals[anchors.federation]))
    anchors.amend(verify_depth=7)
    with open_home("a", federation=file) as one, open_home("b") as two:
        b = two.agent("b")
        before = b.observe("x")
        one.follow_federation([(anchors.anchors.log[1], anchors.seals[anchors.anchors.log[1].id])])
        after = b.observe("x")
        assert (before.manifest, after.manifest) == (anchors.federation, anchors.anchors.log[1].id)
        assert two.manifest.version == 2 and valid(two, after)


def test_two_directories_cannot_found_two_federations(open_home, agent_of, monkeypatch):
    with open_home("a") as one:
        real = type(one.store).get_meta
        hidden = []

        def get_meta(store, key):
            # As if the second had looked before the first was done.
            if key == "federation" and not hidden:
                hidden.append(key)
                return None
            return real(store, key)

        monkeypatch.setattr(type(one.store), "get_meta", get_meta)
        with pytest.raises(UsageError, match="another node has just made"):
            open_home("b")
        with open_home("b") as two:
            assert two.federation == one.federation and agent_of(two, "b").observe("x")


@pytest.mark.parametrize("committed", [True, False])
def test_an_append_whose_answer_never_came_is_neither_lost_nor_doubled(
    open_home, place, cluster, monkeypatch, impatient, committed
):
    with open_home("a") as home:
        agent = home.agent("a")
        first = agent.observe("first")
        writer = home.store._writer
        real, stopped = writer._append, []

        def cut_off(*args):
            if committed:
                real(*args)
            if not stopped:
                stopped.append(True)
                cluster.stop("immediate")
            writer._session().execute("SELECT 1")

        monkeypatch.setattr(writer, "_append", cut_off)
        try:
            with pytest.raises(StoreError) as caught:
                agent.observe("second")
            assert caught.value.code == "TSLG-D-UNKNOWN"
        finally:
            monkeypatch.setattr(writer, "_append", real)
            cluster.start()
        third = agent.observe("third")
        assert third.seq == first.seq + (2 if committed else 1)
        assert third.prev == home.store.at(agent.id, third.seq - 1)
        assert home.store.log_state(agent.id).size == third.seq + 1 and home.store.check() == [] and valid(home, third)


def test_a_session_lost_between_appends_is_not_even_noticed(open_home, place):
    with open_home("a") as home:
        agent = home.agent("a")
        for number in range(3):
            made = agent.observe("x", {"n": number})
            end_sessions(place)
        with agent.batch():
            agent.observe("in a batch")
            end_sessions(place)
            made = agent.observe("too")
        assert valid(home, made) and home.store.check() == []


def test_a_record_that_a_neighbour_put_at_ones_next_place_stops_the_log_and_says_so(open_home, tmp_path, place):
    """Whoever has an agent's key elsewhere can have its record taken in by a neighbour; the agent must not go on."""
    with open_home("a") as one, open_home("b") as two:
        a = one.agent("a")
        a.observe("first")
        thief = a._ledger
        stolen = thief.prepare(a.id, _draft("stolen"))
        log = thief._logs[a.id]
        seal, _ = _draft("stolen").seal(stolen, log, thief._in_force())
        assert two.ledger.adopt([Opened(stolen, seal)]) == 1
        with pytest.raises(StoreError, match="TSLG-D-FORK"):
            a.observe("mine")
        with pytest.raises(UsageError) as caught:
            a.observe("mine again")
        assert caught.value.code == "TSLG-U-BEHIND"
        assert one.store.log_state(a.id).size == stolen.seq and one.store.check() == []


def _draft(text):
    from tslg.node.drafting import Draft

    return Draft("observation", {"source": text, "data": {}}, {})


def test_a_pruning_under_way_is_its_own_nodes_to_finish(open_home, agent_of):
    from tslg.node import pruning

    with open_home("a") as one:
        a = one.agent("a")
        note = pruning.note_key(a.id)
        one.store.set_meta(note, b"under way")
        with open_home("b") as two:
            agent_of(two, "b")
            assert two.store.get_meta(note) == b"under way"
        one.store.set_meta(note, b"")
