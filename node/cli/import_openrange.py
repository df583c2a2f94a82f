"""`tslg import openrange`: a folder of OpenRange snapshots becomes artifacts, single parents and several alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tslg.node.cli.access import FOLDER, data_dir, data_option
from tslg.node.cli.output import emit, json_option


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--agent", default="openrange", show_default=True, help="The agent that records; made if there is none.")
@click.option("--licence", "licences", multiple=True, metavar="SPDX", help="Holds for all of them; repeat.")
@data_option
@json_option
def openrange(folder: Path, agent: str, licences: Sequence[str], data: Path | None, as_json: bool) -> None:
    """Import the snapshots in FOLDER, files `<id>.json` with a `lineage`; all of them or none, and each once.

    A node of the lineage names its `parent_id`, or `parent_ids`, and may name the `cohort` that it was made in.
    """
    from tslg.node.adapters.openrange.importing import import_snapshots
    from tslg.node.adapters.openrange.reading import read_folder
    from tslg.node.cli.terminal import counting
    from tslg.node.home import Home
    from tslg.protocol.cid import to_text

    snapshots = read_folder(folder)
    with Home.open(data_dir(data)) as home, counting("snapshots") as tick:
        found = import_snapshots(home.agent(agent), home.store, snapshots, licences=licences, tick=tick)
    told: dict[str, Any] = {
        "snapshots": {id: to_text(artifact) for id, artifact in found.artifacts.items()},
        "new": list(found.new),
        "files": list(found.files),
    }
    emit(told, as_json, lambda: f"{len(found.artifacts)} snapshots, {len(found.new)} of them new")
