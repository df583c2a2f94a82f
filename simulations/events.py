"""What a scenario has happen at a moment: amendments of the manifest, changes of keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tslg.protocol.errors import TslgError
from tslg.protocol.record import Record
from tslg.simulations.chance import stream
from tslg.simulations.engine import SECOND
from tslg.simulations.member import Member
from tslg.simulations.scenario import Event
from tslg.simulations.world import World

_EVENT: Final = 6


class Events:
    """Carries out the events of a scenario.

    Args:
        world: the run.
        events: what happens, and when.
    """

    def __init__(self, world: World, events: Sequence[Event]) -> None:
        self._world = world
        for number, event in enumerate(events):
            chance = stream(world.seed, "event", number)
            call = {"amend": self._amend, "rotate": self._rotate}[event.kind]
            world.loop.at(int(event.at_s * SECOND), _EVENT, 0, call, event, chance.random())

    def _chosen(self, event: Event, chance: float) -> Member | None:
        members = [one for one in self._world.honest if one.up and (not event.groups or one.group in event.groups)]
        return members[int(chance * len(members))] if members else None

    def _amend(self, event: Event, chance: float) -> None:
        """The anchors amend the manifest, and hand it to one member; the others learn of it from each other."""
        member, world = self._chosen(event, chance), self._world
        if member is None:
            return
        founding = world.founding
        fan_in = {"min": 1, "max": 250 - len(founding.log)}
        sealed = founding.amend({"fan_in": fan_in}, world.loop.now_ms)
        founding.publish(sealed)
        world.oracle.true(*sealed)
        world.oracle.counts["amendments"] += 1
        member.enter(_take, *sealed)

    def _rotate(self, event: Event, chance: float) -> None:
        """A member registers another key, and revokes the one before."""
        member = self._chosen(event, chance)
        if member is not None:
            member.enter(Member.renew)


def _take(member: Member, record: Record, seal: bytes) -> None:
    try:
        member.ledger.admit(record.data, seal)
    except TslgError as error:
        member.world.oracle.gave_up(member, error)
