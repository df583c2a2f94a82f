"""`tslg witness`: run a witness of others' logs, and say where the witnesses of one's own logs answer."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import click

from tslg.node.cli.access import FILE, FOLDER, data_dir, data_option, existing_dir
from tslg.node.cli.output import emit, json_option, note

_FOLDER = click.argument("folder", metavar="DIR", type=FOLDER)


@click.group()
def witness() -> None:
    """Run a witness, and use witnesses."""


@witness.command()
@_FOLDER
@click.option("--name", required=True, help="Its name, such as witness.example.org/w1; no spaces, no plus.")
@click.option(
    "--alg", "algs", type=click.Choice(["Ed25519", "ML-DSA-44"]), multiple=True, help="Repeat for both.  [Ed25519]"
)
@json_option
def new(folder: Path, name: str, algs: tuple[str, ...], as_json: bool) -> None:
    """Make the keys of a new witness in DIR, and print the keys that verify it."""
    import os

    from tslg.node.witness import key as keys
    from tslg.node.witness.witness import KEYS_FILE
    from tslg.protocol.errors import UsageError
    from tslg.protocol.note import valid_name

    if not valid_name(name):
        raise UsageError(f"{name!r} is no name of a witness", mend="leave out spaces and plus signs")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = [keys.WitnessKey(name, keys.ALGORITHMS[alg], os.urandom(32)) for alg in dict.fromkeys(algs or ("Ed25519",))]
    keys.write(folder / KEYS_FILE, made)
    texts = [key.public.text for key in made]
    emit({"name": name, "keys": texts, "folder": str(folder)}, as_json, "\n".join(texts))


@witness.command()
@_FOLDER
@click.argument("logs", metavar="VKEY…", nargs=-1, required=True)
@json_option
def add(folder: Path, logs: tuple[str, ...], as_json: bool) -> None:
    """Make the witness in DIR know logs by their keys.

    A log's key is what `tslg agent show` prints as log_key; its name is the log's origin.
    """
    from tslg.node.witness.state import WitnessState
    from tslg.node.witness.witness import STATE_FILE
    from tslg.protocol.errors import UsageError
    from tslg.protocol.note import ED25519, parse_key

    keys = [parse_key(text) for text in logs]
    if any(key.type != ED25519 for key in keys):
        raise UsageError("a log's key is of signature type 01", mend="give the key of the log, not of a witness")
    _existing(folder)
    with WitnessState(folder / STATE_FILE) as state:
        for key in keys:
            state.learn(key.name, [key])
    emit({"added": [key.name for key in keys]}, as_json, "\n".join(key.name for key in keys))


@witness.command()
@_FOLDER
@json_option
def show(folder: Path, as_json: bool) -> None:
    """Show a witness: its keys, and what it cosigned last of which log."""
    from tslg.node.witness import key as keys
    from tslg.node.witness.state import WitnessState
    from tslg.node.witness.witness import KEYS_FILE, STATE_FILE

    made = keys.read(folder / KEYS_FILE)
    with WitnessState(folder / STATE_FILE) as state:
        rows = state.logs()
    texts = [key.public.text for key in made]
    told = {
        "name": made[0].name,
        "keys": texts,
        "logs": [{"origin": row.origin, "size": row.size, "time": row.time} for row in rows],
    }
    lines = [*texts, *(f"{'-' if row.size is None else row.size:>12}  {row.origin}" for row in rows)]
    emit(told, as_json, "\n".join(lines))


@witness.command()
@_FOLDER
@click.option("--listen", default="127.0.0.1:0", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--open", "open_to_all", is_flag=True, help="Know every log whose agent's genesis is sent.")
@click.option("--rate", type=click.IntRange(1), default=600, show_default=True, help="Cosignatures a minute of a log.")
@json_option
def run(folder: Path, listen: str, open_to_all: bool, rate: int, as_json: bool) -> None:
    """Cosign checkpoints over HTTP until SIGTERM or SIGINT. Put a server that speaks TLS in front of it."""
    import trio

    trio.run(_serve, folder, listen, open_to_all, rate, as_json)


@witness.command()
@click.argument("name")
@click.argument("url")
@data_option
@click.option("--federation", type=FILE, help="The sealed root manifest that a new data directory joins.")
@json_option
def use(name: str, url: str, data: Path | None, federation: Path | None, as_json: bool) -> None:
    """Say at which URL the witness NAME answers this node. Without it: https://NAME."""
    from tslg.node.home import Home
    from tslg.node.witness.urls import read_urls, write_url

    path = data_dir(data) if federation is not None else existing_dir(data)
    with Home.open(path, federation=federation) as home:
        write_url(home.store, name, url)
        told = read_urls(home.store)
    emit({"witnesses": told}, as_json, "\n".join(f"{one}  {told[one]}" for one in sorted(told)))


async def _serve(folder: Path, listen: str, open_to_all: bool, rate: int, as_json: bool) -> None:
    import time

    import trio

    from tslg.node.witness.server import serve
    from tslg.node.witness.witness import open_witness
    from tslg.protocol.errors import UsageError

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise UsageError(f"{listen!r} is no address to listen on", mend="say HOST:PORT, such as 127.0.0.1:8080")
    opened, state = open_witness(folder, clock=time.time, a_minute=rate, open_to_all=open_to_all)

    def announce(at: int) -> None:
        url = f"http://{host}:{at}"
        told: dict[str, Any] = {"name": opened.public[0].name, "keys": [key.text for key in opened.public], "url": url}
        click.echo(json.dumps(told) if as_json else url)
        note("stop with SIGTERM or Ctrl-C")

    with state, trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(wait)
            await serve(opened, host.strip("[]"), int(port), announce)


def _existing(folder: Path) -> None:
    from tslg.node.witness import key as keys
    from tslg.node.witness.witness import KEYS_FILE

    keys.read(folder / KEYS_FILE)
