"""How many events a second a simulated population makes: of the command, in a process of its own."""

from __future__ import annotations

import json
from typing import Final

from tslg.node.bench.figures import MeasurementError, Row, Series, Side, Target
from tslg.node.bench.processes import python
from tslg.node.bench.setting import Setting

MINUTES: Final = 10
RECORDS_AN_AGENT: Final = 10
LARGE: Final = 10_000
"""Agents of the large measurement."""


def events(setting: Setting) -> list[Row]:
    """Run ten simulated minutes of a population of a tenth as many agents as `records`, and of 10,000 if `large`."""
    sizes = [max(2, setting.records // RECORDS_AN_AGENT), *([LARGE] if setting.large else [])]
    return [_row(agents) for agents in dict.fromkeys(sizes)]


def _row(agents: int) -> Row:
    hours = f"{MINUTES / 60:.4f}"
    said = json.loads(
        python("-m", "tslg.node.cli", "simulate", "population", "--agents", str(agents), "--hours", hours, "--json")
    )
    if said["broken"] is not None:
        raise MeasurementError(f"the population did not hold: {said['broken']['explanation']}")
    rate = Series.of([said["events"] / said["processor_s"]])
    title = f"simulation, {agents:,} agents, {MINUTES} minutes, modelled signatures"
    ours = Side(f"{said['events']:,} events", Series.of([said["processor_s"]]), "s of one core")
    return Row(f"simulation-{agents}", title, rate, "events/s", ours, None, Target(100_000, True, gates=False))
