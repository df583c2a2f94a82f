"""How long it takes to verify that one confidential policy is no wider than another, and how large the proof is."""

from __future__ import annotations

import random
from typing import Final

from tslg.node.bench.figures import CPU, MILLI, MeasurementError, Row, Series, Side, Target, interleave, timed
from tslg.node.bench.lineage import SEED
from tslg.node.bench.setting import Setting
from tslg.protocol.zk import narrowing
from tslg.protocol.zk.commitments import Opening

LIMITS: Final = 4
"""Limits of 32 bits in the row that has any."""
SIZES: Final = ((64, 0, Target(30, False)), (256, 0, None), (64, LIMITS, None))
"""Capabilities, limits, and how many ms to verify are too many."""


def narrowing_proofs(setting: Setting) -> list[Row]:
    """Proofs about two confidential policies: to verify, beside what it took to make them, and their size."""
    return [row for size in SIZES for row in _rows(setting, *size)]


def _rows(setting: Setting, capabilities: int, limits: int, target: Target | None) -> list[Row]:
    draw = random.Random(SEED).randbytes
    words = [f"capability-{number:03}" for number in range(capabilities)]
    amounts = {f"limit-{number}": 1_000_000 for number in range(limits)}
    wide = Opening(frozenset(words[::2]), amounts, draw(32))
    narrow = Opening(frozenset(words[::4]), {name: amount // 2 for name, amount in amounts.items()}, draw(32))
    sides = narrowing.hide(words, wide), narrowing.hide(words, narrow)
    proof = narrowing.prove(*sides, wide, narrow, binding=b"bench", entropy=draw(32))

    def verify() -> None:
        if not narrowing.verify(*sides, binding=b"bench", proof=proof):
            raise MeasurementError("an honest proof did not hold")

    def prove() -> None:
        narrowing.prove(*sides, wide, narrow, binding=b"bench", entropy=draw(32))

    verified, proved = interleave(setting.repeat, timed(verify, CPU), timed(prove, CPU))
    verified, proved = verified.times(MILLI), proved.times(MILLI)
    name = f"narrowing-{capabilities}" + (f"-{limits}" if limits else "")
    about = f"{capabilities} capabilities" + (f" and {limits} limits" if limits else "")
    both = Side("verify", verified, "ms"), Side("prove", proved, "ms")
    size = Series.of([len(proof) / 1000] * setting.repeat)
    return [
        Row(name, f"proof of narrowing, {about}, verified", verified, "ms", *both, target=target),
        Row(f"{name}-size", f"proof of narrowing, {about}, size", size, "KB"),
    ]
