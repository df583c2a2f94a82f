"""What is exported: the records of some logs, of some kinds, or the ancestry of one; log by log, in order.

Only ids are held in memory, some 80 bytes a record. Records are read, and cut down to what their reader may see, as
they are written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from tslg.node.access import WITHHELD, Gate
from tslg.node.context import StoreContext
from tslg.node.exporting.standing import CHUNK, Standing
from tslg.node.standing import operative
from tslg.node.store.interface import Store
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.flat import recover
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Record, parse_as

_FEW: Final = 512
"""Ids resolved at a time."""


class Item(NamedTuple):
    """One record that is exported.

    Attributes:
        record, seal: itself.
        verified: what was verified of it (`Standing.of`).
        holds: whether nothing that is held takes it back, amends or corrects it; looked up of verifications alone.
    """

    record: Record
    seal: bytes
    verified: str
    holds: bool = True


class Chosen(NamedTuple):
    """The ids to export, log by log in the order of owners, and within each by position."""

    logs: Sequence[tuple[Link, Sequence[Link]]]

    @property
    def total(self) -> int:
        """How many records."""
        return sum(len(ids) for _, ids in self.logs)


def of_logs(store: Store, owners: Collection[Link], kinds: Collection[str] = ()) -> Chosen:
    """Choose the held records of these logs, of these kinds (none: of all), by the store's index alone."""
    found = []
    newest = {log.owner: log.newest for log in store.logs()}
    for owner in sorted(owners):
        rows = store.log_rows(owner, newest.get(owner, -1) + 1)
        ids = [row.cid for row in rows if row.kind is not None and (not kinds or row.kind in kinds)]
        if ids:
            found.append((owner, ids))
    return Chosen(found)


def of_ids(store: Store, ids: Iterable[Link], owners: Collection[Link] = (), kinds: Collection[str] = ()) -> Chosen:
    """Choose, of these ids, the held records of these logs and kinds (none: of all)."""
    places: dict[Link, list[tuple[int, Link]]] = {}
    for chunk in _chunks(list(ids), _FEW):
        for id, entry in store.get_many(chunk).items():
            record = parse_as(id, entry.data)
            if (not owners or record.owner in owners) and (not kinds or record.kind in kinds):
                places.setdefault(record.owner, []).append((record.seq, id))
    return Chosen([(owner, [id for _, id in sorted(places[owner])]) for owner in sorted(places)])


def read(
    store: Store, federation: Link, ids: Sequence[Link], standing: Standing, gate: Gate | None = None
) -> Iterator[Item]:
    """Yield the chosen records of one log as their reader may see them; what is withheld is left out.

    Raises:
        RecordError, CodecError: the store holds other bytes than the id says.
    """
    context = StoreContext(store, federation, lambda: standing.at_ms)
    for chunk in _chunks(ids, CHUNK):
        entries = store.get_many(chunk)
        for id in chunk:
            if id not in entries:
                continue
            pair = entries[id] if gate is None else gate.cut(id, entries[id])
            if pair is WITHHELD:
                continue
            record = disclosed(id, pair)
            if FLAT in record.preds:
                record = recover(record, context.record)
            holds = record.kind != "verification" or operative(store, id).holds == (id,)
            yield Item(record, pair[1], standing.of(record), holds)


def _chunks(ids: Sequence[Link], size: int) -> Iterator[Sequence[Link]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
