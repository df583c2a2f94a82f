"""`tslg import`: the table of formats that are read."""

from __future__ import annotations

from typing import Final

import click

from tslg.node.cli.lazy import Lazy, LazyGroup

FORMATS: Final = {
    "car": Lazy("tslg.node.cli.bundles:import_car", "A bundle of verified ancestry."),
    "otel": Lazy("tslg.node.cli.import_otel:otel", "Traces of agents, from OpenTelemetry."),
    "openrange": Lazy("tslg.node.cli.import_openrange:openrange", "Snapshots of OpenRange environments."),
    "transcripts": Lazy("tslg.node.cli.import_transcripts:transcripts", "Chat transcripts with tool calls."),
}


@click.group(name="import", cls=LazyGroup, lazy=FORMATS)
def import_() -> None:
    """Read lineage from a file of another format."""
