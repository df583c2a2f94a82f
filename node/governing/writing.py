"""Writing what a gate decided: durably, with the semantic state in step, and never silently failing.

A step that could not be recorded or anchored did not take effect. Its caller is told at once by an error, the semantic
state is as before, and a rejection that names the failure is written as soon as the log can be written again, by the
next process if this one ends before.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from tslg.node.agent import BlockingAgent
from tslg.node.governing.entries import Entry, takes_back, taking_back
from tslg.node.governing.errors import Unrecorded
from tslg.node.governing.waiting import Queue, Waiting
from tslg.node.semantic import content_key
from tslg.node.store.interface import Store
from tslg.protocol import codec
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import AnchoringError, NetworkError, Refusal, StoreError, TslgError, UsageError
from tslg.protocol.governing.policy import Finding
from tslg.protocol.governing.state import ANCHORING, START
from tslg.protocol.record import Record
from tslg.protocol.recording import STEPS

Made = TypeVar("Made")
_log = logging.getLogger(__name__)
_CONTENTS: Final = 256
"""Semantic states kept at hand: more than can be on their way to the disk at a time."""


Append = Callable[[Entry], Record]


class Writer:
    """Writes the governed steps of one agent; all its gates share one. Safe to use from several threads.

    Args:
        agent: whose log.
    """

    def __init__(self, agent: BlockingAgent) -> None:
        self._agent = agent
        self._lock = threading.Lock()
        self._contents: dict[bytes, bytes] = {}
        self._keeping = threading.Lock()
        """Guards the contents. It is taken inside transactions, and the other lock around them."""
        self.policies = threading.Lock()
        """Held while a gate's policy is looked up and recorded, so that gates made at once share one."""
        self.policy: Link | None = None
        """The policy of the gate that was made last, under which a rejection stands that no other can bear."""
        self._undone: dict[int, Record] = {}
        """By position: steps that are on disk and did not take effect, not yet taken back in the log."""
        self._key = f"undone/{to_text(agent.id)}"
        self._written = f"waiting/{to_text(agent.id)}"
        self._dropped = self._remember_undone()
        """Numbers of rejections that waited until their steps were found on disk, which are taken back instead."""
        ledger = agent._ledger
        done = self._last_written()
        self._waiting = Queue(ledger.beside, agent.id, done, self._dropped, ledger.context.record)
        with self._lock:
            self._find_stored()

    def remember(self, content: bytes) -> None:
        """Keep the DAG-CBOR of a state at hand, of which the record to come has the digest alone."""
        with self._keeping:
            self._contents[hashlib.sha256(content).digest()] = content
            while len(self._contents) > _CONTENTS:
                del self._contents[next(iter(self._contents))]

    def content(self, digest: bytes) -> Mapping[str, Any] | None:
        """Return the semantic state with this digest, None if it is not held here any more."""
        held = self._contents.get(digest)
        if held is None:
            return kept_state(self._agent._ledger.store, self._agent.id, digest)
        state: Mapping[str, Any] = codec.decode(held)
        return state

    @property
    def state(self) -> bytes:
        """The digest of the agent's semantic state: what is durable, without what did not take effect."""
        # A copy, and not the lock, which whoever holds the ledger's may not wait for.
        undone = self._undone.copy()
        if undone:
            before: bytes = undone[min(undone)].body["before"]
            return before
        return self._agent._semantic().digest

    def stands(self, record: Record) -> bool:
        """Tell whether a step on record took effect, as far as can be told here. Raises StoreError."""
        with self._lock:
            self._find_stored()
            own = self._undone.get(record.seq) if record.owner == self._agent.id else None
            return (own is None or own.id != record.id) and not self._taken_back(record)

    def write(self, entry: Entry) -> Record:
        """Append a step; it is durable, and anchored as the manifest asks, when this returns.

        Raises:
            Unrecorded: it is not; the semantic state is as before. Refusal: an admission rule refuses it.
            StaleError: it was worked out from another state than the agent's.
        """
        try:
            self.catch_up()
            record = self.append(entry)
        except (StoreError, NetworkError) as error:
            if not self._anchored(entry, error):
                raise self._failed(entry, error) from error
            record = entry.move.built[-1]
        self._look_at(record)
        return record

    def write_together(self, first: Entry, work: Callable[[Append], Made]) -> Made:
        """Do work that appends several steps, `first` before all others, which become durable together.

        Where the manifest asks for a checkpoint of every record, they become durable one by one.

        Raises:
            Unrecorded: none of them took effect; of those that come one by one, as many as it says.
        """
        try:
            self.catch_up()
            with self._agent.batch():
                made = work(self.append)
        except UsageError as error:
            if error.code != "TSLG-U-CADENCE":
                raise
            return self._one_by_one(work)
        except (StoreError, NetworkError) as error:
            if not self._anchored(first, error):
                raise self._failed(first, error) from error
        self._look_at(first.move.built[-1])
        return made

    def _one_by_one(self, work: Callable[[Append], Made]) -> Made:
        done = 0

        def write(entry: Entry) -> Record:
            nonlocal done
            record = self.write(entry)
            done += 1
            return record

        try:
            return work(write)
        except Unrecorded as error:
            if done:
                error.detail = f"{error.detail}; {done} records of the step before it are anchored, and stand"
            raise

    def catch_up(self) -> None:
        """Write the rejections that wait for the log. Raises StoreError or NetworkError."""
        if len(self._waiting) or self._undone:
            self._catch_up()

    def append(self, entry: Entry) -> Record:
        """Append a step, whatever comes of it. Raises as `Ledger.append`.

        A rejection whose policy or delegation bears nothing any more stands under the gate's own policy.
        """
        try:
            return self._append(entry)
        except (Refusal, UsageError) as error:
            if entry.kind != "rejection" or self.policy is None or not _ended(error):
                raise
            own = self._agent._newest_version(self.policy)
            cites = {name: cited for name, cited in entry.cites.items() if name != "delegation"}
            return self._append(replace(entry, policy=own, cites=cites))

    def _append(self, entry: Entry) -> Record:
        cites = dict(entry.cites)
        return self._agent._step(
            entry.kind,
            entry.body,
            entry.move,
            policy=entry.policy,
            evidence=cites.pop("evidence", None),
            delegation=cites.pop("delegation", None),
            cited=cites,
        )

    def _anchored(self, entry: Entry, error: TslgError) -> bool:
        """Tell whether another thread had a step anchored after all, whose own attempt failed."""
        gate, built = self._agent._ledger.gate, entry.move.built
        return (
            bool(built)
            and isinstance(error, AnchoringError)
            and gate is not None
            and (gate.anchored(self._agent.id) > built[-1].seq)
        )

    def _look_at(self, record: Record) -> None:
        """Raise Unrecorded for a step that went down with one before it."""
        with self._lock:
            if record.seq in self._undone:
                raise _unrecorded(record, "a step before it was not anchored, and did not take effect")

    def _failed(self, entry: Entry, error: TslgError) -> Unrecorded:
        """Take note of a step that could not be recorded or anchored; return the error that its caller gets."""
        finding = Finding(ANCHORING, error.code, f"the record could not be anchored: {error.detail}")
        built = entry.move.built[-1] if entry.move.built else None
        with self._lock:
            unsure = None
            try:
                if built is not None and self._durable(built):
                    self._undo_from(built)
                    return _unrecorded(built, error.detail)
            except StoreError:
                # Whether it is there, or that it is not to be, is seen to when the store answers again.
                unsure = built
            rejection = entry if entry.kind == "rejection" else entry.rejected(finding)
            lost = self._waiting.add(rejection, unsure)
        what = "the step was not recorded, and so did not take effect"
        if lost:
            what += f" (its rejection is in memory alone: {lost})"
        return Unrecorded(f"{what}: {error.detail}", mend=error.mend, record=error.record)

    def _durable(self, record: Record) -> bool:
        """Tell whether a record is in the log after all. Raises StoreError if that cannot be seen."""
        ledger = self._agent._ledger
        ledger.semantic_state(self._agent.id)
        return ledger.store.at(record.owner, record.seq) == record.id

    def _undo_from(self, first: Record) -> None:
        """Hold all governed steps from one on for not having taken effect, durably; the lock is held."""
        ledger = self._agent._ledger
        state = ledger.store.log_state(first.owner)
        assert state is not None
        for id, _ in ledger.store.log_range(first.owner, first.seq, state.size):
            # As it was meant: with the classes of its edges, and what it commits to.
            record = ledger.context.record(id)
            if record is not None and record.kind in STEPS and "before" in record.body:
                self._undone[record.seq] = record
        self._keep()

    def _keep(self) -> None:
        """Keep, durably, what is not taken back yet, and the state to which that leads."""
        undone = [self._undone[seq] for seq in sorted(self._undone)]
        content = self._contents.get(undone[0].body["before"]) if undone else None
        note = {"ids": [one.id for one in undone], "content": content, "dropped": self._dropped}
        self._agent._ledger.store.set_meta(self._key, codec.encode(note))

    def _remember_undone(self) -> list[int]:
        """Take up what `_keep` kept; return the numbers that were dropped."""
        ledger = self._agent._ledger
        note = ledger.store.get_meta(self._key)
        kept: dict[str, Any] = {"ids": [], "content": None} if note is None else codec.decode(note)
        if kept["content"] is not None:
            self.remember(kept["content"])
        for id in kept["ids"]:
            record = ledger.context.record(id)
            if record is not None and not self._taken_back(record):
                self._undone[record.seq] = record
        # Notes of earlier versions have none.
        return list(kept.get("dropped", ()))

    def _last_written(self) -> int:
        """Return the number of the newest rejection that waited and is in the log. Raises StoreError."""
        note = self._agent._ledger.store.get_meta(self._written)
        return 0 if note is None else int.from_bytes(note, "big")

    def _catch_up(self) -> None:
        """Take back what did not take effect, newest first, then write the rejections that wait."""
        with self._lock:
            self._find_stored()
            while self._undone:
                newest = self._undone[max(self._undone)]
                if not self._taken_back(newest):
                    self.append(taking_back(newest, self._contents.get(newest.body["before"])))
                del self._undone[newest.seq]
                self._keep()
            for one in self._waiting:
                self._write_late(one)
                self._waiting.drop(one)
            if self._dropped:
                self._agent._ledger.store.set_meta(self._written, _number(max(self._last_written(), *self._dropped)))
                self._dropped = []

    def _write_late(self, one: Waiting) -> None:
        """Write a rejection that waited, unless it was stored when the store last said that it was not."""
        if one.number <= self._last_written():
            return
        note = self._written, _number(one.number)
        try:
            self.append(replace(one.rejection, move=replace(one.rejection.move, note=note, built=[])))
        except (StoreError, NetworkError):
            raise
        except TslgError as error:
            # Such as after an amendment: no later step is to wait for it for ever.
            _log.error("a rejection that waited for the log was refused: %s", error.code)

    def _find_stored(self) -> None:
        """Look for steps in the log of which it could not be seen before whether they are; the lock is held."""
        for one in self._waiting:
            if one.unsure is not None and self._durable(one.unsure):
                # One note says both, or a crash between them would take back what came later.
                self._dropped.append(one.number)
                self._undo_from(one.unsure)
                self._waiting.drop(one)

    def _taken_back(self, record: Record) -> bool:
        ledger = self._agent._ledger
        citing = map(ledger.context.record, ledger.store.children(record.id, ("prior", "evidence", "part", "any")))
        return any(one is not None and takes_back(one, record) for one in citing)


def kept_state(store: Store, agent: Link, digest: bytes) -> Mapping[str, Any] | None:
    """Return the semantic state with this digest if the store keeps it for an agent, None otherwise."""
    if digest == START:
        return {}
    held = store.get_meta(content_key(agent))
    if held is None or hashlib.sha256(held).digest() != digest:
        return None
    state: Mapping[str, Any] = codec.decode(held)
    return state


def _number(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _ended(error: TslgError) -> bool:
    """Tell whether what an entry rests on bears nothing any more, by what an append raised."""
    return error.code in _ENDED


_ENDED: Final = frozenset(("TSLG-A-SUPERSEDED", "TSLG-A-EXPIRED", "TSLG-U-WITHDRAWN"))


def _unrecorded(record: Record, why: str) -> Unrecorded:
    return Unrecorded(
        f"the step is on disk and not anchored, and so did not take effect: {why}",
        mend="submit it again once the log can be anchored",
        record=record.id,
    )
