"""`tslg gate`: the table of what a gate can be asked."""

from __future__ import annotations

from typing import Final

import click

from tslg.node.cli.lazy import Lazy, LazyGroup

COMMANDS: Final = {
    "check": Lazy("tslg.node.cli.gate_steps:check", "Check a policy, and try a step without recording it."),
    "submit": Lazy("tslg.node.cli.gate_steps:submit", "Judge a step, and record what was decided."),
    "show": Lazy("tslg.node.cli.gate_steps:show", "Show an agent's semantic state and its newest steps."),
    "replay": Lazy("tslg.node.cli.gate_replay:replay", "Put conversations that are over through a gate."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def gate() -> None:
    """Judge models' steps by a policy, before they are taken.

    Exit codes: 0 admitted, 1 rejected, 3 usage or environment.
    """
