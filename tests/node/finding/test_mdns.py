"""Nodes on one machine that find each other by multicast DNS over loopback, and what hostile neighbours can say."""

from __future__ import annotations

import pytest
import trio
from zeroconf import ServiceInfo, Zeroconf

from tslg.node.finding import mdns
from tslg.node.finding.mdns import ADDRESSES, TYPE, look_around
from tslg.node.tasks import background

PEERS = ["12D3KooWAo2aWWG83shnAquCKWo5tqFAWLJdcmb83kUmqgFaNLVR", "12D3KooWQJdMWo3en8i3xayUppir8Urmf8U9kvxZkQ3ytWG9kVP3"]


class Neighbour:
    """All that mDNS asks of a network: where it is."""

    def __init__(self, number: int) -> None:
        self.addresses = (f"/ip4/127.0.0.1/tcp/{4101 + number}/p2p/{PEERS[number]}",)
        self.found: list[str] = []

    async def hear(self, addresses: list[str]) -> None:
        self.found += addresses


@pytest.mark.spec("FND-15")
async def test_neighbours_find_each_other(monkeypatch):
    monkeypatch.setattr(mdns, "TYPE", "_tslg-test._udp.local.")
    one, two = Neighbour(0), Neighbour(1)
    async with background() as nursery:
        for neighbour in (one, two):
            nursery.start_soon(look_around, neighbour, neighbour.hear)
        with trio.fail_after(20):
            while not (one.found and two.found):
                await trio.sleep(0.05)
    assert set(one.found) == set(two.addresses) and set(two.found) == set(one.addresses)


@pytest.mark.spec("FND-15")
async def test_nodes_on_one_network_get_into_contact(federation, monkeypatch):
    monkeypatch.setattr(mdns, "TYPE", "_tslg-nodes._udp.local.")
    settings = {"mdns": True, "discovery": False}
    async with federation.node("one", **settings) as one, federation.node("two", **settings) as two:
        with trio.fail_after(20):
            while one.network.peers() != (two.network.peer_id,):
                await trio.sleep(0.05)
        assert {str(source) for known in one.finding.finder.book for source in known.addresses.values()} <= {
            "mdns",
            "met",
        }


def said(*values: bytes) -> ServiceInfo:
    text = b"".join(bytes([len(value)]) + value for value in values)
    return ServiceInfo(TYPE, f"x.{TYPE}", properties=text)


@pytest.mark.spec("FND-15")
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"dnsaddr",
        b"dnsaddr=",
        b"dnsaddr=\xff\xfe",
        b"dnsaddr=nonsense",
        b"other=" + Neighbour(0).addresses[0].encode(),
        b"dnsaddr=/ip4/127.0.0.1/tcp/1/p2p/" + PEERS[0].encode() + b"/p2p-circuit",
    ],
)
def test_what_is_no_address_is_passed_over(value):
    assert mdns._addresses(said(value)) == []


def test_a_neighbour_has_few_addresses():
    many = [b"dnsaddr%d=/ip4/127.0.0.1/tcp/%d/p2p/%s" % (n, n + 1, PEERS[0].encode()) for n in range(30)]
    assert len(mdns._addresses(said(*many))) == ADDRESSES


@pytest.mark.parametrize("name", ["", "x", "x" * 300, "x.y.z", f"\x00.{TYPE}", f"{'x' * 70}.{TYPE}"])
def test_whatever_a_neighbour_calls_itself_it_ends_nothing(name, monkeypatch):
    monkeypatch.setattr(mdns, "_LOOKUP_MS", 10)
    zeroconf = Zeroconf(interfaces=["127.0.0.1"])
    try:
        assert mdns._ask(zeroconf, name) == []
    finally:
        zeroconf.close()


async def test_a_network_that_cannot_be_searched_is_a_line_in_the_log(caplog):
    nowhere = Neighbour(0)
    nowhere.addresses = (f"/ip4/192.0.2.1/tcp/4101/p2p/{PEERS[0]}",)
    await look_around(nowhere, nowhere.hear)
    assert "cannot be searched" in caplog.text
