"""`tslg audit`: walk the delegated ancestry of a record over the network, trusting a federation's id and nobody."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tslg.node.cli.access import FILE, Named, find_record, whole_id
from tslg.node.cli.composed import Earlier, composing_options, concluded, earlier, publish
from tslg.node.cli.output import emit, json_option, note
from tslg.node.cli.verify import outside_heads, walk_options

if TYPE_CHECKING:
    from tslg.node.auditor import Auditor
    from tslg.node.finding.finder import Finder
    from tslg.node.home import Home
    from tslg.node.net.reach import Scope
    from tslg.node.net.seam import Network
    from tslg.node.verifying import Tick, Walked
    from tslg.protocol.codec import Link
    from tslg.protocol.composing import Find
    from tslg.protocol.report import Report


@click.command()
@click.argument("target", metavar="ID")
@click.option("--peer", "peers", multiple=True, help="Whom to ask: an address that ends in /p2p/<id>; repeat.")
@click.option(
    "--bootstrap", multiple=True, help="An address of any node: who has the records is found through it; repeat."
)
@click.option(
    "--agent", "author", metavar="ID", help="Whose record it is, if known: that agent's nodes are looked for."
)
@click.option("--reach", default="", help="Dial addresses of this scope and wider: loopback, private or global.")
@click.option("--federation", help="The federation's id, the only thing that is trusted; known if --data is given.")
@click.option(
    "--data",
    type=Named(path_type=Path),
    help="A node's data directory, whose records and remembered heads are used.",
)
@click.option(
    "--as",
    "identity",
    type=Named(path_type=Path),
    help="Ask as the node of this data directory, which reads what its agents may.",
)
@walk_options
@click.option("--head", "heads", type=FILE, multiple=True, help="A checkpoint to hold a log against; repeat.")
@composing_options
@click.option("--export", "car", type=FILE, help="Write what was verified as a bundle.")
@click.option("--report", "page", type=FILE, help="Write the report as one HTML page.")
@json_option
def audit(target: str, **options: Any) -> int:
    """Verify the ancestry of a record at whoever serves it: those named by --peer, then those found by --bootstrap.

    Exit code: 0 valid, 1 invalid, 2 undetermined.
    """
    from tslg.node.cli.reporting import report_text
    from tslg.node.cli.terminal import counting
    from tslg.protocol.errors import UsageError

    if options["federation"] is None and options["data"] is None:
        raise UsageError("whom do you trust?", mend="give --federation ID, or --data DIR of a node that belongs to it")
    if options["recorder"] is not None and options["data"] is None:
        raise UsageError("a report is recorded by an agent of one's own node", mend="give its --data directory")
    if not options["peers"] and not options["bootstrap"] and options["data"] is None:
        raise UsageError("whom to ask?", mend="give --peer, or --bootstrap with the address of any node")
    _check_peers([*options["peers"], *options["bootstrap"]])
    with _home(options["data"]) as home, counting("received") as tick:
        store = None if home is None else home.store
        id = whole_id(target) if store is None else find_record(store, target)
        federation = _federation(options["federation"], home)
        walked, built_on = _run(id, federation, home, options, tick)
        report, told, against = concluded(walked.report, built_on.earlier, _as_written(walked))
        walked = walked._replace(report=report)
        if home is not None:
            _remember(home, walked)
        if options["recorder"] is not None:
            told |= _publish(home, options["recorder"], walked, built_on, against)
    if options["car"] is not None:
        _export(options["car"], walked)
    if options["page"] is not None:
        from tslg.node.cli.files import write_replacing
        from tslg.node.cli.page import page

        write_replacing(options["page"], page(walked.report).encode())
    emit(walked.report.to_json() | told, options["as_json"], lambda: report_text(walked.report))
    return walked.report.exit_code


class _BuiltOn(NamedTuple):
    """The verifications that an audit builds on, and the walks that verified them."""

    earlier: Earlier
    walks: Sequence[Walked]


def _as_written(walked: Walked) -> Find:
    """Return what finds the records of a walk as their authors wrote them: in the order of those edges walks go."""
    from tslg.protocol.record import parse_as

    data = {one.record.id: one.record.data for one in walked.walker.opened()}
    return lambda id: parse_as(id, data[id]) if id in data else None


def _publish(home: Home | None, name: str, walked: Walked, built_on: _BuiltOn, against: bool) -> dict[str, str]:
    """Record the report as a verification of the agent's, with all that it cites kept here."""
    from tslg.node.adopting import keep
    from tslg.node.home import wall_clock
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    if home is None or not home.writable:
        raise UsageError("another process writes that directory", mend="stop it, or record the report there")
    for one in (*built_on.walks, walked):
        keep(home.ledger, one, source="peer", now_ms=wall_clock())
    if not home.store.has(walked.report.target):
        raise UsageError(
            f"what is {walked.report.verdict} is not kept here, and so cannot be cited",
            mend="write what was received with --export, and hand it over with the report",
        )
    made = to_text(publish(home, name, walked.report, built_on.earlier.deepened, against).id)
    note(f"published as verification {made}")
    return {"verification": made}


def _check_peers(peers: Sequence[str]) -> None:
    """Refuse what is no address before anything is started. Raises AddressError."""
    from tslg.node.net.libp2p.dialer import parse_address

    for peer in peers:
        parse_address(peer)


def _federation(given: str | None, home: Home | None) -> Link:
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    if home is None:
        return whole_id(given or "")
    if given is not None and whole_id(given) != home.federation:
        raise UsageError(
            f"{home.path} belongs to federation {to_text(home.federation)}", mend="leave out --data or --federation"
        )
    return home.federation


def _home(data: Path | None) -> Any:
    """Open the data directory for writing, so that heads can be remembered, or for reading where a node has it."""
    from tslg.node.home import Home
    from tslg.node.store.opening import has_store
    from tslg.protocol.errors import StoreError

    if data is None:
        return nullcontext(None)
    try:
        if has_store(data):
            return Home.open(data)
    except StoreError as error:
        if error.code != "TSLG-D-LOCKED":
            raise
        note(f"note: {error.detail}: heads seen now will not be remembered")
    return Home.read(data)


def _run(
    id: Link, federation: Link, home: Home | None, options: Mapping[str, Any], tick: Tick | None
) -> tuple[Walked, _BuiltOn]:
    import trio

    store = None if home is None else home.store
    walks: list[Walked] = []

    async def work() -> tuple[Walked, _BuiltOn]:
        from tslg.node.auditor import Auditor
        from tslg.node.finding.finder import keep_book
        from tslg.node.home import wall_clock
        from tslg.node.net.reach import read_scope

        bootstrap = options["bootstrap"]
        peers = list(dict.fromkeys([*options["peers"], *_named(home), *bootstrap]))
        reach = read_scope(options["reach"])
        async with asking_network(options["identity"], federation, peers, bootstrap, reach) as network:
            await _join(network, bootstrap)
            finder = _finder(network, federation, home)
            auditor = Auditor(network, federation, clock=wall_clock, store=store, finder=finder)

            async def alone(verification: Link) -> Report:
                walks.append(await auditor.walk(verification, peers, depth=0, tick=tick))
                return walks[-1].report

            before = await trio.to_thread.run_sync(earlier, store, options, partial(trio.from_thread.run, alone))
            author = None if options["author"] is None else whole_id(options["author"])
            depth, spent = await _depth(auditor, id, peers, author, options)
            walked = await auditor.walk(
                id,
                peers,
                depth=depth,
                signatures=options["signatures"],
                log=options["log"],
                post_quantum=options["require_post_quantum"],
                outside=outside_heads(options["heads"], store),
                relied=before.relying.reliances,
                author=author,
                tick=tick,
            )
            if home is not None and home.writable:
                await keep_book(home.store, finder.book)
            report = walked.report
            others = [one.report for one in walks]
            seconds = report.seconds + spent[0] + sum(one.seconds for one in others)
            trips = (report.round_trips or 0) + spent[1] + sum(one.round_trips or 0 for one in others)
            return walked._replace(report=report.timed(seconds, trips)), _BuiltOn(before, walks)

    return trio.run(work)


async def _depth(
    auditor: Auditor, id: Link, peers: Sequence[str], author: Link | None, options: Mapping[str, Any]
) -> tuple[int | None, tuple[float, int]]:
    """Return the depth to walk, and what it cost to learn it: seconds and round trips.

    Where none was asked for it is that of the manifest that the target names, which a walk of no edges fetches.
    """
    if options["full"] or options["depth"] is not None:
        return (None if options["full"] else options["depth"]), (0.0, 0)
    report, walker = await auditor.walk(id, peers, depth=0, log="none", author=author)
    record = report.records.get(id)
    manifest = None if record is None else walker.manifest(record.manifest or record.id)
    depth = None if manifest is None else manifest.envelope.verify_depth
    return depth, (report.seconds, report.round_trips or 0)


@asynccontextmanager
async def throwaway_network(
    asked: Sequence[str] = (),
    bootstrap: Sequence[str] = (),
    reach: Scope | None = None,
    seed: bytes | None = None,
) -> AsyncIterator[Network]:
    """Run a libp2p peer that nobody knows or can reach, for the length of a block.

    It dials what it hears of only if that can be reached from as far as the addresses that shall be `asked`, or as
    `reach` says, and takes part in the DHT if there is anybody to `bootstrap` from. With a `seed` it is the peer of the
    key that follows.
    """
    from tslg.node.net.libp2p.config import Libp2pConfig
    from tslg.node.net.libp2p.network import Libp2pNetwork
    from tslg.node.net.reach import narrowest
    from tslg.node.net.seam import running

    reach = narrowest(asked) if reach is None and asked else reach
    config = Libp2pConfig(seed=seed or os.urandom(32), listen=(), discovery=bool(bootstrap), reach=reach)
    async with running(Libp2pNetwork(config)) as network:
        yield network


@asynccontextmanager
async def asking_network(
    identity: Path | None, federation: Link, asked: Sequence[str], bootstrap: Sequence[str], reach: Scope | None
) -> AsyncIterator[Network]:
    """Run a libp2p peer for the length of a block: the node of a data directory, or one that nobody knows.

    Raises:
        UsageError: that directory belongs to another federation, or no agent of it has bound its node's peer id.
    """
    from tslg.node.home import Home
    from tslg.node.presenting import credentials, presenting
    from tslg.protocol.errors import UsageError

    if identity is None:
        async with throwaway_network(asked, bootstrap, reach) as network:
            yield network
        return
    with Home.read(identity) as home:
        if home.federation != federation:
            raise UsageError(f"{identity} belongs to another federation", mend="name a directory of the same one")
        async with throwaway_network(asked, bootstrap, reach, home.peer_seed()) as network:
            if home.manifest.envelope.access is not None and not credentials(home, network.peer_id):
                mend = f"run `tslg access bind --data {identity}`"
                raise UsageError(f"no agent in {identity} has bound its node's peer", mend=mend)
            yield presenting(network, home)


async def _join(network: Network, bootstrap: Sequence[str]) -> None:
    """Get into contact with the nodes that others are found through; who is not there is told on stderr."""
    import trio

    from tslg.protocol.errors import NetworkError

    async def connect(address: str) -> None:
        try:
            await network.connect(address)
        except NetworkError as error:
            note(f"note: {error.detail}")

    async with trio.open_nursery() as nursery:
        for address in bootstrap:
            nursery.start_soon(connect, address)


def _named(home: Home | None) -> Sequence[str]:
    """Return the addresses that the operator of a data directory wrote down."""
    from tslg.node.finding import listed

    return () if home is None else listed.read(home.path).known


def _finder(network: Network, federation: Link, home: Home | None) -> Finder:
    """Return what finds peers: with the book of a data directory, if there is one."""
    from tslg.node.finding.book import Source
    from tslg.node.finding.finder import Finder, read_book
    from tslg.node.finding.listed import read
    from tslg.node.home import wall_clock

    if home is None:
        return Finder(network, federation, clock=wall_clock)
    finder = Finder(network, federation, clock=wall_clock, book=read_book(home.store), store=home.store)
    finder.blocked = frozenset(read(home.path).blocked)
    finder.hear(_named(home), Source.STATIC)
    return finder


def _remember(home: Home, walked: Walked) -> None:
    """Remember this walk's verified heads, so that a log cut off behind them is found out, and proof of forks."""
    from tslg.node.adopting import keep_forks, remember_heads
    from tslg.node.home import wall_clock

    if home.writable:
        keep_forks(home.ledger, walked)
        remember_heads(home.store, walked, source="peer", now_ms=wall_clock())


def _export(path: Path, walked: Walked) -> None:
    from tslg.node.bundling import write_walked
    from tslg.node.cli.files import replacing
    from tslg.protocol.errors import UsageError

    try:
        with replacing(path) as file:
            write_walked(file, walked)
    except UsageError as error:
        if walked.walker.target in walked.report.records:
            raise
        note(f"note: no bundle was written: {error.detail}")
