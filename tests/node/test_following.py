"""Nodes that learn from each other what their federation recorded, and are not shown it as it once was."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from world import NOW, ONE, Author, World

from tslg.manifests.signing import encode_sealed
from tslg.node.adopting import keep
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running as up
from tslg.node.node import Node
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.errors import Refusal, UsageError
from tslg.protocol.exchange import LOG, WALK, records_chunk

TOML = ONE.format(attested=0)


class Anchors(World):
    """The anchors of a federation, who publish its log record by record."""

    def sealed(self, *seqs: int):
        return [(self.anchors.log[n], self.seals[self.anchors.log[n].id]) for n in seqs]


@pytest.fixture
def anchors() -> Anchors:
    return Anchors(TOML, "following")


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
def running(tmp_path, anchors, hub):
    file = tmp_path / "root.sealed"
    file.write_bytes(encode_sealed(anchors.anchors.log[0].data, anchors.seals[anchors.federation]))
    ticks = iter(range(NOW + 100_000, NOW + 900_000))

    @asynccontextmanager
    async def run(name: str):
        hub.members.pop(name, None)
        network = hub.network(name)
        async with Node.open(tmp_path / name, federation=file, network=network, clock=lambda: next(ticks)) as node:
            yield node

    return run


def grown(anchors: Anchors) -> None:
    """Let the anchors record a policy, a peer set and the version that names it, then another policy."""
    anchors.add(anchors.anchors, "policy")
    peers = anchors.add(anchors.anchors, "peer-set", {"members": []})
    anchors.amend(cross_agent={"kinds": ["observation"], "peers": peers.id})
    anchors.add(anchors.anchors, "policy")


async def test_a_node_learns_of_newer_versions_when_it_fetches(anchors, running):
    grown(anchors)
    async with running("a") as a, running("b") as b:
        agent, other = await a.agent("a"), await b.agent("b")
        before = await agent.observe("sensor", {"n": 1})
        assert [item.kind for item in a.home.follow_federation(anchors.sealed(0, 1, 2, 3, 4))] == [
            "policy",
            "peer-set",
            "manifest-amendment",
            "policy",
        ]
        assert a.home.manifest.version == 2 and b.home.manifest.version == 1
        after = await agent.observe("sensor", {"n": 2})
        assert (before.manifest, after.manifest) == (anchors.federation, anchors.anchors.log[3].id)
        report = await b.fetch(after, a.addresses)
        assert report.verdict == "valid" and report.manifest.version == 2
        assert b.home.manifest.version == 2 and len(b.home.federation_log()) == 5
        with pytest.raises(Refusal, match="not in the peer set"):
            await other.state({}, evidence=after)
        assert (await b.fetch(before, a.addresses)).verdict == "valid"
    async with running("b") as b:
        assert b.home.manifest.version == 2, "it is there after a restart"
        assert (await b.agent("b")).blocking.state({}).manifest == anchors.anchors.log[3].id


async def test_a_peer_that_shows_an_older_state_is_found_out(anchors, running):
    grown(anchors)
    async with running("a") as a, running("b") as b:
        target = await (await a.agent("a")).observe("sensor", {"n": 1})
        b.home.follow_federation(anchors.sealed(1, 2, 3, 4))
        report = await b.auditor().audit(target.id, a.addresses)
        assert report.verdict == "undetermined" and report.findings == ()
        assert [item.reason.split(":")[0] for item in report.undetermined] == ["frozen"]
        a.home.follow_federation(anchors.sealed(1, 2))
        assert (await b.auditor().audit(target.id, a.addresses)).verdict == "undetermined"
        a.home.follow_federation(anchors.sealed(3, 4))
        report = await b.auditor().audit(target.id, a.addresses)
        assert report.verdict == "valid" and report.manifest.version == 2


async def test_a_peer_that_forks_the_federation_is_found_out(anchors, running):
    branch: Author = anchors.anchors.fork(1)
    grown(anchors)
    async with running("a") as a, running("b") as b:
        agent = await a.agent("a")
        other = anchors.make(branch, "policy", {"name": "other"}, manifest=anchors.federation)
        a.home.follow_federation([(other, anchors.seal(other, branch))])
        target = await agent.observe("sensor", {"n": 1})
        b.home.follow_federation(anchors.sealed(1))
        report = await b.auditor().audit(target.id, a.addresses)
        assert {finding.code for finding in report.findings} == {"TSLG-V-FORK"}
        with pytest.raises(Refusal, match="TSLG-A-FORK"):
            a.home.follow_federation(anchors.sealed(1))
        with pytest.raises(Refusal, match="TSLG-A-ENVELOPE"):
            a.home.follow_federation(anchors.sealed(3))


async def test_nobody_else_is_followed(anchors, running, hub):
    grown(anchors)
    stranger = Anchors(TOML, "stranger")
    grown(stranger)
    forged = [(record, stranger.seals[record.id]) for record in stranger.anchors.log[1:]]

    async def answer(request: bytes, peer: str):
        yield records_chunk([(record.data, seal) for record, seal in [*forged, *swapped]])

    swapped = [(record, anchors.seals[anchors.federation]) for record, _ in anchors.sealed(1, 2, 3)]
    hostile = hub.network("hostile")
    hostile.serve(LOG, answer)
    hostile.serve(WALK, answer)
    async with running("a") as a, running("b") as b:
        async with up(hostile):
            assert await b.follow([*hostile.addresses, "/memory/nobody/p2p/nobody"]) == []
            assert b.home.manifest.version == 1
            a.home.follow_federation(anchors.sealed(1, 2, 3))
            taken = await b.follow([*hostile.addresses, *a.addresses])
        assert [item.seq for item in taken] == [1, 2, 3] and b.home.manifest.version == 2
        with pytest.raises(UsageError, match="no record of this node's federation"):
            b.home.follow_federation(forged)


async def test_what_comes_without_what_is_between_is_kept_and_proved(anchors, running):
    grown(anchors)
    async with running("a") as a, running("b") as b:
        a.home.follow_federation(anchors.sealed(1, 2, 3, 4))
        target = await (await a.agent("a")).observe("sensor", {"n": 1})
        walked = await b.auditor().walk(target.id, a.addresses)
        keep(b.home.ledger, walked, source="peer", now_ms=NOW + 900_000)
        assert b.home.manifest.version == 1, "the policy at position 1 is missing"
        report = verify(StoreSource(b.home.store), target.id, anchors.federation, now_ms=NOW + 900_000)
        assert report.verdict == "valid", report.undetermined
        b.home.follow_federation(anchors.sealed(1, 2, 3, 4))
        assert b.home.manifest.version == 2
