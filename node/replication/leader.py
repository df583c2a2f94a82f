"""The side that has the records: answers `/tslg/push/1`, and tells chosen replicas when there is something new."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Final

import trio

from tslg.node.access import WITHHELD, Refused
from tslg.node.growth import Growth
from tslg.node.net.errors import Busy, InvalidRequest, NotAvailable, RequestRefused
from tslg.node.services import Bell
from tslg.node.sources import StoreSource
from tslg.node.store.interface import Entry, Store
from tslg.protocol.codec import Link
from tslg.protocol.errors import SubmissionError
from tslg.protocol.exchange import MessageError, Pair, chunked, records_chunk
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.logproof import Needs
from tslg.protocol.proofs import HeadClaim
from tslg.protocol.pushing import (
    CloseRequest,
    Compared,
    CompareRequest,
    Difference,
    Heads,
    More,
    OfferRequest,
    Stand,
    SubmitRequest,
    Submitted,
    SubscribeRequest,
    Taken,
    in_chunks,
    read_push_request,
)
from tslg.protocol.subscription import Caught, Over, Send, Subscription, Wait

BATCH: Final = 256
"""Records sent before it is looked which log has its turn next."""

Cut = Callable[[Link, Entry, str], Pair | Refused]
"""Returns a record as a peer may have it, or WITHHELD."""
Close = Callable[[CloseRequest, str], AsyncGenerator[bytes, None]]
"""Answers what ancestry is lacking."""
Submit = Callable[[bytes, str], Submitted]
"""Takes a submission of an engine's records. Raises SubmissionError."""
Hint = Callable[[Link, int, str], bool]
"""Takes note that a peer has a log up to a size; tells whether that log is followed here."""


class Leader:
    """Answers comparisons, subscriptions and offers.

    Args:
        store: what is served; it is read in threads.
        growth: tells of what is appended.
        federation: the federation, whose log comes first in every subscription.
        cut: what every record passes on its way out.
        close: answers what ancestry is lacking.
        hint: is told of offers.
        submit: takes submissions, in a thread; None where there is nobody to take any.
        limits: bounds on each answer.
    """

    def __init__(
        self,
        store: Store,
        growth: Growth,
        federation: Link,
        *,
        cut: Cut,
        close: Close,
        hint: Hint,
        submit: Submit | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self._store = store
        self._source = StoreSource(store)
        self._growth = growth
        self._federation = federation
        self._cut = cut
        self._close = close
        self._hint = hint
        self._submit = submit
        self._limits = limits
        self._subscribed = 0

    async def answer(self, request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
        """Answer one request of `/tslg/push/1`."""
        try:
            asked = read_push_request(request, self._limits)
        except MessageError as error:
            raise InvalidRequest(error.detail) from error
        if isinstance(asked, OfferRequest):
            yield Taken(sum([self._hint(head.agent, head.size, peer) for head in asked.heads])).to_bytes()
            return
        if isinstance(asked, SubmitRequest):
            yield (await self._submitted(asked.bundle, peer)).to_bytes()
            return
        if isinstance(asked, CompareRequest):
            for chunk in await trio.to_thread.run_sync(self._compared, asked, peer):
                yield chunk
            return
        chunks = self._close(asked, peer) if isinstance(asked, CloseRequest) else self._feed(asked, peer)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def _submitted(self, bundle: bytes, peer: str) -> Submitted:
        if self._submit is None:
            raise NotAvailable("nobody here takes engines' records")
        try:
            return await trio.to_thread.run_sync(self._submit, bundle, peer)
        except SubmissionError as error:
            kind = Busy if error.code in ("TSLG-E-BUSY", "TSLG-E-RATE") else RequestRefused
            raise kind(f"{error.code}: {error.detail} ({error.mend})") from error

    # --- comparing ---------------------------------------------------------------------------------------------------

    def _compared(self, asked: CompareRequest, peer: str) -> list[bytes]:
        """Return the chunks that tell in which logs the two differ: a page of at most so many logs."""
        stands = {stand.agent: stand for stand in asked.logs}
        owners = {*stands, *asked.wanted}
        if asked.everything:
            owners.update(log.owner for log in self._store.logs() if log.complete)
        page = sorted(owner for owner in owners if asked.after is None or owner > asked.after)
        most = self._limits.walk_roots
        found = [one for owner in page[:most] if (one := self._difference(owner, stands.get(owner), peer)) is not None]
        parts = list(in_chunks(found, self._limits.chunk_bytes // 2))
        after = page[most - 1] if len(page) > most else None
        chunks = [Compared(part).to_bytes() for part in parts[:-1]]
        return [*chunks, Compared(parts[-1], after).to_bytes()]

    def _difference(self, owner: Link, stand: Stand | None, peer: str) -> Difference | None:
        """Return how a log that is held whole here differs from what the asker has of it, None if it does not."""
        newest = self._source.newest(owner)
        if newest is None or (stand is not None and (newest.claim.size, newest.claim.root) == stand[1:]):
            return None
        id, size = newest.claim.record, newest.claim.size
        proof = None
        if stand is not None and stand.size < size - 1:
            made = self._source.proofs(owner, Needs((), ((stand.size, size - 1),)))[1]
            proof = next((one for one in made if (one.old_size, one.size) == (stand.size, size - 1)), None)
        cut = self._cut(id, Entry(*newest.pair), peer)
        return None if cut is WITHHELD else Difference(newest.claim, cut, proof)

    # --- subscriptions -----------------------------------------------------------------------------------------------

    async def _feed(self, asked: SubscribeRequest, peer: str) -> AsyncGenerator[bytes, None]:
        """Send what the asker lacks, the federation's log first, then say where the logs end, then what is new."""
        with self._place(), Bell(self._growth) as bell:
            starts = {self._federation: 0, **dict(asked.logs)}
            feed = Subscription(starts, live=asked.live, batch=BATCH, now_ms=_now(), limits=self._limits)
            owners = await trio.to_thread.run_sync(self._owners, asked)
            if not owners:
                raise NotAvailable("none of these logs is held whole here")
            await self._note(feed, [self._federation, *owners])
            cut_short: set[Link] = set()
            while True:
                step = feed.step(_now())
                if isinstance(step, Over):
                    yield More(step.more).to_bytes()
                    return
                if isinstance(step, Wait):
                    grown = await bell.wait((step.until_ms - _now()) / 1000)
                    await self._note(feed, [one for one in grown if asked.everything or one in starts])
                    continue
                for chunk in await trio.to_thread.run_sync(self._chunks, step, peer, cut_short):
                    yield chunk
                    feed.sent(len(chunk), _now())
                    if feed.full:
                        break
                if isinstance(step, Send):
                    feed.read(step.agent, step.stop)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._subscribed >= self._limits.subscriptions:
            raise Busy("too many subscriptions")
        self._subscribed += 1
        try:
            yield
        finally:
            self._subscribed -= 1

    def _owners(self, asked: SubscribeRequest) -> list[Link]:
        complete = {log.owner for log in self._store.logs() if log.complete}
        return sorted(complete if asked.everything else complete & {agent for agent, _ in asked.logs})

    async def _note(self, feed: Subscription, owners: Sequence[Link]) -> None:
        """Tell a subscription how large logs are, that of the federation first."""
        if not owners:
            return
        for owner, size in await trio.to_thread.run_sync(self._sizes, owners):
            feed.grew(owner, size)

    def _sizes(self, owners: Sequence[Link]) -> list[tuple[Link, int]]:
        states = [self._store.log_state(owner) for owner in owners]
        sizes = [(state.owner, state.size) for state in states if state is not None]
        return sorted(sizes, key=lambda one: one[0] != self._federation)

    def _chunks(self, step: Send | Caught, peer: str, cut_short: set[Link]) -> list[bytes]:
        """Read what a step is to send. A log ends for a peer before the first record that it may not read."""
        if isinstance(step, Caught):
            sizes = [one for one in step.sizes if one[0] not in cut_short]
            claims = [claim for one in sizes if (claim := self._claim(*one)) is not None]
            most = self._limits.walk_roots
            return [Heads(tuple(claims[at : at + most])).to_bytes() for at in range(0, max(1, len(claims)), most)]
        rows = self._store.log_range(step.agent, step.start, step.stop)
        pairs: list[Pair] = []
        for id, entry in rows if step.agent not in cut_short else ():
            cut = self._cut(id, entry, peer)
            if cut is WITHHELD:
                cut_short.add(step.agent)
                break
            pairs.append(cut)
        return [records_chunk(part) for part in chunked(pairs, BATCH, self._limits.chunk_bytes // 2)]

    def _claim(self, agent: Link, size: int) -> HeadClaim | None:
        """Return the head of a log; None if it has grown since, since it is told once that was sent too."""
        newest = self._source.newest(agent)
        return None if newest is None or newest.claim.size != size else newest.claim


def _now() -> int:
    return int(trio.current_time() * 1000)
