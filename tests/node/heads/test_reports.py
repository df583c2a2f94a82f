"""What was heard in reports and lists: a log that ends too early, one that has two histories, and keys that died."""

from __future__ import annotations

import json

import pytest
import trio
from announced import Scene, fork, heard, until
from click.testing import CliRunner
from hearing import Listener, grow, head
from world import ONE, World

from tslg.node.cli.root import tslg
from tslg.node.config import NodeConfig
from tslg.node.heads import kept
from tslg.node.sources import StoreSource, heads_seen
from tslg.node.store.memory import MemoryStore
from tslg.node.verifying import verify
from tslg.protocol.announcing import StatesNews
from tslg.protocol.cid import to_text
from tslg.protocol.walker import OutsideHead


def judged(node, target, source, outside=None):
    """Verify a record from another's store, against what a node heard."""

    def seen(walker):
        return heads_seen(node.home.store, walker.met(), node.home.clock())

    return verify(
        source, target, node.home.federation, now_ms=node.home.clock(), outside=seen if outside is None else outside
    )


class Peer(StoreSource):
    """A store that somebody else serves."""

    serves_logs = "peer"


@pytest.mark.spec("ANN-13", "VER-15", "VER-16")
async def test_a_served_log_that_ends_before_what_was_announced_is_in_doubt(scene: Scene):
    async with scene.memory("author", config=NodeConfig()) as author:
        agent = await author.agent("scanner")
        target = await agent.state({"n": 1})
    scene.copy("author", "stale")
    async with scene.memory("office") as office, scene.memory("author") as author:
        agent = await author.agent("scanner")
        await agent.state({"n": 2})
        await until(lambda: heard(office, agent) == 4)
        store = office.home.store
        await until(lambda: [one.size for one in heads_seen(store, [agent.id], 0)] == [4])
        async with scene.memory("stale", config=NodeConfig()) as stale:
            for source in (Peer(stale.home.store), StoreSource(stale.home.store)):
                report = judged(office, target.id, source)
                assert report.verdict == "undetermined" and report.findings == ()
                assert [item.reason.split(":")[0] for item in report.undetermined] == ["tail"]
                assert [(one.size, one.source) for one in report.freshness if one.agent == agent.id] == [(4, "gossip")]
            assert judged(office, target.id, Peer(author.home.store)).verdict == "valid"
            # What the log's own node said outright is held against a store that claims to have all of it.
            elsewhere = [OutsideHead(agent.id, 4, bytes(32), "log", 0)]
            report = judged(office, target.id, StoreSource(stale.home.store), elsewhere)
            assert [finding.code for finding in report.findings] == ["TSLG-V-TAIL"]


@pytest.mark.spec("EQV-12", "ANN-13")
async def test_two_signed_states_are_listed_and_held_against_either_history(scene: Scene):
    async with scene.memory("one", config=NodeConfig()) as one:
        agent = await one.agent("twofaced")
    scene.copy("one", "two")
    targets = {}
    for name in ("one", "two"):
        async with scene.memory(name, config=NodeConfig()) as node:
            targets[name] = (await (await node.agent("twofaced")).state({"n": name})).id
    async with scene.memory("office") as office:
        async with scene.memory("one"), scene.memory("two"):
            await until(lambda: fork(office, agent) is not None)
        proof = fork(office, agent)
        # Whether the two found the two records in time is theirs; what was announced first are states.
        assert office.home.store.forks() == []
    async with scene.memory("office") as office:
        for name in ("one", "two"):
            async with scene.memory(name, config=NodeConfig()) as node:
                report = judged(office, targets[name], StoreSource(node.home.store))
                assert report.verdict != "valid"
                assert "TSLG-V-FORK" in {finding.code for finding in report.findings}
    result = await trio.to_thread.run_sync(
        lambda: CliRunner().invoke(tslg, ["query", "forks", "--data", str(scene.path("office")), "--json"])
    )
    told = json.loads(result.stdout)["forks"]
    assert {one["agent"] for one in told} == {to_text(agent.id)} and {one["name"] for one in told} == {"twofaced"}
    if isinstance(proof, StatesNews):
        assert [(one["seq"], one["sizes"]) for one in told if one["sizes"]] in ([], [(None, [3, 3])])


async def test_heads_are_listed(scene: Scene):
    async with scene.memory("office") as office, scene.memory("author") as author:
        agent = await author.agent("scan\u202ener")
        await until(lambda: heard(office, agent) == 2)
    run = CliRunner().invoke

    def listed(*arguments):
        result = run(tslg, ["query", "heads", *arguments, "--data", str(scene.path("office"))])
        assert result.exit_code == 0, result.output
        return result.stdout

    (one,) = json.loads(await trio.to_thread.run_sync(lambda: listed("--json")))["heads"]
    assert one["agent"] == to_text(agent.id) and (one["size"], one["via"], one["forked"]) == (2, "author", False)
    assert json.loads(await trio.to_thread.run_sync(lambda: listed("--json", "nobody")))["heads"] == []
    text = await trio.to_thread.run_sync(lambda: listed(to_text(agent.id)[:20]))
    assert text.startswith("AGENT") and "\u202e" not in text


@pytest.mark.spec("ANN-7", "ANN-13")
def test_a_head_by_a_key_that_is_known_to_be_dead_is_no_longer_a_head(monkeypatch):
    world = World(ONE.format(attested=0))
    author = grow(world, world.agent("author"), 3)
    first = author.key
    world.rotate(author)
    node = Listener(world)
    node.hear(head(world, grow(world, author.fork(5), 9), key=first))
    store = MemoryStore()
    store.append([(world.founded.manifest_record, world.founded.seal)])
    kept.write(store, [kept.drawer_of(author.owner)], node.heads.logs)
    assert [one.size for one in heads_seen(store, [author.owner], 0)] == [14]
    world.revoke(author, first)
    store.append([(author.last, world.seals[author.last.id])])
    assert heads_seen(store, [author.owner], 0) == []
