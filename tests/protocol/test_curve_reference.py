"""The reference curve: it computes what the fast library does, and leaves the interpreter as it found it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import py_arkworks_bls12381 as fast
import pytest

from tslg.protocol import curve_reference as reference

SOURCE = Path(__file__).parents[2] / "src"
BLS = json.loads((Path(__file__).parents[1] / "vectors" / "bls.json").read_text(encoding="utf-8"))


def test_importing_it_does_not_raise_the_recursion_limit() -> None:
    code = "import sys; before = sys.getrecursionlimit(); import tslg.protocol.curve_reference as _; "
    code += "print(before == sys.getrecursionlimit())"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}, check=True
    )
    assert run.stdout == "True\n"


G1, G2 = (reference.G1Point, fast.G1Point), (reference.G2Point, fast.G2Point)


@pytest.mark.parametrize("group", [G1, G2])
def test_it_computes_what_the_fast_library_computes(group: tuple[Any, Any]) -> None:
    def results(point: Any, scalar: Any) -> list[bytes]:
        one, zero = point(), point.identity()
        two, five = one * scalar(2), one * scalar(5)
        found = [one, zero, two, one + two, five - two, two - five, -one, one - one]
        found.append(point.multiexp_unchecked([one, two, five], [scalar(3), scalar(4), scalar(0)]))
        return [bytes(item.to_compressed_bytes()) for item in found]

    mine, theirs = group
    assert results(mine, reference.Scalar) == results(theirs, fast.Scalar)


@pytest.mark.parametrize("group", [G1, G2])
def test_points_are_equal_by_what_they_are_not_by_their_coordinates(group: tuple[Any, Any]) -> None:
    point = group[0]
    three = point() + point() + point()
    assert three == point() * 3 == point.from_compressed_bytes(three.to_compressed_bytes())
    assert three != point() and three != three.to_compressed_bytes()


def test_the_pairing_is_checked_as_the_fast_library_checks_it() -> None:
    def answers(module: Any) -> list[bool]:
        g1, g2, scalar = module.G1Point(), module.G2Point(), module.Scalar
        six = g1 * scalar(6)
        return [
            module.GT.pairing_check([six, -(g1 * scalar(2))], [g2, g2 * scalar(3)]),
            module.GT.pairing_check([six, -g1], [g2, g2 * scalar(3)]),
            module.GT.pairing_check([g1], [g2]),
            module.GT.pairing_check([], []),
        ]

    assert answers(reference) == answers(fast) == [True, False, False, True]


def test_a_point_outside_the_subgroup_is_refused() -> None:
    outside = next(case["public_key"] for case in BLS["verify"] if case["name"] == "key off the subgroup")
    with pytest.raises(ValueError, match="subgroup"):
        reference.G1Point.from_compressed_bytes(bytes.fromhex(outside))


def test_messages_are_hashed_to_the_same_points() -> None:
    mine, theirs = (module.G2Point.hash_to_curve(b"message", b"a-domain") for module in (reference, fast))
    assert mine.to_compressed_bytes() == bytes(theirs.to_compressed_bytes())
