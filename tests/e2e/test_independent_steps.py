"""Governed steps as a second reader sees them: both agree on what governs a step and on the states that it chains."""

from __future__ import annotations

import hashlib

import pytest
from both_readers import agreed
from federations import Federation, Log
from independent_formats import encode

own = Log.own
START = hashlib.sha256(b"\xa0").digest()
STEP = {"model": "m", "model_version": "1", "inputs": {}, "intent": "act", "output": bytes(32)}
GOVERNED = {"class": "low", "tier": "basic"}


@pytest.fixture
def world():
    return Federation()


def at(turn: int) -> bytes:
    return hashlib.sha256(encode({"turn": turn})).digest()


def step(world, before, *prior, kind="inference", **more):
    edges = {"policy": [own(world.policy)], "prior": [own(one) for one in prior or [world.a.last]]}
    governed = {} if kind == "rejection" else GOVERNED
    return world.a.add(kind, edges, {**STEP, **governed, "before": before, **more})


def verdict(world, target):
    return agreed(world.bundle(target), world.root.id)


@pytest.mark.spec("INF-5", "INF-6", "INF-7", "INF-8")
def test_a_chain_of_states_and_the_way_back_are_valid(world):
    first = step(world, START, after=at(1))
    second = step(world, at(1), first, after=at(2))
    back = step(world, at(2), second, kind="rejection", stage="anchoring", reason="no witness", after=at(1))
    assert verdict(world, step(world, at(1), back)) == ("valid", set())


@pytest.mark.spec("INF-1", "INF-6", "INF-7", "INF-8")
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda w: step(w, at(1)), "STATE"),
        (lambda w: step(w, START, step(w, START, after=at(1))), "STATE"),
        (lambda w: step(w, at(2), step(w, START, after=at(1))), "STATE"),
        (lambda w: w.a.add("inference", under(w), STEP | {"tier": "basic"}), "STEP"),
        (lambda w: w.a.add("inference", under(w), STEP | {"class": "low"}), "STEP"),
        (lambda w: w.a.add("inference", under(w), STEP | GOVERNED | {"after": at(1)}), "STEP"),
        (lambda w: led_back(w, stage="policy"), "STATE"),
        (lambda w: led_back(w, after=at(7)), "STATE"),
    ],
)
def test_steps_that_do_not_chain_are_invalid_to_both(world, make, code):
    assert verdict(world, make(world)) == ("invalid", {f"TSLG-A-{code}"})


def under(world):
    return {"policy": [own(world.policy)], "prior": [own(world.a.last)]}


def led_back(world, **more):
    moved = step(world, START, after=at(1))
    said = {"stage": "anchoring", "reason": "no witness", "after": START} | more
    return step(world, at(1), moved, kind="rejection", **said)
