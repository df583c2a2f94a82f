"""The network of a run: what delays, loses, repeats, reorders and cuts off the messages of its members."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tslg.simulations.chance import Distribution
from tslg.simulations.engine import MILLISECOND, Loop

if TYPE_CHECKING:
    from tslg.simulations.member import Member

DELIVER: Final = 1
_REPLAYABLE: Final = 256


@dataclass(slots=True)
class Weather:
    """What happens to messages on some links.

    Attributes:
        latency: how long one takes.
        loss, duplicate, reorder, replay: with which probability one is lost, comes twice, comes late, and with which
            an earlier one comes again.
        corrupt: with which probability one comes with a byte that is another one.
        bytes_per_ms: how much passes, 0 for any amount at once.
    """

    latency: Distribution = field(default_factory=Distribution)
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    replay: float = 0.0
    bytes_per_ms: int = 0
    corrupt: float = 0.0

    @property
    def calm(self) -> bool:
        """Whether messages are delayed, and nothing else."""
        return not (self.loss or self.duplicate or self.reorder or self.replay or self.corrupt)


@dataclass(slots=True)
class Cut:
    """A disturbance between two sides, by member: 1 and 2; 0 is on neither.

    Attributes:
        sides: one byte a member.
        both: whether nothing passes either way, or only from 1 to 2 nothing does.
        until: for a clog, when (µs) what was held comes through; None if it is lost.
    """

    sides: bytearray
    both: bool = True
    until: int | None = None

    def stops(self, source: int, target: int) -> bool:
        """Tell whether it is in the way."""
        a, b = self.sides[source], self.sides[target]
        return (a == 1 and b == 2) or (self.both and a == 2 and b == 1)


class Net:
    """All links of a run.

    Args:
        loop: the run's.
        chance: numbers for what happens to messages.
        usual: the weather where nothing else is said.

    Attributes:
        members: who is on it, by index.
        sent, lost, bytes: counts of messages and their payload.
    """

    __slots__ = ("_arrive", "_chance", "_cuts", "_links", "_past", "_usual", "bytes", "loop", "lost", "members", "sent")

    def __init__(self, loop: Loop, chance: random.Random, usual: Weather) -> None:
        self.loop = loop
        self.members: list[Member] = []
        self.sent = self.lost = self.bytes = 0
        self._chance = chance
        self._arrive = self._deliver
        self._usual = usual
        self._links: dict[tuple[str, str], Weather] = {}
        self._cuts: list[Cut] = []
        self._past: deque[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = deque(maxlen=_REPLAYABLE)

    def link(self, source: str, target: str, weather: Weather) -> None:
        """Set the weather from one group to another."""
        self._links[source, target] = weather

    def cut(self, cut: Cut) -> None:
        """Begin a disturbance."""
        self._cuts.append(cut)

    def heal(self, cut: Cut) -> None:
        """End a disturbance."""
        self._cuts.remove(cut)

    def sides(self, first: Iterable[int], second: Iterable[int]) -> bytearray:
        """Return the sides of a disturbance."""
        sides = bytearray(len(self.members))
        for side, some in ((1, first), (2, second)):
            for index in some:
                sides[index] = side
        return sides

    def reaches(self, source: int, target: int) -> bool:
        """Tell whether messages pass between two members that are up, either way."""
        both = (source, target), (target, source)
        up = self.members[source].up and self.members[target].up
        return up and not any(cut.stops(*way) for cut in self._cuts for way in both)

    def send(self, source: int, target: int, departs: int, size: int, method: Callable[..., None], *args: Any) -> None:
        """Send a message: `method(member, source, *args)` is called where it arrives, if it does.

        Args:
            source, target: members, by index.
            departs: when it leaves, µs.
            size: bytes of its payload.
            method: an unbound method of a member.
        """
        self.sent += 1
        self.bytes += size
        weather = self._usual
        if self._links:
            members = self.members
            weather = self._links.get((members[source].group, members[target].group), weather)
        chance = self._chance
        arrives = departs + weather.latency.draw(chance)
        if weather.bytes_per_ms:
            arrives += size * MILLISECOND // weather.bytes_per_ms
        for cut in self._cuts:
            if cut.stops(source, target):
                if cut.until is None:
                    self.lost += 1
                    return
                arrives = max(arrives, cut.until)
        deliver = self._arrive
        if not weather.calm:
            if weather.loss and chance.random() < weather.loss:
                self.lost += 1
                return
            if weather.corrupt and chance.random() < weather.corrupt:
                args = spoiled(args, chance)
            if weather.reorder and chance.random() < weather.reorder:
                arrives += 4 * weather.latency.draw(chance)
            if weather.duplicate and chance.random() < weather.duplicate:
                again = arrives + weather.latency.draw(chance)
                self.loop.at(again, DELIVER, target, deliver, source, target, method, args)
            if weather.replay:
                self._replay(weather, arrives)
                self._past.append((source, target, method, args))
        self.loop.at(arrives, DELIVER, target, deliver, source, target, method, args)

    def _replay(self, weather: Weather, arrives: int) -> None:
        if self._past and self._chance.random() < weather.replay:
            source, target, method, args = self._past[self._chance.randrange(len(self._past))]
            self.loop.at(arrives, DELIVER, target, self._deliver, source, target, method, args)

    def _deliver(self, source: int, target: int, method: Callable[..., None], args: tuple[Any, ...]) -> None:
        member = self.members[target]
        if member.up:
            member.enter(method, source, *args)
        else:
            self.lost += 1


def spoiled(args: tuple[Any, ...], chance: random.Random) -> tuple[Any, ...]:
    """Return what a message says with one byte changed, in its payload or in a chunk of it; as it is without one."""
    found = list(args)
    for place, part in enumerate(found):
        if isinstance(part, bytes) and part:
            found[place] = _changed(part, chance)
            break
        if isinstance(part, list) and part:
            chunk = chance.randrange(len(part))
            found[place] = [*part[:chunk], _changed(part[chunk], chance), *part[chunk + 1 :]]
            break
    return tuple(found)


def _changed(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes((data[at] ^ chance.randrange(1, 256),)) + data[at + 1 :]
