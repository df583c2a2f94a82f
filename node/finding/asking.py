"""Asking for records wherever they may be: carries out what the resolver says, one audit long."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio

from tslg.node.finding.book import Outcome, Source
from tslg.node.finding.finder import Finder
from tslg.node.finding.resolver import Ask, Look, Resolver, Stage, Thing, Try
from tslg.node.net.errors import AddressError, Answered, ProtocolViolation, Stalled
from tslg.node.net.seam import Line, Network, peer_id_of
from tslg.node.tasks import background
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError, NetworkError, RecordError, TslgError
from tslg.protocol.exchange import LOG, LocateReply, LocateRequest, MessageError

_log = logging.getLogger(__name__)

BREACHES: Final = (ProtocolViolation, MessageError, RecordError, CodecError)
"""What no peer that keeps to the protocol causes."""
WORST: Final = 1_000
"""More than what any peer is better than another by."""
HEAD_START_SECONDS: Final = 0.25
"""How long a stranger is waited for before the next is dialled as well, as RFC 8305 has it for addresses."""
PATIENCE_SECONDS: Final = 1.0
"""How long a peer that says nothing is waited for before the next is asked as well, where nothing is known of the line:
several round trips round the world."""
PATIENCE_ROUND_TRIPS: Final = 2.0
"""How long where it is known, but never shorter than the head start. An answer takes one; a lost packet one more."""
LOCATES: Final = 8
"""Peers that are asked where an agent is: they tell what they were told, so more of them know no more."""


def patience(line: Line | None = None) -> float:
    """Return how long an answer over a line is waited for before somebody else is asked as well, s."""
    if line is None or line.round_trip is None:
        return PATIENCE_SECONDS
    return min(max(PATIENCE_ROUND_TRIPS * line.round_trip, HEAD_START_SECONDS), PATIENCE_SECONDS)


class Asker:
    """Peers to ask, in order, as long as there are any; those at addresses to `avoid` last.

    `on_step` is called whenever peers are looked for or dialled, so that it can be shown that something goes on.

    Attributes:
        round_trips: requests that were made.
        said: by peer, what came of asking it last: `answered`, or the code of what went wrong.
    """

    def __init__(
        self,
        network: Network,
        finder: Finder,
        given: Iterable[str],
        *,
        avoid: Collection[str] = (),
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        self._network = network
        self._finder = finder
        self._last = last = {peer_id_of(address) for address in avoid}
        # Peers give addresses too, for their own records, and may give anything.
        named = {address: peer for address in given if (peer := _peer_in(address)) and not finder.shunned(peer)}
        self._resolver = Resolver(
            finder.federation,
            sorted(named, key=lambda address: named[address] in last),
            peer_of=peer_id_of,
            score=lambda peer: finder.book.score(peer) - (WORST if peer in last else 0),
            silent=lambda peer: self.line(self._resolver.address(peer)).silent,
            limits=finder.limits,
        )
        self._on_step = on_step
        self.round_trips = 0
        self.said: dict[str, str] = {}
        self._answered: set[Thing] = set()

    async def next(self, wanted: Mapping[Thing, Link | None], last: Stage = Stage.FEDERATION) -> Ask | None:
        """Return whom to ask next for what is wanted, by the agents whose it is; None if nobody is left.

        Whoever is returned counts as asked. Looks and dials are made on the way, only as far as needed.
        """
        while True:
            step = self._resolver.next(wanted, last)
            self._on_step()
            if isinstance(step, Try):
                await self._try(step)
            elif isinstance(step, Look):
                await self._look(step)
            else:
                if step is not None:
                    self._resolver.asked(step.peer, step.things)
                return step

    async def log_holders(self, agent: Link, question: str) -> AsyncGenerator[Ask, None]:
        """Yield whom to ask about an agent's log; the federation's other nodes are not troubled with it."""
        thing = (question, agent)
        while (ask := await self.next({thing: agent}, Stage.AGENT)) is not None:
            yield ask

    async def others(self, most: int) -> list[str]:
        """Return addresses of peers to ask for another copy: of who was reached, who was given, who can be found."""
        found = self._resolver.reached()
        while len(found) < most and (ask := await self.next({"another copy": None})) is not None:
            if ask.address not in found:
                found.append(ask.address)
        return found[:most]

    def served(self, agent: Link, peer: str) -> None:
        """Note that a peer holds the whole of an agent's log."""
        self._resolver.served(agent, peer)

    def remember(self, agent: Link, peer: str | None) -> None:
        """Note, once what came of it was found to be right, that a peer serves an agent's log."""
        if peer is not None:
            self._finder.hear([self._resolver.address(peer)], Source.MET, agent)

    def has_not(self, peer: str, things: Iterable[Thing]) -> None:
        """Note that a peer said by itself that it does not have these."""
        told = list(things)
        self._resolver.asked(peer, told)
        self._answered.update(told)

    def answered(self, ask: Ask, seconds: float, *, something: bool = True) -> None:
        """Note that a peer answered in good order, with something or without."""
        self._answered.update(ask.things)
        self._resolver.alive(ask.address)
        self.said[ask.peer] = "answered"
        self._finder.book.reached(ask.address, self._finder.clock())
        self._finder.outcome(ask.peer, Outcome.ANSWERED if something else Outcome.NOTHING, int(1000 * seconds))

    def slow(self, ask: Ask) -> None:
        """Note that a peer says nothing for long: from here on the others are asked before it."""
        self._last.add(ask.peer)

    async def failed(self, ask: Ask, error: TslgError, *, lasting: bool = True) -> None:
        """Note what went wrong; a peer that broke a rule is cut off and remembered, one that is not there is left.

        Without `lasting` a peer that has answered that it has no answer may be asked for other things.
        """
        self.said[ask.peer] = error.code
        if isinstance(error, BREACHES):
            self._resolver.out(ask.peer)
            self._finder.outcome(ask.peer, Outcome.BROKE, why=str(error))
            await self._network.cut_off(ask.peer)
        elif isinstance(error, Answered):
            self._answered.update(ask.things)
            self._finder.outcome(ask.peer, Outcome.NOTHING)
            if lasting:
                self._resolver.out(ask.peer)
        else:
            if isinstance(error, Stalled):
                _log.warning("peer %s: %s", ask.peer, error, extra={"peer": ask.peer, "rule": error.code})
            self._resolver.out(ask.peer)
            self._finder.book.unreached(ask.address)

    def reason(self, thing: Thing) -> str:
        """Why something that nobody handed over is missing: somebody who answered has it not, or nobody answered."""
        return "absent" if thing in self._answered else "unreachable"

    def line(self, address: str) -> Line:
        """Return how the line to the peer at an address is."""
        return self._network.line(address)

    async def request(self, address: str, request: bytes) -> bytes:
        """Send one request about a log whose reply is one chunk."""
        async with self.asked(address, LOG, request) as chunks:
            return b"".join([chunk async for chunk in chunks])

    @asynccontextmanager
    async def asked(self, address: str, protocol: str, request: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send a request for the length of a block, as `Network.request`. Raises Stalled too where the line is silent.

        One that was silent before is given the time of an answer to come back: nothing sent over it could be withdrawn.
        """
        if (line := self.line(address)).silent:
            await trio.sleep(patience(line))
        silent = self.line(address).silent

        async def listen() -> None:
            nonlocal silent
            while not silent:
                await trio.sleep(HEAD_START_SECONDS)
                silent = self.line(address).silent
            nursery.cancel_scope.cancel()

        if not silent:
            self.round_trips += 1
            async with background() as nursery:
                nursery.start_soon(listen)
                async with self._network.request(address, protocol, request, limits=self._finder.limits) as chunks:
                    yield chunks
        if silent:
            peer = peer_id_of(address)
            raise Stalled(f"nothing comes from peer {peer}", peer=peer)

    async def _try(self, step: Try) -> None:
        """Dial strangers side by side, the better ones with a head start, until one is there.

        Waiting for each in turn would cost seconds for every one that is not.
        """
        async with trio.open_nursery() as nursery:
            for address in step.addresses:
                over = trio.Event()
                nursery.start_soon(self._dial, address, nursery.cancel_scope, over)
                with trio.move_on_after(HEAD_START_SECONDS):
                    await over.wait()

    async def _dial(self, address: str, all_: trio.CancelScope, over: trio.Event) -> None:
        peer = peer_id_of(address)
        try:
            await self._network.connect(address, given=False)
        except NetworkError as error:
            self.said.setdefault(peer, error.code)
            self._resolver.dead(address)
            self._finder.book.unreached(address)
            _log.debug("%s leads nowhere: %s", address, error)
            over.set()
            return
        self._resolver.alive(address)
        self._finder.book.reached(address, self._finder.clock())
        all_.cancel()

    async def _look(self, look: Look) -> None:
        self._resolver.looked(look)
        if look.stage is not Stage.TOLD:
            self._resolver.learn(look.stage, look.key, await self._finder.providers(look.key))
            return
        known = self._finder.usable(await trio.to_thread.run_sync(self._finder.known, look.key))
        self._resolver.learn(Stage.TOLD, look.key, known)
        await self._locate(look.key)

    async def _locate(self, agent: Link) -> None:
        """Ask known peers where an agent's node is, until one says."""
        thing = ("locate", agent)
        for _ in range(LOCATES):
            peer = self._resolver.familiar(thing)
            if peer is None:
                return
            ask = Ask(peer, self._resolver.address(peer), (thing,))
            self._resolver.asked(peer, ask.things)
            started = trio.current_time()
            try:
                reply = LocateReply.from_bytes(await self.request(ask.address, LocateRequest(agent).to_bytes()))
            except (NetworkError, MessageError) as error:
                await self.failed(ask, error, lasting=False)
                continue
            self.answered(ask, trio.current_time() - started, something=bool(reply.addresses))
            usable = self._finder.usable(reply.addresses)
            if usable:
                self._finder.hear(usable, Source.TOLD, agent)
                self._resolver.learn(Stage.TOLD, agent, usable)
                return


def _peer_in(address: str) -> str | None:
    try:
        return peer_id_of(address)
    except AddressError:
        return None
