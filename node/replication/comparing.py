"""Comparing with a peer what each holds of many logs, and weighing what it shows: a longer log, or another history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import trio

from tslg.node.net.seam import Network
from tslg.node.replication.followed import Followed
from tslg.node.replication.syncing import Syncing
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError
from tslg.protocol.exchange import LOG, LocateReply, LocateRequest
from tslg.protocol.limits import Limits
from tslg.protocol.log import verify_consistency
from tslg.protocol.opening import Opened
from tslg.protocol.pushing import PUSH, Compared, CompareRequest, Difference, Stand

MOST_PAGES: Final = 64
"""Pages of one comparison: more logs than a node follows."""


async def compare(sync: Syncing, peer: str, *, everything: bool = False) -> None:
    """Find out which logs a peer holds further than they are held here, and have them followed from it too.

    Args:
        sync: the logs that are followed.
        peer: the peer's address or id.
        everything: whether to follow all other logs too that the peer holds whole.

    Raises:
        NetworkError: the peer could not be asked, or broke the protocol.
    """
    after: Link | None = None
    for _ in range(MOST_PAGES):
        request = await trio.to_thread.run_sync(_request, sync, everything, after)
        stood = {stand.agent: stand for stand in request.logs}
        pages = []
        async with sync.network.request(peer, PUSH, request.to_bytes(), limits=sync.limits) as chunks:
            async for chunk in chunks:
                pages.append(Compared.from_bytes(chunk, sync.limits))
                for difference in pages[-1].logs:
                    await _weigh(sync, peer, difference, stood, everything)
        sync.compared.add(peer)
        last = pages[-1].after if pages else None
        if last is None or (after is not None and last <= after):
            return
        after = last


def _request(sync: Syncing, everything: bool, after: Link | None) -> CompareRequest:
    store = sync.ledger.store
    owners = set(sync.logs)
    if everything:
        owners.update(log.owner for log in store.logs() if log.complete)
    page = sorted(owner for owner in owners if after is None or owner > after)[: sync.limits.replicated_logs]
    states = {owner: store.log_state(owner) for owner in page}
    stands = [Stand(owner, state.size, state.peaks.root()) for owner, state in states.items() if state is not None]
    wanted = [owner for owner, state in states.items() if state is None]
    return CompareRequest(tuple(stands), tuple(wanted), everything, after)


async def _weigh(
    sync: Syncing, peer: str, difference: Difference, stood: Mapping[Link, Stand], everything: bool
) -> None:
    """Take what a peer shows of a log for what it is worth."""
    claim = difference.head
    log = sync.logs.get(claim.agent)
    if log is None:
        log = await sync.follow(claim.agent) if everything else None
    if log is None:
        return
    part = await trio.to_thread.run_sync(sync.opener.open, [difference.pair])
    one = part.opened[0] if part.opened else None
    if one is None or (one.record.id, one.record.owner, one.record.seq + 1) != (claim.record, claim.agent, claim.size):
        await sync.blame(peer, part.fault or "a head that is not what its record says")
        return
    state = await trio.to_thread.run_sync(sync.ledger.store.log_state, log.owner)
    if state is None or claim.size > state.size:
        await _weigh_longer(sync, peer, log, one, difference, stood.get(log.owner))
    elif await trio.to_thread.run_sync(sync.ledger.store.at, log.owner, one.record.seq) != one.record.id:
        if await trio.to_thread.run_sync(sync.ledger.note_rival, one.record, one.seal):
            sync.note_fork(log, peer)
        else:
            await sync.blame(peer, "a head that is not sealed by its author")


async def _weigh_longer(
    sync: Syncing, peer: str, log: Followed, one: Opened, difference: Difference, stand: Stand | None
) -> None:
    """Have the rest fetched from a peer whose log is longer, unless it shows that it is another history."""
    if stand is not None and one.sealed and not _extends(stand, one, difference):
        shown = await sync.find_rival(log, peer)
        if shown:
            sync.note_fork(log, peer)
        elif shown is None:
            log.leave(peer, "it does not show that its log extends the one held here")
        else:
            await sync.blame(peer, "a longer log with a proof that does not hold")
        return
    if sync.offered(log.owner, peer, difference.head.size):
        log.heads[peer] = one


def _extends(stand: Stand, one: Opened, difference: Difference) -> bool:
    """Whether the tree that a newest record carries is proved to extend the one that was held when that was asked."""
    before = one.record.log
    if before is None:
        return False
    if stand.size == before.size:
        return stand.root == before.root
    proof = difference.proof
    if proof is None or (proof.old_size, proof.size) != (stand.size, before.size):
        return False
    return verify_consistency(stand.size, before.size, stand.root, before.root, list(proof.proof))


async def claimed(sync: Syncing, log: Followed) -> int:
    """Return how large a log is at least, by the newest records that peers showed and that nobody found unsealed."""
    size = log.follower.held
    for one in log.heads.values():
        if one.record.seq >= size and await trio.to_thread.run_sync(sync.ledger.may_be_sealed, one.record, one.seal):
            size = one.record.seq + 1
    return size


async def locate(network: Network, peers: Sequence[str], owner: Link, limits: Limits) -> list[str]:
    """Ask peers where a log's own node is; what they say is hearsay."""
    found: dict[str, None] = {}
    for peer in peers:
        try:
            async with network.request(peer, LOG, LocateRequest(owner).to_bytes(), limits=limits) as chunks:
                reply = LocateReply.from_bytes(b"".join([chunk async for chunk in chunks]))
        except NetworkError:
            continue
        found.update(dict.fromkeys(reply.addresses))
    return [address for address in found if address not in peers]
