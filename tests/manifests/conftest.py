"""Deterministic randomness and ready federations for the tests of manifests."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest

from tslg.manifests import genesis, text
from tslg.manifests.genesis import FoundedFederation

NOW = 1_700_000_000_000


def source(seed: str) -> Callable[[int], bytes]:
    """Return a source of bytes that the seed alone determines."""
    count = 0

    def take(size: int) -> bytes:
        nonlocal count
        count += 1
        return sha256(f"{seed}/{count}".encode()).digest()[:size]

    return take


@pytest.fixture
def randomness() -> Callable[[str], Callable[[int], bytes]]:
    return source


@pytest.fixture
def now() -> int:
    return NOW


@pytest.fixture(params=["threshold", "multisig"])
def federation(request: pytest.FixtureRequest) -> FoundedFederation:
    """A federation of three anchors, two of whom sign, under each scheme."""
    toml = f"""
[federation]
name = "Test"
[anchors]
scheme = "{request.param}"
threshold = 2
members = ["a", "b", "c"]
[envelope]
"""
    return genesis.found_federation(text.parse(toml), random_bytes=source(request.param), time_ms=NOW)
