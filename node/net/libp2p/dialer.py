"""One connection to each peer that is asked: found, reused, dialled, refused (defects 14 and 16).

Whatever makes libp2p dial comes through here: requests, and the DHT's own questions to peers it has merely heard of.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import partial

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
from tslg.node.net.libp2p.swarm import GuardedSwarm
from tslg.node.net.libp2p.upgrade import HandshakeFailed, MuxerFailed
from tslg.node.net.reach import Place, Scope, may_dial, place_of, scope_of
from tslg.node.net.seam import Line, peer_id_of
from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)

_CONNECTIONS_PER_PEER = 2
"""Defect 14: two peers that dial each other at once get two connections. More have no honest reason."""
_ADDRESSES_PER_PEER = 4
_VAIN_SECONDS = 10.0
"""How long a dial that nobody answered, or a connection that was given up as silent, speaks against the line."""
_left: ContextVar[list[int] | None] = ContextVar("dials left to what is under way", default=None)


@contextmanager
def at_most(dials: int) -> Iterator[None]:
    """Let what happens in the block, tasks that it starts included, dial no more peers than this."""
    token = _left.set([dials])
    try:
        yield
    finally:
        _left.reset(token)


class Dialer:
    """Connections by peer id.

    `scope` is what this node can be reached from; addresses heard from others that lie deeper inside are not dialled.
    """

    def __init__(self, host: IHost, limits: Limits) -> None:
        swarm = host.get_network()
        if not isinstance(swarm, Swarm):
            raise TypeError("not a swarm")
        self.swarm = swarm
        self._limits = limits
        self._dialling: dict[ID, trio.Lock] = {}
        self._cut_off: set[ID] = set()
        self._given: dict[ID, list[Multiaddr]] = {}
        self._vain: dict[ID, float] = {}
        self._again: set[ID] = set()
        self._under_way = trio.CapacityLimiter(limits.dials)
        self.scope = Scope.GLOBAL
        if isinstance(swarm, GuardedSwarm):
            swarm.dial_known = self._dial_known
            swarm.line = self.line

    def trust(self, peer: ID, address: Multiaddr | None) -> None:
        """Dial this address from now on whatever it leads to: the node's operator gave it."""
        known = self._given.setdefault(peer, [])
        if address is not None and address not in known:
            known.append(address)

    def may_dial(self, text: str) -> bool:
        """Whether an address may be dialled: one that the operator gave, or one that `reach` lets through."""
        return self._is_given(text) or may_dial(text, self.scope)

    def _is_given(self, text: str) -> bool:
        return any(text == str(address) for known in self._given.values() for address in known)

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

    def let_in(self, peer: ID) -> None:
        """Admit connections with a peer again."""
        self._cut_off.discard(peer)

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

    def line(self, peer: ID, address: Multiaddr | None = None) -> Line:
        """How the line to a peer is; one that is silent is tried anew meanwhile, which is sooner there than the old.

        It is tried where the peer is known to be, and at an `address` that others gave.
        """
        muxer = self._connected(peer)
        line = Line(silent=self._in_vain(peer)) if muxer is None else muxer.line()
        if line.silent and peer not in self._again:
            self._again.add(peer)
            self.swarm.manager.run_task(self._dial_again, peer, muxer, address)
        return line

    def _in_vain(self, peer: ID) -> bool:
        since = self._vain.get(peer)
        if since is not None and trio.current_time() - since > _VAIN_SECONDS:
            del self._vain[peer]
            return False
        return since is not None

    async def _dial_again(self, peer: ID, silent: BoundedYamux | None, address: Multiaddr | None) -> None:
        try:
            async with trio.open_nursery() as nursery:
                for place in {None} if address in self._addresses(peer, None) else {None, address}:
                    nursery.start_soon(self._dial_anew, peer, silent, place)
        finally:
            self._again.discard(peer)

    async def _dial_anew(self, peer: ID, silent: BoundedYamux | None, address: Multiaddr | None) -> None:
        try:
            fresh = await self._dial(peer, address, self._limits)
            if silent is not None and fresh is not silent and silent.line().silent:
                await silent.close()
        except Exception as error:
            # A task of the swarm, which an error would end.
            _log.debug("peer %s, whose line is silent, is not reached anew: %r", peer, error)

    def _connected(self, peer: ID) -> BoundedYamux | None:
        """Return a working connection with a peer, the newest: older ones may be broken without our noticing."""
        for connection in reversed(self.swarm.get_connections(peer)):
            muxer = connection.muxed_conn
            if isinstance(muxer, BoundedYamux) and not connection.is_closed and muxer.is_established:
                muxer.on_silent = partial(self._note_vain, peer)
                return muxer
        return None

    async def _connect(self, peer: ID, address: Multiaddr | None, limits: Limits) -> BoundedYamux:
        lock = self._dialling.setdefault(peer, trio.Lock())
        before = self._vain.get(peer)
        try:
            async with lock:
                muxer = self._connected(peer)
                known = address is None or self._is_given(str(address))
                if muxer is None and known and self._vain.get(peer) != before:
                    # Whoever waited for a dial that came to nothing would otherwise make the same one again, in turn.
                    raise errors.Stalled(f"peer {peer} did not finish the handshake in time", peer=str(peer))
                return muxer or await self._dial(peer, address, limits)
        finally:
            if not lock.locked():
                self._dialling.pop(peer, None)

    async def _dial_known(self, peer: ID) -> None:
        """Dial a peer at the addresses that others gave, as the DHT asks for. Raises a `errors.PeerError`."""
        left = _left.get()
        if left is not None and self._connected(peer) is None:
            if left[0] <= 0:
                raise errors.Unreachable(f"peer {peer} is one too many to be dialled now", peer=str(peer))
            left[0] -= 1
        await self._connect(peer, None, self._limits)

    async def _dial(self, peer: ID, address: Multiaddr | None, limits: Limits) -> BoundedYamux:
        """Defect 16: the swarm's own way to dial a peer shuns it for 60 s after a failure, so addresses are dialled."""
        if peer in self._cut_off:
            raise errors.Unreachable(f"peer {peer} is cut off", peer=str(peer))
        failure: errors.PeerError = errors.Unreachable(f"no address of peer {peer} is known", peer=str(peer))
        for heard in self._addresses(peer, address):
            for candidate in await self._resolved(peer, heard):
                try:
                    with trio.fail_after(min(limits.progress_timeout_ms, limits.dial_timeout_ms) / 1000):
                        async with self._turn(candidate):
                            await self.swarm.dial_addr(candidate, peer)
                except trio.TooSlowError:
                    failure = errors.Stalled(f"peer {peer} did not finish the handshake in time", peer=str(peer))
                    # Of an address that others gave it says nothing about the peer: they may have given any.
                    if self._is_given(str(heard)) or self._is_given(_named(heard, peer)):
                        self._note_vain(peer)
                except BaseLibp2pError as error:
                    failure = _explain(error, peer, candidate)
                muxer = self._connected(peer)
                if muxer is not None:
                    return muxer
        if isinstance(failure, errors.Unreachable) and address is not None and not self.may_dial(_named(address, peer)):
            raise errors.NotDialled(f"{address} lies deeper inside than this node stands", peer=str(peer))
        raise failure

    def _note_vain(self, peer: ID) -> None:
        if len(self._vain) >= self._limits.peers_known:
            del self._vain[next(iter(self._vain))]
        self._vain[peer] = trio.current_time()

    @asynccontextmanager
    async def _turn(self, address: Multiaddr) -> AsyncIterator[None]:
        """Hold back dials to addresses heard from others, however many there are; the operator's own never wait."""
        if self._is_given(str(address)):
            yield
            return
        borrower = object()
        await self._under_way.acquire_on_behalf_of(borrower)
        try:
            yield
        finally:
            self._under_way.release_on_behalf_of(borrower)

    def _addresses(self, peer: ID, address: Multiaddr | None) -> list[Multiaddr]:
        if address is not None:
            return [address]
        given = self._given.get(peer, [])
        try:
            heard = list(self.swarm.peerstore.addrs(peer))[:_ADDRESSES_PER_PEER]
        except PeerStoreError:
            heard = []
        return [*given, *(one for one in heard if one not in given)]

    async def _resolved(self, peer: ID, address: Multiaddr) -> list[Multiaddr]:
        """Return what may be dialled for an address: itself, or, for a name, what it stands for here and now."""
        text = _named(address, peer)
        if self._is_given(str(address)) or self._is_given(text):
            return [address]
        place = place_of(text)
        if place is None or not may_dial(text, self.scope):
            return []
        return await self._stands_for(place) if place.families else [address]

    async def _stands_for(self, place: Place) -> list[Multiaddr]:
        """A name may stand for anything, today this and tomorrow that: what is dialled is what was looked at."""
        wanted = {"ip4": socket.AF_INET, "ip6": socket.AF_INET6}
        found: list[Multiaddr] = []
        for family in place.families:
            with trio.move_on_after(self._limits.dial_timeout_ms / 1000):
                try:
                    rows = await trio.socket.getaddrinfo(place.host, place.port, wanted[family], socket.SOCK_STREAM)
                except OSError:
                    continue
                for *_, where in rows[:_ADDRESSES_PER_PEER]:
                    scope = scope_of(str(where[0]))
                    if scope is not None and scope >= self.scope:
                        found.append(Multiaddr(f"/{family}/{where[0]}/tcp/{place.port}/p2p/{place.peer}"))
        return found


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


def _named(address: Multiaddr, peer: ID) -> str:
    """An address as text with the peer's id, which those in the library's book go without."""
    text, end = str(address), f"/p2p/{peer}"
    return text if text.endswith(end) else text + end


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
