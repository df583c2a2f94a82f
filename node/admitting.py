"""The part of a ledger that takes over other agents' logs whole: runs of several logs, each record through admission.

All that a run admits is committed in one transaction. What one log cites in another is admitted first if it is in the
run too, so logs that cite each other over and over need no transaction for each crossing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator, Sequence, Set
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, NamedTuple

from tslg.node import redacting
from tslg.node.growth import Growth
from tslg.node.rivalry import Items, Rivalry
from tslg.node.store.interface import ForkError, LogState
from tslg.protocol.admission import LOG_RULES, SEAL_RULES, RuleBook, judge
from tslg.protocol.chains import JOINT
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.flat import recover
from tslg.protocol.log import Peaks
from tslg.protocol.opening import Opened
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Tail
from tslg.protocol.rules.redaction import rule_redaction

if TYPE_CHECKING:
    from tslg.node.vault.keeping import Plaintexts

READ_BACK: Final = frozenset(("prune", "summary"))
"""Kinds whose rules look at stretches of their log, which must be stored by then."""


class Lacking(NamedTuple):
    """A record that another cites, and in whose log it lies as far as that says."""

    id: Link
    owner: Link


class Outcome(NamedTuple):
    """What became of the part of a run that is of one log.

    Attributes:
        admitted: how many of its records were admitted, from the first on; those that were held already count.
        refusal: why the next one was not.
        sealed: whether its author sealed what was refused: if not, it is nobody's word.
        lacking: what the next one cites and is not held here; with a refusal, what it was judged without.
    """

    admitted: int
    refusal: Refusal | None = None
    sealed: bool = False
    lacking: tuple[Lacking, ...] = ()


class _Part:
    """One log's part of a run while it is admitted."""

    def __init__(self, records: Sequence[Opened], state: LogState | None) -> None:
        self.records = records
        self.at = 0
        self.size = 0 if state is None else state.size
        self.peaks = Peaks() if state is None else state.peaks.copy()
        self.last: Record | None = None
        self.refusal: Refusal | None = None
        self.sealed = False
        self.lacking: tuple[Lacking, ...] = ()

    def outcome(self) -> Outcome:
        return Outcome(self.at, self.refusal, self.sealed, self.lacking)


class Admitting(Rivalry, ABC):
    """The part of a ledger that admits runs of records of logs that others write."""

    federation: Link
    growth: Growth
    plaintexts: Plaintexts | None = None
    """What keeps more of models' steps than their digests, and destroys it; None where nothing does."""
    _book: RuleBook

    @abstractmethod
    def transaction(self) -> AbstractContextManager[list[Link]]:
        """Commit everything inside the block together."""

    @abstractmethod
    def _take_manifest(self, record: Record) -> None:
        """Go by a manifest version that was stored."""

    def carry_out(self, redactions: Iterable[Record]) -> None:
        """Destroy what redactions name, as far as it is held here, in the store, in the vault and in memory.

        Each is held against its target once more: a bounded walk that found it valid may not have met that.
        """
        rightful = [record for record in redactions if rule_redaction(record, b"", self.context) is None]
        for id in redacting.carry_out(self.store, rightful):
            self.context.forget(id)
        if self.plaintexts is not None:
            self.plaintexts.carry_out(rightful)

    def admit_runs(self, runs: Sequence[Sequence[Opened]], spared: Container[Link] = ()) -> list[Outcome]:
        """Admit records of several logs that others write, each run in the order of its log, in one transaction.

        Args:
            runs: for each log its records, neighbours in order, the first at or before the end of what is held.
            spared: cited records that are not to be had: what cites them is judged without them.

        Returns:
            What became of each run.

        Raises:
            StoreError: nothing was stored.
        """
        taken: Items = []
        with self._lock:
            parts = [_Part(run, self.store.log_state(run[0].record.owner)) for run in runs]
            try:
                with self.transaction():
                    self._admit_parts(parts, spared, taken)
            except ForkError as error:
                self._note_fork(parts, error, taken)
                return [part.outcome() for part in parts]
        grown = [part.last.owner for part in parts if part.last is not None]
        self.growth.tell(grown)
        redactions = [record for record, _ in taken if record.kind == "redaction"]
        if redactions:
            self.carry_out(redactions)
        return [part.outcome() for part in parts]

    def note_rival(self, record: Record, seal: bytes) -> bool:
        """Keep a sealed record whose place another one has as proof of equivocation; tell whether it is one."""
        with self._lock:
            held = self.store.at(record.owner, record.seq)
            if held is None or held == record.id or self._unsealed(record, seal):
                return False
            self._keep_rival(record, seal)
            return True

    def may_be_sealed(self, record: Record, seal: bytes) -> bool:
        """Tell whether a record's seal holds, or cannot be checked since its key is not held here."""
        with self._lock:
            unknown = record.key is not None and self.context.key(record.key) is None
            return unknown or not self._unsealed(record, seal)

    def _admit_parts(self, parts: Sequence[_Part], spared: Container[Link], taken: Items) -> None:
        """Admit what can be, turn by turn, until no log gets on; then store it."""
        cited = {id for part in parts for one in part.records for id, _ in cites(one.record, self.federation)}
        missing = self.store.missing(sorted(cited))
        absent = {id for id in missing if id not in spared}
        gone = set(missing) - absent
        moved = True
        while moved:
            before = len(taken)
            for part in parts:
                if part.refusal is None:
                    self._admit_part(part, absent, gone, taken)
            moved = len(taken) > before
        if not taken:
            return
        states = [
            LogState(part.last.owner, part.size, part.last.id, part.last.time, part.peaks)
            for part in parts
            if part.last is not None
        ]
        self.store.append(taken, states, dict(self.context.attached))
        self.context.remember({record.id: record for record, _ in taken})
        for record, _ in taken:
            self._take_manifest(record)

    def _admit_part(self, part: _Part, absent: set[Link], gone: Set[Link], taken: Items) -> None:
        """Admit the next records of one log, up to one that cannot be."""
        records, context = part.records, self.context
        part.lacking = ()
        while part.at < len(records):
            one = records[part.at]
            record = one.record
            if record.seq < part.size and self.store.at(record.owner, record.seq) == record.id:
                part.at += 1
                continue
            if absent:
                part.lacking = self._among(record, absent)
                if part.lacking:
                    return
            if record.kind in READ_BACK and part.last is not None:
                return
            part.refusal = self._refusal(one)
            if part.refusal is not None:
                part.sealed = one.sealed is True or judge(record, one.seal, context, SEAL_RULES) is None
                part.lacking = self._among(record, gone)
                return
            recovered = recover(record, context.record)
            context.stage(recovered)
            part.peaks.append(record.id)
            part.size, part.last = record.seq + 1, recovered
            context.tails[record.owner] = Tail(part.size, record.id, record.time, part.peaks.root())
            absent.discard(record.id)
            taken.append((recovered, one.seal))
            part.at += 1

    def _among(self, record: Record, ids: Set[Link]) -> tuple[Lacking, ...]:
        return tuple(Lacking(id, owner) for id, owner in cites(record, self.federation) if id in ids)

    def _refusal(self, one: Opened) -> Refusal | None:
        """Judge a record as the next of its log; of what is refused nothing stays."""
        record, seal, sealed, attachment = one
        context = self.context
        if attachment is not None:
            context.attached[record.id] = attachment
        if record.seq == 0:
            context.stage(record)
        refusal = self._book.refusal(record, seal) or judge(record, seal, context, LOG_RULES)
        if refusal is None and sealed is not True:
            refusal = judge(record, seal, context, SEAL_RULES)
        if refusal is not None:
            context.attached.pop(record.id, None)
            context.staged.pop(record.id, None)
        return refusal

    def _note_fork(self, parts: Sequence[_Part], error: ForkError, taken: Sequence[tuple[Record, bytes]]) -> None:
        """Nothing was stored, since a record's place is taken by one that was kept of an earlier walk."""
        for part in parts:
            part.at, part.last = 0, None
            if any(one.record.id == error.record for one in part.records):
                part.sealed = True
                part.refusal = Refusal(
                    "another record of its author's has its place", code="TSLG-A-FORK", record=error.record
                )
        for record, seal in taken:
            if record.id == error.record:
                self._keep_rival(record, seal)


def cites(record: Record, federation: Link) -> Iterator[tuple[Link, Link]]:
    """Yield what a record cites or rests on in other logs than its own, and in whose log each lies as it says."""
    for edges in record.preds.values():
        for cid, agent, _ in edges:
            if agent is not None:
                yield cid, agent
    if record.manifest is not None and record.owner != federation:
        yield record.manifest, federation
    if record.kind == JOINT:
        for signer in record.body["signers"]:
            yield signer["key"], signer["agent"]
