"""Fetching what followed logs cite in logs that are not followed: whole ancestries, by one request for many records.

What comes is no log, so its place in one is proved to whoever audits by the proofs that come with it, which are kept.
Each record is judged by every rule that needs no more than is at hand, its seal included, before it is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import trio

from tslg.node import kept_proofs
from tslg.node.admitting import Lacking, cites
from tslg.node.context import StoreContext
from tslg.node.ledger import Ledger
from tslg.node.net.errors import ProtocolViolation
from tslg.node.store.interface import Store
from tslg.protocol import logproof
from tslg.protocol.admission import SEAL_RULES, RuleBook, judge
from tslg.protocol.chains import rests_on
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.exchange import MessageError, WalkEnd, read_walk_chunk
from tslg.protocol.flat import recover
from tslg.protocol.opening import Opened
from tslg.protocol.pushing import PUSH, CloseRequest

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from tslg.node.replication.followed import Followed
    from tslg.node.replication.syncing import Syncing

KNOWN: Final = 64
"""Newest records named of a log that is held in parts: what is new of it rests on those, mostly."""
ABSENT: Final = "absent: nobody who was asked has it"


async def close(sync: Syncing, log: Followed, ahead: Sequence[Opened]) -> dict[Link, str]:
    """Fetch and store the ancestry that a log's next records cite in other logs.

    Args:
        sync: who asks.
        log: the log, whose providers are asked first.
        ahead: its next records.

    Returns:
        What could not be had, with the reason.
    """
    store, federation = sync.ledger.store, sync.ledger.federation
    wanted = await trio.to_thread.run_sync(_lacking, store, federation, ahead, log.lacking)
    reasons = dict.fromkeys(wanted, ABSENT)
    for peer in sync.who_may_have(log):
        try:
            # A reply has an end, and an ancestry may go on behind it.
            while reasons and await _close_further(sync, peer, reasons):
                pass
        except (NetworkError, TslgError) as error:
            if isinstance(error, ProtocolViolation | MessageError):
                await sync.blame(peer, f"{error.code}: {error.detail}")
    return reasons


async def _close_further(sync: Syncing, peer: str, reasons: dict[Link, str]) -> bool:
    """Ask a peer for what is lacking, and note what is lacking then; tell whether any of it came."""
    lacking = list(reasons)[: sync.limits.walk_roots]
    reply = await _ask(sync, peer, lacking)
    kept = await trio.to_thread.run_sync(reply.keep, sync, lacking)
    behind = await trio.to_thread.run_sync(sync.ledger.store.missing, reply.cited_by(kept))
    for id in behind[: sync.limits.replica_unobtainable]:
        reasons.setdefault(id, ABSENT)
    for id, reason in reply.reasons.items():
        if id in reasons:
            reasons[id] = reason
    for id in kept:
        reasons.pop(id, None)
    return not kept.isdisjoint(lacking)


def _lacking(store: Store, federation: Link, ahead: Iterable[Opened], first: Iterable[Lacking]) -> list[Link]:
    """Return the cited records of other logs that are not held, those that the next record needs first."""
    ids = [one.id for one in first] + [id for one in ahead for id, _ in cites(one.record, federation)]
    return store.missing(dict.fromkeys(ids))


class _Reply:
    """What one peer handed over."""

    def __init__(self) -> None:
        self.opened: dict[Link, Opened] = {}
        self.reasons: dict[Link, str] = {}
        self.end: WalkEnd | None = None

    def keep(self, sync: Syncing, roots: Iterable[Link]) -> set[Link]:
        """Store what holds of it; return the ids of what was stored. A record of an own log is never among it."""
        good = _good(sync.ledger, _needed(self.opened, roots))
        end = self.end or WalkEnd()
        ordered = _in_order(good, end)
        sync.ledger.adopt(ordered)
        owners = {one.record.id: one.record.owner for one in ordered}
        kept_proofs.add(sync.ledger.store, owners, end.inclusion, end.consistency)
        return set(owners)

    def cited_by(self, kept: Iterable[Link]) -> list[Link]:
        """Return what these records of it cite."""
        return list(dict.fromkeys(edge.cid for id in kept for edge in self.opened[id].record.edges()))


async def _ask(sync: Syncing, peer: str, roots: Sequence[Link]) -> _Reply:
    have, known = await trio.to_thread.run_sync(_held, sync)
    request = CloseRequest(tuple(roots), have, known).to_bytes()
    reply = _Reply()
    async with sync.network.request(peer, PUSH, request, limits=sync.limits) as chunks:
        async for chunk in chunks:
            part = read_walk_chunk(chunk, sync.limits)
            if isinstance(part, WalkEnd):
                reply.end = part
                reply.reasons.update(part.missing)
                continue
            opened = await trio.to_thread.run_sync(sync.opener.open, part)
            reply.opened.update((one.record.id, one) for one in opened.opened)
            if opened.fault is not None:
                await sync.blame(peer, opened.fault)
                break
            if len(reply.opened) > sync.limits.walk_edges:
                break
    return reply


def _held(sync: Syncing) -> tuple[tuple[tuple[Link, int], ...], tuple[Link, ...]]:
    """Return the logs that are held whole, the largest first, and the newest records of those that are not."""
    store, most = sync.ledger.store, sync.limits.walk_roots
    logs = store.logs()
    whole = sorted((log for log in logs if log.complete), key=lambda log: (-log.newest, log.owner))
    known: list[Link] = []
    for log in logs:
        if not log.complete and len(known) < most:
            rows = store.log_range(log.owner, max(0, log.newest + 1 - 4 * KNOWN), log.newest + 1)
            known.extend(id for id, _ in rows[-KNOWN:])
    return tuple((log.owner, log.newest + 1) for log in whole[:most]), tuple(known[:most])


def _needed(opened: Mapping[Link, Opened], roots: Iterable[Link]) -> list[Opened]:
    """Return what the roots rest on of what came, each behind what it cites, then what ends keys of those logs."""
    found: dict[Link, Opened] = {}
    entered: set[Link] = set()
    todo = [(id, False) for id in roots]
    while todo:
        id, left = todo.pop()
        one = opened.get(id)
        if one is None:
            continue
        if left:
            found[id] = one
        elif id not in entered:
            entered.add(id)
            todo.append((id, True))
            todo.extend((edge.cid, False) for edge in one.record.edges())
            todo.extend((cited, False) for cited in rests_on(one.record))
    owners = {one.record.owner for one in found.values()}
    for id, one in opened.items():
        if one.record.kind == "revocation" and one.record.owner in owners:
            found.setdefault(id, one)
    return list(found.values())


def _in_order(good: Sequence[Opened], end: WalkEnd) -> list[Opened]:
    """Leave out the logs whose records are not proved to lie in one log, in this order."""
    by_owner: dict[Link, list[Opened]] = {}
    for one in good:
        by_owner.setdefault(one.record.owner, []).append(one)
    inclusion = {proof.record: proof.proof for proof in end.inclusion}
    kept = []
    for owner, mine in by_owner.items():
        spans = {(link.old_size, link.size): link.proof for link in end.consistency if link.agent == owner}
        if not logproof.check([one.record for one in mine], inclusion, spans).faults:
            kept += mine
    return kept


class _Partial(StoreContext):
    """What rules see where what is cited may lie beyond what was handed over."""

    complete = False


def _good(ledger: Ledger, came: Iterable[Opened]) -> list[Opened]:
    """Return those that break no rule, their seals included; what one cites comes before it."""
    context = _Partial(ledger.store, ledger.federation, lambda: ledger.context.now_ms)
    book = RuleBook(context)
    good = []
    for one in came:
        record, seal, sealed, attachment = one
        if attachment is not None:
            context.attached[record.id] = attachment
        if record.seq == 0:
            context.stage(record)
        refusal = book.refusal(record, seal)
        if refusal is None and sealed is not True:
            refusal = judge(record, seal, context, SEAL_RULES)
        if refusal is None:
            context.stage(recover(record, context.record))
            good.append(one)
        else:
            context.staged.pop(record.id, None)
            _log.info("a record that was handed over is not kept: %s", refusal)
    return good
