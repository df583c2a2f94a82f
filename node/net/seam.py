"""What the rest of a node may ask of a network. Implemented in memory and by libp2p; nothing else touches a stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import trio

from tslg.node.net.errors import AddressError
from tslg.node.tasks import background
from tslg.protocol.limits import Limits
from tslg.protocol.verdict import Verdict as Verdict

if TYPE_CHECKING:
    from trio_typing import TaskStatus

Handler = Callable[[bytes, str], AsyncGenerator[bytes, None]]
"""`async def handler(request, peer)`: an async generator that yields the payloads of the reply's chunks.

Each payload is at most `limits.chunk_bytes`; a reply without a payload is sent as one empty chunk. The handler raises
a subclass of `errors.Answered` to answer with its code. It is cancelled when the asker goes away."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A payload announced on a topic, the id of the peer that announced it first, and of the one it came by."""

    payload: bytes
    peer: str
    via: str


Validator = Callable[[Announcement], Verdict]
"""Called once for every announcement, whose verdict is final; it must not wait."""


class Line(NamedTuple):
    """How the line to a peer is, as far as that is known.

    Attributes:
        round_trip: what a sign of life takes by and by, s; None where none was measured.
        silent: whether nothing came for long although it was waited for: longer than live lines take, lossy ones too.
    """

    round_trip: float | None = None
    silent: bool = False


class Network(Protocol):
    """One peer's view of the network.

    A peer is named by its id or by an address, a multiaddr that ends in `/p2p/<id>`. By id alone only a peer can be
    asked that is connected or was found through `find_providers`. Every failure that has to do with a peer is a
    `errors.PeerError`.
    """

    @property
    def peer_id(self) -> str:
        """This peer's own id."""
        ...

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses at which others can reach this peer, each ending in `/p2p/<id>`; empty before `run`."""
        ...

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be part of the network until cancelled. `started()` is called when requests can be made and answered.

        Raises ListenError if the address to listen on cannot be had.
        """
        ...

    def serve(self, protocol: str, handler: Handler) -> None:
        """Answer requests of `protocol` (such as `/tslg/walk/1`) with `handler` from now on."""
        ...

    def request(
        self, peer: str, protocol: str, payload: bytes, *, limits: Limits | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Send one request; the context is an iterator over the payloads of the reply's chunks.

        Entering raises what goes wrong on the way to the peer, iterating what goes wrong with the reply; see
        `errors`. Leaving early tells the peer to stop. `limits` may lower the network's own for this request.
        """
        ...

    async def connect(self, address: str, *, given: bool = True) -> None:
        """Make sure of a connection with a peer.

        An address `given` by the operator is dialled whatever it leads to, now and later, and where discovery is on
        this node makes itself known there. Raises a `errors.PeerError`, or AddressError.
        """
        ...

    def may_dial(self, address: str) -> bool:
        """Whether `request` dials an address heard from others: none that lies deeper inside than this node stands."""
        ...

    async def announce(self, topic: str, payload: bytes) -> None:
        """Tell everybody who subscribed to `topic`. A hint: it may be lost."""
        ...

    async def subscribe(self, topic: str, validator: Validator) -> trio.MemoryReceiveChannel[Announcement]:
        """Receive the announcements of others on `topic` that `validator` lets through; closing it unsubscribes.

        Announcements that find the channel full are dropped.
        """
        ...

    async def provide(self, key: bytes) -> None:
        """Make it known that this peer can be asked about `key` (an agent's or a federation's id).

        Those who are told forget it after a time, and when they stop: it is to be said again and again.
        """
        ...

    async def find_providers(self, key: bytes) -> list[str]:
        """Addresses of peers that say they can be asked about `key`, those that most others name first.

        Hearsay, never of this peer itself, only what `may_dial` lets through, at most `limits.found_addresses`.
        """
        ...

    def peers(self) -> tuple[str, ...]:
        """The ids of the peers connected at the moment, sorted."""
        ...

    def line(self, peer: str) -> Line:
        """How the line to a peer is. Where nothing came lately, a sign of life is asked for by the way.

        A silent one is tried anew, at the address that names the peer as well.
        """
        ...

    def answered(self) -> Mapping[tuple[str, int | None], int]:
        """How many requests of each protocol ended with which code; None for those that the asker gave up."""
        ...

    async def cut_off(self, peer: str) -> None:
        """Close the connections to a peer that broke a rule, and have no more to do with it."""
        ...

    def let_in(self, peer: str) -> None:
        """Have to do again with a peer that was cut off."""
        ...


def peer_id_of(peer: str) -> str:
    """The id in an address, or the id itself. Raises AddressError."""
    head, mark, peer_id = peer.rpartition("/p2p/")
    if not peer_id or "/" in peer_id or (mark and not head) or (not mark and peer.startswith("/")):
        raise AddressError(f"{peer[:200]!r} names no peer", mend="use an address that ends in /p2p/<peer id>")
    return peer_id


@asynccontextmanager
async def running(network: Network) -> AsyncIterator[Network]:
    """Run `network` for the length of a block. Errors of either come out as they are."""
    async with background() as nursery:
        await nursery.start(network.run)
        yield network
