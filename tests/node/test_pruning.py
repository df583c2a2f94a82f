"""Pruning: only what may go goes, everything else is verified as before, and a crash leaves nothing half done."""

from __future__ import annotations

import io
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from pruning_scene import Clock, Setting, let_go, live
from world import source

from tslg.node import pruning
from tslg.node.auditor import Auditor
from tslg.node.bundling import write_walked
from tslg.node.home import Home
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.node.serving import Server
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.store import splitting
from tslg.node.store.memory import MemoryStore
from tslg.node.store.shards import Layout
from tslg.node.verifying import walk
from tslg.protocol import bundle
from tslg.protocol.cid import to_text
from tslg.protocol.commitment import stretch_root
from tslg.protocol.errors import UsageError
from tslg.protocol.exchange import LOG, WALK
from tslg.protocol.log import root
from tslg.protocol.opening import Opened
from tslg.protocol.record import parse_as

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["one file", "shards"])
def setting(request, tmp_path, clock):
    made = Setting(tmp_path / "home", clock)
    if request.param == "shards":
        assert splitting.split(made.path, Layout(3, 2)) == []
        (made.path / splitting.KEPT).unlink()
    return made


def verified(home, target, **how):
    return walk(StoreSource(home.store), target, home.federation, now_ms=home.clock(), **how).report


def test_old_records_go_and_their_ids_and_places_stay(setting, clock):
    with setting.open() as home:
        agent, seen, decided = live(home)
        before = home.store.log_state(agent.id)
        leaves = home.store.leaves(agent.id, before.size)
        clock.now += 5_000
        agent.observe("sensor", {"n": "fresh"})
        planned, made = let_go(home, agent)
        assert set(planned.pruned.ids) == {*(record.id for record in seen)}
        assert made.body["count"] == len(seen) and made.kind == "prune"
        for record in seen:
            assert home.store.get(record.id) is None and not home.store.has(record.id)
            assert home.store.at(agent.id, record.seq) == record.id
            assert home.ledger.context.record(record.id) is None
        assert home.store.pruned_by([seen[0].id, decided.id]) == {seen[0].id: made.id}
        assert home.store.pruned_ids(made.id) == sorted(record.id for record in seen)
        assert home.store.leaves(agent.id, before.size) == leaves and root(leaves) == before.peaks.root()
        assert home.store.check() == []
        later = agent.observe("sensor", {"n": "later"})
        assert verified(home, later.id, log="visited").verdict == "valid"
    with setting.open() as home:
        assert home.store.check() == [] and home.agent("a").observe("sensor").seq == later.seq + 1


def test_the_bytes_are_gone_from_the_file(setting, clock):
    with setting.open() as home:
        agent = home.agent("a")
        agent.observe("a very particular sensor")
        agent.observe("sensor")
        clock.now += 5_000
        agent.observe("sensor")
        let_go(home, agent)
    data = b"".join(path.read_bytes() for path in setting.path.rglob("*.sqlite*"))
    assert b"a very particular sensor" not in data


@pytest.mark.spec("PRN-10", "PRN-11")
@pytest.mark.parametrize("signatures", ["all", "heads"])
def test_a_walk_names_the_prune_record_of_what_is_gone_and_verifies_the_rest(setting, clock, signatures):
    with setting.open() as home:
        agent, seen, decided = live(home)
        clock.now += 5_000
        fresh = agent.decide("again", "yes", evidence=[decided])
        _, made = let_go(home, agent)
        report = verified(home, fresh.id, signatures=signatures)
        assert report.verdict == "undetermined" and report.findings == ()
        reasons = {item.record: item.reason for item in report.undetermined}
        assert reasons == {record.id: f"pruned: by {to_text(made.id)}" for record in seen}
        assert {fresh.id, decided.id} <= report.records.keys()
        assert verified(home, fresh.id, depth=2, signatures=signatures).verdict == "valid"
        whole = verified(home, fresh.id, log="full", signatures=signatures)
        assert whole.findings == ()
        assert [item.reason for item in whole.undetermined if item.record == agent.id] == [
            f"pruned: {len(seen)} of the {home.store.log_state(agent.id).size} records of its log"
        ]


@pytest.mark.spec("VER-20", "PRN-10")
def test_bundles_and_audits_say_the_same(setting, clock):
    with setting.open() as home:
        agent, seen, decided = live(home)
        clock.now += 5_000
        fresh = agent.decide("again", "yes", evidence=[decided])
        _, made = let_go(home, agent)
        walked = walk(StoreSource(home.store), fresh.id, home.federation, now_ms=clock())
        stream = io.BytesIO()
        write_walked(stream, walked)
        held = bundle.read(io.BytesIO(stream.getvalue()))
        offline = walk(BundleSource(held), fresh.id, home.federation, now_ms=clock()).report

        async def ask():
            hub = MemoryHub()
            there, here = hub.network("there"), hub.network("here")
            server = Server(home.store, lambda agent: ())
            there.serve(LOG, server.log)
            there.serve(WALK, server.walk)
            async with running(there), running(here):
                return await Auditor(here, home.federation, clock=clock).audit(fresh.id, [there.addresses[0]])

        for report in (offline, trio.run(ask)):
            assert report.findings == ()
            reasons = {item.record: item.reason for item in report.undetermined}
            assert reasons == {record.id: f"pruned: by {to_text(made.id)}" for record in seen}


@pytest.mark.spec("PRN-10")
def test_a_source_that_only_says_so_proves_nothing(setting, clock):
    with setting.open() as home:
        agent, seen, decided = live(home)
        clock.now += 5_000
        fresh = agent.decide("again", "yes", evidence=[decided])
        let_go(home, agent)

        class Lying(StoreSource):
            def pruned(self, ids):
                return [proof._replace(place=(proof.place + 1) % len(seen)) for proof in super().pruned(ids)]

        report = walk(Lying(home.store), fresh.id, home.federation, now_ms=clock()).report
        assert {item.reason for item in report.undetermined} == {"absent"}


@pytest.mark.spec("PRN-7")
def test_what_is_in_force_is_kept_and_what_is_not_goes_with_what_rested_on_it(setting, clock):
    with setting.open() as home:
        agent = home.agent("a")
        ended = agent.policy("ended", not_after=clock.now + 100)
        unused = agent.policy("unused", not_after=clock.now + 100)
        standing = agent.policy("standing")
        old = agent.act("under it", policy=ended)
        state = agent.state({"n": 1})
        clock.now += 5_000
        agent.adopt(standing)
        planned = pruning.plan(home.store, agent.id, home.manifest, now_ms=clock())
        assert unused.id in planned.pruned.ids
        assert {old.id, ended.id} <= set(planned.pruned.ids)
        assert standing.id not in planned.pruned.ids and state.id not in planned.pruned.ids
        pruning.prune(home.ledger, planned)
        assert verified(home, agent.act("on it goes").id).verdict == "valid"


def test_a_policy_goes_with_the_last_record_that_rests_on_it_and_not_before(tmp_path, clock):
    setting = Setting(tmp_path / "home", clock, gc={"kinds": ["policy"]})
    with setting.open() as home:
        agent = home.agent("a")
        ended = agent.policy("ended", not_after=clock.now + 100)
        narrower = agent.policy("narrower", not_after=clock.now + 50, under=ended)
        kept = agent.act("under it", policy=narrower)
        clock.now += 5_000
        agent.observe("sensor")
        with pytest.raises(UsageError):
            pruning.plan(home.store, agent.id, home.manifest, now_ms=clock())
        assert home.store.has(ended.id) and home.store.has(kept.id)


@pytest.mark.spec("PRN-7")
def test_what_ends_another_records_authority_is_kept(setting, clock):
    with setting.open() as home:
        agent = home.agent("a")
        first = agent.policy("rules", not_after=clock.now + 100)
        second = agent.policy("rules", not_after=clock.now + 100, amends=first)
        knew = agent.observe("sensor", evidence=second)
        goes = agent.observe("sensor")
        agent.observe("sensor")
        clock.now += 5_000
        agent.observe("sensor")
        planned = pruning.plan(home.store, agent.id, home.manifest, now_ms=clock())
        assert {second.id, knew.id, first.id}.isdisjoint(planned.pruned.ids) and goes.id in planned.pruned.ids


def test_retention_and_the_newest_records_are_kept(tmp_path, clock):
    setting = Setting(tmp_path / "home", clock, gc={"keep": 4}, retention={"observation": 1_000_000})
    with setting.open() as home:
        agent = home.agent("a")
        seen = [agent.observe("sensor", {"n": n}) for n in range(3)]
        acts = [agent.act(f"{n}") for n in range(6)]
        clock.now += 5_000
        planned = pruning.plan(home.store, agent.id, home.manifest, now_ms=clock())
        assert set(planned.pruned.ids) == {record.id for record in acts[:2]}
        clock.now += 2_000_000
        planned = pruning.plan(home.store, agent.id, home.manifest, now_ms=clock())
        assert {record.id for record in seen} < set(planned.pruned.ids)


@pytest.mark.spec("PRN-4", "PRN-5")
def test_nothing_goes_without_a_policy_or_before_its_horizon(tmp_path, clock, setting):
    with setting.open() as home:
        agent, *_ = live(home)
        with pytest.raises(UsageError, match="may be pruned"):
            pruning.plan(home.store, agent.id, home.manifest, now_ms=clock())
    with Home.open(tmp_path / "alone", clock=clock, random_bytes=source("alone")) as home:
        agent = home.agent("b")
        clock.now += 10**9
        with pytest.raises(UsageError, match="names no gc policy"):
            pruning.plan(home.store, agent.id, home.manifest, now_ms=clock())


@pytest.mark.spec("PRN-8")
def test_blobs_go_with_the_last_record_that_names_them(setting, clock):
    with setting.open() as home:
        agent = home.agent("a")
        agent.observe("sensor", content=b"only old")
        shared = agent.observe("sensor", content=b"still used")
        clock.now += 5_000
        agent.observe("sensor")
        fresh = agent.observe("sensor", content=b"still used")
        let_go(home, agent)
        assert home.store.get_blob(shared.body["blob"]["digest"]) == b"still used"
        assert fresh.body["blob"] == shared.body["blob"]
        files = [path for path in (setting.path / "blobs").rglob("*") if path.is_file()]
        assert [path.read_bytes() for path in files] == [b"still used"]


@pytest.mark.spec("PRN-9")
def test_pruned_bytes_come_back_only_as_they_were(setting, clock):
    with setting.open() as home:
        agent, seen, _ = live(home)
        entry = home.store.get(seen[0].id)
        clock.now += 5_000
        agent.observe("sensor")
        _, made = let_go(home, agent)
        home.store.append([(seen[0], entry.seal)])
        assert home.store.get(seen[0].id).data == seen[0].data
        assert home.store.pruned_by([seen[0].id]) == {} and seen[0].id in home.store.pruned_ids(made.id)
        assert home.store.check() == []
        clock.now += 5_000
        agent.observe("sensor")
        planned, again = let_go(home, agent)
        assert seen[0].id in planned.pruned.ids and home.store.pruned_by([seen[0].id]) == {seen[0].id: again.id}
    with setting.open() as home:
        assert home.store.get(seen[0].id) is None and home.store.check() == []


def test_a_record_that_is_gone_keeps_its_place_against_others(setting, clock):
    with setting.open() as home:
        agent, seen, _ = live(home)
        clock.now += 5_000
        agent.observe("sensor")
        let_go(home, agent)
        rows = home.store.log_rows(agent.id, 100)
        assert [row.seq for row in rows] == list(range(len(rows)))
        assert {row.cid for row in rows if row.kind is None} == {record.id for record in seen}


def test_a_store_in_memory_answers_alike(setting, clock):
    with setting.open() as home:
        agent, seen, decided = live(home)
        clock.now += 5_000
        agent.observe("sensor")
        copy = MemoryStore()
        for log in home.store.logs():
            items = [(parse_as(id, e.data), e.seal) for id, e in home.store.log_range(log.owner, 0, log.newest + 1)]
            copy.append(items, [home.store.log_state(log.owner)])
        planned, made = let_go(home, agent)
        copy.append([(made, home.store.get(made.id).seal)], [home.store.log_state(agent.id)])
        copy.begin_prune(made.id, planned.pruned.ids)
        while copy.drop_pruned(2):
            pass
        size = home.store.log_state(agent.id).size
        for ask in (
            lambda store: store.leaves(agent.id, size),
            lambda store: store.log_rows(agent.id, size),
            lambda store: store.logs(),
            lambda store: store.pruned_by([record.id for record in seen]),
            lambda store: store.pruned_ids(made.id),
            lambda store: store.newest_seq(agent.id),
            lambda store: [id for id, _ in store.log_range(agent.id, 0, size)],
            lambda store: store.ancestors(decided.id).sort(),
            lambda store: [store.at(agent.id, seq) for seq in range(size)],
            lambda store: store.check(),
            lambda store: sorted(store.citations(agent.id, size, ("policy",), ("prune",))),
        ):
            assert ask(copy) == ask(home.store)


def test_what_is_summed_up_goes_and_what_represents_it_stays(tmp_path, clock):
    setting = Setting(tmp_path / "home", clock, gc={"kinds": ["verification"], "summarised": ["observation"]})
    with setting.open() as home:
        agent = home.agent("a")
        seen = [agent.observe("sensor", {"n": n}) for n in range(8)]
        agent.observe("sensor")
        made = agent.summary(seen[1].seq, seen[6].seq, [seen[3]], data={"mean": 3})
        clock.now += 5_000
        agent.observe("sensor")
        planned, _ = let_go(home, agent)
        assert set(planned.pruned.ids) == {seen[n].id for n in (1, 2, 4, 5, 6)}
        report = verified(home, made.id)
        assert report.verdict == "valid" and seen[3].id in report.records
        ids = home.store.leaves(agent.id, seen[6].seq + 1)[seen[1].seq :]
        assert made.body["root"] == stretch_root(ids)


def test_bytes_that_are_handed_in_again_are_put_back_only_for_their_own_place(setting, clock):
    with setting.open() as home:
        agent, seen, _ = live(home)
        entry = home.store.get(seen[0].id)
        clock.now += 5_000
        agent.observe("sensor")
        let_go(home, agent)
        home.ledger.note_own(seen[0], entry.seal[:-1] + bytes([entry.seal[-1] ^ 1]))
        assert not home.store.has(seen[0].id)
        home.ledger.adopt([Opened(seen[0], entry.seal)])
        assert home.store.has(seen[0].id) and home.store.forks() == [] and home.store.check() == []
        agent.observe("and on")


def test_a_repair_keeps_the_places_of_what_was_pruned(setting, clock, tmp_path):
    with setting.open() as home:
        agent, seen, _ = live(home)
        clock.now += 5_000
        agent.observe("sensor")
        let_go(home, agent)
        size = home.store.log_state(agent.id).size
        rows, leaves = home.store.log_rows(agent.id, size), home.store.leaves(agent.id, size)
        for number, part in enumerate(getattr(home.store, "_parts", [home.store])):
            assert part.repair(tmp_path / f"copy-{number}.sqlite") == []
        assert (home.store.log_rows(agent.id, size), home.store.leaves(agent.id, size)) == (rows, leaves)
        assert home.store.pruned_by([seen[0].id]) and home.store.check() == []


# --- crashes ---------------------------------------------------------------------------------------------------------


class Crash(Exception):
    pass


@pytest.mark.thorough
@pytest.mark.spec("PRN-8")
@pytest.mark.parametrize("method", ["append", "begin_prune", "drop_pruned", "drop_blobs", "reclaim", "set_meta"])
@pytest.mark.parametrize("after", [False, True])
def test_after_a_crash_either_all_is_there_or_the_rest_goes_at_the_next_start(
    setting, clock, monkeypatch, method, after
):
    monkeypatch.setattr(pruning, "CHUNK", 2)
    with setting.open() as home:
        agent = live(home)[0]
        agent.observe("sensor", content=b"only old")
        agent.observe("sensor")
        clock.now += 5_000
        agent.observe("sensor")
        planned = pruning.plan(home.store, agent.id, home.manifest, now_ms=clock())
        real = getattr(home.store, method)

        def crash(*given, **more):
            if after:
                real(*given, **more)
            raise Crash

        monkeypatch.setattr(home.store, method, crash)
        with pytest.raises(Crash):
            pruning.prune(home.ledger, planned)
    with setting.open() as home:
        made = home.store.by_kind("prune", agent.id)
        gone = [id for id in planned.pruned.ids if not home.store.has(id)]
        assert gone == (list(planned.pruned.ids) if made else [])
        assert home.store.check() == [] and not any(
            home.store.get_meta(pruning.note_key(one.owner)) for one in home.store.logs()
        )
        blobs = [path for path in (setting.path / "blobs").rglob("*") if path.is_file()]
        assert len(blobs) == (0 if made else 1)
        home.agent("a").observe("and on")


PRUNER = """
import sys
sys.path.insert(0, sys.argv[1] + "/src")
sys.path.insert(0, sys.argv[1] + "/tests/support")
from pathlib import Path
from tslg.node import pruning
from tslg.node.home import Home
pruning.CHUNK = 3
with Home.open(Path(sys.argv[2]), clock=lambda: int(sys.argv[3])) as home:
    agent = home.agent("a")
    planned = pruning.plan(home.store, agent.id, home.manifest, now_ms=home.clock())
    print("planned", flush=True)
    pruning.prune(home.ledger, planned, lambda count: print(count, flush=True))
    print("done", flush=True)
"""


@pytest.mark.thorough
def test_a_killed_pruning_is_finished_or_was_never_begun(setting, clock):
    rng = random.Random(5)
    for life in range(4):
        with setting.open() as home:
            agent = home.agent("a")
            with agent.batch():
                seen = [agent.observe("sensor", {"life": life, "n": n}) for n in range(60)]
            clock.now += 5_000
            agent.observe("sensor")
        clock.now += 5_000
        command = [sys.executable, "-c", PRUNER, str(ROOT), str(setting.path), str(clock.now)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "planned\n"
            for _ in range(rng.randrange(0, 12)):
                process.stdout.readline()
            time.sleep(rng.random() / 200)
            process.send_signal(signal.SIGKILL)
            process.wait()
        with setting.open() as home:
            held = {record.id: home.store.has(record.id) for record in seen}
            made = home.store.by_kind("prune", agent.id, limit=100)
            committed = {id for prune in made for id in home.store.pruned_ids(prune)}
            assert all(held[record.id] != (record.id in committed) for record in seen)
            assert home.store.check() == [] and not any(
                home.store.get_meta(pruning.note_key(one.owner)) for one in home.store.logs()
            )
