"""The ledger: the one path by which records enter a node's store, each through admission, in durable transactions.

Appends of several threads that wait for the disk at the same time are committed together; a record that is refused
fails its own caller alone. Whatever this returns is on disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tslg.manifests.agent_keys import SigningKey, sign_seats
from tslg.node import own_log, semantic
from tslg.node.admitting import Admitting
from tslg.node.anchoring import Anchorer
from tslg.node.context import StoreContext
from tslg.node.drafting import Draft, OwnLog, Ticket
from tslg.node.flattening import as_meant, sayable, writes_flat
from tslg.node.growth import Growth
from tslg.node.store.group import GroupCommit
from tslg.node.store.interface import ForkError, LogState, Store
from tslg.protocol import attachments
from tslg.protocol import record as records
from tslg.protocol import seal as seals
from tslg.protocol.admission import RuleBook
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal, StoreError, UsageError
from tslg.protocol.flat import flatten, recover
from tslg.protocol.governing.state import Semantic
from tslg.protocol.keys import Key
from tslg.protocol.log import Peaks
from tslg.protocol.manifest import Manifest
from tslg.protocol.opening import Opened
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Tail
from tslg.protocol.rules.seals import seats
from tslg.protocol.seal import Signature
from tslg.protocol.signatures import Alg, ed25519_secret


class Ledger(Admitting):
    """Appends to the logs of a node's own agents, and admits records that were sealed elsewhere.

    Args:
        store: where the records go.
        federation: the federation that this node belongs to.
        manifest: the manifest version in force.
        hash_name: that manifest's hash.
        clock: ms since 1970 UTC.
        random_bytes: a source of secret random bytes, for salts.
    """

    def __init__(
        self,
        store: Store,
        federation: Link,
        manifest: Link,
        hash_name: str,
        clock: Callable[[], int],
        *,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.store = store
        self.federation = federation
        self.manifest = manifest
        self.context = StoreContext(store, federation, clock)
        self._book = RuleBook(self.context)
        self._hash = hash_name
        self._random_bytes = random_bytes
        self._flat = writes_flat(self.context.manifest(manifest))
        self._clock = clock
        self._lock = threading.RLock()
        self._turns = GroupCommit(self._serve)
        self._logs: dict[Link, OwnLog] = {}
        self._staged: list[tuple[Record, bytes]] = []
        self._values: dict[str, bytes] = {}
        self._saved: dict[Link, OwnLog] = {}
        """The logs that the transaction under way touched, as they were before it."""
        self._unsure: set[Link] = set()
        """The logs of which an undone transaction may have been stored all the same."""
        self._writer: int | None = None
        self.gate: Anchorer | None = None
        """What holds logs to their anchoring, for a node that is to."""
        self.beside: Path | None = None
        """The folder for what the store cannot take just now; None where nothing is written."""
        self.growth = Growth()
        """Who is told when logs grew."""

    def open_log(self, owner: Link, key: Key, signer: SigningKey) -> None:
        """Make a log writable with a key that is registered in it and its secrets; one that is, with another key.

        Raises:
            UsageError: the log is not held here. StoreError: `TSLG-D-LOCKED`: another process writes it.
        """
        with self._lock:
            if self.store.log_state(owner) is None:
                raise UsageError("that agent's log is not held here", record=owner)
            self.store.claim(owner)
            # Read again, now that nobody else writes it.
            state = self.store.log_state(owner)
            assert state is not None
            prior = semantic.newest_state(self.store, owner)
            blocked = own_log.blocked(self.store, state)
            plain = signer.alg == Alg.ED25519 and signer.post_quantum is None
            secret = ed25519_secret(signer.seed) if plain else b""
            self._logs[owner] = OwnLog(
                owner,
                key,
                signer,
                secret,
                state.size,
                state.last,
                state.last_time,
                state.peaks.copy(),
                prior,
                self.context.semantic(owner),
                blocked,
            )

    def writes(self, owner: Link) -> bool:
        """Tell whether a log is one of this node's own."""
        return owner in self._logs

    def prior(self, owner: Link) -> Link:
        """Return the newest state of an own log, or its genesis, as the transaction under way sees it."""
        return self._logs[owner].prior

    def semantic_state(self, owner: Link) -> Semantic:
        """Return where the semantic state of an own log stands; in a transaction, with what that has staged."""
        with self._lock:
            self._find_ends()
            return self._own(owner).semantic

    @property
    def batching(self) -> bool:
        """Whether this thread is inside a transaction."""
        return self._writer == threading.get_ident()

    def append(self, owner: Link, draft: Draft) -> Record:
        """Append one record to an own log; it is durable when this returns, or at the end of the transaction it is in.

        Raises:
            Refusal: an admission rule refuses it. RecordError, CodecError: the draft makes no record.
            StoreError: it could not be stored; nothing was. AnchoringError: witnesses do not cosign; see `Anchorer`.
        """
        if self._writer == threading.get_ident():
            return self._stage(owner, draft)
        if self.gate is None:
            return self._commit(owner, draft)
        self.gate.enter(owner)
        record = self._commit(owner, draft)
        self.gate.settle(owner)
        return record

    def _commit(self, owner: Link, draft: Draft) -> Record:
        """Append one record in a transaction that it may share with those of other threads."""
        ticket = Ticket(owner, draft)
        # Whoever leads commits for all who came meanwhile; these need no lock to learn of it.
        self._turns.submit(ticket)
        if ticket.error is not None:
            raise ticket.error
        assert ticket.record is not None
        return ticket.record

    def draft(self, owner: Link, draft: Draft) -> tuple[Record, bytes | None]:
        """Build the next record of an own log for others to sign, and what is attached to it; nothing is stored.

        Raises:
            Refusal: an admission rule refuses it.
        """
        with self._lock:
            record, attachment = self._build(self._writable(owner, draft), draft)
            refusal = self._book.refusal(record, b"")
            if refusal is not None:
                raise refusal
            return record, attachment

    def complete(self, record: Record, attachment: bytes | None, others: Sequence[Signature]) -> Record:
        """Sign a drafted record as its author, who signs last as in `co_sealed`, and append it; `others` signed before.

        Raises:
            UsageError: the log has grown since it was drafted. Refusal: the seal is not what its place demands.
        """
        owner = record.owner
        if self.store.at(owner, record.seq) == record.id:
            return record
        if self.gate is not None:
            self.gate.enter(owner)
        with self._lock:
            log = self._writable(owner, Draft(record.kind, record.body, record.preds))
            if (record.seq, record.prev, record.key) != (log.size, log.last, log.key.record):
                raise UsageError("the log has grown since it was proposed", mend="propose it anew", record=record.id)
            wanted = seats(record, log.key, self._in_force())
            own = sign_seats(record, wanted, {log.key.record: log.signer}, many=True)
            self.admit(record.data, seals.encode([*own, *others], many=True), attachment)
        if self.gate is not None:
            self.gate.settle(owner)
        return record

    def prepare(self, owner: Link, draft: Draft) -> Record:
        """Build the record that would come next in an own log, and sign and append nothing. Raises UsageError."""
        with self._lock:
            return self._build(self._writable(owner, draft), draft)[0]

    def co_sealed(self, record: Record, draft: Draft, anchors: Signature) -> None:
        """Sign a prepared record that the anchors have signed already, and append it.

        The agent signs last: what has become void is then no second record of the agent's for one place.

        Raises:
            UsageError: the log has grown since it was prepared. Refusal: the seal is not what its place demands.
        """
        with self._lock:
            log = self._writable(record.owner, draft)
            if (record.seq, record.prev) != (log.size, log.last) or record.key not in (None, log.key.record):
                raise UsageError("the log has grown since it was asked for", mend="ask anew", record=record.id)
            _, own = draft.own_entries(record, log, self._in_force())
            self.admit(record.data, seals.encode([*own, anchors]))

    def alg(self, owner: Link) -> int:
        """Return the COSE number of the key with which an own agent signs."""
        return self._own(owner).key.alg

    def sign(self, owner: Link, message: bytes) -> Signature:
        """Sign bytes with an own agent's key, which the signature names as `kid`."""
        log = self._own(owner)
        return Signature(log.key.alg, log.key.record, log.signer.sign(log.key.alg, message))

    def _writable(self, owner: Link, draft: Draft) -> OwnLog:
        log = self._own(owner)
        if log.blocked is not None and not log.blocked.allows(owner, draft.kind, draft.body_at(log.size)):
            raise log.blocked.error(owner)
        return log

    def _own(self, owner: Link) -> OwnLog:
        log = self._logs.get(owner)
        if log is None:
            raise UsageError("this node does not write that agent's log", record=owner)
        return log

    @contextmanager
    def batch(self, owner: Link) -> Iterator[None]:
        """Do as `transaction` for an own log, with its anchoring before and after."""
        if self.gate is None:
            with self.transaction():
                yield
            return
        self.gate.enter(owner, batch=True)
        with self.transaction() as grown:
            yield
        for one in grown:
            self.gate.settle(one)

    @contextmanager
    def transaction(self) -> Iterator[list[Link]]:
        """Commit everything that this thread appends inside the block together, or nothing if the block raises.

        Yields a list that names, after the block, the own logs that grew.
        """
        grown: list[Link] = []
        with self._lock:
            if self._writer is not None:
                raise UsageError("a transaction is under way in this thread already")
            self.look_around()
            self._writer = threading.get_ident()
            try:
                yield grown
                self._store_staged()
                grown.extend(self._saved)
            except BaseException as error:
                self._undo(error)
                raise
            finally:
                self._writer = None
                self._staged.clear()
                self._values = {}
                self._saved.clear()
                self.context.settle()
        self.growth.tell(grown)

    def admit(self, data: bytes, seal: bytes, attachment: bytes | None = None) -> Record:
        """Admit a record that was sealed elsewhere to a log that is held whole, and store it.

        Raises:
            Refusal: an admission rule refuses it. RecordError, CodecError: it is no record. StoreError: not stored.
            AttachmentError: what is attached does not belong to it.
        """
        record = self._read(data)
        if attachment is not None:
            record = attachments.check(record, attachment)
        with self.transaction():
            state = self.store.log_state(record.owner)
            held = self.store.has(record.id) and self.store.at(record.owner, record.seq) == record.id
            if held and (state is None or record.seq < state.size):
                return record
            tail = self.context.tail(record.owner)
            if record.seq == 0:
                self.context.stage(record)
            if attachment is not None:
                self.context.attached[record.id] = attachment
            try:
                self._book.admit(record, seal)
            except Refusal as refusal:
                if refusal.code == "TSLG-A-FORK":
                    self._keep_rival(record, seal)
                raise
            record = recover(record, self.context.record)
            self.context.stage(record)
            state = self.store.log_state(record.owner)
            peaks = state.peaks.copy() if state is not None and tail is not None else Peaks()
            peaks.append(record.id)
            grown = LogState(record.owner, record.seq + 1, record.id, record.time, peaks)
            fresh = [] if self.store.has(record.id) else [(record, seal)]
            self.store.append(fresh, [grown], {} if attachment is None else {record.id: attachment})
            self._follow(grown)
            self._take_manifest(record)
        self.growth.tell([record.owner])
        return record

    def _read(self, data: bytes) -> Record:
        """Read a record under the hash of the manifest version that it names, as far as that is known."""
        record = records.parse(data, self._hash)
        manifest = None if record.manifest is None else self.context.manifest(record.manifest)
        if manifest is None or manifest.envelope.ids == self._hash:
            return record
        return records.parse(data, manifest.envelope.ids)

    def _take_manifest(self, record: Record) -> None:
        """Make what follows under the newest manifest version of the federation."""
        if record.kind == "manifest-amendment":
            self.manifest = record.id
            newest = Manifest.from_record(record)
            self._hash, self._flat = newest.envelope.ids, writes_flat(newest)

    def adopt(self, verified: Iterable[Opened]) -> int:
        """Store records of other agents' logs that a walk verified; return how many were new.

        What is of a log that is written here is left out, since that log has its own end; it is held against that log,
        though. What stands at a place that another record has is kept beside it, as proof of equivocation.
        """
        came = list(verified)
        items = [(one.record, one.seal) for one in came]
        missing = set(self.store.missing([record.id for record, _ in items]))
        attached = {one.record.id: one.attachment for one in came if one.attachment is not None}
        fresh = [item for item in items if item[0].id in missing and not self.writes(item[0].owner)]
        try:
            self.store.append(fresh, (), attached)
        except ForkError:
            fresh, rivals = self._without_rivals(fresh)
            self.store.append(fresh, (), attached)
            for record, seal in rivals:
                self._keep_rival(record, seal)
        for record, seal in items:
            if record.id in missing and self.writes(record.owner):
                self.note_own(record, seal)
        for id, entry in self.store.get_many(attached.keys() - missing).items():
            record = records.parse_as(id, entry.data)
            in_its_log = self.store.at(record.owner, record.seq) == id
            if entry.attachment is None and in_its_log and not self.writes(record.owner):
                self.store.set_attachment(id, attached[id])
        self.context.adopted(record for record, _ in fresh)
        redactions = [record for record, _ in fresh if record.kind == "redaction"]
        if redactions:
            self.carry_out(redactions)
        self.growth.tell(record.owner for record, _ in fresh)
        return len(fresh)

    def look_around(self) -> None:
        """Take in what other processes may have stored since, and what an undone transaction left unsure."""
        if not self._unsure and not self.context.stale():
            # Looked up without the lock, so that whoever drafts need not wait for whoever commits.
            return
        with self._lock:
            self._find_ends()
            if self.context.refresh():
                for id in self.store.by_kind("manifest-amendment", self.federation):
                    record, mine = self.context.record(id), self.context.record(self.manifest)
                    if record is not None and mine is not None and record.seq > mine.seq:
                        self._take_manifest(record)
                for owner in self._logs:
                    self.examine(owner)

    def _undo(self, error: BaseException) -> None:
        """Take the logs back to where they were, or to where the store is, should it have committed all the same."""
        self._logs.update(self._saved)
        self._unsure.update(self._saved)
        # What cannot be read now is read before anything else is appended; the error is the one that is raised.
        with suppress(StoreError):
            self._find_ends()
            if isinstance(error, ForkError):
                for owner in self._saved:
                    self.examine(owner)

    def _find_ends(self) -> None:
        for owner in list(self._unsure):
            state = self.store.log_state(owner)
            if state is not None:
                self._follow(state)
            self._unsure.discard(owner)

    def _follow(self, state: LogState) -> None:
        """Go on from where the store says that an own log ends."""
        log = self._logs.get(state.owner)
        if log is not None and state.size > log.size:
            log.size, log.last, log.last_time, log.peaks = state.size, state.last, state.last_time, state.peaks.copy()
            log.prior = semantic.newest_state(self.store, state.owner)
            log.semantic = self.context.semantic(state.owner)
            log.blocked = own_log.blocked(self.store, state)

    def _serve(self, tickets: Sequence[Ticket]) -> None:
        try:
            with self.transaction():
                for ticket in tickets:
                    self._try(ticket)
        except BaseException as error:
            for ticket in tickets:
                ticket.record, ticket.error = None, ticket.error or error

    def _try(self, ticket: Ticket) -> None:
        try:
            ticket.record = self._stage(ticket.owner, ticket.draft)
        except Exception as error:
            # Staging changes nothing before it succeeds, so whatever is wrong with one draft concerns its caller alone.
            ticket.error = error

    def _stage(self, owner: Link, draft: Draft) -> Record:
        """Build, seal and admit one record; later records of the transaction may cite it."""
        log = self._writable(owner, draft)
        record, attachment = self._build(log, draft)
        seal, plain = draft.seal(record, log, self._in_force())
        assert record.log is not None
        self.context.tails[owner] = Tail(log.size, log.last, log.last_time, record.log.root)
        self._admit_own(record, seal, attachment, plain)
        if draft.move is not None:
            draft.move.built.append(record)
            if draft.move.content is not None and "after" in record.body:
                self._values[semantic.content_key(owner)] = draft.move.content
            if draft.move.note is not None:
                name, value = draft.move.note
                self._values[name] = value
        if owner not in self._saved:
            self._saved[owner] = log.copy()
        log.peaks.append(record.id)
        log.size, log.last, log.last_time = record.seq + 1, record.id, record.time
        if record.kind == "state":
            log.prior = record.id
        log.semantic = log.semantic.after(record)
        if log.blocked is not None:
            log.blocked = log.blocked.after(record.body["seq"])
        self.context.stage(record)
        self._staged.append((record, seal))
        return record

    def _admit_own(self, record: Record, seal: bytes, attachment: bytes | None, plain: bool) -> None:
        """Admit a record with what belongs to it, of which nothing stays if it is refused; a `plain` seal holds."""
        if attachment is not None:
            self.context.attached[record.id] = attachment
        try:
            self._book.admit(record, seal, sealed=plain)
        except BaseException:
            self.context.attached.pop(record.id, None)
            raise

    def _build(self, log: OwnLog, draft: Draft) -> tuple[Record, bytes | None]:
        """Build the next record of a log, and what is attached to it."""
        draft = draft.in_state(log)
        meant = sayable(draft.kind, draft.preds) if self._flat else draft.preds
        preds = flatten(meant) if self._flat else meant
        time = max(self._clock(), log.last_time)
        record, attachment = draft.build(log, self._in_force(), time, preds, self._random_bytes)
        record = as_meant(record, meant, self.context.record) if self._flat else record
        return (record if attachment is None else attachments.check(record, attachment)), attachment

    def _in_force(self) -> Manifest:
        manifest = self.context.manifest(self.manifest)
        assert manifest is not None
        return manifest

    def _store_staged(self) -> None:
        if not self._staged:
            return
        states = [self._logs[owner].state() for owner in self._saved]
        self.store.append(self._staged, states, dict(self.context.attached), self._values)
        self.context.stored()
