"""A disk under a node's store: what was not synced is gone after a crash, and a sync takes its time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from tslg.node.store.interface import NO_VALUES, NOTHING_ATTACHED, LogState
from tslg.node.store.memory import MemoryStore
from tslg.protocol.cid import Link
from tslg.protocol.record import Record

SYNC_US: Final = 200
"""One durable commit, as measured on SQLite."""


class PowerLoss(BaseException):
    """The machine stops in the middle of a write. No code of a node catches it."""


class Disk(MemoryStore):
    """A `Store` that can lose what it did not sync.

    Args:
        journalled: whether to keep what a crash needs: every write, in order.

    Attributes:
        slowness: by how much a sync takes longer than usual.
        owed: µs that syncs took since somebody last looked.
        watch: told of every record that is stored, with its seal.
    """

    def __init__(self, journalled: bool = False) -> None:
        super().__init__()
        self.slowness = 1.0
        self.owed = 0
        self.watch: Callable[[Record, bytes], None] | None = None
        self._journal: list[tuple[str, tuple[Any, ...]]] | None = [] if journalled else None
        self._synced = 0
        self._fuse: int | None = None
        self._after = False

    def append(
        self,
        items: Sequence[tuple[Record, bytes]],
        states: Sequence[LogState] = (),
        attachments: Mapping[Link, bytes] = NOTHING_ATTACHED,
        values: Mapping[str, bytes] = NO_VALUES,
    ) -> None:
        """See `Store.append`."""
        super().append(items, states, attachments, values)
        if self.watch is not None:
            for record, seal in items:
                self.watch(record, seal)
        if self._journal is not None:
            kept = [state._replace(peaks=state.peaks.copy()) for state in states]
            self._journal.append(("append", (list(items), kept, dict(attachments), dict(values))))
        self._written("")

    def set_attachment(self, cid: Link, attachment: bytes | None) -> None:
        """See `Store.set_attachment`."""
        super().set_attachment(cid, attachment)
        self._written("set_attachment", cid, attachment)

    def set_meta(self, key: str, value: bytes) -> None:
        """See `Store.set_meta`."""
        super().set_meta(key, value)
        self._written("set_meta", key, value)

    def record_head(self, owner: Link, size: int, root: bytes, record: Link | None, source: str, seen_ms: int) -> None:
        """See `Store.record_head`."""
        super().record_head(owner, size, root, record, source, seen_ms)
        self._written("record_head", owner, size, root, record, source, seen_ms)

    def keep_rivals(self, items: Sequence[tuple[Record, bytes]]) -> None:
        """See `Store.keep_rivals`."""
        super().keep_rivals(items)
        self._written("keep_rivals", list(items))

    def begin_prune(self, prune: Link, cids: Sequence[Link]) -> None:
        """See `Store.begin_prune`."""
        super().begin_prune(prune, cids)
        self._written("begin_prune", prune, list(cids))

    def drop_pruned(self, limit: int) -> int:
        """See `Store.drop_pruned`."""
        count = super().drop_pruned(limit)
        if count:
            self._written("drop_pruned", limit)
        return count

    def set_verified(self, cid: Link, edges: int | None) -> None:
        """See `Store.set_verified`."""
        super().set_verified(cid, edges)
        self._written("set_verified", cid, edges)

    def put_blob(self, data: bytes) -> bytes:
        """See `Store.put_blob`."""
        digest = super().put_blob(data)
        self._written("put_blob", data)
        return digest

    def drop_blobs(self, digests: Iterable[bytes]) -> int:
        """See `Store.drop_blobs`."""
        named = list(digests)
        count = super().drop_blobs(named)
        self._written("drop_blobs", named)
        return count

    def weight(self) -> int:
        """Return how many bytes of records, seals and attachments it holds."""
        entries = (entry for _, entry in (*self._records.values(), *self._rivals.values()))
        return sum(len(entry.data) + len(entry.seal) + len(entry.attachment or b"") for entry in entries)

    # --- what a disk does ------------------------------------------------------------------------------------------

    def _written(self, name: str, *args: Any) -> None:
        if self._journal is not None and name:
            self._journal.append((name, args))
        if self._fuse is not None:
            self._burn()
        self.sync()

    def sync(self) -> None:
        """Make all that was written survive a crash."""
        self.owed += int(SYNC_US * self.slowness)
        if self._journal is not None:
            self._synced = len(self._journal)

    def _burn(self) -> None:
        assert self._fuse is not None
        self._fuse -= 1
        if self._fuse <= 0:
            self._fuse = None
            if self._after:
                self.sync()
            raise PowerLoss

    def fail_at(self, writes: int, *, after: bool) -> None:
        """Lose power in the middle of a write to come, before its sync or after."""
        self._fuse, self._after = max(1, writes), after

    def after_crash(self) -> Disk:
        """Return the disk as it is found when the machine starts again. Only a journalled one survives."""
        if self._journal is None:
            raise ValueError("a disk without a journal does not survive a crash")
        found = Disk(journalled=True)
        found.slowness = self.slowness
        for name, args in self._journal[: self._synced]:
            method: Callable[..., object] = getattr(found, name)
            method(*args)
        found.owed = 0
        return found
