"""The delegator's side of delegations as a pure state machine: what was handed out, and what is known to become of it.

Messages and time go in; effects come out, to be carried out in order. An entry that is not ended is sent again and
again, later each time, until its delegate has said what became of it or it has expired. What others say is believed if
it comes from the peer that the delegation was handed to by name; from anybody else only what a record proves.
Normative text: docs/spec/delegating.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

from tslg.protocol import codec
from tslg.protocol.codec import Link
from tslg.protocol.delegate import Recorded, backed_off
from tslg.protocol.delegating import CANCELLED, EXPIRED, FAILED, OFFERED, OPEN, STATE_OF, State
from tslg.protocol.limits import DEFAULT, Limits


class Sent(NamedTuple):
    """One delegation on its delegator's side, as it is kept.

    Attributes:
        delegation: its record.
        agent, delegate: who made it, and whose it is to do.
        expires: ms since 1970 UTC.
        addresses: the delegate's node, as it was named.
        state: see `protocol.delegating`.
        reason, result, answer: what became of it, as in `State`.
        retraction: the record that withdraws it, once it is to be cancelled.
    """

    delegation: Link
    agent: Link
    delegate: Link
    expires: int
    addresses: tuple[str, ...]
    state: str = OFFERED
    reason: str | None = None
    result: Link | None = None
    answer: Link | None = None
    retraction: Link | None = None

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
        return self.state in OPEN


class Keep(NamedTuple):
    """Make an entry durable before anything else is done, and tell whoever waits for it."""

    entry: Sent


class Send(NamedTuple):
    """Offer a delegation, or say that it is cancelled; then hand in `heard`, and `missed` or `left` in the end."""

    delegation: Link


class Prove(NamedTuple):
    """Fetch and verify what is said to be the delegate's answer; if it is, hand in `proven`."""

    delegation: Link
    answer: Link


Effect = Keep | Send | Prove


class Delegator:
    """All delegations that one node handed out and that are not ended.

    Args:
        limits: bounds, and how often to try.
        chance: numbers in [0, 1), to spread attempts out.
    """

    def __init__(self, limits: Limits = DEFAULT, chance: Callable[[], float] = lambda: 0.5) -> None:
        self._limits = limits
        self._chance = chance
        self._entries: dict[Link, Sent] = {}
        self._due: dict[Link, int] = {}
        self._tries: dict[Link, int] = {}
        self._sending: set[Link] = set()

    def get(self, delegation: Link) -> Sent | None:
        """Return an entry that is not ended."""
        return self._entries.get(delegation)

    def live(self) -> list[Link]:
        """Return the delegations that are not ended."""
        return list(self._entries)

    @property
    def full(self) -> bool:
        """Whether there are as many as are kept track of."""
        return len(self._entries) >= self._limits.delegations_out

    def wake(self) -> int | None:
        """Return when `tick` has something to do, ms since 1970 UTC; None if it never will."""
        times = [at for id, at in self._due.items() if id not in self._sending]
        times.extend(self._deadline(entry) + 1 for entry in self._entries.values())
        return min(times, default=None)

    def load(self, kept: Iterable[Sent], now: int) -> None:
        """Go on after a restart with what was made durable."""
        for entry in kept:
            if entry.live:
                self._entries[entry.delegation] = entry
                self._due[entry.delegation] = now

    def offer(self, entry: Sent, now: int) -> list[Effect]:
        """Hand out a delegation; the caller has asked `full`."""
        if entry.delegation in self._entries:
            return []
        self._due[entry.delegation] = now
        return self._keep(entry)

    def cancel(self, delegation: Link, retraction: Link, now: int) -> list[Effect]:
        """Withdraw a delegation that is not ended."""
        entry = self._entries.get(delegation)
        if entry is None or entry.retraction is not None:
            return []
        self._due[delegation], self._tries[delegation] = now, 0
        return self._keep(entry._replace(retraction=retraction))

    def drop(self, delegation: Link, reason: str) -> list[Effect]:
        """Try no more. Should the delegate have taken it on all the same, its answer still counts."""
        entry = self._entries.get(delegation)
        return [] if entry is None else self._keep(entry._replace(state=FAILED, reason=reason))

    def heard(self, delegation: Link, said: State, *, named: bool) -> list[Effect]:
        """Take in what a peer says.

        Args:
            delegation: of what.
            said: what it says.
            named: whether the peer is the one that the delegation was handed to by name.
        """
        entry = self._entries.get(delegation)
        if entry is None:
            return []
        if not said.ended:
            changed = said.state != entry.state and said.state in OPEN
            return self._keep(entry._replace(state=said.state)) if changed else []
        if named:
            return self._keep(
                entry._replace(state=said.state, reason=said.reason, result=said.result, answer=said.answer)
            )
        return [] if said.answer is None else [Prove(delegation, said.answer)]

    def proven(self, entry: Sent, said: Recorded) -> list[Effect]:
        """Take in what the delegate's log says, which counts more than all that was believed before."""
        held = self._entries.get(entry.delegation, entry)
        ended = held._replace(state=STATE_OF[said.outcome], reason=said.reason, result=said.result, answer=said.answer)
        return [] if ended == held else self._keep(ended)

    def missed(self, delegation: Link, now: int) -> None:
        """Take in that an attempt is over, and that nothing came of it, or not enough."""
        self._sending.discard(delegation)
        if delegation in self._entries:
            tries = self._tries.get(delegation, 0)
            self._tries[delegation] = tries + 1
            self._due[delegation] = now + backed_off(tries, self._limits, self._chance())

    def interrupted(self, delegation: Link, now: int) -> None:
        """Take in that an attempt was given up because there is something newer to say, which is due at once."""
        self._sending.discard(delegation)
        if delegation in self._entries:
            self._due[delegation] = now

    def reached(self, delegation: Link) -> None:
        """Take in that the delegate was there: what comes next is tried soon again."""
        self._tries.pop(delegation, None)

    def tick(self, now: int) -> list[Effect]:
        """Do what is due: end what expired, send what was not answered."""
        effects: list[Effect] = []
        for entry in [one for one in self._entries.values() if now > self._deadline(one)]:
            state = EXPIRED if entry.retraction is None else CANCELLED
            effects += self._keep(entry._replace(state=state))
        for id in [id for id, at in self._due.items() if at <= now and id not in self._sending]:
            self._sending.add(id)
            effects.append(Send(id))
        return effects

    def _deadline(self, entry: Sent) -> int:
        """An answer that was made in time, by a clock that is a little behind, may come this late."""
        return entry.expires + self._limits.clock_skew_ms

    def _keep(self, entry: Sent) -> list[Effect]:
        if entry.live:
            self._entries[entry.delegation] = entry
        else:
            self._entries.pop(entry.delegation, None)
            self._due.pop(entry.delegation, None)
            self._tries.pop(entry.delegation, None)
            self._sending.discard(entry.delegation)
        return [Keep(entry)]
