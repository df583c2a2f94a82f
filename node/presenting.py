"""Saying who one is: a node presents the registrations that bind its peer id to its agents, before it asks others.

It does so where its federation has rules of reading, once a minute for each peer, so that whoever was restarted learns
it again. Normative text: docs/spec/access.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, cast

import trio

from tslg.node.agent import BlockingAgent
from tslg.node.binding import peer_bytes, peer_of_seed
from tslg.node.home import Home
from tslg.node.net.seam import Network, peer_id_of
from tslg.protocol.chains import rests_on
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError
from tslg.protocol.exchange import LOG, Pair
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.presenting import PresentRequest
from tslg.protocol.record import Record, parse_as


def credentials(home: Home, peer: str, limits: Limits = DEFAULT) -> list[Pair]:
    """Return the registrations of this directory's agents that bind `peer`, with all that they rest on.

    Empty where the manifest lets anybody read everything, and where no agent has registered that peer.
    """
    if home.manifest.envelope.access is None:
        return []
    store, wanted = home.store, peer_bytes(peer)
    found: dict[Link, Pair] = {}
    bound = 0
    for key in home.agent_keys():
        for id, record in _registrations(home, key.genesis.id, wanted):
            if bound < limits.bound_agents and len(found) < limits.presented_records:
                found[id] = _plain(store.get_many([id])[id])
                bound += 1
                todo = [record]
                while todo:
                    ids = {one for record in todo for one in rests_on(record)} - found.keys()
                    held = store.get_many(sorted(ids))
                    found.update({one: _plain(entry) for one, entry in held.items()})
                    todo = [parse_as(one, entry.data) for one, entry in held.items()]
    return [*found.values()] if len(found) <= limits.presented_records else []


def bind_to(home: Home, agent: BlockingAgent) -> None:
    """Let an agent register its directory's own peer, where there are rules of reading and it did not before."""
    peer = peer_of_seed(home.peer_seed())
    if home.manifest.envelope.access is not None and not _registrations(home, agent.id, peer):
        agent.register_peer(peer)


def _registrations(home: Home, agent: Link, peer: bytes) -> list[tuple[Link, Record]]:
    """Return the newest registration of an agent that binds the peer and is in force; none or one."""
    ids = home.store.by_kind("registration", agent, limit=DEFAULT.walk_edges)
    held = {id: record for id in ids if (record := home.ledger.context.record(id)) is not None}
    ends = home.ledger.context.revocations(agent).ends
    for id, record in sorted(held.items(), key=lambda item: -item[1].seq):
        if record.body.get("peer_id") == peer and id not in ends and record.key not in ends:
            return [(id, record)]
    return []


def _plain(entry: Pair) -> Pair:
    return (entry[0], entry[1])


class Presenting:
    """A network on which the own registrations are presented to every peer that is asked; otherwise `network`."""

    def __init__(self, network: Network, found: Callable[[], list[Pair]], limits: Limits = DEFAULT) -> None:
        self._network = network
        self._found = found
        self._limits = limits
        self._told: OrderedDict[str, float] = OrderedDict()
        self._telling: dict[str, trio.Event] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def request(
        self, peer: str, protocol: str, payload: bytes, *, limits: Limits | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `seam.Network`."""
        return self._request(peer, protocol, payload, limits)

    @asynccontextmanager
    async def _request(
        self, peer: str, protocol: str, payload: bytes, limits: Limits | None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        await self._present(peer)
        async with self._network.request(peer, protocol, payload, limits=limits) as chunks:
            yield chunks

    async def _present(self, peer: str) -> None:
        id = peer_id_of(peer)
        told = self._told.get(id)
        if told is not None and trio.current_time() - told < self._limits.present_again_ms / 1000:
            return
        if id in self._telling:
            await self._telling[id].wait()
            return
        done = self._telling[id] = trio.Event()
        try:
            pairs = await trio.to_thread.run_sync(self._found)
            if pairs:
                # Who cannot be reached, or does not know what that is, shows in what follows.
                with suppress(NetworkError):
                    request = PresentRequest(tuple(pairs)).to_bytes()
                    async with self._network.request(peer, LOG, request, limits=self._limits) as chunks:
                        async for _ in chunks:
                            pass
            self._told[id] = trio.current_time()
            self._told.move_to_end(id)
            while len(self._told) > self._limits.bound_peers:
                self._told.popitem(last=False)
        finally:
            del self._telling[id]
            done.set()


def presenting(network: Network, home: Home, limits: Limits = DEFAULT) -> Network:
    """Return the network on which a directory's agents say who they are."""
    made = Presenting(network, lambda: credentials(home, network.peer_id, limits), limits)
    return cast(Network, made)
