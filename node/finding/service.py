"""The part of a node that finds others and is found: contact, provider records, the book, the local network.

It keeps in contact with the peers that its operator named, however long they are away; left alone, it tries whom it
knew before. It says in the DHT what it can be asked about, when it starts, when that changes, and again in time.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import trio

from tslg.node.config import NodeConfig
from tslg.node.finding import listed
from tslg.node.finding.book import Source
from tslg.node.finding.finder import Finder, keep_book, read_book
from tslg.node.finding.listed import Listed
from tslg.node.home import Home
from tslg.node.net.errors import FeatureOff
from tslg.node.net.seam import Network, peer_id_of
from tslg.node.services import grown
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, UsageError
from tslg.protocol.limits import DEFAULT, Limits

if TYPE_CHECKING:
    from trio_typing import TaskStatus

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
"""How often it is looked whether peers are still there, and whether the operator changed his list."""
FIRST_DELAY_SECONDS: Final = 1.0
MOST_DELAY_SECONDS: Final = 300.0
"""Between two attempts to reach a peer that is away: doubled each time, up to five minutes, for ever."""
PROVIDE_SECONDS: Final = 3_600.0
"""How often what is provided is said again at least: records end after two days, but whoever holds them may restart."""
PROVIDE_PACE_SECONDS: Final = 0.1
"""Between two keys: others take a hundred in ten seconds from one peer."""
KEEP_SECONDS: Final = 30.0
"""How often the book is kept."""
OLD_FRIENDS: Final = 8
"""Peers of the book that a node left alone tries at a time."""


class Finding:
    """A service of a node (see `node.services`).

    Args:
        home: whose agents are provided; its store keeps the book.
        config: what of all this is wanted.
        limits: bounds on what is taken from others.
        chance: draws from [0, 1), so that nodes which start together do not go on together.
    """

    def __init__(
        self,
        home: Home,
        config: NodeConfig,
        limits: Limits = DEFAULT,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._home = home
        self._config = config
        self._chance = chance
        self._network: Network | None = None
        book = read_book(home.store, limits)
        self.finder = Finder(None, home.federation, clock=home.clock, book=book, store=home.store, limits=limits)
        self._also: list[Callable[[], Iterable[Link]]] = []
        self._held: dict[str, trio.CancelScope] = {}
        self._listed = Listed()
        self._stamp: tuple[int, int] | None = None
        self._shut_out: set[str] = set()
        self._due: dict[Link, float] = {}
        self._wake = trio.Event()
        self._new_contact = trio.Event()

    def also_provide(self, what: Callable[[], Iterable[Link]]) -> None:
        """Provide these ids too: `what` is asked again whenever something is provided."""
        self._also.append(what)
        self.provide_now()

    def provide_now(self) -> None:
        """Look at once whether there is something new to provide."""
        self._wake.set()

    def provides(self) -> list[Link]:
        """Return the ids that others may ask this node about."""
        keys = [self._home.federation, *(agent.id for agent in self._home.agents)]
        keys.extend(key for what in self._also for key in what())
        return list(dict.fromkeys(keys))

    def serve(self, network: Network) -> None:
        """See `services.Service`."""
        self._network = network
        self.finder.use(network)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `services.Service`."""
        try:
            async with trio.open_nursery() as nursery:
                await self._read_list(nursery)
                nursery.start_soon(self._watch, nursery)
                nursery.start_soon(self._keep)
                if self._config.discovery:
                    nursery.start_soon(self._watch_growth)
                    nursery.start_soon(self._provide)
                if self._config.discovery or self._config.gossip:
                    nursery.start_soon(self._keep_company)
                if self._config.mdns:
                    nursery.start_soon(self._look_around)
                task_status.started()
        finally:
            with trio.CancelScope(shield=True):
                await keep_book(self._home.store, self.finder.book)

    # --- contact ---------------------------------------------------------------------------------------------------

    async def _watch(self, nursery: trio.Nursery) -> None:
        """Read the operator's list again when it changes, and let in again whom was shut out for long enough."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            await self._read_list(nursery)

    async def _read_list(self, nursery: trio.Nursery) -> None:
        path = self._home.path / listed.FILE
        try:
            stat = await trio.to_thread.run_sync(path.stat)
            stamp = (stat.st_mtime_ns, stat.st_ino)
        except OSError:
            stamp = (0, 0)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._listed = await trio.to_thread.run_sync(listed.read, self._home.path)
            except (UsageError, NetworkError) as error:
                _log.error("the list of peers is left as it was: %s", error)
            self._hold_all(nursery)
        await self._shut_out_and_let_in()

    def _hold_all(self, nursery: trio.Nursery) -> None:
        """Keep in contact with just the peers that are named."""
        assert self._network is not None
        config = self._config
        named = [*config.bootstrap, *config.replicate_from, *config.offer_to, *self._listed.known]
        wanted = dict.fromkeys(one for one in named if not one.endswith(f"/p2p/{self._network.peer_id}"))
        for address in [one for one in self._held if one not in wanted]:
            self._held.pop(address).cancel()
        for address in wanted:
            if address not in self._held:
                self._held[address] = scope = trio.CancelScope()
                self.finder.hear([address], Source.STATIC)
                nursery.start_soon(self._hold, address, scope)

    async def _hold(self, address: str, scope: trio.CancelScope) -> None:
        """Keep in contact with one peer, for ever; each attempt that fails doubles the wait for the next."""
        assert self._network is not None
        delay, told = FIRST_DELAY_SECONDS, False
        with scope:
            while True:
                if self._is_there(address):
                    await trio.sleep(LOOK_SECONDS)
                    continue
                try:
                    await self._network.connect(address)
                except NetworkError as error:
                    _log.log(logging.DEBUG if told else logging.WARNING, "no contact yet: %s", error)
                    self.finder.book.unreached(address)
                    await trio.sleep(delay * (0.5 + self._chance()))
                    delay, told = min(2 * delay, MOST_DELAY_SECONDS), True
                    continue
                self._met(address)
                delay, told = FIRST_DELAY_SECONDS, False

    def _is_there(self, address: str) -> bool:
        assert self._network is not None
        try:
            return peer_id_of(address) in self._network.peers()
        except NetworkError:
            return False

    def _met(self, address: str) -> None:
        """Note that there is contact, new or again: whoever was met may hold nothing of what was said before."""
        self.finder.book.reached(address, self._home.clock())
        self._new_contact.set()
        self._due.clear()
        self.provide_now()

    async def _keep_company(self) -> None:
        """Left alone, try whom was known before; found by others, say what is provided."""
        assert self._network is not None
        delay, alone = LOOK_SECONDS, True
        while True:
            if self._network.peers():
                if alone:
                    self._due.clear()
                    self.provide_now()
                delay, alone = LOOK_SECONDS, False
            else:
                alone = True
                if not await self._try_old_friends():
                    delay = min(2 * delay, MOST_DELAY_SECONDS)
            await trio.sleep(delay * (0.5 + self._chance()) if alone else LOOK_SECONDS)

    async def _try_old_friends(self) -> bool:
        """Dial peers that were reached before, the best first, until one is there."""
        assert self._network is not None
        known = [one for one in self.finder.book if one.reached_ms is not None and not self.finder.shunned(one.peer)]
        for one in known[:OLD_FRIENDS]:
            for address in self.finder.usable(one.addresses):
                try:
                    await self._network.connect(address, given=False)
                except NetworkError:
                    self.finder.book.unreached(address)
                    continue
                self._met(address)
                return True
        return False

    async def _shut_out_and_let_in(self) -> None:
        """Cut off whom the operator blocked or who broke a rule not long ago; let the others in again."""
        assert self._network is not None
        self.finder.blocked = frozenset(self._listed.blocked)
        now = {one.peer for one in self.finder.book if self.finder.shunned(one.peer)} | self.finder.blocked
        for peer in sorted(now - self._shut_out):
            try:
                await self._network.cut_off(peer)
            except NetworkError as error:
                _log.warning("a peer that is blocked cannot be: %s", error)
        for peer in sorted(self._shut_out - now):
            self._network.let_in(peer)
        self._shut_out = now

    # --- being found -----------------------------------------------------------------------------------------------

    async def _watch_growth(self) -> None:
        async with aclosing(grown(self._home.ledger.growth)) as changes:
            async for owners in changes:
                if any(owner not in self._due and self._home.ledger.writes(owner) for owner in owners):
                    self.provide_now()

    async def _provide(self) -> None:
        """Say what is provided as soon as it is due, one key after the other."""
        while True:
            self._wake = trio.Event()
            keys = await trio.to_thread.run_sync(self.provides)
            for key in keys:
                if self._due.get(key, 0.0) <= trio.current_time():
                    await self._provide_one(key)
                    await trio.sleep(PROVIDE_PACE_SECONDS)
            self._due = {key: due for key, due in self._due.items() if key in set(keys)}
            next_due = min(self._due.values(), default=trio.current_time() + PROVIDE_SECONDS)
            with trio.move_on_at(next_due):
                await self._wake.wait()

    async def _provide_one(self, key: Link) -> None:
        assert self._network is not None
        # Noted first: what happens meanwhile may make it due again.
        self._due[key] = trio.current_time() + PROVIDE_SECONDS * (0.75 + 0.25 * self._chance())
        try:
            await self._network.provide(key)
        except FeatureOff:
            return
        except NetworkError as error:
            _log.warning("what this node provides could not be said: %s", error)

    async def _look_around(self) -> None:
        """Tell the local network where this node is, and connect with the nodes that do so too."""
        # Imported here because few nodes need it.
        from tslg.node.finding.mdns import look_around

        assert self._network is not None
        await look_around(self._network, self._found_near)

    async def _found_near(self, addresses: list[str]) -> None:
        assert self._network is not None
        usable = self.finder.usable(addresses)
        self.finder.hear(usable, Source.MDNS)
        for address in usable:
            if self._is_there(address):
                return
            try:
                await self._network.connect(address, given=False)
            except NetworkError as error:
                _log.debug("a neighbour is not there: %s", error)
                self.finder.book.unreached(address)
                continue
            self._met(address)
            return

    async def _keep(self) -> None:
        """Keep the book now and then, and whenever there is new contact."""
        while True:
            with trio.move_on_after(KEEP_SECONDS):
                await self._new_contact.wait()
            self._new_contact = trio.Event()
            await keep_book(self._home.store, self.finder.book)
