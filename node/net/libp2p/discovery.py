"""Who can be asked about an agent or a federation: providers in a DHT of our own (defect 12).

The library's DHT as far as it goes, with bounds where it has none: on what is held for others, on what a stranger may
keep busy, on whom one question dials, and on what one answer brings.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import trio
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.kad_dht import common, kad_dht, peer_routing, provider_store, value_store
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.kad_dht.routing_table import RoutingTable
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.tools.anyio_service.context import background_trio_service
from multiaddr import Multiaddr

from tslg.node.net.libp2p.dialer import at_most
from tslg.node.net.libp2p.muxer import BoundedYamux
from tslg.node.net.libp2p.providers import BoundedProviders
from tslg.node.net.libp2p.swarm import GuardedSwarm
from tslg.node.net.reach import scope_of
from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)

PROTOCOL = TProtocol("/tslg/kad/1.0.0")
_ASKED = 20
_QUERY_SECONDS = 3.0
_LOOKUP_SECONDS = 8.0
_LOOK_SECONDS = 0.25
_TOLD_PER_WINDOW = 100
"""Keys that a peer may provide within ten seconds: the library's ten would lose those of a node with many agents."""


def use_own_protocol(limits: Limits) -> None:
    """Defect 12: `KadDHT(protocol_prefix=…)` changes nothing, the id being a constant that each module has copied.

    So is the size of a message, which may be 4 MiB: enough for one answer to fill a node with peers that are none.
    """
    for module in (common, kad_dht, peer_routing, provider_store, value_store):
        vars(module)["PROTOCOL_ID"] = PROTOCOL
        vars(module)["MAX_DHT_MESSAGE_SIZE"] = limits.dht_message_bytes


class ProvenPeers(RoutingTable):
    """A routing table of peers with whom there is a connection when they are entered, never of hearsay."""

    async def add_peer(self, peer_obj: PeerInfo | ID, *, skip_server_mode_check: bool = False) -> bool:
        """Enter a peer, if it is there."""
        peer = peer_obj.peer_id if isinstance(peer_obj, PeerInfo) else peer_obj
        if peer not in self.host.get_connected_peers():
            return False
        return await super().add_peer(peer_obj, skip_server_mode_check=skip_server_mode_check)


class Discovery:
    """The DHT of one node. Keys are bytes of any length; what is found is hearsay.

    Args:
        host: sends and receives.
        limits: bounds on all of it.
        may_dial: whether an address that was found may be dialled.
        serving: whether this node answers others, for which it must be reachable.
    """

    def __init__(self, host: IHost, limits: Limits, may_dial: Callable[[str], bool], *, serving: bool = True) -> None:
        use_own_protocol(limits)
        self._host = host
        self._limits = limits
        self._may_dial = may_dial
        self._dht = KadDHT(host, DHTMode.SERVER if serving else DHTMode.CLIENT, enable_values=False)
        self._dht._provider_rate_max = _TOLD_PER_WINDOW
        table = ProvenPeers(host.get_id(), host)
        self._dht.routing_table = self._dht.peer_routing.routing_table = table
        self._dht.provider_store = BoundedProviders(host, self._dht.peer_routing, limits, self._network_of)
        self._serving = serving
        self._answering: Counter[ID] = Counter()
        if serving:
            host.set_stream_handler(PROTOCOL, self._answer)
        self.ready = trio.Event()

    async def run(self) -> None:
        """Take part until cancelled."""
        async with background_trio_service(self._dht):
            self.ready.set()
            await trio.sleep_forever()

    async def make_known(self) -> None:
        """Look for the peers closest to this one, who learn of it by that: what a newcomer does."""
        if self._serving:
            with self._bounded("this node could not be made known"):
                await self._dht.peer_routing.refresh_routing_table()

    async def provide(self, key: bytes) -> None:
        """Tell the peers closest to `key` that this node can be asked about it, now. They forget it after two days."""
        with self._bounded("a provider record could not be given out"):
            await self._dht.provider_store.provide(_dht_key(key))
        # When it is said again is not the library's business, which would do it for all keys at once.
        self._dht.provider_store.providing_keys.discard(_dht_key(key))

    async def find_providers(self, key: bytes) -> list[str]:
        """Addresses of other peers that say they can be asked about `key`, those that most others name first.

        The library's own search ends as soon as this node itself provides the key, so the closest peers are asked here.
        What a single peer makes up comes after what several agree on.
        """
        name = _dht_key(key)
        answers = [self._dht.provider_store.get_providers(name)]
        with self._bounded("providers could not be looked for"):
            closest = await self._closest(name)
            async with trio.open_nursery() as nursery:
                for peer in closest:
                    if peer != self._host.get_id():
                        nursery.start_soon(self._ask, peer, name, answers)
        return self._ranked(answers)

    async def _closest(self, name: bytes) -> list[ID]:
        """Look for the peers closest to a name. Once a line falls silent, those that are known are taken instead."""
        found: list[ID] = []
        known = self._dht.routing_table.find_local_closest_peers(name, _ASKED)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_silent, known, nursery.cancel_scope)
            found = await self._dht.peer_routing.find_closest_peers_network(name, _ASKED)
            nursery.cancel_scope.cancel()
        return found or known

    async def _until_silent(self, peers: list[ID], scope: trio.CancelScope) -> None:
        before = self._silent(peers)
        while self._silent(peers) <= before:
            await trio.sleep(_LOOK_SECONDS)
        scope.cancel()

    def _silent(self, peers: list[ID]) -> set[ID]:
        swarm = self._host.get_network()
        return {peer for peer in peers if swarm.line(peer).silent} if isinstance(swarm, GuardedSwarm) else set()

    @contextmanager
    def _bounded(self, failure: str) -> Iterator[None]:
        """Bound a lookup, and let nothing out of it: what peers answer runs through the library, as yet unread."""
        try:
            with trio.move_on_after(_LOOKUP_SECONDS), at_most(self._limits.lookup_dials):
                yield
        except Exception as error:
            _log.warning("%s: %r", failure, error)

    async def _ask(self, peer: ID, name: bytes, answers: list[list[PeerInfo]]) -> None:
        with trio.move_on_after(_QUERY_SECONDS):
            providers, _ = await self._dht.provider_store._get_providers_from_peer_with_closers(peer, name)
            answers.append(providers[: self._limits.providers_per_key])

    def _ranked(self, answers: list[list[PeerInfo]]) -> list[str]:
        """Return addresses by how many answers name their peer, then by how many name them."""
        peers: Counter[str] = Counter()
        named: Counter[tuple[str, str]] = Counter()
        for answer in answers:
            found = {(str(info.peer_id), address) for info in answer for address in self._addresses(info)}
            peers.update({peer for peer, _ in found})
            named.update(found)
        places = sorted(named, key=lambda place: (-peers[place[0]], place[0], -named[place], place[1]))
        few = Counter[str]()
        ranked = []
        for peer, address in places:
            few[peer] += 1
            if few[peer] <= self._limits.peer_addresses:
                ranked.append(address)
        return ranked[: self._limits.found_addresses]

    def _addresses(self, info: PeerInfo) -> list[str]:
        if info.peer_id == self._host.get_id():
            return []
        end = f"/p2p/{info.peer_id}"
        texts = [_text(address) for address in info.addrs[: self._limits.peer_addresses]]
        whole = [text if text.endswith(end) else text + end for text in texts]
        return [text for text in whole if self._may_dial(text)]

    def _network_of(self, peer: ID) -> str:
        """The network that a peer is connected from, which it cannot choose as freely as its id."""
        for connection in self._host.get_network().get_connections(peer):
            muxed = connection.muxed_conn
            remote = muxed.get_remote_address() if isinstance(muxed, BoundedYamux) else None
            if remote is not None and scope_of(remote[0]) is not None:
                return str(ip_network(f"{remote[0]}/{48 if ':' in remote[0] else 24}", strict=False))
        return ""

    async def _answer(self, stream: INetStream) -> None:
        """Answer one peer's questions, for so long and so many at a time: the library waits for ever on twelve."""
        peer = stream.muxed_conn.peer_id
        if self._answering[peer] >= self._limits.dht_streams_per_peer:
            await stream.reset()
            return
        self._answering[peer] += 1
        try:
            with trio.move_on_after(self._limits.progress_timeout_ms / 1000) as wait:
                await self._dht.handle_stream(stream)
            if wait.cancelled_caught:
                await stream.reset()
        finally:
            self._answering[peer] -= 1
            if not self._answering[peer]:
                del self._answering[peer]


def _text(address: Multiaddr) -> str:
    """An address as text; nothing for bytes that are none, which the library takes for one until it is looked at."""
    try:
        return str(address)
    except Exception as error:
        _log.debug("a provider's address cannot be read: %r", error)
        return ""


def _dht_key(key: bytes) -> bytes:
    """A SHA-256 multihash of `key`: the kind of key that every implementation takes, of one length."""
    return b"\x12\x20" + hashlib.sha256(key).digest()
