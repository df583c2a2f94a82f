"""Everything that a node does with records, under every address scheme and hash."""

from __future__ import annotations

import pytest
import trio
from world import NOW, ONE, founded, source

from tslg.node.adopting import keep
from tslg.node.auditor import Auditor
from tslg.node.bundling import write_walked
from tslg.node.home import Home
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.node.node import Node
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.verifying import verify, walk
from tslg.protocol import bundle, cid
from tslg.protocol.cid import to_text

SCHEMES = {
    "flat": 'address = "flat"',
    "flat, blake3": 'address = "flat"\nhash = "blake3"',
    "merkle": 'address = "merkle"',
    "merkle, sha3": 'address = "merkle"\nhash = "sha3-256"',
    "hybrid": 'address = { hybrid = "blake3" }',
    "hybrid, long": 'hash = "sha2-512"\naddress = { hybrid = "blake2b-256" }',
}


@pytest.fixture(params=SCHEMES)
def made(request):
    return founded(ONE.format(attested=0).replace("[envelope]", f"[envelope]\n{SCHEMES[request.param]}"), "schemes")


@pytest.fixture
def home(made, tmp_path):
    ticks = iter(range(NOW, NOW + 10**6))
    joined = (made.manifest_record, made.seal)
    with Home.open(
        tmp_path / "home", federation=joined, clock=lambda: next(ticks), random_bytes=source("schemes")
    ) as opened:
        yield opened


@pytest.fixture
def target(home):
    """A decision on what another agent did under a delegation."""
    alpha, beta = home.agent("alpha"), home.agent("beta")
    grant = alpha.policy("grant", capabilities=["inspect"], limits={"files": 9})
    delegation = alpha.delegate(beta.id, {"do": "inspect"}, grant, expires=NOW + 10**9)
    seen = beta.observe("scanner", {"files": 3}, delegation=delegation)
    finding = beta.decide("scan", "clean", evidence=[seen], delegation=delegation, uses=["inspect"])
    for n in range(5):
        alpha.state({"n": n})
    return alpha.decide("release", "ship", evidence=[finding], reason="the scan is clean")


@pytest.mark.parametrize("how", [{}, {"signatures": "heads"}, {"log": "full"}, {"depth": 3}])
def test_walks(home, target, how):
    report = verify(StoreSource(home.store), target.id, home.federation, now_ms=home.clock(), **how)
    assert report.verdict == "valid" and report.findings == () and home.store.check() == []


def test_it_is_all_there_after_reopening(home, target, made, tmp_path):
    home.close()
    with Home.open(tmp_path / "home", clock=lambda: NOW + 10**6, random_bytes=source("again")) as again:
        assert again.ledger.context.record(target.id).body == target.body
        more = again.agent("alpha").act("notify", evidence=target)
        assert verify(StoreSource(again.store), more.id, again.federation, now_ms=NOW + 10**6).verdict == "valid"
        assert cid.hash_name(more.id) == made.manifest.envelope.ids


def test_bundles_carry_it_to_another_node(home, target, made, tmp_path):
    file = tmp_path / "x.car"
    with file.open("wb") as stream:
        write_walked(stream, walk(StoreSource(home.store), target.id, home.federation, now_ms=home.clock()))
    with file.open("rb") as stream:
        held = bundle.read(stream)
    assert held.targets == (target.id,)
    joined = (made.manifest_record, made.seal)
    with Home.open(tmp_path / "other", federation=joined, clock=home.clock, random_bytes=source("other")) as other:
        walked = walk(BundleSource(held), target.id, home.federation, now_ms=home.clock())
        assert walked.report.verdict == "valid"
        assert keep(other.ledger, walked, source="nobody", now_ms=home.clock()) > 5
        assert other.ledger.context.record(target.id).body == target.body
        cites = other.agent("gamma").observe("archive", {"kept": True}, evidence=target)
        assert verify(StoreSource(other.store), cites.id, home.federation, now_ms=home.clock()).verdict == "valid"


def test_ids_are_found_by_their_beginning(home, target):
    text = to_text(target.id)
    assert home.store.by_prefix(text) == home.store.by_prefix(text[:-8]) == [target.id]
    assert cid.from_text(text) == target.id and cid.short(target.id).startswith("b")


async def test_audits_over_a_network(home, target, made, tmp_path):
    federation, clock = home.federation, NOW + 10**6
    home.close()
    hub = MemoryHub()
    with trio.fail_after(20):
        async with Node.open(tmp_path / "home", network=hub.network("node"), clock=lambda: clock) as node:
            network = hub.network("auditor")
            async with running(network):
                auditor = Auditor(network, federation, clock=lambda: clock)
                report = await auditor.audit(target.id, node.addresses)
    assert report.verdict == "valid" and report.undisclosed == () and report.records[target.id].body == target.body
