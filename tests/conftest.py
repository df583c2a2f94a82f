"""What all tests share: the interpreter as users have it, and the modules of tests/support."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

_limit = sys.getrecursionlimit()
# The reference library raises the recursion limit when it is imported; no user's process runs like that.
import py_ecc  # noqa: E402, F401

sys.setrecursionlimit(_limit)

# A shell that starts the tests in the background has them ignore SIGINT, and so would every program that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster():
    """A real PostgreSQL server, started when the first test asks for it. Where none is installed, that test fails."""
    from tslg.node.bench.cluster import Cluster

    with Cluster() as made:
        yield made


@pytest.fixture
def place(cluster):
    """A schema of that server for one test."""
    from clusters import fresh_place

    with fresh_place(cluster) as made:
        yield made
