"""The study of what D_verify buys, what traffic grows with, and what pruning saves, from runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tslg.simulations.run import Outcome
from tslg.simulations.scenario import Group, Scenario, load, read
from tslg.simulations.sweeping import sweep

SIZES: Final = (50, 100, 200, 400)
"""Populations whose traffic is measured."""
_POPULATION_HOURS: Final = 0.05
_STORAGE: Final = """
[scenario]
name = "storage"
hours = 0.15
agents = 8
signatures = "modelled"
[federation]
anchors = 1
threshold = 1
gc_horizon_s = 60
[[groups]]
name = "agents"
record_s = 3
audit_s = 60
prune_s = {prune}
"""
Tell = Callable[[str], None]


def study(seeds: Sequence[int], workers: int | None, folder: Path, tell: Tell) -> dict[str, Any]:
    """Run all parts of the study, write `study.json` and the figures into a folder, and return the document.

    Raises ImportError without matplotlib.
    """
    from tslg.simulations import plots

    tell("depths")
    depths = depth_study(sweep(_readers(), seeds, workers))
    tell("populations")
    population = load("population").changed(hours=_POPULATION_HOURS)
    traffic = [_traffic(one) for size in SIZES for one in sweep(population.changed(agents=size), seeds[:1], 1)]
    tell("pruning")
    storage = {name: _storage(prune, seeds[0]) for name, prune in (("kept", 0), ("pruned", 60))}
    document = {"seeds": [seeds[0], seeds[-1]], "depths": depths, "traffic": traffic, "storage": storage}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    plots.draw(document, folder)
    return document


def _readers() -> Scenario:
    scenario = load("constrained-readers").changed(signatures="modelled")
    thieves = Group("thieves", 0.5, "rewriter", 30.0)
    return replace(scenario, verify_depth=None, groups=(*scenario.groups, thieves))


def depth_study(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return, by depth, the mean cost of an audit, the share of wrongs found, and the median time to the first finding.

    Depths in order, unbounded (None) last.
    """
    costs: dict[int | None, list[float]] = {}
    wrongs: dict[int | None, dict[str, list[int]]] = {}
    first: dict[int | None, list[float]] = {}
    names = ("audits", "requests", "bytes", "edges", "records")
    for outcome in outcomes:
        for one in outcome.readings["costs"]:
            held = costs.setdefault(one["depth"], [0.0] * len(names))
            costs[one["depth"]] = [a + one[name] for a, name in zip(held, names, strict=True)]
        for one in outcome.readings["wrongs"]:
            found = wrongs.setdefault(one["depth"], {}).setdefault(one["wrong"], [0, 0])
            found[0] += one["met"]
            found[1] += one["found"]
        for one in outcome.readings["first_found"]:
            first.setdefault(one["depth"], []).append(one["seconds"])
    rows = []
    for depth in sorted(costs, key=lambda depth: (depth is None, depth or 0)):
        audits, *sums = costs[depth]
        row: dict[str, Any] = {"depth": depth, "audits": int(audits)}
        row |= {name: round(value / audits, 2) for name, value in zip(names[1:], sums, strict=True)}
        row["found"] = {why: _share(pair) for why, pair in sorted(wrongs.get(depth, {}).items())}
        row["first_found_s"] = round(statistics.median(first[depth]), 2) if depth in first else None
        rows.append(row)
    return rows


def _share(pair: Sequence[int]) -> dict[str, Any]:
    return {"met": pair[0], "share": round(pair[1] / pair[0], 3)}


def _traffic(outcome: Outcome) -> dict[str, Any]:
    seconds = outcome.hours * 3_600 * outcome.agents
    sent: Mapping[str, int] = outcome.traffic
    return {
        "agents": outcome.agents,
        "messages_per_agent_s": round(sent["messages"] / seconds, 4),
        "bytes_per_agent_s": round(sent["bytes"] / seconds, 2),
    }


def _storage(prune: int, seed: int) -> list[dict[str, float]]:
    """Return the bytes that members hold after a tenth of the time, two tenths, …"""
    scenario = read(_STORAGE.format(prune=prune), "storage.toml")
    points = []
    for step in (2, 4, 6, 8, 10):
        (outcome,) = sweep(scenario.changed(hours=scenario.hours * step / 10), [seed], 1)
        points.append({"minutes": round(outcome.hours * 60, 2), "bytes": outcome.storage})
    return points
