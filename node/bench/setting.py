"""What measurements share: how much and how often, a place on disk, and lineages, each made once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

from tslg.node.bench import lineage
from tslg.node.bench.lineage import Lineage


class Setting:
    """One run of the benchmarks.

    Args:
        folder: an empty folder, on the disk that is to be measured.
        records: records in the lineage.
        repeat: rounds of every measurement.
        large: also measure on ten times as many records, where that says something new.
        say: told in a few words what is being done.
        postgresql: a PostgreSQL database to measure on; None for a server of its own.

    Attributes:
        left_out: by name, what could not be measured here, and why.
    """

    def __init__(
        self,
        folder: Path,
        *,
        records: int = 10_000,
        repeat: int = 5,
        large: bool = False,
        say: Callable[[str], None] = lambda _: None,
        postgresql: str | None = None,
    ) -> None:
        self.records = records
        self.repeat = repeat
        self.large = large
        self.say = say
        self.postgresql = postgresql
        self.left_out: dict[str, str] = {}
        self._folder = folder
        self._numbers = count()
        self._lineages: dict[int, Lineage] = {}

    def lineage(self, records: int | None = None) -> Lineage:
        """Return a lineage of so many records, `self.records` if not said."""
        size = self.records if records is None else records
        if size not in self._lineages:
            self.say(f"making {size:,} records")
            self._lineages[size] = lineage.make(self.scratch(), size)
        return self._lineages[size]

    def scratch(self) -> Path:
        """Return a new empty folder."""
        path = self._folder / str(next(self._numbers))
        path.mkdir()
        return path
