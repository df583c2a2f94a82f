"""`tslg checkpoint`: the state of a log, signed, for others to hold it against later."""

from __future__ import annotations

from pathlib import Path

import click

from tslg.node.cli.access import FILE, data_option, find_log, read_home
from tslg.node.cli.output import emit, json_option


@click.command()
@click.argument("agent", metavar="NAME|ID")
@click.option("--out", type=FILE, help="Where to write it.  [stdout]")
@data_option
@json_option
def checkpoint(agent: str, out: Path | None, data: Path | None, as_json: bool) -> None:
    """Sign the present size and root of an agent's log, for others to keep.

    Whoever keeps it finds out later if the log was cut off or rewritten: `tslg verify --head FILE`.
    """
    from tslg.node.checkpoints import sign_head
    from tslg.node.cli.files import write_replacing
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        owner = find_log(home.store, agent)
        signed = sign_head(home.store, owner, home.agent_key(owner))
        head, note = signed.checkpoint, signed.to_bytes()
        last = home.store.at(owner, head.size - 1)
        assert last is not None
    if out is not None:
        write_replacing(out, note)
    told = {
        "agent": to_text(owner),
        "size": head.size,
        "root": head.root.hex(),
        "record": to_text(last),
        "checkpoint": note.decode(),
        "file": None if out is None else str(out),
    }
    emit(told, as_json, note.decode().removesuffix("\n") if out is None else f"checkpoint {out}")
