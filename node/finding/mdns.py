"""Nodes on the same local network find each other by multicast DNS, as libp2p's mDNS does it under a name of our own.

The library's own waits for seconds in the thread that receives, takes the word of one neighbour for the addresses of
another, and gives out addresses that it makes up, so zeroconf, which it rests on, is used directly. What neighbours say
is hearsay as anything else: it costs a dial.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from zeroconf import Error, IPVersion, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from tslg.node.net.reach import Scope, place_of
from tslg.node.net.seam import Network

_log = logging.getLogger(__name__)

TYPE: Final = "_tslg._udp.local."
"""The service type: that of libp2p would bring every other program's peers."""
ADDRESSES: Final = 8
"""Addresses given out, and taken of one neighbour."""
NEIGHBOURS: Final = 64
WINDOW_SECONDS: Final = 60.0
"""So many neighbours are looked up in that time; whoever makes up more of them has them passed over."""
WAITING: Final = 64
_LOOKUP_MS: Final = 3_000


async def look_around(network: Network, found: Callable[[list[str]], Awaitable[None]]) -> None:
    """Give out this node's addresses until cancelled, and hand over those of each neighbour."""
    try:
        async with _zeroconf(network) as zeroconf:
            await _take_part(zeroconf, network, found)
    except (OSError, Error) as error:
        _log.error("the local network cannot be searched: %s", error)


@asynccontextmanager
async def _zeroconf(network: Network) -> AsyncIterator[Zeroconf]:
    interfaces = _interfaces(network.addresses)
    zeroconf = await trio.to_thread.run_sync(lambda: Zeroconf(interfaces=interfaces, ip_version=IPVersion.V4Only))
    try:
        yield zeroconf
    finally:
        with trio.CancelScope(shield=True):
            # It takes leave of the neighbours for half a second, and that is as well done after this node is gone.
            await trio.to_thread.run_sync(zeroconf.close)


def _interfaces(addresses: tuple[str, ...]) -> list[str]:
    """Return the IPv4 addresses of the interfaces on which others can be: those that this node listens on."""
    places = [place for address in addresses if (place := place_of(address)) is not None and place.kind == "ip4"]
    near = [place.host for place in places if place.scope is not Scope.LOOPBACK]
    return list(dict.fromkeys(near or [place.host for place in places])) or ["127.0.0.1"]


async def _take_part(zeroconf: Zeroconf, network: Network, found: Callable[[list[str]], Awaitable[None]]) -> None:
    own = f"{secrets.token_hex(16)}.{TYPE}"
    token = trio.lowlevel.current_trio_token()
    send, receive = trio.open_memory_channel[str](WAITING)

    def hear(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """Called in zeroconf's thread, which must not wait."""
        if name != own and state_change is not ServiceStateChange.Removed:
            token.run_sync_soon(_put, send, name)

    info = await trio.to_thread.run_sync(_about, own, network.addresses)
    await trio.to_thread.run_sync(zeroconf.register_service, info)
    browser = await trio.to_thread.run_sync(lambda: ServiceBrowser(zeroconf, TYPE, handlers=[hear]))
    try:
        looked, since = 0, trio.current_time()
        async for name in receive:
            if trio.current_time() - since > WINDOW_SECONDS:
                looked, since = 0, trio.current_time()
            looked += 1
            if looked > NEIGHBOURS:
                _log.debug("there are too many neighbours: %s is not looked up", name)
                continue
            addresses = await trio.to_thread.run_sync(_ask, zeroconf, name)
            if addresses:
                await found(addresses)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(browser.cancel)


def _ask(zeroconf: Zeroconf, name: str) -> list[str]:
    """Ask for a neighbour's addresses. Blocks; whatever a neighbour calls itself, it ends nothing."""
    try:
        said = zeroconf.get_service_info(TYPE, name, _LOOKUP_MS)
    except (OSError, ValueError, Error) as error:
        _log.debug("neighbour %r cannot be looked up: %r", name, error)
        return []
    return [] if said is None else _addresses(said)


def _put(send: trio.MemorySendChannel[str], name: str) -> None:
    try:
        send.send_nowait(name)
    except trio.WouldBlock:
        _log.debug("more neighbours than can be looked up at a time")
    except trio.ClosedResourceError:
        return


def _about(name: str, addresses: tuple[str, ...]) -> ServiceInfo:
    """What is said of this node: its addresses, each in a `dnsaddr` of the TXT record, as libp2p has it."""
    given = addresses[:ADDRESSES]
    place = next((one for address in given if (one := place_of(address)) is not None), None)
    properties = {f"dnsaddr{number or ''}": address for number, address in enumerate(given)}
    hosts = [place.host] if place is not None and place.kind == "ip4" else []
    return ServiceInfo(
        TYPE,
        name,
        port=0 if place is None else place.port,
        properties=properties,
        server=f"{name.partition('.')[0]}.local.",
        parsed_addresses=hosts,
    )


def _addresses(said: ServiceInfo) -> list[str]:
    """Return the addresses in a neighbour's TXT record; what is no text is passed over."""
    found = []
    for key, value in said.properties.items():
        if key.startswith(b"dnsaddr") and value is not None:
            try:
                found.append(value.decode())
            except UnicodeDecodeError:
                continue
    return [address for address in found if place_of(address) is not None][:ADDRESSES]
