"""Finding the shortest scenario that still fails on a seed: less time, fewer members, groups, faults and events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar, cast

from tslg.simulations.run import Outcome, run
from tslg.simulations.scenario import WITNESSES, Scenario

_ROUNDS = 8
_MARGIN_S = 1.0
T = TypeVar("T")
Said = Callable[[str], None]


def minimise(
    scenario: Scenario, seed: int, failed: Outcome, tell: Said = lambda line: None, most: int = 200
) -> tuple[Scenario, Outcome]:
    """Return the smallest scenario that was found to break the same invariant on the same seed, and what came of it.

    Args:
        scenario, seed, failed: what failed, and how.
        tell: told of each step that made it smaller.
        most: so many runs at most.
    """
    best, outcome = scenario, failed
    left = most
    for _ in range(_ROUNDS):
        before = best
        for smaller, what in _smaller(best, outcome):
            if left <= 0:
                return best, outcome
            left -= 1
            found = run(smaller, seed)
            if _same(found, failed):
                best, outcome = smaller, found
                tell(what)
                break
        if best is before:
            break
    return best, outcome


def _same(found: Outcome, failed: Outcome) -> bool:
    return (
        found.broken is not None
        and failed.broken is not None
        and found.broken["invariant"] == failed.broken["invariant"]
    )


def _smaller(scenario: Scenario, outcome: Outcome) -> Iterator[tuple[Scenario, str]]:
    """Yield scenarios that are smaller by one step each, the largest steps first."""
    assert outcome.broken is not None
    hours = (outcome.broken["at_s"] + _MARGIN_S) / 3_600
    if hours < scenario.hours * 0.9:
        yield replace(scenario, hours=round(hours, 6)), f"{hours * 3_600:.0f} s are enough"
    for agents in sorted({scenario.agents // 2, scenario.agents * 3 // 4, scenario.agents - 1}):
        if len(scenario.groups) <= agents < scenario.agents and agents > 1:
            yield replace(scenario, agents=agents), f"{agents} agents are enough"
    for index, fault in enumerate(scenario.faults):
        yield replace(scenario, faults=_without(scenario.faults, index)), f"not for the fault {fault.kind}"
    for index, event in enumerate(scenario.events):
        yield replace(scenario, events=_without(scenario.events, index)), f"not for the event {event.kind}"
    for index, group in enumerate(scenario.groups):
        named = {name for one in scenario.groups for name in one.delegates_to}
        named |= {name for fault in scenario.faults for name in (*fault.groups, *fault.others)}
        named |= {name for event in scenario.events for name in event.groups}
        named |= {name for link in scenario.links for name in (link.source, link.target)}
        if len(scenario.groups) > 1 and group.name not in named and group.behaviour not in WITNESSES:
            yield replace(scenario, groups=_without(scenario.groups, index)), f"not for the group {group.name}"
    if scenario.links:
        yield replace(scenario, links=()), "not for its links"
    for index, group in enumerate(scenario.groups):
        for name in ("delegate_s", "audit_s", "prune_s", "recall_s", "follow"):
            if group.honest and getattr(group.habits, name):
                habits = replace(group.habits, **cast(dict[str, Any], {name: 0}))
                groups = (*scenario.groups[:index], replace(group, habits=habits), *scenario.groups[index + 1 :])
                yield replace(scenario, groups=groups), f"{group.name} without {name}"


def _without(items: tuple[T, ...], index: int) -> tuple[T, ...]:
    return items[:index] + items[index + 1 :]
