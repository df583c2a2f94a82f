"""`tslg checkpoint`: the state of a log, signed, for others to hold it against later."""

from __future__ import annotations

from pathlib import Path

import click

from tslg.node.cli.access import FILE, data_option, find_log, read_home, write_home
from tslg.node.cli.output import emit, json_option


class _Checkpoint(click.Group):
    """The group of `tslg checkpoint`, whose first command need not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name of the first command before arguments that name none."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args.insert(0, "sign")
        return super().parse_args(ctx, args)


@click.group(cls=_Checkpoint)
def checkpoint() -> None:
    """Sign the state of a log, for others to keep: `tslg checkpoint NAME`. Or observe that of another's."""


@checkpoint.command()
@click.argument("agent", metavar="NAME|ID")
@click.option("--out", type=FILE, help="Where to write it.  [stdout]")
@data_option
@json_option
def sign(agent: str, out: Path | None, data: Path | None, as_json: bool) -> None:
    """Sign the present size and root of an agent's log, for others to keep.

    Whoever keeps it finds out later if the log was cut off or rewritten: `tslg verify --head FILE`.
    """
    from tslg.node.checkpoints import sign_head
    from tslg.node.cli.files import write_replacing
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        owner = find_log(home.store, agent)
        signed = sign_head(home.store, owner, home.keyring.note_key(owner))
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


@checkpoint.command()
@click.argument("checkpoint", metavar="NAME|ID|FILE")
@click.option("--as", "name", required=True, metavar="NAME", help="The agent that records it.")
@data_option
@json_option
def cite(checkpoint: str, name: str, data: Path | None, as_json: bool) -> None:
    """Record a checkpoint of another agent's log as an observation: from a file, or the newest that is known here.

    Whoever audits what rests on the observation holds that log against it.
    """
    from tslg.node import kept_checkpoints
    from tslg.node.checkpoints import sign_head
    from tslg.node.cli.heads import read_checkpoint
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    with write_home(data) as home:
        if Path(checkpoint).is_file():
            signed = read_checkpoint(Path(checkpoint))
        else:
            owner = find_log(home.store, checkpoint)
            kept = kept_checkpoints.kept(home.store, owner)
            if kept is None and not home.ledger.writes(owner):
                raise UsageError(
                    "no checkpoint of that log is known here", mend="ask its node for one, and give the file"
                )
            signed = kept if kept is not None else sign_head(home.store, owner, home.keyring.note_key(owner))
        made = [agent for agent in home.agents if agent.name == name]
        if not made:
            raise UsageError(f"no agent here is named {name[:80]!r}", code="TSLG-U-UNKNOWN", mend="`tslg agent list`")
        record = made[0].observe_checkpoint(signed.to_bytes())
    head = signed.checkpoint
    told = {"record": to_text(record.id), "log": head.origin, "size": head.size, "root": head.root.hex()}
    emit(told, as_json, to_text(record.id))
