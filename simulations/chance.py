"""Chance that a seed alone determines: named streams of numbers, bytes, and distributions of delays."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any, Final

_BITS: Final = 10
_STEPS: Final = 1 << _BITS

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "constant": (),
    "uniform": ("spread_ms",),
    "normal": ("spread_ms",),
    "lognormal": ("sigma",),
    "exponential": (),
    "pareto": ("alpha",),
}
"""Distributions by name, and what each takes beside `ms`, its median (of `exponential`, its mean)."""


def stream(seed: int, *names: object) -> random.Random:
    """Return a stream of numbers of its own for each name; the same in every process."""
    return random.Random(":".join(map(str, (*names, seed))))


def bytes_of(seed: int, *names: object) -> Callable[[int], bytes]:
    """Return a source of bytes of its own for each name."""
    start = ":".join(map(str, (*names, seed))).encode()
    count = 0

    def take(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(start + count.to_bytes(8, "big")).digest(size)

    return take


class Distribution:
    """A distribution of delays, as a table of 1,024 quantiles: a draw costs one call.

    Attributes:
        kind: a key of `KINDS`.
        ms: its median (mean, of `exponential`).
        more: what else it takes, by name.
        mean: the mean of the table, µs.
    """

    __slots__ = ("_table", "kind", "mean", "more", "ms")

    def __init__(self, kind: str = "constant", ms: float = 0.0, **more: float) -> None:
        self.kind, self.ms, self.more = kind, ms, more
        quantile = _quantiles(kind, ms, more)
        self._table = [max(0, round(1_000 * quantile((step + 0.5) / _STEPS))) for step in range(_STEPS)]
        self.mean = sum(self._table) // _STEPS

    def draw(self, chance: random.Random) -> int:
        """Return one delay, µs."""
        return self._table[chance.getrandbits(_BITS)]


def _quantiles(kind: str, ms: float, more: Mapping[str, Any]) -> Callable[[float], float]:
    """Return the function from (0, 1) to ms. KeyError for an unknown kind or one that lacks its parameters."""
    if kind == "constant":
        return lambda p: ms
    if kind == "uniform":
        spread = more["spread_ms"]
        return lambda p: ms + (2 * p - 1) * spread
    if kind == "normal":
        normal = NormalDist(ms, more["spread_ms"] or 1e-9)
        return normal.inv_cdf
    if kind == "lognormal":
        log = NormalDist(math.log(ms or 1e-9), more["sigma"] or 1e-9)
        return lambda p: math.exp(log.inv_cdf(p))
    if kind == "exponential":
        return lambda p: -ms * math.log(1 - p)
    if kind == "pareto":
        alpha = more["alpha"]
        least = ms / 2 ** (1 / alpha)
        return lambda p: float(least / (1 - p) ** (1 / alpha))
    raise KeyError(kind)
