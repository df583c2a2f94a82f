"""A node's directory whose randomness and clock are given, in a federation whose anchors are at hand."""

from __future__ import annotations

from world import NOW, source

from tslg.manifests import genesis as geneses
from tslg.manifests import signing, text
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify


def opened(path, toml: str | None = None, seed="home", clock=lambda: NOW, **how):
    """Open a directory; a new one in the federation of a text, whose anchor is returned by `anchor`."""
    if toml is not None:
        founded = geneses.found_federation(text.parse(toml), random_bytes=source("federation"), time_ms=NOW)
        how["federation"] = (founded.manifest_record, founded.seal)
    return Home.open(path, clock=clock, random_bytes=source(seed), **how)


def anchor(toml: str):
    return geneses.found_federation(text.parse(toml), random_bytes=source("federation"), time_ms=NOW).anchor_keys


def verdict(home, record, **how):
    return verify(StoreSource(home.store), record.id, home.federation, now_ms=NOW, **how).verdict


def sealed_by_anchors(request, toml):
    """Carry a request to the anchors and back, as files do."""
    read = signing.decode_request(signing.encode_request(request), now_ms=NOW)
    return read.record, geneses.sign_and_combine(read, anchor(toml))
