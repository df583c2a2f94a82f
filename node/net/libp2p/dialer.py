"""One connection to each peer that is asked: found, reused, dialled, refused (defects 14 and 16)."""

from __future__ import annotations

from collections.abc import Iterator

import trio
from libp2p.abc import IHost
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError
from libp2p.stream_muxer.yamux.yamux import YamuxStream
from multiaddr import Multiaddr

from tslg.node.net import errors
from tslg.node.net.libp2p.muxer import BoundedYamux
from tslg.node.net.libp2p.upgrade import HandshakeFailed, MuxerFailed
from tslg.node.net.seam import peer_id_of
from tslg.protocol.limits import Limits

_CONNECTIONS_PER_PEER = 2
"""Defect 14: two peers that dial each other at once get two connections. More have no honest reason."""
_ADDRESSES_PER_PEER = 4


class Dialer:
    """Connections by peer id."""

    def __init__(self, host: IHost, limits: Limits) -> None:
        swarm = host.get_network()
        if not isinstance(swarm, Swarm):
            raise TypeError("not a swarm")
        self.swarm = swarm
        self._limits = limits
        self._dialling: dict[ID, trio.Lock] = {}
        self._cut_off: set[ID] = set()

    def admits(self, peer: ID, inbound: bool) -> bool:
        """Whether a connection with `peer` is wanted, now that it has proved its id.

        One that is too many takes the place of the oldest: its peer may have lost that one without our noticing.
        """
        if peer in self._cut_off:
            return False
        if inbound:
            connections = [c for c in self.swarm.get_connections(peer) if not c.is_closed]
            for oldest in connections[: 1 - _CONNECTIONS_PER_PEER]:
                self.swarm.manager.run_task(oldest.close)
        return True

    def peers(self) -> tuple[str, ...]:
        """The ids of the peers with a working connection, sorted."""
        return tuple(sorted(str(peer) for peer in self.swarm.get_connections_map() if self._connected(peer)))

    async def cut_off(self, peer: ID) -> None:
        """Close the connections with `peer` and admit no new ones."""
        self._cut_off.add(peer)
        for connection in self.swarm.get_connections(peer):
            await connection.close()

    async def open_stream(self, peer: ID, address: Multiaddr | None, limits: Limits) -> YamuxStream:
        """A new stream to `peer`, over the connection there is or a new one. Raises a `errors.PeerError`."""
        muxer = self._connected(peer)
        if muxer is not None:
            try:
                return await muxer.open_stream()
            except BaseLibp2pError:
                # The connection died without our noticing; nothing was asked yet, so a new one may be tried.
                await muxer.close()
        muxer = await self._connect(peer, address, limits)
        try:
            return await muxer.open_stream()
        except BaseLibp2pError:
            raise errors.Unreachable(f"the connection to peer {peer} was lost", peer=str(peer)) from None

    async def connect(self, peer: ID, address: Multiaddr | None) -> None:
        """Make sure of a connection with `peer`. Raises a `errors.PeerError`."""
        await self._connect(peer, address, self._limits)

    def _connected(self, peer: ID) -> BoundedYamux | None:
        for connection in self.swarm.get_connections(peer):
            muxer = connection.muxed_conn
            if isinstance(muxer, BoundedYamux) and not connection.is_closed and muxer.is_established:
                return muxer
        return None

    async def _connect(self, peer: ID, address: Multiaddr | None, limits: Limits) -> BoundedYamux:
        lock = self._dialling.setdefault(peer, trio.Lock())
        try:
            async with lock:
                return self._connected(peer) or await self._dial(peer, address, limits)
        finally:
            if not lock.locked():
                self._dialling.pop(peer, None)

    async def _dial(self, peer: ID, address: Multiaddr | None, limits: Limits) -> BoundedYamux:
        """Defect 16: the swarm's own way to dial a peer shuns it for 60 s after a failure, so addresses are dialled."""
        if peer in self._cut_off:
            raise errors.Unreachable(f"peer {peer} is cut off", peer=str(peer))
        failure: errors.PeerError = errors.Unreachable(f"no address of peer {peer} is known", peer=str(peer))
        for candidate in self._addresses(peer, address):
            try:
                with trio.fail_after(limits.progress_timeout_ms / 1000):
                    await self.swarm.dial_addr(candidate, peer)
            except trio.TooSlowError:
                failure = errors.Stalled(f"peer {peer} did not finish the handshake in time", peer=str(peer))
            except BaseLibp2pError as error:
                failure = _explain(error, peer, candidate)
            muxer = self._connected(peer)
            if muxer is not None:
                return muxer
        raise failure

    def _addresses(self, peer: ID, address: Multiaddr | None) -> list[Multiaddr]:
        if address is not None:
            return [address]
        try:
            return list(self.swarm.peerstore.addrs(peer))[:_ADDRESSES_PER_PEER]
        except PeerStoreError:
            return []


def parse_peer(text: str) -> ID:
    """The peer id that `text`, an id or an address, names. Raises AddressError."""
    peer_id = peer_id_of(text)
    try:
        peer = ID.from_string(peer_id)
        if str(peer) == peer_id:
            return peer
    except Exception as error:
        raise _bad_address(text) from error
    raise _bad_address(text)


def parse_address(text: str) -> tuple[ID, Multiaddr | None]:
    """The peer id and, if `text` is more than an id, the address to dial. Raises AddressError."""
    peer = parse_peer(text)
    if not text.startswith("/"):
        return peer, None
    try:
        address = Multiaddr(text)
        names = {protocol.name for protocol in address.protocols()}
    except Exception as error:
        raise _bad_address(text) from error
    if "tcp" not in names:
        raise _bad_address(text)
    return peer, address


def _bad_address(text: str) -> errors.AddressError:
    return errors.AddressError(
        f"{text[:200]!r} is not a peer's address", mend="use /ip4/<address>/tcp/<port>/p2p/<peer id>"
    )


def _explain(error: BaseException, peer: ID, address: Multiaddr) -> errors.PeerError:
    """What a failed dial means for the caller."""
    for cause in _causes(error):
        if isinstance(cause, HandshakeFailed | MuxerFailed):
            if isinstance(cause, HandshakeFailed) and cause.stalled:
                return errors.Stalled(f"peer {peer} did not finish the handshake in time", peer=str(peer))
            if cause.lost:
                return errors.Unreachable(f"{address} closed the connection during the handshake", peer=str(peer))
            return errors.ProtocolViolation(f"{address} is not peer {peer} speaking Noise and Yamux", peer=str(peer))
    return errors.Unreachable(f"cannot connect to {address}", peer=str(peer))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__
