"""Asking peers what they heard: whoever comes later, or missed something, need not wait for it to be said again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from announced import QUICK, Scene, fork, heard, until
from hearing import Listener, forked, grow, head, states
from hypothesis import given
from hypothesis import strategies as st
from world import World

from tslg.node.heads.recalling import Recalling
from tslg.node.net.errors import InvalidRequest
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.protocol import codec
from tslg.protocol.exchange import MessageError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.recalling import HEADS, Recall, Recalled
from tslg.protocol.verdict import Verdict


async def recalled(recalling, asked=None):
    asked = asked or Recall()
    return [Recalled.from_bytes(chunk) async for chunk in recalling.answer(asked.to_bytes(), "peer")]


@pytest.mark.spec("ANN-15")
async def test_who_comes_later_learns_from_the_peers_that_it_connects_to(scene: Scene):
    quick = replace(QUICK, head_ask_ms=20)
    async with scene.memory("author", limits=quick) as author:
        agent = await author.agent("scanner")
        await until(lambda: heard(author, agent) == 2)
        async with scene.memory("late", limits=quick) as late:
            assert heard(late, agent) == 0
            late.network._connected.add("author")
            await until(lambda: heard(late, agent) == 2)
            # What is lost on the way is asked for in turn.
            scene.hub.faults("late").down = True
            await agent.state({"n": 1})
            await until(lambda: heard(author, agent) == 3)
            scene.hub.faults("late").down = False
            late.network._connected.add("author")
            await until(lambda: heard(late, agent) == 3)


@pytest.mark.spec("ANN-14")
async def test_answers_go_on_where_the_last_one_ended():
    world = World()
    node = Listener(world)
    authors = [grow(world, world.agent(f"agent {number}"), number) for number in range(5)]
    for author in authors[:4]:
        node.hear(head(world, author))
    recalling = Recalling(node.heads, lambda data, peer: Verdict.ACCEPT, DEFAULT)
    (first,) = await recalled(recalling)
    assert len(first.news) == 4 and first.until > 0 and 0 < len(first.epoch) <= 32
    (nothing,) = await recalled(recalling, Recall(first.epoch, first.until))
    assert nothing == Recalled(first.epoch, first.until, ())
    node.hear(head(world, authors[4]))
    grow(world, authors[0], 1)
    node.hear(head(world, authors[0]))
    (second,) = await recalled(recalling, Recall(first.epoch, first.until))
    assert len(second.news) == 2
    (again,) = await recalled(recalling, Recall(b"another run", second.until))
    assert len(again.news) == 5
    other = Listener(world)
    assert {other.hear(news).verdict for news in again.news} == {Verdict.ACCEPT}
    assert [other.size(author) for author in authors] == [len(author.log) for author in authors]


@pytest.mark.spec("ANN-14")
async def test_answers_are_bounded_and_nothing_falls_between_them():
    world = World()
    node = Listener(world)
    one, other = forked(world, "forked", 5, 4)
    for number in range(3):
        node.hear(head(world, grow(world, world.agent(f"agent {number}"), 1)))
    node.hear(head(world, one))
    node.hear(states(world, one, 7, other, 9))
    recalling = Recalling(node.heads, lambda data, peer: Verdict.ACCEPT, replace(DEFAULT, heads_recalled=2))
    got, asked = [], Recall()
    for _ in range(4):
        (part,) = await recalled(recalling, asked)
        assert len(part.news) <= 2
        got += part.news
        asked = Recall(part.epoch, part.until)
    late = Listener(world)
    for news in got:
        late.hear(news)
    assert len(late.heads.logs) == 4 and late.forks
    small = Recalling(node.heads, lambda data, peer: Verdict.ACCEPT, replace(DEFAULT, chunk_bytes=2_000))
    parts = await recalled(small)
    assert len(parts) > 1 and sum(len(part.news) for part in parts) == 5


@pytest.mark.spec("ANN-14")
@given(st.binary(max_size=40))
async def test_what_is_no_request_is_answered_so(data):
    recalling = Recalling(Listener(SCENE).heads, lambda data, peer: Verdict.ACCEPT, DEFAULT)
    with pytest.raises(InvalidRequest):
        async for _ in recalling.answer(data, "peer"):
            pass


SCENE = World(seed="recalling")


@pytest.mark.spec("ANN-14")
@pytest.mark.parametrize(
    "value",
    [
        {"epoch": b"", "until": 0},
        {"epoch": bytes(33), "until": 0, "news": []},
        {"epoch": b"", "until": -1, "news": []},
        {"epoch": b"", "until": 0, "news": [1]},
        {"epoch": b"", "until": 0, "news": [b""] * 2_001},
        {"epoch": b"", "until": 0, "news": [bytes(70_000)]},
        [],
    ],
)
def test_what_is_no_answer_is_refused(value):
    with pytest.raises(MessageError):
        Recalled.from_bytes(codec.encode(value))


async def test_a_peer_that_recalls_what_does_not_hold_is_cut_off(caplog):
    hub = MemoryHub()
    hostile, node = hub.network("hostile"), hub.network("node")

    async def answer(request, peer):
        yield Recalled(b"e", 1, (b"forged",) * 100).to_bytes()

    hostile.serve(HEADS, answer)
    heard_of = []

    def judge(data, peer):
        heard_of.append(data)
        return Verdict.REJECT

    async with running(hostile), running(node):
        await Recalling(Listener(SCENE).heads, judge, DEFAULT)._ask(node, hostile.addresses[0])
        assert "hostile" in node._cut_off
    assert len(heard_of) == DEFAULT.announcement_offences
    assert [record.rule for record in caplog.records if hasattr(record, "rule")] == ["TSLG-N-MESSAGE"]


async def test_a_peer_that_does_not_take_part_is_not_asked_again():
    hub = MemoryHub()
    other, node = hub.network("other"), hub.network("node")
    recalling = Recalling(Listener(SCENE).heads, lambda data, peer: Verdict.ACCEPT, DEFAULT)
    async with running(other), running(node):
        await recalling._ask(node, "other")
    assert recalling._asked == {"other": None}


async def test_a_fork_is_learnt_that_way_too(scene: Scene):
    world = World(seed="federation")
    one, other = forked(world, "forked", 5, 4)
    quick = replace(QUICK, head_ask_ms=20)
    async with scene.memory("first", limits=quick) as first, scene.memory("late", limits=quick) as late:
        first.heads._recall(states(world, one, 7, other, 9).to_bytes(), "somebody")
        late.network._connected.add("first")

        class Agent:
            id = one.owner

        await until(lambda: fork(late, Agent) is not None)
