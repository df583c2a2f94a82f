"""What is tried in a round: one candidate for each allowed operator, its configuration drawn from the lab's seed."""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

ALLOWED: Final = ("adapter_train", "distill", "merge", "quantize")
"""The operators that candidates may be made with; `train` makes the founders alone."""
CHAMPION, RIVAL, FIELD = "champion", "rival", "field"
DESCENT: Final = {"rate": 50, "batch": 16, "decay": 100}


class Attempt(NamedTuple):
    """One candidate to be made: by which operator, how, and of which parents, by the name that the operator uses."""

    operator: str
    how: dict[str, Any]
    parents: dict[str, str]


def plan(number: int, seed: int, hidden: int, worst: int) -> list[Attempt]:
    """Return the attempts of a round.

    Args:
        number: of the round, from 1.
        seed: the lab's.
        hidden: neurons of the founders.
        worst: the class that the champion does worst, whose rows adapters see more of.
    """
    drawn = hashlib.sha256(f"tslg lab {seed} {number}".encode()).digest()
    own = int.from_bytes(drawn[:4], "big") >> 1
    taught = {"model": CHAMPION, "data": FIELD}
    return [
        Attempt(
            "adapter_train",
            {
                **DESCENT,
                "seed": own,
                "rank": 2 + drawn[4] % 4,
                "epochs": 2 + drawn[5] % 6,
                "focus": [worst],
                "weight": 1,
            },
            taught,
        ),
        Attempt(
            "distill",
            {
                **DESCENT,
                "seed": own,
                "hidden": hidden * (5 + drawn[6] % 4) // 8,
                "epochs": 6 + drawn[7] % 8,
                "labels": 50,
            },
            taught,
        ),
        Attempt("merge", {"share": 30 + drawn[8] % 41}, {"model": CHAMPION, "other": RIVAL}),
        Attempt("quantize", {"levels": (127, 31, 7, 3)[drawn[9] % 4]}, {"model": CHAMPION}),
    ]
