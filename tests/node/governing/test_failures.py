"""Where a step cannot be recorded or anchored it did not take effect, its caller is told, and the log says so later."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import full_disk
import otlp
import pytest
import traced
from gates import POLICY, candidate, gated

from tslg.manifests import examples, text
from tslg.manifests import genesis as geneses
from tslg.node.adapters.otel.importing import import_spans
from tslg.node.adapters.otel.otlp import read_spans
from tslg.node.governing import waiting
from tslg.node.governing.content import digest
from tslg.node.governing.errors import Unrecorded
from tslg.node.governing.waiting import Queue
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.store.sqlite import SqliteStore
from tslg.node.verifying import verify
from tslg.node.witness.key import WitnessKey
from tslg.protocol import witnessing
from tslg.protocol.checkpoint import Signed
from tslg.protocol.cosignature import cosigned
from tslg.protocol.errors import NetworkError, StoreError, TslgError, UsageError
from tslg.protocol.governing.state import START, Semantic
from tslg.protocol.note import COSIGNATURE
from tslg.protocol.record import parse_as

NOW = 1_700_000_000_000
KEY = WitnessKey("w.example/a", COSIGNATURE, b"a" * 32)


class Witness:
    """A witness at hand, which can be away; `then` is called by each request before it is answered."""

    def __init__(self) -> None:
        self.away = False
        self.then = lambda: None

    def gather(self, signed, policy, prove, shown=None):
        self.then()
        if self.away:
            raise NetworkError("nobody answers", code="TSLG-N-QUORUM")
        merged = witnessing.merge(signed, [Signed(signed.checkpoint, (KEY.cosign(signed.checkpoint, NOW // 1000),))])
        assert cosigned(merged, policy)
        return merged

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def witness():
    return Witness()


@pytest.fixture
def witnessed(tmp_path, witness, monkeypatch):
    """Open a directory whose federation asks for a witness; call again to open it anew."""
    monkeypatch.setattr(Home, "_ask_witnesses", lambda self: witness)
    homes = []

    def open_home(cadence="batch", **envelope):
        sealed = None
        if homes:
            homes.pop().close()
        else:
            plain = text.parse(examples.read("single-organisation"))
            asks = {"cadence": cadence, "witnesses": [KEY.public.text], "quorum": 1}
            wanted = replace(
                plain, envelope={**plain.envelope, "anchoring": asks, "genesis": {"anchors": 0}, **envelope}
            )
            founded = geneses.found_federation(wanted, random_bytes=lambda n: bytes(range(n)), time_ms=NOW)
            sealed = (founded.manifest_record, founded.seal)
        homes.append(Home.open(tmp_path / "d", federation=sealed, clock=lambda: NOW))
        return homes[0]

    yield open_home
    for home in homes:
        home.close()


def log_of(gate) -> list:
    store, owner = gate.agent._ledger.store, gate.agent.id
    return [parse_as(id, entry.data) for id, entry in store.log_range(owner, 0, store.log_state(owner).size)]


def agree(gate) -> None:
    """The state is what the log says, and what the store kept is that state."""
    at = Semantic()
    for record in log_of(gate):
        at = at.after(record)
    assert gate.state.digest == at.digest and gate.state.data is not None


# --- the store ----------------------------------------------------------------------------------------------------


@contextmanager
def no_room(path):
    """Let no file grow beyond where the database's log is now, by the kernel's own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(home):
    """Have the engine refuse to write."""
    home.store._writer._db.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        home.store._writer._db.execute("PRAGMA query_only = OFF")


@pytest.mark.spec("INF-13")
@pytest.mark.parametrize("failure", ["no room", "read-only"])
def test_what_the_disk_does_not_take_did_not_take_effect(tmp_path, failure):
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        gate.submit(candidate(state={"turn": 1}))
        size = len(log_of(gate))
        broken = read_only(home) if failure == "read-only" else no_room(home.path / "tslg.sqlite-wal")
        with broken:
            for turn in (2, 3):
                with pytest.raises(Unrecorded, match="TSLG-G-UNRECORDED: the step was not recorded") as raised:
                    gate.submit(candidate(state={"turn": turn}))
                assert isinstance(raised.value.__cause__, StoreError)
            with pytest.raises(Unrecorded):
                gate.submit(candidate("drop-tables"))
            assert gate.state.data == {"turn": 1} and len(log_of(gate)) == size
        outcome = gate.submit(candidate(state={"turn": 4}, upon=gate.state.digest))
        assert outcome.admitted and gate.state.data == {"turn": 4}
        late = log_of(gate)[size:]
        assert [record.kind for record in late] == ["rejection"] * 3 + ["inference"]
        assert [record.body["stage"] for record in late[:3]] == ["anchoring", "anchoring", "policy"]
        assert all("could not be anchored" in record.body["reason"] for record in late[:2])
        agree(gate)
        assert home.store.check() == []


def test_a_failed_step_in_parts_leaves_none_of_them(tmp_path):
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        size = len(log_of(gate))
        with read_only(home), pytest.raises(Unrecorded):
            gate.submit(candidate("clean-up", parts=(candidate(state={"n": 1}), candidate())))
        assert len(log_of(gate)) == size and gate.state.digest == START
        gate.submit(candidate())
        assert [record.kind for record in log_of(gate)[size:]] == ["rejection", "inference"]


def test_what_was_stored_although_the_store_said_no_is_taken_back(tmp_path, monkeypatch):
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        gate.submit(candidate(state={"turn": 1}))
        real = SqliteStore.append

        def append(self, *args):
            real(self, *args)
            raise StoreError("the server went away")

        with monkeypatch.context() as patch:
            patch.setattr(SqliteStore, "append", append)
            with pytest.raises(Unrecorded, match="is on disk and not anchored") as raised:
                gate.submit(candidate(state={"turn": 2}))
        assert log_of(gate)[-1].id == raised.value.record and gate.state.data == {"turn": 1}
        gate.submit(candidate())
        back = log_of(gate)[-2]
        assert back.kind == "rejection" and back.body["stage"] == "anchoring"
        assert gate.state.data == {"turn": 1} and back.body["after"] == gate.state.digest
        agree(gate)


def stored_unseen(gate, patch, state):
    """Submit a step that is stored, while the store says that it was not and cannot be asked any more."""
    real = SqliteStore.append

    def append(self, *args):
        real(self, *args)
        raise StoreError("the server went away")

    def blind(self, *args):
        raise StoreError("the server is away")

    patch.setattr(SqliteStore, "append", append)
    patch.setattr(SqliteStore, "log_state", blind)
    with pytest.raises(Unrecorded):
        gate.submit(candidate(state=state))


def test_what_was_stored_while_nobody_could_look_is_taken_back(tmp_path, monkeypatch):
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        gate.submit(candidate(state={"turn": 1}))
        with monkeypatch.context() as patch:
            stored_unseen(gate, patch, {"turn": 2})
        assert gate.submit(candidate()).admitted
        assert [record.kind for record in log_of(gate)[-3:]] == ["inference", "rejection", "inference"]
        assert gate.state.data == {"turn": 1}
        agree(gate)


def test_nothing_is_composed_before_it_is_durable(tmp_path):
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        part = gate.submit(candidate(output="x"))
        with gate.agent.batch(), pytest.raises(UsageError, match="outside the batch"):
            gate.compose([part], rule="all", output="x")


# --- witnesses ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("INF-13", "INF-8")
@pytest.mark.parametrize("cadence", ["record", "batch"])
def test_what_no_witness_saw_did_not_take_effect(witnessed, witness, cadence):
    home = witnessed(cadence)
    gate = gated(home)
    gate.submit(candidate(state={"turn": 1}))
    witness.away = True
    with pytest.raises(Unrecorded, match="is on disk and not anchored") as raised:
        gate.submit(candidate(state={"turn": 2}))
    failed = home.ledger.context.record(raised.value.record)
    assert failed.kind == "inference" and gate.state.data == {"turn": 1}
    with pytest.raises(Unrecorded, match="was not recorded"):
        gate.submit(candidate(state={"turn": 3}))
    witness.away = False
    assert gate.submit(candidate()).admitted
    back, unrecorded, _ = log_of(gate)[-3:]
    assert (back.kind, back.body["stage"], back.body["rule"]) == ("rejection", "anchoring", "TSLG-N-UNANCHORED")
    assert back.body["before"] == failed.body["after"] and back.body["after"] == failed.body["before"]
    assert unrecorded.body["stage"] == "anchoring" and "after" not in unrecorded.body
    assert gate.state.data == {"turn": 1}
    agree(gate)
    found = verify(StoreSource(home.store), log_of(gate)[-1].id, home.federation, now_ms=NOW)
    assert found.verdict == "valid"


@pytest.mark.spec("INF-13", "INF-8")
@pytest.mark.parametrize("embodiment", [{"edges": "flat"}, {"address": "merkle"}], ids=["flat", "merkle"])
@pytest.mark.parametrize("moving", [True, False])
def test_steps_are_taken_back_in_other_embodiments_too(witnessed, witness, embodiment, moving):
    home = witnessed(**embodiment)
    gate = gated(home)
    gate.submit(candidate(state={"turn": 1}, inputs={"n": 1}))
    witness.away = True
    with pytest.raises(Unrecorded, match="is on disk and not anchored") as raised:
        gate.submit(candidate(state={"turn": 2} if moving else None, inputs={"n": 2}))
    witness.away = False
    last = gate.submit(candidate())
    assert last.admitted and gate.state.data == {"turn": 1}
    late = [home.ledger.context.record(id) for id in home.store.by_kind("rejection", gate.agent.id)]
    assert [record.body["intent"] for record in late] == ["answer"] and late[0].body["inputs"] == {"n": digest(2)}
    with pytest.raises(UsageError, match="taken back"):
        gate.compose([raised.value.record], rule="all", output="x", intent="answer")
    assert verify(StoreSource(home.store), last.record.id, home.federation, now_ms=NOW).verdict == "valid"
    home = witnessed()
    assert gated(home).submit(candidate()).admitted
    assert len(home.store.by_kind("rejection", gate.agent.id)) == 1


@pytest.mark.spec("INF-13")
def test_of_a_step_in_parts_that_are_anchored_one_by_one_those_before_the_failure_stand(witnessed, witness):
    gate = gated(witnessed("record"))
    asked = iter(range(9))

    def leave():
        # For the step itself and its first part it answers.
        witness.away = next(asked) >= 2

    witness.then = leave
    parts = (candidate(state={"n": 1}), candidate(state={"n": 2}))
    with pytest.raises(Unrecorded, match="2 records of the step before it are anchored, and stand"):
        gate.submit(candidate("clean-up", parts=parts))
    assert gate.state.data == {"n": 1}


def test_a_step_that_moves_nothing_is_taken_back_too(witnessed, witness):
    home = witnessed()
    gate = gated(home)
    witness.away = True
    with pytest.raises(Unrecorded) as raised:
        gate.submit(candidate())
    witness.away = False
    gate.submit(candidate())
    back = log_of(gate)[-2]
    assert [edge.cid for edge in back.preds["evidence"]] == [raised.value.record] and "after" not in back.body


def test_what_did_not_take_effect_is_taken_back_after_a_restart(witnessed, witness):
    gate = gated(witnessed())
    gate.submit(candidate(state={"turn": 1}))
    witness.away = True
    with pytest.raises(Unrecorded):
        gate.submit(candidate(state={"turn": 2}))
    gate = gated(witnessed())
    assert gate.state.digest == log_of(gate)[-1].body["before"]
    witness.away = False
    gate.submit(candidate())
    assert [record.kind for record in log_of(gate)[-3:]] == ["inference", "rejection", "inference"]
    gate.submit(candidate())
    assert sum(record.kind == "rejection" for record in log_of(gate)) == 1
    agree(gate)


def test_all_that_was_built_on_a_step_that_was_not_anchored_goes_down_with_it(witnessed, witness):
    home = witnessed()
    gate = gated(home)
    gate.submit(candidate(state={"turn": 0}))
    witness.away = True
    told = []

    def submit(turn):
        with pytest.raises(Unrecorded):
            gate.submit(candidate(state={"turn": turn}))
        told.append(turn)

    threads = [threading.Thread(target=submit, args=(turn,)) for turn in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [1, 2, 3, 4, 5, 6] and gate.state.data == {"turn": 0}
    witness.away = False
    gate.submit(candidate())
    assert gate.state.data == {"turn": 0}
    agree(gate)
    assert sum(record.kind == "rejection" for record in log_of(gate)) == 6


def test_a_step_that_another_threads_checkpoint_covers_took_effect(witnessed, witness):
    home = witnessed()
    gate = gated(home)
    gate.submit(candidate(state={"turn": 0}))
    real = home.anchorer.anchor

    def anchor_elsewhere():
        witness.then = lambda: None
        real(gate.agent.id)
        raise NetworkError("this answer was lost", code="TSLG-N-QUORUM")

    home.anchorer._locks[gate.agent.id] = threading.RLock()
    witness.then = anchor_elsewhere
    assert gate.submit(candidate(state={"turn": 1})).admitted and gate.state.data == {"turn": 1}


def test_the_policy_stays_one_record_through_all_of_it(witnessed, witness):
    home = witnessed()
    first = gated(home, POLICY)._authorities.own.record
    assert gated(home, POLICY)._authorities.own.record == first


def test_steps_in_parts_do_not_wait_for_who_takes_steps_back_and_the_other_way_round(tmp_path, monkeypatch):
    """A step in parts holds the ledger and keeps its state; whoever takes steps back needs the ledger."""
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        gate.submit(candidate(state={"turn": 1}))
        with read_only(home), pytest.raises(Unrecorded):
            gate.submit(candidate(state={"turn": 2}))
        inside, going = threading.Event(), threading.Event()
        remember, append = gate._writer.remember, gate._writer.append

        def slow_remember(content):
            inside.set()
            going.wait(10)
            remember(content)

        def late_append(entry):
            if threading.current_thread() is late:
                going.set()
            return append(entry)

        late = threading.Thread(target=lambda: gate.submit(candidate()), daemon=True)
        parts = threading.Thread(
            target=lambda: gate._writer.write_together(
                *in_parts(gate, candidate("clean-up", parts=(candidate(state={"turn": 3}),)))
            ),
            daemon=True,
        )
        waiting, gate._writer._waiting = gate._writer._waiting, Queue(None, gate.agent.id, 0, (), lambda id: None)
        monkeypatch.setattr(gate._writer, "remember", slow_remember)
        monkeypatch.setattr(gate._writer, "append", late_append)
        parts.start()
        inside.wait(10)
        gate._writer._waiting = waiting
        late.start()
        for thread in (parts, late):
            thread.join(10)
            assert not thread.is_alive()
        assert gate.state.data == {"turn": 3}
        agree(gate)


def in_parts(gate, whole):
    judged = gate._judge(whole)
    first = gate._parent(judged, None)
    return first, lambda append: gate._decomposed(judged, first, append)


def test_more_rejections_than_are_kept_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "DEFAULT", replace(waiting.DEFAULT, unrecorded_steps=2))
    with Home.open(tmp_path / "d") as home:
        fail(home, gated(home), 4)
        (file,) = (home.path / "waiting").iterdir()
        size = file.stat().st_size
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        assert file.stat().st_size < size
        fail(home, gate, 1)
        gate.submit(candidate())
        first, second = (record.body["reason"] for record in log_of(gate) if record.kind == "rejection")
        assert "later steps" not in first and second.endswith("; and 3 later steps were not recorded either")


@pytest.mark.spec("INF-18")
@pytest.mark.parametrize("moving", [True, False])
def test_nothing_is_composed_of_what_did_not_take_effect(witnessed, witness, moving):
    home = witnessed()
    gate = gated(home)
    fine = gate.submit(candidate(state={"turn": 1})).record

    def compose(*parts):
        return gate.compose(parts, rule="all", output="x", intent="answer")

    witness.away = True
    with pytest.raises(Unrecorded) as raised:
        gate.submit(candidate(state={"turn": 2} if moving else None))
    with pytest.raises(Unrecorded, match="was not recorded"):
        gate.submit(candidate())
    failed = home.ledger.context.record(raised.value.record)
    for back in (False, True):
        for one in (failed, failed.id):
            with pytest.raises(UsageError, match="taken back"):
                compose(fine, one)
        if not back:
            witness.away = False
            gate.submit(candidate())
    # The rejection of what came after it cites the step that stands too, and takes back nothing.
    assert compose(fine).kind == "composite"
    gate = gated(witnessed())
    assert gate.compose([fine.id], rule="all", output="x", intent="answer").kind == "composite"
    with pytest.raises(UsageError, match="taken back"):
        gate.compose([failed.id], rule="all", output="x", intent="answer")


def test_a_seen_step_that_was_taken_back_is_judged_anew_by_another_import(witnessed, witness):
    made = traced.Traced()
    traced.a_day_at_support(made)
    line = otlp.line(made.exporter.get_finished_spans())
    home = witnessed()
    gate = gated(home, traced.POLICY.decode())
    asked = iter(range(99))

    def leave():
        witness.away = next(asked) == 1

    witness.then = leave
    with pytest.raises(TslgError):
        import_spans(home, gate, read_spans(BytesIO(line), "day"))
    witness.then = lambda: None
    witness.away = False
    import_spans(home, gate, read_spans(BytesIO(line), "day"))
    size = len(log_of(gate))
    again = import_spans(home, gate, read_spans(BytesIO(line), "day"))
    assert again.already == again.spans and len(log_of(gate)) == size
    late = [one for one in log_of(gate) if one.kind == "rejection" and one.body["stage"] == "anchoring"]
    back = {edge.cid for one in late for edge in one.edges("evidence")}
    assert back and not back & {
        edge.cid for one in log_of(gate) if one.kind == "composite" for edge in one.edges("part")
    }


# --- rejections that wait ------------------------------------------------------------------------------------------


def fail(home, gate, times):
    """Submit steps, the number of each as its input, while the store takes none; return what their callers read."""
    told = []
    with read_only(home):
        for turn in range(times):
            with pytest.raises(Unrecorded) as raised:
                gate.submit(candidate(inputs={"n": turn}))
            told.append(str(raised.value))
    return told


def refused(gate):
    """Return the inputs of the rejections of a log, in its order."""
    return [record.body["inputs"]["n"] for record in log_of(gate) if record.kind == "rejection"]


@pytest.mark.spec("INF-17")
def test_rejections_that_wait_outlast_the_process(tmp_path):
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        assert all("memory" not in told for told in fail(home, gate, 3))
        assert refused(gate) == []
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        fail(home, gate, 1)
        gate.submit(candidate())
        assert refused(gate) == [digest(turn) for turn in (0, 1, 2, 0)]
        assert {record.body["stage"] for record in log_of(gate) if record.kind == "rejection"} == {"anchoring"}
        assert list((home.path / "waiting").iterdir()) == []
        assert verify(StoreSource(home.store), log_of(gate)[-1].id, home.federation, now_ms=2**50).verdict == "valid"


@pytest.mark.spec("INF-17")
@pytest.mark.parametrize("moment", range(4))
def test_whatever_moment_a_crash_chooses_each_is_written_once(tmp_path, monkeypatch, moment):
    """The process ends before the record of one of them, or between it and what is done to the file."""
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        fail(home, gate, 2)
        steps = iter(range(9))

        class Crash(BaseException):
            pass

        def crashing(real):
            def called(*args):
                if next(steps) == moment:
                    raise Crash
                return real(*args)

            return called

        with monkeypatch.context() as patch, pytest.raises(Crash):
            patch.setattr(gate._writer, "append", crashing(gate._writer.append))
            patch.setattr(Queue, "drop", crashing(Queue.drop))
            gate.submit(candidate())
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        gate.submit(candidate())
        assert refused(gate) == [digest(0), digest(1)]


@pytest.mark.parametrize("cut", [1, 40, 100])
def test_a_frame_that_a_crash_cut_short_is_left_out_and_what_comes_then_is_kept(tmp_path, cut):
    with Home.open(tmp_path / "d") as home:
        fail(home, gated(home), 2)
    (file,) = (tmp_path / "d" / "waiting").iterdir()
    file.write_bytes(file.read_bytes()[:-cut])
    with Home.open(tmp_path / "d") as home:
        fail(home, gated(home), 1)
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        gate.submit(candidate())
        assert refused(gate) == [digest(0)] * 2


@pytest.mark.spec("INF-17")
def test_where_they_cannot_be_kept_their_callers_are_told(tmp_path, monkeypatch):
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        (first,) = fail(home, gate, 1)
        (file,) = (home.path / "waiting").iterdir()
        size = file.stat().st_size
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            (told,) = fail(home, gate, 1)
        assert "memory" not in first and "its rejection is in memory alone: No space left on device" in told
        assert file.stat().st_size == size
        gate.submit(candidate())
        assert refused(gate) == [digest(0)] * 2


def test_what_was_stored_while_nobody_could_look_is_taken_back_by_the_next_process(tmp_path, monkeypatch):
    with Home.open(tmp_path / "d") as home:
        gate = gated(home)
        gate.submit(candidate(state={"turn": 1}))
        with monkeypatch.context() as patch:
            stored_unseen(gate, patch, {"turn": 2})
        (file,) = (home.path / "waiting").iterdir()
        kept = file.read_bytes()
    for turn in (3, 4):
        with Home.open(tmp_path / "d") as home:
            gate = gated(home)
            gate.submit(candidate(state={"turn": turn}))
            assert gate.state.data == {"turn": turn}
            agree(gate)
            assert len([record for record in log_of(gate) if record.kind == "rejection"]) == 1
        # As where the file could not be removed: what came later is not taken back.
        file.write_bytes(kept)


def test_a_disk_that_is_full_takes_no_step_and_every_caller_is_told(tmp_path):
    # A small disk of its own needs a mount, which the kernel may keep for the privileged.
    script = Path(full_disk.__file__)
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, str(script), str(tmp_path)]
    try:
        if subprocess.run([*command[:4], "true"], capture_output=True, timeout=20).returncode != 0:
            pytest.skip("this kernel gives no mount namespace, so the disk stays large")
    except FileNotFoundError:
        pytest.skip("there is no unshare here, so the disk stays large")
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["done"] > 10 and said["at_full"] == said["done"], said
    assert "not recorded" in said["told"] and len(said["again"]) == 3, said
    assert set(said["stages"]) == {"anchoring"} and len(said["stages"]) >= 1, said
    assert said["admitted"] and said["after"] == said["done"] + 1 and said["problems"] == [], said
