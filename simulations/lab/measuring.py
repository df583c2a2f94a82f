"""What an evaluator measures of a model on frozen workloads, in whole numbers, and which suites it passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from tslg.simulations.lab.operators import Array, Model

SHARE: Final = 10_000
"""Shares are counted in ten-thousandths."""
SUITES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "task": (("accuracy", "least"),),
    "calibration": (("calibration_error", "most"),),
    "robustness": (("noisy_accuracy", "least"),),
    "safety": (("worst_class_recall", "least"), ("confident_errors", "most")),
    "cost": (("bytes", "most"), ("multiplications", "most")),
}
"""The suites, and for each the scores that it bounds. Safety is the class that fares worst, and errors made with nine
tenths of confidence or more."""
CONFIDENT: Final = 0.9
_BINS: Final = 10


class Judged(NamedTuple):
    """Scores by name, and the suites that were passed and failed."""

    scores: dict[str, int]
    passed: list[str]
    failed: list[str]


def measured(model: Model, x: Array, y: Array, noise: Array | None = None) -> dict[str, int]:
    """Return the scores of a model on rows with labels, and on the same rows with noise."""
    import numpy as np

    from tslg.simulations.lab.operators import cost, probabilities

    found = probabilities(model, x)
    answer, confidence = found.argmax(axis=1), found.max(axis=1)
    right = answer == y
    size, multiplications = cost(model)
    scores = {
        "accuracy": _share(int(right.sum()), len(y)),
        "calibration_error": _calibration_error(confidence, right),
        "worst_class_recall": min(_share(int(right[y == one].sum()), int((y == one).sum())) for one in np.unique(y)),
        "confident_errors": _share(int((~right & (confidence >= CONFIDENT)).sum()), len(y)),
        "bytes": size,
        "multiplications": multiplications,
    }
    if noise is not None:
        scores["noisy_accuracy"] = _share(int((probabilities(model, noise).argmax(axis=1) == y).sum()), len(y))
    return scores


def judged(scores: dict[str, int], bounds: Mapping[str, int]) -> Judged:
    """Hold scores against the bounds of the suites."""
    passed: list[str] = ["compatibility"]
    failed: list[str] = []
    for suite, bounded in SUITES.items():
        kept = [
            scores[name] >= bounds[name] if way == "least" else scores[name] <= bounds[name] for name, way in bounded
        ]
        (passed if all(kept) else failed).append(suite)
    return Judged(scores, passed, failed)


def broken(bounds: Mapping[str, int], scores: Mapping[str, int], failed: list[str]) -> list[str]:
    """Return why suites were failed, one line a score."""
    found = []
    for suite in failed:
        for name, way in SUITES.get(suite, ()):
            if (scores[name] < bounds[name]) if way == "least" else (scores[name] > bounds[name]):
                found.append(f"{suite}: {name} {scores[name]}, at {way} {bounds[name]}")
    return found


def _share(count: int, whole: int) -> int:
    return SHARE * count // max(whole, 1)


def _calibration_error(confidence: Any, right: Any) -> int:
    """Return the expected calibration error over bins of equal width."""
    import numpy as np

    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [abs(float(confidence[bins == one].sum()) - int(right[bins == one].sum())) for one in range(_BINS)]
    return round(SHARE * sum(gaps) / len(right))
