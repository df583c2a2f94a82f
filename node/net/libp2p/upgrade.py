"""From a socket to a muxed connection: Noise or nothing, in bounded time and memory (defects 5, 8, 14 and 15)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

import trio
from libp2p.abc import IMuxedConn, IRawConnection, ISecureConn
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.exceptions import MuxerUpgradeFailure, SecurityUpgradeFailure
from libp2p.transport.upgrader import TransportUpgrader

from tslg.node.net.libp2p.muxer import BoundedYamux
from tslg.node.net.offenders import Offenders
from tslg.protocol.limits import Limits

_NEGOTIATION_BYTES = 4096
"""Protocol names of a negotiation, both ways, many times over."""
_PIECE_BYTES = 64 * 1024


class HandshakeFailed(SecurityUpgradeFailure):
    """A connection that came to nothing. `lost`: the other side closed it; `stalled`: it said nothing for too long."""

    def __init__(self, detail: str, *, lost: bool = False, stalled: bool = False) -> None:
        super().__init__(detail)
        self.lost = lost
        self.stalled = stalled


class MuxerFailed(MuxerUpgradeFailure):
    """A connection on which no muxer was agreed on. `lost`: the other side closed it."""

    def __init__(self, detail: str, *, lost: bool) -> None:
        super().__init__(detail)
        self.lost = lost


class _WatchedStream(ReadWriteCloser):
    """A socket that knows whether the other side hung up, and reads in small pieces.

    The negotiation believes any length that a peer announces, and a single read of the announced length would have
    the memory set aside before a byte of it has come.
    """

    def __init__(self, stream: ReadWriteCloser) -> None:
        self._stream = stream
        self.ended = False

    async def read(self, n: int | None = None) -> bytes:
        try:
            data = await self._stream.read(_PIECE_BYTES if n is None else min(n, _PIECE_BYTES))
        except IOException:
            self.ended = True
            raise
        if not data and n != 0:
            self.ended = True
            raise IOException("the other side closed the connection")
        return data

    async def write(self, data: bytes) -> None:
        try:
            await self._stream.write(data)
        except IOException:
            self.ended = True
            raise

    async def close(self) -> None:
        await self._stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._stream.get_remote_address()


class Budgeted(ReadWriteCloser):
    """A connection or stream during a negotiation, of which only so much may be read.

    The negotiation believes any length that a peer announces, and collects that many bytes.
    """

    def __init__(self, inner: ReadWriteCloser, read: Callable[[int], Awaitable[bytes]] | None = None) -> None:
        self._inner = inner
        self._read = read or inner.read
        self._left = _NEGOTIATION_BYTES
        self.is_initiator = getattr(inner, "is_initiator", False)

    async def read(self, n: int | None = None) -> bytes:
        """Read up to `n` bytes; IOException if more are asked for than the budget has left."""
        if n is None or n > self._left:
            raise IOException("the negotiation is too long")
        data = await self._read(n) if n else b""
        self._left -= len(data)
        return data

    async def write(self, data: bytes) -> None:
        """Write `data`."""
        await self._inner.write(data)

    async def close(self) -> None:
        """Close what is underneath."""
        await self._inner.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """The address of the other side, if known."""
        return self._inner.get_remote_address()


class GuardedUpgrader(TransportUpgrader):
    """Secures and muxes connections. `admit(peer, inbound)` says whether we want one with that peer."""

    def __init__(
        self,
        key_pair: KeyPair,
        limits: Limits,
        pulse_seconds: float,
        admit: Callable[[ID, bool], bool],
        offenders: Offenders,
    ) -> None:
        self._limits = limits
        self._offenders = offenders
        self._pulse_seconds = pulse_seconds
        self._admit = admit
        self._watched: WeakKeyDictionary[ISecureConn, _WatchedStream] = WeakKeyDictionary()
        self._timeout = limits.progress_timeout_ms / 1000
        super().__init__(noise_only(key_pair), {TProtocol(YAMUX): Yamux}, negotiate_timeout=max(1, int(self._timeout)))

    async def upgrade_security(
        self, raw_conn: IRawConnection, is_initiator: bool, peer_id: ID | None = None
    ) -> ISecureConn:
        """Run the Noise handshake. Raises HandshakeFailed, whatever the peer does."""
        if not isinstance(raw_conn, RawConnection):
            raise HandshakeFailed("not a plain connection")
        raw_conn.stream = watched = _WatchedStream(raw_conn.stream)
        try:
            with trio.fail_after(self._timeout):
                secure = await super().upgrade_security(raw_conn, is_initiator, peer_id)
        except trio.TooSlowError:
            self._name(watched, is_initiator, "not finished in time")
            raise HandshakeFailed("the handshake was not finished in time", stalled=True) from None
        except Exception as error:
            if not watched.ended:
                self._name(watched, is_initiator, "failed, or not finished in time")
            raise HandshakeFailed(f"the handshake failed: {error}", lost=watched.ended) from error
        self._watched[secure] = watched
        # Defect 15: gates further on count wrongly or leak what they refuse; here the peer's id is known and proved.
        if not self._admit(secure.get_remote_peer(), not is_initiator):
            await secure.close()
            raise HandshakeFailed("a connection with this peer is not wanted", lost=True)
        return secure

    def _name(self, stream: _WatchedStream, is_initiator: bool, detail: str) -> None:
        """Name whoever came and did not come through the handshake: by its address alone, since it has proved no id."""
        address = stream.get_remote_address()
        if not is_initiator and address is not None:
            self._offenders.name(address[0], "handshake", detail)

    async def upgrade_connection(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        """Agree on Yamux. Defect 5: the library ignores the muxer class it is given, so it is made here."""
        try:
            await self.muxer_multistream.select_transport(Budgeted(conn))  # type: ignore[arg-type]
        except Exception as error:
            raise MuxerFailed(f"no agreement on a muxer: {error}", lost=self._watched[conn].ended) from error
        return BoundedYamux(conn, peer_id, self._limits, self._pulse_seconds, self._offenders)


def noise_only(key_pair: KeyPair) -> dict[TProtocol, NoiseTransport]:
    """Defect 8: the default host also accepts plaintext. This is the whole list of security protocols."""
    return {NOISE: NoiseTransport(key_pair, noise_privkey=create_noise_key_pair().private_key)}
