"""A governed log that is tampered with where it is stored is found out by inspection; each way has its own test.

Altering, reordering and deleting are found in the file itself. A tail that was cut off and a log that was replaced are
in order as far as they go: what tells is a checkpoint that somebody else holds.
"""

from __future__ import annotations

import shutil
import sqlite3
from types import SimpleNamespace

import pytest
from gates import candidate, gated
from world import NOW, source

from tslg.node.cli.heads import heads_in_files
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.store.sqlite import SqliteStore
from tslg.node.verifying import verify
from tslg.protocol.record import parse_as

CLOCK = NOW + 10**6
CITED = "SELECT id FROM record WHERE cid = ?"


def opened(path):
    ticks = iter(range(NOW, CLOCK))
    return Home.open(path, clock=lambda: next(ticks), random_bytes=source("tampering"))


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A governed log, the directory as it was when it began and before its last steps, and its last checkpoint."""
    base = tmp_path_factory.mktemp("tampering")
    with opened(base / "node") as home:
        gated(home)
    shutil.copytree(base / "node", base / "start")
    with opened(base / "node") as home:
        gate = gated(home)
        for turn in range(6):
            gate.submit(candidate(state={"turn": turn}, output=f"answer {turn}"))
    shutil.copytree(base / "node", base / "earlier")
    with opened(base / "node") as home:
        gate = gated(home)
        gate.submit(candidate("drop-tables"))
        gate.submit(candidate(state={"turn": 7}))
        note = base / "checkpoint"
        note.write_bytes(home.anchorer._sign(gate.agent.id).to_bytes())
    return SimpleNamespace(base=base, owner=gate.agent.id, federation=home.federation, note=note)


@pytest.fixture
def node(lived, tmp_path):
    """A copy of that directory to tamper with."""
    shutil.copytree(lived.base / "node", tmp_path / "node")
    return tmp_path / "node"


def log_of(node, owner):
    with SqliteStore.open(node / "tslg.sqlite", readonly=True) as store:
        state = store.log_state(owner)
        return [parse_as(id, entry.data) for id, entry in store.log_range(owner, 0, state.size)]


def inspected(node, lived, target, *notes):
    """The store's own check (`tslg fsck`), and a verification of a step (`tslg verify --log full --head …`)."""
    with SqliteStore.open(node / "tslg.sqlite", readonly=True) as store:
        problems = {problem.code for problem in store.check()}
        report = verify(
            StoreSource(store),
            target,
            lived.federation,
            now_ms=CLOCK,
            log="full",
            outside=lambda walker: heads_in_files(notes, walker),
        )
    return problems, report.verdict, {finding.code for finding in report.findings}


def edit(node, *statements):
    with sqlite3.connect(node / "tslg.sqlite") as db:
        for statement, values in statements:
            assert db.execute(statement, values).rowcount > 0


def test_nothing_is_found_where_nothing_was_done(node, lived):
    assert inspected(node, lived, log_of(node, lived.owner)[-1].id, lived.note) == (set(), "valid", set())


def test_an_altered_step_is_found(node, lived):
    log = log_of(node, lived.owner)
    step = log[-4]
    assert step.kind == "inference"
    edit(node, ("UPDATE record SET data = ? WHERE cid = ?", (step.data.replace(b"model-x", b"model-y"), step.id)))
    problems, verdict, codes = inspected(node, lived, log[-1].id)
    assert problems and verdict == "invalid" and codes


def test_an_altered_reason_of_a_rejection_is_found(node, lived):
    log = log_of(node, lived.owner)
    rejection = next(record for record in log if record.kind == "rejection")
    assert b"drop-tables" in rejection.data
    forged = rejection.data.replace(b"drop-tables", b"look-tables")
    edit(node, ("UPDATE record SET data = ? WHERE cid = ?", (forged, rejection.id)))
    problems, verdict, _ = inspected(node, lived, log[-1].id)
    assert "TSLG-R-ID" in problems and verdict != "valid"


def test_steps_at_swapped_positions_are_found(node, lived):
    """The bytes say their order themselves, and are read in it; that the index says another is found."""
    log = log_of(node, lived.owner)
    first, second = log[-5], log[-4]
    edit(
        node,
        ("UPDATE record SET seq = 9999 WHERE cid = ?", (first.id,)),
        ("UPDATE record SET seq = ? WHERE cid = ?", (first.seq, second.id)),
        ("UPDATE record SET seq = ? WHERE cid = ?", (second.seq, first.id)),
    )
    assert {"TSLG-D-COLUMNS", "TSLG-D-STATE"} <= inspected(node, lived, log[-1].id)[0]


def test_steps_in_another_order_are_found(node, lived):
    log = log_of(node, lived.owner)
    first, second = log[-5], log[-4]
    assert first.kind == second.kind == "inference"
    edit(
        node,
        ("UPDATE record SET data = ? WHERE cid = ?", (second.data, first.id)),
        ("UPDATE record SET data = ? WHERE cid = ?", (first.data, second.id)),
    )
    problems, verdict, codes = inspected(node, lived, log[-1].id)
    assert "TSLG-R-ID" in problems and verdict == "invalid" and codes


def test_a_deleted_step_is_found(node, lived):
    log = log_of(node, lived.owner)
    gone = log[-4]
    edit(
        node,
        (f"DELETE FROM edge WHERE child = ({CITED})", (gone.id,)),
        ("UPDATE record SET data = NULL, seal = NULL, log = NULL, seq = NULL, kind = NULL WHERE cid = ?", (gone.id,)),
    )
    problems, verdict, _ = inspected(node, lived, log[-1].id)
    assert "TSLG-D-STATE" in problems and verdict != "valid"


def replaced(node, by):
    for path in node.glob("tslg.sqlite*"):
        path.unlink()
    for path in by.glob("tslg.sqlite*"):
        shutil.copy(path, node / path.name)


def test_a_tail_that_was_cut_off_is_found_by_a_checkpoint_held_elsewhere(node, lived):
    replaced(node, lived.base / "earlier")
    last = log_of(node, lived.owner)[-1].id
    assert inspected(node, lived, last) == (set(), "valid", set())
    assert inspected(node, lived, last, lived.note)[1:] == ("invalid", {"TSLG-V-TAIL"})


def test_a_log_that_was_replaced_whole_is_found_by_a_checkpoint_held_elsewhere(node, lived, tmp_path):
    """Written with the agent's own key, longer than the old one, and in order in every respect."""
    shutil.copytree(lived.base / "start", tmp_path / "other")
    with opened(tmp_path / "other") as home:
        gate = gated(home)
        for turn in range(20):
            gate.submit(candidate(state={"turn": turn}, output=f"another answer {turn}"))
        assert gate.agent.id == lived.owner
    replaced(node, tmp_path / "other")
    last = log_of(node, lived.owner)[-1].id
    assert inspected(node, lived, last) == (set(), "valid", set())
    _, verdict, codes = inspected(node, lived, last, lived.note)
    assert verdict == "invalid" and "TSLG-V-FORK" in codes


def test_a_state_that_was_kept_and_altered_is_not_taken_for_the_agents(node, lived):
    edit(node, ("UPDATE meta SET value = ? WHERE key LIKE 'semantic/%'", (b"\xa1dturn\x18\x63",)))
    with opened(node) as home:
        state = gated(home).state
        assert state.digest == log_of(node, lived.owner)[-1].body["after"] and state.data is None
