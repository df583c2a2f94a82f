"""The auditor: walks delegated ancestry over the network, across nodes that it trusts in nothing.

It asks one peer for a whole ancestry at once, verifies while records still arrive, asks others for what is missing,
looks for them where it knows none, and leaves every judgement to the walker. What no peer hands over is *undetermined*,
with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import trio

from tslg.node.auditing import Session
from tslg.node.doubting import Doubts
from tslg.node.finding.asking import Asker
from tslg.node.finding.finder import Finder
from tslg.node.net.seam import Network
from tslg.node.pool import Pool
from tslg.node.sealing import Checks
from tslg.node.store.interface import Store
from tslg.node.verifying import Outside, Tick, Walked, quiet_collector
from tslg.protocol.codec import Link
from tslg.protocol.keys import Key
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.record import Record
from tslg.protocol.report import VALID, Reliance, Report
from tslg.protocol.walker import Walker

WORKERS: Final = 2
"""Threads that verify signatures in the end; while records arrive it is one less, beside the one that opens them."""


class Auditor:
    """Verifies records over a network.

    Args:
        network: how peers are reached; it must be running.
        federation: the federation's id, the only thing the auditor trusts.
        clock: ms since 1970 UTC.
        store: a store whose records are used before any peer is asked; None for an auditor who knows nothing.
        finder: finds further peers where those given do not have everything; by what they say alone if None.
        limits: bounds on what is taken from peers.
    """

    def __init__(
        self,
        network: Network,
        federation: Link,
        *,
        clock: Callable[[], int],
        store: Store | None = None,
        finder: Finder | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self._network = network
        self._federation = federation
        self._clock = clock
        self.finder = finder or Finder(network, federation, clock=clock, store=store, limits=limits)
        self._store = store
        self._limits = limits

    async def audit(
        self,
        target: Link,
        peers: Sequence[str] = (),
        *,
        depth: int | None = None,
        signatures: str = "all",
        log: str = "visited",
        post_quantum: bool = False,
        outside: Outside = (),
        known: Mapping[Link, Record] | None = None,
        relied: Mapping[Link, Reliance] | None = None,
        author: Link | None = None,
        tick: Tick | None = None,
    ) -> Report:
        """Walk the ancestry of `target`, asking `peers` (addresses) first, and return the report.

        Args:
            target: the record's id.
            peers: addresses that end in `/p2p/<id>`, nearest to the record first; others are looked for after them.
            depth, signatures, log, post_quantum, known: as for `Walker`.
            outside: heads known from elsewhere, or what finds them once the walk knows the logs it met.
            author: whose record the target is said to be, which an id does not show: its nodes are looked for.
            tick: called with the number of records received.
        """
        return (
            await self.walk(
                target,
                peers,
                depth=depth,
                signatures=signatures,
                log=log,
                post_quantum=post_quantum,
                outside=outside,
                known=known,
                relied=relied,
                author=author,
                tick=tick,
            )
        ).report

    async def walk(
        self,
        target: Link,
        peers: Sequence[str] = (),
        *,
        depth: int | None = None,
        signatures: str = "all",
        log: str = "visited",
        post_quantum: bool = False,
        outside: Outside = (),
        known: Mapping[Link, Record] | None = None,
        relied: Mapping[Link, Reliance] | None = None,
        author: Link | None = None,
        tick: Tick | None = None,
    ) -> Walked:
        """Do as `audit`, and keep what was handed over, for a bundle or a store."""
        started = time.perf_counter()
        doubts, said, round_trips = Doubts(), dict[str, str](), 0
        for _ in range(self._limits.seal_rounds):
            walker = Walker(
                target,
                self._federation,
                now_ms=self._clock(),
                depth=depth,
                signatures=signatures,
                log=log,
                post_quantum=post_quantum,
                known=known,
                relied=relied,
                limits=self._limits,
            )
            keys: dict[Link, Key] = {}
            with Checks(WORKERS, keys) as checks:
                pool = Pool(walker, keys, checks if signatures == "all" else None, doubts.better)
                beat = partial(_beat, tick, pool)
                asker = Asker(self._network, self.finder, peers, avoid=doubts.spoilers, on_step=beat)
                session = Session(self._store, self._limits, walker, pool, asker, author, tick, outside)
                await session.run()
                # In a thread, so that the node goes on answering others meanwhile.
                report = await trio.to_thread.run_sync(_conclude, walker, checks)
            again = await session.doubt(doubts)
            round_trips += asker.round_trips
            said |= asker.said
            if not again:
                break
        report = doubts.lifted(report, pool).timed(time.perf_counter() - started, round_trips)
        agents = tuple(agent._replace(peer=session.home_of(agent.id)) for agent in report.agents)
        if report.verdict == VALID:
            for agent in agents:
                asker.remember(agent.id, agent.peer)
        return Walked(replace(report, agents=agents, asked=tuple(said.items())), walker)


def _beat(tick: Tick | None, pool: Pool) -> None:
    if tick is not None:
        tick(len(pool.opened))


def _conclude(walker: Walker, checks: Checks) -> Report:
    """Judge what was gathered while the last signatures are verified."""
    with quiet_collector():
        walker.judge()
        walker.settle(checks.settle())
        checks.add(walker.unchecked())
        walker.settle(checks.settle())
        return walker.finish()
