"""The part of a node that replicates: feeds those who follow its logs, and follows the logs that it is set to hold."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import trio

from tslg.node.ledger import Ledger
from tslg.node.net.errors import NotAvailable, ProtocolViolation
from tslg.node.net.seam import Network, peer_id_of
from tslg.node.replication.catching import Candidates
from tslg.node.replication.comparing import claimed, compare
from tslg.node.replication.leader import Close, Cut, Leader, Submit
from tslg.node.replication.report import Blame, LogReport
from tslg.node.replication.syncing import Syncing
from tslg.node.services import grown
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError
from tslg.protocol.exchange import MessageError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.proofs import HeadClaim
from tslg.protocol.pushing import PUSH, Heads, More, OfferRequest, SubscribeRequest, Taken, read_subscription_chunk

if TYPE_CHECKING:
    from trio_typing import TaskStatus

_log = logging.getLogger(__name__)

FEDERATION: Final = "federation"
"""Stands, among the logs to hold, for every log of the federation."""
LOOK_SECONDS: Final = 30.0
"""How often it is looked for more peers, and logs that stand still are tried again."""
OFFER_SECONDS: Final = 0.1
"""How long growth is gathered before it is offered: an offer is a hint, and one for many records will do."""
HINTS_KEPT: Final = 1_024
"""Hints that wait to be looked at; a hint that is lost is made good when peers are compared with again."""


class Replication:
    """A `Service`. What it follows is verified as it arrives, and can be served as its author's node serves it.

    Args:
        ledger: admits what comes, and tells of what grows.
        owners: the logs to hold.
        everything: whether to hold every log of the federation that peers hold whole.
        peers: addresses of peers to follow, always; others are found.
        offer_to: addresses of replicas that are told when logs held here grow.
        cut: what every record passes on its way out.
        close: answers what ancestry is lacking.
        candidates: finds peers for a log.
        submit: takes engines' submissions; None where nobody does.
        limits: bounds on everything.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        owners: Sequence[Link] = (),
        everything: bool = False,
        peers: Sequence[str] = (),
        offer_to: Sequence[str] = (),
        cut: Cut,
        close: Close,
        candidates: Candidates | None = None,
        submit: Submit | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self._ledger = ledger
        self._owners = tuple(dict.fromkeys(owners))
        self._everything = everything
        self._peers = tuple(dict.fromkeys(peers))
        self._offer_to = tuple(dict.fromkeys(offer_to))
        self._candidates = candidates
        self._limits = limits
        self._network: Network | None = None
        self._sync: Syncing | None = None
        self._attended: dict[str, str] = {}
        self._gone: set[str] = set()
        self._hints: deque[tuple[Link, int, str]] = deque(maxlen=HINTS_KEPT)
        self._hinted = trio.Event()
        self.leader = Leader(
            ledger.store,
            ledger.growth,
            ledger.federation,
            cut=cut,
            close=close,
            hint=self.hint,
            submit=submit,
            limits=limits,
        )

    @property
    def following(self) -> bool:
        """Whether any log is to be held."""
        return bool(self._owners) or self._everything

    def serve(self, network: Network) -> None:
        """Answer `/tslg/push/1`."""
        network.serve(PUSH, self.leader.answer)
        self._network = network

    def hint(self, agent: Link, size: int, peer: str) -> bool:
        """Take note that a peer is said to hold a log up to `size`; return whether that log is followed here.

        To be called in trio, by whoever hears of heads. Nothing is believed: the peer is compared with.
        """
        sync = self._sync
        if sync is None or self._ledger.writes(agent) or not (self._everything or agent in sync.logs):
            return False
        log = sync.logs.get(agent)
        if log is None or size > log.follower.held:
            self._hints.append((agent, size, peer))
            self._hinted.set()
        return True

    @property
    def blamed(self) -> list[Blame]:
        """The peers that broke a rule, the first of them."""
        return [] if self._sync is None else list(self._sync.blamed)

    async def status(self) -> list[LogReport]:
        """Return what is held of the logs that are followed."""
        sync = self._sync
        if sync is None:
            return []
        heard = bool(sync.compared)
        return [log.report(await claimed(sync, log), heard=heard) for log in list(sync.logs.values())]

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow, and tell replicas what grew, until cancelled."""
        assert self._network is not None
        async with trio.open_nursery() as nursery:
            if self.following:
                self._sync = Syncing(self._network, self._ledger, limits=self._limits, patient=True)
                for owner in dict.fromkeys([self._ledger.federation, *self._owners]):
                    await self._sync.follow(owner)
                await nursery.start(self._sync.run)
                nursery.start_soon(self._look_on, self._sync, nursery)
            if self._offer_to:
                nursery.start_soon(self._offer_on)
            task_status.started()
            await trio.sleep_forever()

    # --- following ---------------------------------------------------------------------------------------------------

    async def _look_on(self, sync: Syncing, nursery: trio.Nursery) -> None:
        """Attend to the peers that are set or found, and to whoever is said to have something new."""
        while True:
            for peer in self._peers:
                self._attend_to(sync, peer, True, nursery)
            for peer in await self._found(sync):
                self._attend_to(sync, peer, False, nursery)
            for log in sync.logs.values():
                if log.follower.stopped is not None:
                    log.follower.resume()
                    sync.nudge(log.owner)
            with trio.move_on_after(LOOK_SECONDS):
                while True:
                    await self._hinted.wait()
                    self._hinted = trio.Event()
                    await self._take_hints(sync, nursery)

    async def _take_hints(self, sync: Syncing, nursery: trio.Nursery) -> None:
        while self._hints:
            agent, size, peer = self._hints.popleft()
            log = await sync.follow(agent)
            if log is not None and size > log.follower.held:
                known = self._attended.get(peer_id_of(peer))
                if known is not None:
                    sync.offered(agent, known, size)
                else:
                    self._attend_to(sync, peer, False, nursery)

    async def _found(self, sync: Syncing) -> list[str]:
        """Return peers that may have logs of which nobody who is attended to has more than is held."""
        if self._candidates is None:
            return []
        found: dict[str, None] = {}
        for log in list(sync.logs.values()):
            if not log.follower.providers() and len(found) < self._limits.replica_providers:
                found.update(dict.fromkeys(await self._candidates(log.owner)))
        own = self._network.peer_id if self._network is not None else ""
        return [peer for peer in found if peer_id_of(peer) != own]

    def _attend_to(self, sync: Syncing, peer: str, always: bool, nursery: trio.Nursery) -> None:
        id = peer_id_of(peer)
        room = always or len(self._attended) < self._limits.replica_providers
        if room and id not in self._attended and id not in self._gone:
            self._attended[id] = peer
            nursery.start_soon(self._attend, sync, peer, always)

    async def _attend(self, sync: Syncing, peer: str, always: bool) -> None:
        """Compare with a peer and subscribe to it, again and again, until it breaks a rule or is of no use."""
        limits, failures = self._limits, 0
        try:
            while True:
                try:
                    await compare(sync, peer, everything=self._everything)
                    failures = 0
                    await self._subscribe(sync, peer)
                    continue
                except NotAvailable:
                    pause = LOOK_SECONDS
                except NetworkError as error:
                    if isinstance(error, ProtocolViolation | MessageError):
                        if len(self._gone) < HINTS_KEPT:
                            self._gone.add(peer_id_of(peer))
                        await sync.blame(peer, f"{error.code}: {error.detail}")
                        return
                    _log.info("peer %s cannot be followed for now: %s", peer_id_of(peer), error)
                    failures += 1
                    pause = min(limits.replica_back_off_ms * 2**failures, limits.replica_back_off_most_ms) / 1000
                if not always and failures >= limits.replica_strikes:
                    return
                await trio.sleep(pause)
        finally:
            del self._attended[peer_id_of(peer)]

    async def _subscribe(self, sync: Syncing, peer: str) -> None:
        """Take what a peer sends of the logs as they grow, until its reply is full."""
        assert self._network is not None
        logs = tuple((log.owner, max(log.follower.held, log.follower.claim(peer))) for log in list(sync.logs.values()))
        request = SubscribeRequest(logs, self._everything, live=True)
        asked = {owner for owner, _ in logs}
        async with self._network.request(peer, PUSH, request.to_bytes(), limits=self._limits) as chunks:
            async for chunk in chunks:
                part = await trio.to_thread.run_sync(read_subscription_chunk, chunk, self._limits)
                if isinstance(part, More):
                    return
                if isinstance(part, Heads):
                    await self._take_heads(sync, peer, part.heads, asked)
                    continue
                opened = await trio.to_thread.run_sync(sync.opener.open, part)
                for one in opened.opened:
                    await self._expect(sync, peer, one.record.owner, asked)
                    sync.pushed(peer, one)
                if opened.fault is not None:
                    raise ProtocolViolation(opened.fault, peer=peer)

    async def _take_heads(self, sync: Syncing, peer: str, heads: Sequence[HeadClaim], asked: set[Link]) -> None:
        for head in heads:
            await self._expect(sync, peer, head.agent, asked)
            sync.offered(head.agent, peer, head.size)

    async def _expect(self, sync: Syncing, peer: str, owner: Link, asked: set[Link]) -> None:
        """Follow a log that is new, if all are asked for. Raises ProtocolViolation if it was not."""
        if owner in asked or self._ledger.writes(owner):
            return
        if not self._everything:
            raise ProtocolViolation("a log that was not asked for", peer=peer)
        asked.add(owner)
        await sync.follow(owner)

    # --- telling -----------------------------------------------------------------------------------------------------

    async def _offer_on(self) -> None:
        async with aclosing(grown(self._ledger.growth)) as changes:
            async for owners in changes:
                await trio.sleep(OFFER_SECONDS)
                heads = await trio.to_thread.run_sync(self._heads, owners)
                async with trio.open_nursery() as nursery:
                    for peer in self._offer_to if heads else ():
                        nursery.start_soon(self._offer, peer, heads[: self._limits.walk_roots])

    def _heads(self, owners: Sequence[Link]) -> list[HeadClaim]:
        states = [self._ledger.store.log_state(owner) for owner in owners]
        return [HeadClaim(one.owner, one.last, one.size, one.peaks.root()) for one in states if one is not None]

    async def _offer(self, peer: str, heads: Sequence[HeadClaim]) -> None:
        assert self._network is not None
        try:
            request = OfferRequest(tuple(heads)).to_bytes()
            async with self._network.request(peer, PUSH, request, limits=self._limits) as chunks:
                Taken.from_bytes(b"".join([chunk async for chunk in chunks]))
        except NetworkError as error:
            _log.info("replica %s could not be told: %s", peer_id_of(peer), error)
