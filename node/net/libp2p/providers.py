"""Provider records that a node holds for others: bounded, so that neither one peer nor one network takes all places.

The library holds any number of keys for anybody, and of one key the first twenty for two days: twenty identities that
come first would hide whoever comes later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from libp2p.abc import IHost
from libp2p.kad_dht.provider_store import ProviderRecord, ProviderStore
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from tslg.protocol.limits import Limits


class BoundedProviders(ProviderStore):
    """Provider records by key.

    Args:
        host: whose records are never dropped.
        routing: finds the peers that are told.
        limits: how many are held.
        network_of: names the network that a peer is connected from; peers of one name share their places.
    """

    def __init__(self, host: IHost, routing: Any, limits: Limits, network_of: Callable[[ID], str]) -> None:
        super().__init__(host, routing)
        self._limits = limits
        self._network_of = network_of
        self._held: Counter[str] = Counter()
        self._networks: dict[str, str] = {}

    def add_provider(self, key: bytes, provider: PeerInfo) -> None:
        """Hold a record, or not: a new one has to find a place, one that is known is as good as new."""
        peer = str(provider.peer_id)
        own = provider.peer_id == self.local_peer_id
        known = PeerInfo(provider.peer_id, list(provider.addrs)[: self._limits.peer_addresses])
        records = self.providers.get(key, {})
        if peer not in records and not own:
            if self._held[peer] >= self._limits.provider_records_per_peer:
                return
            network = self._network_of(provider.peer_id)
            if len(records) >= self._limits.providers_per_key and not self._make_place(key, network):
                return
            self._networks[peer] = network
        if peer not in records:
            self._held[peer] += 1
        # Last is newest: whoever says it again keeps its place for longer than whoever does not.
        self.providers.setdefault(key, {}).pop(peer, None)
        self.providers[key][peer] = ProviderRecord(known)
        self._keep_bound()

    def _make_place(self, key: bytes, network: str) -> bool:
        """Drop the oldest record from the network with the most, unless the newcomer's own has as many."""
        records = [peer for peer in self.providers[key] if peer != str(self.local_peer_id)]
        sizes = Counter(self._networks.get(peer, "") for peer in records)
        largest, size = max(sizes.items(), key=lambda item: item[1], default=("", 0))
        if size <= sizes[network] + 1:
            return False
        self._drop(key, next(peer for peer in records if self._networks.get(peer, "") == largest))
        return True

    def _keep_bound(self) -> None:
        """Drop the oldest record of the peer with the most, until there are few enough."""
        own = str(self.local_peer_id)
        while sum(self._held.values()) - self._held[own] > self._limits.provider_records:
            greedy = max((peer for peer in self._held if peer != own), key=lambda peer: self._held[peer])
            self._drop(next(key for key, records in self.providers.items() if greedy in records), greedy)

    def _drop(self, key: bytes, peer: str) -> None:
        del self.providers[key][peer]
        if not self.providers[key]:
            del self.providers[key]
        self._held[peer] -= 1
        if not self._held[peer]:
            del self._held[peer]
            self._networks.pop(peer, None)

    def get_providers(self, key: bytes) -> list[PeerInfo]:
        """Return who provides a key, without records that have expired."""
        before = len(self.providers.get(key, ()))
        found = super().get_providers(key)
        if before != len(found):
            self._recount()
        return found

    def cleanup_expired(self) -> None:
        """Drop records that have expired."""
        super().cleanup_expired()
        self._recount()

    def _recount(self) -> None:
        self._held = Counter(peer for records in self.providers.values() for peer in records)
        self._networks = {peer: network for peer, network in self._networks.items() if peer in self._held}
