"""`tslg gate`: the table of what a gate can be asked."""

from __future__ import annotations

from typing import Final

import click

from tslg.node.cli.lazy import Lazy, LazyGroup

COMMANDS: Final = {
    "replay": Lazy("tslg.node.cli.gate_replay:replay", "Put conversations that are over through a gate."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def gate() -> None:
    """Judge models' steps by a policy, before they are taken."""
