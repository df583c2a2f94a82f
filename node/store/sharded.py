"""A lineage over several stores: one catalog, and shards between which the segments of logs are spread.

The catalog holds what is not records: the layout, states of logs, heads, values, blobs, and the redo note of the append
under way. An append is durable when its note is; the shards are written after it, and the next opening finishes what
a crash left undone. Walks, queries and proofs see one store.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from tslg.node.store.catalogued import Catalogued
from tslg.node.store.check import check_log
from tslg.node.store.engine import is_file
from tslg.node.store.interface import (
    NO_VALUES,
    NOTHING_ATTACHED,
    EdgeRow,
    Entry,
    ForkError,
    LogRow,
    LogState,
    LogSummary,
    Problem,
    Shard,
    Store,
    check_state,
    incomplete,
    not_held,
)
from tslg.node.store.naming import Named, named
from tslg.node.store.redo import Redo, decode_state, encode_state
from tslg.node.store.shards import LAYOUT_KEY, Crossing, Layout, crossing_key, prove, runs
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol import codec
from tslg.protocol.cid import Link
from tslg.protocol.errors import StoreError, TslgError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.log import Tree
from tslg.protocol.record import Record, parse_as

CATALOG: Final = "catalog.sqlite"
FOLDER: Final = "shards"
_REDO: Final = "shards.redo"
_STATE: Final = "shards.state/"


class ShardedStore(Catalogued):
    """A store over several. Open it with `ShardedStore.open`, make it with `create`."""

    def __init__(self, catalog: Store, shards: Sequence[Shard], layout: Layout) -> None:
        self.layout = layout
        self.shards = tuple(shards)
        super().__init__(catalog)
        self._parts = (*self.shards, catalog)
        self._lock = threading.RLock()
        self._trees: dict[Link, Tree] = {}

    @classmethod
    def create(cls, directory: Path, layout: Layout, databases: Mapping[int, Named] | None = None) -> Self:
        """Make an empty store in a data directory, with those shards in databases whose numbers are given.

        Raises:
            StoreError: `TSLG-D-SHARDS` if one is there, or such a database holds records; as the stores do.
        """
        if is_file(directory / CATALOG):
            raise StoreError(f"{directory} is sharded already", code="TSLG-D-SHARDS", mend="it cannot be split again")
        for number, database in (databases or {}).items():
            _name_shard(directory, number, database, layout)
        with SqliteStore.open(directory / CATALOG) as catalog:
            catalog.set_meta(LAYOUT_KEY, layout.to_bytes())
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path, *, readonly: bool = False) -> Self:
        """Open the store of a data directory, and finish an append that a crash interrupted. Raises StoreError."""
        catalog = SqliteStore.open(directory / CATALOG, readonly=readonly)
        opened: list[Shard] = []
        try:
            kept = catalog.get_meta(LAYOUT_KEY)
            if kept is None:
                raise StoreError(
                    f"{directory}: a catalog without a layout", code="TSLG-D-CORRUPT", mend="run `tslg fsck`"
                )
            layout = Layout.from_bytes(kept)
            for number in range(layout.shards):
                opened.append(_open_shard(directory, number, readonly=readonly))
            store = cls(catalog, opened, layout)
            if not readonly:
                store._finish()
        except BaseException:
            for part in (*opened, catalog):
                part.close()
            raise
        return store

    # --- writing ---------------------------------------------------------------------------------------------------

    def append(
        self,
        items: Sequence[tuple[Record, bytes]],
        states: Sequence[LogState] = (),
        attachments: Mapping[Link, bytes] = NOTHING_ATTACHED,
        values: Mapping[str, bytes] = NO_VALUES,
    ) -> None:
        """See `Store.append`. Durable with the redo note; the shards follow before this returns."""
        with self._lock:
            absent = set(self.missing([record.id for record, _ in items]))
            fresh = [(record, seal) for record, seal in items if record.id in absent]
            self._check(fresh, states)
            redo = Redo(fresh, states, {id: data for id, data in attachments.items() if id in absent}, values)
            self._catalog.set_meta(_REDO, redo.to_bytes())
            self._carry_out(redo)

    def _check(self, fresh: Sequence[tuple[Record, bytes]], states: Sequence[LogState]) -> None:
        """Refuse what a shard would refuse, before anything is written."""
        places: dict[tuple[Link, int], Record] = {}
        for record, _ in fresh:
            at = (record.owner, record.seq)
            held = places[at].id if at in places else self.at(*at)
            if held is not None and held != record.id:
                raise ForkError(record, held)
            places[at] = record
        by_id = {record.id: record for record in places.values()}
        for state in states:
            last = by_id.get(state.last) or self._record(state.last)
            check_state(state, None if last is None else (last.owner, last.seq, last.time))

    def _finish(self) -> None:
        """Carry out the append whose note is there, if any: it was acknowledged, or may be without harm."""
        note = self._catalog.get_meta(_REDO)
        if note:
            self._carry_out(Redo.from_bytes(note))

    def _carry_out(self, redo: Redo) -> None:
        """Bring an append into the shards; doing it again changes nothing."""
        numbers = [self.layout.shard_of(record.owner, record.seq) for record, _ in redo.items]
        for number, start, stop in runs(numbers):
            part = redo.items[start:stop]
            attached = {record.id: redo.attachments[record.id] for record, _ in part if record.id in redo.attachments}
            self.shards[number].append(part, (), attached)
        begun = []
        for state in redo.states:
            kept = self.log_state(state.owner)
            if kept is None:
                begun.append(state)
            if kept is None or kept.size < state.size:
                self._catalog.set_meta(_STATE + state.owner.hex(), codec.encode(encode_state(state)))
        for key, value in redo.values.items():
            self._catalog.set_meta(key, value)
        for record, _ in redo.items:
            self._prove_crossings(record)
        for state in begun:
            # Whoever cited this log before all of it was held could not prove that it does.
            for id in self._ids(state.owner, 0, state.size):
                for child in self.get_many(self.children(Link(id))).items():
                    self._prove_crossings(parse_as(child[0], child[1].data))
        self._catalog.set_meta(_REDO, b"")

    def _prove_crossings(self, record: Record) -> None:
        """Keep the proofs of a record's edges into other shards, as far as those logs are held whole."""
        number = self.layout.shard_of(record.owner, record.seq)
        for edge in record.edges():
            owner = edge.agent if edge.agent is not None else record.owner
            key = crossing_key(edge.cid)
            cited = self._cited_elsewhere(edge.cid, number)
            state = self.log_state(owner)
            if cited is None or state is None or cited.owner != owner or self.shards[number].get_meta(key) is not None:
                continue
            if cited.seq < state.size:
                proof = prove(self._tree(state), edge.cid, owner, cited.seq, state.size)
                self.shards[number].set_meta(key, proof.to_bytes())

    def _cited_elsewhere(self, id: Link, number: int) -> Record | None:
        if self.shards[number].has(id):
            return None
        return self._record(id)

    def _tree(self, state: LogState) -> Tree:
        """Return a log's tree, kept while it grows: a proof needs hashes from all over it."""
        tree = self._trees.get(state.owner)
        if tree is None or tree.size > state.size:
            tree = self._trees[state.owner] = Tree()
        for leaf in self._ids(state.owner, tree.size, state.size):
            tree.append(leaf)
        return tree

    def erase(self, attachments: Mapping[Link, bytes | None], blobs: Iterable[bytes]) -> None:
        """See `Store.erase`. What a shard holds went through the catalog's notes, so every file is written anew."""
        with self._lock:
            for cid, attachment in attachments.items():
                self.set_attachment(cid, attachment)
            for part in self.shards:
                part.erase({}, ())
            self._catalog.erase({}, blobs)

    def set_attachment(self, cid: Link, attachment: bytes | None) -> None:
        """See `Store.set_attachment`."""
        holder = self._holder(cid)
        if holder is None:
            raise not_held(cid)
        holder.set_attachment(cid, attachment)

    # --- records ---------------------------------------------------------------------------------------------------

    def _holder(self, cid: Link) -> Shard | None:
        return next((shard for shard in self.shards if shard.has(cid)), None)

    def _record(self, cid: Link) -> Record | None:
        entry = self.get(cid)
        return None if entry is None else parse_as(cid, entry.data)

    def get(self, cid: Link) -> Entry | None:
        """See `Store.get`."""
        return next((entry for part in self._parts if (entry := part.get(cid)) is not None), None)

    def get_many(self, cids: Iterable[Link]) -> dict[Link, Entry]:
        """See `Store.get_many`."""
        wanted, found = list(cids), dict[Link, Entry]()
        for part in self._parts:
            found.update(part.get_many([cid for cid in wanted if cid not in found]))
        return found

    def has(self, cid: Link) -> bool:
        """See `Store.has`."""
        return any(part.has(cid) for part in self._parts)

    def missing(self, cids: Iterable[Link]) -> list[Link]:
        """See `Store.missing`."""
        absent = list(dict.fromkeys(cids))
        for part in self._parts:
            absent = part.missing(absent) if absent else absent
        return absent

    def by_prefix(self, prefix: str, limit: int = 16) -> list[Link]:
        """See `Store.by_prefix`."""
        return sorted({cid for part in self._parts for cid in part.by_prefix(prefix, limit)})[:limit]

    def by_kind(self, kind: str, owner: Link | None = None, limit: int = 1000) -> list[Link]:
        """See `Store.by_kind`."""
        found = [cid for shard in self.shards for cid in shard.by_kind(kind, owner, limit)]
        records = [parse_as(cid, entry.data) for cid, entry in self.get_many(found).items()]
        records.sort(key=lambda record: (-record.time, -record.seq, record.id))
        return [record.id for record in records[:limit]]

    def mentioning(self, content: bytes, kinds: Collection[str], limit: int = 1000) -> list[Link]:
        """See `Store.mentioning`."""
        return sorted({cid for shard in self.shards for cid in shard.mentioning(content, kinds, limit)})[:limit]

    # --- logs ------------------------------------------------------------------------------------------------------

    def log_state(self, owner: Link) -> LogState | None:
        """See `Store.log_state`."""
        kept = self._catalog.get_meta(_STATE + owner.hex())
        return None if kept is None else decode_state(codec.decode(kept))

    def logs(self) -> list[LogSummary]:
        """See `Store.logs`."""
        held: dict[Link, list[LogSummary]] = {}
        for shard in self.shards:
            for one in shard.logs():
                held.setdefault(one.owner, []).append(one)
        return [
            LogSummary(owner, sum(one.held for one in parts), max(one.newest for one in parts), self._complete(owner))
            for owner, parts in sorted(held.items())
        ]

    def _complete(self, owner: Link) -> bool:
        return self._catalog.get_meta(_STATE + owner.hex()) is not None

    def _segments(self, owner: Link, start: int, stop: int) -> Iterable[tuple[Shard, int, int]]:
        """Yield the shards of a stretch of log in order, with the part of it that each holds."""
        while start < stop:
            end = min(stop, (start // self.layout.span + 1) * self.layout.span)
            yield self.shards[self.layout.shard_of(owner, start)], start, end
            start = end

    def log_range(self, owner: Link, start: int, stop: int) -> list[tuple[Link, Entry]]:
        """See `Store.log_range`."""
        newest = self.newest_seq(owner)
        parts = self._segments(owner, max(0, start), min(stop, 0 if newest is None else newest + 1))
        return [item for shard, low, high in parts for item in shard.log_range(owner, low, high)]

    def at(self, owner: Link, seq: int) -> Link | None:
        """See `Store.at`."""
        return self.shards[self.layout.shard_of(owner, seq)].at(owner, seq) if seq >= 0 else None

    def newest_seq(self, owner: Link) -> int | None:
        """See `Store.newest_seq`."""
        return max((seq for shard in self.shards if (seq := shard.newest_seq(owner)) is not None), default=None)

    # --- pruning: a prune record and what it commits to would lie in several shards, in no one transaction ------------

    def log_rows(self, owner: Link, stop: int) -> list[LogRow]:
        """See `Store.log_rows`."""
        return sorted((row for shard in self.shards for row in shard.log_rows(owner, stop)), key=lambda row: row.seq)

    def leaves(self, owner: Link, size: int) -> list[bytes]:
        """See `Store.leaves`."""
        state = self.log_state(owner)
        if state is None or state.size < size:
            raise incomplete(owner, size)
        return self._ids(owner, 0, size)

    def _ids(self, owner: Link, start: int, stop: int) -> list[bytes]:
        return [id for shard, low, high in self._segments(owner, start, stop) for id in shard.ids(owner, low, high)]

    # --- the graph -------------------------------------------------------------------------------------------------

    def ancestors(self, cid: Link, classes: Collection[str] | None = None, limit: int | None = None) -> list[Link]:
        """See `Store.ancestors`: level by level, each level asked of every shard at once."""
        found: dict[Link, None] = {}
        level = [cid]
        while level and (limit is None or len(found) < limit):
            fresh = dict.fromkeys(row.parent for row in self.parents(level, classes))
            level = [parent for parent in fresh if parent not in found]
            found.update(dict.fromkeys(level))
        return list(found)[:limit]

    def children(self, cid: Link, classes: Collection[str] | None = None) -> list[Link]:
        """See `Store.children`."""
        return sorted({child for shard in self.shards for child in shard.children(cid, classes)})

    def parents(self, cids: Iterable[Link], classes: Collection[str] | None = None) -> list[EdgeRow]:
        """See `Store.parents`."""
        wanted = list(dict.fromkeys(cids))
        rows: dict[Link, list[EdgeRow]] = {}
        for shard in self.shards:
            for row in shard.parents(wanted, classes):
                rows.setdefault(row.child, []).append(row)
        return [row for cid in wanted for row in rows.get(cid, ())]

    def citing(
        self, cids: Iterable[Link], classes: Collection[str] | None = None, kinds: Collection[str] | None = None
    ) -> list[EdgeRow]:
        """See `Store.citing`."""
        wanted = list(dict.fromkeys(cids))
        rows: dict[Link, list[EdgeRow]] = {}
        for shard in self.shards:
            for row in shard.citing(wanted, classes, kinds):
                rows.setdefault(row.parent, []).append(row)
        return [row for cid in wanted for row in sorted(rows.get(cid, ()), key=lambda row: (row.name, row.child))]

    # --- pruning ---------------------------------------------------------------------------------------------------

    def citations(self, owner: Link, stop: int, classes: Collection[str], kinds: Collection[str]) -> list[EdgeRow]:
        """See `Store.citations`; a shard knows of most that it cites from elsewhere no more than the id."""
        placed = {row.cid for row in self.log_rows(owner, stop)}
        within = [row for shard in self.shards for row in shard.citations(owner, stop, classes, kinds)]
        across = [row for shard in self.shards for row in shard.stray_citations(classes, kinds) if row.parent in placed]
        return list(dict.fromkeys(within + across))

    def begin_prune(self, prune: Link, cids: Sequence[Link]) -> None:
        """See `Store.begin_prune`."""
        places = {cid: shard for shard in self.shards for cid in shard.get_many(cids)}
        for shard in self.shards:
            shard.begin_prune(prune, [cid for cid in cids if places.get(cid) is shard])

    def drop_pruned(self, limit: int) -> int:
        """See `Store.drop_pruned`."""
        dropped = 0
        for shard in self.shards:
            dropped += shard.drop_pruned(limit - dropped) if dropped < limit else 0
        return dropped

    def pruned_by(self, cids: Iterable[Link]) -> dict[Link, Link]:
        """See `Store.pruned_by`."""
        wanted, found = list(cids), dict[Link, Link]()
        for shard in self.shards:
            found.update(shard.pruned_by(wanted))
        return found

    def pruned_ids(self, prune: Link) -> list[Link]:
        """See `Store.pruned_ids`."""
        return sorted({cid for shard in self.shards for cid in shard.pruned_ids(prune)})

    def reclaim(self) -> None:
        """See `Store.reclaim`."""
        for part in self._parts:
            part.reclaim()

    # --- crossings ---------------------------------------------------------------------------------------------------

    def crossings(self, cid: Link) -> list[tuple[EdgeRow, Crossing | None]]:
        """Return the edges of a held record that lead into other shards, each with its proof.

        The proof is None where the cited record's log is not held whole, so that none could be made.
        """
        holder = self._holder(cid)
        if holder is None:
            raise not_held(cid)
        rows = [row for row in holder.parents([cid]) if not holder.has(row.parent) and self.has(row.parent)]
        return [(row, _crossing(holder, row.parent)) for row in rows]

    def check(self) -> list[Problem]:
        """See `Store.check`; every crossing's proof is verified, against the root that the cited log has signed."""
        problems = [problem for part in self._parts for problem in part.check()]
        for owner in [one.owner for one in self.logs()]:
            state = self.log_state(owner)
            if state is not None:
                problems += check_log(state, list(map(Link, self._ids(owner, 0, state.size))))
        for shard in self.shards:
            for owner in [one.owner for one in shard.logs()]:
                for cid in filter(shard.has, shard.ids(owner, 0, DEFAULT.integer)):
                    problems += self._check_crossings(cid)
        return problems

    def _check_crossings(self, cid: Link) -> list[Problem]:
        problems = []
        for row, proof in self.crossings(cid):
            try:
                cited = self._record(row.parent)
                if cited is None or (proof is None and not self._complete(cited.owner)):
                    continue
                holds = proof is not None and proof.record == cited.id and self.proves(proof)
            except TslgError:
                # Damaged bytes, of which the check of their own shard has told.
                holds = False
            if not holds:
                detail = f"the proof that its {row.name} lies in another shard is missing or does not hold"
                problems.append(Problem("TSLG-D-CROSSING", detail, cid))
        return problems

    def proves(self, proof: Crossing) -> bool:
        """Tell whether a crossing's proof verifies against the root that its log has signed."""
        return proof.holds() and self._root(proof.owner, proof.size) == proof.root

    def _root(self, owner: Link, size: int) -> bytes | None:
        """Return a log's root at a size: as its next record signed it, or as its state says at its very end."""
        next_id = self.at(owner, size)
        following = None if next_id is None else self._record(next_id)
        if following is not None and following.log is not None:
            return following.log.root
        state = self.log_state(owner)
        return state.peaks.root() if state is not None and state.size == size else None

    def close(self) -> None:
        """See `Store.close`."""
        for part in self._parts:
            part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def shard_path(directory: Path, number: int) -> Path:
    """Return the file of a shard in a data directory; each lies in a folder of its own, so that it can be mounted."""
    return directory / FOLDER / f"{number:02}" / "tslg.sqlite"


def _open_shard(directory: Path, number: int, *, readonly: bool) -> Shard:
    """Open a shard: a file in its folder, or the database that is named there, which no other process may write."""
    path = shard_path(directory, number)
    elsewhere = named(path.parent)
    if elsewhere is not None:
        return elsewhere.open(readonly=readonly, alone=True)
    return SqliteStore.open(path, readonly=readonly)


def _name_shard(directory: Path, number: int, database: Named, layout: Layout) -> None:
    if not 0 <= number < layout.shards:
        raise StoreError(f"there is no shard {number}", code="TSLG-D-SHARDS", mend=f"name 0 to {layout.shards - 1}")
    with database.open(alone=True) as empty:
        if empty.logs():
            raise StoreError(
                f"{empty.place} holds records already", code="TSLG-D-SHARDS", mend="name another schema, or drop it"
            )
    folder = shard_path(directory, number).parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database.write(folder)


def _crossing(shard: Store, cited: Link) -> Crossing | None:
    kept = shard.get_meta(crossing_key(cited))
    return None if kept is None else Crossing.from_bytes(kept)
