"""The libp2p swarm: connections from outside have bounded places, and it dials nobody by itself (defects 11 and 16)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from libp2p.abc import INetConn, INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.abc import ReadWriteCloser
from libp2p.metrics.swarm import SwarmEvent
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from tslg.node.net.libp2p.muxer import BoundedYamux
from tslg.node.net.seam import Line
from tslg.protocol.errors import NetworkError

_log = logging.getLogger(__name__)


class GuardedSwarm(Swarm):
    """A swarm whose places for connections from outside become free again, and which dials by our rules.

    `dial_known` dials a peer at the addresses that others gave, or raises a `NetworkError`; `line` tells how the line
    to a peer is.
    """

    dial_known: Callable[[ID], Awaitable[None]] | None = None
    line: Callable[[ID], Line] = staticmethod(lambda peer: Line())

    async def new_stream(self, peer_id: ID) -> INetStream:
        """Open a stream for one of the library's own parts, which would wait long on a line that is silent."""
        if self.line(peer_id).silent:
            raise SwarmException(f"the line to {peer_id} is silent")
        return await super().new_stream(peer_id)

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        """Dial a peer for one of the library's own parts. Raises SwarmException, which they expect."""
        if self.dial_known is None:
            raise SwarmException("nobody dials here")
        try:
            await self.dial_known(peer_id)
        except NetworkError as error:
            raise SwarmException(str(error)) from error
        return self.get_connections(peer_id)

    async def _do_handle_inbound_connection(
        self, read_write_closer: ReadWriteCloser, maddr: Multiaddr, failure_event: SwarmEvent
    ) -> None:
        """Serve one connection for as long as it lasts.

        The library's own keeps its place until the node stops: after 300 connections, closed or not, it takes no more.
        """
        raw_conn = RawConnection(read_write_closer, False)
        try:
            muxed_conn = await self.upgrade_inbound_raw_conn(raw_conn, maddr)
        except BaseLibp2pError as error:
            _log.debug("a connection from outside came to nothing: %r", error)
            await raw_conn.close()
            return
        if isinstance(muxed_conn, BoundedYamux):
            await muxed_conn.event_closed.wait()


class NeverConnects(AutoConnector):
    """Defect 11: the auto-connector dials peers it has merely heard of, 150 of them with its marks at zero."""

    async def maybe_connect(self) -> None:
        """Dial nobody."""
