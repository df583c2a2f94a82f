"""The tenant's side: what engines hand in, by whichever way, is judged, stored and taken up here and nowhere else.

A submission is a stretch of the engine's own log, in a bundle. Whoever brings it counts for nothing: what counts is in
whose log it lies, whose key sealed it, and whether an agent of this node admits that engine.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from tslg.node.admitting import cites
from tslg.node.adopting import keep
from tslg.node.agent import BlockingAgent
from tslg.node.engines import taking
from tslg.node.engines.admission import Admission, Terms, admissions
from tslg.node.engines.metering import Meter
from tslg.node.home import Home
from tslg.node.replication.opening import Opener
from tslg.node.sources import BundleSource
from tslg.node.verifying import walk
from tslg.protocol import bundle as bundles
from tslg.protocol.bundle import Bundle
from tslg.protocol.cid import short, to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import BundleError, SubmissionError, TslgError
from tslg.protocol.keys import KEY_KINDS
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.opening import Opened, disclosed
from tslg.protocol.pushing import Submitted
from tslg.protocol.record import Record, parse_as
from tslg.protocol.recording import BINDINGS, STEPS
from tslg.protocol.report import VALID

BATCH: Final = 256
"""Records of a replicated log that are looked at in one go."""
TAKEN_TOGETHER: Final = 128
"""Steps that one observation takes up."""


class Intake:
    """Takes submissions for the agents of one data directory. Safe to use from several threads.

    Args:
        home: the open data directory.
        limits: bounds on submissions.
    """

    def __init__(self, home: Home, limits: Limits = DEFAULT) -> None:
        self._home = home
        self._limits = limits
        self._opener = Opener(home.federation, home.ledger.context)
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(limits.submissions_waiting)
        self._records = Meter[Link](limits.submitters)
        self._refused = Meter[str](limits.submitters)
        self._known: tuple[list[tuple[Link, list[Link]]], list[Admission]] | None = None

    def submit(self, data: bytes, source: str) -> Submitted:
        """Judge a submission, store what holds, and take up its steps; all is durable when this returns.

        The same submission again makes no second record. What goes on behind what is held is not stored: the receipt
        says where to go on.

        Args:
            data: a bundle with a stretch of an engine's log, as `submission.write` makes it.
            source: the peer that brings it, whose refusals are counted; empty where the way that it came tells nothing.

        Raises:
            SubmissionError: why not; of a stretch whose later records are refused, the earlier ones are stored.
            StoreError: nothing was stored.
        """
        now, limits = self._home.clock(), self._limits
        with self._lock:
            spent = bool(source) and self._refused.left(source, limits.submission_refusals, now) <= 0
        if spent:
            raise SubmissionError("too many of these were refused", code="TSLG-E-RATE", mend="come again in a minute")
        if not self._places.acquire(blocking=False):
            raise SubmissionError("too many are being judged", code="TSLG-E-BUSY", mend="come again in a moment")
        try:
            with self._lock:
                try:
                    return self._take(data, now)
                except SubmissionError:
                    if source:
                        self._refused.spend(source, 1, limits.submission_refusals, now)
                    raise
        finally:
            self._places.release()

    def admitted(self) -> list[tuple[Admission, str]]:
        """Return the engines that agents of this node admit, each with why not any more."""
        home, now = self._home, self._home.clock()
        context = home.ledger.context
        # A node's agents delegate now and then, and are asked for it with every submission, which their logs grow by.
        tenants = [agent.id for agent in home.agents]
        newest = [(tenant, home.store.by_kind("delegation", tenant, limit=1)) for tenant in tenants]
        if self._known is None or self._known[0] != newest:
            self._known = newest, list(admissions(home.store, context, tenants))
        return [(one, one.ended(context, now)) for one in self._known[1]]

    def take_up(self, engine: Link, steps: Iterable[Record]) -> tuple[list[Link], list[Link]]:
        """Take up steps of an engine that are held, each once; return those that are, and the records that do it.

        Steps that are not on the terms are left out.
        """
        by_tenant: dict[Link, list[Record]] = {}
        current = {one.delegation.id: one for one, ended in self.admitted() if one.engine == engine and not ended}
        for step in steps:
            for edge in step.edges("delegation"):
                if edge.cid in current and self._misfit(step, current[edge.cid].terms) is None:
                    by_tenant.setdefault(edge.cid, []).append(step)
        done: list[Link] = []
        taken: dict[Link, None] = {}
        context = self._home.ledger.context
        for id, cited in by_tenant.items():
            admission = current[id]
            fresh = []
            for step in cited:
                known = taking.taken_by(self._home.store, context, step.id, admission.tenant)
                done.append(step.id)
                if known is None:
                    fresh.append(step)
                else:
                    taken[known] = None
            for at in range(0, len(fresh), TAKEN_TOGETHER):
                taken[self._observe(admission, fresh[at : at + TAKEN_TOGETHER]).id] = None
        return done, list(taken)

    def take_up_held(self, engine: Link) -> list[Link]:
        """Take up what is held of an engine's log in another way, by replication; return the records that do it."""
        with self._lock:
            store, name = self._home.store, f"engine/{to_text(engine)}"
            state = store.log_state(engine)
            start = int.from_bytes(store.get_meta(name) or b"", "big")
            taken: list[Link] = []
            while state is not None and start < state.size and not store.forks(engine):
                stop = min(state.size, start + BATCH)
                rows = store.log_range(engine, start, stop)
                records = [disclosed(id, entry) for id, entry in rows]
                taken += self.take_up(engine, [one for one in records if one.kind in STEPS])[1]
                start = stop
                store.set_meta(name, start.to_bytes(8, "big"))
            return taken

    # --- one submission ----------------------------------------------------------------------------------------------

    def _take(self, data: bytes, now: int) -> Submitted:
        home = self._home
        bundle = self._read(data)
        engine = self._whose(bundle)
        current = self._current(engine, now)
        opened = self._open(bundle)
        forks = home.store.forks(engine)
        if forks:
            raise SubmissionError(
                f"its log is forked at position {forks[0].seq}",
                code="TSLG-E-FORKED",
                record=engine,
                mend="admit another",
            )
        state = home.store.log_state(engine)
        held = 0 if state is None else state.size
        if opened[0].record.seq > held:
            return Submitted(engine, held, 0)
        fresh = [one for one in opened if one.record.seq >= held]
        if fresh:
            fresh = fresh[: self._room(current, engine, held, now)]
            opened = opened[: fresh[-1].record.seq + 1 - opened[0].record.seq]
        self._on_terms(current, fresh, opened)
        count, why = self._admit(engine, opened, bundle)
        size = max(held, opened[0].record.seq + count)
        self._records.spend(engine, size - held, max(one.terms.per_minute for one in current), now)
        done, taken = self.take_up(engine, [one.record for one in opened[:count] if one.record.kind in STEPS])
        if count < len(opened):
            stopped = opened[count].record
            raise SubmissionError(
                f"position {stopped.seq}: {why}",
                code="TSLG-E-REFUSED",
                mend=f"what stands before it was taken; go on from {size}",
                record=stopped.id,
            )
        return Submitted(engine, size, size - held, tuple(done), tuple(taken))

    def _read(self, data: bytes) -> Bundle:
        if len(data) > self._limits.submission_bytes:
            raise _wrong(f"{len(data)} bytes, the limit is {self._limits.submission_bytes}", "submit less at a time")
        try:
            bundle = bundles.read(io.BytesIO(data))
        except BundleError as error:
            raise _wrong(f"no bundle: {error.detail}", "have it written by `tslg engine export`") from error
        if bundle.federation != self._home.federation:
            raise _wrong("it is of another federation", "engines are agents of the tenant's federation")
        if bundle.broken or not all(id in bundle.records for id in bundle.targets):
            raise _wrong("records are missing or are not what their ids say", "have it written anew")
        return bundle

    def _whose(self, bundle: Bundle) -> Link:
        """Return in whose log a bundle's first target claims to lie, before anything else is looked at."""
        id = bundle.targets[0]
        try:
            return parse_as(id, bundle.records[id][0]).owner
        except TslgError as error:
            raise _wrong(f"no record: {error.detail}", "have it written anew") from error

    def _open(self, bundle: Bundle) -> list[Opened]:
        """Return the stretch of a log that a bundle's targets are."""
        pairs = [
            (*bundle.records[id], bundle.attachments[id]) if id in bundle.attachments else bundle.records[id]
            for id in bundle.targets
        ]
        part = self._opener.open(pairs)
        opened = part.opened
        if part.fault is not None or not opened:
            raise _wrong(f"record {len(opened)} of the stretch: {part.fault}", "only what its author sealed is taken")
        first = opened[0].record
        for place, one in enumerate(opened):
            if (one.record.owner, one.record.seq) != (first.owner, first.seq + place):
                raise _wrong("it is no stretch of one log", "submit neighbours, in their order")
        return opened

    def _current(self, engine: Link, now: int) -> list[Admission]:
        """Return the admissions of an engine that are in force. Raises SubmissionError."""
        found = [(one, ended) for one, ended in self.admitted() if one.engine == engine]
        current = [one for one, ended in found if not ended]
        if not found:
            raise SubmissionError(
                f"no agent here admits {short(engine)}",
                code="TSLG-E-UNKNOWN",
                mend="`tslg engine admit` it",
                record=engine,
            )
        if not current:
            raise SubmissionError(
                f"{short(engine)}: {found[0][1]}", code="TSLG-E-ENDED", mend="admit it anew", record=engine
            )
        return current

    def _room(self, current: Sequence[Admission], engine: Link, held: int, now: int) -> int:
        """Return how many new records the terms let in now. Raises SubmissionError if that is none."""
        most = max(one.terms.records for one in current)
        size = max(one.terms.per_minute for one in current)
        if held >= most:
            raise SubmissionError(
                f"{held} records of that engine are held, as many as its terms let in",
                code="TSLG-E-RATE",
                mend="admit it on other terms",
                record=engine,
            )
        left = self._records.left(engine, size, now)
        if left <= 0:
            raise SubmissionError(
                f"{size} records of that engine came within a minute, and {held} are held",
                code="TSLG-E-RATE",
                mend=f"go on from {held} in a while",
                record=engine,
            )
        return min(left, most - held)

    def _on_terms(self, current: Sequence[Admission], fresh: Sequence[Opened], opened: Sequence[Opened]) -> None:
        """Raise SubmissionError if a step cites an admission and is not what that takes."""
        by_id = {one.delegation.id: one.terms for one in current}
        keys = {one.record.id: one.record for one in opened if one.record.kind in KEY_KINDS}
        for record in (one.record for one in fresh if one.record.kind in STEPS):
            key = keys.get(record.key) if record.key is not None else None
            for edge in record.edges("delegation"):
                wrong = self._misfit(record, by_id[edge.cid], key) if edge.cid in by_id else None
                if wrong is not None:
                    raise wrong

    def _misfit(self, record: Record, terms: Terms, key: Record | None = None) -> SubmissionError | None:
        """Return why a step is not on the terms; `key` registers its key, where that is not held yet."""
        if record.kind not in terms.kinds:
            return SubmissionError(
                f"a step of the kind {record.kind}, admitted are {', '.join(terms.kinds)}",
                code="TSLG-E-KIND",
                mend="ask to be admitted on other terms",
                record=record.id,
            )
        held = key if key is not None or record.key is None else self._home.ledger.context.record(record.key)
        binding = BINDINGS[0] if held is None else held.body.get("binding", BINDINGS[0])
        if BINDINGS.index(binding) >= BINDINGS.index(terms.binding):
            return None
        return SubmissionError(
            f"its key is bound to {binding}, and {terms.binding} is asked for",
            code="TSLG-E-BINDING",
            mend=f"rotate to a key that is bound to {terms.binding}, with its evidence",
            record=record.id,
        )

    def _admit(self, engine: Link, opened: list[Opened], bundle: Bundle) -> tuple[int, str]:
        """Admit a stretch, what it cites of others first; return how many of its records are held, and why no more.

        Raises:
            SubmissionError: `TSLG-E-FORKED`: the engine sealed two records for one place.
        """
        ledger = self._home.ledger
        outcome = ledger.admit_runs([opened])[0]
        if outcome.lacking and outcome.refusal is None:
            self._take_in_cited(opened[outcome.admitted :], bundle)
            outcome = ledger.admit_runs([opened])[0]
        if outcome.refusal is None:
            cited = short(outcome.lacking[0].id) if outcome.lacking else ""
            return outcome.admitted, f"it cites {cited}, which is neither held here nor valid in the bundle"
        one = opened[outcome.admitted]
        if ledger.show(one.record, one.seal):
            raise SubmissionError(
                f"it sealed another record at position {one.record.seq}: both are kept as proof",
                code="TSLG-E-FORKED",
                mend="admit another",
                record=engine,
            )
        return outcome.admitted, f"{outcome.refusal.code}: {outcome.refusal.detail}"

    def _take_in_cited(self, opened: Sequence[Opened], bundle: Bundle) -> None:
        """Store what these records cite of other logs, as far as it is valid in the bundle and not held."""
        home, source = self._home, BundleSource(bundle)
        # The newest first, with which most of what the others cite comes too.
        cited = dict.fromkeys(id for one in reversed(opened) for id, _ in cites(one.record, home.federation))
        known: dict[Link, Record] = {}
        for id in home.store.missing(one for one in cited if one in bundle.records):
            if not home.store.has(id):
                walked = walk(source, id, home.federation, now_ms=home.clock(), known=known)
                keep(home.ledger, walked, source="nobody", now_ms=home.clock())
                if walked.report.verdict == VALID:
                    known.update(walked.report.records)

    # --- taking up ---------------------------------------------------------------------------------------------------

    def _observe(self, admission: Admission, steps: Sequence[Record]) -> Record:
        """Record that steps were taken up, and by whose word it is known whose they are."""
        # Their log is held whole, each record of it admitted with all that it rests on.
        self._home.store.set_all_verified([step.id for step in steps], None)
        said = taking.said_of(self._home.ledger.context, admission, steps)
        return self._agent(admission.tenant).observe(taking.SOURCE, said, evidence=[step.id for step in steps])

    def _agent(self, id: Link) -> BlockingAgent:
        return next(agent for agent in self._home.agents if agent.id == id)


def _wrong(detail: str, mend: str) -> SubmissionError:
    return SubmissionError(detail, mend=mend)
