"""`tslg import`: what other programs wrote down becomes records here."""

from __future__ import annotations

from typing import Final

import click

from tslg.node.cli.lazy import Lazy, LazyGroup

COMMANDS: Final = {
    "transcripts": Lazy("tslg.node.cli.import_transcripts:transcripts", "Chat transcripts with tool calls."),
}


@click.group("import", cls=LazyGroup, lazy=COMMANDS)
def importing() -> None:
    """Make records of what other programs wrote down."""
