"""Scenarios that tests share."""

from __future__ import annotations

import pytest

QUIET = """
[scenario]
name = "quiet"
hours = 0.006
agents = 5
[federation]
anchors = 1
threshold = 1
[network]
latency = { kind = "lognormal", ms = 20, sigma = 0.5 }
loss = 0.02
duplicate = 0.05
reorder = 0.1
replay = 0.05
[[groups]]
name = "agents"
share = 4
record_s = 4
audit_s = 4
delegate_s = 8
follow = 1
[[groups]]
name = "forgers"
behaviour = "forger"
every_s = 5
[[faults]]
kind = "crash"
at_s = 8
share = 0.5
"""


@pytest.fixture(scope="session")
def quiet() -> str:
    """A scenario of twenty seconds."""
    return QUIET
