"""An audit consumer with a replica of its own: what is recorded arrives, over restarts, and no other history does."""

from __future__ import annotations

import shutil
from contextlib import aclosing

import pytest
import trio
from replicas import Scene, address, reach
from steps import step

from tslg.node.sources import StoreSource
from tslg.node.streaming.feed import Feed
from tslg.node.streaming.following import batches
from tslg.node.streaming.observing import observe_logs
from tslg.node.verifying import verify
from tslg.protocol.cid import to_text


@pytest.fixture
def scene(tmp_path) -> Scene:
    return Scene(tmp_path)


async def until(node, feed, count):
    """Read a feed live until it brought so many records; return their ids."""
    found = []
    with trio.fail_after(20):
        async with aclosing(batches(feed, node.home.ledger.growth, live=True)) as read:
            async for batch in read:
                found += [item.record.id for item in batch.items]
                if len(found) >= count:
                    return found


async def test_steps_arrive_as_they_are_recorded_and_none_of_a_rewritten_history(scene):
    async with scene.node("producer") as producer:
        agent = scene.agent(producer, "a")
        first = [step(agent, n).id for n in range(3)]
    shutil.copytree(scene.path / "producer", scene.path / "other")
    settings = {"replicate": [to_text(agent.id)], "replicate_from": [address("producer")]}
    async with scene.node("producer") as producer:
        agent = scene.agent(producer, "a")
        async with scene.node("auditor", **settings) as auditor:
            feed = Feed(auditor.home.store, kinds={"inference"})
            assert await until(auditor, feed, 3) == first
            second = [(await trio.to_thread.run_sync(step, agent, n)).id for n in (3, 4)]
            assert await until(auditor, feed, 2) == second
            cursor = feed.cursor
    # The producer comes back with another history behind the third step, a longer one.
    shutil.rmtree(scene.path / "producer")
    shutil.copytree(scene.path / "other", scene.path / "producer")
    async with scene.node("producer") as producer:
        agent = scene.agent(producer, "a")
        rewritten = [(await trio.to_thread.run_sync(step, agent, n)).id for n in range(10, 16)]
        async with scene.node("auditor", **settings) as auditor:
            feed = Feed(auditor.home.store, kinds={"inference"}, cursor=cursor)
            await reach(lambda: auditor.home.store.forks(agent.id))
            (fork,) = auditor.home.store.forks(agent.id)
            assert set(fork.records) & set(second) and set(fork.records) & set(rewritten)
            assert feed.read().items == () and not auditor.home.store.missing(second)
            with trio.fail_after(20):
                while {log.agent: log.state for log in await auditor.replication.status()}[agent.id] != "forked":
                    await trio.sleep(0.01)


@pytest.mark.spec("STR-12")
async def test_what_a_consumer_observed_convicts_who_rewrites_it(scene):
    async with scene.node("producer") as producer:
        agent = scene.agent(producer, "a")
        step(agent, 1)
    shutil.copytree(scene.path / "producer", scene.path / "other")
    async with scene.node("producer") as producer, scene.node("auditor") as auditor:
        agent, observer = scene.agent(producer, "a"), scene.agent(auditor, "observer")
        await trio.to_thread.run_sync(step, agent, 2)
        await auditor.replicate([agent.id], [address("producer")])
        owners = [agent.id, observer.id, auditor.federation]
        (seen,) = await trio.to_thread.run_sync(observe_logs, auditor.home, observer, owners)
        state = auditor.home.store.log_state(agent.id)
        assert seen.body["data"] == {"size": state.size, "root": state.peaks.root()}
        assert [edge.cid for edge in seen.edges("evidence")] == [state.last]
        assert await trio.to_thread.run_sync(observe_logs, auditor.home, observer, owners) == []
        report = verify(StoreSource(auditor.home.store), seen.id, auditor.federation, now_ms=scene.clock())
        assert report.verdict == "valid"
        assert (await producer.fetch(seen.id, [address("auditor")])).verdict == "valid"
    # Who was shown the other history and then meets the observation finds two records for one place.
    async with scene.node("other") as other, scene.node("auditor") as auditor:
        for n in (8, 9):
            await trio.to_thread.run_sync(step, scene.agent(other, "a"), n)
        async with scene.node("third") as third:
            await third.replicate([agent.id], [address("other")])
            report = await third.fetch(seen.id, [address("auditor")])
            assert report.verdict == "invalid" or third.home.store.forks(agent.id)
