"""Driving the followers of many logs: ranges from several peers at once, and one admission after the other.

What comes is opened where it arrives, several threads side by side; what is next in any log is admitted in runs, in one
transaction each. Whoever sends what is no record, or not sealed, is named and cut off.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from tslg.node.admitting import Outcome
from tslg.node.ledger import Ledger
from tslg.node.net.errors import ProtocolViolation
from tslg.node.net.seam import Network, peer_id_of
from tslg.node.replication.closing import close
from tslg.node.replication.followed import Followed, keep_evidence
from tslg.node.replication.opening import Opener, Part
from tslg.node.replication.report import Blame
from tslg.node.sealing import taking_turns
from tslg.protocol.cid import short
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, Refusal, TslgError
from tslg.protocol.exchange import LOG, MessageError, RangeRequest, WalkEnd, read_walk_chunk
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.opening import Opened
from tslg.protocol.replication import Ask, Slow

if TYPE_CHECKING:
    from trio_typing import TaskStatus

_log = logging.getLogger(__name__)

RUN_RECORDS: Final = 2_048
"""Records of one admission: a tenth of a second, after which others may append again."""
BLAMED_KEPT: Final = 100
"""Peers that are named in a report; all of them are in the log."""
OTHER_HISTORY: Final = frozenset(("TSLG-A-FORK", "TSLG-A-PREV", "TSLG-A-HEAD"))
"""Rules that a record of another history of its log breaks."""

Tick = Callable[[int], None]


class Syncing:
    """Followers of logs, and what drives them.

    Args:
        network: how peers are reached; it must be running.
        ledger: admits what comes.
        limits: bounds on what is taken.
        patient: whether to go on for ever, and to ask peers again that failed; else `run` ends when nothing is left.
        tick: called with the number of records stored so far.

    Attributes:
        logs: the logs that are followed, by owner.
        spared: cited records that are not to be had, with the reason.
        blamed: peers that broke a rule.
        compared: peers that said what they hold.
    """

    def __init__(
        self,
        network: Network,
        ledger: Ledger,
        *,
        limits: Limits = DEFAULT,
        patient: bool = False,
        tick: Tick | None = None,
    ) -> None:
        self.network = network
        self.ledger = ledger
        self.limits = limits
        self.logs: dict[Link, Followed] = {}
        self.spared: dict[Link, str] = {}
        self.blamed: list[Blame] = []
        self.compared: set[str] = set()
        self.opener = Opener(ledger.federation, ledger.context)
        self.stored = 0
        self._patient = patient
        self._tick = tick
        self._open: dict[Link, None] = {}
        self._scopes: dict[tuple[Link, Ask], trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._wake = trio.Event()
        self._ready = trio.Event()
        self._admitting = False
        self._more = 0

    # --- which logs --------------------------------------------------------------------------------------------------

    async def follow(self, owner: Link) -> Followed | None:
        """Follow a log from where it ends here; None for an own log, or one too many."""
        if owner in self.logs:
            return self.logs[owner]
        if self.ledger.writes(owner) or len(self.logs) >= self.limits.replicated_logs:
            return None
        state = await trio.to_thread.run_sync(self.ledger.store.log_state, owner)
        held = 0 if state is None else state.size
        log = self.logs.setdefault(owner, Followed(owner, held, patient=self._patient, limits=self.limits))
        return log

    def offered(self, owner: Link, peer: str, size: int) -> bool:
        """Take note that a peer claims to hold a log up to a size; return whether the log is followed."""
        log = self.logs.get(owner)
        if log is None:
            return False
        if size > log.follower.held and log.follower.offered(peer, size):
            self.nudge(owner)
        return True

    def pushed(self, peer: str, one: Opened) -> None:
        """Take a record that a subscription brought."""
        log = self.logs.get(one.record.owner)
        if log is not None:
            log.follower.offered(peer, one.record.seq + 1)
            log.follower.pushed(peer, one.record.seq, one, _size(one))
            self.nudge(one.record.owner)

    def nudge(self, owner: Link) -> None:
        """Look at a log again: something about it changed."""
        self._open[owner] = None
        self._wake.set()
        self._ready.set()

    @asynccontextmanager
    async def intake(self) -> AsyncIterator[None]:
        """Keep `run` from ending for the length of a block, in which more logs or peers may be named."""
        self._more += 1
        try:
            yield
        finally:
            self._more -= 1
            self._wake.set()

    # --- asking ------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask, check and store: until nothing is left to be had, or, if patient, until cancelled."""
        with taking_turns():
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._admit_on)
                task_status.started()
                await self._ask_on()
                nursery.cancel_scope.cancel()

    async def _ask_on(self) -> None:
        while True:
            now, due = now_ms(), math.inf
            for log in self._turns():
                for step in list(log.follower.asks(now)):
                    await self._step(log, step)
                due = min(due, log.follower.due_ms(now) or math.inf)
                if log.blocked and not log.closing:
                    due = min(due, self._wait_on(log, now))
            if not self._patient and not self._more and self._idle():
                return
            with trio.move_on_after(max(0.0, (due - now) / 1000)):
                await self._wake.wait()
            self._wake = trio.Event()

    def _turns(self) -> list[Followed]:
        """Return the logs to look at: all that wait for others, and as many more as may be busy at a time."""
        found: list[Followed] = []
        busy = 0
        for owner in list(self._open):
            log = self.logs[owner]
            if log.follower.settled:
                del self._open[owner]
                self._release(owner)
            elif log.blocked:
                found.append(log)
            elif busy < self.limits.replica_busy_logs:
                busy += 1
                found.append(log)
        return found

    def _idle(self) -> bool:
        return not self._open and not self._scopes and not self._admitting

    async def _step(self, log: Followed, step: Ask | Slow) -> None:
        assert self._nursery is not None
        if isinstance(step, Slow):
            scope = self._scopes.get((log.owner, step.ask))
            if scope is not None:
                scope.cancel()
            await self.blame(step.ask.peer, "too slow: another peer was asked for the same records", cut=False)
            return
        scope = self._scopes[log.owner, step] = trio.CancelScope()
        self._nursery.start_soon(self._range, log, step, scope)

    async def _range(self, log: Followed, ask: Ask, scope: trio.CancelScope) -> None:
        """Ask for one range, and take what comes as far as it is wanted."""
        failure: str | None = None
        try:
            with scope:
                failure = await self._take_range(log, ask)
        except (NetworkError, TslgError) as error:
            failure = f"{error.code}: {error.detail}"
            if isinstance(error, ProtocolViolation | MessageError):
                await self.blame(ask.peer, failure)
        finally:
            del self._scopes[log.owner, ask]
            log.follower.ended(ask, now_ms(), failure)
            self.nudge(log.owner)

    async def _take_range(self, log: Followed, ask: Ask) -> str | None:
        """Take what comes until it is enough, behind a gap only what the peer says of it; return what is wrong."""
        request = RangeRequest(log.owner, ask.start, ask.stop).to_bytes()
        expected, gap = ask.start, False
        async with self.network.request(ask.peer, LOG, request, limits=self.limits) as chunks:
            async for chunk in chunks:
                part = await trio.to_thread.run_sync(self._open_chunk, chunk)
                log.withheld(ask.peer, part.withheld)
                for one in part.opened:
                    wrong = _misplaced(one, log.owner, ask)
                    if wrong is not None:
                        await self.blame(ask.peer, wrong)
                        return wrong
                    if gap:
                        continue
                    if not log.follower.came(ask, one.record.seq, one, _size(one)):
                        gap = one.record.seq > expected
                        if not gap:
                            return None
                    expected = one.record.seq + 1
                self._ready.set()
                if part.fault is not None:
                    await self.blame(ask.peer, part.fault)
                    return part.fault
        return None

    def _open_chunk(self, chunk: bytes) -> Part:
        pairs = read_walk_chunk(chunk, self.limits)
        return Part([], withheld=pairs.withheld) if isinstance(pairs, WalkEnd) else self.opener.open(pairs)

    async def blame(self, peer: str, rule: str, *, cut: bool = True) -> None:
        """Name a peer that broke a rule, and have no more to do with it unless it is merely of no use."""
        what = "cut off" if cut else "noted"
        _log.warning("peer %s: %s: %s", peer_id_of(peer), rule, what, extra={"peer": peer_id_of(peer), "rule": rule})
        if len(self.blamed) < BLAMED_KEPT:
            self.blamed.append(Blame(peer_id_of(peer), rule, cut))
        if cut:
            for log in self.logs.values():
                log.leave(peer, rule)
            await self.network.cut_off(peer)

    # --- admitting ---------------------------------------------------------------------------------------------------

    async def _admit_on(self) -> None:
        while True:
            runs = self._runs()
            if not runs:
                self._admitting = False
                self._wake.set()
                await self._ready.wait()
                self._ready = trio.Event()
                continue
            self._admitting = True
            opened = [[one for one, _ in items] for _, items in runs]
            outcomes = await trio.to_thread.run_sync(self.ledger.admit_runs, opened, self.spared.copy())
            for (log, items), outcome in zip(runs, outcomes, strict=True):
                await self._take(log, items, outcome)
            if self._tick is not None:
                self._tick(self.stored)
            self._wake.set()

    def _runs(self) -> list[tuple[Followed, list[tuple[Opened, str]]]]:
        """Return what is next in logs that do not wait for others."""
        runs: list[tuple[Followed, list[tuple[Opened, str]]]] = []
        room = RUN_RECORDS
        for owner in self._open:
            log = self.logs[owner]
            if room > 0 and not log.blocked and not log.closing:
                items = log.follower.ready(min(room, RUN_RECORDS // 2))
                if items:
                    runs.append((log, items))
                    room -= len(items)
        return runs

    async def _take(self, log: Followed, items: list[tuple[Opened, str]], outcome: Outcome) -> None:
        """Take note of what became of a log's part of a run."""
        if outcome.admitted:
            log.follower.stored(items[outcome.admitted - 1][0].record.seq + 1)
        self.stored += outcome.admitted
        log.lacking, log.retry = (), False
        if outcome.admitted:
            self._release(log.owner)
        if outcome.refusal is not None:
            one, peer = items[outcome.admitted]
            await self._refused(log, one, peer, outcome, outcome.refusal)
        elif outcome.lacking:
            log.lacking, log.waiting_ms = outcome.lacking, now_ms()

    def _release(self, owner: Link) -> None:
        """Look again at the logs that wait for records of this one."""
        for other in self._open:
            log = self.logs[other]
            if any(lacking.owner == owner for lacking in log.lacking):
                log.retry = True
                self._ready.set()

    async def _refused(self, log: Followed, one: Opened, peer: str, outcome: Outcome, refusal: Refusal) -> None:
        """Find out whose doing it is that a record cannot be admitted, and end what has to end."""
        record = one.record
        text = f"{refusal.code}: {refusal.detail}"
        if not outcome.sealed:
            await self.blame(peer, f"position {record.seq} is not sealed by its author ({text})")
        elif outcome.lacking:
            log.follower.stop(f"its record at position {record.seq} needs what nobody has: {text}")
        elif refusal.code not in OTHER_HISTORY or not await self._tells_another_history(log, one, peer):
            _log.warning(
                "a record of %s that its author sealed breaks %s", short(log.owner), text, extra={"peer": peer}
            )
            await trio.to_thread.run_sync(keep_evidence, self.ledger.store, record, one.seal, refusal)
            log.invalid = text
            log.follower.stop(text)

    async def _tells_another_history(self, log: Followed, one: Opened, peer: str) -> bool:
        """Whether a sealed record that does not continue the log is of another history, whose peer is asked no more."""
        if one.record.seq < log.follower.held:
            shown: bool | None = await trio.to_thread.run_sync(self.ledger.note_rival, one.record, one.seal)
        else:
            shown = await self.find_rival(log, peer)
        if shown:
            self.note_fork(log, peer)
        elif shown is None:
            log.leave(peer, "what it has does not continue this log, and it does not show where it differs")
        return shown is not False

    def note_fork(self, log: Followed, peer: str) -> None:
        """Say that a log is forked, and go on with those who have the history that is held here."""
        log.forked = True
        log.leave(peer, "its history of this log is another one")
        _log.warning("log %s is forked, as peer %s shows", short(log.owner), peer_id_of(peer), extra={"peer": peer})

    async def find_rival(self, log: Followed, peer: str) -> bool | None:
        """Ask a peer for the record at the end of what is held here, and keep it as proof if it is another one.

        Returns whether it is; None if the peer does not show a sealed one.
        """
        place = log.follower.held - 1
        try:
            found = await self._one_record(log, peer, place)
        except (NetworkError, TslgError) as error:
            _log.info("peer %s does not show position %d: %s", peer_id_of(peer), place, error)
            return None
        if found is None:
            return None
        if await trio.to_thread.run_sync(self.ledger.store.at, log.owner, place) == found.record.id:
            return False
        if await trio.to_thread.run_sync(self.ledger.note_rival, found.record, found.seal):
            return True
        await self.blame(peer, f"position {place} is not sealed by its author")
        return None

    async def _one_record(self, log: Followed, peer: str, place: int) -> Opened | None:
        request = RangeRequest(log.owner, place, place + 1).to_bytes()
        async with self.network.request(peer, LOG, request, limits=self.limits) as chunks:
            async for chunk in chunks:
                for one in (await trio.to_thread.run_sync(self._open_chunk, chunk)).opened:
                    if (one.record.owner, one.record.seq) == (log.owner, place):
                        return one
        return None

    def who_may_have(self, log: Followed) -> list[str]:
        """Return whom to ask for what a log cites: who has the log, then who has any other."""
        others = [peer for one in self.logs.values() for peer in one.follower.providers()]
        return list(dict.fromkeys([*log.follower.providers(), *others]))[: self.limits.replica_providers]

    # --- what is cited -----------------------------------------------------------------------------------------------

    def _wait_on(self, log: Followed, now: int) -> float:
        """Have what a log lacks asked for, unless a log that is under way will bring it; return when to look again."""
        assert self._nursery is not None
        until = log.waiting_ms + self.limits.replica_patience_ms
        if now < until and all(self._may_come(one.owner) for one in log.lacking):
            return until
        log.closing = True
        self._nursery.start_soon(self._close, log)
        return math.inf

    def _may_come(self, owner: Link) -> bool:
        """Whether a log is followed, and somebody claims to have more of it or may yet be found to."""
        other = self.logs.get(owner)
        return other is not None and (self._patient or self._more > 0 or not other.follower.settled)

    async def _close(self, log: Followed) -> None:
        """Fetch what the next records cite; what cannot be had is spared from then on."""
        try:
            items = log.follower.ready(RUN_RECORDS)
            missing = await close(self, log, [one for one, _ in items])
            for id, reason in missing.items():
                if len(self.spared) >= self.limits.replica_unobtainable:
                    del self.spared[next(iter(self.spared))]
                self.spared[id] = reason
        finally:
            log.closing, log.lacking = False, ()
            self.nudge(log.owner)


def now_ms() -> int:
    """Return trio's clock in ms: for time limits, not for records."""
    return int(trio.current_time() * 1000)


def _size(one: Opened) -> int:
    return len(one.record.data) + len(one.seal) + len(one.attachment or b"")


def _misplaced(one: Opened, owner: Link, ask: Ask) -> str | None:
    if one.record.owner != owner:
        return "a range with a record of another log"
    if not ask.start <= one.record.seq < ask.stop:
        return f"a range with position {one.record.seq}, asked for {ask.start} to {ask.stop}"
    return None
