"""What is known of announced heads: one head, what is open between two, one log, and what became of an announcement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from tslg.protocol.announcing import ForkNews
from tslg.protocol.budget import Bucket
from tslg.protocol.checkpoint import Signed
from tslg.protocol.codec import Link
from tslg.protocol.manifest import Manifest
from tslg.protocol.telling import Sealed, Speakers
from tslg.protocol.verdict import Verdict

REPLAYS: Final = 8
"""Heads of one log that are remembered as its own although larger ones replaced them."""

_BASE_BYTES: Final = 2048
_HEAD_BYTES: Final = 512


class Held(Protocol):
    """What the node knows beside what is announced."""

    def manifest(self, id: Link) -> Manifest | None:
        """Return a manifest version of the federation, None if it is not known."""

    def holds(self, agent: Link) -> bool:
        """Tell whether anything of a log is held."""

    def ends(self, agent: Link) -> Mapping[Link, int]:
        """Return from which positions keys of a log are dead, by the revocations that are held."""


class Heard(NamedTuple):
    """A signed head: the note, who announced it first, by whom it came, and when (ms)."""

    signed: Signed
    note: bytes
    peer: str
    via: str
    seen_ms: int

    @property
    def size(self) -> int:
        """How many records the log has."""
        return self.signed.checkpoint.size

    @property
    def root(self) -> bytes:
        """The root of its tree."""
        return self.signed.checkpoint.root


class Question(NamedTuple):
    """Does the larger of these heads of one log extend the smaller?"""

    agent: Link
    old: Heard
    new: Heard


class Outcome(NamedTuple):
    """What became of an announcement.

    Attributes:
        verdict: whether it is forwarded.
        why: the reason, in a few words.
        agent: whose log it is about, None if that cannot be said.
        newer: the head, if it is the newest of its log.
        asks: whether there is a question that was not there before.
        fork: the proof that the log is forked, if that became known by this announcement.
        over: whether its neighbour went over a limit, and was not named for it for a minute.
    """

    verdict: Verdict
    why: str
    agent: Link | None = None
    newer: Heard | None = None
    asks: bool = False
    fork: ForkNews | None = None
    over: bool = False


@dataclass(slots=True)
class Log:
    """What was heard of one log.

    Attributes:
        speakers: the keys that speak for it.
        told: what the last announcement told of its keys, and what that means alone.
        via: who brought it first, if nothing of it is held.
        newer, older: how often heads larger than its newest may still come, and others if any came.
        tied: the head that all heads are held against, the largest that is proved to extend those before it.
        loose: heads that nothing ties to it yet.
        good: heads that are known to be states of the same log.
        fork: the proof that it is forked.
        forwarded_ms: when its newest head was last forwarded.
        revision: counts what was heard of any log; the count at the last change of this one's newest head or proof.
    """

    speakers: Speakers
    told: tuple[tuple[Sealed, ...], Speakers]
    via: str | None
    newer: Bucket
    older: Bucket | None = None
    tied: Heard | None = None
    loose: tuple[Heard, ...] = ()
    good: tuple[tuple[int, bytes], ...] = ()
    fork: ForkNews | None = None
    forwarded_ms: int = 0
    revision: int = 0
    _keys: int = field(init=False)

    def __post_init__(self) -> None:
        self.learn(self.told, self.speakers)

    def learn(self, told: tuple[tuple[Sealed, ...], Speakers], speakers: Speakers) -> None:
        """Take what an announcement told of its keys, and which speak for it by all that is known."""
        self.told, self.speakers = told, speakers
        self._keys = _size(told[0]) + (0 if speakers is told[1] else _size(speakers.told))

    @property
    def heads(self) -> list[Heard]:
        """The heads that count, smallest first."""
        if not self.loose:
            return [self.tied] if self.tied else []
        return sorted([*self.loose, *([self.tied] if self.tied else [])], key=lambda one: one.size)

    @property
    def newest(self) -> Heard | None:
        """The largest head."""
        if not self.loose:
            return self.tied
        return max(self.heads, key=lambda one: one.size, default=None)

    def knows(self, size: int, root: bytes) -> bool:
        """Tell whether one of its heads has that size and root."""
        return (size, root) in [(one.size, one.root) for one in self.heads]

    @property
    def weight(self) -> int:
        """About how many bytes it takes in memory."""
        proof = 0 if self.fork is None else len(self.fork.to_bytes())
        notes = 0 if self.tied is None else len(self.tied.note) + _HEAD_BYTES
        for one in self.loose:
            notes += len(one.note) + _HEAD_BYTES
        return _BASE_BYTES + self._keys + proof + notes

    def forget(self, head: Heard) -> None:
        """Keep a loose head no longer. ValueError if it is none."""
        index = self.loose.index(head)
        self.loose = self.loose[:index] + self.loose[index + 1 :]

    def replaced(self, head: Heard) -> None:
        """Remember a head as the log's own, although another stands in its place now."""
        self.good = (*self.good, (head.size, head.root))[-REPLAYS:]


def _size(told: tuple[Sealed, ...]) -> int:
    size = 0
    for data, seal in told:
        size += len(data) + len(seal)
    return size
