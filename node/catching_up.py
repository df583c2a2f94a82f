"""Fetching an own log back from peers: what was appended since this copy of the data directory was made.

Nothing that peers hand over is believed: what continues the log passes admission, what stands beside it is kept as
proof only if the agent's own key sealed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import trio

from tslg.node import own_log
from tslg.node.ledger import Ledger
from tslg.node.net.seam import Network
from tslg.node.schemes import Schemes
from tslg.protocol import record as records
from tslg.protocol.cid import Link, hash_name
from tslg.protocol.errors import NetworkError, Refusal, TslgError
from tslg.protocol.exchange import LOG, Pair, RangeRequest, WalkEnd, read_walk_chunk
from tslg.protocol.limits import DEFAULT, Limits

MOST_REPLIES: Final = 64
"""Replies in which one peer may hand over the log: 16 GiB."""


class CaughtUp(NamedTuple):
    """What came of it: how many records of the log peers handed over, and how many of them continued it here."""

    seen: int
    added: int


async def catch_up(
    network: Network, ledger: Ledger, agent: Link, peers: Sequence[str], limits: Limits = DEFAULT
) -> CaughtUp:
    """Ask peers for all that they hold of an own log, and hold it against the log here.

    Args:
        network: how peers are reached.
        ledger: writes the log.
        agent: whose log.
        peers: addresses.
        limits: bounds on what is taken.

    Raises:
        NetworkError: not one of the peers answered; the last one's error.
    """
    schemes = Schemes(hash_name(agent), ledger.context.manifest)
    found: dict[Link, Pair] = {}
    failed: NetworkError | None = None
    answered = False
    for peer in peers:
        try:
            await _ask(network, peer, agent, schemes, found, limits)
            answered = True
        except NetworkError as error:
            failed = error
    if failed is not None and not answered:
        raise failed
    added = await trio.to_thread.run_sync(_take, ledger, agent, found)
    return CaughtUp(len(found), added)


async def _ask(
    network: Network, peer: str, agent: Link, schemes: Schemes, found: dict[Link, Pair], limits: Limits
) -> None:
    """Collect what a peer holds of the log, in as many replies as it takes."""
    start: int | None = 0
    for _ in range(MOST_REPLIES):
        if start is None:
            return
        start = await _ask_from(network, peer, agent, start, schemes, found, limits)


async def _ask_from(
    network: Network,
    peer: str,
    agent: Link,
    start: int,
    schemes: Schemes,
    found: dict[Link, Pair],
    limits: Limits,
) -> int | None:
    """Collect from a position on; return from where to go on, None if the reply was not cut off for its size."""
    request = RangeRequest(agent, start, start + limits.walk_edges).to_bytes()
    size, after = 0, start
    async with network.request(peer, LOG, request, limits=limits) as chunks:
        async for chunk in chunks:
            part = read_walk_chunk(chunk, limits)
            if isinstance(part, WalkEnd):
                continue
            size += len(chunk)
            for pair in part:
                try:
                    (record,) = schemes.read([pair[0]])
                except TslgError:
                    # Whoever hands over what is no record says nothing about the log.
                    continue
                if record.owner == agent:
                    found.setdefault(record.id, pair)
                    after = max(after, record.seq + 1)
    return after if after > start and size > limits.reply_bytes // 2 else None


def _take(ledger: Ledger, agent: Link, found: dict[Link, Pair]) -> int:
    """Admit what continues the log, in order, and hold the rest against it; return how many were admitted."""
    opened = sorted(
        ((records.parse_as(id, pair[0]), pair[1]) for id, pair in found.items()), key=lambda one: one[0].seq
    )
    before = ledger.store.log_state(agent)
    added = 0
    for record, seal in opened:
        held = ledger.store.at(agent, record.seq)
        if held == record.id:
            continue
        state = ledger.store.log_state(agent)
        if held is None and state is not None and record.seq == state.size:
            try:
                ledger.admit(record.data, seal)
                added += 1
                continue
            except Refusal:
                # Not the continuation of this history; whether it is one of another shows in what follows.
                pass
        ledger.note_own(record, seal)
    if before is not None and opened and opened[-1][0].seq + 1 >= before.size:
        # They hold all that a restored copy holds, so they were there when it was made, and told what followed.
        own_log.reopen_restored(ledger.store, agent)
    ledger.examine(agent)
    return added
