"""The fuzzing targets hold on real inputs, on all their truncations, and on mutations that a seed determines."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from seeds import seeds
from targets import TARGETS, run

SEEDS = seeds()
MUTATIONS = 400


def test_every_target_has_seeds_and_accepts_them():
    assert SEEDS.keys() == TARGETS.keys()
    for name, inputs in SEEDS.items():
        assert inputs and all(run(name, data) for data in inputs), name


@pytest.mark.parametrize("name", TARGETS)
def test_truncations_are_refused_by_a_typed_error_or_hold(name):
    data = min(SEEDS[name], key=len)
    for size in range(0, len(data), 1 + len(data) // 400):
        run(name, data[:size])
    run(name, data + b"\x00")


@pytest.mark.spec("WIR-4", "WIR-11", "WIR-12", "WIR-13")
@pytest.mark.parametrize("name", TARGETS)
def test_mutations_are_refused_by_a_typed_error_or_hold(name):
    chance = random.Random(name)
    for _ in range(MUTATIONS if name not in ("bundle", "anchor-files", "manifest-text") else 60):
        run(name, mutated(chance.choice(SEEDS[name]), chance))


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Change, drop, repeat or insert a few bytes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) or 1)
        match chance.randrange(4):
            case 0:
                changed[at : at + 1] = bytes((chance.randrange(256),))
            case 1:
                del changed[at : at + chance.randint(1, 8)]
            case 2:
                changed[at:at] = changed[at : at + chance.randint(1, 16)]
            case _:
                changed[at:at] = chance.choice(
                    (b"\x00", b"\xff" * 9, b"\x9f", b"\xbf", b"\xfb" + bytes(8), b"\xd8\x2a")
                )
    return bytes(changed)
