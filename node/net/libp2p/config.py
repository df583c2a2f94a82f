"""What a libp2p node is started with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tslg.node.net.reach import Scope
from tslg.protocol.limits import DEFAULT, Limits


@dataclass(frozen=True, slots=True)
class Libp2pConfig:
    """Settings of one `Libp2pNetwork`."""

    seed: bytes = field(repr=False)
    """The 32-byte Ed25519 seed of the peer's identity. Secret."""
    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)
    """Multiaddrs to listen on; port 0 takes any free port. None for a peer that only asks."""
    announce: tuple[str, ...] = ()
    """Addresses to give to others in place of those listened on, for a node behind a router or a name. A wildcard such
    as /ip4/0.0.0.0 is replaced by the interfaces' addresses without this."""
    limits: Limits = DEFAULT
    """Bounds on what peers may cost this node."""
    pulse_ms: int = 15_000
    """How often a connection is asked for a sign of life, and how long the other side has to give one."""
    discovery: bool = False
    """Run the DHT, which `provide` and `find_providers` need."""
    gossip: bool = False
    """Run gossipsub, which `announce` and `subscribe` need."""
    blocks: Callable[[bytes, str], bytes | None] | None = None
    """Serve single blocks to IPFS clients: `blocks(cid, peer)` is called in a thread; see `bitswap.Blocks`."""
    bootstrap: tuple[str, ...] = ()
    """Addresses of peers to connect to at the start, when discovery or gossip is on."""
    reach: Scope | None = None
    """The narrowest scope that addresses heard from others may have to be dialled; None for this node's own scope."""

    def __post_init__(self) -> None:
        if len(self.seed) != 32:
            raise ValueError("the seed of a peer's identity has 32 bytes")
