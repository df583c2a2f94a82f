"""Delegations of a member: the machines of both sides, their effects carried out on its store and network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from tslg.node.delegating.answering import answer_or_end, answered, read_answer, withdrawn
from tslg.node.delegating.kept import Kept
from tslg.node.net.errors import Busy, NotAvailable, RequestRefused
from tslg.protocol import signatures
from tslg.protocol.codec import Link
from tslg.protocol.delegate import Answer, Begin, Delegate, Keep, Recorded, Stop, Taken, Tell
from tslg.protocol.delegating import (
    ANSWERED,
    REFUSED,
    Offer,
    Proof,
    Push,
    State,
    one_line,
    read_request,
    vouched,
)
from tslg.protocol.delegator import Delegator, Prove, Send, Sent
from tslg.protocol.delegator import Keep as KeepSent
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.exchange import DELEGATE
from tslg.protocol.record import Record
from tslg.protocol.report import VALID
from tslg.simulations.engine import EPOCH_MS, MILLISECOND
from tslg.simulations.member import Ask, Member, peer_name
from tslg.simulations.reading import Asking, audit

Work = Callable[[Member, Record], Record | None]
"""What is done for a delegation; None where its result comes later, by `finish`."""
_TICK_MS: Final = 500
_AT_ONCE: Final = 64
"""Works of one agent: those that wait for somebody they were passed on to count, too."""


class Delegations:
    """Both sides of one member's delegations.

    Args:
        member: whose.
        work: what it does for others.
        think_ms: how long that takes.
    """

    def __init__(self, member: Member, work: Work, think_ms: int) -> None:
        self._member = member
        self._work = work
        self._think_ms = think_ms
        chance = member.chance.random
        self._inbox = Kept(member.disk, "inbox", Taken.from_bytes)
        self._outbox = Kept(member.disk, "outbox", Sent.from_bytes)
        self.delegate = Delegate(chance=chance)
        self.delegator = Delegator(chance=chance)
        self._next: int | None = None
        self._checking: set[Link] = set()
        self.done: Callable[[Sent], None] = lambda entry: None

    def load(self) -> None:
        """Go on after a restart."""
        member, now = self._member, self._member.clock()
        kept = self._inbox.live()
        said = {one.delegation: answered(member.ledger, one.delegation, one.agent) for one in kept}
        gone = {one.delegation: withdrawn(member.ledger, one.delegation) for one in kept}
        self.delegator.load(self._outbox.live(), now)
        self._do(self.delegate.serve(member.id, _AT_ONCE))
        effects = self.delegate.load(
            kept,
            {id: one for id, one in said.items() if one is not None},
            {id: one for id, one in gone.items() if one is not None},
            now,
        )
        self._do(effects)
        self._do(self.delegate.serve(member.id, _AT_ONCE))

    # --- handing out -------------------------------------------------------------------------------------------------

    def offer(self, record: Record) -> None:
        """Hand out a delegation that was recorded."""
        body = record.body
        sent = Sent(record.id, record.owner, body["delegate"], body["expires"], ())
        self._do(self.delegator.offer(sent, self._member.clock()))
        self.wake()

    def wake(self) -> None:
        """See to it that what is due is done."""
        times = [at for at in (self.delegate.wake(), self.delegator.wake()) if at is not None]
        if not times:
            return
        now = self._member.clock()
        due = max(now + _TICK_MS, min(times))
        if self._next is None or not now < self._next <= due:
            self._next = due
            self._member.after((due - now) * MILLISECOND, _tick)

    def tick(self) -> None:
        """Do what is due."""
        self._next = None
        now = self._member.clock()
        self._do(self.delegator.tick(now))
        self._do(self.delegate.tick(now))
        self.wake()

    def _send(self, delegation: Link) -> Asking:
        member, entry = self._member, self.delegator.get(delegation)
        if entry is None:
            return
        homes = member.world.directory.find(member, entry.delegate)
        for peer in homes:
            try:
                chunks = yield Ask(peer, DELEGATE, Offer(delegation, (), self._proof(delegation)).to_bytes())
                self.delegator.reached(delegation)
                for chunk in chunks:
                    self._do(self.delegator.heard(delegation, State.from_bytes(chunk), named=peer == homes[0]))
            except NetworkError:
                continue
            break
        self.delegator.missed(delegation, member.clock())
        self.wake()

    def _proof(self, delegation: Link) -> Proof:
        member = self._member
        signed = member.ledger.sign(member.id, vouched(delegation, peer_name(member.index)))
        return Proof(Link(signed.kid), signed.value)

    def _prove(self, delegation: Link, answer: Link) -> Asking:
        """Verify what is said to be the delegate's answer."""
        member, entry = self._member, self.delegator.get(delegation)
        if entry is None:
            return
        walked = yield from audit(member, answer, entry.delegate, None)
        record = walked.report.records.get(answer)
        answers = record is not None and any(edge.cid == delegation for edge in record.edges("answers"))
        if walked.report.verdict == VALID and record is not None and answers and record.owner == entry.delegate:
            self._do(self.delegator.proven(entry, read_answer(record)))

    # --- taking on ---------------------------------------------------------------------------------------------------

    def answer(self, source: int, payload: bytes) -> Iterator[bytes] | Asking:
        """Answer a request about a delegation. Raises NetworkError."""
        asked = read_request(payload)
        if isinstance(asked, Push):
            self._member.spawn(self._prove(asked.delegation, asked.answer))
            return iter((State(ANSWERED, result=asked.answer, answer=asked.answer).to_bytes(),))
        if not isinstance(asked, Offer):
            raise NotAvailable("only offers and results")
        entry = self.delegate.get(asked.delegation) or self._inbox.get(asked.delegation)
        if entry is not None:
            return iter((self.delegate.state(entry).to_bytes(),))
        full = self.delegate.full()
        if full or asked.delegation in self._checking:
            raise Busy(full or "it is being verified")
        return self._verify(asked, source)

    def _verify(self, asked: Offer, source: int) -> Asking:
        """Verify a delegation as any stranger would; return what the delegator is told."""
        member = self._member
        self._checking.add(asked.delegation)
        try:
            walked = yield from audit(member, asked.delegation, None, None, [source])
            record = walked.report.records.get(asked.delegation)
            if walked.report.verdict != VALID or record is None or record.kind != "delegation":
                reason = ", ".join(finding.code for finding in walked.report.findings) or "not verified"
                return [State(REFUSED, reason=one_line(reason)).to_bytes()]
            key = walked.walker.keys.get(asked.proof.key) or member.ledger.context.key(asked.proof.key)
            message = vouched(record.id, peer_name(source))
            holds = key is not None and key.owner == record.owner
            if key is None or not holds or not signatures.verify(key.alg, key.public, message, asked.proof.signature):
                raise RequestRefused("nothing here is for this peer")
            if record.body["delegate"] != member.id:
                raise NotAvailable("nobody here takes that delegation")
            taken = Taken(record.id, member.id, record.owner, record.body["expires"])
            self._do(self.delegate.offer(taken, member.clock()))
            self.wake()
            entry = self.delegate.get(record.id) or self._inbox.get(record.id) or taken
            return [self.delegate.state(entry).to_bytes()]
        finally:
            self._checking.discard(asked.delegation)

    def finish(self, delegation: Link, result: Link | None, reason: str | None = None) -> None:
        """Take in what became of a work."""
        outcome = "result" if result is not None else "failed"
        self._do(self.delegate.returned(delegation, outcome, reason, result))
        self.wake()

    def _begin(self, delegation: Link) -> None:
        record = self._member.ledger.context.record(delegation)
        try:
            made = None if record is None else self._work(self._member, record)
        except TslgError as error:
            self.finish(delegation, None, one_line(str(error)))
            return
        if made is not None:
            self.finish(delegation, made.id)

    def _answer(self, effect: Answer) -> None:
        member, now = self._member, self._member.clock()
        record = member.ledger.context.record(effect.delegation)
        assert record is not None
        said = answer_or_end(member.ledger, record, effect.outcome, effect.reason, effect.evidence, now)
        if isinstance(said, Recorded):
            made = member.ledger.context.record(said.answer)
            assert made is not None
            member.acknowledge(made)
            self._do(self.delegate.recorded(effect.delegation, said, now))
        else:
            self._do(self.delegate.unrecorded(effect.delegation, *said, now))

    def _tell(self, delegation: Link) -> Asking:
        member, entry = self._member, self.delegate.get(delegation)
        if entry is None or entry.answer is None:
            return
        for peer in member.world.directory.find(member, entry.delegator):
            try:
                yield Ask(peer, DELEGATE, Push(delegation, entry.answer, ()).to_bytes())
            except NetworkError:
                continue
            self._do(self.delegate.acknowledged(delegation))
            return
        self._do(self.delegate.untold(delegation, member.clock()))
        self.wake()

    # --- effects -----------------------------------------------------------------------------------------------------

    def _do(self, effects: Iterable[Any]) -> None:
        member = self._member
        for effect in effects:
            match effect:
                case Keep(entry):
                    self._inbox.keep(entry)
                case KeepSent(entry):
                    self._outbox.keep(entry)
                    if not entry.live:
                        self.done(entry)
                case Begin(delegation):
                    member.after(self._think_ms * MILLISECOND, _begin, delegation)
                case Answer():
                    self._answer(effect)
                case Tell(delegation):
                    member.spawn(self._tell(delegation))
                case Send(delegation):
                    member.spawn(self._send(delegation))
                case Prove(delegation, answer):
                    member.spawn(self._prove(delegation, answer))
                case Stop():
                    pass


def _tick(member: Member) -> None:
    member.behaviour.delegations.tick()


def _begin(member: Member, delegation: Link) -> None:
    member.behaviour.delegations._begin(delegation)


def hours_from_now(member: Member, hours: int) -> int:
    """Return a moment that many hours ahead by the run's own clock (ms)."""
    return EPOCH_MS + member.world.loop.now // MILLISECOND + hours * 3_600_000
