"""What a ledger does with records whose place is taken, and with records of its own logs that come from elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from tslg.node import own_log
from tslg.node.context import StoreContext
from tslg.node.drafting import OwnLog
from tslg.node.store.interface import Store
from tslg.protocol import record as records
from tslg.protocol.admission import SEAL_RULES, judge
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.opening import Opened
from tslg.protocol.record import Record
from tslg.protocol.rules.log import rule_revoked
from tslg.protocol.rules.seals import rule_key

Items = list[tuple[Record, bytes]]


class Rivalry:
    """The part of a ledger that holds records against the places that they claim."""

    store: Store
    context: StoreContext
    _logs: dict[Link, OwnLog]
    _lock: threading.RLock

    def note_own(self, record: Record, seal: bytes) -> None:
        """Hold a record of an own log that came from elsewhere against that log.

        One that stands at a taken place is kept as proof of equivocation, one behind the log's end as proof that this
        directory is behind; either way nothing more is appended until that is settled. One that the agent's key did
        not seal says nothing.
        """
        with self._lock:
            if self._unsealed(record, seal):
                return
            if self.store.at(record.owner, record.seq) == record.id:
                # Its own record: if it was pruned, its bytes are back.
                self.store.append([(record, seal)])
            elif record.seq < self._logs[record.owner].size:
                self._keep_rival(record, seal)
            else:
                own_log.remember_ahead(self.store, record, seal)
                self.examine(record.owner)

    def examine(self, owner: Link) -> None:
        """Find out anew whether anything may be appended to an own log."""
        with self._lock:
            state = self.store.log_state(owner)
            if owner in self._logs and state is not None:
                self._logs[owner].blocked = own_log.blocked(self.store, state)

    def blocked(self, owner: Link) -> UsageError | None:
        """Return why nothing may be appended to an own log, None if it may."""
        blocked = self._logs[owner].blocked
        return None if blocked is None else blocked.error(owner)

    def keep_proof(self, proof: Iterable[Opened]) -> None:
        """Keep records that convict their authors of equivocation, whose seals a walk found to hold."""
        items = [(one.record, one.seal) for one in proof]
        self.store.keep_rivals(items)
        for owner in {record.owner for record, _ in items}:
            self.examine(owner)

    def show(self, record: Record, seal: bytes) -> bool:
        """Hold a record that somebody showed against the one at its place; tell whether they convict their author.

        Both are kept then. One that no key sealed which was in force at its place says nothing.
        """
        with self._lock:
            other = self.store.at(record.owner, record.seq)
            if other is None or other == record.id:
                return False
            if judge(record, seal, self.context, (rule_key, rule_revoked, *SEAL_RULES)) is not None:
                return False
            self._keep_rival(record, seal)
            return True

    def _without_rivals(self, items: Sequence[tuple[Record, bytes]]) -> tuple[Items, Items]:
        """Split off the records whose place another record has, in the store or earlier among these."""
        places: dict[tuple[Link, int], Link] = {}
        fresh: Items = []
        rivals: Items = []
        for item in items:
            record = item[0]
            held = self.store.at(record.owner, record.seq) or places.setdefault((record.owner, record.seq), record.id)
            (fresh if held == record.id else rivals).append(item)
        return fresh, rivals

    def _keep_rival(self, record: Record, seal: bytes) -> None:
        """Keep a record at a taken place, and the one that has it, if the seal holds: only then it says anything."""
        other = self.store.at(record.owner, record.seq)
        if other is None or other == record.id or self._unsealed(record, seal):
            return
        entry = self.store.get(other)
        held = [] if entry is None else [(records.parse_as(other, entry.data), entry.seal)]
        self.store.keep_rivals([*held, (record, seal)])
        self.examine(record.owner)

    def _unsealed(self, record: Record, seal: bytes) -> bool:
        return judge(record, seal, self.context, (rule_key, *SEAL_RULES)) is not None
