"""Nodes that hold logs as they grow: live, over restarts, told by subscription, by hint and by offer."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trio
from replicas import Scene, address, ranges, reach, rewriting, size, wrap

from tslg.node.net.errors import Busy, InvalidRequest, NotAvailable
from tslg.protocol.cid import to_text
from tslg.protocol.exchange import LOG, records_chunk
from tslg.protocol.limits import DEFAULT
from tslg.protocol.proofs import HeadClaim
from tslg.protocol.pushing import (
    PUSH,
    Compared,
    CompareRequest,
    Heads,
    More,
    OfferRequest,
    Stand,
    SubscribeRequest,
    Taken,
    read_push_request,
    read_subscription_chunk,
)
from tslg.protocol.record import parse


@pytest.fixture
def scene(tmp_path) -> Scene:
    return Scene(tmp_path)


async def ask(node, peer, request):
    """Return the chunks of a reply."""
    async with node.network.request(peer, PUSH, request.to_bytes()) as chunks:
        return [chunk async for chunk in chunks]


@pytest.mark.spec("RPL-10")
async def test_a_hot_replica_holds_what_is_appended_at_once_and_over_restarts(scene):
    async with scene.node("leader") as leader:
        agent = scene.agent(leader, "a")
        settings = {"replicate": [to_text(agent.id)], "replicate_from": [address("leader")]}
        scene.grow(agent, 200)
        async with scene.node("replica", **settings) as replica:
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id))
            seen = ranges(leader)
            for _ in range(20):
                await trio.to_thread.run_sync(scene.grow, agent, 3)
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id))
            assert seen == [], "what is new is pushed, not asked for"
            (federation, log) = await replica.replication.status()
            assert log.state == "complete" and federation.agent == scene.federation
        await trio.to_thread.run_sync(scene.grow, agent, 30)
        async with scene.node("replica", **settings) as replica:
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id))
            await trio.to_thread.run_sync(scene.grow, agent, 3)
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id))


async def test_a_leader_that_was_away_is_followed_again(scene, autojump_clock):
    autojump_clock.autojump_threshold = 0.1
    async with scene.node("leader") as leader:
        agent = scene.agent(leader, "a")
        settings = {"replicate": [to_text(agent.id)], "replicate_from": [address("leader")]}
        async with scene.node("replica", **settings) as replica:
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id), 600, 5)
            scene.hub.faults("leader").down = True
            scene.grow(agent, 10)
            await trio.sleep(60)
            assert size(replica, agent.id) < size(leader, agent.id)
            scene.hub.faults("leader").down = False
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id), 600, 5)


async def test_every_log_of_the_federation_is_held_the_new_ones_too(scene):
    async with scene.node("leader") as leader:
        first = scene.agent(leader, "a")
        async with scene.node("replica", replicate=["federation"], replicate_from=[address("leader")]) as replica:
            await reach(lambda: size(replica, first.id) == size(leader, first.id))
            second = await trio.to_thread.run_sync(scene.agent, leader, "b")
            await trio.to_thread.run_sync(scene.grow, second, 5)
            await reach(lambda: size(replica, second.id) == size(leader, second.id))
            async with scene.node("third", replicate=["federation"], replicate_from=[address("replica")]) as third:
                await reach(lambda: size(third, second.id) == size(leader, second.id))
                await trio.to_thread.run_sync(scene.grow, first, 5)
                await reach(lambda: size(third, first.id) == size(leader, first.id))


@pytest.mark.spec("RPL-13")
async def test_a_replica_that_nobody_announces_to_is_told_by_offers(scene):
    async with scene.node("leader", offer_to=[address("replica")]) as leader:
        agent = scene.agent(leader, "a")
        async with scene.node("replica", replicate=[to_text(agent.id)]) as replica:
            await trio.to_thread.run_sync(scene.grow, agent, 5)
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id))


async def test_a_hint_makes_a_stranger_worth_asking(scene):
    async with scene.node("leader") as leader:
        agent = scene.agent(leader, "a")
        async with scene.node("replica", replicate=[to_text(agent.id)]) as replica:
            assert replica.replication.hint(agent.id, 99, address("leader"))
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id))
            other = scene.agent(leader, "b")
            assert not replica.replication.hint(other.id, 1, address("leader")), "it is not followed"


async def test_a_log_is_followed_at_two_leaders_and_one_may_go(scene):
    async with scene.node("leader") as leader:
        agent = scene.agent(leader, "a")
        settings = {"replicate": [to_text(agent.id)]}
        async with scene.node("other", **settings, replicate_from=[address("leader")]) as other:
            two = [address("leader"), address("other")]
            async with scene.node("replica", **settings, replicate_from=two) as replica:
                await reach(lambda: size(replica, agent.id) == size(leader, agent.id))
                scene.hub.faults("other").down = True
                await trio.to_thread.run_sync(scene.grow, agent, 20)
                await reach(lambda: size(replica, agent.id) == size(leader, agent.id))
                assert size(other, agent.id) < size(leader, agent.id)


@pytest.mark.spec("RPL-20")
@pytest.mark.parametrize("how", ["spoiled", "foreign", "endless"])
async def test_a_leader_that_pushes_anything_but_the_log_is_cut_off(scene, how):
    async with AsyncExitStack() as stack:
        leader = await stack.enter_async_context(scene.node("leader"))
        agent = scene.agent(leader, "a")
        settings = {"replicate": [to_text(agent.id)]}
        liar = await stack.enter_async_context(scene.node("liar", **settings, replicate_from=[address("leader")]))
        scene.grow(agent, 50)
        other = scene.agent(liar, "other")
        await reach(lambda: size(liar, agent.id) == size(leader, agent.id))

        def spoiled(pairs):
            return [(data, seal[:-1] + bytes([seal[-1] ^ 1])) for data, seal, *_ in pairs]

        def foreign(pairs):
            return [(entry.data, entry.seal) for _, entry in liar.home.store.log_range(other.id, 0, 1)]

        def endless(handler):
            async def answer(request, peer):
                while True:
                    yield records_chunk([(bytes(60_000), bytes(60_000))] * 8)

            return answer

        around = endless if how == "endless" else rewriting(spoiled if how == "spoiled" else foreign)
        wrap(liar, PUSH, around)
        wrap(liar, LOG, around)
        peers = [address("liar"), address("leader")]
        async with scene.node("replica", **settings, replicate_from=peers) as replica:
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id))
            await reach(lambda: leader.replication.leader._subscribed == 2)
            await trio.to_thread.run_sync(scene.grow, agent, 5)
            await reach(lambda: "liar" in replica.network._cut_off)
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id))
            assert "leader" not in replica.network._cut_off


# --- what leaders answer -------------------------------------------------------------------------------------------


@pytest.mark.spec("RPL-4", "RPL-5")
async def test_a_comparison_tells_only_of_logs_that_differ(scene):
    async with scene.node("leader") as leader, scene.node("asker") as asker:
        a, b = scene.agent(leader, "a"), scene.agent(leader, "b")
        await asker.replicate(None, [address("leader")])
        stands = {one.owner: one for one in map(asker.home.store.log_state, (a.id, b.id, scene.federation))}
        scene.grow(a, 30)
        logs = tuple(Stand(owner, one.size, one.peaks.root()) for owner, one in stands.items())
        (chunk,) = await ask(asker, address("leader"), CompareRequest(logs, everything=True))
        (difference,) = Compared.from_bytes(chunk).logs
        assert difference.head.agent == a.id and difference.head.size == size(leader, a.id)
        assert (difference.proof.old_size, difference.proof.size) == (stands[a.id].size, difference.head.size - 1)
        (chunk,) = await ask(asker, address("leader"), CompareRequest((), (b.id,)))
        (difference,) = Compared.from_bytes(chunk).logs
        assert difference.head.agent == b.id and difference.proof is None


@pytest.mark.spec("RPL-4")
async def test_a_long_comparison_comes_in_pages(scene):
    few = replace(DEFAULT, walk_roots=2)
    async with scene.node("leader", few) as leader, scene.node("asker") as asker:
        for name in "abcde":
            scene.agent(leader, name)
        found, after, pages = [], None, 0
        while True:
            (chunk,) = await ask(asker, address("leader"), CompareRequest((), everything=True, after=after))
            compared = Compared.from_bytes(chunk)
            found += [one.head.agent for one in compared.logs]
            pages += 1
            if (after := compared.after) is None:
                break
        assert len(found) == len(set(found)) == 6 and pages == 3
        report = await asker.replicate(None, [address("leader")])
        assert report.exit_code == 0 and len(report.logs) == 6


@pytest.mark.spec("RPL-8", "RPL-9", "RPL-11")
async def test_a_subscription_brings_the_federation_first_then_logs_in_order(scene):
    async with scene.node("leader") as leader, scene.node("asker") as asker:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 600)
        request = SubscribeRequest(((agent.id, 7),))
        parts = [read_subscription_chunk(chunk) for chunk in await ask(asker, address("leader"), request)]
        assert parts[-1] == More(False) and isinstance(parts[-2], Heads)
        assert {(head.agent, head.size) for head in parts[-2].heads} == {
            (agent.id, size(leader, agent.id)),
            (scene.federation, 1),
        }
        got = [parse(pair[0]) for part in parts if isinstance(part, list) for pair in part]
        assert got[0].id == scene.federation
        assert [one.seq for one in got[1:]] == list(range(7, size(leader, agent.id)))


@pytest.mark.spec("RPL-11")
async def test_a_long_reply_ends_with_more_and_the_next_one_goes_on(scene):
    small = replace(DEFAULT, reply_bytes=150_000, chunk_bytes=30_000, replica_window=50)
    async with scene.node("leader", small) as leader:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 400)
        async with scene.node("asker") as asker:
            chunks = await ask(asker, address("leader"), SubscribeRequest(((agent.id, 0),)))
            assert read_subscription_chunk(chunks[-1]) == More(True)
        settings = {"replicate": [to_text(agent.id)], "replicate_from": [address("leader")]}
        async with scene.node("replica", small, **settings) as replica:
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id))
            for _ in range(30):
                await trio.to_thread.run_sync(scene.grow, agent, 20)
            await reach(lambda: size(replica, agent.id) == size(leader, agent.id))


@pytest.mark.spec("RPL-10")
async def test_a_silent_subscription_shows_signs_of_life_in_time(scene, autojump_clock):
    autojump_clock.autojump_threshold = 0.1
    async with scene.node("leader") as leader, scene.node("asker") as asker:
        agent = scene.agent(leader, "a")
        request = SubscribeRequest(((agent.id, size(leader, agent.id)), (scene.federation, 1)), live=True)
        started = trio.current_time()
        signs = 0
        async with asker.network.request(address("leader"), PUSH, request.to_bytes()) as chunks:
            async for chunk in chunks:
                signs += read_subscription_chunk(chunk) == Heads(())
                if signs == 5:
                    break
        assert trio.current_time() - started < 5 * DEFAULT.progress_timeout_ms / 1000


async def test_too_many_subscriptions_are_turned_away_and_places_become_free(scene):
    few = replace(DEFAULT, subscriptions=2)
    async with scene.node("leader", few) as leader, scene.node("asker") as asker:
        agent = scene.agent(leader, "a")
        request = SubscribeRequest(((agent.id, 0),), live=True)
        async with trio.open_nursery() as nursery:

            async def hold(task_status=trio.TASK_STATUS_IGNORED):
                async with asker.network.request(address("leader"), PUSH, request.to_bytes()) as chunks:
                    await chunks.__anext__()
                    task_status.started()
                    await trio.sleep_forever()

            for _ in range(2):
                await nursery.start(hold)
            with pytest.raises(Busy):
                await ask(asker, address("leader"), request)
            nursery.cancel_scope.cancel()
        await reach(lambda: leader.replication.leader._subscribed == 0)
        with pytest.raises(NotAvailable):
            await ask(asker, address("leader"), SubscribeRequest(((scene.agent(asker, "own").id, 0),)))


@pytest.mark.spec("RPL-13")
async def test_an_offer_of_what_is_not_followed_is_not_taken(scene):
    async with scene.node("leader") as leader, scene.node("asker") as asker:
        agent = scene.agent(asker, "a")
        state = asker.home.store.log_state(agent.id)
        head = HeadClaim(agent.id, state.last, state.size, state.peaks.root())
        (chunk,) = await ask(asker, address("leader"), OfferRequest((head,)))
        assert Taken.from_bytes(chunk) == Taken(0)
        assert leader.home.store.log_state(agent.id) is None


async def test_anything_else_is_an_invalid_request(scene):
    async with scene.node("leader"), scene.node("asker") as asker:
        with pytest.raises(InvalidRequest):
            async with asker.network.request(address("leader"), PUSH, b"garbage") as chunks:
                await chunks.__anext__()
    assert read_push_request(SubscribeRequest(()).to_bytes()) == SubscribeRequest(())
