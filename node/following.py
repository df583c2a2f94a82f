"""Following the federation: fetching what its log holds beyond what is held here, from peers who are not believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from tslg.node.home import Home
from tslg.node.net.seam import Network
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.exchange import LOG, Pair, RangeRequest, WalkEnd, read_walk_chunk
from tslg.protocol.limits import Limits
from tslg.protocol.record import Record, parse

MOST_RECORDS: Final = 1_000
"""Records asked for at a time; a federation records something a few times a year."""


async def follow_federation(network: Network, home: Home, peers: Sequence[str], limits: Limits) -> list[Record]:
    """Take what peers hold of the federation's log beyond what is held here, each record through admission.

    The newest manifest version among them is in force here from then on. A peer that cannot be reached, or hands over
    what admission refuses, is passed over.

    Returns the records that were new.
    """
    fresh: list[Record] = []
    for peer in peers:
        try:
            pairs = await _ask(network, home, peer, limits)
            fresh += await trio.to_thread.run_sync(_take, home, pairs)
        except (NetworkError, TslgError):
            continue
    return fresh


async def _ask(network: Network, home: Home, peer: str, limits: Limits) -> list[Pair]:
    state = await trio.to_thread.run_sync(home.store.log_state, home.federation)
    start = 0 if state is None else state.size
    request = RangeRequest(home.federation, start, start + MOST_RECORDS).to_bytes()
    pairs: list[Pair] = []
    async with network.request(peer, LOG, request, limits=limits) as chunks:
        async for chunk in chunks:
            part = read_walk_chunk(chunk, limits)
            if not isinstance(part, WalkEnd):
                pairs.extend(part)
            if len(pairs) > MOST_RECORDS:
                break
    return pairs


def _take(home: Home, pairs: Sequence[Pair]) -> list[Record]:
    fresh: list[Record] = []
    for pair in pairs:
        record = parse(pair[0], home.manifest.envelope.ids)
        if record.owner == home.federation:
            fresh += home.follow_federation([(record, pair[1])])
    return fresh
