"""What a walk gathers: what it wants next, what it was handed, and what it still needs of the logs. See `walker`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import chain, islice
from types import MappingProxyType
from typing import Final

from tslg.protocol import freshness, logproof
from tslg.protocol.chains import JOINT, rests_on
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError, UsageError
from tslg.protocol.forks import only_shown
from tslg.protocol.freshness import OutsideHead as OutsideHead
from tslg.protocol.keys import KEY_EVENTS, Key, key_of
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.logproof import Needs
from tslg.protocol.opening import Opened
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof, PrunedProof
from tslg.protocol.record import Record
from tslg.protocol.report import Reliance
from tslg.protocol.rules.context import MANIFEST_KINDS
from tslg.protocol.signatures import Alg
from tslg.protocol.traversal import PlainStep, Traversal, steps_of
from tslg.protocol.vouching import Claims

SIGNATURE_MODES: Final = ("all", "heads")
LOG_MODES: Final = ("visited", "full", "none")

_MOST_NOTES: Final = 16
"""So many times the checkpoints of one reply are looked at in a walk, which may ask several peers."""
_NOTED: Final = KEY_EVENTS | {"equivocation"}
"""Kinds whose records say something of keys or of other logs."""
_TELLING: Final = frozenset(("checkpoint", "narrowing"))
"""Fields that say something of another log, or that there are proofs beside the record."""
_NAMES_MORE: Final = MANIFEST_KINDS | {"revocation", JOINT}
"""Kinds that name more of a chain than manifest, key and agent."""


class Gathering:
    """The half of a walker that is fed; `Walker` adds the judgement.

    Args:
        target: the record to verify.
        federation: the root manifest's id, which the reader pins.
        now_ms: the reader's clock.
        depth: D, how many typed edges may be traversed in all; None for all there are.
        signatures: `all` checks every seal; `heads` one per agent and key, and ties the rest to it by hashing.
        log: `visited` proves that the visited records of each agent lie in one log, `full` wants the whole of each log,
            `none` proves nothing and the report says so.
        post_quantum: every agent's record in the ancestry must bear a post-quantum signature beside its classical one.
        known: records that an earlier walk verified, whose seals are not checked again.
        relied: by target, verifications that the reader relies on: the walk does not go behind their targets.
        limits: bounds on the work.
    """

    def __init__(
        self,
        target: Link,
        federation: Link,
        *,
        now_ms: int,
        depth: int | None = None,
        signatures: str = "all",
        log: str = "visited",
        post_quantum: bool = False,
        known: Mapping[Link, Record] | None = None,
        relied: Mapping[Link, Reliance] | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        if signatures not in SIGNATURE_MODES or log not in LOG_MODES:
            raise UsageError(f"signatures are checked {SIGNATURE_MODES}, logs {LOG_MODES}")
        if depth is not None and not 0 <= depth <= limits.walk_edges:
            raise UsageError(f"the depth is 0 to {limits.walk_edges} edges, or none")
        if signatures == "heads" and log == "none":
            raise UsageError("one signature per log says nothing without the logs", mend="use signatures=all")
        self.target = target
        self.federation = federation
        self.now_ms = now_ms
        self.depth = depth
        self.signatures = signatures
        self.log = log
        self.post_quantum = post_quantum
        self.limits = limits
        self._traversal = Traversal([target], depth if depth is not None else limits.walk_edges)
        self._held: dict[Link, Record] = {}
        self._seals: dict[Link, bytes] = {}
        self._attachments: dict[Link, bytes] = {}
        self._sealed: dict[Link, bool | None] = {}
        self.known: Mapping[Link, Record] = known if known is not None else {}
        self.relied: Mapping[Link, Reliance] = relied if relied is not None else {}
        self._findings: dict[Link, tuple[str, str]] = {}
        self._unavailable: dict[Link, str] = {}
        self._support: dict[Link, None] = {federation: None}
        self._supports: set[tuple[Link | None, ...]] = set()
        self._pending: set[Link] = {target, federation}
        self._inclusion: dict[Link, Sequence[bytes]] = {}
        self._consistency: dict[Link, dict[tuple[int, int], Sequence[bytes]]] = {}
        self._ends: dict[Link, tuple[Link, str]] = {}
        self.keys: dict[Link, Key] = {}
        self._groups: dict[Link, list[Record]] | None = None
        self._reach: dict[Link, int] | None = None
        self._witnesses: dict[Link, Record] = {}
        self._optional: set[Link] = set()
        self._aside: set[Link] = set()
        self._revocations: dict[Link, dict[Link, Record]] = {}
        self._given: set[Link] = set()
        self._by_rule: set[Link] = set()
        self._outside: dict[Link, list[OutsideHead]] = {}
        self._accusations: list[Record] = []
        self._beside: dict[Link, Opened] = {}
        self._in_log: set[Link] = set()
        self._excused: set[Link] = set()
        self._by_head: set[Link] = set()
        self.kept_back: set[Link] = set()
        """Agents of whose whole logs a source says that it withholds some of what it did not hand over."""
        self._claims = Claims(limits)
        self._pruned: dict[Link, PrunedProof] = {}
        self._notes: list[bytes] = []
        self._proving: set[Link] = set()
        self._prepare()

    def _prepare(self) -> None:
        """Set up what the judgement needs; nothing while one only gathers."""

    # --- being fed -------------------------------------------------------------------------------------------------

    def wants(self, at_hand: Mapping[Link, Opened] = MappingProxyType({})) -> list[Link]:
        """Return the ids needed next; empty when every record that the walk needs was given or refused.

        What is needed and `at_hand` is taken as by `supply`, and so is not among them.
        """
        pending, traversal = self._pending, self._traversal
        held, unavailable, findings = self._held, self._unavailable, self._findings
        while pending or not traversal.done:
            if not pending:
                found = traversal.expand_whole(held.get) if not self.relied else None
                found = traversal.expand(self._steps) if found is None else found
                pending.update([id for id in found if id not in held and id not in unavailable and id not in findings])
            wanted = sorted(pending)
            taken = [at_hand[id] for id in wanted if id in at_hand] if at_hand else []
            if wanted and not taken:
                return wanted
            self.supply_many(taken)
        return []

    def supply(self, opened: Opened) -> None:
        """Take one record that hashes to its id. Records that nobody asked for are dropped."""
        self.supply_many((opened,))

    def supply_many(self, opened: Iterable[Opened]) -> None:
        """Do as `supply` for many records, in one loop, since it runs for every record of a walk."""
        pending, held, seals, states, known = self._pending, self._held, self._seals, self._sealed, self.known
        supports, attachments = self._supports, self._attachments
        for record, seal, sealed, attachment in opened:
            id, kind = record[0], record[2]
            if id not in pending:
                continue
            pending.discard(id)
            self._groups = self._reach = None
            held[id] = record
            seals[id] = seal
            states[id] = True if id in known else sealed
            if attachment is not None:
                attachments[id] = attachment
            if kind in _NOTED or not _TELLING.isdisjoint(record[11]):
                self._note(record)
            support = (record[7], record[8], record[3])
            if support not in supports or kind in _NAMES_MORE:
                supports.add(support)
                self._want_support(record, optional=id in self._optional)

    def _note(self, record: Record) -> None:
        """Learn what a record says beyond its place in the graph."""
        if record.kind in KEY_EVENTS:
            self._note_key_event(record)
        elif record.kind == "equivocation":
            self._accusations.append(record)
        elif "narrowing" in record.body:
            self._proving.add(record.id)
        else:
            self._claims.cite(record.body["checkpoint"], record)

    def _note_key_event(self, record: Record) -> None:
        """Learn the key, or which one ends. Who must have sealed it depends on the manifest: a rule decides."""
        if record.id not in self.known:
            self._sealed[record.id] = None
            self._by_rule.add(record.id)
        key = key_of(record)
        if key is not None:
            self.keys[record.id] = key
        if record.kind == "revocation":
            self._revocations.setdefault(record.owner, {})[record.id] = record

    def _hold(self, opened: Opened) -> None:
        id = opened.record.id
        self._held[id] = opened.record
        self._seals[id] = opened.seal
        self._sealed[id] = opened.sealed
        if opened.attachment is not None:
            self._attachments[id] = opened.attachment
        if opened.record.kind in KEY_EVENTS:
            self._note_key_event(opened.record)
        elif "narrowing" in opened.record.body:
            self._proving.add(id)
        self._groups = None
        if self._reach is not None and opened.record.owner in self._reach:
            self._reach[opened.record.owner] = max(opened.record.seq, self._reach[opened.record.owner])

    def cannot(self, id: Link, reason: str) -> None:
        """Take note that a wanted record cannot be had: `absent`, `withheld`, `pruned`, `unreachable`, …"""
        if id in self._pending:
            self._pending.discard(id)
            if id not in self._optional:
                self._unavailable[id] = reason

    def broken(self, id: Link, error: TslgError) -> None:
        """Take note that what stands for a record is not it, or is no record at all, whether it is wanted or not."""
        self._pending.discard(id)
        if id not in self._held:
            self._findings[id] = (error.code, error.detail)

    def _want_support(self, record: Record, *, optional: bool = False) -> None:
        """Ask for the manifest and key chains, which are always verified and never counted.

        Those of a head that nobody needs are `optional`: without them, the head is forgotten, and nothing else.
        """
        fresh = [id for id in rests_on(record) if self._want_in_chain(id)]
        if optional:
            self._optional.update(fresh)
            if record.id in self._aside or record.id in self._beside:
                self._aside.update(fresh)

    def _want_in_chain(self, id: Link) -> bool:
        """Want a record of a chain; tell whether it was not wanted before."""
        if id in self._support:
            return False
        self._support[id] = None
        if len(self._support) <= self.limits.walk_edges:
            return self._want(id)
        if id not in self._held:
            self._unavailable.setdefault(id, f"limit: more than {self.limits.walk_edges} records in chains")
        return False

    def _want(self, id: Link) -> bool:
        if id in self._held or id in self._unavailable or id in self._findings or id in self._pending:
            return False
        self._pending.add(id)
        return True

    def _steps(self, id: Link) -> Iterable[PlainStep]:
        record = self._held.get(id)
        return () if record is None or id in self.relied else steps_of(record)

    # --- heads and log proofs --------------------------------------------------------------------------------------

    def supply_head(self, claim: HeadClaim, opened: Opened, source: str = "nobody") -> None:
        """Take the newest record of a visited log, as `source` claims it, so that order is proved up to it.

        Args:
            claim: which record is the newest; its root is not believed, it follows from the record.
            opened: that record.
            source: `log` (the log's own node, which holds all of it), `peer`, `witness`, or `nobody` for a file.
        """
        record = opened.record
        if record.id != claim.record or record.owner != claim.agent or record.seq + 1 != claim.size:
            return
        if record.id in self._findings:
            return
        held = self._ends.get(claim.agent)
        if held is not None and self._held[held[0]].seq >= record.seq:
            return
        if record.id not in self._held:
            self._hold(opened)
            if record.owner == self.federation and record.kind in MANIFEST_KINDS:
                self._support[record.id] = None
                self._optional.add(record.id)
            self._want_support(record, optional=True)
        self._ends[claim.agent] = (record.id, source)

    @property
    def remaining(self) -> int | None:
        """How many more edges the walk may traverse; None for all there are."""
        return None if self.depth is None else max(0, self.depth - self._traversal.traversed)

    def owner_of(self, id: Link) -> Link | None:
        """Return the agent in whose log a wanted record lies, as the edge that leads to it says."""
        step = self._traversal.visited.get(id)
        if step is None:
            return None
        _, _, child, agent = step
        citing = self._held.get(child)
        return agent if agent is not None or citing is None else citing.owner

    def met(self) -> list[Link]:
        """Return the agents whose records the walk visited, whose newest records are worth knowing."""
        return list(self._by_agent())

    def newest_seq(self, agent: Link) -> int:
        """Return the highest position in a log that was met at which the walk holds a record."""
        return max(record.seq for record in self._by_agent()[agent])

    def wants_logs(self) -> dict[Link, int]:
        """Return, by agent, up to which position its whole log is needed (`log="full"` alone)."""
        if self.log != "full":
            return {}
        visited = {self._held[id].owner for id in self._traversal.visited if id in self._held}
        return {
            agent: max(record.seq for record in records) + 1
            for agent, records in self._by_agent().items()
            if agent in visited
        }

    def expect(self, outside: Iterable[OutsideHead]) -> None:
        """Take heads that the reader knows from elsewhere, so that the log proofs asked for lead from them too."""
        for head in outside:
            known = self._outside.setdefault(head.agent, [])
            if head not in known:
                known.append(head)
                self._groups = None

    def supply_checkpoints(self, notes: Iterable[bytes]) -> None:
        """Take checkpoints of logs, from anybody: whether they are believed is judged when the walk ends."""
        room = _MOST_NOTES * self.limits.checkpoints - len(self._notes)
        self._notes.extend(islice(notes, max(0, room)))

    def _sift(self) -> None:
        """Sort the checkpoints that came by what the walk knows of keys by now."""
        if not self._notes:
            return
        keys: dict[Link, list[Key]] = {}
        for key in self.keys.values():
            if key.alg == Alg.ED25519:
                keys.setdefault(key.owner, []).append(key)
        for note in self._notes:
            self._claims.hand(note, keys)
        self._notes.clear()

    def _heads_of(self, agent: Link) -> list[OutsideHead]:
        """Return every head of a log that is known, or claimed, from elsewhere."""
        self._sift()
        return [*self._outside.get(agent, ()), *self._claims.heads(agent)]

    def supply_log(self, opened: Opened) -> None:
        """Take one record of a visited agent's log that the ancestry itself did not need."""
        record = opened.record
        if self._accusations and record.id in self._held:
            self._in_log.add(record.id)
            self._groups = None
        if record.id not in self._held and self.log == "full":
            self._hold(opened)

    def supply_revocation(self, opened: Opened) -> None:
        """Take a revocation in a log that was met, which the ancestry itself did not need.

        It counts if it is sealed and lies in one log with what was visited. Where whole logs are read it is among them;
        one behind everything that is held of its log ends no key that mattered.
        """
        record = opened.record
        if record.kind != "revocation" or self.log != "visited" or record.id in self._findings:
            return
        if record.id in self._held or record.seq > self._reaches().get(record.owner, -1):
            return
        if len(self._revocations.get(record.owner, ())) >= self.limits.revocations:
            return
        self._hold(opened)
        self._given.add(record.id)
        self._want_support(record, optional=True)

    def _reaches(self) -> dict[Link, int]:
        """Return the highest position held of each log that was met. Kept: strangers say how often it is asked."""
        if self._reach is None:
            self._reach = {agent: max(map(logproof.POSITION, log)) for agent, log in self._by_agent().items()}
        return self._reach

    def supply_witness(self, opened: Opened) -> None:
        """Take a record beyond the depth that the source has anyway: it can stand in for a log proof, and nothing else.

        What is visited later in the log commits to it by hash, so it needs no seal of its own.
        """
        record = opened.record
        if record.id not in self._held and record.id not in self._findings:
            self._witnesses[record.id] = record
            self._groups = None

    def supply_beside(self, opened: Opened) -> None:
        """Take a record that the ancestry does not need, but that says something of a log that was met.

        It may be one of two for one position, its author's confession of that, or a prune record. It is judged on its
        own, and counts only if its seal holds.
        """
        record = opened.record
        room = self.limits.rivals_per_log * (1 + len(self._by_agent()))
        if record.id in self._beside or len(self._beside) >= room:
            return
        self._beside[record.id] = opened
        self._want_support(record, optional=True)

    def supply_pruned(self, proofs: Iterable[PrunedProof]) -> None:
        """Take proofs that records which could not be had were pruned; the prune records come by `supply_beside`."""
        for proof in proofs:
            if proof.record in self._unavailable:
                self._pruned.setdefault(proof.record, proof)

    def only_shown(self) -> Set[Link]:
        """Return the visited records that are only shown as proof of equivocation: nothing rests on them."""
        if not self._accusations:
            return frozenset()
        return only_shown(self.target, self._accusations, self._held.get, self._traversal.visited)

    def wants_proofs(self) -> dict[Link, Needs]:
        """Return, by agent, the log proofs that are needed and not given yet."""
        if self.log == "none":
            return {}
        wanted = {}
        for agent, records in self._by_agent().items():
            # What stands in for proofs may be made up, unless it leaves no gap for them to close.
            sealed = self._without_witnesses(records)
            whole = len(sealed) < len(records) == 1 + max(map(logproof.POSITION, records))
            needed = self._needs(agent, records if whole else sealed)
            given = self._consistency.get(agent, {})
            lacking = Needs(
                tuple(id for id in needed.inclusion if id not in self._inclusion),
                tuple(span for span in needed.consistency if span not in given),
            )
            if lacking.inclusion or lacking.consistency:
                wanted[agent] = lacking
        return wanted

    def _needs(self, agent: Link, records: Sequence[Record]) -> Needs:
        """What ties the records together, and the heads known from elsewhere to them."""
        # A log held from its start without a gap, as nearly every small one is, needs no proof.
        whole = len(records) == 1 + max(map(logproof.POSITION, records))
        needed = Needs((), ()) if whole else logproof.needs(records)
        heads = self._heads_of(agent)
        if not heads:
            return needed
        spans = freshness.spans(self._without_witnesses(records), heads)
        return Needs(needed.inclusion, tuple(dict.fromkeys([*needed.consistency, *spans])))

    def supply_proofs(
        self, inclusion: Iterable[InclusionProof] = (), consistency: Iterable[ConsistencyProof] = ()
    ) -> None:
        """Take log proofs; they are checked when the walk ends, and ones that nobody asked for do no harm."""
        for proof in inclusion:
            self._inclusion.setdefault(proof.record, proof.proof)
        for link in consistency:
            self._consistency.setdefault(link.agent, {}).setdefault((link.old_size, link.size), link.proof)

    def _by_agent(self) -> dict[Link, list[Record]]:
        """Group what the walk holds by log, leaving out agents' logs of which only the chain was needed.

        The federation's log is there as soon as more of it than the root manifest is held, or known from elsewhere.
        """
        if self._groups is not None:
            return self._groups
        held, visited = self._held, self._traversal.visited
        owners = {held[id][12] for id in visited if id in held}
        if self.federation in held and (self.federation in self._outside or self._federation_grew()):
            owners.add(self.federation)
        logs: dict[Link, list[Record]] = {owner: [] for owner in sorted(owners)}
        shown = self.only_shown() - self._in_log
        for record in chain(held.values(), self._witnesses.values()):
            log = logs.get(record[12])
            if log is not None and (not shown or record[0] not in shown):
                log.append(record)
        self._groups = {owner: self._one_a_place(log) for owner, log in logs.items() if log}
        return self._groups

    def _one_a_place(self, log: Sequence[Record]) -> list[Record]:
        """Return one record for each position: of two, the same whichever came first; the fork is a finding."""
        places = {record[4]: record for record in log}
        if len(places) < len(log):
            places.clear()
            for record in log:
                other = places.setdefault(record[4], record)
                if other is not record and record[0] < other[0] and record[0] in self._held:
                    places[record[4]] = record
        return list(places.values())

    def _federation_grew(self) -> bool:
        """Whether more of the federation's log is held than its root manifest."""
        root, held = self.federation, self._held
        end = self._ends.get(root)
        return (end is not None and end[0] != root) or any(
            id != root and id in held and held[id].owner == root for id in self._support
        )

    def _without_witnesses(self, records: Sequence[Record]) -> Sequence[Record]:
        return [record for record in records if record.id in self._held] if self._witnesses else records
