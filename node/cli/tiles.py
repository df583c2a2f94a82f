"""`tslg export tiles`: a log as static files that any web server can serve and any tlog client can read."""

from __future__ import annotations

from pathlib import Path

import click

from tslg.node.cli.access import FOLDER, data_option, find_log, read_home
from tslg.node.cli.output import emit, json_option


@click.command(name="tiles")
@click.argument("agent", metavar="NAME|ID")
@click.argument("folder", metavar="DIR", type=FOLDER)
@data_option
@json_option
def export_tiles(agent: str, folder: Path, data: Path | None, as_json: bool) -> None:
    """Write the log of an agent as a tlog-tiles directory, or bring one up to date.

    The entries are the ids of the records. The checkpoint is signed now, and carries the cosignatures of witnesses if
    they cosigned this very state.
    """
    from tslg.node import checkpoints, kept_checkpoints, tiling
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        owner = find_log(home.store, agent)
        signed = kept_checkpoints.kept(home.store, owner)
        if signed is None or signed.checkpoint != checkpoints.head_of(home.store, owner):
            signed = checkpoints.sign_head(home.store, owner, home.keyring.note_key(owner))
        leaves = home.store.leaves(owner, signed.checkpoint.size)
    done = tiling.export(folder, signed, leaves)
    told = {"agent": to_text(owner), "folder": str(folder), **done._asdict()}
    emit(told, as_json, f"{done.size} entries in {folder}, {done.size - done.old_size} of them new")
