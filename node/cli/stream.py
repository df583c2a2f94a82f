"""`tslg stream`: the governed steps of others as they are recorded, one verified record a line, each of them once."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from tslg.node.cli.access import FILE, HeldNames, data_option, whole_id
from tslg.node.cli.output import json_option, note
from tslg.node.cli.replicate import LISTEN, check_peers, directory_of, following

if TYPE_CHECKING:
    import trio

    from tslg.node.home import Home
    from tslg.node.node import Node
    from tslg.node.replication.report import SyncReport
    from tslg.node.streaming.feed import Batch, Feed, Item
    from tslg.node.streaming.outlet import Outlet
    from tslg.protocol.codec import Link

STEPS: Final = ("inference", "rejection", "decomposition", "composite")
"""Kinds of governed steps."""
LAG_SECONDS: Final = 10.0
"""How often it is said on stderr how much there is still to come, if there is."""
OBSERVE_SECONDS: Final = 60.0
"""How often what is followed is observed at most, beside at the end."""


class _Asked(NamedTuple):
    """What a command line asks for."""

    path: Path
    federation: Path | None
    logs: list[Link] | None
    kinds: frozenset[str] | None
    peers: Sequence[str]
    out: Path | None
    cursor: Path
    new_only: bool
    once: bool
    observer: str | None
    as_json: bool


@click.command()
@click.argument("agents", metavar="[ID]…", nargs=-1)
@click.option(
    "--from", "peers", multiple=True, metavar="ADDR", help="A peer to follow; repeat. None: read what is here."
)
@click.option("--kinds", default=",".join(STEPS), show_default=True, help="Kinds of records, or `all`.")
@click.option("--out", type=FILE, help="Append the lines to this file, each once, whatever happens.")
@click.option("--cursor", "name", default="default", show_default=True, help="Under which name to go on later.")
@click.option("--new", "new_only", is_flag=True, help="Where there is no cursor yet: only what comes from now on.")
@click.option("--once", is_flag=True, help="End when all that there is was printed.")
@click.option("--observe-as", "observer", metavar="NAME", help="Let this agent record how far the logs are held.")
@click.option("--federation", type=FILE, help="The sealed root manifest, for a new data directory.")
@data_option
@json_option
def stream(
    agents: Sequence[str],
    peers: Sequence[str],
    kinds: str,
    out: Path | None,
    name: str,
    new_only: bool,
    once: bool,
    observer: str | None,
    federation: Path | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Print the governed steps of agents, all by default, as they are recorded: one verified record a line.

    With --from, their logs are replicated into the data directory, every record verified before it is printed. It goes
    on until SIGTERM or Ctrl-C, and later from where it ended. With --json or --out every line is a JSON document.

    Exit code: 0, or 1 if an author forked or broke its log; with --once also 2 if something could not be had.
    """
    import trio

    path = directory_of(data, federation)
    if peers:
        check_peers(peers)
    asked = _Asked(
        path,
        federation,
        [whole_id(text) for text in agents] or None,
        _kinds(kinds),
        peers,
        out,
        _cursor_file(path, out, name),
        new_only,
        once,
        observer,
        as_json or out is not None,
    )
    return trio.run(_stream, asked)


def _kinds(text: str) -> frozenset[str] | None:
    from tslg.protocol.errors import UsageError
    from tslg.protocol.kinds import KINDS

    named = frozenset(filter(None, text.split(",")))
    if named == {"all"}:
        return None
    unknown = sorted(named - KINDS.keys())
    if unknown or not named:
        raise UsageError(f"there is no kind {(unknown or [text])[0][:40]!r}", mend="docs/spec/kinds.md lists them")
    return named


def _cursor_file(path: Path, out: Path | None, name: str) -> Path:
    from tslg.node.streaming.outlet import CURSORS
    from tslg.protocol.errors import UsageError

    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) is None:
        raise UsageError(f"{name[:80]!r} is no name for a cursor", mend="use up to 64 letters, digits, - and _")
    return path / CURSORS / f"{name}.cursor" if out is None else out.with_name(f"{out.name}.cursor")


async def _stream(asked: _Asked) -> int:
    import trio

    from tslg.node.streaming.feed import Feed
    from tslg.node.streaming.outlet import Outlet
    from tslg.protocol.limits import DEFAULT

    target = sys.stdout.buffer if asked.out is None else asked.out
    with Outlet(target, asked.cursor, DEFAULT.replicated_logs) as outlet:
        async with _source(asked) as source:
            feed = Feed(source.home.store, logs=asked.logs, kinds=asked.kinds, cursor=outlet.cursor)
            if outlet.cursor is None:
                if asked.new_only:
                    await trio.to_thread.run_sync(feed.skip)
                outlet.write([], feed.cursor)
            teller = _Teller(source, asked, outlet)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(teller.lag, feed)
                    nursery.start_soon(_stop_on, signals, nursery.cancel_scope)
                    await teller.run(feed, nursery.cancel_scope)
            return await source.end(teller)


async def _stop_on(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
        return


class _Source:
    """Where records come from: a data directory that is only read, or a node that replicates into it."""

    def __init__(self, home: Home, node: Node | None, report: SyncReport | None) -> None:
        self.home = home
        self.node = node
        self._report = report

    async def to_come(self) -> int:
        """Return how many records others are known to have and this directory has not."""
        if self.node is None or self.node.replication is None:
            return 0
        return sum(max(0, log.claimed - log.size) for log in await self.node.replication.status())

    async def end(self, teller: _Teller) -> int:
        """Let what was followed be observed, say what was wrong, and return the exit code."""
        await teller.observe(last=True)
        if self._report is not None:
            note(self._report.to_text())
            return 1 if teller.forked else self._report.exit_code
        broken = False
        if self.node is not None and self.node.replication is not None:
            for log in await self.node.replication.status():
                if log.state in ("forked", "invalid"):
                    broken = True
                    note(f"log {teller.text(log.agent)}: {'; '.join([log.state, *log.reasons])}")
        return 1 if broken or teller.forked else 0


@asynccontextmanager
async def _source(asked: _Asked) -> AsyncGenerator[_Source]:
    import trio

    from tslg.node.cli.access import existing_dir
    from tslg.node.config import NodeConfig
    from tslg.node.home import Home
    from tslg.node.node import Node

    if not asked.peers:
        if asked.observer is None:
            with await trio.to_thread.run_sync(Home.read, existing_dir(asked.path)) as home:
                yield _Source(home, None, None)
            return
        async with Node.open(existing_dir(asked.path), config=NodeConfig()) as node:
            yield _Source(node.home, node, None)
        return
    config = NodeConfig(listen=(LISTEN,)) if asked.once else following(asked.logs, asked.peers)
    async with Node.open(asked.path, federation=asked.federation, config=config) as node:
        report = await node.replicate(asked.logs, asked.peers) if asked.once else None
        if report is None:
            note(f"following; stop with SIGTERM or Ctrl-C; served at {', '.join(node.addresses)}")
        yield _Source(node.home, node, report)


class _Teller:
    """Writes out what a feed reads, and keeps account of it."""

    def __init__(self, source: _Source, asked: _Asked, outlet: Outlet) -> None:
        self.forked = False
        self._source = source
        self._asked = asked
        self._outlet = outlet
        self._names = HeldNames(source.home.store)
        self._observed = float("-inf")
        self._told: set[tuple[Link, int]] = set()

    async def run(self, feed: Feed, scope: trio.CancelScope) -> None:
        """Write until there is no more, or until cancelled; then end what runs beside it."""
        from tslg.node.streaming.following import batches

        growth = self._source.home.ledger.growth
        async with aclosing(batches(feed, growth, live=not self._asked.once)) as read:
            async for batch in read:
                await self._write(batch)
                self._note_forks()
                if not batch.more:
                    await self.observe()
        self._note_forks()
        scope.cancel()

    async def lag(self, feed: Feed) -> None:
        """Say now and then how much is still to come."""
        import trio

        while True:
            await trio.sleep(LAG_SECONDS)
            waiting = await trio.to_thread.run_sync(feed.behind)
            coming = await self._source.to_come()
            if waiting or coming:
                note(f"behind: {waiting} records to print, {coming} more to come")

    async def observe(self, *, last: bool = False) -> None:
        """Let the agent that is to do so record how far the logs are held, unless it just did."""
        import trio

        from tslg.node.streaming.observing import observe_logs
        from tslg.protocol.errors import UsageError

        name = self._asked.observer
        if name is None or (not last and trio.current_time() < self._observed + OBSERVE_SECONDS):
            return
        home = self._source.home
        agents = [agent for agent in home.agents if agent.name == name]
        if not agents:
            raise UsageError(f"no agent here is named {name[:80]!r}", code="TSLG-U-UNKNOWN", mend="`tslg agent list`")
        owners = sorted(self._outlet.cursor or {})
        self._observed = trio.current_time()
        for record in await trio.to_thread.run_sync(observe_logs, home, agents[0], owners):
            note(f"observed in {self.text(record.id)}")

    def text(self, id: Link) -> str:
        """Return an id as text."""
        from tslg.protocol.cid import to_text

        return to_text(id)

    async def _write(self, batch: Batch) -> None:
        """Write a batch and its cursor. A pipe that nobody reads holds up nothing but this."""
        import trio

        lines = [self._line(item) for item in batch.items]
        run: Callable[..., Awaitable[None]] = trio.to_thread.run_sync
        await run(self._outlet.write, lines, batch.cursor, abandon_on_cancel=self._asked.out is None)

    def _line(self, item: Item) -> bytes:
        from tslg.node.cli.describing import plain, what, when
        from tslg.node.streaming.feed import document, one_line

        if self._asked.as_json:
            return one_line(document(item)) + b"\n"
        record = item.record
        held = self._names.get(record.owner)
        name = self.text(record.owner) if held is None else plain(held, 40)
        return (
            f"{when(record.time)}  {name} {record.seq}  {what(record, self._names)}  {self.text(record.id)}\n".encode()
        )

    def _note_forks(self) -> None:
        for fork in self._source.home.store.forks():
            if (fork.owner, fork.seq) not in self._told and (
                self._asked.logs is None or fork.owner in self._asked.logs
            ):
                self._told.add((fork.owner, fork.seq))
                self.forked = True
                note(f"log {self.text(fork.owner)} is forked at position {fork.seq}: see `tslg query forks`")
