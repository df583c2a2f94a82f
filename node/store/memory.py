"""A store in memory, with the same answers as the one on disk: for simulations and tests."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Self

from tslg.node.store.check import Columns, check_entry, check_log
from tslg.node.store.heads import keep_heads
from tslg.node.store.interface import (
    NO_VALUES,
    NOTHING_ATTACHED,
    EdgeRow,
    Entry,
    Fork,
    ForkError,
    LogRow,
    LogState,
    LogSummary,
    Problem,
    SeenHead,
    Store,
    Verified,
    check_state,
    group_forks,
    incomplete,
    not_held,
    prefix_range,
)
from tslg.protocol.cid import Link, to_text
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record


class MemoryStore(Store):
    """A store that ends with its process. One lock makes it safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._records: dict[Link, tuple[Record, Entry]] = {}
        self._places: dict[Link, dict[int, Link]] = {}
        self._children: dict[Link, dict[tuple[str, Link], None]] = {}
        self._kinds: dict[str, dict[Link, Record]] = {}
        self._states: dict[Link, LogState] = {}
        self._meta: dict[str, bytes] = {}
        self._heads: dict[Link, list[SeenHead]] = {}
        self._verified: dict[Link, Verified] = {}
        self._blobs: dict[bytes, bytes] = {}
        self._pruned: dict[Link, dict[Link, bool]] = {}
        """By prune record, the records that it commits to, and whether their bytes are still to be dropped."""
        self._rivals: dict[Link, tuple[Record, Entry]] = {}

    def append(
        self,
        items: Sequence[tuple[Record, bytes]],
        states: Sequence[LogState] = (),
        attachments: Mapping[Link, bytes] = NOTHING_ATTACHED,
        values: Mapping[str, bytes] = NO_VALUES,
    ) -> None:
        """See `Store.append`."""
        with self._lock:
            fresh: dict[Link, tuple[Record, bytes]] = {}
            places: dict[tuple[Link, int], Link] = {}
            for record, seal in items:
                if record.id in self._records or record.id in fresh:
                    continue
                owner, seq = record.owner, record.seq
                held = self._places.get(owner, {}).get(seq) or places.get((owner, seq))
                if held is not None and held != record.id:
                    raise ForkError(record, held)
                places[owner, seq] = record.id
                fresh[record.id] = (record, seal)
            for state in states:
                last = fresh[state.last][0] if state.last in fresh else self._record(state.last)
                check_state(state, None if last is None else (last.owner, last.seq, last.time))
            for record, seal in fresh.values():
                self._insert(record, seal, attachments.get(record.id))
            self._meta.update(values)
            for state in states:
                kept = self._states.get(state.owner)
                if kept is None or kept.size < state.size:
                    self._states[state.owner] = state._replace(peaks=state.peaks.copy())

    def set_attachment(self, cid: Link, attachment: bytes | None) -> None:
        """See `Store.set_attachment`."""
        with self._lock:
            if cid not in self._records:
                raise not_held(cid)
            record, entry = self._records[cid]
            self._records[cid] = (record, entry._replace(attachment=attachment))

    def erase(self, attachments: Mapping[Link, bytes | None], blobs: Iterable[bytes]) -> None:
        """See `Store.erase`."""
        for cid, attachment in attachments.items():
            self.set_attachment(cid, attachment)
        for digest in blobs:
            self._blobs.pop(digest, None)

    def _insert(self, record: Record, seal: bytes, attachment: bytes | None) -> None:
        self._records[record.id] = (record, Entry(record.data, seal, attachment))
        self._places.setdefault(record.owner, {})[record.seq] = record.id
        self._kinds.setdefault(record.kind, {})[record.id] = record
        for name, cited in record.preds.items():
            for edge in cited:
                self._children.setdefault(edge.cid, {})[name, record.id] = None

    def _record(self, cid: Link) -> Record | None:
        found = self._records.get(cid)
        return None if found is None else found[0]

    def get(self, cid: Link) -> Entry | None:
        """See `Store.get`."""
        found = self._records.get(cid) or self._rivals.get(cid)
        return None if found is None else found[1]

    def get_many(self, cids: Iterable[Link]) -> dict[Link, Entry]:
        """See `Store.get_many`."""
        with self._lock:
            found = {cid: self.get(cid) for cid in cids}
        return {cid: entry for cid, entry in found.items() if entry is not None}

    def has(self, cid: Link) -> bool:
        """See `Store.has`."""
        return cid in self._records or cid in self._rivals

    def missing(self, cids: Iterable[Link]) -> list[Link]:
        """See `Store.missing`."""
        with self._lock:
            return [cid for cid in dict.fromkeys(cids) if not self.has(cid)]

    def log_state(self, owner: Link) -> LogState | None:
        """See `Store.log_state`."""
        if owner not in self._states:
            return None
        with self._lock:
            state = self._states.get(owner)
            return None if state is None else state._replace(peaks=state.peaks.copy())

    def logs(self) -> list[LogSummary]:
        """See `Store.logs`."""
        with self._lock:
            return [
                LogSummary(
                    owner, sum(cid in self._records for cid in places.values()), max(places), owner in self._states
                )
                for owner, places in sorted(self._places.items())
            ]

    def log_range(self, owner: Link, start: int, stop: int) -> list[tuple[Link, Entry]]:
        """See `Store.log_range`."""
        with self._lock:
            places = self._places.get(owner, {})
            seqs = sorted(seq for seq, cid in places.items() if start <= seq < stop and cid in self._records)
            return [(places[seq], self._records[places[seq]][1]) for seq in seqs]

    def at(self, owner: Link, seq: int) -> Link | None:
        """See `Store.at`."""
        places = self._places.get(owner)
        return None if places is None else places.get(seq)

    def newest_seq(self, owner: Link) -> int | None:
        """See `Store.newest_seq`."""
        places = self._places.get(owner)
        if places is None:
            return None
        with self._lock:
            return max((seq for seq, cid in places.items() if cid in self._records), default=None)

    def leaves(self, owner: Link, size: int) -> list[bytes]:
        """See `Store.leaves`."""
        with self._lock:
            state = self._states.get(owner)
            if state is None or state.size < size:
                raise incomplete(owner, size)
            places = self._places[owner]
            return [bytes(places[seq]) for seq in range(size)]

    def ancestors(self, cid: Link, classes: Collection[str] | None = None, limit: int | None = None) -> list[Link]:
        """See `Store.ancestors`."""
        with self._lock:
            found: dict[Link, None] = {}
            level = [cid]
            while level and (limit is None or len(found) < limit):
                parents = dict.fromkeys(row.parent for row in self.parents(level, classes))
                level = [parent for parent in parents if parent not in found]
                found.update(dict.fromkeys(level))
            return list(found)[:limit]

    def children(self, cid: Link, classes: Collection[str] | None = None) -> list[Link]:
        """See `Store.children`."""
        with self._lock:
            rows = self._children.get(cid, {})
            return sorted({child for name, child in rows if classes is None or name in classes})

    def parents(self, cids: Iterable[Link], classes: Collection[str] | None = None) -> list[EdgeRow]:
        """See `Store.parents`."""
        with self._lock:
            rows: list[EdgeRow] = []
            for cid in dict.fromkeys(cids):
                record = self._record(cid)
                if record is not None:
                    names = sorted(name for name in record.preds if classes is None or name in classes)
                    rows.extend(EdgeRow(cid, name, edge.cid) for name in names for edge in record.preds[name])
            return rows

    def citing(
        self, cids: Iterable[Link], classes: Collection[str] | None = None, kinds: Collection[str] | None = None
    ) -> list[EdgeRow]:
        """See `Store.citing`."""
        with self._lock:
            rows = [
                EdgeRow(child, name, cid) for cid in dict.fromkeys(cids) for name, child in sorted(self._citing(cid))
            ]
            return [
                row
                for row in rows
                if (classes is None or row.name in classes)
                and (kinds is None or self._records[row.child][0].kind in kinds)
            ]

    def _citing(self, cid: Link) -> Iterable[tuple[str, Link]]:
        return self._children.get(cid, {})

    def by_prefix(self, prefix: str, limit: int = 16) -> list[Link]:
        """See `Store.by_prefix`."""
        low, high = prefix_range(prefix)
        with self._lock:
            within = sorted(cid for cid in {**self._records, **self._rivals} if low <= cid < high)
        return [cid for cid in within if to_text(cid).startswith(prefix)][:limit]

    def by_kind(self, kind: str, owner: Link | None = None, limit: int = 1000) -> list[Link]:
        """See `Store.by_kind`."""
        held = self._kinds.get(kind)
        if held is None:
            return []
        with self._lock:
            records = [record for record in held.values() if owner is None or record.owner == owner]
        records.sort(key=lambda record: (-record.time, -record.seq, record.id))
        return [record.id for record in records[:limit]]

    def mentioning(self, content: bytes, kinds: Collection[str], limit: int = 1000) -> list[Link]:
        """See `Store.mentioning`."""
        with self._lock:
            held = [id for kind in set(kinds) for id in self._kinds.get(kind, {})]
        found = [
            id for id, one in self.get_many(held).items() if content in one.data or content in (one.attachment or b"")
        ]
        return sorted(found)[:limit]

    def get_meta(self, key: str) -> bytes | None:
        """See `Store.get_meta`."""
        return self._meta.get(key)

    def set_meta(self, key: str, value: bytes) -> None:
        """See `Store.set_meta`."""
        self._meta[key] = value

    def record_head(self, owner: Link, size: int, root: bytes, record: Link | None, source: str, seen_ms: int) -> None:
        """See `Store.record_head`."""
        new = SeenHead(owner, size, root, record, source, seen_ms)
        with self._lock:
            self._heads[owner] = keep_heads(self._heads.get(owner, ()), new, DEFAULT.heads_per_log)

    def heads(self, owner: Link) -> list[SeenHead]:
        """See `Store.heads`."""
        return list(self._heads.get(owner, ()))

    def keep_rivals(self, items: Sequence[tuple[Record, bytes]]) -> None:
        """See `Store.keep_rivals`."""
        with self._lock:
            for record, seal in items:
                kept = sum(held.owner == record.owner for held, _ in self._rivals.values())
                if kept < DEFAULT.rivals_per_log:
                    self._rivals.setdefault(record.id, (record, Entry(record.data, seal)))

    def forks(self, owner: Link | None = None) -> list[Fork]:
        """See `Store.forks`."""
        with self._lock:
            records = [record for record, _ in self._rivals.values()]
        rows = sorted((r.owner, r.seq, r.id) for r in records if owner is None or r.owner == owner)
        return group_forks(rows)

    def log_rows(self, owner: Link, stop: int) -> list[LogRow]:
        """See `Store.log_rows`."""
        with self._lock:
            found = [(seq, cid, self._record(cid)) for seq, cid in sorted(self._places.get(owner, {}).items())]
        return [
            LogRow(cid, seq, record.kind if record else None, record.time if record else None)
            for seq, cid, record in found
            if seq < stop
        ]

    def citations(self, owner: Link, stop: int, classes: Collection[str], kinds: Collection[str]) -> list[EdgeRow]:
        """See `Store.citations`."""
        with self._lock:
            below = [cid for seq, cid in self._places.get(owner, {}).items() if seq < stop]
            return [
                EdgeRow(child, name, cid)
                for cid in below
                for name, child in self._children.get(cid, ())
                if name in classes or self._records[child][0].kind in kinds
            ]

    def ids(self, owner: Link, start: int, stop: int) -> list[Link]:
        """See `Shard.ids`."""
        with self._lock:
            return [cid for seq, cid in sorted(self._places.get(owner, {}).items()) if start <= seq < stop]

    def stray_citations(self, classes: Collection[str], kinds: Collection[str]) -> list[EdgeRow]:
        """See `Shard.stray_citations`."""
        with self._lock:
            placed = {cid for places in self._places.values() for cid in places.values()}
            return [
                EdgeRow(child, name, cid)
                for cid, cited in self._children.items()
                if cid not in placed
                for name, child in cited
                if name in classes or self._records[child][0].kind in kinds
            ]

    def begin_prune(self, prune: Link, cids: Sequence[Link]) -> None:
        """See `Store.begin_prune`."""
        with self._lock:
            noted = self._pruned.setdefault(prune, {})
            for cid in cids:
                noted.setdefault(cid, True)

    def drop_pruned(self, limit: int) -> int:
        """See `Store.drop_pruned`."""
        with self._lock:
            due = [(noted, cid) for noted in self._pruned.values() for cid, pending in noted.items() if pending][:limit]
            for noted, cid in due:
                noted[cid] = False
                found = self._records.pop(cid, None)
                if found is not None:
                    record = found[0]
                    del self._kinds[record.kind][cid]
                    for name, cited in record.preds.items():
                        for edge in cited:
                            del self._children[edge.cid][name, cid]
            return len(due)

    def pruned_by(self, cids: Iterable[Link]) -> dict[Link, Link]:
        """See `Store.pruned_by`."""
        with self._lock:
            gone = [cid for cid in cids if cid not in self._records]
            return {cid: prune for prune, noted in self._pruned.items() for cid in gone if cid in noted}

    def pruned_ids(self, prune: Link) -> list[Link]:
        """See `Store.pruned_ids`."""
        return sorted(self._pruned.get(prune, ()))

    def drop_blobs(self, digests: Iterable[bytes]) -> int:
        """See `Store.drop_blobs`."""
        return sum(self._blobs.pop(digest, None) is not None for digest in digests)

    def reclaim(self) -> None:
        """See `Store.reclaim`."""

    def set_verified(self, cid: Link, edges: int | None) -> None:
        """See `Store.set_verified`."""
        self._verified[cid] = Verified(edges)

    def verified(self, cid: Link) -> Verified | None:
        """See `Store.verified`."""
        return self._verified.get(cid)

    def put_blob(self, data: bytes) -> bytes:
        """See `Store.put_blob`."""
        digest = hashlib.sha256(data).digest()
        self._blobs[digest] = data
        return digest

    def put_blobs(self, contents: Iterable[bytes]) -> list[bytes]:
        """See `Store.put_blobs`."""
        return [self.put_blob(data) for data in contents]

    def get_blob(self, digest: bytes) -> bytes | None:
        """See `Store.get_blob`."""
        return self._blobs.get(digest)

    def check(self) -> list[Problem]:
        """See `Store.check`."""
        problems: list[Problem] = []
        with self._lock:
            for cid, (record, entry) in self._records.items():
                columns = Columns(record.owner, record.seq, record.kind, record.time)
                edges = [(row.name, row.parent) for row in self.parents((cid,))]
                problems.extend(check_entry(cid, entry, columns, edges))
            for owner, state in self._states.items():
                places = self._places[owner]
                problems.extend(check_log(state, [places[seq] for seq in range(state.size) if seq in places]))
        return problems

    def close(self) -> None:
        """See `Store.close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
