"""How often something may happen: so many times at once, and once more every so often."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """What is left of a budget.

    Attributes:
        most: how much may be taken at once; it begins full.
        every_ms: how long it takes until one more is there.
        filled_ms: until when it was filled.
        named_ms: when whoever emptied it was last named for it, None if never.
    """

    most: float
    every_ms: float
    filled_ms: int
    left: float = -1.0
    named_ms: int | None = None

    def __post_init__(self) -> None:
        self.left = self.most

    def holds(self, now_ms: int, cost: float = 1.0) -> bool:
        """Tell whether so much is left."""
        if now_ms > self.filled_ms:
            self.left = min(self.most, self.left + (now_ms - self.filled_ms) / self.every_ms)
            self.filled_ms = now_ms
        return self.left >= cost

    def take(self, now_ms: int, cost: float = 1.0) -> bool:
        """Take so much if it is left; tell whether it was."""
        enough = self.holds(now_ms, cost)
        if enough:
            self.left -= cost
        return enough

    def took(self, cost: float = 1.0) -> None:
        """Take what it was just seen to hold."""
        self.left -= cost
