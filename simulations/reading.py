"""Reading as a node does: an audit over the network, with the walker, from peers who are not believed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Final

from tslg.node import kept_checkpoints
from tslg.node.adopting import keep
from tslg.node.doubting import Doubts
from tslg.node.pool import Pool
from tslg.node.sources import StoreSource
from tslg.node.verifying import Walked
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.exchange import (
    LOG,
    WALK,
    HeadReply,
    HeadRequest,
    ProofsReply,
    ProofsRequest,
    WalkEnd,
    WalkRequest,
    read_walk_chunk,
)
from tslg.protocol.limits import DEFAULT
from tslg.protocol.logproof import Needs
from tslg.protocol.opening import Opened
from tslg.protocol.proofs import PrunedProof
from tslg.protocol.walker import Walker
from tslg.simulations.member import Ask, Member, Rest, peer_name

Asking = Generator[Ask | Rest, Any, Any]
_WALKS: Final = 3
"""A record is walked again so often, each time with better seals than before."""


class _Asked:
    """What code that waits, as a node's does, says `await` to in a procedure."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def __await__(self) -> Generator[Ask, Any, Any]:
        return (yield self._ask)


class Reading:
    """One audit by a member.

    Args:
        member: who reads.
        target: the record.
        depth: D_verify, None for unbounded.
        signatures: `all` or `heads`.
        log: `visited`, or `none`.
        better: seals that hold, of records whose seals were spoiled.
    """

    def __init__(
        self,
        member: Member,
        target: Link,
        depth: int | None = None,
        signatures: str = "all",
        log: str = "visited",
        better: Mapping[Link, bytes] | None = None,
    ) -> None:
        self._member = member
        self._store = member.disk
        self.walker = Walker(
            target, member.world.federation, now_ms=member.clock(), depth=depth, signatures=signatures, log=log
        )
        self.pool = self._pool = Pool(self.walker, {}, None, better)
        self._beside: list[Opened] = []
        self._pruned: list[PrunedProof] = []
        self.requests = 0
        self.bytes = 0

    def run(self, author: Link | None, peers: Sequence[int] = ()) -> Asking:
        """Read; return the walk.

        Args:
            author: whose record the target is, as far as that is known.
            peers: who is asked first.
        """
        walker = self.walker
        asked = list(dict.fromkeys([*peers, *self._homes(author)]))
        yield from self._fetch_all(asked)
        for agent in walker.met():
            if agent != walker.federation:
                yield from self._fetch_head(agent, asked)
        self._supply_what_is_known()
        yield from self._fetch_all(asked)
        walker.weigh()
        source = StoreSource(self._store)
        for agent, needs in walker.wants_proofs().items():
            walker.supply_proofs(*source.proofs(agent, needs))
        for agent in list(walker.wants_proofs()):
            yield from self._fetch_proofs(agent, asked)
        return Walked(walker.finish(), walker)

    def doubt(self, doubts: Doubts, author: Link | None, peers: Sequence[int]) -> Asking:
        """Ask others for seals in place of those that do not hold, as a node does; return whether to walk again."""
        names = [peer_name(one) for one in dict.fromkeys([*peers, *self._homes(author)])]
        looking = doubts.look(self.walker, self._pool, names, self._store, self._fetch_alone, DEFAULT)
        return (yield from looking.__await__())

    async def _fetch_alone(self, name: str, ids: Sequence[Link]) -> None:
        request = WalkRequest(tuple(ids), None, 0).to_bytes()
        self.requests += 1
        try:
            chunks = await _Asked(Ask(int(name.removeprefix("member-")), WALK, request))
            for chunk in chunks:
                part = read_walk_chunk(chunk)
                if not isinstance(part, WalkEnd):
                    self._pool.take(part, name)
        except (NetworkError, TslgError):
            return

    def _homes(self, agent: Link | None) -> list[int]:
        member = self._member
        found = [] if agent is None else member.world.directory.find(member, agent)
        return [one for one in found if one != member.index]

    # --- records -----------------------------------------------------------------------------------------------------

    def _fetch_all(self, asked: list[int]) -> Asking:
        walker, pool = self.walker, self._pool
        while wanted := walker.wants():
            lacking = self._hand_over(wanted)
            if not lacking:
                continue
            for peer in self._whom_to_ask(lacking, asked):
                request = WalkRequest(tuple(lacking), None, walker.remaining).to_bytes()
                yield from self._ask(peer, WALK, request, self._take_walk)
                lacking = [id for id in lacking if id not in pool.opened]
                if not lacking:
                    break
            for id in self._hand_over(wanted):
                walker.cannot(id, pool.reasons.get(id, "unreachable"))

    def _hand_over(self, wanted: Iterable[Link]) -> list[Link]:
        pool, walker = self._pool, self.walker
        ids = [id for id in wanted if id not in pool.opened]
        if ids:
            pool.take(self._store.get_many(ids).values())
        lacking = []
        for id in wanted:
            if id in pool.opened:
                walker.supply(pool.opened[id])
            else:
                lacking.append(id)
        return lacking

    def _whom_to_ask(self, lacking: Sequence[Link], asked: list[int]) -> list[int]:
        owners = dict.fromkeys(self.walker.owner_of(id) for id in lacking)
        homes = [home for owner in owners if owner is not None for home in self._homes(owner)]
        return list(dict.fromkeys([*homes, *asked]))[:6]

    def _take_walk(self, chunks: Sequence[bytes], peer: int) -> None:
        for chunk in chunks:
            part = read_walk_chunk(chunk)
            if isinstance(part, WalkEnd):
                self._pool.note_end(part)
                self._beside.extend(self._pool.take(part.beside, peer_name(peer)))
                self._pruned.extend(part.pruned)
                self.walker.supply_proofs(part.inclusion, part.consistency)
                self.walker.supply_checkpoints(part.checkpoints)
            else:
                self._pool.take(part, peer_name(peer))

    def _ask(self, peer: int, protocol: str, request: bytes, take: Callable[[Sequence[bytes], int], None]) -> Asking:
        """Ask a peer and take what it says; return whether that could be read."""
        self.requests += 1
        try:
            chunks = yield Ask(peer, protocol, request)
            self.bytes += sum(map(len, chunks))
            take(chunks, peer)
        except (NetworkError, TslgError):
            return False
        return True

    # --- logs --------------------------------------------------------------------------------------------------------

    def _fetch_head(self, agent: Link, asked: Sequence[int]) -> Asking:
        pool = self._pool
        if pool.newest(agent) is None:

            def take(chunks: Sequence[bytes], peer: int) -> None:
                reply = HeadReply.from_bytes(b"".join(chunks))
                (opened,) = pool.take([reply.pair], peer_name(peer))
                if reply.head.agent == agent and opened.record.id == reply.head.record:
                    pool.note_head(reply.head)

            for peer in dict.fromkeys([*self._homes(agent), *asked][:4]):
                if (yield from self._ask(peer, LOG, HeadRequest(agent).to_bytes(), take)):
                    break
        newest = pool.newest(agent)
        if newest is not None:
            self.walker.supply_head(*newest, "peer")

    def _supply_what_is_known(self) -> None:
        walker, pool, store = self.walker, self._pool, self._store
        notes = (kept_checkpoints.read(store, agent) for agent in walker.met())
        walker.supply_checkpoints(note for note in notes if note is not None)
        source = StoreSource(store)
        own = source.newest(walker.federation)
        if own is not None:
            (opened,) = pool.take([own.pair])
            walker.supply_head(own.claim, opened, "log")
        for agent in walker.met():
            for opened in pool.prefer(source.revocations(agent).items()):
                walker.supply_revocation(opened)
            for opened in pool.revocations.get(agent, ()):
                walker.supply_revocation(opened)
            for opened in pool.prefer(source.beside(agent)):
                walker.supply_beside(opened)
        for opened in self._beside:
            walker.supply_beside(opened)
        walker.supply_pruned(self._pruned)

    def _fetch_proofs(self, agent: Link, asked: Sequence[int]) -> Asking:
        def take(chunks: Sequence[bytes], peer: int) -> None:
            reply = ProofsReply.from_bytes(b"".join(chunks))
            self.walker.supply_proofs(reply.inclusion, reply.consistency)

        for peer in dict.fromkeys([*self._homes(agent), *asked][:4]):
            needs = self.walker.wants_proofs().get(agent)
            if needs is None:
                return
            some = Needs(needs.inclusion[:1_000], needs.consistency[:1_000])
            yield from self._ask(peer, LOG, ProofsRequest(agent, some).to_bytes(), take)


def audit(member: Member, target: Link, author: Link | None, depth: int | None, peers: Sequence[int] = ()) -> Asking:
    """Audit a record, keep what is valid, and return the walk."""
    doubts = Doubts()
    for _ in range(_WALKS):
        reading = Reading(member, target, depth, better=doubts.better)
        walked = yield from reading.run(author, peers)
        again = yield from reading.doubt(doubts, author, peers)
        if not again:
            break
    walked = Walked(doubts.lifted(walked.report, reading.pool), walked.walker)
    member.world.oracle.judged(member, walked, reading)
    keep(member.ledger, walked, source="peer", now_ms=member.clock())
    member.world.testimony.look(member)
    return walked
