"""Every way in: three lines, a node in a thread, trio and asyncio, and what each leaves on disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import tslg
from tslg.manifests.keys import AnchorKey, read_key
from tslg.manifests.signing import encode_sealed
from tslg.node import Agent, BackgroundNode, Node
from tslg.node.home import Home
from tslg.node.quick import close
from tslg.protocol.errors import StoreError, TslgError
from tslg.protocol.record import Record


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("TSLG_HOME", str(tmp_path / "homes"))
    yield
    close()


def founded(tmp_path: Path) -> tuple[Path, tuple[AnchorKey, ...]]:
    """Found a federation of one anchor; return its sealed root manifest's file and the anchor's key."""
    with Home.open(tmp_path / "founder", name="acme") as founder:
        entry = founder.store.get(founder.federation)
        assert entry is not None
        sealed = tmp_path / "acme.tslg"
        sealed.write_bytes(encode_sealed(entry.data, entry.seal))
        return sealed, (read_key(tmp_path / "founder" / "keys" / "anchor.json"),)


def test_three_lines_record_a_signed_step(tmp_path: Path) -> None:
    agent = tslg.agent("billing-bot")
    record = agent.act("send-invoice", {"invoice": 17})
    close()
    with Home.open(tmp_path / "homes" / "billing-bot") as home:
        entry = home.store.get(record.id)
        assert entry is not None and entry.data == record.data
        assert [one.name for one in home.agents] == ["billing-bot"]


def test_the_same_name_is_the_same_agent_after_a_restart() -> None:
    first = tslg.agent("billing-bot").id
    close()
    assert tslg.agent("billing-bot").id == first


def test_a_joined_federation_is_one_argument(tmp_path: Path) -> None:
    sealed, _ = founded(tmp_path)
    with pytest.raises(TslgError, match="attest every genesis") as refused:
        tslg.agent("bot", federation=sealed)
    assert "request" in refused.value.mend


async def test_trio_native(tmp_path: Path) -> None:
    async with Node.open(tmp_path / "node") as node:
        agent = await node.agent("a")
        seen = await agent.observe("sensor", {"reading": 3})
        made = await agent.decide("classify", "fine", evidence=seen)
        assert made.preds["evidence"][0].cid == seen.id


def test_asyncio(tmp_path: Path) -> None:
    async def main(agent: Agent) -> list[Record]:
        return list(await asyncio.gather(*(agent.act("step", {"n": n}) for n in range(8))))

    with BackgroundNode(tmp_path / "node") as node:
        records = asyncio.run(main(Agent(node.agent("a"))))
    assert sorted(record.seq for record in records) == list(range(2, 10))


def test_a_failing_start_is_raised_where_the_node_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(StoreError), BackgroundNode(tmp_path / "file"):
        pytest.fail("it must not start")


def test_two_nodes_in_threads_delegate(tmp_path: Path) -> None:
    sealed, anchors = founded(tmp_path)
    options = {"federation": sealed, "listen": "/ip4/127.0.0.1/tcp/0"}
    with BackgroundNode(tmp_path / "a", **options) as left, BackgroundNode(tmp_path / "b", **options) as right:
        boss = left.node.home.create_agent("boss", anchors=anchors)
        hand = right.node.home.create_agent("hand", anchors=anchors)
        right.on_delegation(hand, lambda agent, delegation, progress: agent.act("done", delegation=delegation))
        grant = boss.policy("grant", capabilities=["work"])
        _, result = left.delegate(
            boss, hand.id, {"do": "it"}, grant, peer=right.addresses[0], expires=left.node.home.clock() + 60_000
        )
        report = left.fetch(result, right.addresses)
        assert report.verdict == "valid", report.to_json()
        assert boss.decide("accept", "yes", evidence=result).preds["evidence"][0].agent == hand.id


def test_what_was_fetched_verifies_again_without_the_network(tmp_path: Path) -> None:
    from tslg.node.sources import StoreSource
    from tslg.node.verifying import verify

    sealed, anchors = founded(tmp_path)
    options = {"federation": sealed, "listen": "/ip4/127.0.0.1/tcp/0"}
    with BackgroundNode(tmp_path / "a", **options) as left, BackgroundNode(tmp_path / "b", **options) as right:
        reader = left.node.home.create_agent("reader", anchors=anchors)
        writer = right.node.home.create_agent("writer", anchors=anchors)
        seen = [writer.observe("sensor", {"n": n}) for n in range(40)]
        cited = writer.decide("pick", "some", evidence=[seen[7], seen[8], seen[21]])
        assert left.fetch(cited.id, right.addresses).verdict == "valid"
        made = reader.decide("use", "it", evidence=cited.id)
        home = left.node.home
        for depth in (None, 3):
            report = verify(StoreSource(home.store), made.id, home.federation, now_ms=home.clock(), depth=depth)
            assert (report.verdict, report.undetermined) == ("valid", ())
        assert [head.size for head in home.store.heads(writer.id)] == [43]
