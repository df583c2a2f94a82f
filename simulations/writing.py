"""Writing a scenario as the TOML text that reads back as it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import tomlkit

from tslg.simulations.chance import Distribution
from tslg.simulations.network import Weather
from tslg.simulations.scenario import FAULTS, Event, Fault, Group, Link, Scenario
from tslg.simulations.work import Habits


def to_text(scenario: Scenario) -> str:
    """Return the TOML of a scenario; what is as usual is left out."""
    document: dict[str, Any] = {
        "scenario": {
            "name": scenario.name,
            "signatures": scenario.signatures,
            "hours": scenario.hours,
            "agents": scenario.agents,
        },
        "federation": {
            "scheme": scenario.scheme,
            "anchors": scenario.anchors,
            "threshold": scenario.threshold,
            "attested": scenario.attested,
            "verify_depth": _depth(scenario.verify_depth),
            "gc_horizon_s": scenario.gc_horizon_s,
            "quorum": scenario.quorum,
            "epoch_s": scenario.epoch_s,
        },
        "network": {
            "peers": scenario.peers,
            "hops": scenario.hops,
            "heartbeat_s": scenario.heartbeat_s,
            **_weather(scenario.weather),
        },
        "links": [_link(link) for link in scenario.links],
        "groups": [_group(group) for group in scenario.groups],
        "faults": [_fault(fault) for fault in scenario.faults],
        "events": [_event(event) for event in scenario.events],
        "invariants": {"fork_bound_s": scenario.fork_bound_s},
    }
    return tomlkit.dumps({name: value for name, value in document.items() if value != []})


def _depth(depth: int | None) -> int | str:
    return "unbounded" if depth is None else depth


def _latency(latency: Distribution) -> dict[str, Any]:
    return {"kind": latency.kind, "ms": latency.ms, **latency.more}


def _weather(weather: Weather) -> dict[str, Any]:
    odds = ("loss", "duplicate", "reorder", "replay", "corrupt", "bytes_per_ms")
    said = {name: getattr(weather, name) for name in odds if getattr(weather, name)}
    return {"latency": _latency(weather.latency), **said}


def _link(link: Link) -> dict[str, Any]:
    return {"from": link.source, "to": link.target, **_weather(link.weather)}


def _group(group: Group) -> dict[str, Any]:
    said: dict[str, Any] = {"name": group.name, "share": group.share, "behaviour": group.behaviour}
    said["every_s"] = group.every_s
    if group.count:
        said["count"] = group.count
    if group.delegates_to:
        said["delegates_to"] = list(group.delegates_to)
    usual = Habits()
    for one in fields(Habits):
        value = getattr(group.habits, one.name)
        if value != getattr(usual, one.name):
            said[one.name] = [_depth(depth) for depth in value] if one.name == "depths" else value
    return said


def _fault(fault: Fault) -> dict[str, Any]:
    said: dict[str, Any] = {"kind": fault.kind, "at_s": fault.at_s, "for_s": fault.for_s}
    for name in ("groups", *FAULTS[fault.kind]):
        value = getattr(fault, name)
        if value != ():
            said[name] = list(value) if isinstance(value, tuple) else value
    return said


def _event(event: Event) -> dict[str, Any]:
    said: dict[str, Any] = {"kind": event.kind, "at_s": event.at_s}
    return said | ({"groups": list(event.groups)} if event.groups else {})
