"""Reading governed steps back: which were refused, where, by which rule, and when.

Records are found by kind, newest first, through the store's index, and read in chunks; what lies before the window is
not read. Nothing is verified by asking. See docs/guide/read-back.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tslg.node.store.interface import Store
from tslg.protocol.codec import Link
from tslg.protocol.limits import DEFAULT
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Record

ADMITTED: Final = ("inference", "composite")
"""Kinds of steps that took effect."""
STEPS: Final = (*ADMITTED, "rejection", "decomposition")
WITHHELD: Final = "[withheld]"
"""Stands for a field that a record commits to and that nothing at hand discloses."""
_CHUNK: Final = 512
_HOUR_MS: Final = 3_600_000

Tick = Callable[[int], None]
"""Called with the number of records read so far."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which steps are asked about.

    Attributes:
        owners: only of these agents; empty for all.
        since, until: ms since 1970 UTC, by the records' own claimed times; None for open. `until` is not in it.
        intent, stage, rule: only steps of this intent, and rejections at this stage and by this rule.
        policy: only steps taken under this policy.
    """

    owners: tuple[Link, ...] = ()
    since: int | None = None
    until: int | None = None
    intent: str | None = None
    stage: str | None = None
    rule: str | None = None
    policy: Link | None = None

    def holds(self, record: Record) -> bool:
        """Tell whether a step is asked about; its agent and `since` are seen to where it is read."""
        return (
            (self.until is None or record.time < self.until)
            and (self.intent is None or intent_of(record) == self.intent)
            and (self.stage is None or record.body.get("stage") == self.stage)
            and (self.rule is None or rule_of(record) == self.rule)
            and (self.policy is None or self.policy in policies_of(record))
        )


ALWAYS: Final = Window()


def steps(store: Store, kinds: Iterable[str], window: Window = ALWAYS, tick: Tick | None = None) -> Iterator[Record]:
    """Yield the steps of these kinds within a window: kind by kind, of each agent asked about newest first.

    Raises:
        RecordError, CodecError: the store holds other bytes than an id says.
    """
    done = 0
    for kind in kinds:
        for owner in window.owners or (None,):
            ids = store.by_kind(kind, owner, limit=DEFAULT.walk_edges)
            for start in range(0, len(ids), _CHUNK):
                chunk = ids[start : start + _CHUNK]
                entries = store.get_many(chunk)
                records = [disclosed(id, entries[id]) for id in chunk if id in entries]
                done += len(records)
                if tick is not None:
                    tick(done)
                yield from (one for one in records if _recent(one, window) and window.holds(one))
                if records and not _recent(records[-1], window):
                    break


def _recent(record: Record, window: Window) -> bool:
    return window.since is None or record.time >= window.since


def intent_of(record: Record) -> str:
    """Return what a step was for."""
    intent: str = record.body.get("intent", WITHHELD)
    return intent


def rule_of(record: Record) -> str:
    """Return which rule or term refused a step; where an older record does not say, its stage's own name."""
    rule: str | None = record.body.get("rule")
    stage: str = record.body.get("stage", "")
    return rule or stage.partition(":")[2] or stage


def policies_of(record: Record) -> tuple[Link, ...]:
    """Return the policies under which a step was taken."""
    return tuple(edge.cid for edge in record.preds.get("policy", ()))


class Dimension(NamedTuple):
    """By what rejections can be told apart: its name, and what a rejection is in it (several, or nothing, at times)."""

    name: str
    of: Callable[[Record], Sequence[str | Link]]


def _by_time(step_ms: int) -> Callable[[Record], Sequence[str | Link]]:
    from tslg.node.exporting.naming import iso

    return lambda record: (iso(record.time - record.time % step_ms) or "later",)


DIMENSIONS: Final = {
    one.name: one
    for one in (
        Dimension("stage", lambda record: (record.body["stage"],)),
        Dimension("rule", lambda record: (rule_of(record),)),
        Dimension("policy", policies_of),
        Dimension("intent", lambda record: (intent_of(record),)),
        Dimension("agent", lambda record: (record.owner,)),
        Dimension("model", lambda record: (record.body.get("model", WITHHELD),)),
        Dimension("hour", _by_time(_HOUR_MS)),
        Dimension("day", _by_time(24 * _HOUR_MS)),
    )
}
"""By what rejections can be counted."""


@dataclass(slots=True)
class Group:
    """Rejections that are alike.

    Attributes:
        key: what they are in each dimension.
        count: how many.
        newest: the newest of them by claimed time.
        reason: its reason.
    """

    key: tuple[str | Link, ...]
    count: int = 0
    newest: Record | None = None
    reason: str = ""

    def add(self, record: Record) -> None:
        """Take one in."""
        self.count += 1
        if self.newest is None or record.time > self.newest.time:
            self.newest, self.reason = record, record.body.get("reason", WITHHELD)


@dataclass(slots=True)
class Rejections:
    """What was refused: how many steps in all, and in groups, the largest first."""

    total: int = 0
    groups: list[Group] = field(default_factory=list)


def rejections(
    store: Store, by: Sequence[str] = ("stage", "rule"), window: Window = ALWAYS, tick: Tick | None = None
) -> Rejections:
    """Count the rejections of a window by these dimensions. KeyError for one that is none of `DIMENSIONS`.

    A rejection under several policies is counted once for each where it is counted by policy, and once in the total.
    """
    dimensions = [DIMENSIONS[name].of for name in by]
    found: dict[tuple[str | Link, ...], Group] = {}
    told = Rejections()
    for record in steps(store, ("rejection",), window, tick):
        told.total += 1
        keys: list[tuple[str | Link, ...]] = [()]
        for of in dimensions:
            keys = [(*key, value) for key in keys for value in of(record)]
        for key in keys:
            group = found.get(key)
            if group is None:
                group = found[key] = Group(key)
            group.add(record)
    told.groups = sorted(found.values(), key=lambda one: (-one.count, tuple(map(str, one.key))))
    return told
