"""The walker: bounded verification of delegated ancestry, pure and sans-I/O.

It asks for ids in batches (`wants`), is handed records (`supply`) or told why not (`cannot`, `broken`), asks for log
proofs (`wants_proofs`, `supply_proofs`), and ends with a report (`finish`). It does no I/O and trusts nothing it is
handed: every record must hash to the id that was asked for, break no admission rule, be sealed, and lie in one log with
the others of its agent. Normative text: docs/spec/verification.md.

    walker = Walker(target, federation, now_ms=..., depth=50)
    while ids := walker.wants():
        for id in ids: walker.supply(open_record(id, data, seal))     # or walker.cannot(id, "absent")
    walker.supply_proofs(inclusion, consistency)                        # for walker.wants_proofs()
    report = walker.finish()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import pairwise
from typing import Final

from tslg.protocol import freshness, logproof, signatures
from tslg.protocol.admission import SEAL_RULES, RuleBook, judge
from tslg.protocol.beside import UNSEALED, Beside
from tslg.protocol.chains import JOINT, rests_well
from tslg.protocol.codec import Link
from tslg.protocol.endings import dead, without_post_quantum
from tslg.protocol.errors import RecordError, Refusal
from tslg.protocol.flat import recover_all
from tslg.protocol.freshness import OutsideHead as OutsideHead
from tslg.protocol.keys import NO_REVOCATIONS, Key, Revocations
from tslg.protocol.logproof import LogCheck
from tslg.protocol.manifest import Manifest
from tslg.protocol.narrowings import withheld
from tslg.protocol.opening import Opened
from tslg.protocol.past import Past
from tslg.protocol.pruned import let_go
from tslg.protocol.record import Record
from tslg.protocol.report import (
    ForkNote,
    Freshness,
    Report,
    Undetermined,
    frontier,
    nearest,
    summaries,
    undisclosed,
)
from tslg.protocol.rules.log import rolled_back
from tslg.protocol.rules.seals import rule_amender, rule_key

_CLASSICAL: Final = ("TSLG-V-POST-QUANTUM", "no post-quantum signature stands beside the classical one")


class Walker(Beside):
    """Verifies the ancestry of one record, up to `depth` typed edges. Arguments as for `Gathering`."""

    def _prepare(self) -> None:
        self.complete = False
        self._manifests: dict[Link, Manifest | None] = {}
        self._unjudged: set[Link] = set()
        self._broken: Set[Link | None] = frozenset()
        self._weighed = False
        self._checks: dict[Link, LogCheck] | None = None
        # The context of the admission rules: looked up several times a record, so without a call in between.
        self.record: Callable[[Link], Record | None] = self._held.get
        self.manifest: Callable[[Link], Manifest | None] = self._manifests.get
        self.key: Callable[[Link], Key | None] = self.keys.get
        self._past: Past | None = None
        self.seal_of: Callable[[Link], bytes | None] = self._seals.get
        self._book = RuleBook(self)

    # --- the context of the admission rules --------------------------------------------------------------------------

    def ended(self, id: Link, record: Record) -> Record | None:
        """Return what ended an authority in a record's causal past, of all that the ancestry led to."""
        return self._known_past().ended(id, record)

    def answered(self, id: Link, record: Record) -> Record | None:
        """Return an earlier answer of a record's log to a delegation, of all that the ancestry led to."""
        return self._known_past().answered(id, record)

    def _known_past(self) -> Past:
        if self._past is None:
            # A newest record that a source claims is judged later and may not count, so it speaks against nothing.
            visited, support, whole = self._traversal.visited, self._support, self.log == "full"
            led_to = [one for id, one in self._held.items() if whole or id in visited or id in support]
            self._past = Past(led_to, self)
        return self._past

    def revocations(self, owner: Link) -> Revocations:
        """Revocations are applied along the logs once these are proved: see `_apply_revocations`."""
        return NO_REVOCATIONS

    def pruned(self, root: bytes) -> None:
        """A walk holds no record that is gone."""
        return

    def semantic(self, owner: Link) -> None:
        """A walk holds parts of logs."""
        return

    def stretch(self, owner: Link, first: int, last: int) -> None:
        """A walk holds parts of logs."""
        return

    def taken(self, record: Record) -> None:
        """A walk holds parts of logs."""
        return

    def tail(self, owner: Link) -> None:
        """Logs are checked by proofs; a walk holds no log's end."""
        return

    def attachment(self, id: Link) -> bytes | None:
        """Return what was handed in beside a record."""
        return self._attachments.get(id)

    def signature_holds(self, alg: int, public: bytes, message: bytes, signature: bytes) -> bool:
        """Verify one signature."""
        return signatures.verify(alg, public, message, signature)

    # --- the end -----------------------------------------------------------------------------------------------------

    def unchecked(self) -> list[Opened]:
        """Return the records with an author's signature that nobody verified yet, for workers; see `settle`.

        With `signatures="heads"` there are none: which few signatures count is known only when the logs are proved.
        """
        if self.signatures == "heads":
            return []
        held, seals = self._held, self._seals
        unknown = [id for id, sealed in self._sealed.items() if sealed is None]
        # A tuple made as one, which takes a third of the time of the call with its defaults.
        return [
            tuple.__new__(Opened, (record, seals[id], None, None))
            for id in unknown
            if (record := held[id])[8] is not None
        ]

    def settle(self, checked: Iterable[Opened]) -> None:
        """Take the outcomes of signature checks that were made elsewhere."""
        sealed = self._sealed
        decided = {id: sealed[id] for id in self._by_rule}
        for record, seal, holds, _ in checked:
            if holds is not None and record[0] in sealed and seal == self._seals[record[0]]:
                sealed[record[0]] = holds
        sealed.update(decided)

    def weigh(self) -> None:
        """Run the rules on everything that was handed in, and forget what was handed over unasked and breaks them.

        After it only proofs may be handed in, and what stands in for them: they are then asked for what counts.
        """
        if self._weighed:
            return
        self._weighed = True
        for id in sorted(self._pending):
            self.cannot(id, "absent")
        if recover_all(self._held, self._support, self.federation):
            self._groups = None
        broken = self._broken = self._judge_chains()
        self._past = None  # who may end what rests on manifests, all of which are known only now
        visited = self._traversal.visited
        self._judge_all([id for id in visited if id in self._held and id not in self._support], broken)
        if self.post_quantum:
            ancestry = [self._held[id] for id in visited if id in self._held]
            for id in without_post_quantum(ancestry, self._manifests, self.federation):
                self._findings.setdefault(id, _CLASSICAL)
        self._forget_revocations_that_do_not_count(broken)
        if self.log != "full":
            self._forget_heads_that_do_not_count(broken)
        self._forget_chains_that_do_not_count()
        beside = [id for id in self._held if id not in visited and id not in self._support]
        self._judge_all(beside, broken)

    def judge(self) -> Mapping[Link, LogCheck]:
        """Do as `weigh`, and check the proofs of logs; signatures can be verified meanwhile.

        Nothing may be handed in after it but the outcomes of `settle`. `finish` does it if nobody did.
        """
        if self._checks is None:
            self.weigh()
            self._checks = self._check_logs()
            if self._apply_revocations(self._checks):
                self._checks = self._check_logs()
        return self._checks

    def finish(self, outside: Iterable[OutsideHead] = ()) -> Report:
        """Judge everything that was handed in, hold it against heads known from elsewhere, and return the report."""
        self.expect(outside)
        checks = self.judge()
        self._check_seals(checks)
        forks, doubts = self._judge_forks()
        unproved = self._unproved(checks) + self._gaps() + self._withheld()
        fresh, tails = self._freshness(checks)
        self._say_what_was_pruned()
        self._forget_what_is_only_shown()
        return self._report(unproved + tails + doubts + self._expired(), fresh, forks)

    def seal_fits(self, id: Link, seal: bytes) -> bool:
        """Tell whether this seal of a record that is held would hold."""
        return judge(self._held[id], seal, self, SEAL_RULES) is None

    def _withheld(self) -> list[Undetermined]:
        return withheld(self._proving, self._held, self._attachments, self._findings)

    def _judge_chains(self) -> set[Link | None]:
        """Judge manifests oldest version first, then the geneses and registrations, which rest on them.

        Returns those that break a rule, cannot be had, or rest on one that does: nothing else can rest on them.
        """
        broken: set[Link | None] = {id for id in self._support if id in self._findings or id not in self._held}
        support = [self._held[id] for id in self._support if id in self._held]
        for record in sorted(support, key=lambda r: (r.owner != self.federation, r.seq, r.id)):
            if record.owner == self.federation and rests_well(record, broken):
                self._judge_manifest(record)
            else:
                self._judge_all([record.id], broken)
                if record.id not in self._findings:
                    self._holds(record.id)
            if record.id in self._findings or record.id in self._unjudged:
                broken.add(record.id)
        return broken

    def _forget_heads_that_do_not_count(self, broken: Set[Link | None]) -> None:
        """Forget newest records that do not hold, or whose key is not at hand: the ancestry does not rest on them."""
        for agent, (id, _) in list(self._ends.items()):
            if self._is_mere_head(agent, id) and not self._counts(id, broken):
                del self._ends[agent]
                self._forget(id)

    def _forget_chains_that_do_not_count(self) -> None:
        """What only a forgotten record, or one beside the ancestry, rests on says nothing about the ancestry either."""
        optional = self._aside if self.log == "full" else self._optional
        for id in [id for id in optional if id in self._findings or id in self._unjudged]:
            if id not in self._traversal.visited:
                self._forget(id)

    def _forget_revocations_that_do_not_count(self, broken: Set[Link | None]) -> None:
        """Forget what was handed over as a revocation and is none: whoever serves a walk may not spoil it.

        What it says may be nobody's word; but it may still fill a gap of its log, to which hashes are enough.
        """
        for id in self._given:
            if id not in self._traversal.visited and id not in self._support and not self._counts(id, broken):
                record = self._held[id]
                self._revocations[record.owner].pop(id)
                self._forget(id)
                self._witnesses[id] = record

    def _counts(self, id: Link, broken: Set[Link | None]) -> bool:
        """Whether a record that the ancestry does not rest on breaks no rule, its seal's included."""
        if id not in self._support:
            self._judge_all([id], broken)
        holds = id not in self._findings and id not in self._unjudged
        if holds and judge(self._held[id], self._seals[id], self, SEAL_RULES) is None:
            self._sealed[id] = True
            return True
        return False

    def _forget(self, id: Link) -> None:
        self._findings.pop(id, None)
        self._unjudged.discard(id)
        self._by_rule.discard(id)
        if self._held.pop(id, None) is not None:
            del self._seals[id], self._sealed[id]
            self._attachments.pop(id, None)
            self._groups = None

    def _apply_revocations(self, checks: Mapping[Link, LogCheck]) -> bool:
        """Go along each proved stretch of log: a revocation in it ends its key for what comes after.

        Returns whether a newest record was forgotten because its key was dead by then.
        """
        forgotten = False
        for agent in [agent for agent in self._revocations if agent in checks]:
            for segment in checks[agent].segments:
                held = [record for record in segment if record.id in self._held]
                for id, refusal in dead(held, self._ends_a_key):
                    if self.log != "full" and self._is_mere_head(agent, id):
                        del self._ends[agent]
                        self._forget(id)
                        forgotten = True
                    else:
                        self._findings.setdefault(id, (refusal.code, refusal.detail))
        return forgotten

    def _ends_a_key(self, revocation: Record) -> bool:
        return revocation.id not in self._findings and self._holds(revocation.id)

    def _is_mere_head(self, agent: Link, id: Link) -> bool:
        """Whether a record is there for being its log's newest alone."""
        end = self._ends.get(agent)
        if end is None or end[0] != id or id in self._traversal.visited:
            return False
        return id not in self._support or id in self._optional

    def _judge_manifest(self, record: Record) -> None:
        """Judge a record of the federation's log, seal included, since everything after rests on it."""
        id = record.id
        try:
            if id == self.federation:
                # The root manifest answers for itself: its own envelope and anchors apply to it.
                self._manifests[id] = Manifest.from_record(record)
            seal = self._seals[id]
            refusal = rule_amender(record, seal, self) or self._book.refusal(record, seal)
            refusal = refusal or judge(record, seal, self, SEAL_RULES)
            if refusal is not None:
                self._manifests.pop(id, None)
                raise refusal
            if record.kind == "manifest-amendment":
                self._manifests[id] = Manifest.from_record(record)
            self._sealed[id] = True
        except (RecordError, Refusal) as error:
            self._findings[id] = (error.code, error.detail)

    def _judge_all(self, ids: Iterable[Link], broken: Set[Link | None]) -> None:
        """Run the admission rules on these records, but for those whose own chain is broken, which says enough."""
        held, findings = self._held, self._findings
        judged = [held[id] for id in ids if id not in findings]
        if broken:
            self._unjudged.update(record.id for record in judged if not rests_well(record, broken))
            judged = [record for record in judged if rests_well(record, broken)]
        for record, refusal in self._book.refusals(judged, self._seals):
            findings[record.id] = (refusal.code, refusal.detail)

    def _check_logs(self) -> dict[Link, LogCheck]:
        if self.log == "none":
            return {}
        # One signature per log vouches for every id before it; the frontier's roots must hold as well.
        # Witnesses are not sealed, so among them every root is compared.
        stopped = self._stopped() if self.signatures == "heads" and not self._witnesses else None
        checks = {}
        for agent, records in self._by_agent().items():
            heads = self._heads_of(agent)
            compared = (
                None if stopped is None else stopped | freshness.compared(self._without_witnesses(records), heads)
            )
            check = self._check_log(agent, records, compared)
            for fault in check.faults:
                self._findings.setdefault(fault.record, (fault.code, fault.detail))
            self._check_versions(self._without_witnesses(records))
            checks[agent] = check
        return checks

    def _check_log(self, agent: Link, records: Sequence[Record], compared: Set[Link] | None) -> LogCheck:
        spans = self._consistency.get(agent, {})
        check = logproof.check(records, self._inclusion, spans, compared)
        sealed = self._without_witnesses(records)
        if len(sealed) < len(records) and (check.faults or check.unproved):
            # Witnesses are not sealed: what speaks against them may be the fault of whoever handed them over.
            alone = logproof.check(sealed, self._inclusion, spans, compared)
            if check.faults or len(alone.unproved) < len(check.unproved):
                return alone
        return check

    def _check_versions(self, records: Sequence[Record]) -> None:
        """No log goes back to an older manifest version."""
        if len({record.manifest for record in records}) == 1:
            return
        for before, record in pairwise(sorted(records, key=lambda record: record.seq)):
            refusal = rolled_back(before, record, self)
            if refusal is not None:
                self._findings.setdefault(record.id, (refusal.code, refusal.detail))

    def _stands(self, record: Record) -> bool:
        """Whether a record was sealed by its log's owner, under a key of its own, as far as chains are at hand."""
        known = record.manifest in self._manifests and (record.key is None or record.key in self.keys)
        if not known or not rests_well(record, self._broken) or rule_key(record, b"", self) is not None:
            return False
        if record.id in self._held:
            return self._holds(record.id)
        return judge(record, self._beside[record.id].seal, self, SEAL_RULES) is None

    def _breaks_no_rule(self, record: Record) -> bool:
        return self._book.refusal(record, b"") is None

    def _holds(self, id: Link) -> bool:
        """Whether a record's seal holds, which is found out if nobody did yet."""
        if id in self._unjudged:
            return False
        if self._sealed[id] is None:
            self._sealed[id] = judge(self._held[id], self._seals[id], self, SEAL_RULES) is None
        if not self._sealed[id]:
            self._findings.setdefault(id, UNSEALED)
        return bool(self._sealed[id])

    def _check_seals(self, checks: Mapping[Link, LogCheck]) -> None:
        """Verify the seals that nobody verified yet: all, or the newest per key of each proved stretch of log."""
        if self.signatures == "heads":
            chosen = [id for newest, _ in self._newest_per_key(checks) for id in newest.values()]
            chosen.extend([id for id, record in self._held.items() if record[8] is None or record[2] == JOINT])
            chosen.extend(self._by_rule)
        else:
            chosen = [id for id, sealed in self._sealed.items() if sealed is None]
        for id in chosen:
            if self._sealed[id] is None and id not in self._findings and id not in self._unjudged:
                refusal = judge(self._held[id], self._seals[id], self, SEAL_RULES)
                self._sealed[id] = refusal is None
        for id in [id for id, sealed in self._sealed.items() if sealed is False]:
            if id not in self._unjudged:
                self._findings.setdefault(id, UNSEALED)
        if self.signatures == "heads":
            self._trust_by_heads(checks)

    def _newest_per_key(
        self, checks: Mapping[Link, LogCheck]
    ) -> Iterator[tuple[dict[Link | None, Link], Sequence[Record]]]:
        """Yield, for each proved stretch of log, the newest record held of each key, and the stretch."""
        for check in checks.values():
            for segment in check.segments:
                yield {record[8]: record[0] for record in self._without_witnesses(segment)}, segment

    def _trust_by_heads(self, checks: Mapping[Link, LogCheck]) -> None:
        """What lies before a record whose seal holds, in the same proved stretch, is what its author signed."""
        sealed = self._sealed
        for newest, segment in self._newest_per_key(checks):
            holds = {key for key, id in newest.items() if sealed[id]}
            for record in segment:
                id = record[0]
                if record[8] in holds and sealed.get(id, False) is None:
                    sealed[id] = True
                    self._by_head.add(id)

    def _unproved(self, checks: Mapping[Link, LogCheck]) -> list[Undetermined]:
        reason = "unproved: no proof that it lies in one log with the agent's other records"
        return [Undetermined(id, reason) for check in checks.values() for id in check.unproved]

    def _gaps(self) -> list[Undetermined]:
        """Where whole logs were asked for, name the logs that have gaps."""
        gaps = []
        for agent, size in self.wants_logs().items():
            held = len(self._by_agent()[agent])
            if held < size:
                gone = let_go(self._held.values(), agent, self._findings)
                lacking = "withheld" if agent in self.kept_back else "absent"
                why = "pruned" if size - held <= gone else lacking
                gaps.append(Undetermined(agent, f"{why}: {size - held} of the {size} records of its log"))
        return gaps

    def _report(
        self, undetermined: list[Undetermined], freshness: list[Freshness], forks: tuple[ForkNote, ...]
    ) -> Report:
        traversal = self._traversal
        missing = [Undetermined(id, reason) for id, reason in sorted(self._unavailable.items())]
        if self.depth is None and (traversal.rest or self._stopped() - self.relied.keys()):
            missing.append(Undetermined(self.target, f"limit: more than {self.limits.walk_edges} edges"))
        held, broken, sealed = self._held, self._findings, self._sealed
        whole = [id for id in traversal.visited if id in held and id not in broken]
        verified = {id: held[id] for id in whole if sealed[id]}
        for id in self._unjudged & verified.keys():
            del verified[id]
        reason = "unproved: nothing that could be had vouches for its seal"
        unsealed = []
        if len(verified) < len(whole):
            shown = self.only_shown()
            unsealed = [Undetermined(id, reason) for id in whole if id not in verified and id not in shown]
        findings, left_out = nearest(self._findings, traversal, self.limits.report_steps)
        if left_out:
            missing.append(Undetermined(self.target, f"limit: {left_out} more findings"))
        return Report(
            target=self.target,
            federation=self.federation,
            depth=self.depth,
            signatures=self.signatures,
            log=self.log,
            edges=traversal.traversed,
            agents=summaries(held, verified),
            findings=findings,
            undetermined=tuple(sorted(set(missing + unsealed + undetermined))),
            frontier=frontier(self._stopped(), verified),
            freshness=tuple(freshness),
            forks=forks,
            records=verified,
            manifest=self._newest_manifest(),
            relied=tuple(self.relied[id] for id in sorted(self.relied) if id in verified),
            undisclosed=undisclosed(verified),
        )

    def _stopped(self) -> set[Link]:
        """Return the records some of whose edges the depth left out."""
        traversal = self._traversal
        stopped = {child for _, _, child, _ in traversal.rest}
        ends = (*traversal.level, *(id for id in self.relied if id in traversal.visited))
        stopped.update(id for id in ends if id in self._held and self._held[id].preds)
        return stopped
