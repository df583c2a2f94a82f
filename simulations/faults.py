"""What goes wrong in a run by itself: partitions, crashes, churn, clocks that are off, slow disks. All on schedule."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from tslg.simulations.chance import stream
from tslg.simulations.engine import SECOND
from tslg.simulations.member import Member
from tslg.simulations.network import Cut
from tslg.simulations.scenario import Fault
from tslg.simulations.world import World

_FAULT: Final = 5
_MOST_WRITES: Final = 12
"""A machine that is to lose power does so within so many writes."""
_GRACE_S: Final = 5
"""… or, if it does not write, after so long."""


class Faults:
    """Carries out the faults of a scenario.

    Args:
        world: the run.
        faults: what goes wrong, and when.
    """

    def __init__(self, world: World, faults: Sequence[Fault]) -> None:
        self._world = world
        for number, fault in enumerate(faults):
            chance = stream(world.seed, "fault", number)
            self._at(fault.at_s, getattr(self, "_" + fault.kind.replace("-", "_")), fault, chance)

    def _at(self, seconds: float, call: Callable[..., None], *args: object) -> None:
        self._world.loop.at(int(seconds * SECOND), _FAULT, 0, call, *args)

    def _after(self, seconds: float, call: Callable[..., None], *args: object) -> None:
        self._world.loop.after(int(seconds * SECOND), _FAULT, 0, call, *args)

    def _members(self, groups: Sequence[str]) -> list[Member]:
        return [member for member in self._world.members if not groups or member.group in groups]

    def _some(self, fault: Fault, chance: random.Random) -> list[Member]:
        """Choose a share of the members, at least one."""
        members = self._members(fault.groups)
        return chance.sample(members, max(1, int(len(members) * fault.share)))

    # --- links -------------------------------------------------------------------------------------------------------

    def _sides(self, fault: Fault, chance: random.Random) -> bytearray:
        """Divide the members: as named, or at random where nobody is."""
        first = self._members(fault.groups) if fault.groups else self._some(fault, chance)
        named = {member.index for member in first}
        second = [member.index for member in self._members(fault.others) if member.index not in named]
        return self._world.net.sides(sorted(named), second)

    def _cut(self, fault: Fault, cut: Cut) -> None:
        self._world.net.cut(cut)
        self._after(fault.for_s, self._world.net.heal, cut)

    def _partition(self, fault: Fault, chance: random.Random) -> None:
        self._cut(fault, Cut(self._sides(fault, chance)))

    def _one_way(self, fault: Fault, chance: random.Random) -> None:
        self._cut(fault, Cut(self._sides(fault, chance), both=False))

    def _clog(self, fault: Fault, chance: random.Random) -> None:
        until = self._world.loop.now + int(fault.for_s * SECOND)
        self._cut(fault, Cut(self._sides(fault, chance), until=until))

    # --- machines ----------------------------------------------------------------------------------------------------

    def _crash(self, fault: Fault, chance: random.Random) -> None:
        """Have machines lose power in the middle of a write, before or after it is synced."""
        for member in self._some(fault, chance):
            if member.up:
                member.disk.fail_at(chance.randrange(1, _MOST_WRITES), after=chance.random() < 0.5)
                self._after(_GRACE_S, self._crash_now, member, member.disk)

    def _crash_now(self, member: Member, disk: object) -> None:
        if member.up and member.disk is disk:
            self._world.lost_power(member)

    def _churn(self, fault: Fault, chance: random.Random) -> None:
        """Have members leave and come back, again and again."""
        end = self._world.loop.now + int(fault.for_s * SECOND)
        self._churn_on(fault, chance, end)

    def _churn_on(self, fault: Fault, chance: random.Random, end: int) -> None:
        if self._world.loop.now >= end:
            return
        for member in self._some(fault, chance):
            if member.up:
                member.stop()
                self._after(chance.uniform(0.2, 1.0) * fault.every_s, self._world.restart, member)
        self._after(fault.every_s, self._churn_on, fault, chance, end)

    def _skew(self, fault: Fault, chance: random.Random) -> None:
        for member in self._some(fault, chance):
            member.skew_ms = fault.ms
            self._after(fault.for_s, self._set_right, member)

    def _set_right(self, member: Member) -> None:
        member.skew_ms = 0

    def _slow_disk(self, fault: Fault, chance: random.Random) -> None:
        for member in self._some(fault, chance):
            member.disk.slowness = fault.factor
            self._after(fault.for_s, self._usual_disk, member)

    def _usual_disk(self, member: Member) -> None:
        member.disk.slowness = 1.0
