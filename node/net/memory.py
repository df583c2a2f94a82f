"""An in-memory network for tests and simulations: the same frames, limits and errors, no sockets.

Nothing here reads a clock other than trio's or draws random numbers, so a run under trio's mock clock repeats itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from tslg.node.net import errors
from tslg.node.net.exchange import Asking, Reply, Serving, StreamBroken, ask
from tslg.node.net.offenders import Offenders
from tslg.node.net.reach import Scope, may_dial
from tslg.node.net.seam import Announcement, Handler, Line, Validator, peer_id_of
from tslg.node.net.topics import Topics, check_announcement
from tslg.protocol.limits import DEFAULT, Limits

if TYPE_CHECKING:
    from trio_typing import TaskStatus

PROVIDER_SECONDS = 48 * 60 * 60
"""How long the DHT remembers a provider."""
_PIECE_BYTES = 64 * 1024
_PIECES_IN_FLIGHT = 16


@dataclass(slots=True)
class Faults:
    """What goes wrong with one peer, from now on."""

    down: bool = False
    """Nobody reaches it and it reaches nobody; exchanges under way break off."""
    delay_ms: int = 0
    """Every piece that it sends arrives this much later."""
    latency: Callable[[], float] | None = None
    """Draws how much later (s) a piece that it sends arrives; those of one stream stay in order."""
    garble: Callable[[bytes], bytes] | None = None
    """Applied to every piece that it sends."""


class _Pipe:
    """One end of a stream between two peers."""

    def __init__(
        self,
        outgoing: trio.MemorySendChannel[bytes],
        incoming: trio.MemoryReceiveChannel[bytes],
        own: Faults,
        other: Faults,
    ) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._own = own
        self._other = other

    async def receive(self) -> bytes:
        try:
            data = await self._incoming.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise StreamBroken("the other side is gone") from None
        self._check()
        return data

    async def send(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            if self._own.delay_ms:
                await trio.sleep(self._own.delay_ms / 1000)
            if self._own.latency is not None:
                await trio.sleep(self._own.latency())
            await self._put(self._own.garble(piece) if self._own.garble else piece)

    async def send_eof(self) -> None:
        await self._put(b"")

    async def wait_broken(self) -> None:
        with suppress(StreamBroken):
            while True:
                await self.receive()

    async def abort(self) -> None:
        self._outgoing.close()
        self._incoming.close()

    async def _put(self, piece: bytes) -> None:
        self._check()
        try:
            await self._outgoing.send(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise StreamBroken("the other side is gone") from None

    def _check(self) -> None:
        if self._own.down or self._other.down:
            raise StreamBroken("the connection is lost")


def _pipe_pair(a: Faults, b: Faults) -> tuple[_Pipe, _Pipe]:
    from_a, to_b = trio.open_memory_channel[bytes](_PIECES_IN_FLIGHT)
    from_b, to_a = trio.open_memory_channel[bytes](_PIECES_IN_FLIGHT)
    return _Pipe(from_a, to_a, a, b), _Pipe(from_b, to_b, b, a)


@dataclass
class MemoryHub:
    """Connects any number of `MemoryNetwork`s, and breaks things between them on demand."""

    members: dict[str, MemoryNetwork] = field(default_factory=dict)
    providers: dict[bytes, dict[str, float]] = field(default_factory=dict)
    """The DHT, as if its closest peers never left: by key, who provides it, and when that was said (trio's clock)."""
    planted: dict[bytes, list[str]] = field(default_factory=dict)
    """Addresses that the DHT gives out for a key beside those, whatever they lead to."""
    apart: Callable[[str, str], bool] = field(default=lambda one, other: False)
    """Whether two members cannot reach each other; asked whenever one turns to the other."""
    arrivals: Callable[[str, str], Sequence[float]] | None = None
    """Draws after which times (s) an announcement of one comes to another: once each, never if there are none."""
    joined_only: bool = False
    """Whether only a member with a connection has part in the DHT, as on a real network; for tests of finding."""

    def network(self, peer_id: str, limits: Limits = DEFAULT) -> MemoryNetwork:
        """A new member under an id that must not be taken; it can be reached while its `run` is under way."""
        if peer_id in self.members:
            raise ValueError(f"there is a member {peer_id} already")
        self.members[peer_id] = MemoryNetwork(self, peer_id, limits)
        return self.members[peer_id]

    def faults(self, peer_id: str) -> Faults:
        """The faults of one member, to be set."""
        return self.members[peer_id].faults


class MemoryNetwork:
    """One member of a `MemoryHub`; a `seam.Network`. It knows every address, and connects on the first request."""

    def __init__(self, hub: MemoryHub, peer_id: str, limits: Limits) -> None:
        self.faults = Faults()
        self._hub = hub
        self._peer_id = peer_id
        self._limits = limits
        self._serving = Serving(limits, Offenders())
        self._asking = Asking(limits)
        self._nursery: trio.Nursery | None = None
        self._connected: set[str] = set()
        self._streams: dict[_Pipe, str] = {}
        self._cut_off: set[str] = set()
        self._topics = Topics()

    @property
    def peer_id(self) -> str:
        """See `seam.Network`."""
        return self._peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        """See `seam.Network`."""
        return (f"/memory/{self._peer_id}/p2p/{self._peer_id}",) if self._nursery else ()

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `seam.Network`."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            for peer in sorted(self._connected):
                await self._disconnect(peer)

    def serve(self, protocol: str, handler: Handler) -> None:
        """See `seam.Network`."""
        self._serving.handlers[protocol] = handler

    def request(
        self, peer: str, protocol: str, payload: bytes, *, limits: Limits | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `seam.Network`."""
        return self._request(peer_id_of(peer), protocol, payload, limits or self._limits)

    @asynccontextmanager
    async def _request(self, peer: str, protocol: str, payload: bytes, limits: Limits) -> AsyncIterator[Reply]:
        async with self._asking.turn(peer):
            other = await self._connect(peer)
            if protocol not in other._serving.handlers:
                raise errors.NotServed(f"peer {peer} does not speak {protocol}", peer=peer)
            near, far = _pipe_pair(self.faults, other.faults)
            other._accept(far, protocol, self._peer_id)
            async with self._holding(near, peer):
                yield await ask(near, payload, peer, limits)

    @asynccontextmanager
    async def _holding(self, stream: _Pipe, peer: str) -> AsyncIterator[None]:
        self._streams[stream] = peer
        try:
            yield
        finally:
            del self._streams[stream]
            await stream.abort()

    async def _connect(self, peer: str) -> MemoryNetwork:
        await trio.lowlevel.checkpoint()
        other = self._hub.members.get(peer)
        if other is None or other._nursery is None or other.faults.down or self.faults.down:
            await self._disconnect(peer)
            raise errors.Unreachable(f"peer {peer} cannot be reached", peer=peer)
        if self._hub.apart(self._peer_id, peer):
            await self._disconnect(peer)
            raise errors.Unreachable(f"peer {peer} cannot be reached", peer=peer)
        if peer in self._cut_off or self._peer_id in other._cut_off:
            raise errors.Unreachable(f"peer {peer} is cut off", peer=peer)
        self._connected.add(peer)
        other._connected.add(self._peer_id)
        return other

    async def _disconnect(self, peer: str) -> None:
        for stream, other in tuple(self._streams.items()):
            if other == peer:
                await stream.abort()
        self._connected.discard(peer)
        if peer in self._hub.members:
            self._hub.members[peer]._connected.discard(self._peer_id)

    def _accept(self, stream: _Pipe, protocol: str, peer: str) -> None:
        assert self._nursery is not None

        async def answer() -> None:
            async with self._holding(stream, peer):
                await self._serving.answer(stream, protocol, peer)

        try:
            self._nursery.start_soon(answer)
        except RuntimeError:
            raise errors.Unreachable(f"peer {self._peer_id} is going away", peer=self._peer_id) from None

    async def announce(self, topic: str, payload: bytes) -> None:
        """See `seam.Network`."""
        await trio.lowlevel.checkpoint()
        check_announcement(payload, self._limits)
        for peer, other in sorted(self._hub.members.items()):
            if peer == self._peer_id or self._hub.apart(self._peer_id, peer):
                continue
            if other._nursery is not None and not (other.faults.down or self.faults.down):
                announcement = Announcement(payload, self._peer_id, self._peer_id)
                if self._hub.arrivals is None:
                    other._hear(topic, announcement)
                    continue
                for after in self._hub.arrivals(self._peer_id, peer):
                    other._nursery.start_soon(other._hear_later, topic, announcement, after)

    def _hear(self, topic: str, announcement: Announcement) -> None:
        if announcement.peer not in self._cut_off:
            self._topics.hear(topic, announcement)

    async def _hear_later(self, topic: str, announcement: Announcement, after: float) -> None:
        await trio.sleep(after)
        if not self.faults.down:
            self._hear(topic, announcement)

    async def subscribe(self, topic: str, validator: Validator) -> trio.MemoryReceiveChannel[Announcement]:
        """See `seam.Network`."""
        await trio.lowlevel.checkpoint()
        return self._topics.add(topic, validator)

    async def connect(self, address: str, *, given: bool = True) -> None:
        """See `seam.Network`."""
        await self._connect(peer_id_of(address))

    def may_dial(self, address: str) -> bool:
        """See `seam.Network`."""
        return may_dial(address, Scope.GLOBAL)

    async def provide(self, key: bytes) -> None:
        """See `seam.Network`."""
        await trio.lowlevel.checkpoint()
        if self._is_joined():
            self._hub.providers.setdefault(key, {})[self._peer_id] = trio.current_time()

    async def find_providers(self, key: bytes) -> list[str]:
        """See `seam.Network`."""
        await trio.lowlevel.checkpoint()
        if not self._is_joined():
            return []
        since = trio.current_time() - PROVIDER_SECONDS
        said = self._hub.providers.get(key, {})
        found = [self._hub.members[peer] for peer, when in said.items() if peer != self._peer_id and when > since]
        addresses = [address for member in found for address in member.addresses] + self._hub.planted.get(key, [])
        return [address for address in addresses if self.may_dial(address)][: self._limits.found_addresses]

    def _is_joined(self) -> bool:
        return not self._hub.joined_only or bool(self._connected)

    def peers(self) -> tuple[str, ...]:
        """See `seam.Network`."""
        return tuple(sorted(self._connected))

    def line(self, peer: str) -> Line:
        """See `seam.Network`."""
        return Line()

    def answered(self) -> Mapping[tuple[str, int | None], int]:
        """See `seam.Network`."""
        return self._serving.answered

    async def cut_off(self, peer: str) -> None:
        """See `seam.Network`."""
        await trio.lowlevel.checkpoint()
        peer_id = peer_id_of(peer)
        self._cut_off.add(peer_id)
        await self._disconnect(peer_id)

    def let_in(self, peer: str) -> None:
        """See `seam.Network`."""
        self._cut_off.discard(peer_id_of(peer))
