"""`tslg replicate`: hold other agents' logs whole, verified as they arrive, so that they can be served from here."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tslg.node.cli.access import FILE, data_dir, data_option, whole_id
from tslg.node.cli.output import emit, json_option, note

if TYPE_CHECKING:
    from tslg.node.config import NodeConfig
    from tslg.node.node import Node
    from tslg.node.replication.report import SyncReport
    from tslg.node.verifying import Tick
    from tslg.protocol.codec import Link

LISTEN = "/ip4/127.0.0.1/tcp/0"
LAST_SECONDS = 2.0
"""How long what is under way when the signal comes may take to be complete."""


@click.command()
@click.argument("agents", metavar="ID…", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every log of the federation that the peers hold whole.")
@click.option("--peer", "peers", multiple=True, required=True, help="An address that ends in /p2p/<id>; repeat.")
@click.option("--federation", type=FILE, help="The sealed root manifest, for a new data directory.")
@click.option("--follow", is_flag=True, help="Go on with what is appended, until SIGTERM or Ctrl-C.")
@data_option
@json_option
def replicate(
    agents: Sequence[str],
    everything: bool,
    peers: Sequence[str],
    federation: Path | None,
    follow: bool,
    data: Path | None,
    as_json: bool,
) -> int:
    """Hold the logs of agents whole, as far as the peers have them; every record is verified before it is stored.

    What is stored stays, so a run that was broken off goes on where it ended. Exit code: 0 all are complete, 1 an
    author forked or broke one of them, 2 something could not be had.
    """
    import trio

    path = directory_of(data, federation)
    ids = _owners(agents, everything)
    check_peers(peers)
    if follow:
        report = trio.run(_follow, path, federation, ids, peers, as_json)
    else:
        from tslg.node.cli.terminal import counting

        with counting("replicated") as tick:
            report = trio.run(_once, path, federation, ids, peers, tick)
    emit(report.to_json(), as_json, report.to_text)
    return report.exit_code


def directory_of(data: Path | None, federation: Path | None) -> Path:
    """Return the data directory; of a new one the federation must be given. Raises UsageError."""
    from tslg.node.store.opening import has_store
    from tslg.protocol.errors import UsageError

    path = data_dir(data)
    if federation is None and not has_store(path):
        raise UsageError(f"{path} belongs to no federation yet", mend="give the sealed root manifest with --federation")
    return path


def _owners(agents: Sequence[str], everything: bool) -> list[Link] | None:
    """Return the logs that are asked for, None for all. Raises UsageError unless it is one or the other."""
    from tslg.protocol.errors import UsageError

    if bool(agents) == everything:
        raise UsageError("whose logs?", mend="name agents by their whole ids, or give --all")
    return None if everything else [whole_id(text) for text in agents]


def check_peers(peers: Sequence[str]) -> None:
    """Refuse what is no address before anything is started. Raises AddressError."""
    from tslg.node.net.libp2p.dialer import parse_address

    for peer in peers:
        parse_address(peer)


async def _once(
    path: Path, federation: Path | None, ids: list[Link] | None, peers: Sequence[str], tick: Tick | None
) -> SyncReport:
    from tslg.node.config import NodeConfig
    from tslg.node.node import Node

    async with Node.open(path, federation=federation, config=NodeConfig(listen=(LISTEN,))) as node:
        return await node.replicate(ids, peers, tick=tick)


async def _follow(
    path: Path, federation: Path | None, ids: list[Link] | None, peers: Sequence[str], as_json: bool
) -> SyncReport:
    """Follow until a signal, then say how far it came."""
    import trio

    from tslg.node.node import Node
    from tslg.node.replication.report import SyncReport

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with Node.open(path, federation=federation, config=following(ids, peers)) as node:
            assert node.replication is not None
            note(f"following; stop with SIGTERM or Ctrl-C; served at {', '.join(node.addresses)}")
            async with trio.open_nursery() as nursery:
                if not as_json:
                    nursery.start_soon(_show, node)
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel()
            started = trio.current_time()
            report = SyncReport(tuple(await node.replication.status()), (), {}, tuple(node.replication.blamed), 0.0)
            with trio.move_on_after(LAST_SECONDS):
                while report.exit_code:
                    await trio.sleep(0.1)
                    logs = tuple(await node.replication.status())
                    report = SyncReport(logs, (), {}, tuple(node.replication.blamed), trio.current_time() - started)
            return report


def following(ids: list[Link] | None, peers: Sequence[str]) -> NodeConfig:
    """Return the settings of a node that follows these logs, all for None, at these peers."""
    from tslg.node.config import NodeConfig
    from tslg.node.replication.service import FEDERATION
    from tslg.protocol.cid import to_text

    chosen = (FEDERATION,) if ids is None else tuple(to_text(id) for id in ids)
    return NodeConfig(listen=(LISTEN,), replicate=chosen, replicate_from=tuple(peers))


async def _show(node: Node) -> None:
    """Print a line for every log that grew, as often as it does."""
    import trio

    from tslg.node.services import grown
    from tslg.protocol.cid import to_text

    async with aclosing(grown(node.home.ledger.growth)) as changes:
        async for owners in changes:
            for owner in owners:
                state = await trio.to_thread.run_sync(node.home.store.log_state, owner)
                if state is not None:
                    click.echo(f"{to_text(owner)}  {state.size} records")
