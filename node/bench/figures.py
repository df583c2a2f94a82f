"""What a measurement gives: rows of figures with their spread, what they are held against, and how they are taken."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from tslg.protocol.errors import TslgError

Clock = Callable[[], float]
"""Seconds from anywhere: `time.process_time` for work of one thread, `time.perf_counter` for all else."""
Work = Callable[[], object]
Measure = Callable[[], float]
"""Does something once and returns what it took, in seconds."""

CPU: Final[Clock] = time.process_time
WALL: Final[Clock] = time.perf_counter
MICRO: Final = 1e6
MILLI: Final = 1e3


class MeasurementError(TslgError):
    """A measurement that could not be taken, or whose work did not come out as it must."""

    code = "TSLG-E-MEASUREMENT"


class Series(NamedTuple):
    """The same figure, taken once a round; never empty."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return a series of these values."""
        return cls(tuple(values))

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    def times(self, factor: float) -> Series:
        """Return every value multiplied."""
        return Series(tuple(value * factor for value in self.values))

    def over(self, other: Series) -> Series:
        """Return the quotients, round by round: what slows a whole round down stays out of them."""
        return Series(tuple(own / base for own, base in zip(self.values, other.values, strict=True)))

    def minus(self, other: Series) -> Series:
        """Return the differences, round by round."""
        return Series(tuple(own - base for own, base in zip(self.values, other.values, strict=True)))

    def to_json(self) -> dict[str, float]:
        """Return median, least and most."""
        return {"median": self.median, "min": min(self.values), "max": max(self.values)}


class Target(NamedTuple):
    """What a figure shall reach: at least, or at most, `bound`. One that does not gate is aimed at and shown only."""

    bound: float
    at_least: bool
    gates: bool = True

    def met(self, value: float) -> bool:
        """Tell whether a value is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound


class Side(NamedTuple):
    """One side of a comparison: what was done, what it took, and the unit of that."""

    what: str
    series: Series
    unit: str

    def to_json(self) -> dict[str, Any]:
        """Return the side as JSON."""
        return {"what": self.what, "unit": self.unit, **self.series.to_json()}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes:
        name: the row's name, stable.
        title: what was measured, for people.
        figure: what the target is about: a ratio, or a plain figure.
        unit: of `figure`; `×` for a ratio.
        ours, reference: both sides, where there are any.
        target: what `figure`'s median shall reach, None where it is only shown.
    """

    name: str
    title: str
    figure: Series
    unit: str
    ours: Side | None = None
    reference: Side | None = None
    target: Target | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met, None where there is none."""
        return None if self.target is None else self.target.met(self.figure.median)

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON: every figure as median, min and max."""
        target = None if self.target is None else {**self.target._asdict(), "met": self.met}
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "figure": self.figure.to_json(),
            "ours": None if self.ours is None else self.ours.to_json(),
            "reference": None if self.reference is None else self.reference.to_json(),
            "target": target,
        }


def timed(work: Work, clock: Clock) -> Measure:
    """Return what does `work` and says how long it took by `clock`."""

    def measure() -> float:
        started = clock()
        work()
        return clock() - started

    return measure


def interleave(rounds: int, *sides: Measure) -> list[Series]:
    """Measure the sides in turn, A B A B, so that what else the machine does falls on all of them."""
    taken: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for values, side in zip(taken, sides, strict=True):
            gc.collect()
            values.append(side())
    return [Series(tuple(values)) for values in taken]
