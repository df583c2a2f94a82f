"""`tslg delegate`: hand a task and a policy to an agent of another node, and wait for its answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import data_option, existing_dir, find_record
from tslg.node.cli.given import given_map, given_moment
from tslg.node.cli.output import emit, json_option, note

if TYPE_CHECKING:
    from tslg.node.node import Node
    from tslg.protocol.report import Report


@click.command()
@click.argument("to", metavar="AGENT")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--task-json", metavar="JSON", help="The task as a JSON map.")
@click.option("--grant", required=True, metavar="ID", help="The policy under which it may be done.")
@click.option("--peer", required=True, help="The address of the agent's node, which ends in /p2p/<id>.")
@click.option("--expires", default="1d", show_default=True, metavar="MOMENT", help="Until when.")
@click.option("--hops", default=0, show_default=True, type=click.IntRange(0), help="How often it may be passed on.")
@click.option("--agent", "author", help="The agent that delegates, by name.  [the only one here]")
@click.option("--listen", default="/ip4/127.0.0.1/tcp/0", show_default=True, help="Where the delegate may ask back.")
@click.option("--wait/--no-wait", default=True, help="Wait for the answer, or leave it to a node run later.  [wait]")
@click.option("--fetch/--no-fetch", default=True, help="Verify and keep the answer.  [yes]")
@data_option
@json_option
def delegate(to: str, pairs: tuple[str, ...], task_json: str | None, **options: Any) -> int:
    """Delegate a task, the pairs, to AGENT and wait for the id of the record that answers it.

    With --no-wait the delegate may be away: `tslg node run` on this data directory goes on handing it over until it
    expires, and `tslg delegations` says what became of it.

    Exit code: that of the answer's verification, 0 to 2; 0 with --no-fetch and --no-wait.
    """
    import trio

    from tslg.node.home import wall_clock
    from tslg.node.net.libp2p.dialer import parse_address

    parse_address(options["peer"])
    task = given_map(pairs, task_json)
    expires = given_moment(options["expires"], wall_clock())
    if not options["wait"]:
        return trio.run(_leave, existing_dir(options["data"]), to, task, expires, options)
    return trio.run(_delegate, existing_dir(options["data"]), to, task, expires, options)


async def _leave(path: Path, to: str, task: dict[str, Any], expires: int, options: dict[str, Any]) -> int:
    """Hand a delegation over if the delegate is there, and leave it to a node that runs later if not."""
    import trio

    from tslg.node.cli.delegations import TOLD_SECONDS
    from tslg.node.cli.recording import agent_id, chosen_agent
    from tslg.node.node import Node
    from tslg.protocol.cid import to_text

    async with Node.open(path, listen=options["listen"]) as node:
        home = node.home
        handle = await node.offer(
            chosen_agent(home, options["author"]),
            agent_id(home, to),
            task,
            find_record(home.store, options["grant"]),
            peer=options["peer"],
            expires=expires,
            hops=options["hops"],
        )
        with trio.move_on_after(TOLD_SECONDS):
            await handle.tried()
        told = {"delegation": to_text(handle.delegation.id), "state": handle.state, "reason": handle.reason}
    lines = [f"delegation {told['delegation']}", f"state      {told['state']}"]
    if told["reason"] is not None:
        note(str(told["reason"]))
    emit(told, options["as_json"], "\n".join(lines))
    return 0


async def _delegate(path: Path, to: str, task: dict[str, Any], expires: int, options: dict[str, Any]) -> int:
    from tslg.node.cli.recording import agent_id, chosen_agent
    from tslg.node.cli.terminal import progress_bar
    from tslg.node.node import Node
    from tslg.protocol.cid import to_text

    async with Node.open(path, listen=options["listen"]) as node:
        store = node.home.store
        with progress_bar("the delegate is at work") as bar:
            made, answer = await node.delegate(
                chosen_agent(node.home, options["author"]),
                agent_id(node.home, to),
                task,
                find_record(store, options["grant"]),
                peer=options["peer"],
                expires=expires,
                hops=options["hops"],
                tick=bar,
            )
        report = await _fetch(node, answer, options)
    told = {"delegation": to_text(made.id), "answer": to_text(answer), "report": report and report.to_json()}
    lines = [f"delegation {told['delegation']}", f"answer     {told['answer']}"]
    if report is not None:
        from tslg.node.cli.reporting import report_text

        lines += ["", report_text(report)]
    emit(told, options["as_json"], "\n".join(lines))
    return 0 if report is None else report.exit_code


async def _fetch(node: Node, answer: Any, options: dict[str, Any]) -> Report | None:
    if not options["fetch"]:
        return None
    return await node.fetch(answer, [options["peer"]], depth=node.home.manifest.envelope.verify_depth)
