"""What a node knows of where others are, and how it learns more: its store, its book, the DHT."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

import trio

from tslg.node.finding.book import Book, Outcome, Source, admitted
from tslg.node.net.errors import FeatureOff
from tslg.node.net.reach import place_of
from tslg.node.net.seam import Network, peer_id_of
from tslg.node.store.interface import Store
from tslg.protocol import record as records
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError
from tslg.protocol.limits import DEFAULT, Limits

_log = logging.getLogger(__name__)

BOOK_META: Final = "finding/book"
"""Under what the book is kept in a store."""
REGISTRATIONS: Final = 16
"""Registrations of one agent that are looked at for its peer's addresses, the newest first."""


class Finder:
    """Answers where an agent's records may be asked for, and notes how those who were asked did.

    Args:
        network: how peers are reached.
        federation: whose nodes are looked for.
        clock: ms since 1970 UTC.
        book: what is known already; an empty one if None.
        store: its registrations name peers too.
        limits: bounds on what is taken from others.
    """

    def __init__(
        self,
        network: Network | None,
        federation: Link,
        *,
        clock: Callable[[], int],
        book: Book | None = None,
        store: Store | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self.federation = federation
        self.book = Book(limits) if book is None else book
        self.clock = clock
        self.limits = limits
        self._network = network
        self._store = store
        self.blocked: frozenset[str] = frozenset()
        """Peers that the operator will have nothing to do with."""

    def use(self, network: Network) -> None:
        """Ask over this network from now on."""
        self._network = network

    def shunned(self, peer: str) -> bool:
        """Whether a peer is not to be asked: it broke a rule not long ago, or the operator said so."""
        return peer in self.blocked or self.book.shunned(peer, self.clock())

    def known(self, agent: Link) -> list[str]:
        """Return where an agent's node may be by what is known here, the best first. Reads the store."""
        found = [*self.book.of_agent(agent, self.clock()), *registered(self._store, agent)]
        # A registration holds any text that its author liked.
        places = {address: place for address in found if (place := place_of(address)) is not None}
        return [address for address, place in places.items() if not self.shunned(place.peer)]

    def hear(self, addresses: Iterable[str], source: Source, agent: Link | None = None) -> None:
        """Note addresses, of an agent's node if that was said."""
        now_ms = self.clock()
        for address in addresses:
            self.book.hear(address, source, now_ms, agent)

    def usable(self, addresses: Iterable[str]) -> list[str]:
        """Return what may be dialled of addresses that others gave."""
        if self._network is None:
            return []
        found = admitted(addresses, self._network.may_dial, self.limits)
        return [address for address in found if not self.shunned(peer_id_of(address))]

    async def providers(self, key: Link) -> list[str]:
        """Ask the DHT who can be asked about an agent or the federation; nobody where there is no DHT."""
        if self._network is None:
            return []
        try:
            found = await self._network.find_providers(key)
        except FeatureOff:
            return []
        except NetworkError as error:
            _log.info("no providers were found: %s", error)
            return []
        usable = self.usable(found)
        self.hear(usable, Source.DHT, None if key == self.federation else key)
        return usable

    def outcome(self, peer: str, outcome: Outcome, took_ms: int = 0, why: str = "") -> None:
        """Note what came of asking a peer."""
        if outcome is Outcome.BROKE:
            _log.warning("peer %s broke a rule and is shunned: %s", peer, why, extra={"peer": peer, "rule": why})
        self.book.outcome(peer, outcome, self.clock(), took_ms, why)


def registered(store: Store | None, agent: Link) -> list[str]:
    """Return the addresses that an agent's own records name, the newest registration's first."""
    if store is None:
        return []
    for id in store.by_kind("registration", agent, limit=REGISTRATIONS):
        entry = store.get(id)
        if entry is not None:
            body = records.parse_as(id, entry.data).body
            if body["purpose"] == "peer":
                return list(body["addresses"])
    return []


def read_book(store: Store, limits: Limits = DEFAULT) -> Book:
    """Return the book that is kept in a store, an empty one if there is none."""
    data = store.get_meta(BOOK_META)
    return Book(limits) if data is None else Book.from_bytes(data, limits)


async def keep_book(store: Store, book: Book) -> None:
    """Keep the book in a store if it changed since."""
    if book.changed:
        data = book.to_bytes()
        await trio.to_thread.run_sync(store.set_meta, BOOK_META, data)
