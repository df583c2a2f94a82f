"""Which addresses heard from others are dialled: never one that lies deeper inside than the node stands."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tslg.node.net.reach import Scope, may_dial, narrowest, place_of, read_scope, scope_of, widest
from tslg.protocol.errors import UsageError

PEER = "12D3KooWAo2aWWG83shnAquCKWo5tqFAWLJdcmb83kUmqgFaNLVR"


def at(host: str, port: int = 4101) -> str:
    return f"/ip{6 if ':' in host else 4}/{host}/tcp/{port}/p2p/{PEER}"


@pytest.mark.parametrize(
    "host, scope",
    [
        ("127.0.0.1", Scope.LOOPBACK),
        ("127.9.9.9", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("::ffff:127.0.0.1", Scope.LOOPBACK),
        ("64:ff9b::7f00:1", Scope.LOOPBACK),
        ("2002:7f00:1::", Scope.LOOPBACK),
        ("10.0.0.5", Scope.PRIVATE),
        ("172.16.0.1", Scope.PRIVATE),
        ("192.168.1.1", Scope.PRIVATE),
        ("100.64.0.1", Scope.PRIVATE),
        ("169.254.169.254", Scope.PRIVATE),
        ("fe80::1", Scope.PRIVATE),
        ("fd00::1", Scope.PRIVATE),
        ("::ffff:169.254.169.254", Scope.PRIVATE),
        ("64:ff9b::a9fe:a9fe", Scope.PRIVATE),
        ("8.8.8.8", Scope.GLOBAL),
        ("2606:4700::1", Scope.GLOBAL),
        ("0.0.0.0", None),
        ("::", None),
        ("224.0.0.251", None),
        ("ff02::1", None),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", None),
        ("127.1", None),
        ("0x7f000001", None),
        ("2130706433", None),
        ("localhost", None),
    ],
)
def test_the_scope_of_an_address(host, scope):
    assert scope_of(host) is scope


@pytest.mark.spec("FND-7")
@pytest.mark.parametrize("own", Scope)
def test_nothing_deeper_inside_than_the_node_itself_is_dialled(own):
    hosts = {"127.0.0.1": Scope.LOOPBACK, "169.254.169.254": Scope.PRIVATE, "8.8.8.8": Scope.GLOBAL}
    assert {host for host in hosts if may_dial(at(host), own)} == {h for h, scope in hosts.items() if scope >= own}


@pytest.mark.spec("FND-7")
@given(st.ip_addresses(), st.sampled_from(Scope))
def test_what_only_a_router_or_this_machine_can_reach_is_no_strangers_to_give(ip, own):
    address = at(str(ip))
    if own is Scope.GLOBAL and may_dial(address, own):
        assert ip.is_global and not ip.is_multicast
    assert not may_dial(address, own) or may_dial(address, Scope.LOOPBACK)


@pytest.mark.spec("FND-6")
@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        PEER,
        f"/ip4/8.8.8.8/p2p/{PEER}",
        f"/ip4/8.8.8.8/udp/1/p2p/{PEER}",
        f"/ip4/8.8.8.8/tcp/0/p2p/{PEER}",
        f"/ip4/8.8.8.8/tcp/65536/p2p/{PEER}",
        f"/ip4/8.8.8.8/tcp/٣/p2p/{PEER}",
        "/ip4/8.8.8.8/tcp/1",
        "/ip4/8.8.8.8/tcp/1/p2p/",
        "/ip4/8.8.8.8/tcp/1/p2p/no peer",
        f"/ip4/8.8.8.8/tcp/1/p2p/{PEER}/p2p-circuit",
        f"/ip4/8.8.8.8/tcp/1/ip4/127.0.0.1/tcp/2/p2p/{PEER}",
        f"/ip6/8.8.8.8/tcp/1/p2p/{PEER}",
        f"/ip4/::1/tcp/1/p2p/{PEER}",
        f"/dnsaddr/example.com/tcp/1/p2p/{PEER}",
        f"/dns4/exa mple.com/tcp/1/p2p/{PEER}",
        f"/dns4/{'a' * 64}.com/tcp/1/p2p/{PEER}",
        f"/unix/run/docker.sock/tcp/1/p2p/{PEER}",
        f"/ip4/8.8.8.8/tcp/1/p2p/{'1' * 600}",
    ],
)
def test_addresses_of_another_form_are_not_taken_from_others(address):
    assert place_of(address) is None
    assert not may_dial(address, Scope.LOOPBACK)


def test_a_name_may_be_looked_up():
    address = f"/dns4/node.example.com/tcp/4101/p2p/{PEER}"
    assert may_dial(address, Scope.GLOBAL)
    assert place_of(address).families == ("ip4",) and place_of(address).scope is None


def test_the_scope_of_a_node_and_of_what_somebody_asks():
    inside, own = at("10.0.0.1"), at("127.0.0.1")
    assert widest([own, inside]) is Scope.PRIVATE and narrowest([own, inside]) is Scope.LOOPBACK
    assert widest([]) is narrowest([]) is Scope.GLOBAL
    assert widest(["/memory/a/p2p/a"]) is Scope.GLOBAL
    assert read_scope("private") is Scope.PRIVATE and read_scope("") is None
    with pytest.raises(UsageError):
        read_scope("everywhere")


@given(st.text(max_size=80))
def test_no_text_breaks_the_reader(text):
    for address in (text, f"/ip4/{text}/tcp/1/p2p/{PEER}", f"/dns4/{text}/tcp/1/p2p/{PEER}"):
        place = place_of(address)
        assert place is None or place.kind.startswith("dns") or ipaddress.ip_address(place.host)
