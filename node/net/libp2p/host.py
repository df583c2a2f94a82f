"""The libp2p host of a node, put together from guarded parts (defects 1, 8, 11, 13, 14 and 16)."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable
from functools import partial

from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import ID_PUSH
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.stream.net_stream import NetStream
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.stream_muxer.yamux.yamux import YamuxStream
from libp2p.transport.tcp.tcp import TCP
from libp2p.utils.address_validation import expand_wildcard_address
from multiaddr import Multiaddr

from tslg.node.net.errors import ListenError
from tslg.node.net.libp2p.config import Libp2pConfig
from tslg.node.net.libp2p.muxer import give_up
from tslg.node.net.libp2p.peerstore import GuardedPeerStore
from tslg.node.net.libp2p.swarm import GuardedSwarm, NeverConnects
from tslg.node.net.libp2p.upgrade import Budgeted, GuardedUpgrader
from tslg.node.net.offenders import Offenders
from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)

_RESET_SECONDS = 2.0


class GuardedHost(BasicHost):
    """A host that no stream of a peer can end."""

    def __init__(self, network: Swarm, limits: Limits, announce: list[Multiaddr], offenders: Offenders) -> None:
        self._limits = limits
        self._offenders = offenders
        self._announce = announce
        super().__init__(network, disable_identify_address_discovery=True, addrs_factory=self._reachable)
        # It writes what peers claim into the address book, unasked.
        self.remove_stream_handler(ID_PUSH)

    def _reachable(self, listening: list[Multiaddr]) -> list[Multiaddr]:
        return self._announce or [address for listen in listening for address in expand_wildcard_address(listen)]

    async def _swarm_stream_handler(self, net_stream: INetStream) -> None:
        """Negotiate and handle one stream. Defect 1: an exception that escapes from here ends the process."""
        try:
            await self._handle(net_stream)
        except Exception as error:
            peer = str(net_stream.muxed_conn.peer_id)
            self._offenders.often(peer, "gives-up", "streams opened that come to nothing")
            _log.debug("a stream of %s failed: %r", peer, error)
            if isinstance(net_stream, NetStream) and isinstance(net_stream.muxed_stream, YamuxStream):
                await give_up(net_stream.muxed_stream, _RESET_SECONDS)

    async def _handle(self, net_stream: INetStream) -> None:
        if not isinstance(net_stream, NetStream) or net_stream.swarm_conn is None:
            raise TypeError("not a stream of our own swarm")
        if not isinstance(stream := net_stream.muxed_stream, YamuxStream):
            raise TypeError("not a Yamux stream")
        if len(net_stream.swarm_conn.streams) > self._limits.streams_per_connection:
            raise ValueError("too many streams on one connection")
        timeout = max(1, self._limits.progress_timeout_ms // 1000)
        protocol, handler = await self.multiselect.negotiate(
            # Byte by byte: past the stream's own `read`, which would answer each of them with a frame.
            MultiselectCommunicator(Budgeted(net_stream, partial(stream.conn.read_stream, stream.stream_id))),
            negotiate_timeout=timeout,
        )
        if protocol is None or handler is None:
            raise ValueError("no protocol agreed on")
        net_stream.set_protocol(protocol)
        await handler(net_stream)

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        """Ask nothing: what a peer says about itself is not believed, and the question runs unguarded."""

    async def _push_identify_to_all_peers(self) -> None:
        """Tell nothing unasked."""


def make_host(config: Libp2pConfig, admit: Callable[[ID, bool], bool], offenders: Offenders) -> GuardedHost:
    """A host for `config` that is not running yet. `admit(peer, inbound)` says which connections are wanted."""
    key_pair = create_new_key_pair(config.seed)
    peer_id = ID.from_pubkey(key_pair.public_key)
    peerstore = GuardedPeerStore(peer_id, config.limits)
    peerstore.add_key_pair(peer_id, key_pair)
    swarm = GuardedSwarm(
        peer_id,
        peerstore,
        GuardedUpgrader(key_pair, config.limits, config.pulse_ms / 1000, admit, offenders),
        transports=[TCP()],
        retry_config=RetryConfig(max_retries=0),
        connection_config=connection_config(config.limits),
    )
    swarm.auto_connector = NeverConnects(swarm)
    return GuardedHost(swarm, config.limits, [parse_listen(text) for text in config.announce], offenders)


def connection_config(limits: Limits) -> ConnectionConfig:
    """How the swarm keeps its connections.

    One connection a peer spares a dial the 250 ms it would wait for a second one. Defect 14: two peers that dial each
    other at once still have two, and an endless grace period keeps the swarm from closing one that may be in use.
    """
    # The upgrader bounds each of its steps; this bound is behind all of them, so that it can tell what took too long.
    patience = 3 * limits.progress_timeout_ms / 1000
    return ConnectionConfig(
        max_connections=limits.connections,
        min_connections=0,
        low_watermark=0,
        high_watermark=limits.connections,
        max_connections_per_peer=1,
        grace_period=math.inf,
        inbound_upgrade_timeout=patience,
        outbound_upgrade_timeout=patience,
    )


def parse_listen(text: str) -> Multiaddr:
    """The multiaddr in `text`. Raises ListenError."""
    try:
        return Multiaddr(text)
    except Exception:
        raise ListenError(f"{text[:200]!r} is not a multiaddr", mend="use /ip4/<address>/tcp/<port>") from None


def check_free(address: Multiaddr) -> None:
    """Raise ListenError if somebody listens on `address` already.

    Defect 13: libp2p listens with SO_REUSEPORT, so that two nodes would silently share one port and each get every
    other connection. A race remains between this check and the listening; the lock on the data directory closes it
    for nodes on the same data.
    """
    names = {protocol.name for protocol in address.protocols()}
    family = socket.AF_INET6 if "ip6" in names else socket.AF_INET
    if "tcp" not in names or not names & {"ip4", "ip6"}:
        raise ListenError(f"{address} is not an address to listen on", mend="use /ip4/<address>/tcp/<port>")
    where = (str(address.value_for_protocol("ip6" if "ip6" in names else "ip4")), _port(address))
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            probe.listen(1)
        except OSError as error:
            raise ListenError(
                f"cannot listen on {address}: {error.strerror}",
                mend="stop what listens there, or choose another port (0 takes any free one)",
            ) from None


def _port(address: Multiaddr) -> int:
    return int(str(address.value_for_protocol("tcp")))
