"""How much is taken of whom: so many records a minute of an engine, and so many refusals of whoever hands them in."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

K = TypeVar("K")

MINUTE_MS: Final = 60_000


class Meter(Generic[K]):
    """Buckets by name, each of which fills up in a minute. Of more than so many names the one used longest ago is
    forgotten, which is then full again.

    Args:
        most: names that are remembered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._spent: OrderedDict[K, tuple[float, int]] = OrderedDict()

    def left(self, name: K, size: int, now_ms: int) -> int:
        """Return how much is left in the bucket of a name, of `size` when it is full."""
        spent, at = self._spent.get(name, (0.0, now_ms))
        return int(size - max(0.0, spent - size * max(0, now_ms - at) / MINUTE_MS))

    def spend(self, name: K, amount: int, size: int, now_ms: int) -> None:
        """Take an amount out of the bucket of a name."""
        left = self.left(name, size, now_ms)
        self._spent[name] = (size - left + amount, now_ms)
        self._spent.move_to_end(name)
        while len(self._spent) > self._most:
            self._spent.popitem(last=False)
