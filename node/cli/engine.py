"""`tslg engine`: records of somebody else's engine in a tenant's lineage: admitting it, handing in, taking up."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from tslg.node.cli.access import FILE, data_dir, data_option, existing_dir, held_record, read_home, write_home
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.protocol.codec import Link
    from tslg.protocol.pushing import Submitted

LISTEN = "/ip4/127.0.0.1/tcp/0"
_AGENT = click.option("--agent", "author", help="The agent, by name.  [the only one here]")


@click.group()
def engine() -> None:
    """Take records of an engine of another company into one's own lineage, or hand one's engine's records in."""


@engine.command()
@click.argument("engine", metavar="ENGINE")
@click.option("--grant", required=True, metavar="ID", help="The policy under which it takes steps.")
@click.option("--until", default="30d", show_default=True, metavar="MOMENT", help="Until when.")
@click.option("--kind", "kinds", multiple=True, help="Kinds of steps that are taken; repeat.  [all four]")
@click.option("--binding", default="tenant", show_default=True, help="What holds its keys, at least.")
@click.option("--per-minute", default=600, show_default=True, help="Records of its log taken in a minute.")
@click.option("--records", default=100_000, show_default=True, help="Records of its log taken in all.")
@click.option("--out", type=FILE, help="Write what the engine needs of it, as a bundle.")
@_AGENT
@data_option
@json_option
def admit(
    engine: str,
    grant: str,
    until: str,
    kinds: Sequence[str],
    binding: str,
    per_minute: int,
    records: int,
    out: Path | None,
    **options: Any,
) -> None:
    """Admit the agent ENGINE as an engine of this tenant's, by a delegation to it.

    The engine takes its steps under that delegation, in its own log and by its own key, and hands them in.
    """
    from tslg.node.cli.access import find_record
    from tslg.node.cli.files import replacing
    from tslg.node.cli.given import given_moment
    from tslg.node.cli.recording import agent_id, author_of
    from tslg.node.engines.admission import Terms
    from tslg.node.home import wall_clock
    from tslg.protocol.cid import to_text
    from tslg.protocol.recording import STEPS

    task = Terms(tuple(kinds) or STEPS, binding, per_minute, records).task()
    # A file that cannot be written is found out before there is a record.
    with author_of(options) as author, nullcontext() if out is None else replacing(out) as stream:
        policy = find_record(author.home.store, grant)
        expires = given_moment(until, wall_clock())
        made = author.agent.delegate(agent_id(author.home, engine), task, policy, expires=expires)
        if stream is not None:
            _write_bundle(author.home, made.id, stream)
    emit({"delegation": to_text(made.id), "file": out and str(out)}, options["as_json"], to_text(made.id))


def _write_bundle(home: Home, id: Link, stream: BinaryIO) -> None:
    from tslg.node.bundling import write_walked
    from tslg.node.sources import StoreSource
    from tslg.node.verifying import walk

    write_walked(stream, walk(StoreSource(home.store), id, home.federation, now_ms=home.clock()))


@engine.command(name="list")
@data_option
@json_option
def list_engines(data: Path | None, as_json: bool) -> None:
    """List the engines that agents here admit or admitted, on which terms, and how much of their logs is held."""
    from tslg.node.api.values import to_json
    from tslg.node.cli.describing import plain, when
    from tslg.node.engines.admission import admissions
    from tslg.node.engines.telling import described_engine
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        context, tenants = home.ledger.context, [key.genesis.id for key in home.agent_keys()]
        found = [
            described_engine(home.store, context, one, one.ended(context, home.clock()))
            for one in admissions(home.store, context, tenants)
        ]
    lines = [
        f"{plain(one['name'] or '?')}  {to_text(one['engine'])}  {one['records']} records  "
        + (one["ended"] or ("its log is forked" if one["forked"] else f"until {when(one['expires'])}"))
        for one in found
    ]
    emit({"engines": to_json(found)}, as_json, "\n".join(lines) or "no engine is admitted here")


@engine.command()
@click.argument("file", type=FILE)
@click.option("--from", "start", default=0, show_default=True, type=click.IntRange(0), help="From which position on.")
@_AGENT
@data_option
@json_option
def export(file: Path, start: int, author: str | None, data: Path | None, as_json: bool) -> None:
    """Write as much of the engine's own log to FILE as one submission holds."""
    from tslg.node.cli.files import write_replacing
    from tslg.node.engines.submission import write

    with read_home(data) as home:
        stretch = write(home, _own(home, author), start)
    write_replacing(file, stretch.data)
    told = {"file": str(file), "start": stretch.start, "stop": stretch.stop, "bytes": len(stretch.data)}
    emit(told, as_json, f"positions {stretch.start} to {stretch.stop - 1} in {file}")


def _own(home: Home, name: str | None) -> Link:
    """Return the agent of this name whose key is in a directory. Raises UsageError."""
    from tslg.node.cli.recording import only_agent
    from tslg.node.engines.telling import OwnAgent

    agents = [OwnAgent(key.genesis.id, key.genesis.body["name"]) for key in home.agent_keys()]
    return only_agent(agents, name, home.path).id


@engine.command()
@click.argument("file", type=FILE, required=False)
@click.option("--peer", metavar="ADDR", help="Hand it to the tenant's node, which ends in /p2p/<id>.")
@click.option("--url", metavar="URL|unix:PATH", help="Hand it to the local interface of the tenant's node.")
@click.option("--token", type=FILE, help="With --url: the file with the token, DIR/api/engine of the tenant's.")
@_AGENT
@data_option
@json_option
def submit(
    file: Path | None,
    peer: str | None,
    url: str | None,
    token: Path | None,
    author: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Hand in records of an engine: those in FILE, or all of the engine's own log that the tenant has not yet.

    Without --peer and --url the data directory is the tenant's, and takes FILE. The same again changes nothing.
    """
    from tslg.protocol.errors import UsageError

    if peer is not None and url is not None:
        raise UsageError("one way at a time", mend="give --peer or --url")
    if (url is None) != (token is None):
        raise UsageError("the local interface asks for a token", mend="give --url and --token together")
    if peer is None and url is None:
        if file is None:
            raise UsageError("what is handed in?", mend="give the file, or the way to the tenant")
        answers = [_take(data, _read(file))]
    elif url is not None and token is not None:
        answers = _by_interface(url, token, file, author, data)
    else:
        assert peer is not None
        answers = _by_peer(peer, file, author, data)
    _tell(answers, as_json)


def _read(file: Path) -> bytes:
    from tslg.protocol.errors import UsageError
    from tslg.protocol.limits import DEFAULT

    try:
        with file.open("rb") as stream:
            return stream.read(DEFAULT.submission_bytes + 1)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", code="TSLG-U-FILE", mend="check the path") from error


def _take(data: Path | None, submission: bytes) -> Submitted:
    """Take a submission into the tenant's directory, through the node that runs on it if one does."""
    from tslg.node.api.client import LocalNode
    from tslg.node.engines.intake import Intake
    from tslg.protocol.errors import StoreError

    try:
        home = write_home(data)
    except StoreError as error:
        if error.code != "TSLG-D-LOCKED":
            raise
        with LocalNode(data_dir(data)) as node:
            return node.submit(submission)
    with home:
        return Intake(home).submit(submission, "")


def _by_interface(url: str, token: Path, file: Path | None, author: str | None, data: Path | None) -> list[Submitted]:
    from tslg.node.engines.handing import read_token, to_interface
    from tslg.node.engines.submission import hand_in

    shown = read_token(token)
    if file is not None:
        return [to_interface(url, shown, _read(file))]
    with read_home(data) as home:
        return hand_in(home, _own(home, author), lambda submission: to_interface(url, shown, submission))


def _by_peer(peer: str, file: Path | None, author: str | None, data: Path | None) -> list[Submitted]:
    import trio

    from tslg.node.engines.handing import to_peer
    from tslg.node.engines.submission import hand_in
    from tslg.node.net.libp2p.dialer import parse_address
    from tslg.node.node import Node

    parse_address(peer)

    async def run() -> list[Submitted]:
        async with Node.open(existing_dir(data), listen=LISTEN) as node:
            network = node.network
            assert network is not None
            if file is not None:
                return [await to_peer(network, peer, _read(file))]

            def submit(submission: bytes) -> Submitted:
                return trio.from_thread.run(to_peer, network, peer, submission)

            engine = _own(node.home, author)
            return await trio.to_thread.run_sync(lambda: hand_in(node.home, engine, submit))

    return trio.run(run)


def _tell(answers: Sequence[Submitted], as_json: bool) -> None:
    from tslg.protocol.cid import to_text

    last = answers[-1]
    steps = list(dict.fromkeys(id for answer in answers for id in answer.steps))
    taken = list(dict.fromkeys(id for answer in answers for id in answer.taken))
    new = sum(answer.new for answer in answers)
    lines = [
        f"{new} new records, {last.size} held; {len(steps)} steps taken up",
        *(f"in {to_text(id)}" for id in taken),
    ]
    told = {"engine": to_text(last.engine), "size": last.size, "new": new}
    emit({**told, "steps": list(map(to_text, steps)), "taken": list(map(to_text, taken))}, as_json, "\n".join(lines))


@engine.command()
@click.argument("step", metavar="ID")
@data_option
@json_option
def show(step: str, data: Path | None, as_json: bool) -> None:
    """Say which engine produced the step ID, by whose word that is known, and which records took it up.

    `attested`: evidence of the hardware that holds the key was verified. `vouched`: the federation's anchors sealed the
    key's registration. `claimed`: the engine says so alone.
    """
    from tslg.node.engines.admission import origin
    from tslg.node.engines.taking import taken_up_by
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    with read_home(data) as home:
        record = held_record(home.store, step)
        found = origin(record, home.ledger.context)
        if found is None:
            raise UsageError("the record of its key is not held here", record=record.key, mend="fetch and verify it")
        taken = [to_text(id) for id in taken_up_by(home.store, home.ledger.context, record.id)]
    told = {**found._asdict(), "engine": to_text(found.engine), "key": to_text(found.key), "taken": taken}
    lines = [f"engine    {told['engine']}", f"key       {told['key']}", f"binding   {found.binding}, {found.standing}"]
    emit({"record": to_text(record.id), **told}, as_json, "\n".join([*lines, *(f"taken up  {id}" for id in taken)]))
