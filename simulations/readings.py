"""What reading costs and what it finds, by depth: what D_verify buys."""

from __future__ import annotations

from typing import Any

from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.report import VALID, Report
from tslg.simulations.engine import SECOND

_NOTHING: frozenset[str] = frozenset()


class Readings:
    """Counts audits by their depth, and which of the wrongs in the ancestry of their targets they found."""

    def __init__(self) -> None:
        self._wrongs: dict[Link, frozenset[str]] = {}
        self._since: dict[Link, int] = {}
        self._cost: dict[int | None, list[int]] = {}
        self._met: dict[tuple[int | None, str], list[int]] = {}
        self._first: dict[tuple[int | None, Link], int] = {}

    def made(self, record: Record, why: str | None = None, now: int = 0) -> None:
        """Take note of a record, and of what is wrong with it; what it rests on is known by then."""
        wrongs = _NOTHING if why is None else frozenset((why,))
        if self._wrongs:
            for edge in record.edges():
                wrongs |= self._wrongs.get(edge.cid, _NOTHING)
        if wrongs:
            self._wrongs[record.id] = wrongs
            self._since.setdefault(record.id, now)

    def read(self, report: Report, requests: int, size: int, now: int) -> None:
        """Take note of an audit."""
        depth = report.depth
        cost = self._cost.setdefault(depth, [0, 0, 0, 0, 0])
        for index, value in enumerate((1, requests, size, report.edges, len(report.records))):
            cost[index] += value
        for why in sorted(self._wrongs.get(report.target, ())):
            met = self._met.setdefault((depth, why), [0, 0])
            met[0] += 1
            met[1] += report.verdict != VALID or bool(report.forks)
        if report.findings and report.target in self._since:
            self._first.setdefault((depth, report.target), now - self._since[report.target])

    def to_json(self) -> dict[str, Any]:
        """Return, by depth, costs summed over audits, wrongs met and found, and the time (s) to the first finding."""
        names = ("audits", "requests", "bytes", "edges", "records")
        costs = [{"depth": depth, **dict(zip(names, cost, strict=True))} for depth, cost in self._cost.items()]
        found = [
            {"depth": depth, "wrong": why, "met": met, "found": caught}
            for (depth, why), (met, caught) in self._met.items()
        ]
        first = [{"depth": depth, "seconds": taken / SECOND} for (depth, _), taken in self._first.items()]
        return {"costs": costs, "wrongs": found, "first_found": first}
