"""Other processes that run this very code, whether it is installed or lies in a checkout; and how fast one starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import tslg
from tslg.node.bench.figures import MILLI, WALL, MeasurementError, Row, Side, Target, interleave, timed
from tslg.node.bench.setting import Setting

ROUNDS: Final = 7
"""Starts measured at least: they are short, and vary."""


def environment() -> dict[str, str]:
    """Return the environment in which another interpreter finds this package."""
    assert tslg.__file__ is not None
    paths = [str(Path(tslg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def start_up(setting: Setting) -> list[Row]:
    """How long `tslg --help` takes, and how much of that is the interpreter's own start."""
    sides = interleave(
        max(ROUNDS, setting.repeat),
        timed(lambda: python("-m", "tslg.node.cli", "--help"), WALL),
        timed(lambda: python("-c", "pass"), WALL),
    )
    ours, reference = (series.times(MILLI) for series in sides)
    base = Side("python -c pass", reference, "ms")
    target = Target(100, False)
    return [Row("help", "tslg --help", ours.minus(reference), "ms more", Side("tslg", ours, "ms"), base, target)]


def python(*arguments: str) -> str:
    """Run an interpreter with these arguments and return its stdout. Raises MeasurementError if it fails."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        raise MeasurementError(
            f"python {arguments[0]} ended with {done.returncode}: {' '.join(done.stderr.split())[-300:]}"
        )
    return done.stdout
