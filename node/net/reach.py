"""Which addresses heard from others may be dialled: none that lies deeper inside than the node itself stands.

A peer that gives out `/ip4/127.0.0.1/tcp/6379` wants us to knock at a door that is shut to it. So a node that can be
reached from everywhere dials only what can be; one in a private network dials private and public addresses; one that
is bound to its own machine dials everything. What its operator wrote down is always dialled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from tslg.protocol.errors import UsageError

ADDRESS_CHARACTERS: Final = 512
"""Length of one address as text."""
_NAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62}))*\.?")
_PEER: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{1,128}")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_FAMILIES: Final = {"dns": ("ip4", "ip6"), "dns4": ("ip4",), "dns6": ("ip6",)}


class Scope(IntEnum):
    """From where an address can be reached; the wider the greater."""

    LOOPBACK = 0
    PRIVATE = 1
    GLOBAL = 2


class Place(NamedTuple):
    """An address of the only form that is taken from others: one host, one TCP port, one peer id."""

    kind: str
    """`ip4`, `ip6`, `dns`, `dns4`, `dns6`, or `memory` for the in-memory network."""
    host: str
    port: int
    peer: str

    @property
    def families(self) -> tuple[str, ...]:
        """The kinds of addresses that a name may stand for; empty for what is no name."""
        return _FAMILIES.get(self.kind, ())

    @property
    def scope(self) -> Scope | None:
        """The scope of the host; None for a name, and for what no host has."""
        if self.kind == "memory":
            return Scope.GLOBAL
        return None if self.families else scope_of(self.host)


def scope_of(host: str) -> Scope | None:
    """Return the scope of an IP address; None for text that is none, and for what no host on a network has."""
    try:
        ip: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        # Ways to write an IPv4 address that a gateway or the kernel unwraps again.
        if ip.teredo is not None:
            return None
        ip = ip.ipv4_mapped or ip.sixtofour or (IPv4Address(ip.packed[12:]) if ip in _NAT64 else ip)
    if ip.is_loopback:
        return Scope.LOOPBACK
    if ip.is_multicast or ip.is_unspecified or (ip.is_reserved and not ip.is_global):
        return None
    return Scope.GLOBAL if ip.is_global else Scope.PRIVATE


def place_of(address: str) -> Place | None:
    """Read an address heard from others; None if it is not of the one form that is taken from them."""
    parts = address.split("/") if len(address) <= ADDRESS_CHARACTERS else []
    if len(parts) == 5 and parts[:2] == ["", "memory"] and parts[3] == "p2p":
        return Place("memory", parts[2], 1, parts[4])
    if len(parts) != 7 or parts[0] or parts[3] != "tcp" or parts[5] != "p2p":
        return None
    _, kind, host, _, port, _, peer = parts
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 2**16):
        return None
    named = kind in _FAMILIES and _NAME.fullmatch(host) is not None
    numbered = kind in ("ip4", "ip6") and scope_of(host) is not None and (":" in host) == (kind == "ip6")
    return Place(kind, host, int(port), peer) if (named or numbered) and _PEER.fullmatch(peer) else None


def may_dial(address: str, own: Scope) -> bool:
    """Whether a node of this scope may dial an address heard from others. What a name stands for is held to it too."""
    place = place_of(address)
    if place is None:
        return False
    return bool(place.families) or (place.scope is not None and place.scope >= own)


def widest(addresses: Iterable[str]) -> Scope:
    """Return the scope of a node with these addresses: the widest of them, GLOBAL where it has none."""
    found = [place.scope for address in addresses if (place := place_of(address)) is not None]
    return max((scope for scope in found if scope is not None), default=Scope.GLOBAL)


def narrowest(addresses: Iterable[str]) -> Scope:
    """Return the narrowest scope among addresses that somebody chose to ask, GLOBAL where there is none."""
    found = [place.scope for address in addresses if (place := place_of(address)) is not None]
    return min((scope for scope in found if scope is not None), default=Scope.GLOBAL)


def read_scope(text: str) -> Scope | None:
    """Return the scope of this name, None for an empty one. Raises UsageError."""
    if not text:
        return None
    try:
        return Scope[text.upper()]
    except KeyError:
        names = ", ".join(scope.name.lower() for scope in Scope)
        raise UsageError(f"reach: {text[:40]!r} is no scope", mend=f"give one of {names}") from None
