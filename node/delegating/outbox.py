"""The delegator's side in a node: drives `protocol.delegator` with a store and the network."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Final

import trio

from tslg.node.delegating.answering import read_answer
from tslg.node.delegating.driver import Driver
from tslg.node.delegating.kept import Kept
from tslg.node.delegating.site import NOT_YOURS, Changes, Site
from tslg.node.net.errors import AddressError, NotAvailable, PeerError, RequestRefused
from tslg.node.net.seam import peer_id_of
from tslg.protocol.cid import short, to_text
from tslg.protocol.codec import Link
from tslg.protocol.delegate import Recorded
from tslg.protocol.delegating import ANSWERED, OFFERED, OPEN, Cancel, Offer, Push, State
from tslg.protocol.delegator import Delegator, Effect, Keep, Prove, Send, Sent
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record

_log = logging.getLogger(__name__)

PROVING_DEPTH: Final = 2
"""Edges behind an answer that are verified before it is believed: the delegation, and the result."""

Tick = Callable[[int, int | None], None]


class NotAnswered(PeerError):
    """A delegation that ended without a result, or whose delegate could not be asked.

    Attributes:
        state: see `protocol.delegating`.
    """

    code = "TSLG-N-NOT-ANSWERED"
    advice = "delegate it anew, to this agent or another one"

    def __init__(self, state: str, reason: str | None, delegation: Link) -> None:
        super().__init__(f"the delegation is {state}" + ("" if reason is None else f": {reason}"))
        self.state = state
        self.record = delegation


class Handle:
    """One delegation that was handed out.

    Attributes:
        delegation: its record.
    """

    def __init__(self, outbox: Outbox, delegation: Record) -> None:
        self.delegation = delegation
        self._outbox = outbox

    @property
    def state(self) -> str:
        """`offered`, `accepted`, `working`, `answered`, `refused`, `failed`, `expired` or `cancelled`."""
        return self._outbox.entry(self.delegation.id).state

    @property
    def reason(self) -> str | None:
        """Why it was refused or failed; or why its delegate was not reached the last time."""
        return self._outbox.entry(self.delegation.id).reason or self._outbox.problem(self.delegation.id)

    @property
    def progress(self) -> tuple[int, int | None]:
        """How far the delegate is: counts; the second None where the total is not known."""
        return self._outbox.progress(self.delegation.id)

    async def wait(self, *states: str) -> str:
        """Wait until it is in one of these states, or ended, and return the state."""
        while True:
            changed = self._outbox.changes.next(self.delegation.id)
            state = self.state
            if state in states or state not in OPEN:
                return state
            await changed.wait()

    async def tried(self) -> None:
        """Wait until the delegate took it on, or knows that it is cancelled, or an attempt to reach it has failed."""
        while not self._outbox.tried(self.delegation.id):
            await self._outbox.changes.next(self.delegation.id).wait()

    async def result(self, *, tick: Tick | None = None) -> Link:
        """Wait for the record with which the delegate answers, and return its id, which `Node.fetch` verifies.

        Raises:
            NotAnswered: it ended otherwise.
        """
        return await self._outbox.result(self.delegation.id, tick)

    async def cancel(self, reason: str = "not needed any more") -> Record:
        """Withdraw it by a retraction, which this returns; the delegate is told until it knows.

        Whether the delegate had answered before it heard of that shows in `state`, once that is final.

        Raises:
            UsageError: it is ended already.
        """
        return await self._outbox.cancel(self.delegation.id, reason)


class Outbox(Driver[Effect]):
    """Delegations of this node's agents: kept, sent until they are ended, over restarts."""

    def __init__(self, site: Site, retract: Callable[[Link, Link, str], Record]) -> None:
        super().__init__()
        self._site = site
        self._retract = retract
        self._kept = Kept(site.ledger.store, "outbox", Sent.from_bytes)
        self._machine = Delegator(site.limits, site.chance)
        self._sends = trio.CapacityLimiter(site.limits.delegation_sends)
        self._followed: Counter[str] = Counter()
        self._talks: dict[Link, trio.CancelScope] = {}
        self._said_by: dict[Link, str] = {}
        self._progress: dict[Link, tuple[int, int | None]] = {}
        self._problems: dict[Link, PeerError] = {}
        self._ended: dict[Link, Sent] = {}
        self._nursery: trio.Nursery | None = None
        self.changes = Changes()
        self.woken = trio.Event()

    async def open(self, nursery: trio.Nursery) -> None:
        """Go on after a restart, sending in this nursery."""
        self._nursery = nursery
        kept = await trio.to_thread.run_sync(self._kept.live)
        self._machine.load(kept, self._site.clock())

    async def tick(self) -> int | None:
        """Do what is due; return when there is more to do, ms since 1970 UTC."""
        await self._do(lambda: self._machine.tick(self._site.clock()))
        return self._machine.wake()

    # --- what the node does with it ---------------------------------------------------------------------------------

    async def offer(self, delegation: Record, addresses: Iterable[str]) -> Handle:
        """Hand a recorded delegation to its delegate's node, now or when it is there. Raises UsageError: no room."""
        if self._machine.full:
            raise UsageError(
                f"{self._site.limits.delegations_out} delegations are under way",
                code="TSLG-U-BUSY",
                mend="wait until some are answered, or cancel them",
            )
        body = delegation.body
        sent = Sent(delegation.id, delegation.owner, body["delegate"], body["expires"], tuple(addresses))
        if await trio.to_thread.run_sync(self._kept.get, delegation.id) is None:
            await self._do(lambda: self._machine.offer(sent, self._site.clock()))
        return Handle(self, delegation)

    async def handle(self, delegation: Record) -> Handle | None:
        """Return the handle of a delegation that was handed out once, None for any other."""
        entry = await trio.to_thread.run_sync(self._kept.get, delegation.id)
        if entry is not None and not entry.live:
            self._remember(entry)
        return None if entry is None else Handle(self, delegation)

    def entry(self, delegation: Link) -> Sent:
        """Return what is known of a delegation that was handed out."""
        found = self._machine.get(delegation) or self._ended.get(delegation) or self._kept.get(delegation)
        assert found is not None
        return found

    def progress(self, delegation: Link) -> tuple[int, int | None]:
        """Return how far its delegate is."""
        return self._progress.get(delegation, (0, None))

    def problem(self, delegation: Link) -> str | None:
        """Return why its delegate was not reached the last time."""
        problem = self._problems.get(delegation)
        return None if problem is None else str(problem)

    def tried(self, delegation: Link) -> bool:
        """Whether the delegate knows of the newest there is to say, or could not be reached with it."""
        entry = self.entry(delegation)
        if entry.state not in OPEN or delegation in self._problems:
            return True
        return entry.retraction is None and entry.state != OFFERED

    async def result(self, delegation: Link, tick: Tick | None, *, patient: bool = True) -> Link:
        """Wait for the answer; not `patient`, only as long as the delegate was there when it was sent first.

        Raises:
            NotAnswered: it ended otherwise. PeerError: not patient, and the delegate did not take it on.
        """
        told: tuple[int, int | None] | None = None
        while True:
            changed = self.changes.next(delegation)
            entry = self.entry(delegation)
            if entry.state == ANSWERED and entry.result is not None:
                return entry.result
            if entry.state not in OPEN:
                raise NotAnswered(entry.state, entry.reason, delegation)
            problem = self._problems.get(delegation)
            if not patient and entry.state == OFFERED and problem is not None:
                await self._do(lambda problem=problem: self._machine.drop(delegation, str(problem)))  # type: ignore[misc]
                raise problem
            progress = self._progress.get(delegation)
            if tick is not None and progress is not None and progress != told:
                told = progress
                tick(*progress)
            await changed.wait()

    async def cancel(self, delegation: Link, reason: str) -> Record:
        """Withdraw a delegation. Raises UsageError."""
        entry = self.entry(delegation)
        if entry.state not in OPEN:
            raise UsageError(
                f"delegation {short(delegation)} is {entry.state} already", mend="there is nothing to cancel"
            )
        made = await trio.to_thread.run_sync(self._retract, entry.agent, delegation, reason)
        self._problems.pop(delegation, None)
        await self._do(lambda: self._machine.cancel(delegation, made.id, self._site.clock()))
        if delegation in self._talks:
            # Whoever is being followed hears of it now, not when its work is over.
            self._talks[delegation].cancel()
        return made

    # --- what a peer pushes -----------------------------------------------------------------------------------------

    async def pushed(self, asked: Push, peer: str) -> AsyncGenerator[bytes, None]:
        """Take the answer to a delegation, whoever brings it: it is believed for what it proves."""
        entry = self._machine.get(asked.delegation)
        if entry is None:
            entry = await trio.to_thread.run_sync(self._kept.get, asked.delegation)
        if entry is None:
            raise RequestRefused(NOT_YOURS)
        if entry.answer != asked.answer:
            async with self._site.check(peer):
                said = await self._proof(entry, asked.answer, self._site.only_of(peer, asked.addresses))
            if said is None:
                _log.warning("peer %s pushed what is no answer to delegation %s", peer, short(asked.delegation))
                raise RequestRefused(NOT_YOURS)
            await self._do(lambda: self._machine.proven(entry, said))
        known = self.entry(asked.delegation)
        yield State(known.state, reason=known.reason, result=known.result, answer=known.answer).to_bytes()

    async def _proof(self, entry: Sent, answer: Link, peers: list[str]) -> Recorded | None:
        """Return what an answer says, if it is one by the delegate to this delegation."""
        try:
            walked = await self._site.verified(answer, peers, PROVING_DEPTH)
        except PeerError as error:
            _log.info("answer %s to delegation %s: %s", short(answer), short(entry.delegation), error)
            return None
        record = walked.report.records.get(answer)
        if record is None or record.kind != "answer" or record.owner != entry.delegate:
            return None
        if all(edge.cid != entry.delegation for edge in record.edges("answers")):
            return None
        await self._site.keep(walked, peers)
        return read_answer(record)

    # --- what the state machine wants -------------------------------------------------------------------------------

    async def _carry_out(self, effect: Effect) -> None:
        assert self._nursery is not None
        match effect:
            case Keep(entry):
                await trio.to_thread.run_sync(self._kept.keep, entry)
                if not entry.live:
                    self._remember(entry)
                self.changes.ring(entry.delegation)
            case Send(delegation):
                self._nursery.start_soon(self._send, delegation)
            case Prove():
                self._nursery.start_soon(self._prove, effect)

    def _remember(self, entry: Sent) -> None:
        """Keep an ended entry at hand for handles, the last so many of them; any other is read from the store."""
        self._ended[entry.delegation] = entry
        self._progress.pop(entry.delegation, None)
        self._said_by.pop(entry.delegation, None)
        while len(self._ended) > self._site.limits.delegations_open:
            del self._ended[next(iter(self._ended))]

    async def _prove(self, wanted: Prove) -> None:
        entry = self._machine.get(wanted.delegation)
        if entry is None:
            return
        teller = self._said_by.pop(wanted.delegation, None)
        peers = [] if teller is None else [teller]
        said = await self._proof(entry, wanted.answer, [*peers, *entry.addresses])
        if said is not None:
            await self._do(lambda: self._machine.proven(entry, said))

    async def _send(self, delegation: Link) -> None:
        """Try once to reach the delegate, and take note of how that went."""
        async with self._sends:
            entry = self._machine.get(delegation)
            if entry is None:
                return
            with trio.CancelScope() as self._talks[delegation]:
                problem = await self._try_all(entry)
            interrupted = self._talks.pop(delegation).cancelled_caught
        now = self._site.clock()
        if interrupted:
            self._machine.interrupted(delegation, now)
        else:
            if problem is not None:
                self._problems[delegation] = problem
            self._machine.missed(delegation, now)
        if self._machine.get(delegation) is None:
            self._problems.pop(delegation, None)
        self.changes.ring(delegation)
        self.woken.set()

    async def _try_all(self, entry: Sent) -> PeerError | None:
        """Ask where the delegate may be, by name first, until it is heard; return why nobody was."""
        problem: PeerError = NotAvailable("nobody knows where the delegate's node is")
        async with aclosing(self._site.places(entry.delegate, entry.addresses)) as peers:
            async for peer in peers:
                try:
                    named = await self._converse(entry, peer)
                except PeerError as error:
                    problem = error
                    _log.debug("delegation %s: %s", to_text(entry.delegation), error)
                except AddressError as error:
                    _log.debug("delegation %s: %s", to_text(entry.delegation), error)
                else:
                    # Whoever is at an address of hearsay may say anything, and must not keep the others from it.
                    if named or self._machine.get(entry.delegation) is None:
                        return None
        return problem

    async def _converse(self, entry: Sent, peer: str) -> bool:
        """Offer a delegation, or cancel it, and follow it as long as it is open and there is room to follow.

        Returns whether the peer is the one that the delegation was handed to by name; only that one is followed.
        """
        delegation, peer_id = entry.delegation, peer_id_of(peer)
        named = any(peer_id_of(address) == peer_id for address in entry.addresses)
        site = self._site
        proof = await trio.to_thread.run_sync(site.proof, delegation, entry.agent)
        addresses = tuple(site.network.addresses)
        request: Offer | Cancel = Offer(delegation, addresses, proof)
        if entry.retraction is not None:
            request = Cancel(delegation, entry.retraction, addresses, proof)

        async def take(said: State) -> bool:
            if named:
                self._problems.pop(delegation, None)
                self._machine.reached(delegation)
            if not said.ended:
                self._progress[delegation] = (said.done, said.total)
                self.changes.ring(delegation)
            if said.answer is not None and not named:
                self._said_by[delegation] = peer
            await self._do(lambda: self._machine.heard(delegation, said, named=named))
            return named and not said.ended and self._followed[peer_id] <= site.limits.delegations_followed

        self._followed[peer_id] += 1
        try:
            await site.hear(peer, request.to_bytes(), take)
        finally:
            self._followed[peer_id] -= 1
            if not self._followed[peer_id]:
                del self._followed[peer_id]
        return named
