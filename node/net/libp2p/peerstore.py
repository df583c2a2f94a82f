"""The book of peers that libp2p keeps: bounded, and what a peer signed is not overruled by what others say of it.

Defects of the library's own: filled up with peers it heard of, it drops the node's own key, without which nothing that
the DHT sends can be signed; it takes any number of addresses for one peer, from anybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from libp2p.peer.envelope import Envelope
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from multiaddr import Multiaddr

from tslg.protocol.limits import Limits


class GuardedPeerStore(PeerStore):
    """Addresses by peer, those heard of longest ago dropped first and `own` never."""

    def __init__(self, own: ID, limits: Limits) -> None:
        super().__init__(max_records=limits.peers_known, max_peers=limits.peers_known)
        self._own = own
        self._most_addresses = limits.peer_addresses

    def add_addrs(self, peer_id: ID, addrs: Sequence[Multiaddr], ttl: int = 0) -> None:
        """Note addresses of a peer; they count for nothing beside ones that it signed itself."""
        if peer_id == self._own:
            return
        data = self.peer_data_map.get(peer_id)
        if peer_id in self.peer_record_map and data is not None and data.get_addrs() and not data.is_expired():
            return
        super().add_addrs(peer_id, list(addrs)[: self._most_addresses], ttl)
        self._keep_bounds(peer_id)

    def consume_peer_record(self, envelope: Envelope, ttl: int) -> bool:
        """Note what a peer signed about itself, if it is newer than what is known."""
        taken = super().consume_peer_record(envelope, ttl)
        if taken:
            self._keep_bounds(envelope.record().peer_id)
        return taken

    def _keep_bounds(self, peer_id: ID) -> None:
        data = self.peer_data_map.pop(peer_id, None)
        if data is not None:
            del data.addrs[self._most_addresses :]
            self.peer_data_map[peer_id] = data
        self._enforce_peer_limit()

    def _enforce_peer_limit(self) -> None:
        """Drop whom was heard of longest ago."""
        for peer in [*self.peer_data_map][: max(0, len(self.peer_data_map) - self.max_peers)]:
            if peer != self._own:
                self.peer_record_map.pop(peer, None)
                del self.peer_data_map[peer]
        for peer in [peer for peer in self.peer_record_map if peer not in self.peer_data_map]:
            del self.peer_record_map[peer]
