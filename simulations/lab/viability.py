"""The viability controller: candidates, champion and doing nothing are compared, and each outcome has its reasons.

It is a function of scores and of a policy in whole numbers, so anybody who has the evaluations decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

POLICY: Final[Mapping[str, Any]] = {
    "weights": {
        "accuracy": 40,
        "noisy_accuracy": 20,
        "worst_class_recall": 5,
        "calibration_error": -5,
        "confident_errors": -20,
        "bytes": -1,
        "multiplications": -2,
    },
    "least_gain": 2_500,
    "most_regression": 150,
    "shadow_margin": 100,
    "canary_margin": 60,
    "watch_margin": 60,
}
"""What a point of each score is worth; what a change must gain to be worth its risk, which is what doing nothing is
worth; by how much accuracy may fall; and how far behind the champion each stage of a release allows, in
ten-thousandths."""


class Scored(NamedTuple):
    """One evaluated model: what it is called, its scores, what it failed, and why."""

    name: str
    scores: Mapping[str, int]
    failed: Sequence[str]
    why: Sequence[str]


class Verdict(NamedTuple):
    """What was decided.

    Attributes:
        chosen: the candidate that is put forward; None for doing nothing.
        gains: by candidate that failed nothing, what it would gain.
        reasons: by candidate that is not chosen, why not.
    """

    chosen: str | None
    gains: Mapping[str, int]
    reasons: Mapping[str, str]

    @property
    def explanation(self) -> str:
        """Why it was decided so, in one line."""
        if self.chosen is not None:
            return f"{self.chosen} gains {self.gains[self.chosen]:,}, more than any other and than doing nothing"
        told = "; ".join(f"{name}: {why}" for name, why in self.reasons.items())
        return f"nothing is better than no change: {told or 'there was no candidate'}"


def worth(scores: Mapping[str, int], policy: Mapping[str, Any]) -> int:
    """Return what a model is worth by its scores."""
    return sum(weight * scores[name] for name, weight in policy["weights"].items())


def select(candidates: Sequence[Scored], champion: Scored, policy: Mapping[str, Any]) -> Verdict:
    """Choose the candidate that gains most over the champion, or none."""
    base = worth(champion.scores, policy)
    gains: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for one in candidates:
        if one.failed:
            reasons[one.name] = f"failed {', '.join(one.failed)} ({'; '.join(one.why)})"
            continue
        gains[one.name] = worth(one.scores, policy) - base
        fell = champion.scores["accuracy"] - one.scores["accuracy"]
        if fell > policy["most_regression"]:
            reasons[one.name] = f"accuracy falls by {fell}, at most {policy['most_regression']} may be lost"
        elif gains[one.name] < policy["least_gain"]:
            reasons[one.name] = f"gains {gains[one.name]:,}, doing nothing is worth {policy['least_gain']:,}"
    able = sorted((name for name in gains if name not in reasons), key=lambda name: (-gains[name], name))
    for name in able[1:]:
        reasons[name] = f"gains {gains[name]:,}, {able[0]} gains {gains[able[0]]:,}"
    return Verdict(able[0] if able else None, gains, reasons)


def holds(candidate: Mapping[str, int], champion: Mapping[str, int], margin: int) -> bool:
    """Tell whether a model keeps up with the champion on the same workload, but for a margin."""
    return candidate["accuracy"] >= champion["accuracy"] - margin
