"""The delegate's side of delegations as a pure state machine: what was taken on, what is at work, what became of it.

Messages, ends of works and time go in; effects come out, to be carried out in order. What is to survive a crash is in
`Keep`: whoever carries effects out makes it durable before the next one, so that the intent to work is on disk before
the work begins and no delegation is worked on twice. Normative text: docs/spec/delegating.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, Self

from tslg.protocol import codec
from tslg.protocol.codec import Link
from tslg.protocol.delegating import ACCEPTED, ENDED, EXPIRED, OPEN, STATE_OF, WORKING, State
from tslg.protocol.limits import DEFAULT, Limits

INTERRUPTED: Final = "the node stopped in the middle of the work, which may not be begun again"


class Recorded(NamedTuple):
    """What an `answer` record in the delegate's own log says."""

    outcome: str
    answer: Link
    reason: str | None = None
    result: Link | None = None


class Taken(NamedTuple):
    """One delegation on its delegate's side, as it is kept.

    Attributes:
        delegation: its record.
        agent, delegator: whose it is to do, and who made it.
        expires: ms since 1970 UTC.
        addresses: where the delegator's node was last.
        state: see `protocol.delegating`.
        reason, result, answer: what became of it, as in `State`.
        again: whether the work may be begun again after a crash in the middle of it.
        told: whether nothing is left to tell the delegator of by oneself.
    """

    delegation: Link
    agent: Link
    delegator: Link
    expires: int
    addresses: tuple[str, ...] = ()
    state: str = ACCEPTED
    reason: str | None = None
    result: Link | None = None
    answer: Link | None = None
    again: bool = False
    told: bool = False

    def to_bytes(self) -> bytes:
        """Return what is kept."""
        return codec.encode(self._asdict() | {"addresses": list(self.addresses)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` returned."""
        value: dict[str, Any] = codec.decode(data)
        return cls(**value | {"addresses": tuple(value["addresses"])})

    @property
    def live(self) -> bool:
        """Whether something is left to be done about it."""
        return self.state in OPEN or not self.told

    def answered(self, said: Recorded) -> Taken:
        """Return the entry as the delegate's own log has it."""
        return self._replace(state=STATE_OF[said.outcome], reason=said.reason, result=said.result, answer=said.answer)


class Keep(NamedTuple):
    """Make an entry durable before anything else is done."""

    entry: Taken


class Begin(NamedTuple):
    """Begin the work. That it begins is durable by then."""

    delegation: Link


class Stop(NamedTuple):
    """Tell the work that nobody waits for it any more."""

    delegation: Link


class Answer(NamedTuple):
    """Append the delegate's `answer` record, and hand in `recorded` or `unrecorded`."""

    delegation: Link
    outcome: str
    reason: str | None = None
    evidence: Link | None = None


class Tell(NamedTuple):
    """Push the answer to the delegator, and hand in `acknowledged` or `untold`."""

    delegation: Link


Effect = Keep | Begin | Stop | Answer | Tell


class Delegate:
    """All delegations that one node took on.

    Args:
        limits: bounds on what others can make it hold.
        chance: numbers in [0, 1), to spread attempts out.
    """

    def __init__(self, limits: Limits = DEFAULT, chance: Callable[[], float] = lambda: 0.5) -> None:
        self._limits = limits
        self._chance = chance
        self._entries: dict[Link, Taken] = {}
        self._at_once: dict[Link, int] = {}
        self._running: dict[Link, Taken] = {}
        self._closing: set[Link] = set()
        self._progress: dict[Link, tuple[int, int | None]] = {}
        self._tell_at: dict[Link, tuple[int, int]] = {}

    # --- what is known ----------------------------------------------------------------------------------------------

    def get(self, delegation: Link) -> Taken | None:
        """Return an entry about which something is left to be done."""
        return self._entries.get(delegation)

    def live(self) -> list[Link]:
        """Return the delegations about which something is left to be done."""
        return list(self._entries)

    def state(self, entry: Taken) -> State:
        """Return what the delegator is told."""
        done, total = self._progress.get(entry.delegation, (0, None))
        return State(entry.state, done, total, entry.reason, entry.result, entry.answer)

    def full(self, delegator: Link | None = None) -> str | None:
        """Return why nothing more is taken on (from this delegator), None if it is."""
        opened = [one for one in self._entries.values() if one.state in OPEN]
        if len(opened) >= self._limits.delegations_open:
            return "this node has as many delegations as it takes"
        if delegator and sum(one.delegator == delegator for one in opened) >= self._limits.delegations_per_delegator:
            return "this node has as many delegations by that agent as it takes"
        return None

    def wake(self) -> int | None:
        """Return when `tick` has something to do, ms since 1970 UTC; None if it never will."""
        times = [one.expires + 1 for one in self._entries.values() if self._may_expire(one)]
        times.extend(at for _, at in self._tell_at.values())
        return min(times, default=None)

    # --- what happens -----------------------------------------------------------------------------------------------

    def load(
        self, kept: Iterable[Taken], answered: Mapping[Link, Recorded], withdrawn: Mapping[Link, Link], now: int
    ) -> list[Effect]:
        """Go on after a restart.

        Args:
            kept: entries that were made durable.
            answered: what the own logs hold of answers to them, which is what counts.
            withdrawn: retractions of them that are held.
            now: ms since 1970 UTC.
        """
        effects: list[Effect] = []
        for entry in kept:
            id = entry.delegation
            self._entries[id] = entry
            if entry.state not in OPEN:
                self._schedule(entry, now)
            elif id in answered:
                effects += self.recorded(id, answered[id], now)
            elif id in withdrawn:
                effects += self.withdrawn(id, withdrawn[id])
            elif now > entry.expires:
                effects += self._end(entry._replace(state=EXPIRED, told=True), now)
            elif entry.state == WORKING and entry.again:
                effects += self._keep(entry._replace(state=ACCEPTED))
            elif entry.state == WORKING:
                effects += self._answer(entry, "failed", INTERRUPTED)
        return effects

    def serve(self, agent: Link, at_once: int) -> list[Effect]:
        """Let so many delegations to an agent be worked on at once from here on."""
        self._at_once[agent] = at_once
        return self._fill()

    def pause(self) -> None:
        """Begin no more works: the node is about to stop."""
        self._at_once.clear()

    def offer(self, given: Taken, now: int) -> list[Effect]:
        """Take on a delegation that was verified; the caller has asked `full`. One that is held goes on as it is."""
        held = self._entries.get(given.delegation)
        if held is not None:
            moved = given.addresses and held.addresses != given.addresses
            return self._keep(held._replace(addresses=given.addresses)) if moved else []
        if given.state in ENDED:
            return self._end(given, now)
        if now > given.expires:
            return self._end(given._replace(state=EXPIRED, told=True), now)
        return [*self._keep(given), *self._fill()]

    def withdrawn(self, delegation: Link, retraction: Link, given: Taken | None = None) -> list[Effect]:
        """End a delegation that its delegator withdrew, also one that never came: `given` is what it would be."""
        entry = self._entries.get(delegation)
        effects: list[Effect] = []
        if entry is None and given is not None:
            effects += self._keep(given)
            entry = given
        if entry is None or entry.state not in OPEN or delegation in self._closing:
            return effects
        if delegation in self._running:
            effects.append(Stop(delegation))
        return effects + self._answer(entry, "cancelled", None, retraction)

    def progressed(self, delegation: Link, done: int, total: int | None) -> None:
        """Note how far a work is."""
        if delegation in self._running:
            self._progress[delegation] = (done, total)

    def returned(
        self, delegation: Link, outcome: str, reason: str | None = None, result: Link | None = None
    ) -> list[Effect]:
        """Take in that a work ended: `outcome` is `result`, `refused` or `failed`. Too late, it does not count."""
        self._running.pop(delegation, None)
        entry = self._entries.get(delegation)
        if entry is None or entry.state in ENDED:
            self._progress.pop(delegation, None)
        if entry is None or entry.state != WORKING or delegation in self._closing:
            return self._fill()
        return [*self._answer(entry, outcome, reason, result), *self._fill()]

    def recorded(self, delegation: Link, said: Recorded, now: int) -> list[Effect]:
        """Take in that the own log answers a delegation."""
        entry = self._entries.get(delegation)
        if entry is None or entry.state not in OPEN:
            return []
        return self._end(entry.answered(said), now)

    def unrecorded(self, delegation: Link, state: str, reason: str | None, now: int) -> list[Effect]:
        """Take in that no answer can be recorded; the delegation ends in `state` all the same."""
        entry = self._entries.get(delegation)
        if entry is None or entry.state not in OPEN:
            return []
        return self._end(entry._replace(state=state, reason=reason, told=True), now)

    def acknowledged(self, delegation: Link) -> list[Effect]:
        """Take in that the delegator knows what became of it."""
        entry = self._entries.get(delegation)
        if entry is None or entry.state not in ENDED:
            return []
        return self._keep(entry._replace(told=True))

    def untold(self, delegation: Link, now: int) -> list[Effect]:
        """Take in that the delegator could not be told; it is tried again, later each time, and one day no more."""
        entry = self._entries.get(delegation)
        if entry is None or entry.state not in ENDED:
            return []
        if now > entry.expires + self._limits.delegation_tell_ms:
            return self._keep(entry._replace(told=True))
        tries, _ = self._tell_at.get(delegation, (0, now))
        self._tell_at[delegation] = (tries + 1, now + backed_off(tries, self._limits, self._chance()))
        return []

    def tick(self, now: int) -> list[Effect]:
        """Do what is due: end what expired, tell who has not heard."""
        effects: list[Effect] = []
        for entry in [one for one in self._entries.values() if self._may_expire(one) and now > one.expires]:
            if entry.delegation in self._running:
                effects.append(Stop(entry.delegation))
            effects += self._end(entry._replace(state=EXPIRED, told=True), now)
        for id in [id for id, (_, at) in self._tell_at.items() if at <= now]:
            tries, _ = self._tell_at[id]
            # Until it is acknowledged, or found that it cannot be, nothing more is sent.
            self._tell_at[id] = (tries, now + self._limits.delegation_retry_ms)
            effects.append(Tell(id))
        return effects

    # --- inside -----------------------------------------------------------------------------------------------------

    def _may_expire(self, entry: Taken) -> bool:
        return entry.state in OPEN and entry.delegation not in self._closing

    def _answer(
        self, entry: Taken, outcome: str, reason: str | None = None, evidence: Link | None = None
    ) -> list[Effect]:
        self._closing.add(entry.delegation)
        return [Answer(entry.delegation, outcome, reason, evidence)]

    def _end(self, entry: Taken, now: int) -> list[Effect]:
        self._closing.discard(entry.delegation)
        self._progress.pop(entry.delegation, None)
        effects = self._keep(entry)
        self._schedule(entry, now)
        return effects + self._fill()

    def _keep(self, entry: Taken) -> list[Effect]:
        if entry.live:
            self._entries[entry.delegation] = entry
        else:
            self._entries.pop(entry.delegation, None)
            self._tell_at.pop(entry.delegation, None)
        return [Keep(entry)]

    def _schedule(self, entry: Taken, now: int) -> None:
        if entry.state in ENDED and not entry.told:
            self._tell_at.setdefault(entry.delegation, (0, now))

    def _fill(self) -> list[Effect]:
        """Begin as many works as may be at work."""
        effects: list[Effect] = []
        for entry in list(self._entries.values()):
            if entry.state == ACCEPTED and entry.delegation not in self._closing and self._has_room(entry):
                begun = entry._replace(state=WORKING)
                self._running[entry.delegation] = begun
                effects += [*self._keep(begun), Begin(entry.delegation)]
        return effects

    def _has_room(self, entry: Taken) -> bool:
        running = self._running.values()
        if entry.delegation in self._running:
            return False
        if sum(one.delegator == entry.delegator for one in running) >= self._limits.works_per_delegator:
            return False
        return sum(one.agent == entry.agent for one in running) < self._at_once.get(entry.agent, 0)


def backed_off(tries: int, limits: Limits, chance: float) -> int:
    """Return how long to wait after so many attempts in a row, ms: twice as long each time, spread by half."""
    most = min(limits.delegation_retry_ms, limits.delegation_first_retry_ms * 2 ** min(tries, 32))
    return int(most * (0.5 + chance / 2))
