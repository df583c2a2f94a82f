"""The delegate's side in a node: drives `protocol.delegate` with a store, works and the network."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import trio

from tslg.node.delegating.answering import answer_or_end, answered, withdrawn
from tslg.node.delegating.driver import Driver
from tslg.node.delegating.kept import Kept
from tslg.node.delegating.site import NOT_YOURS, Changes, Site
from tslg.node.delegating.works import Declined, Progress, Worker
from tslg.node.net.errors import Busy, NotAvailable, RequestRefused
from tslg.protocol.cid import short
from tslg.protocol.codec import Link
from tslg.protocol.delegate import Answer, Begin, Delegate, Effect, Keep, Recorded, Stop, Taken, Tell
from tslg.protocol.delegating import ENDED, REFUSED, Cancel, Offer, Push, State, Status, one_line
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.record import Record

_log = logging.getLogger(__name__)

PULSE_SECONDS: Final = 2.0
"""How often a working delegate says that it is alive; well within the progress timeout."""


class Inbox(Driver[Effect]):
    """Delegations to this node's agents: verified, kept, worked on once each, answered."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site
        self._kept = Kept(site.ledger.store, "inbox", Taken.from_bytes)
        self._machine = Delegate(site.limits, site.chance)
        self._changes = Changes()
        self._workers: dict[Link, Worker] = {}
        self._at_work: dict[Link, Progress] = {}
        self._answering = 0
        self._idle = trio.Event()
        self._works: trio.Nursery | None = None
        self._errands: trio.Nursery | None = None

    # --- what the node does with it ---------------------------------------------------------------------------------

    async def open(self, works: trio.Nursery, errands: trio.Nursery) -> None:
        """Go on after a restart: works run in the one nursery, what can be left at once in the other."""
        self._works, self._errands = works, errands
        kept = await trio.to_thread.run_sync(self._kept.live)
        context = self._site.ledger
        said = {one.delegation: answered(context, one.delegation, one.agent) for one in kept}
        gone = {one.delegation: withdrawn(context, one.delegation) for one in kept}
        await self._do(
            lambda: self._machine.load(
                kept,
                {id: one for id, one in said.items() if one is not None},
                {id: one for id, one in gone.items() if one is not None},
                self._site.clock(),
            )
        )
        await self._serve_workers()

    def serve(self, worker: Worker) -> None:
        """Let a worker do what is delegated to its agent, from now on and what waits for it."""
        self._workers[worker.agent.id] = worker
        # One that is named before the node goes on after a restart is served then.
        if self._errands is not None:
            self._errands.start_soon(self._serve_workers)

    async def _serve_workers(self) -> None:
        for id, worker in list(self._workers.items()):
            await self._do(lambda id=id, worker=worker: self._machine.serve(id, worker.at_once))  # type: ignore[misc]

    async def tick(self) -> int | None:
        """Do what is due; return when there is more to do, ms since 1970 UTC."""
        await self._do(lambda: self._machine.tick(self._site.clock()))
        return self._machine.wake()

    async def rest(self) -> None:
        """Begin no more works, and return once none is under way."""
        self._machine.pause()
        while self._at_work or self._answering:
            self._idle = trio.Event()
            await self._idle.wait()

    # --- what peers ask ---------------------------------------------------------------------------------------------

    async def offered(self, asked: Offer, peer: str) -> AsyncGenerator[bytes, None]:
        """Take a delegation on, and say how it is until it is ended."""
        entry = await self._taken(asked.delegation)
        if entry is None:
            full = self._machine.full()
            if full:
                raise Busy(full)
            async with self._site.check(peer):
                try:
                    entry = await self._verify(asked, peer)
                except RequestRefused as refused:
                    if refused.detail == NOT_YOURS:
                        raise
                    yield State(REFUSED, reason=one_line(refused.detail, self._site.limits)).to_bytes()
                    return
                full = self._machine.full(entry.delegator)
                if full:
                    raise Busy(full)
        else:
            await self._check_proof(asked, peer, entry)
        given = entry._replace(addresses=tuple(self._site.only_of(peer, asked.addresses)[1:]))
        # The node may have stopped between keeping a retraction and acting on it.
        gone = withdrawn(self._site.ledger, asked.delegation)
        if entry.live and gone is not None:
            await self._do(lambda: self._machine.withdrawn(asked.delegation, gone, given))
        elif entry.live:
            await self._do(lambda: self._machine.offer(given, self._site.clock()))
        async for state in self._follow(asked.delegation):
            yield state.to_bytes()

    async def asked(self, asked: Status, peer: str) -> AsyncGenerator[bytes, None]:
        """Say once how a delegation is."""
        entry = await self._taken(asked.delegation)
        if entry is None:
            raise RequestRefused(NOT_YOURS)
        await self._check_proof(asked, peer, entry)
        yield self._machine.state(entry).to_bytes()

    async def cancelled(self, asked: Cancel, peer: str) -> AsyncGenerator[bytes, None]:
        """End a delegation that its delegator withdrew, and say in which state that leaves it."""
        entry = await self._taken(asked.delegation)
        async with self._site.check(peer):
            if entry is None:
                entry = await self._verify(asked, peer)
            else:
                await self._check_proof(asked, peer, entry)
            if entry.state in ENDED:
                await self._do(lambda: self._machine.offer(entry, self._site.clock()))
            else:
                peers = self._site.only_of(peer, asked.addresses)
                walked = await self._site.verified(asked.record, peers)
                record = walked.report.records.get(asked.record)
                if record is None or record.kind != "retraction" or not _retracts(record, asked.delegation):
                    raise RequestRefused("that record withdraws no delegation")
                await self._site.keep(walked, peers)
                given = entry._replace(addresses=tuple(peers[1:]))
                await self._do(lambda: self._machine.withdrawn(asked.delegation, asked.record, given))
        async for state in self._follow(asked.delegation):
            yield state.to_bytes()

    async def _follow(self, delegation: Link) -> AsyncGenerator[State, None]:
        """Yield how a delegation is, now and after every change or pulse, until it is ended."""
        while True:
            changed = self._changes.next(delegation)
            entry = await self._taken(delegation)
            if entry is None:
                raise NotAvailable("the delegation could not be kept")
            state = self._machine.state(entry)
            yield state
            if state.ended:
                return
            with trio.move_on_after(PULSE_SECONDS):
                await changed.wait()

    async def _taken(self, delegation: Link) -> Taken | None:
        return self._machine.get(delegation) or await trio.to_thread.run_sync(self._kept.get, delegation)

    async def _check_proof(self, asked: Offer | Status | Cancel, peer: str, entry: Taken) -> None:
        site = self._site
        record = site.ledger.context.record(entry.delegation)
        vouched = record is not None and await trio.to_thread.run_sync(site.vouches, asked.proof, record, peer, {})
        if not vouched:
            # The key may be one that the delegator registered since.
            if record is None or site.ledger.context.key(asked.proof.key) is not None:
                raise RequestRefused(NOT_YOURS)
            async with site.check(peer):
                await self._fetch_key(asked, peer, record)

    async def _fetch_key(self, asked: Offer | Status | Cancel, peer: str, record: Record) -> None:
        site = self._site
        addresses = [] if isinstance(asked, Status) else asked.addresses
        try:
            walked = await site.verified(asked.proof.key, site.only_of(peer, addresses))
        except NetworkError:
            raise RequestRefused(NOT_YOURS) from None
        if not await trio.to_thread.run_sync(site.vouches, asked.proof, record, peer, walked.walker.keys):
            raise RequestRefused(NOT_YOURS)
        await site.keep(walked, ())

    async def _verify(self, asked: Offer | Cancel, peer: str) -> Taken:
        """Verify a delegation as any stranger would, and that who hands it over speaks for its author.

        Raises:
            RequestRefused: it is not valid, or not theirs to hand over. NotAvailable: it is for nobody here, or could
                not be had whole.
        """
        site, peers = self._site, self._site.only_of(peer, asked.addresses)
        walked = await site.verified(asked.delegation, peers)
        record = walked.report.records.get(asked.delegation)
        if record is None or record.kind != "delegation":
            raise RequestRefused(NOT_YOURS)
        keys = walked.walker.keys
        if not await trio.to_thread.run_sync(site.vouches, asked.proof, record, peer, keys):
            if asked.proof.key in keys:
                raise RequestRefused(NOT_YOURS)
            await self._fetch_key(asked, peer, record)
        worker = self._workers.get(record.body["delegate"])
        if worker is None and (isinstance(asked, Offer) or not site.ledger.writes(record.body["delegate"])):
            raise NotAvailable("nobody here takes that delegation")
        await site.keep(walked, peers)
        body = record.body
        again = worker is not None and worker.again
        taken = Taken(record.id, body["delegate"], record.owner, body["expires"], again=again)
        return self._as_recorded(taken)

    def _as_recorded(self, taken: Taken) -> Taken:
        """Return an entry as the own log has it, should its answer be there and the entry lost."""
        said = answered(self._site.ledger, taken.delegation, taken.agent)
        return taken if said is None else taken.answered(said)

    # --- what the state machine wants -------------------------------------------------------------------------------

    async def _carry_out(self, effect: Effect) -> None:
        assert self._works is not None and self._errands is not None
        match effect:
            case Keep(entry):
                await trio.to_thread.run_sync(self._kept.keep, entry)
                self._changes.ring(entry.delegation)
            case Begin(delegation):
                self._at_work[delegation] = Progress(lambda done, total: self._progressed(delegation, done, total))
                self._works.start_soon(self._work, delegation, self._at_work[delegation])
            case Stop(delegation):
                if delegation in self._at_work:
                    self._at_work[delegation].cancel()
            case Answer():
                self._answering += 1
                self._works.start_soon(self._answer, effect)
            case Tell(delegation):
                self._errands.start_soon(self._tell, delegation)

    def _progressed(self, delegation: Link, done: int, total: int | None) -> None:
        self._machine.progressed(delegation, done, total)

    async def _work(self, delegation: Link, progress: Progress) -> None:
        entry, site = self._machine.get(delegation), self._site
        record = site.ledger.context.record(delegation)
        outcome, reason, result = "failed", None, None
        try:
            if entry is None or record is None:
                raise NotAvailable("the delegation is not held any more")
            made = await self._workers[entry.agent].do(record, progress)
            outcome, result = "result", made.id
        except Declined as error:
            outcome, reason = "refused", one_line(error.detail, site.limits)
        except TslgError as error:
            reason = one_line(str(error), site.limits)
        except Exception as error:
            # Whatever the work raises must reach the delegator as one line and leave the node running.
            reason = one_line(f"{type(error).__name__}: {error}", site.limits)
        if reason is not None:
            _log.info("delegation %s: %s: %s", short(delegation), outcome, reason)
        await self._do(lambda: self._machine.returned(delegation, outcome, reason, result))
        self._at_work.pop(delegation, None)
        self._idle.set()

    async def _answer(self, effect: Answer) -> None:
        site, (delegation, outcome, reason, evidence) = self._site, effect
        record = site.ledger.context.record(delegation)
        try:
            assert record is not None
            said = await trio.to_thread.run_sync(
                answer_or_end, site.ledger, record, outcome, reason, evidence, site.clock()
            )
        finally:
            self._answering -= 1
            self._idle.set()
        if isinstance(said, Recorded):
            await self._do(lambda: self._machine.recorded(delegation, said, site.clock()))
            return
        state, why = said
        _log.warning("delegation %s ended as %s, which could not be recorded", short(delegation), state)
        await self._do(lambda: self._machine.unrecorded(delegation, state, why, site.clock()))

    async def _tell(self, delegation: Link) -> None:
        """Push the answer to the delegator's node, wherever that is by now."""
        site, entry = self._site, self._machine.get(delegation)
        if entry is None or entry.answer is None:
            return
        request = Push(delegation, entry.answer, tuple(site.network.addresses)).to_bytes()

        async def take(said: State) -> bool:
            return False

        async with aclosing(site.places(entry.delegator, entry.addresses)) as peers:
            async for peer in peers:
                try:
                    await site.hear(peer, request, take)
                except NetworkError as error:
                    _log.debug("%s could not be told of %s: %s", peer, short(delegation), error)
                    continue
                await self._do(lambda: self._machine.acknowledged(delegation))
                return
        await self._do(lambda: self._machine.untold(delegation, site.clock()))


def _retracts(record: Record, delegation: Link) -> bool:
    return any(edge.cid == delegation for edge in record.edges("retracts"))
