"""What is known of the past in a graph that is held in memory: what ended whose authority, and which logs show that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.rules.context import SUPERSEDING_KINDS, Context, superseded_by
from tslg.protocol.rules.standing import entitled


class _Endings(NamedTuple):
    """What may end one record's authority, by its id, and the first of it that each log shows: above which position."""

    others: Mapping[Link, Record]
    shown: Mapping[Link, tuple[int, Link]]


class Past:
    """An index over records, for the questions that `rules.context.Context` asks of the past.

    What ends an authority is gone through once for that authority, and never again for each record that rests on it:
    whoever hands over records chooses how many there are of both.
    """

    def __init__(self, records: Iterable[Record], context: Context) -> None:
        self._records: Sequence[Record] = list(records)
        self._context = context
        self._by_target: dict[Link, list[Record]] = {}
        for record in [one for one in self._records if one[2] in SUPERSEDING_KINDS]:
            for id in superseded_by(record):
                self._by_target.setdefault(id, []).append(record)
        self._answers: dict[tuple[Link, Link], Record] = {}
        for record in [one for one in self._records if one[2] == "answer"]:
            for edge in record.edges("answers"):
                known = self._answers.setdefault((edge.cid, record.owner), record)
                if (record.seq, record.id) < (known.seq, known.id):
                    self._answers[edge.cid, record.owner] = record
        self._endings: dict[Link, _Endings] = {}
        self._first: dict[Link, dict[Link, int]] | None = None

    def ended(self, id: Link, record: Record) -> Record | None:
        """Return what ended the authority of `id` in the causal past of `record`, None if nothing did."""
        if id not in self._by_target:
            return None
        found = self._endings.get(id)
        if found is None:
            found = self._endings[id] = self._endings_of(id)
        if not found.others:
            return None
        shown = found.shown.get(record.owner)
        if shown is not None and shown[0] < record.seq:
            return found.others[shown[1]]
        cited = (found.others.get(edge.cid) for edge in record.edges())
        return next((other for other in cited if other is not None and other.owner != record.owner), None)

    def answered(self, id: Link, record: Record) -> Record | None:
        """Return the first answer to a delegation in a record's own log, if it comes before that record."""
        found = self._answers.get((id, record.owner))
        return found if found is not None and found.seq < record.seq else None

    def _endings_of(self, id: Link) -> _Endings:
        if self._first is None:
            self._first = self._first_citations()
        others = {other.id: other for other in self._by_target[id] if entitled(other, id, self._context)}
        shown: dict[Link, tuple[int, Link]] = {}
        for other in others.values():
            for owner, seq in [*self._first[other.id].items(), (other.owner, other.seq)]:
                shown[owner] = min((seq, other.id), shown.get(owner, (seq, other.id)))
        return _Endings(others, shown)

    def _first_citations(self) -> dict[Link, dict[Link, int]]:
        """Return, for each record that ends another's authority, the lowest citing position in each other log."""
        owners = {one.id: one.owner for held in self._by_target.values() for one in held}
        found: dict[Link, dict[Link, int]] = {id: {} for id in owners}
        for record in self._records:
            for edge in record.edges():
                logs = found.get(edge.cid)
                if logs is not None and record.owner != owners[edge.cid]:
                    logs[record.owner] = min(record.seq, logs.get(record.owner, record.seq))
        return found
