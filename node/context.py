"""What the admission rules see of a node: its store, and what the transaction under way has staged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from tslg.node import semantic
from tslg.node.store.interface import Store
from tslg.protocol import signatures
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.errors import RecordError
from tslg.protocol.flat import recover
from tslg.protocol.governing.state import Semantic
from tslg.protocol.keys import Key, Revocations, key_of, revocations_in
from tslg.protocol.lifecycle import ABOUT, place, subject
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Manifest
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Record
from tslg.protocol.recording import STEPS
from tslg.protocol.rules.context import Pruned, Tail, superseded_by
from tslg.protocol.rules.standing import entitled

CACHED_RECORDS = 16_384
"""Parsed records kept at hand: the neighbours of what is being appended, at about 3 KiB each."""
_ACCESS_KINDS = frozenset(("access-rule", "retraction"))
"""Kinds of agents' records that change who reads what."""


class StoreContext:
    """An `admission.Context` over a store. Any thread may look up records; the ledger's lock guards the rest."""

    complete = True

    def __init__(self, store: Store, federation: Link, clock: Callable[[], int]) -> None:
        self.federation = federation
        self.staged: dict[Link, Record] = {}
        self.tails: dict[Link, Tail] = {}
        self.attached: dict[Link, bytes] = {}
        self._store = store
        self._clock = clock
        self._records: dict[Link, Record] = {}
        self._lock = threading.Lock()
        self._manifests: dict[Link, Manifest] = {}
        self._keys: dict[Link, Key] = {}
        self.pruning: dict[bytes, Pruned] = {}
        self._superseding: dict[Link, tuple[Link, ...]] = {}
        self._staged_superseding: dict[Link, list[Link]] = {}
        self._revocations: dict[Link, Revocations] = {}
        self._moves: dict[Link, Semantic] = {}
        self._staged_moves: dict[Link, Semantic] = {}
        self._staged_about: dict[tuple[str, str | Link], list[Link]] = {}
        self._seen = 0
        self.changes = 0
        """Counts the records that may change who reads what: whoever remembers that knows when to look again."""

    @property
    def now_ms(self) -> int:
        """The node's clock, ms since 1970 UTC."""
        return self._clock()

    def stale(self) -> bool:
        """Tell whether another process that writes the same store may have changed what is remembered here."""
        return self._store.changes() != self._seen

    def refresh(self) -> bool:
        """Forget what another process that writes the same store may have changed; return whether it may have."""
        seen = self._store.changes()
        if seen == self._seen:
            return False
        self._seen = seen
        self.changes += 1
        self._superseding.clear()
        self._revocations.clear()
        self._moves.clear()
        with self._lock:
            self._records.clear()
        return True

    def record(self, id: Link) -> Record | None:
        """Return a record that is staged or held."""
        found = self.staged.get(id) or self._records.get(id)
        if found is None:
            entry = self._store.get(id)
            if entry is None:
                return None
            found = recover(disclosed(id, entry), self._plain)
            self.remember({id: found})
        return found

    def _plain(self, id: Link) -> Record | None:
        """Return a record as it was written, whose own edges nobody asks for."""
        found = self.staged.get(id) or self._records.get(id)
        if found is None:
            entry = self._store.get(id)
            found = None if entry is None else disclosed(id, entry)
        return found

    def stage(self, record: Record) -> None:
        """Take in a record that the transaction under way has admitted."""
        self.staged[record.id] = record
        self._note_change(record)
        for id in superseded_by(record):
            self._staged_superseding.setdefault(id, []).append(record.id)
        if record.kind in ABOUT:
            self._staged_about.setdefault((record.kind, subject(record)), []).append(record.id)
        if record.kind == "revocation":
            self._revocations.pop(record.owner, None)
        if "after" in record.body and record.kind in STEPS:
            self._staged_moves[record.owner] = Semantic().after(record)

    def adopted(self, records: Iterable[Record]) -> None:
        """Take note of records that went into the store beside a transaction."""
        for record in records:
            self._note_change(record)
            for id in superseded_by(record):
                self._superseding.pop(id, None)
            if record.kind == "revocation":
                self._revocations.pop(record.owner, None)

    def stored(self) -> None:
        """Take note that what the transaction under way staged is in the store, and keep it at hand."""
        self.remember(self.staged)
        self._moves.update(self._staged_moves)
        self._staged_moves.clear()

    def settle(self) -> None:
        """Forget what was staged: the transaction is over, however it ended."""
        for id in self._staged_superseding:
            self._superseding.pop(id, None)
        self._staged_superseding.clear()
        for record in self.staged.values():
            self._note_change(record)
            if record.kind == "revocation":
                self._revocations.pop(record.owner, None)
        for owner in self._staged_moves:
            self._moves.pop(owner, None)
        self._staged_moves.clear()
        self._staged_about.clear()
        self.staged.clear()
        self.tails.clear()
        self.attached.clear()

    def _note_change(self, record: Record) -> None:
        if record.kind in _ACCESS_KINDS:
            self.changes += 1

    def superseding(self, id: Link) -> list[Record]:
        """Return what amends, withdraws or answers a record: the policies, retractions and answers held and staged."""
        found = self._superseding.get(id)
        if found is None:
            # Of records whose edges had no class yet when they were stored, only they themselves can tell.
            children = map(self.record, self._store.children(id, ("amends", "answers", "retracts", FLAT)))
            found = tuple(one.id for one in children if one is not None and id in superseded_by(one))
            if len(self._superseding) >= CACHED_RECORDS:
                self._superseding.clear()
            self._superseding[id] = found
        if not found and not self._staged_superseding:
            return []
        known = dict.fromkeys((*found, *self._staged_superseding.get(id, ())))
        return [one for one in map(self.record, known) if one is not None]

    def ended(self, id: Link, record: Record) -> Record | None:
        """Return what ended an authority in a record's causal past."""
        for other in self.superseding(id):
            if self._known(other, record) and entitled(other, id, self):
                return other
        return None

    def answered(self, id: Link, record: Record) -> Record | None:
        """Return an earlier answer of a record's log to a delegation."""
        own = (one for one in self.superseding(id) if one.kind == "answer" and one.owner == record.owner)
        return next((one for one in own if one.seq < record.seq), None)

    def _known(self, other: Record, record: Record) -> bool:
        if other.owner == record.owner:
            return other.seq < record.seq
        return any(edge.cid == other.id for edge in record.edges()) or self._cites(record.owner, other.id, record.seq)

    def _cites(self, owner: Link, id: Link, before: int) -> bool:
        held = map(self.record, self._store.children(id))
        staged = (one for one in self.staged.values() if any(edge.cid == id for edge in one.edges()))
        return any(one is not None and one.owner == owner and one.seq < before for one in (*held, *staged))

    def seal_of(self, id: Link) -> bytes | None:
        """Return the seal of a record that is held."""
        entry = self._store.get(id)
        return None if entry is None else entry.seal

    def remember(self, stored: Mapping[Link, Record]) -> None:
        """Keep stored records at hand."""
        kept = self._records
        with self._lock:
            kept.update(stored)
            while len(kept) > CACHED_RECORDS:
                del kept[next(iter(kept))]

    def forget(self, id: Link) -> None:
        """Drop a stored record from memory, since what is attached to it changed."""
        with self._lock:
            self._records.pop(id, None)

    def manifest(self, id: Link) -> Manifest | None:
        """Return a manifest version that is held; while a root manifest is admitted, itself."""
        found = self._manifests.get(id)
        if found is None:
            held = self.record(id)
            if held is None or held.kind not in ("manifest", "manifest-amendment"):
                return None
            try:
                found = Manifest.from_record(held)
            except RecordError:
                return None
            if id not in self.staged:
                self._manifests[id] = found
        return found

    def key(self, id: Link) -> Key | None:
        """Return the key that a held record registers."""
        found = self._keys.get(id)
        if found is None:
            held = self.record(id)
            found = None if held is None else key_of(held)
            # What is staged may be undone; what is stored stays what its id says.
            if found is not None and id not in self.staged:
                if len(self._keys) >= CACHED_RECORDS:
                    self._keys.clear()
                self._keys[id] = found
        return found

    def revocations(self, owner: Link) -> Revocations:
        """Return the revocations in a log that is held whole, those of the transaction under way among them."""
        found = self._revocations.get(owner)
        if found is None:
            ids = self._store.by_kind("revocation", owner, limit=DEFAULT.revocations + 1)
            stored = [record for id in ids if (record := self.record(id)) is not None]
            found = revocations_in(stored + [record for record in self.staged.values() if record.owner == owner])
            if len(self._revocations) >= CACHED_RECORDS:
                self._revocations.clear()
            self._revocations[owner] = found
        return found

    def pruned(self, root: bytes) -> Pruned | None:
        """Return what the pruning under way lets go of."""
        return self.pruning.get(root)

    def stretch(self, owner: Link, first: int, last: int) -> list[bytes] | None:
        """Return the ids at these positions of a log that is held whole, with what the transaction has staged."""
        state = self._store.log_state(owner)
        if state is None or last >= state.size:
            return None
        return self._store.leaves(owner, last + 1)[first:]

    def taken(self, record: Record) -> Record | None:
        """Return an earlier transition or release that follows the same one, or was the first of its subject too."""
        kind, after, about = wanted = place(record)
        cited = after if after is not None else about if isinstance(about, Link) else None
        if cited is None:
            ids = self._store.by_kind(kind, record.owner, limit=DEFAULT.releases)
        else:
            ids = [row.child for row in self._store.citing((cited,), ("evidence", FLAT), (kind,))]
        held = (one for one in (*map(self.record, ids), *self.staged_about(kind, about)) if one is not None)
        own = (one for one in held if one.kind == kind and one.owner == record.owner and one.seq < record.seq)
        return next((one for one in own if place(one) == wanted), None)

    def staged_about(self, kind: str, about: str | Link) -> list[Record]:
        """Return what the transaction under way staged of a kind of `ABOUT` about a subject, in its order."""
        ids = self._staged_about.get((kind, about), ())
        return [self.staged[id] for id in ids if id in self.staged]

    def tail(self, owner: Link) -> Tail | None:
        """Return the end of a log that is held whole, as the transaction under way sees it."""
        tail = self.tails.get(owner)
        if tail is None:
            state = self._store.log_state(owner)
            if state is not None:
                tail = Tail(state.size, state.last, state.last_time, state.peaks.root())
        return tail

    def semantic(self, owner: Link) -> Semantic:
        """Return where the semantic state of a log that is held whole stands, as the transaction under way sees it."""
        found = self._staged_moves.get(owner) or self._moves.get(owner)
        if found is None:
            if len(self._moves) >= CACHED_RECORDS:
                self._moves.clear()
            found = self._moves[owner] = semantic.read(self._store, owner, self.record)
        return found

    def attachment(self, id: Link) -> bytes | None:
        """Return what came beside a record that the transaction under way admits."""
        return self.attached.get(id)

    def signature_holds(self, alg: int, public: bytes, message: bytes, signature: bytes) -> bool:
        """Verify a signature."""
        return signatures.verify(alg, public, message, signature)
