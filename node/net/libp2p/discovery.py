"""Who can be asked about an agent or a federation: providers in a DHT of our own (defect 12)."""

from __future__ import annotations

import hashlib
import logging

import trio
from libp2p.abc import IHost
from libp2p.custom_types import TProtocol
from libp2p.kad_dht import common, kad_dht, peer_routing, provider_store, value_store
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.tools.anyio_service.context import background_trio_service

_log = logging.getLogger(__name__)

PROTOCOL = TProtocol("/tslg/kad/1.0.0")
_ASKED = 20
_ADDRESSES = 4
_FOUND = 100
_QUERY_SECONDS = 10.0


def use_own_protocol() -> None:
    """Defect 12: `KadDHT(protocol_prefix=…)` changes nothing, the id being a constant that each module has copied."""
    for module in (common, kad_dht, peer_routing, provider_store, value_store):
        vars(module)["PROTOCOL_ID"] = PROTOCOL


class Discovery:
    """The DHT of one node. Keys are bytes of any length; what is found is hearsay."""

    def __init__(self, host: IHost) -> None:
        use_own_protocol()
        self._host = host
        self._dht = KadDHT(host, DHTMode.SERVER, enable_values=False)
        self.ready = trio.Event()

    async def run(self) -> None:
        """Take part until cancelled."""
        async with background_trio_service(self._dht):
            self.ready.set()
            await trio.sleep_forever()

    async def provide(self, key: bytes) -> None:
        """Tell the peers closest to `key` that this node can be asked about it, now and once a day."""
        await self._dht.provider_store.provide(_dht_key(key))

    async def find_providers(self, key: bytes) -> list[str]:
        """Addresses of other peers that say they can be asked about `key`.

        The library's own search ends as soon as this node itself provides the key, so the closest peers are asked here.
        """
        name = _dht_key(key)
        found = list(self._dht.provider_store.get_providers(name))
        closest = await self._dht.peer_routing.find_closest_peers_network(name, _ASKED)
        async with trio.open_nursery() as nursery:
            for peer in closest:
                nursery.start_soon(self._ask, peer, name, found)
        return list(dict.fromkeys(address for info in found[:_FOUND] for address in self._addresses(info)))

    async def _ask(self, peer: ID, name: bytes, found: list[PeerInfo]) -> None:
        with trio.move_on_after(_QUERY_SECONDS):
            providers, _ = await self._dht.provider_store._get_providers_from_peer_with_closers(peer, name)
            found.extend(providers)

    def _addresses(self, info: PeerInfo) -> list[str]:
        if info.peer_id == self._host.get_id():
            return []
        end = f"/p2p/{info.peer_id}"
        texts = [str(address) for address in info.addrs[:_ADDRESSES]]
        return [text if text.endswith(end) else text + end for text in texts if "/tcp/" in text]


def _dht_key(key: bytes) -> bytes:
    """A SHA-256 multihash of `key`: the kind of key that every implementation takes, of one length."""
    return b"\x12\x20" + hashlib.sha256(key).digest()
