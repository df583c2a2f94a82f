"""Writing what a gate decided: durably, with the semantic state in step, and never silently failing.

A step that could not be recorded or anchored did not take effect. Its caller is told at once by an error, the semantic
state is as before, and a rejection that names the failure is written as soon as the log can be written again.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from tslg.node.agent import BlockingAgent
from tslg.node.authoring import References
from tslg.node.governing.errors import Unrecorded
from tslg.node.semantic import Move, content_key
from tslg.node.store.interface import Store
from tslg.protocol import codec
from tslg.protocol.cid import short, to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import AnchoringError, NetworkError, Refusal, StoreError, TslgError, UsageError
from tslg.protocol.governing.policy import Finding
from tslg.protocol.governing.state import ANCHORING, START
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record, parse_as
from tslg.protocol.recording import STEPS

Made = TypeVar("Made")
_log = logging.getLogger(__name__)
_MORE: Final = "; and "
_CONTENTS: Final = 256
"""Semantic states kept at hand: more than can be on their way to the disk at a time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A governed step as it is to be recorded.

    Attributes:
        kind: `inference`, `rejection`, `decomposition` or `composite`.
        body: its body, but for the semantic state.
        policy: the policy record that it is taken under.
        cites: what else it cites, by class.
        move: what it does to the semantic state.
    """

    kind: str
    body: Mapping[str, Any]
    policy: Link
    cites: Mapping[str, References] = field(default_factory=dict)
    move: Move = field(default_factory=Move)

    def rejected(self, finding: Finding, *, resting: bool = False) -> Entry:
        """Return the rejection of this step, under the same policy.

        It rests on what the step rests on where that is not what it may have been rejected for (`resting`).
        """
        left = ("class", "after", "parts", "rule")
        body = {name: value for name, value in self.body.items() if name not in left}
        kept = ("part", "evidence", "observes") if resting else ("part",)
        cites = {name: self.cites[name] for name in kept if name in self.cites and self.kind != "composite"}
        # A policy that was granted is cited together with the delegation that grants it, by a rejection too.
        cites |= {name: cited for name, cited in self.cites.items() if name == "delegation"}
        return Entry("rejection", body | said(finding), self.policy, cites)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A rejection that waits for the log, and the record of the step itself where that may be stored all the same."""

    rejection: Entry
    unsure: Record | None


Append = Callable[[Entry], Record]


def said(finding: Finding) -> dict[str, str]:
    """Return the fields in which a rejection says why."""
    reason = " ".join(finding.reason.split())
    texts = {"stage": finding.stage[:256], "rule": finding.rule[:256], "reason": reason[: DEFAULT.reason_characters]}
    # What a grant or the policy's own text quotes may be anything, half a surrogate pair too.
    return {name: text.encode("utf-8", "replace").decode() for name, text in texts.items()}


class Writer:
    """Writes the governed steps of one agent; all its gates share one. Safe to use from several threads.

    Args:
        agent: whose log.
    """

    def __init__(self, agent: BlockingAgent) -> None:
        self._agent = agent
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._missed = 0
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
        self._remember_undone()

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
        if self._waiting or self._undone:
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
        unsure = None
        try:
            durable = built is not None and self._durable(built)
        except StoreError:
            durable, unsure = False, built
        with self._lock:
            if built is not None and durable:
                # What cannot be kept now is kept when it is taken back.
                with suppress(StoreError):
                    self._undo_from(built)
                return _unrecorded(built, error.detail)
            waiting = entry if entry.kind == "rejection" else entry.rejected(finding)
            if len(self._waiting) < DEFAULT.unrecorded_steps:
                self._waiting.append(_Waiting(waiting, unsure))
            else:
                # No more are kept; the newest that is speaks for those after it.
                self._missed += 1
                last, more = self._waiting[-1].rejection, f"{self._missed} later steps were not recorded either"
                reason = last.body["reason"].partition(_MORE)[0][: DEFAULT.reason_characters - len(_MORE) - len(more)]
                spoken = replace(last, body={**last.body, "reason": reason + _MORE + more})
                self._waiting[-1] = replace(self._waiting[-1], rejection=spoken)
        return Unrecorded(
            f"the step was not recorded, and so did not take effect: {error.detail}",
            mend=error.mend,
            record=error.record,
        )

    def _durable(self, record: Record) -> bool:
        """Tell whether a record is in the log after all. Raises StoreError if that cannot be seen."""
        ledger = self._agent._ledger
        ledger.semantic_state(self._agent.id)
        return ledger.store.at(record.owner, record.seq) == record.id

    def _undo_from(self, first: Record) -> None:
        """Hold all governed steps from one on for not having taken effect, durably; the lock is held."""
        store = self._agent._ledger.store
        state = store.log_state(first.owner)
        assert state is not None
        for id, entry in store.log_range(first.owner, first.seq, state.size):
            record = parse_as(id, entry.data)
            if record.kind in STEPS and "before" in record.body:
                self._undone[record.seq] = record
        self._keep()

    def _keep(self) -> None:
        """Keep, durably, what is not taken back yet, and the state to which that leads."""
        undone = [self._undone[seq] for seq in sorted(self._undone)]
        content = self._contents.get(undone[0].body["before"]) if undone else None
        note = {"ids": [one.id for one in undone], "content": content}
        self._agent._ledger.store.set_meta(self._key, codec.encode(note))

    def _remember_undone(self) -> None:
        ledger = self._agent._ledger
        note = ledger.store.get_meta(self._key)
        kept = {"ids": [], "content": None} if note is None else codec.decode(note)
        if kept["content"] is not None:
            self.remember(kept["content"])
        for id in kept["ids"]:
            record = ledger.context.record(id)
            if record is not None and not self._taken_back(record):
                self._undone[record.seq] = record

    def _catch_up(self) -> None:
        """Take back what did not take effect, newest first, then write the rejections that wait."""
        with self._lock:
            self._find_stored()
            while self._undone:
                newest = self._undone[max(self._undone)]
                if not self._taken_back(newest):
                    self.append(_taking_back(newest, self._contents.get(newest.body["before"])))
                del self._undone[newest.seq]
                self._keep()
            while self._waiting:
                try:
                    self.append(self._waiting[0].rejection)
                except Refusal as error:
                    # Such as after an amendment: no later step is to wait for it for ever.
                    _log.error("a rejection that waited for the log was refused: %s", error.code)
                self._waiting.popleft()
            self._missed = 0

    def _find_stored(self) -> None:
        """Look for steps in the log of which it could not be seen before whether they are; the lock is held."""
        for one in list(self._waiting):
            if one.unsure is not None and self._durable(one.unsure):
                self._undo_from(one.unsure)
                self._waiting.remove(one)

    def _taken_back(self, record: Record) -> bool:
        ledger = self._agent._ledger
        citing = map(ledger.context.record, ledger.store.children(record.id, ("prior", "evidence", "any")))
        return any(one is not None and _takes_back(one, record) for one in citing)


def kept_state(store: Store, agent: Link, digest: bytes) -> Mapping[str, Any] | None:
    """Return the semantic state with this digest if the store keeps it for an agent, None otherwise."""
    if digest == START:
        return {}
    held = store.get_meta(content_key(agent))
    if held is None or hashlib.sha256(held).digest() != digest:
        return None
    state: Mapping[str, Any] = codec.decode(held)
    return state


def _takes_back(one: Record, record: Record) -> bool:
    return one.kind == "rejection" and one.body["stage"] == ANCHORING and one.owner == record.owner


def _taking_back(record: Record, content: bytes | None) -> Entry:
    """Return the rejection that says that a step on record did not take effect, and leads back to the state before."""
    reason = f"step {short(record.id)} is on record and was not anchored: it did not take effect"
    plain = {name: value for name, value in record.body.items() if name not in _NOT_SAID_AGAIN}
    body = plain | said(Finding(ANCHORING, "TSLG-N-UNANCHORED", reason))
    after = record.body.get("after")
    policy = record.preds["policy"][0].cid
    # A policy that was granted is cited together with the delegation that grants it.
    cites: dict[str, References] = {"delegation": [edge.cid for edge in record.edges("delegation")] or None}
    if after is None:
        return Entry("rejection", body, policy, cites | {"evidence": record.id})
    move = Move(record.body["before"], undoes=after, content=content)
    return Entry("rejection", body, policy, cites | {"prior": record.id}, move)


def _ended(error: TslgError) -> bool:
    """Tell whether what an entry rests on bears nothing any more, by what an append raised."""
    return error.code in _ENDED


_ENDED: Final = frozenset(("TSLG-A-SUPERSEDED", "TSLG-A-EXPIRED", "TSLG-U-WITHDRAWN"))
_NOT_SAID_AGAIN: Final = frozenset(("class", "before", "after", "parts", "rule", "narrowing"))


def _unrecorded(record: Record, why: str) -> Unrecorded:
    return Unrecorded(
        f"the step is on disk and not anchored, and so did not take effect: {why}",
        mend="submit it again once the log can be anchored",
        record=record.id,
    )
