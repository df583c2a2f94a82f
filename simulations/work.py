"""What honest nodes do: record, announce, read each other, follow logs, delegate, prune, look into what they hear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tslg.node import pruning
from tslg.node.net.errors import NotAvailable
from tslg.protocol.codec import Link
from tslg.protocol.delegating import ANSWERED
from tslg.protocol.delegator import Sent
from tslg.protocol.errors import TslgError, UsageError
from tslg.protocol.exchange import DELEGATE
from tslg.protocol.heard import Heard
from tslg.protocol.record import Record, parse_as
from tslg.protocol.report import VALID
from tslg.simulations.anchoring import Anchored, cross_check
from tslg.simulations.delegations import Delegations, hours_from_now
from tslg.simulations.engine import MILLISECOND, SECOND
from tslg.simulations.following import catch_up, compare, follow_federation, settle
from tslg.simulations.member import Member
from tslg.simulations.reading import Asking, audit

CAPABILITIES: Final = ("buy", "read", "scan", "sell", "sign", "write")
LIMIT: Final = 1_000
_QUESTIONS: Final = 8
"""Questions about one log that are answered in one go; each answer may open the next."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How often a member does what, in seconds between two times; 0 for never.

    Attributes:
        record_s, audit_s, delegate_s, prune_s, recall_s: between two records, audits, …
        announce_s: how long after a record its log's head is announced.
        anchor_s: between two times that its log is anchored, where the manifest asks for that.
        depths: D_verify, one of which each audit takes; None for unbounded.
        hops: how often what it delegates may be passed on; it is passed on every time.
        follow: how many other members' logs it holds whole.
        think_ms: how long a delegated work takes.
    """

    record_s: float = 20.0
    audit_s: float = 0.0
    delegate_s: float = 0.0
    prune_s: float = 0.0
    recall_s: float = 30.0
    announce_s: float = 1.0
    anchor_s: float = 5.0
    depths: tuple[int | None, ...] = (None,)
    hops: int = 0
    follow: int = 0
    think_ms: int = 500


class Worker:
    """An honest member's behaviour.

    Args:
        habits: how often it does what.
        partners: the members to whom it delegates.
    """

    def __init__(self, habits: Habits, partners: list[int]) -> None:
        self.habits = habits
        self.partners = partners
        self.delegations: Delegations
        self.anchored: Anchored | None = None
        self._passed: dict[Link, Link] = {}
        self._announcing = False
        self._catching: set[Link] = set()
        self._asking: set[Link] = set()
        self._observed: list[Link] = []
        self.cited: list[Link] = []
        """Records of others that it found valid lately, which its decisions rest on."""

    # --- life --------------------------------------------------------------------------------------------------------

    def begin(self, member: Member) -> None:
        """Begin, or go on after a restart."""
        habits = self.habits
        self._announcing = False
        self._catching.clear()
        self._asking.clear()
        self.delegations = Delegations(member, self._work, habits.think_ms)
        self.delegations.done = lambda entry: self._ended(member, entry)
        if not member.disk.by_kind("policy", member.id, limit=1):
            self._settle_in(member)
        self.delegations.load()
        self.delegations.wake()
        self.anchored = Anchored(member) if member.world.seats else None
        anchor_s = habits.anchor_s if member.world.seats else 0.0
        ticks = (
            (anchor_s, _anchor),
            (habits.record_s, _record),
            (habits.audit_s, _audit),
            (habits.delegate_s, _delegate),
            (habits.prune_s, _prune),
            (habits.recall_s, _recall),
        )
        for seconds, what in ticks:
            if seconds:
                member.after(int(member.chance.random() * seconds * SECOND), _tick, seconds, what)
        self.recorded(member)

    def _settle_in(self, member: Member) -> None:
        policy = member.agent.policy(
            "work", capabilities=CAPABILITIES, limits={"spend": LIMIT}, classes=["internal", "public"], tiers=["low"]
        )
        member.agent.adopt(policy)
        member.acknowledge(policy)

    def recorded(self, member: Member) -> None:
        """See to it that a log that grew is announced, not too often."""
        if not self._announcing:
            self._announcing = True
            member.after(int(self.habits.announce_s * SECOND), _announce)

    # --- what it hears -----------------------------------------------------------------------------------------------

    def heard(self, member: Member, agent: Link, head: Heard, source: int) -> None:
        """Take note that a log has a newer head."""
        if agent in member.follows:
            if agent not in self._catching:
                self._catching.add(agent)
                homes = member.world.directory.find(member, agent)
                offers = [(peer, head.size) for peer in dict.fromkeys([*homes, source]) if peer != member.index]
                member.spawn(self._catch_up(member, agent, head, offers))
        elif member.disk.log_state(agent) is not None:
            member.spawn(compare(member, agent, head))

    def _catch_up(self, member: Member, agent: Link, head: Heard, offers: list[tuple[int, int]]) -> Asking:
        try:
            yield from catch_up(member, agent, offers)
            yield from compare(member, agent, head)
        finally:
            self._catching.discard(agent)

    def asks(self, member: Member, agent: Link) -> None:
        """Find out how two heads of a log go together."""
        if agent not in self._asking:
            self._asking.add(agent)
            member.spawn(self._settle(member, agent))

    def _settle(self, member: Member, agent: Link) -> Asking:
        try:
            for _ in range(_QUESTIONS):
                answered = yield from settle(member, agent)
                if not answered:
                    break
        finally:
            self._asking.discard(agent)

    def lacks_manifest(self, member: Member, source: int) -> None:
        """Learn the manifest version by which somebody goes."""
        member.spawn(follow_federation(member, source))

    def answer(self, member: Member, source: int, protocol: str, payload: bytes) -> Iterator[bytes] | Asking:
        """Answer what is neither a walk nor about a log. Raises NetworkError."""
        if protocol == DELEGATE:
            return self.delegations.answer(source, payload)
        raise NotAvailable(f"nobody here speaks {protocol}")

    # --- what it does ------------------------------------------------------------------------------------------------

    def record(self, member: Member) -> None:
        """Record what comes next: mostly something seen, then a decision on it, then what was done."""
        agent, choice = member.agent, member.chance.random()
        if choice < 0.5 or not self._observed:
            made = agent.observe("sensor", {"n": member.chance.getrandbits(16)})
            self._observed.append(made.id)
            del self._observed[:-4]
        elif choice < 0.8:
            evidence = [*self._observed[-2:], *self.cited[-1:]]
            made = agent.decide("order", "yes", evidence=evidence, uses=["buy"], spends={"spend": 10})
            member.world.notice(made.id, member.id, member)
        else:
            made = agent.act("ship", {"to": member.chance.getrandbits(8)}, uses=["sell"], class_="internal")
            member.world.notice(made.id, member.id, member)
        member.acknowledge(made)
        self.recorded(member)

    def audit(self, member: Member) -> Asking:
        """Read a record that somebody told of, and rest a later decision on it if it is valid."""
        notices, chance = member.world.notices, member.chance
        if not notices:
            return
        notice = notices[chance.randrange(len(notices))]
        if notice.author == member.id:
            return
        depth = self.habits.depths[chance.randrange(len(self.habits.depths))]
        peers = [notice.teller] if notice.teller != member.index else []
        walked = yield from audit(member, notice.record, notice.author, depth, peers)
        if walked.report.verdict == VALID and member.disk.has(notice.record):
            self.cited.append(notice.record)
            del self.cited[:-4]
        newest = walked.report.manifest
        if newest is not None and newest.record != member.ledger.manifest and peers:
            yield from follow_federation(member, peers[0])

    # --- delegations -------------------------------------------------------------------------------------------------

    def delegate(self, member: Member) -> None:
        """Hand a task to a partner."""
        if not self.partners:
            return
        to = member.world.members[self.partners[member.chance.randrange(len(self.partners))]]
        if to.index == member.index:
            return
        grant = member.agent.policy(
            "task", capabilities=CAPABILITIES[:4], limits={"spend": 500}, under=self._own(member)
        )
        member.acknowledge(grant)
        self._hand_out(member, to.id, grant, self.habits.hops)

    def _own(self, member: Member) -> Link:
        return member.disk.by_kind("policy", member.id, limit=1_000)[-1]

    def _hand_out(self, member: Member, to: Link, grant: Record, hops: int, passing_on: Record | None = None) -> Record:
        expires = hours_from_now(member, 1) if passing_on is None else passing_on.body["expires"] - 1
        made = member.agent.delegate(
            to,
            {"hops": hops},
            grant,
            expires=expires,
            hops=hops,
            delegation=None if passing_on is None else passing_on.id,
        )
        member.acknowledge(made)
        member.world.oracle.counts["delegations"] += 1
        self.delegations.offer(made)
        self.recorded(member)
        return made

    def _work(self, member: Member, delegation: Record) -> Record | None:
        """Do what was delegated, or pass it on under a narrower policy."""
        hops = delegation.body["hops"]
        others = (one for one in self.partners if one != member.index)
        partners = [one for one in others if member.world.members[one].id != delegation.owner]
        if not hops or not partners:
            return self._done(member, delegation, None)
        to = member.world.members[partners[member.chance.randrange(len(partners))]]
        grant = member.ledger.context.record(delegation.body["grant"])
        assert grant is not None
        limit = grant.body["limits"].get("spend", 1)
        narrower = member.agent.policy(
            "part",
            capabilities=grant.body["capabilities"],
            limits={"spend": max(1, limit - 10)},
            not_after=delegation.body["expires"],
            under=grant.id,
            delegation=delegation.id,
        )
        member.acknowledge(narrower)
        made = self._hand_out(member, to.id, narrower, hops - 1, delegation)
        self._passed[made.id] = delegation.id
        return None

    def _done(self, member: Member, delegation: Record, evidence: Link | None) -> Record:
        made = member.agent.act(
            "done", delegation=delegation.id, evidence=evidence, principal=delegation.owner, uses=["read"]
        )
        member.acknowledge(made)
        member.world.notice(made.id, member.id, member)
        self.recorded(member)
        return made

    def _ended(self, member: Member, entry: Sent) -> None:
        member.world.oracle.counts[f"delegations {entry.state}"] += 1
        first = self._passed.pop(entry.delegation, None)
        if first is not None:
            member.spawn(self._conclude(member, first, entry))

    def _conclude(self, member: Member, first: Link, entry: Sent) -> Asking:
        """Answer a delegation by what became of the one that passed it on."""
        delegation = member.ledger.context.record(first)
        if delegation is None:
            return
        if entry.state != ANSWERED or entry.result is None:
            self.delegations.finish(first, None, "it was not done")
            return
        walked = yield from audit(member, entry.result, entry.delegate, None)
        try:
            if walked.report.verdict != VALID:
                raise UsageError("the result is not valid")
            made = self._done(member, delegation, entry.result)
        except TslgError as error:
            self.delegations.finish(first, None, error.detail)
            return
        self.delegations.finish(first, made.id)

    # --- pruning -----------------------------------------------------------------------------------------------------

    def prune(self, member: Member) -> None:
        """Let go of what is old, and answer for it."""
        try:
            manifest = member.ledger.context.manifest(member.ledger.manifest)
            assert manifest is not None
            planned = pruning.plan(member.disk, member.id, manifest, now_ms=member.clock())
        except UsageError:
            return
        id = planned.pruned.ids[0]
        entry = member.disk.get(id)
        assert entry is not None
        old = parse_as(id, entry.data)
        made = pruning.prune(member.ledger, planned)
        member.acknowledge(made)
        self._observed.clear()
        member.world.oracle.pruned(member, old, forged_like(old))
        self.recorded(member)


def forged_like(record: Record) -> Record:
    """Return a record that claims another's place and was never made."""
    from tslg.protocol import record as records

    return records.build(
        kind=record.kind,
        agent=record.agent,
        seq=record.seq,
        prev=record.prev,
        time=record.time + 1,
        manifest=record.manifest,
        key=record.key,
        log=record.log,
        preds=record.preds,
        body=record.body,
        hash_name="sha2-256",
    )


# --- what timers call ------------------------------------------------------------------------------------------------


def _tick(member: Member, seconds: float, what: Callable[[Member], Any]) -> None:
    """Do something, and again after about as many seconds."""
    try:
        what(member)
    except TslgError as error:
        member.world.oracle.gave_up(member, error)
        if error.code == "TSLG-U-FORKED":
            member.confess()
    member.after(int(seconds * SECOND * (0.75 + member.chance.random() / 2)), _tick, seconds, what)


def _record(member: Member) -> None:
    member.behaviour.record(member)


def _audit(member: Member) -> None:
    member.spawn(member.behaviour.audit(member))


def _delegate(member: Member) -> None:
    member.behaviour.delegate(member)


def _prune(member: Member) -> None:
    member.behaviour.prune(member)


def _recall(member: Member) -> None:
    if member.peers:
        member.spawn(member.recall(member.peers[member.chance.randrange(len(member.peers))]))


def _anchor(member: Member) -> None:
    """Have the log anchored, and look at whoever witnessed logs that are forked."""
    member.spawn(member.behaviour.anchored.anchor())
    for agent, log in member.heads.logs.items():
        if log.fork is not None:
            member.spawn(cross_check(member, agent))


def _announce(member: Member) -> None:
    member.behaviour._announcing = False
    member.announce_own()


MILLISECONDS = MILLISECOND
