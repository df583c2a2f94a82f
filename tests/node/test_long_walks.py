"""Ancestries that are larger than one reply, or than what its last chunk can say, arrive whole all the same."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replicas import Scene, address, size, wrap

from tslg.node.auditor import Auditor
from tslg.node.net.errors import ServerError
from tslg.node.sources import StoreSource
from tslg.protocol.cid import compute
from tslg.protocol.exchange import WALK, ProofsReply, WalkEnd, WalkRequest, read_walk_chunk, records_chunk
from tslg.protocol.limits import DEFAULT
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof, PrunedProof
from tslg.protocol.pushing import PUSH, CloseRequest, read_push_request

SMALL = replace(DEFAULT, reply_bytes=250_000, chunk_bytes=40_000)


@pytest.fixture
def scene(tmp_path) -> Scene:
    return Scene(tmp_path)


def counting(node, protocol):
    seen = []

    def around(handler):
        def answer(request, peer):
            seen.append(request)
            return handler(request, peer)

        return answer

    wrap(node, protocol, around)
    return seen


def auditor(scene, node, limits=DEFAULT):
    return Auditor(node.network, scene.federation, clock=scene.clock, limits=limits)


@pytest.mark.spec("WIR-10", "WIR-15")
@pytest.mark.parametrize("log", ["visited", "full"])
async def test_an_ancestry_larger_than_a_reply_arrives_whole_in_several(scene, log):
    async with scene.node("leader", SMALL) as leader, scene.node("asker", SMALL) as asker:
        agent = scene.agent(leader, "a")
        last = scene.grow(agent, 5)
        for _ in range(500):
            last = agent.state({}, evidence=last)
        seen = counting(leader, WALK)
        report = await auditor(scene, asker, SMALL).audit(last.id, [address("leader")], log=log)
        assert report.verdict == "valid", (report.undetermined[:3], report.findings[:3])
        assert len(report.records) > 500 and 2 <= len(seen) <= 6


@pytest.mark.spec("WIR-15")
async def test_proofs_that_do_not_fit_into_the_last_chunk_are_asked_for(scene):
    async with scene.node("leader", SMALL) as leader, scene.node("asker", SMALL) as asker:
        agent = scene.agent(leader, "a")
        picked = []
        for _ in range(200):
            picked.append(scene.grow(agent, 2))
        last = agent.state({}, evidence=picked)
        report = await auditor(scene, asker, SMALL).audit(last.id, [address("leader")])
        assert report.verdict == "valid", (report.undetermined[:3], report.findings[:3])


@pytest.mark.spec("WIR-15")
async def test_an_own_log_larger_than_a_reply_is_fetched_back_whole(scene):
    async with scene.node("leader", SMALL) as leader:
        agent = scene.agent(leader, "a")
    shutil.copytree(scene.path / "leader", scene.path / "old")
    async with scene.node("leader", SMALL) as leader, scene.node("old", SMALL) as old:
        last = scene.grow(scene.agent(leader, "a"), 600)
        caught = await old.catch_up(scene.agent(old, "a"), [address("leader")])
        assert caught.added == 600 and size(old, agent.id) == last.seq + 1


async def test_a_record_cited_with_an_ancestry_larger_than_a_reply_comes_with_all_of_it(scene):
    async with (
        scene.node("one", SMALL) as one,
        scene.node("two", SMALL) as two,
        scene.node("replica", replace(SMALL, replica_window=50)) as replica,
    ):
        a, b = scene.agent(one, "a"), scene.agent(two, "b")
        last = scene.grow(a, 5)
        for _ in range(300):
            last = a.state({}, evidence=last)
        await two.fetch(last, [address("one")])
        target = scene.grow(b, 3, last)
        seen = counting(two, PUSH)
        report = await replica.replicate([b.id], [address("two")])
        assert report.exit_code == 0 and report.missing == (), report.to_text()
        assert sum(isinstance(read_push_request(one), CloseRequest) for one in seen) > 1
        audit = await auditor(scene, one, SMALL).audit(target.id, [address("replica")])
        assert audit.verdict == "valid", audit.undetermined[:3]


@given(st.integers(600, 20_000), st.lists(st.integers(0, 60), max_size=6))
def test_what_ends_a_walk_fits_into_a_chunk(most, counts):
    link, digest = compute(b"a"), bytes(32)
    missing, heads, inclusion, consistency, notes, pruned = (*counts, *[0] * 6)[:6]
    end = WalkEnd(
        ((link, "absent"),) * missing,
        (HeadClaim(link, link, 2**53 - 1, digest),) * heads,
        (InclusionProof(link, 2**53 - 1, (digest,) * 40),) * inclusion,
        (ConsistencyProof(link, 2**52, 2**53 - 1, (digest,) * 64),) * consistency,
        ((bytes(900), bytes(100), bytes(300)),) * (notes % 7),
        (bytes(500),) * notes,
        (PrunedProof(link, link, 2**53 - 1, (digest,) * 30),) * pruned,
    )
    assert len(end.within(most).to_bytes()) <= most
    assert end.within(2 * len(end.to_bytes()) + 8_192) == end, "what fits is not left out"
    reply = ProofsReply(end.inclusion, end.consistency)
    assert len(reply.within(most).to_bytes()) <= most


@pytest.mark.spec("WIR-16")
async def test_an_answer_that_takes_long_to_make_shows_signs_of_life(scene, monkeypatch):
    hasty = replace(DEFAULT, progress_timeout_ms=600)
    async with scene.node("leader", hasty) as leader, scene.node("asker", hasty) as asker:
        agent = scene.agent(leader, "a")
        last = scene.grow(agent, 5)
        slow = StoreSource.newest

        def newest(self, agent):
            time.sleep(0.5)
            return slow(self, agent)

        monkeypatch.setattr(StoreSource, "newest", newest)
        chunks = []
        async with asker.network.request(address("leader"), WALK, WalkRequest((last.id,)).to_bytes()) as reply:
            async for chunk in reply:
                chunks.append(chunk)
        assert records_chunk(()) in chunks and isinstance(read_walk_chunk(chunks[-1]), WalkEnd)


async def test_what_goes_wrong_while_an_answer_is_made_ends_that_answer_alone(scene, monkeypatch):
    async with scene.node("leader") as leader, scene.node("asker") as asker:
        last = scene.grow(scene.agent(leader, "a"), 5)
        monkeypatch.setattr(StoreSource, "newest", lambda self, agent: 1 // 0)
        with pytest.raises(ServerError):
            async with asker.network.request(address("leader"), WALK, WalkRequest((last.id,)).to_bytes()) as reply:
                async for _ in reply:
                    pass
