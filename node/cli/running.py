"""`tslg node run`: a node as a process, until it is told to stop."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import data_dir, data_option, whole_id
from tslg.node.cli.output import emit, json_option, note

if TYPE_CHECKING:
    from tslg.node.config import NodeConfig
    from tslg.node.node import Node


@click.group()
def node() -> None:
    """Run a node."""


@node.command()
@data_option
@click.option("--listen", multiple=True, metavar="MULTIADDR", help="Where to listen; /ip4/127.0.0.1/tcp/0 if not set.")
@click.option(
    "--federation",
    metavar="FILE|ID",
    help="The file with the sealed root manifest to join, or the id that the data directory must belong to.",
)
@click.option("--announce", multiple=True, metavar="MULTIADDR", help="Give others this address instead; repeat.")
@click.option("--bootstrap", multiple=True, metavar="ADDRESS", help="Keep in contact with this node; repeat.")
@click.option(
    "--discovery/--no-discovery",
    default=None,
    help="Find others, and be found, by the ids of agents and federations; on with --bootstrap.",
)
@click.option("--mdns", is_flag=True, default=None, help="Find others, and be found, on the local network.")
@click.option("--api", metavar="unix|HOST:PORT|off", help="Where processes of this host may write; unix if not set.")
@click.option("--bitswap", is_flag=True, default=None, help="Serve single records to IPFS clients, by CID.")
@click.option("--gossip", is_flag=True, default=None, help="Announce the heads of own logs, and hear others'.")
@click.option(
    "--replicate", multiple=True, metavar="ID|federation", help="Hold an agent's log whole, or all of them; repeat."
)
@click.option("--replicate-from", multiple=True, metavar="ADDR", help="A peer to follow those logs at; repeat.")
@click.option("--sequence", metavar="AGENT", help="Keep a log for several tenants by this agent: see `tslg shared`.")
@click.option("--tenant", "tenants", multiple=True, metavar="ID", help="Whose records it sequences; repeat.  [all]")
@click.option("--log-format", metavar="text|json", help="How to log to stderr; text if not set.")
@click.option("--log-level", metavar="LEVEL", help="What to log: debug, info, warning or error; warning if not set.")
@click.option("--withhold", multiple=True, metavar="KIND/FIELD", help="Give peers no such fields, * for any; repeat.")
@click.option("--work", multiple=True, metavar="AGENT=COMMAND", help="Do what is delegated to AGENT by it; repeat.")
@json_option
def run(data: Path | None, federation: str | None, work: tuple[str, ...], as_json: bool, **settings: Any) -> None:
    """Serve this node's lineage until SIGTERM or SIGINT.

    A new data directory founds a federation of its own, unless --federation names the file of one. What no option says
    is taken from the environment (TSLG_NODE_LISTEN and so on), and then from node.toml in the data directory.

    A COMMAND of --work is started for every delegation to the agent, which is made if there is none. It gets the
    delegation as JSON on its standard input and writes lines: {"done": N, "total": N} as often as it likes, and once
    {"result": {…}} or {"refused": "why"}.
    """
    import trio

    from tslg.node.allocator import bound_arenas
    from tslg.node.config import NodeConfig
    from tslg.node.logs import configure

    path = data_dir(data)
    if settings["bootstrap"] and settings["discovery"] is None:
        settings["discovery"] = True
    flags = {name: None if value == () else value for name, value in settings.items()}
    config = NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), api="unix").over(path).with_values(flags)
    joined = _federation(path, federation)
    configure(config.log_format, config.log_level)
    bound_arenas()
    trio.run(_serve, path, joined, config, _works(work), as_json)


@node.command()
@data_option
@json_option
def status(data: Path | None, as_json: bool) -> None:
    """Say what the node that runs on a data directory is doing."""
    from tslg.node.api.client import LocalNode

    with LocalNode(data_dir(data)) as running:
        told = _texts(running.status())
    lines = [
        f"federation {told['federation']}; process {told['pid']}, {told['seconds']:.0f} s, version {told['version']}",
        *(f"listens at {address}" for address in told["addresses"]),
        f"{len(told['peers'])} peers connected, {told['logs']} logs held",
        *(f"agent {one['name']}  {one['agent']}  {one['records']} records" for one in told["agents"]),
    ]
    emit(told, as_json, "\n".join(lines))


def _texts(value: Any) -> Any:
    """Return a status with its ids as text."""
    from tslg.protocol.cid import Link, to_text

    if isinstance(value, Link):
        return to_text(value)
    if isinstance(value, dict):
        return {key: _texts(item) for key, item in value.items()}
    return [_texts(item) for item in value] if isinstance(value, list) else value


def _federation(path: Path, given: str | None) -> Path | None:
    """Return the file to join a federation by; an id is checked against the directory's own.

    Raises:
        UsageError: the directory belongs to another federation, or to none that an id alone could be checked against.
    """
    from tslg.node.home import Home
    from tslg.node.store.opening import has_store
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    if given is None:
        return None
    if Path(given).is_file():
        return Path(given)
    wanted = whole_id(given)
    if not has_store(path):
        raise UsageError(
            f"{path} belongs to no federation yet", mend="give --federation the file with the sealed root manifest"
        )
    with Home.read(path) as home:
        if home.federation != wanted:
            raise UsageError(
                f"{path} belongs to federation {to_text(home.federation)}", mend="use another data directory"
            )
    return None


def _works(given: tuple[str, ...]) -> dict[str, list[str]]:
    """Return commands by the name of the agent that they work for. Raises UsageError."""
    from tslg.protocol.errors import UsageError

    works = {}
    for one in given:
        agent, mark, command = one.partition("=")
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--work {one!r}: {error}", mend="write AGENT=COMMAND") from error
        if not agent or not mark or not words:
            raise UsageError(f"--work {one!r} is not AGENT=COMMAND", mend="write AGENT=COMMAND")
        works[agent] = words
    return works


async def _serve(
    path: Path, federation: Path | None, config: NodeConfig, works: dict[str, list[str]], as_json: bool
) -> None:
    import trio

    from tslg.node.allocator import keep_lean
    from tslg.node.node import Node

    # Signals are received before the node starts, so that one that comes while it does ends it in order as well.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(wait)
            nursery.start_soon(keep_lean)
            async with Node.open(path, federation=federation, config=config) as opened:
                for name, command in works.items():
                    from tslg.node.cli.working import work_by

                    opened.on_delegation(await opened.agent(name), work_by(command))
                if config.sequence:
                    await _sequence(opened, config)
                _announce(opened, as_json)
                await trio.sleep_forever()


async def _sequence(opened: Node, config: NodeConfig) -> None:
    import trio

    from tslg.node.presenting import bind_to
    from tslg.node.sharing.sequencing import sequencer

    agent = await opened.agent(config.sequence)
    await trio.to_thread.run_sync(bind_to, opened.home, agent.blocking)
    tenants = frozenset(map(whole_id, config.tenants))
    opened.on_delegation(agent, sequencer(opened.gatekeeper, tenants), again=True)


def _announce(opened: Node, as_json: bool) -> None:
    """Say where the node can be reached, on stdout, at once."""
    from tslg.protocol.cid import to_text

    assert opened.network is not None
    data: dict[str, Any] = {
        "peer_id": opened.network.peer_id,
        "addresses": list(opened.addresses),
        "federation": to_text(opened.federation),
    }
    if as_json:
        click.echo(json.dumps(data))
        return
    for address in opened.addresses:
        click.echo(address)
    agents = ", ".join(agent.name for agent in opened.home.agents) or "no agents yet"
    note(f"federation {data['federation']}; serving {agents}; stop with SIGTERM or Ctrl-C")
