"""Runs: the same for one seed in every process, sound on the shipped scenarios, and ended by what must never happen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulated_bugs import BUGS, witnessed

from tslg.simulations.minimising import minimise
from tslg.simulations.run import run
from tslg.simulations.scenario import load, names, read
from tslg.simulations.sweeping import sweep, sweep_on_ray, together
from tslg.simulations.writing import to_text

ROOT = Path(__file__).resolve().parents[2]
AGAIN = (
    "import json, sys; from tslg.simulations.scenario import read; from tslg.simulations.run import run;"
    "o = run(read(sys.stdin.read(), 'q.toml'), 3); print(json.dumps([o.digest, o.events, o.counts]))"
)


def test_the_same_seed_gives_the_same_run_in_every_process_and_another_seed_another(quiet):
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = os.environ | {"PYTHONHASHSEED": other, "PYTHONPATH": str(ROOT / "src")}
    made = subprocess.run(
        [sys.executable, "-c", AGAIN], input=quiet, env=environment, capture_output=True, text=True, check=True
    )
    here = run(read(quiet, "q.toml"), 3)
    assert json.loads(made.stdout) == [here.digest, here.events, here.counts]
    assert here.counts["crashes"] and here.counts["audits valid"] and here.counts["audits invalid"]
    assert run(read(quiet, "q.toml"), 4).digest != here.digest


def test_stand_ins_for_signatures_change_nothing_but_the_signatures(quiet):
    scenario = read(quiet, "q.toml")
    real, modelled = run(scenario, 5), run(scenario.changed(signatures="modelled"), 5)
    assert (real.signatures, modelled.signatures) == ("real", "modelled")
    assert real.counts == modelled.counts and real.digest == modelled.digest


@pytest.mark.thorough
@pytest.mark.parametrize("name", names())
def test_the_shipped_scenarios_hold_for_a_while(name):
    scenario = load(name)
    outcome = run(scenario.changed(hours=0.006, agents=min(scenario.agents, 16), signatures="modelled"), 1)
    assert outcome.broken is None and outcome.counts["records"] > 10


@pytest.mark.parametrize("name", ["accepts a widened policy", "forgets an fsync", "ignores a fork", "skips signatures"])
def test_a_defect_that_is_put_in_on_purpose_is_found_soon(name, monkeypatch):
    patch, text, invariants = BUGS[name]
    patch(monkeypatch)
    found = next(one for seed in range(1, 20) if (one := run(read(text, "bug.toml"), seed)).broken is not None)
    assert found.broken["invariant"] in invariants


def test_an_owner_whose_key_was_stolen_can_rotate_once_it_says_that_its_log_is_forked():
    """Seed 108 once ended in an error that no member had an answer to."""
    outcome = run(load("key-compromise").changed(hours=0.03, signatures="modelled"), 108)
    assert outcome.broken is None and outcome.given_up["TSLG-U-FORKED"]
    assert outcome.counts["confessions"] >= 1 and outcome.counts["rotations"] >= 2


def test_what_nobody_foresaw_ends_a_run_with_its_place(quiet, monkeypatch):
    def fail(*_):
        raise KeyError("what nobody thought of")

    monkeypatch.setattr("tslg.simulations.member.Member.announce_own", fail)
    broken = run(read(quiet, "q.toml"), 3).broken
    assert broken["invariant"] == "foresight"
    assert "KeyError in fail (test_runs.py:" in broken["explanation"] and "thought of" in broken["explanation"]


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_every_defect_is_found_within_two_hundred_seeds(name, monkeypatch):
    patch, text, invariants = BUGS[name]
    scenario = read(text, "bug.toml")
    assert run(scenario, 1).broken is None
    patch(monkeypatch)
    found = next((one for seed in range(1, 201) if (one := run(scenario, seed)).broken is not None), None)
    assert found is not None and found.broken["invariant"] in invariants


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_the_shipped_scenarios_hold_on_many_seeds(name):
    assert together(list(sweep(load(name), range(1, 101))))["broken"] == []


@pytest.mark.thorough
def test_a_failure_is_made_smaller_and_repeats(monkeypatch):
    patch, text, _ = BUGS["forgets an fsync"]
    patch(monkeypatch)
    scenario = read(text, "bug.toml")
    failed = next(one for seed in range(1, 20) if (one := run(scenario, seed)).broken is not None)
    smallest, outcome = minimise(scenario, failed.seed, failed, most=8)
    assert smallest.hours < scenario.hours or smallest.agents < scenario.agents
    assert outcome.broken["invariant"] == failed.broken["invariant"]
    again = run(read(to_text(smallest), "small.toml"), failed.seed)
    assert again.broken == outcome.broken and again.digest == outcome.digest


def test_witnesses_that_lie_change_no_verdict_and_are_convicted():
    outcome = run(read(witnessed(), "w.toml"), 1)
    assert outcome.broken is None and outcome.counts["witnesses convicted"] == 1
    assert outcome.counts["anchorings"] > 20 and outcome.counts["anchored heads believed"] > 20


def test_many_seeds_are_summed_up(quiet):
    outcomes = list(sweep(read(quiet, "q.toml").changed(hours=0.001), range(1, 4), workers=1))
    summed = together(outcomes)
    assert [one.seed for one in outcomes] == [1, 2, 3] and summed["runs"] == 3
    assert summed["events"] == sum(one.events for one in outcomes) and summed["broken"] == []


@pytest.mark.slow
def test_ray_comes_to_the_same_outcomes_as_processes(quiet):
    pytest.importorskip("ray", reason="NOT RUN: no Ray here; pip install 'tslg[ray]' and run the slow tests again")
    scenario = read(quiet, "q.toml").changed(hours=0.002)
    over = {one.seed: one.digest for one in sweep_on_ray(scenario, range(1, 9), workers=2)}
    beside = {one.seed: one.digest for one in sweep(scenario, range(1, 9), workers=2)}
    assert over == beside and len(set(over.values())) == 8
