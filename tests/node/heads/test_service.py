"""Heads among nodes in memory: they spread, forks of them are found, kept and told, and own logs are guarded."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import trio
from announced import QUICK, Scene, fork, heard, until

from tslg.node.heads import kept, making, service
from tslg.node.net.seam import running
from tslg.node.serving import Server
from tslg.node.sources import heads_seen
from tslg.protocol.announcing import RecordsNews, StatesNews
from tslg.protocol.errors import UsageError
from tslg.protocol.exchange import LOG


async def in_thread(work, *arguments):
    return await trio.to_thread.run_sync(work, *arguments)


@pytest.mark.spec("ANN-2", "ANN-12")
async def test_what_one_appends_twenty_hear(scene: Scene):
    names = [f"n{number}" for number in range(20)]
    async with scene.memory("author") as author, scene.several(*names) as others:
        agent = await author.agent("scanner")
        await until(lambda: all(heard(node, agent) == 2 for node in others))
        await agent.state({"n": 1})
        await until(lambda: all(heard(node, agent) == 3 for node in others))
        for number in range(10):
            await agent.state({"n": number})
        await until(lambda: all(heard(node, agent) == 13 for node in others))
        assert [node.heads.heads.questions() for node in others] == [[]] * 20
        assert heard(author, agent) == 13


@pytest.mark.spec("ANN-2")
async def test_who_comes_later_hears_at_the_next_announcement(scene: Scene):
    quick = replace(QUICK, head_repeat_ms=10, head_again_ms=50)
    async with scene.memory("author", limits=quick) as author:
        agent = await author.agent("scanner")
        async with scene.memory("late", limits=quick) as late:
            await until(lambda: heard(late, agent) == 2)


@pytest.mark.spec("ANN-13")
async def test_what_was_heard_is_a_head_known_from_elsewhere_also_after_a_restart(scene: Scene):
    async with scene.memory("author") as author:
        async with scene.memory("other") as other:
            agent = await author.agent("scanner")
            await until(lambda: heard(other, agent) == 2)
        async with scene.memory("other") as other:
            assert heard(other, agent) == 2
            (head,) = heads_seen(other.home.store, [agent.id], other.home.clock())
            assert (head.size, head.source, head.root) == (2, "gossip", (await root_of(author, agent, 2)))
            (entry,) = kept.read(other.home.store)
            assert entry.agent == agent.id and entry.newest.size == 2 and entry.via == "author"


async def root_of(node, agent, size):
    from tslg.protocol.log import root

    return root(node.home.store.leaves(agent.id, size))


# --- forks -----------------------------------------------------------------------------------------------------------


async def part(scene: Scene, common: int, first: int, second: int):
    """Run an agent twice from one state of its log, without either node on a network; return it."""
    async with scene.memory("one", config=quiet()) as one:
        agent = await one.agent("twofaced")
        for number in range(common):
            await agent.state({"n": number})
    scene.copy("one", "two")
    for name, count in (("one", first), ("two", second)):
        async with scene.memory(name, config=quiet()) as node:
            again = await node.agent("twofaced")
            for number in range(count):
                await again.state({"n": f"{name} {number}"})
    return agent


def quiet():
    from tslg.node.config import NodeConfig

    return NodeConfig()


@pytest.mark.spec("ANN-8", "ANN-12", "EQV-11")
@pytest.mark.parametrize(("first", "second"), [(3, 3), (2, 6), (6, 2), (1, 9)])
async def test_two_histories_announced_to_two_nodes_are_found_and_told(scene: Scene, first, second):
    """Neither of them holds anything of the log; who hears both asks, and tells everybody."""
    agent = await part(scene, 4, first, second)
    async with scene.several("a", "b", "c") as others, scene.memory("one"):
        await until(lambda: all(heard(node, agent) == 6 + first for node in others))
        async with scene.memory("two") as two:
            await until(lambda: all(fork(node, agent) is not None for node in others))
            for node in others:
                assert isinstance(fork(node, agent), StatesNews | RecordsNews)
            await until(lambda: two.home.ledger.blocked(agent.id) is not None)


@pytest.mark.spec("ANN-8", "ANN-12", "EQV-2")
async def test_whoever_holds_the_log_finds_the_two_records_and_all_keep_them(scene: Scene):
    agent = await part(scene, 4, 3, 5)
    async with scene.memory("one", config=quiet()) as one, scene.memory("holder") as holder:
        pairs = one.home.store.log_range(agent.id, 0, 9)
        await in_thread(lambda: [holder.home.ledger.admit(entry.data, entry.seal) for _, entry in pairs])
        async with scene.memory("stranger") as stranger, scene.memory("two"):
            await until(lambda: holder.home.store.forks(agent.id))
            (found,) = holder.home.store.forks(agent.id)
            assert found.seq == 6 and len(found.records) == 2
            await until(lambda: isinstance(fork(stranger, agent), RecordsNews))
            assert stranger.home.store.forks() == []


@pytest.mark.spec("ANN-12")
async def test_records_that_not_everybody_may_read_are_not_announced(scene: Scene):
    agent = await part(scene, 4, 3, 5)
    async with scene.memory("one", config=quiet()) as one, scene.memory("holder") as holder:
        pairs = one.home.store.log_range(agent.id, 0, 9)
        await in_thread(lambda: [holder.home.ledger.admit(entry.data, entry.seal) for _, entry in pairs])
        holder.heads._evidence._public = lambda id, pair: False
        async with scene.memory("two", config=quiet()) as two:
            key = two.home.keyring.note_key(agent.id)
            news, _ = await in_thread(making.make, two.home.store, agent.id, key, None)
            messenger = scene.hub.network("two-as-well")
            messenger.serve(LOG, Server(two.home.store, lambda agent: ()).log)
            async with scene.memory("stranger") as stranger, running(messenger):
                await messenger.announce(holder.heads._topic, news.to_bytes())
                await until(lambda: holder.home.store.forks(agent.id))
                assert not isinstance(fork(stranger, agent), RecordsNews)
                assert holder.heads._evidence.held(agent.id) is None
                holder.heads._evidence._public = holder._public
                assert isinstance(holder.heads._evidence.held(agent.id), RecordsNews)


@pytest.mark.spec("ANN-12", "EQV-9")
async def test_an_old_copy_of_a_node_learns_so_from_what_it_hears(scene: Scene):
    async with scene.memory("one", config=quiet()) as one:
        agent = await one.agent("careful")
    scene.copy("one", "old")
    async with scene.memory("one") as one:
        agent = await one.agent("careful")
        await agent.state({"n": 1})
        async with scene.memory("old") as old:
            again = await old.agent("careful")
            await agent.state({"n": 2})
            await until(lambda: old.home.ledger.blocked(agent.id) is not None)
            with pytest.raises(UsageError) as raised:
                await again.state({"n": "another"})
            assert raised.value.code == "TSLG-U-BEHIND"
            assert old.home.store.heads(agent.id)[0].source == "gossip"


async def test_a_node_that_writes_on_from_an_old_copy_convicts_itself_and_confesses(scene: Scene):
    agent = await part(scene, 1, 1, 1)
    async with scene.memory("one") as one, scene.memory("two") as two:
        await until(lambda: one.home.ledger.blocked(agent.id) and two.home.ledger.blocked(agent.id))
        await until(lambda: one.home.store.forks(agent.id) and two.home.store.forks(agent.id))
        again = await one.agent("twofaced")
        with pytest.raises(UsageError) as raised:
            await again.state({"n": "on"})
        assert raised.value.code == "TSLG-U-FORKED"


async def test_a_holder_that_cannot_be_asked_is_asked_again(scene: Scene, monkeypatch):
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.05)
    agent = await part(scene, 4, 9, 5)
    async with scene.memory("a") as node:
        async with scene.memory("two"):
            await until(lambda: heard(node, agent) == 11)
        async with scene.memory("one", config=quiet()) as one:
            # The larger history is announced by somebody who does not serve it.
            key = one.home.keyring.note_key(agent.id)
            news, _ = await in_thread(making.make, one.home.store, agent.id, key, None)
            messenger = scene.hub.network("messenger")
            async with running(messenger):
                await messenger.announce(node.heads._topic, news.to_bytes())
                await until(lambda: heard(node, agent) == 15)
                assert fork(node, agent) is None and node.heads.heads.questions()
                await node.knows(agent.id, one.addresses)
                await until(lambda: fork(node, agent) is not None)


# --- hostile peers ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("ANN-11")
async def test_a_flood_of_agents_by_one_peer_leaves_room_and_is_named(scene: Scene, caplog):
    from hearing import head
    from world import World

    async with scene.memory("node") as node, scene.memory("honest") as honest:
        world = World(seed="federation")
        flood = []
        hostile = scene.hub.network("hostile")
        async with running(hostile):
            for number in range(600):
                flood.append(head(world, world.agent(f"sybil {number}")).to_bytes())
            for data in flood:
                await hostile.announce(node.heads._topic, data)
            agent = await honest.agent("scanner")
            await until(lambda: heard(node, agent) == 2)
        strangers = [log for log in node.heads.heads.logs.values() if log.via == "hostile"]
        assert 0 < len(strangers) < 600
        named = [record for record in caplog.records if getattr(record, "rule", "") == "heads_new_logs_per_minute"]
        assert {record.peer for record in named} == {"hostile"}
        assert caplog.records[0].levelno >= logging.INFO
