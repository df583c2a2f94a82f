"""Replicating logs once: comparing with peers, fetching from all of them, and saying what came of it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from tslg.node.ledger import Ledger
from tslg.node.net.errors import ProtocolViolation
from tslg.node.net.seam import Network
from tslg.node.replication.comparing import claimed, compare, locate
from tslg.node.replication.report import SyncReport
from tslg.node.replication.syncing import Syncing, Tick
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, UsageError
from tslg.protocol.exchange import MessageError
from tslg.protocol.limits import DEFAULT, Limits

_log = logging.getLogger(__name__)

Candidates = Callable[[Link], Awaitable[Sequence[str]]]
"""Returns addresses at which a log may be had, best first."""


async def replicate(
    network: Network,
    ledger: Ledger,
    agents: Iterable[Link] | None,
    peers: Sequence[str],
    *,
    candidates: Candidates | None = None,
    limits: Limits = DEFAULT,
    tick: Tick | None = None,
) -> SyncReport:
    """Hold these logs whole as far as peers have them, each record verified and stored as it arrives.

    What is stored stays whatever happens then, and is not asked for again. The federation's own log is always one of
    the logs.

    Args:
        network: how peers are reached; it must be running.
        ledger: admits the records.
        agents: whose logs; None for all that the peers hold whole.
        peers: addresses or ids of those to ask first.
        candidates: finds more for a log that none of them holds.
        limits: bounds on what is taken.
        tick: called with the number of records stored so far.

    Raises:
        UsageError: one of the logs is written here.
    """
    chosen = None if agents is None else list(agents)
    for owner in chosen or ():
        if ledger.writes(owner):
            raise UsageError(
                "an agent of this node writes that log",
                mend="fetch it back with `tslg agent catch-up NAME --peer ADDRESS`, if it was seen further elsewhere",
                record=owner,
            )
    started = trio.current_time()
    sync = Syncing(network, ledger, limits=limits, tick=tick)
    unreachable: dict[str, str] = {}
    everything = chosen is None
    async with trio.open_nursery() as nursery, sync.intake():
        await nursery.start(sync.run)
        for owner in dict.fromkeys([ledger.federation, *(chosen or ())]):
            await sync.follow(owner)
        await compare_all(sync, peers, unreachable, everything=everything)
        await _find_more(sync, peers, candidates, unreachable)
    heard = len(sync.compared) > 0
    logs = tuple([log.report(await claimed(sync, log), heard=heard) for log in sync.logs.values()])
    absent = await trio.to_thread.run_sync(ledger.store.missing, sorted(sync.spared))
    missing = tuple((id, sync.spared[id]) for id in absent)
    return SyncReport(logs, missing, unreachable, tuple(sync.blamed), trio.current_time() - started)


async def compare_all(
    sync: Syncing, peers: Iterable[str], unreachable: dict[str, str], *, everything: bool = False
) -> None:
    """Compare with several peers at once; note who could not be asked."""
    async with trio.open_nursery() as nursery:
        for peer in dict.fromkeys(peers):
            nursery.start_soon(_compare, sync, peer, unreachable, everything)


async def _compare(sync: Syncing, peer: str, unreachable: dict[str, str], everything: bool) -> None:
    try:
        await compare(sync, peer, everything=everything)
    except NetworkError as error:
        unreachable[peer] = f"{error.code}: {error.detail}"
        if isinstance(error, ProtocolViolation | MessageError):
            await sync.blame(peer, unreachable[peer])


async def _find_more(
    sync: Syncing, peers: Sequence[str], candidates: Candidates | None, unreachable: dict[str, str]
) -> None:
    """Ask further for logs that none of the given peers holds: those whom they name, and those who are found."""
    lacking = [log for log in sync.logs.values() if log.follower.held == 0 and not log.follower.usable]
    found: dict[str, None] = {}
    for log in lacking:
        found.update(dict.fromkeys(await locate(sync.network, peers, log.owner, sync.limits)))
        if candidates is not None:
            found.update(dict.fromkeys(await candidates(log.owner)))
    more = [peer for peer in found if peer not in peers and peer not in unreachable]
    await compare_all(sync, more[: sync.limits.replica_providers], unreachable)
