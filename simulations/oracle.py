"""What a run knows that none of its members does: who made what as it may, and what must never be broken.

Every invariant is checked as things happen. The first that does not hold ends the run with `Broken`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from tslg.node.challenging import answer, check
from tslg.node.sources import StoreSource
from tslg.node.verifying import Walked, verify
from tslg.protocol import challenge
from tslg.protocol.cid import Link, short
from tslg.protocol.errors import TslgError
from tslg.protocol.log import root as tree_root
from tslg.protocol.record import Record
from tslg.protocol.report import INVALID, UNDETERMINED, VALID, Report
from tslg.simulations.engine import SECOND
from tslg.simulations.readings import Readings

if TYPE_CHECKING:
    from tslg.simulations.gossip import Gossip
    from tslg.simulations.machine import Machine
    from tslg.simulations.member import Member
    from tslg.simulations.reading import Reading
    from tslg.simulations.world import World

INVARIANTS: Final = {
    "acceptance": "no honest reader accepts an altered, forged or unauthorised record",
    "durability": "no acknowledged record disappears",
    "agreement": "honest readers that hold the same records give the same verdict",
    "monotony": "bounded verdicts never contradict deeper ones, except as their disclosure allows",
    "completeness": "a valid verdict rests on every record that it claims to have verified",
    "forks": "forks are detected within the stated bound once two honest nodes hold both sides",
    "pruning": "pruned claims stay decidable",
    "threshold": "what too few anchors signed is never in force",
    "witnesses": "no reader believes what fewer honest witnesses cosigned than it takes, and liars are found",
    "inheritance": "what readers say that an artifact inherits follows from what was truly said of its ancestry",
    "soundness": "no honest reader finds invalid what was made as it may be",
}
"""What every run holds to, by name."""
DEPTHS: Final = (0, 1, 3, 8)
"""Depths at which some verdicts are held against the unbounded one."""
_CHECK: Final = 3
"""Tag of the oracle's own events."""


class _Sentence(NamedTuple):
    """Why nobody may accept a record, which invariant that would break, and what one must have seen to know.

    `by_holding` tells whether it is enough to hold that, or whether it must lie in the ancestry that was verified.
    """

    why: str
    invariant: str
    behind: tuple[Link, ...]
    by_holding: bool


_UNKNOWN: Final = _Sentence("", "acceptance", (), False)


class Broken(Exception):
    """An invariant that does not hold: its name, when (µs), who, and the shortest explanation."""

    def __init__(self, invariant: str, time: int, who: str, explanation: str) -> None:
        super().__init__(f"{invariant}: {explanation}")
        self.invariant, self.time, self.who, self.explanation = invariant, time, who, explanation


class Oracle:
    """The judge of one run.

    Args:
        world: the run.
        fork_bound: within how long (µs) a fork is to be found.
        every: of how many verdicts one is held against those at other depths.
    """

    def __init__(self, world: World, fork_bound: int, every: int = 4) -> None:
        self._world = world
        self._bound = fork_bound
        self._every = every
        self.counts: Counter[str] = Counter()
        self.given_up: Counter[str] = Counter()
        self._truth: dict[Link, bytes] = {}
        self._condemned: dict[Link, _Sentence] = {}
        self._verdicts: dict[bytes, tuple[str, str]] = {}
        self._sides: dict[Link, dict[tuple[int, bytes], int]] = {}
        self._holders: dict[Link, dict[int, list[int]]] = {}
        self._watched: set[Link] = set()
        self._knowing: dict[Link, set[int]] = {}
        self.detections: list[tuple[Link, int]] = []
        """Which fork was found, and how long (µs) after two honest nodes held both sides."""
        self._held_since: dict[Link, int] = {}
        self.readings = Readings()

    def broken(self, invariant: str, who: str, explanation: str) -> Broken:
        """Return the end of the run."""
        return Broken(invariant, self._world.loop.now, who, explanation)

    # --- what is true ------------------------------------------------------------------------------------------------

    def true(self, record: Record, seal: bytes) -> None:
        """Take note of a record that its author made as it may."""
        self._truth[record.id] = seal
        self._world.pedigrees.note(record)
        self.readings.made(record)

    def condemn(
        self,
        record: Record,
        why: str,
        invariant: str = "acceptance",
        behind: Sequence[Link] = (),
        *,
        by_holding: bool = False,
    ) -> None:
        """Take note of a record that nobody honest may store, nor find valid who has seen what is `behind` it."""
        self._condemned[record.id] = _Sentence(why, invariant, tuple(behind), by_holding)
        self.readings.made(record, why, self._world.loop.now)

    def made(self, member: Machine, record: Record) -> None:
        """Take note that a record was acknowledged to its author."""
        self.counts["records"] += 1
        self._world.loop.log.say(record.id)

    def gave_up(self, member: Member, error: TslgError) -> None:
        """Count what a procedure ended with."""
        self.given_up[error.code] += 1

    # --- acceptance --------------------------------------------------------------------------------------------------

    def admitted(self, member: Machine, record: Record, seal: bytes) -> None:
        """Hold what an honest node stores against what is true."""
        id = record.id
        if record.owner == member.id:
            if id not in self._truth:
                self.true(record, seal)
            return
        if self._truth.get(id) == seal and id not in self._condemned:
            return
        why, invariant, behind, by_holding = self._condemned.get(id, _UNKNOWN)
        if behind and not (by_holding and all(map(member.disk.has, behind))):
            # A bounded walk may keep it: what it lacks lies beyond the bound, and its edges say so.
            return
        if not why:
            why = "nobody made it" if id not in self._truth else "its seal is not its author's"
        raise self.broken(invariant, member.name, f"{member.name} stored {record.kind} {short(id)}: {why}")

    def judged(self, member: Member, walked: Walked, reading: Reading) -> None:
        """Hold the verdict of an audit by an honest node against what is true, and against other verdicts."""
        if not member.honest:
            return
        report = walked.report
        self.counts["audits"] += 1
        self.counts[f"audits {report.verdict}"] += 1
        self._world.testimony.read(member, walked)
        self.readings.read(report, reading.requests, reading.bytes, self._world.loop.now)
        self._world.loop.log.say(report.verdict.encode() + report.target)
        if report.verdict == VALID:
            self._check_accepted(member, walked)
        if report.verdict != UNDETERMINED:
            self._check_agreement(member, walked)
        if report.verdict == INVALID:
            self._check_sound(member, walked, reading)
        if self.counts["audits"] % self._every == 0:
            self._check_depths(member, report)

    def _check_accepted(self, member: Member, walked: Walked) -> None:
        report = walked.report
        for id in report.records:
            sentence = self._condemned.get(id)
            if sentence is not None:
                why, invariant, behind, by_holding = sentence
                seen = {one.id for one in walked.walker.held()} if by_holding else report.records
                if any(one not in seen for one in behind):
                    self.counts["accepted within the bound"] += 1
                    continue
                text = f"{member.name} found {short(report.target)} valid with {short(id)}: {why}"
                raise self.broken(invariant, member.name, text)
        if report.target not in report.records:
            text = f"{member.name} found {short(report.target)} valid without having verified it"
            raise self.broken("completeness", member.name, text)
        if report.depth is None:
            cited = {edge.cid for record in report.records.values() for edge in record.edges()}
            for id in sorted(cited - report.records.keys()):
                text = f"{member.name} found {short(report.target)} valid without {short(id)}, which it rests on"
                raise self.broken("completeness", member.name, text)

    def _check_sound(self, member: Member, walked: Walked, reading: Reading) -> None:
        """A record of honest authors that rests on such records alone breaks no rule."""
        report = walked.report
        honest = self._honest()
        findings = [one for one in report.findings if one.record in self._truth and one.record not in self._condemned]
        if len(findings) < len(report.findings) or any(note.agent not in honest for note in report.forks):
            return
        if any(one.seal != self._truth.get(id, one.seal) for id, one in reading.pool.opened.items()):
            # Whoever handed it over spoiled the seal, and nobody else had one that holds.
            self.counts["audits of spoiled seals"] += 1
            return
        owners = {record.owner for record in walked.walker.held()}
        if owners <= honest and not owners & self._sides.keys():
            first = report.findings[0]
            text = f"{member.name} finds {short(report.target)} invalid: {short(first.record)} {first.code}"
            raise self.broken("soundness", member.name, f"{text}, which was made as it may be")

    def _honest(self) -> set[Link]:
        return {self._world.federation, *(member.id for member in self._world.members if member.honest)}

    def at_the_end(self) -> None:
        """Look at what can only be told when a run is over: all that was acknowledged is still there."""
        for member in self._world.members:
            if member.honest and member.up:
                self.restarted(member)

    def _check_agreement(self, member: Member, walked: Walked) -> None:
        report, hashed = walked.report, hashlib.sha256()
        for part in (report.target, str(report.depth).encode(), report.signatures.encode(), report.log.encode()):
            hashed.update(part)
        for one in sorted(walked.walker.opened(), key=lambda one: one.record.id):
            hashed.update(one.record.id + one.seal)
        for record in sorted(walked.walker.held(), key=lambda one: one.id):
            hashed.update(record.id)
        for signed in walked.walker.cosigned():
            hashed.update(signed.checkpoint.text.encode())
        said = self._verdicts.setdefault(hashed.digest(), (report.verdict, member.name))
        if said[0] != report.verdict:
            text = f"{short(report.target)} is {said[0]} for {said[1]} and {report.verdict} for {member.name}"
            raise self.broken("agreement", member.name, f"{text}, who hold the same records")

    def _check_depths(self, member: Member, full: Report) -> None:
        """Read again from the member's own store at several depths: none may contradict a deeper one."""
        if not member.disk.has(full.target):
            return
        source, now = StoreSource(member.disk), member.clock()
        reports = [verify(source, full.target, full.federation, now_ms=now, depth=depth) for depth in (*DEPTHS, None)]
        deepest = reports[-1]
        wrong = {finding.record for finding in deepest.findings}
        for report in reports[:-1]:
            self.counts["verdicts compared"] += 1
            if report.verdict == INVALID and deepest.verdict == VALID:
                code = report.findings[0].code
                text = f"{short(full.target)} is invalid at depth {report.depth} ({code}) and valid behind it"
                raise self.broken("monotony", member.name, text)
            both = sorted(id for id in wrong & report.records.keys() if self._could_know(id, report))
            if report.verdict == VALID and both:
                text = f"{short(both[0])} is verified at depth {report.depth} and breaks a rule at a deeper one"
                raise self.broken("monotony", member.name, text)

    def _could_know(self, id: Link, report: Report) -> bool:
        """Tell whether what shows that a record is wrong lies before the report's frontier."""
        return all(one in report.records for one in self._condemned.get(id, _UNKNOWN).behind)

    # --- durability --------------------------------------------------------------------------------------------------

    def restarted(self, member: Machine) -> None:
        """Look whether all that was acknowledged survived."""
        gone = member.disk.pruned_by(member.acknowledged)
        for id in member.acknowledged:
            if not member.disk.has(id) and id not in gone:
                text = f"{member.name} acknowledged {short(id)}, which is gone after a crash"
                raise self.broken("durability", member.name, text)

    # --- forks -------------------------------------------------------------------------------------------------------

    def forked(self, agent: Link, heads: dict[tuple[int, bytes], int]) -> None:
        """Take note of an agent's two histories: by (size, root) of their heads, on which side each lies."""
        self._sides.setdefault(agent, {}).update(heads)

    def side(self, agent: Link, state: tuple[int, bytes]) -> int | None:
        """Return on which side of a log that has two histories a head lies, None if it has one or that is not known."""
        return self._sides.get(agent, {}).get(state)

    def usurped(self, record: Record, seal: bytes) -> None:
        """Take note that anchors enough amended the manifest in secret: the federation itself has two histories."""
        self.true(record, seal)
        self._sides.setdefault(self._world.federation, {})

    def stolen(self, victim: Member, heads: dict[tuple[int, bytes], int]) -> None:
        """Take note that a thief writes another history with a member's key; the true one is its log as it grows."""
        self.counts["keys stolen"] += 1
        leaves = victim.disk.log_state(victim.id)
        assert leaves is not None
        ids = victim.disk.leaves(victim.id, leaves.size)
        cut = min(size for size, _ in heads) - 3
        true = {(size, tree_root(ids[:size])): 0 for size in range(max(1, cut + 1), leaves.size + 1)}
        self._sides[victim.id] = true | heads

    def heard(self, member: Gossip, agent: Link) -> None:
        """Take note of which signed heads an honest node holds of a log that has two histories."""
        sides = self._sides.get(agent)
        if sides is None:
            return
        log = member.heads.logs.get(agent)
        if log is None or not member.honest:
            return
        holders = self._holders.setdefault(agent, {})
        for head in log.heads:
            side = sides.get((head.size, head.root))
            members = [] if side is None else holders.setdefault(side, [])
            if member.index not in members:
                members.append(member.index)
        if len(holders) > 1 and agent not in self._watched:
            self._watched.add(agent)
            loop = self._world.loop
            self._held_since[agent] = loop.now
            if self._knowing.get(agent):
                self._found(agent)
            loop.after(self._bound, _CHECK, 0, self._check_fork, agent)

    def fork_known(self, member: Machine, agent: Link) -> None:
        """Take note that a node has proof that a log is forked."""
        if not member.honest:
            return
        if agent not in self._sides:
            text = f"{member.name} convicts {short(agent)}, which has one history"
            raise self.broken("acceptance", member.name, text)
        first = not self._knowing.get(agent)
        self._knowing.setdefault(agent, set()).add(member.index)
        if first and agent in self._held_since:
            self._found(agent)

    def _found(self, agent: Link) -> None:
        self.counts["forks found"] += 1
        self.detections.append((agent, self._world.loop.now - self._held_since[agent]))

    def _check_fork(self, agent: Link) -> None:
        if self._knowing.get(agent):
            return
        net, loop = self._world.net, self._world.loop
        sides = list(self._holders[agent].values())
        pairs = [(a, b) for a in sides[0] for b in sides[1]]
        if not any(net.reaches(a, b) for a, b in pairs):
            # They cannot tell each other; the bound counts from when they can.
            loop.after(self._bound, _CHECK, 0, self._check_fork, agent)
            return
        names = ", ".join(self._world.members[one].name for one in pairs[0])
        text = f"{short(agent)} showed two histories to {names}, and nobody noticed in {self._bound // SECOND} s"
        raise self.broken("forks", names, text)

    # --- pruning -----------------------------------------------------------------------------------------------------

    def pruned(self, member: Member, gone: Record, forged: Record) -> None:
        """Have a node that pruned answer for an old record and for one that never was."""
        self.counts["prunings"] += 1
        for record, verdict in ((gone, challenge.PRUNED), (forged, challenge.NEVER)):
            try:
                given = answer(member.disk, self._world.federation, record.id, record, now_ms=member.clock())
                wrong = check(given, self._world.federation, member.clock())
            except TslgError as error:
                text = f"{member.name} cannot decide on {short(record.id)}: {error.detail}"
                raise self.broken("pruning", member.name, text) from error
            if given.verdict != verdict or wrong:
                text = f"{member.name} says {given.verdict} of {short(record.id)}, which is {verdict}: {wrong or ''}"
                raise self.broken("pruning", member.name, text)

    def denied(self, member: Member, record: Record, lie: challenge.Answer) -> None:
        """Have an honest member check an answer that denies what was."""
        self.counts["denials"] += 1
        if check(lie, self._world.federation, member.clock()) is None:
            text = f"{member.name} believes that {short(record.id)} never was, which was pruned"
            raise self.broken("pruning", member.name, text)
