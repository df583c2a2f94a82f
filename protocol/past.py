"""What is known of the past in a graph that is held in memory: what ends whose authority, and who cites that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.rules.context import SUPERSEDING_KINDS, superseded_by


class Past:
    """An index over records, for the two questions that `rules.context.Context` asks of the past."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = list(records)
        self._by_target: dict[Link, list[Record]] = {}
        for record in self._records:
            if record[2] in SUPERSEDING_KINDS:
                for id in superseded_by(record):
                    self._by_target.setdefault(id, []).append(record)
        self._first: dict[Link, dict[Link, int]] | None = None

    def superseding(self, id: Link) -> Sequence[Record]:
        """Return the policies that amend, retractions that withdraw, and answers that end, a record."""
        return self._by_target.get(id, ())

    def cites(self, owner: Link, id: Link, before: int) -> bool:
        """Tell whether a record of that log below `before` cites one of those that end another's authority."""
        if self._first is None:
            self._first = self._first_citations()
        first = self._first.get(id, {}).get(owner)
        return first is not None and first < before

    def _first_citations(self) -> dict[Link, dict[Link, int]]:
        """Return, for each record that ends another's authority, the lowest position in each log that cites it."""
        found: dict[Link, dict[Link, int]] = {one.id: {} for held in self._by_target.values() for one in held}
        for record in self._records:
            for edge in record.edges():
                logs = found.get(edge.cid)
                if logs is not None:
                    logs[record.owner] = min(record.seq, logs.get(record.owner, record.seq))
        return found
