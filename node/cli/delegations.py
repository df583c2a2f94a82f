"""`tslg delegations`: what was handed out and taken on, what became of it, and how to cancel it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import SHORT, data_option, existing_dir, find_record, read_home
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.delegating.listing import Listed

TOLD_SECONDS: Final = 5.0
"""How long a command waits for the delegate to hear of it; a node that runs later goes on telling it."""


@click.group(invoke_without_command=True)
@data_option
@json_option
@click.pass_context
def delegations(context: click.Context, data: Path | None, as_json: bool) -> None:
    """List the delegations that this node handed out or took on, the newest first."""
    if context.invoked_subcommand is not None:
        return
    from tslg.node.cli.describing import when
    from tslg.node.cli.terminal import print_table
    from tslg.node.delegating.listing import listed

    with read_home(data) as home:
        found = listed(home.store)
        if as_json:
            emit({"delegations": [_document(one) for one in found]}, True, "")
            return
        rows = [
            (one.side, _short(one.record.id), one.entry.state, when(one.entry.expires), one.entry.reason or "")
            for one in found
        ]
        print_table(("side", "delegation", "state", "expires", "reason"), rows)


@delegations.command()
@click.argument("delegation", metavar="ID")
@data_option
@json_option
def status(delegation: str, data: Path | None, as_json: bool) -> None:
    """Say what is known here of one delegation."""
    from tslg.node.cli.describing import plain, when
    from tslg.node.delegating.listing import listed
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    with read_home(data) as home:
        id = find_record(home.store, delegation)
        found = listed(home.store, id)
    if not found:
        raise UsageError(
            "this node neither handed that out nor took it on", mend="`tslg delegations` lists what it did", record=id
        )
    for one in found:
        entry = one.entry
        lines = [f"delegation {to_text(entry.delegation)}", f"state      {entry.state}"]
        lines += [f"{name:<11}{plain(value)}" for name, value in (("reason", entry.reason),) if value]
        lines += [f"{name:<11}{to_text(id)}" for name, id in (("result", entry.result), ("answer", entry.answer)) if id]
        lines.append(f"expires    {when(entry.expires)}")
        emit(_document(one), as_json, "\n".join(lines))
        # A node that delegates to itself is on both sides; its delegator's says all that there is.
        break


@delegations.command()
@click.argument("delegation", metavar="ID")
@click.option("--reason", default="not needed any more", show_default=True, help="Why, for everybody to read.")
@click.option("--listen", default="/ip4/127.0.0.1/tcp/0", show_default=True, help="Where the delegate may ask back.")
@data_option
@json_option
def cancel(delegation: str, reason: str, listen: str, data: Path | None, as_json: bool) -> None:
    """Withdraw a delegation, and tell its delegate; the state says whether that came in time."""
    import trio

    trio.run(_cancel, existing_dir(data), delegation, reason, listen, as_json)


async def _cancel(path: Path, delegation: str, reason: str, listen: str, as_json: bool) -> None:
    import trio

    from tslg.node.node import Node
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    async with Node.open(path, listen=listen) as node:
        id = find_record(node.home.store, delegation)
        handle = await node.handed_out(id)
        if handle is None:
            raise UsageError("this node did not hand that out", mend="`tslg delegations` lists what it did", record=id)
        made = await handle.cancel(reason)
        with trio.move_on_after(TOLD_SECONDS):
            await handle.tried()
        told = {"delegation": to_text(id), "retraction": to_text(made.id), "state": handle.state}
    emit(told, as_json, f"retraction {told['retraction']}\nstate      {told['state']}")


def _document(one: Listed) -> dict[str, Any]:
    from tslg.node.cli.describing import dag_json
    from tslg.protocol.cid import to_text

    entry = one.entry
    return {
        "side": one.side,
        "delegation": to_text(entry.delegation),
        "delegator": to_text(one.record.owner),
        "delegate": to_text(one.record.body["delegate"]),
        "task": dag_json(one.record.body["task"]),
        "expires": entry.expires,
        "state": entry.state,
        "reason": entry.reason,
        "result": entry.result and to_text(entry.result),
        "answer": entry.answer and to_text(entry.answer),
    }


def _short(id: Any) -> str:
    from tslg.protocol.cid import to_text

    return to_text(id)[:SHORT]
