"""Four hosts of one federation under load, on bad lines, cut apart and killed: everything arrives, nothing is lost.

On loopback by default. `python tests/hosts/run.py` does the same between network namespaces, and measures.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from relay import Relay
from router import Router
from scenario import NAMES, check, play, started
from soak import grown, live


@pytest.mark.slow
def test_bad_lines_a_partition_and_a_killed_host(tmp_path: Path) -> None:
    with Relay(NAMES, seed=7) as links, started(links, tmp_path) as hosts:
        check(play(links, hosts, parted_seconds=3))


@pytest.mark.slow
def test_the_same_between_network_namespaces(tmp_path: Path) -> None:
    with Router(NAMES, seed=7) as links, started(links, tmp_path) as hosts:
        check(play(links, hosts, parted_seconds=30))


@pytest.mark.slow
def test_six_hours_of_load_and_restarts_leave_nothing_behind(tmp_path: Path) -> None:
    assert grown(live(tmp_path, hours=6)) == []
