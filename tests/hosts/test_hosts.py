"""Four hosts of three companies under load, on bad lines, cut apart and killed: everything arrives, nothing is lost.

On loopback by default. `pytest -m slow tests/hosts` runs the same between network namespaces (root, /dev/net/tun).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fleet import Process, converge, open_federation
from relay import Relay
from router import Router

NAMES = ("planner", "builder", "checker", "archive")
DELAY, LOSS = 0.080, 0.02
CONVERGED = 90
"""Seconds within which everything is everywhere once the lines are whole; a bound against hanging, no measurement."""
Links = Relay | Router


@pytest.fixture(params=[pytest.param(Relay, id="loopback"), pytest.param(Router, id="hosts", marks=pytest.mark.slow)])
def links(request: pytest.FixtureRequest) -> Iterator[Links]:
    with request.param(NAMES, seed=7) as made:
        yield made


@pytest.fixture
def hosts(links: Links, tmp_path: Path) -> Iterator[dict[str, Process]]:
    """Start four hosts that know one of them, and keep every log of their federation."""
    federation = open_federation(tmp_path / "federation.sealed")
    common = {"discovery": True, "gossip": True, "replicate": ["federation"]}
    with ExitStack() as stack:
        found: dict[str, Process] = {}
        for name in NAMES:
            bootstrap = [found[NAMES[0]].address] if found else []
            config = {**common, "bootstrap": bootstrap}
            host = found[name] = Process(name, links.place(name), tmp_path / name, federation, config)
            stack.callback(host.stop)
            host.start()
        yield found


def everybody(hosts: dict[str, Process], do: Callable[[Process], Any]) -> list[Any]:
    return [do(host) for host in hosts.values()]


def audit(hosts: dict[str, Process], reader: str, author: str) -> dict[str, Any]:
    """Audit an author's newest acknowledged record from another host, over the network alone."""
    record = hosts[author].acked[max(hosts[author].acked)]
    peers = [host.address for name, host in hosts.items() if name != reader]
    return hosts[reader].ask("audit", "audit", 120, record=record, peers=peers)


def test_bad_lines_a_partition_and_a_killed_host(links: Links, hosts: dict[str, Process]) -> None:
    slow = isinstance(links, Router)
    links.conditions.delay = DELAY / 2
    everybody(hosts, lambda host: host.tell("append", count=20, pause=0.05))
    converge(list(hosts.values()), CONVERGED)
    undisturbed = audit(hosts, "checker", "planner")
    assert undisturbed["audit"] == "valid", undisturbed

    links.conditions.loss = LOSS
    everybody(hosts, lambda host: host.tell("append", count=100, pause=0.05))
    time.sleep(2)
    links.conditions.partition(NAMES[:2], NAMES[2:])
    time.sleep(30 if slow else 3)
    split = [host.logs() for host in hosts.values()]
    assert split[0] != split[2], "nothing was appended while they were apart"
    hosts["builder"].kill()
    links.conditions.heal()
    time.sleep(1)
    hosts["builder"].start()
    hosts["builder"].tell("append", count=20, pause=0.05)

    everybody(hosts, lambda host: host.wait_for(lambda: "appended" in host.said[-1] or _done(host), 60, "to finish"))
    held = converge(list(hosts.values()), CONVERGED)
    for host in hosts.values():
        size, _ = held[host.last("agent")]
        assert size > max(host.acked), f"{host.name} lost an acknowledged record"
    disturbed = audit(hosts, "checker", "builder")
    assert disturbed["audit"] == "valid", disturbed


def _done(host: Process) -> bool:
    return sum("appended" in line for line in host.said) >= 2
