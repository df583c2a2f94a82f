"""`tslg shared`: records anchored in a log that a neutral operator keeps for several tenants, and what proves that.

The operator runs `tslg node run --sequence AGENT`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import FILE, data_option, existing_dir, find_log, find_record, read_home, whole_id
from tslg.node.cli.output import emit, json_option, note

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.node.sharing.entries import Entry
    from tslg.protocol.codec import Link

LISTEN = "/ip4/127.0.0.1/tcp/0"
_OPERATOR = click.option("--operator", required=True, metavar="ID", help="The operator's agent, whose log it is.")
_PEER = click.option("--peer", required=True, metavar="ADDR", help="The operator's node, which ends in /p2p/<id>.")
_AGENT = click.option("--agent", "author", help="The tenant's agent that anchors, by name.  [the only one here]")


@click.group()
def shared() -> None:
    """Anchor records in a log that a neutral operator keeps for several tenants.

    The operator learns ids and nothing else; the other tenants learn how many there are, and hashes.
    """


@shared.command()
@click.argument("records", metavar="ID|NAME…", nargs=-1, required=True)
@_OPERATOR
@_PEER
@_AGENT
@data_option
@json_option
def submit(
    records: Sequence[str], operator: str, peer: str, author: str | None, data: Path | None, as_json: bool
) -> None:
    """Have records sequenced in the operator's log; an agent's NAME stands for the newest of its log.

    The newest record of a log commits to all that stand before it. What was sequenced already is not again.
    """
    import trio

    from tslg.node.net.libp2p.dialer import parse_address

    parse_address(peer)
    told = trio.run(_submit, existing_dir(data), list(records), whole_id(operator), peer, author)
    emit(told, as_json, f"position {told['position']} of the shared log, entry {told['entry']}")


async def _submit(path: Path, texts: list[str], operator: Link, peer: str, author: str | None) -> dict[str, Any]:
    import trio

    from tslg.node.cli.recording import chosen_agent
    from tslg.node.node import Node
    from tslg.node.presenting import bind_to
    from tslg.node.sharing.tenant import submit as submit_ids

    async with Node.open(path, listen=LISTEN) as node:
        agent = chosen_agent(node.home, author)
        await trio.to_thread.run_sync(bind_to, node.home, agent)
        ids = [_newest(node.home, text) for text in texts]
        return _told(await submit_ids(node, agent, operator, ids, peer))


def _newest(home: Home, text: str) -> Link:
    """Return the record that a text names, the newest of a log for its agent's name."""
    for agent in home.agents:
        if agent.name == text:
            state = home.store.log_state(agent.id)
            assert state is not None
            return state.last
    return find_record(home.store, text)


@shared.command(name="list")
@_OPERATOR
@_AGENT
@data_option
@json_option
def list_entries(operator: str, author: str | None, data: Path | None, as_json: bool) -> None:
    """List the entries that the tenant's agent has receipts for, the newest first."""
    with read_home(data) as home:
        found = [_told(entry) for entry in _entries(home, author, whole_id(operator))]
    lines = [f"{one['position']:>8}  {one['entry']}  {' '.join(one['records'])}" for one in found]
    emit({"entries": found}, as_json, "\n".join(lines) or "no entries")


@shared.command()
@_OPERATOR
@_PEER
@_AGENT
@click.option("--checkpoint", "files", multiple=True, type=FILE, help="A checkpoint that the operator signed; repeat.")
@data_option
@json_option
def check(operator: str, peer: str, author: str | None, files: Sequence[Path], data: Path | None, as_json: bool) -> int:
    """Hold the shared log to the tenant's own entries, and to checkpoints: its operator's, and those shown to others.

    Exit code: 0 they are of one log that only grew, 1 the operator vouched for two, 2 a proof was not had.
    """
    import trio

    from tslg.node.net.libp2p.dialer import parse_address
    from tslg.node.sharing.checking import EXIT_CODES
    from tslg.protocol.cid import to_text

    parse_address(peer)
    owner = whole_id(operator)
    found = trio.run(_check, existing_dir(data), owner, peer, author, list(files))
    told = {
        "verdict": found.verdict,
        "operator": to_text(owner),
        "states": [{"size": one.size, "root": one.root.hex(), "known_by": one.known_by} for one in found.states],
        "broken": [{"what": what, "why": why} for what, why in found.broken],
    }
    lines = [f"{found.verdict}: {len(found.states)} states of the shared log compared"]
    lines += [f"  {what}: {why}" for what, why in found.broken]
    emit(told, as_json, "\n".join(lines))
    return EXIT_CODES[found.verdict]


async def _check(path: Path, operator: Link, peer: str, author: str | None, files: list[Path]) -> Any:
    from tslg.node.cli.heads import read_checkpoint
    from tslg.node.node import Node
    from tslg.node.sharing import checking

    async with Node.open(path, listen=LISTEN) as node:
        home = node.home
        entries = _entries(home, author, operator)
        states = [
            checking.read_checkpoint(home.store, home.ledger.context, operator, read_checkpoint(file), file.name)
            for file in files
        ]
        assert node.network is not None
        return await checking.check(node.network, peer, operator, entries, states)


@shared.command()
@click.argument("record", metavar="ID")
@click.argument("file", type=FILE)
@_OPERATOR
@_AGENT
@data_option
@json_option
def prove(record: str, file: Path, operator: str, author: str | None, data: Path | None, as_json: bool) -> int:
    """Write a bundle to FILE that shows anybody at which position of the shared log the record ID stands.

    It shows the entry, which names what else was sequenced with it, and nothing of what any of it says.

    Exit code: 0 if it is written; 1 if the entry is invalid, 2 if something of it could not be had, and nothing is.
    """
    from tslg.node.bundling import write_walked
    from tslg.node.cli.files import replacing
    from tslg.node.cli.reporting import reasons
    from tslg.node.sharing.proof import proof_of
    from tslg.node.sharing.tenant import entry_with
    from tslg.protocol.report import VALID

    with read_home(data) as home:
        entry = entry_with(_entries(home, author, whole_id(operator)), find_record(home.store, record))
        walked = proof_of(home, entry)
    report = walked.report
    written = report.verdict == VALID
    if written:
        with replacing(file) as stream:
            write_walked(stream, walked)
    for line in reasons(report):
        note(line.strip())
    told = {"verdict": report.verdict, "proof": str(file) if written else None, **_told(entry)}
    shown = f"proof {file}" if written else "nothing was written"
    emit(told, as_json, f"{report.verdict}  position {entry.position}  {shown}")
    return report.exit_code


@shared.command()
@click.argument("file", type=FILE)
@click.argument("record", metavar="ID")
@click.option("--federation", required=True, metavar="ID", help="The federation's id, all that is trusted.")
@json_option
def verify(file: Path, record: str, federation: str, as_json: bool) -> int:
    """Verify a proof that `tslg shared prove` wrote, and say at which position of whose log the record ID stands.

    Exit code: 0 it stands there; 1 the proof is invalid, or shows no such record; 2 it is not whole.
    """
    from tslg.node.cli.verify import read_bundle
    from tslg.node.home import wall_clock
    from tslg.node.sharing.proof import read_proof
    from tslg.protocol.cid import to_text
    from tslg.protocol.report import VALID

    shown = read_proof(read_bundle(file), whole_id(federation), whole_id(record), wall_clock())
    report, entry = shown.report, shown.entry
    verdict = "invalid" if report.verdict == VALID and entry is None else report.verdict
    told: dict[str, Any] = {"verdict": verdict, "record": record}
    text = f"{verdict}  the proof shows no such record"
    if entry is not None:
        told |= {"operator": to_text(entry.record.owner), **_told(entry)}
        text = f"{verdict}  position {entry.position} of the log of {told['operator']}, by {told['tenant']}"
    emit(told, as_json, text)
    return {"valid": 0, "invalid": 1}.get(verdict, 2)


def _entries(home: Home, author: str | None, operator: Link) -> list[Entry]:
    """Return the entries that a tenant's agent has receipts for."""
    from tslg.node.sharing.entries import entries_of

    owners = [find_log(home.store, author)] if author is not None else [key.genesis.id for key in home.agent_keys()]
    return [entry for owner in owners for entry in entries_of(home.store, home.ledger.context, owner, operator)]


def _told(entry: Entry) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    return {
        "position": entry.position,
        "entry": to_text(entry.record.id),
        "records": [to_text(id) for id in entry.ids],
        "tenant": to_text(entry.tenant),
        "delegation": to_text(entry.delegation),
        "time": entry.record.time,
    }
