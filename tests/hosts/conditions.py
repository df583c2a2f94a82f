"""How the links between hosts behave at the moment; read by whatever carries their traffic, changed by the test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass
class Conditions:
    """Delay of one way and its spread (s), share of packets lost, and who cannot reach whom."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    sides: tuple[frozenset[str], ...] = field(default=())

    def partition(self, *sides: Iterable[str]) -> None:
        """Let only hosts on one side reach each other, until `heal`."""
        self.sides = tuple(frozenset(side) for side in sides)

    def heal(self) -> None:
        """Let everybody reach everybody again."""
        self.sides = ()

    def lets_through(self, source: str, target: str) -> bool:
        """Tell whether these two are on the same side of the partition, if there is one."""
        return not self.sides or any(source in side and target in side for side in self.sides)


class Place(NamedTuple):
    """Where a host's process runs and how it is reached.

    Attributes:
        command: what the process is started by.
        listen: the multiaddr to listen on.
        announce: the multiaddr at which the others reach it.
        source: the address that its own connections come from, None for that of its namespace.
    """

    command: tuple[str, ...]
    listen: str
    announce: str
    source: str | None
