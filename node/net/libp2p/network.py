"""A `seam.Network` over libp2p."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux.yamux import YamuxStream
from multiaddr import Multiaddr

from tslg.node.net import errors
from tslg.node.net.exchange import Asking, Reply, Serving, ask
from tslg.node.net.libp2p.bitswap import BlockGateway
from tslg.node.net.libp2p.config import Libp2pConfig
from tslg.node.net.libp2p.dialer import Dialer, parse_address, parse_peer
from tslg.node.net.libp2p.discovery import Discovery
from tslg.node.net.libp2p.gossip import Gossip
from tslg.node.net.libp2p.host import check_free, make_host, parse_listen
from tslg.node.net.libp2p.logs import tame_logging
from tslg.node.net.libp2p.muxer import cap_receive_window, shielded
from tslg.node.net.libp2p.streams import RequestStream, YamuxByteStream
from tslg.node.net.offenders import Offenders
from tslg.node.net.reach import widest
from tslg.node.net.seam import Announcement, Handler, Line, Validator
from tslg.protocol.errors import NetworkError
from tslg.protocol.limits import Limits

if TYPE_CHECKING:
    from trio_typing import TaskStatus

_log = logging.getLogger(__name__)

_CLOSE_SECONDS = 3.0


class Libp2pNetwork:
    """One libp2p peer. Make it, `serve` protocols, `run` it."""

    def __init__(self, config: Libp2pConfig) -> None:
        tame_logging()
        cap_receive_window(config.limits)
        self._config = config
        offenders = Offenders()
        self._host = make_host(config, self._admit, offenders)
        self._peer_id = str(self._host.get_id())
        self._serving = Serving(config.limits, offenders)
        self._asking = Asking(config.limits)
        self._dialer = Dialer(self._host, config.limits)
        self._services: dict[str, Gossip | Discovery] = {}
        if config.gossip:
            self._services["gossip"] = Gossip(self._host, config.limits, self.cut_off)
        if config.discovery:
            self._services["discovery"] = Discovery(
                self._host, config.limits, self._dialer.may_dial, serving=bool(config.listen)
            )
        if config.blocks is not None:
            BlockGateway(self._host, config.blocks, config.limits)
        self._running = False

    @property
    def peer_id(self) -> str:
        """See `seam.Network`."""
        return self._peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        """See `seam.Network`."""
        return tuple(str(address) for address in self._host.get_addrs()) if self._running else ()

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `seam.Network`."""
        listen = [parse_listen(text) for text in self._config.listen]
        for address in listen:
            check_free(address)
        failure: errors.ListenError | None = None
        async with self._host.run(listen):
            try:
                failure = self._not_listening(listen)
                if failure is None:
                    await self._take_part(task_status)
            finally:
                self._running = False
                await self._close()
        if failure is not None:
            raise failure

    async def _take_part(self, task_status: TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            for name, service in tuple(self._services.items()):
                nursery.start_soon(self._supervise, name, service)
                await service.ready.wait()
            self._running = True
            self._dialer.scope = self._config.reach if self._config.reach is not None else widest(self.addresses)
            nursery.start_soon(self._bootstrap)
            task_status.started()
            await trio.sleep_forever()

    async def _supervise(self, name: str, service: Gossip | Discovery) -> None:
        """Run a service. One that fails is missed, and does not take the node with it."""
        try:
            await service.run()
        except Exception as error:
            _log.error("%s has failed: %r", name, error)
            del self._services[name]
            service.ready.set()

    async def _bootstrap(self) -> None:
        for text in self._config.bootstrap if self._services else ():
            try:
                await self.connect(text)
            except NetworkError as error:
                _log.warning("no connection at the start: %s", error)

    def _not_listening(self, listen: list[Multiaddr]) -> errors.ListenError | None:
        for address in listen:
            if str(address) not in self._dialer.swarm.listeners:
                return errors.ListenError(f"cannot listen on {address}", mend="choose another address or port")
        return None

    async def _close(self) -> None:
        """Defect 10: leaving `host.run()` leaves sockets open. Side by side, since each takes 0.2 s to close."""
        with shielded(_CLOSE_SECONDS):
            async with trio.open_nursery() as nursery:
                for connection in self._dialer.swarm.get_connections():
                    nursery.start_soon(connection.close)
            await self._host.close()

    def _admit(self, peer: ID, inbound: bool) -> bool:
        return self._dialer.admits(peer, inbound)

    def serve(self, protocol: str, handler: Handler) -> None:
        """See `seam.Network`."""

        async def answer(stream: INetStream) -> None:
            if not isinstance(stream, NetStream) or not isinstance(stream.muxed_stream, YamuxStream):
                raise TypeError("not a Yamux stream")
            own = YamuxByteStream(stream.muxed_stream, self._config.limits)
            try:
                await self._serving.answer(own, protocol, str(stream.muxed_conn.peer_id))
            finally:
                await own.abort()

        self._serving.handlers[protocol] = handler
        self._host.set_stream_handler(TProtocol(protocol), answer)

    def request(
        self, peer: str, protocol: str, payload: bytes, *, limits: Limits | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `seam.Network`."""
        return self._request(peer, protocol, payload, limits or self._config.limits)

    @asynccontextmanager
    async def _request(self, peer: str, protocol: str, payload: bytes, limits: Limits) -> AsyncIterator[Reply]:
        peer_id, address = parse_address(peer)
        async with self._asking.turn(str(peer_id)):
            opened = await self._dialer.open_stream(peer_id, address, limits)
            stream = RequestStream(opened, limits, protocol, str(peer_id))
            try:
                yield await ask(stream, payload, str(peer_id), limits)
            finally:
                await stream.abort()

    async def connect(self, address: str, *, given: bool = True) -> None:
        """See `seam.Network`."""
        peer, place = parse_address(address)
        if given:
            self._dialer.trust(peer, place)
        known = str(peer) in self.peers()
        await self._dialer.connect(peer, place)
        discovery = self._services.get("discovery")
        if isinstance(discovery, Discovery) and given and not known:
            await discovery.make_known()

    def may_dial(self, address: str) -> bool:
        """See `seam.Network`."""
        return self._dialer.may_dial(address)

    async def announce(self, topic: str, payload: bytes) -> None:
        """See `seam.Network`."""
        await self._gossip().announce(topic, payload)

    async def subscribe(self, topic: str, validator: Validator) -> trio.MemoryReceiveChannel[Announcement]:
        """See `seam.Network`."""
        return await self._gossip().subscribe(topic, validator)

    async def provide(self, key: bytes) -> None:
        """See `seam.Network`."""
        await self._discovery().provide(key)

    async def find_providers(self, key: bytes) -> list[str]:
        """See `seam.Network`."""
        return await self._discovery().find_providers(key)

    def _gossip(self) -> Gossip:
        service = self._services.get("gossip")
        if not isinstance(service, Gossip):
            raise _off("gossip")
        return service

    def _discovery(self) -> Discovery:
        service = self._services.get("discovery")
        if not isinstance(service, Discovery):
            raise _off("discovery")
        return service

    def peers(self) -> tuple[str, ...]:
        """See `seam.Network`."""
        return self._dialer.peers()

    def line(self, peer: str) -> Line:
        """See `seam.Network`."""
        try:
            return self._dialer.line(*parse_address(peer))
        except errors.AddressError:
            return Line()

    def answered(self) -> Mapping[tuple[str, int | None], int]:
        """See `seam.Network`."""
        return self._serving.answered

    async def cut_off(self, peer: str) -> None:
        """See `seam.Network`."""
        await self._dialer.cut_off(parse_peer(peer))

    def let_in(self, peer: str) -> None:
        """See `seam.Network`."""
        self._dialer.let_in(parse_peer(peer))


def _off(feature: str) -> errors.FeatureOff:
    return errors.FeatureOff(f"{feature} is off", mend=f"start the network with {feature}=True")
