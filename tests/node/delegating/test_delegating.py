"""Delegations between nodes: once each, over restarts of either side, late, withdrawn, refused."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import trio
from companies import DAY, HOUR, ask, grant, record_of

from tslg.node.delegating.outbox import NotAnswered
from tslg.node.delegating.works import Declined
from tslg.node.net import errors
from tslg.protocol.cid import compute
from tslg.protocol.delegate import Taken
from tslg.protocol.delegating import Offer, State, Status
from tslg.protocol.errors import Refusal, UsageError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.report import VALID

B_AT = "/memory/b/p2p/b"


@pytest.fixture
async def agents(company):
    """The ids and names of both sides: a delegates to b."""
    async with company.node("b") as b:
        bob = await b.agent("bob")
    async with company.node("a") as a:
        alice = await a.agent("alice")
        policy = await grant(alice)
    return alice.id, bob.id, policy


async def offered(company, node, agents, *, lasts=7 * DAY, task=None, peer=B_AT):
    alice = await node.agent("alice")
    return await node.offer(
        alice, agents[1], task or {"do": "listen"}, agents[2], peer=peer, expires=company.now + lasts
    )


async def serving(node, work, **how):
    bob = await node.agent("bob")
    node.on_delegation(bob, work, **how)
    return bob


def answers(node):
    return [node.home.ledger.context.record(id) for id in node.home.store.by_kind("answer")]


@pytest.mark.spec("DLG-3", "DLG-8", "DLG-9", "WIR-12", "WIR-13")
async def test_a_delegation_is_done_once_however_often_it_is_handed_over(company, agents):
    work = record_of("ears")
    async with company.node("b") as b, company.node("a") as a:
        await serving(b, work)
        handle = await offered(company, a, agents)
        result = await handle.result()
        assert handle.state == "answered" and work.runs == [handle.delegation.id]
        assert (await a.fetch(result, [B_AT])).verdict == VALID
        (said,) = answers(b)
        assert [edge.cid for edge in said.edges("evidence")] == [result]
        site = a._delegating.outbox._site
        again = Offer(handle.delegation.id, a.addresses, site.proof(handle.delegation.id, agents[0]))
        for _ in range(3):
            (chunk,) = await ask(a.network, B_AT, again.to_bytes())
            assert State.from_bytes(chunk).result == result
        (chunk,) = await ask(a.network, B_AT, Status(again.delegation, again.proof).to_bytes())
        assert State.from_bytes(chunk)[4:] == (result, said.id)
        await company.until(lambda: b._delegating.inbox._machine.live() == [])
        assert len(work.runs) == 1 and len(answers(b)) == 1
    async with company.node("b") as b, company.node("a") as a:
        await serving(b, work)
        (chunk,) = await ask(a.network, B_AT, again.to_bytes())
        assert State.from_bytes(chunk).result == result and len(work.runs) == 1
        assert (await a.handed_out(handle.delegation)).state == "answered"
        assert await a.handed_out(agents[2]) is None


async def test_waiting_for_the_answer_at_once_is_as_before(company, agents):
    async with company.node("b") as b, company.node("a") as a:
        await serving(b, record_of("ears"))
        alice, told = await a.agent("alice"), []
        expires = company.now + DAY
        made, result = await a.delegate(
            alice, agents[1], {"do": "listen"}, agents[2], peer=B_AT, expires=expires, tick=lambda *n: told.append(n)
        )
        assert b.home.ledger.context.record(result).kind == "observation"
        with pytest.raises(errors.Unreachable):
            await a.delegate(alice, compute(b"another"), {}, agents[2], peer="/memory/x/p2p/x", expires=expires)
        with pytest.raises(errors.NotAvailable):
            await a.delegate(alice, compute(b"nobody"), {}, agents[2], peer=B_AT, expires=expires)
        assert a._delegating.outbox._machine.live() == [], "who waited and was told is not tried again"
        assert made.body["task"] == {"do": "listen"}


@pytest.mark.spec("DLG-5")
async def test_a_delegate_that_was_away_for_a_day_gets_it_then_and_from_a_restarted_delegator(company, agents):
    async with company.node("a") as a:
        handle = await offered(company, a, agents)
        await company.until(lambda: company.now > handle.delegation.time + DAY)
        assert handle.state == "offered" and "N-UNREACHABLE" in handle.reason
    work = record_of("ears")
    async with company.node("a") as a, company.node("b") as b:
        await serving(b, work)
        again = await a.handed_out(handle.delegation)
        await company.until(lambda: again.state == "answered")
        assert work.runs == [handle.delegation.id] and await again.result() in b.home.store.by_kind("observation")


@pytest.mark.spec("DLG-13", "DLG-6")
async def test_a_delegate_that_is_done_while_the_delegator_is_away_tells_it_later(company, agents):
    go = threading.Event()
    work = record_of("ears")

    def slow(agent, delegation, progress):
        go.wait(20)
        return work(agent, delegation, progress)

    async with company.node("b") as b:
        await serving(b, slow)
        async with company.node("a") as a:
            handle = await offered(company, a, agents)
            assert await handle.wait("working") == "working"
        go.set()
        await company.until(lambda: answers(b) != [])
        company.elapse(DAY)
        async with company.node("a") as a:
            # It asks by itself as well, which is not what is tested here.
            a._delegating.outbox._machine._due.clear()
            again = await a.handed_out(handle.delegation)
            await company.until(lambda: again.state == "answered")
            assert await again.result() == next(iter(answers(b)[0].edges("evidence"))).cid
            await company.until(lambda: b._delegating.inbox._machine.live() == [])


@pytest.mark.spec("DLG-5", "DLG-7")
async def test_what_expires_before_it_is_delivered_is_never_begun(company, agents):
    work = record_of("ears")
    async with company.node("a") as a:
        handle = await offered(company, a, agents, lasts=HOUR)
        company.elapse(HOUR + 1)
        async with company.node("b") as b:
            await serving(b, work)
            await company.until(lambda: handle.state == "expired")
            with pytest.raises(NotAnswered) as caught:
                await handle.result()
            assert caught.value.state == "expired" and work.runs == [] and answers(b) == []


@pytest.mark.spec("DLG-10")
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("after", ["intent", "work"])
async def test_a_node_that_stops_in_the_middle_has_failed_or_begins_again(company, agents, again, after):
    runs, stuck, hold = [], threading.Event(), threading.Event()

    def work(agent, delegation, progress):
        runs.append(delegation.id)
        if after == "work" or len(runs) > 1:
            made = agent.observe("ears", {"n": len(runs)}, delegation=delegation)
        if len(runs) == 1:
            stuck.set()
            hold.wait(20)
        return made

    async with company.node("a") as a:
        async with company.node("b") as b:
            await serving(b, work, again=again)
            handle = await offered(company, a, agents)
            await trio.to_thread.run_sync(stuck.wait, 20)
        async with company.node("b") as b:
            await serving(b, work, again=again)
            await company.until(lambda: handle.state in ("answered", "failed"))
            assert handle.state == ("answered" if again else "failed")
            assert again or "in the middle" in handle.reason
            assert len(runs) == (2 if again else 1) and len(answers(b)) == 1
        hold.set()


@pytest.mark.spec("DLG-10")
async def test_an_answer_that_was_recorded_and_not_noted_counts_after_the_restart(company, agents):
    work = record_of("ears")
    async with company.node("a") as a:
        async with company.node("b") as b:
            await serving(b, work)
            handle = await offered(company, a, agents)
            result = await handle.result()
            kept = b._delegating.inbox._kept
            entry = kept.get(handle.delegation.id)
            kept.keep(Taken(*entry[:5], "working"))
        async with company.node("b") as b:
            await serving(b, work)
            assert b._delegating.inbox._kept.get(handle.delegation.id)[5:9] == ("answered", None, result, entry.answer)
            assert len(work.runs) == 1 and len(answers(b)) == 1


@pytest.mark.spec("DLG-11", "DEL-18", "DEL-20")
async def test_what_is_cancelled_at_work_is_stopped_and_its_late_results_are_refused(company, agents):
    refused, seen, done = [], threading.Event(), threading.Event()

    def work(agent, delegation, progress):
        seen.set()
        while not progress.cancelled:
            done.wait(0.01)
        try:
            progress.check()
        except Exception as error:
            refused.append(error.code)
        try:
            return agent.observe("ears", {"n": 1}, delegation=delegation)
        except (Refusal, UsageError) as error:
            refused.append(error.code)
            raise
        finally:
            done.set()

    async with company.node("b") as b, company.node("a") as a:
        await serving(b, work)
        handle = await offered(company, a, agents)
        await trio.to_thread.run_sync(seen.wait, 20)
        retraction = await handle.cancel("changed our mind")
        assert retraction.kind == "retraction"
        await company.until(lambda: handle.state == "cancelled")
        await trio.to_thread.run_sync(done.wait, 20)
        assert refused == ["TSLG-U-STOPPED", "TSLG-U-WITHDRAWN"]
        (said,) = answers(b)
        assert said.body == {"outcome": "cancelled"}
        assert [edge.cid for edge in said.edges("evidence")] == [retraction.id]
        with pytest.raises(UsageError):
            await handle.cancel()
        bob = await b.agent("bob")
        with pytest.raises((Refusal, UsageError)):
            await bob.observe("ears", {"n": 2}, delegation=handle.delegation)


@pytest.mark.spec("DLG-11")
async def test_what_is_cancelled_before_it_was_delivered_is_never_begun(company, agents):
    work = record_of("ears")
    async with company.node("a") as a:
        handle = await offered(company, a, agents)
        site = a._delegating.outbox._site
        late = Offer(handle.delegation.id, a.addresses, site.proof(handle.delegation.id, agents[0]))
        await handle.cancel()
        async with company.node("b") as b:
            await serving(b, work)
            await company.until(lambda: handle.state == "cancelled")
            (chunk,) = await ask(a.network, B_AT, late.to_bytes())
            assert State.from_bytes(chunk).state == "cancelled" and work.runs == [] and len(answers(b)) == 1


@pytest.mark.spec("DLG-11")
async def test_a_cancellation_that_crosses_the_result_leaves_it_answered(company, agents):
    async with company.node("b") as b, company.node("a") as a:
        await serving(b, record_of("ears"))
        company.hub.faults("a").down = True
        handle = await offered(company, a, agents)
        company.hub.faults("a").down = False
        await company.until(lambda: handle.state != "offered" or answers(b) != [])
        await company.until(lambda: answers(b) != [])
        if handle.state == "working":
            await handle.cancel()
        await company.until(lambda: handle.state == "answered")
        assert [one.body["outcome"] for one in answers(b)] == ["result"]


@pytest.mark.spec("DLG-14")
@pytest.mark.parametrize(
    ("how", "state", "reason"),
    [
        ("declines", "refused", "not today, thank you"),
        ("raises", "failed", "KeyError: 'the disk'"),
        ("refused", "failed", "TSLG-A-SCOPE"),
        ("returns nothing", "failed", "TypeError: the work returned no record"),
        ("returns something else", "failed", "does not rest on the delegation"),
    ],
)
async def test_a_work_that_yields_no_result_is_told_in_one_line(company, agents, how, state, reason):
    def work(agent, delegation, progress):
        if how == "declines":
            raise Declined("not today,\nthank you")
        if how == "raises":
            raise KeyError("the disk")
        if how == "refused":
            agent.act("listen", delegation=delegation, uses=["shout"])
        return None if how == "returns nothing" else agent.state({"n": 1})

    async with company.node("b") as b, company.node("a") as a:
        await serving(b, work)
        handle = await offered(company, a, agents)
        with pytest.raises(NotAnswered) as caught:
            await handle.result()
        assert caught.value.state == handle.state == state and reason in handle.reason and "\n" not in handle.reason
        assert [one.body["outcome"] for one in answers(b)] == [state]


async def test_works_may_be_async_and_are_cancelled_where_they_wait(company, agents):
    ended = []

    async def work(agent, delegation, progress):
        progress(0, 3)
        seen = await agent.observe("ears", {"n": 1}, delegation=delegation)
        if delegation.body["task"]["do"] == "wait":
            try:
                await trio.sleep_forever()
            finally:
                ended.append(progress.cancelled)
        return seen

    async with company.node("b") as b, company.node("a") as a:
        await serving(b, work)
        quick = await offered(company, a, agents)
        assert await quick.result()
        slow = await offered(company, a, agents, task={"do": "wait"})
        await slow.wait("working")
        await slow.cancel()
        await company.until(lambda: slow.state == "cancelled" and ended == [True])


@pytest.mark.spec("DLG-12")
async def test_a_delegate_with_no_room_is_asked_again(company, agents):
    go, work = threading.Event(), record_of("ears")

    def slow(agent, delegation, progress):
        go.wait(20)
        return work(agent, delegation, progress)

    limits = replace(DEFAULT, delegations_open=1)
    async with company.node("b", limits=limits) as b, company.node("a") as a:
        await serving(b, slow)
        first = await offered(company, a, agents)
        await first.wait("working")
        second = await offered(company, a, agents, task={"do": "more"})
        await company.until(lambda: second.reason is not None)
        assert "N-BUSY" in second.reason and second.state == "offered"
        go.set()
        await company.until(lambda: second.state == "answered")
        assert len(work.runs) == 2


async def test_a_delegator_that_moved_is_answered_where_it_is_now(company, agents):
    go, work = threading.Event(), record_of("ears")

    def slow(agent, delegation, progress):
        go.wait(20)
        return work(agent, delegation, progress)

    async with company.node("b") as b:
        await serving(b, slow)
        async with company.node("a") as a:
            handle = await offered(company, a, agents)
            await handle.wait("working")
        async with company.node("a", at="elsewhere") as a:
            again = await a.handed_out(handle.delegation)
            await company.until(lambda: b._delegating.inbox._machine.get(handle.delegation.id).addresses == a.addresses)
            go.set()
            await company.until(lambda: again.state == "answered")


async def test_what_nobody_takes_yet_waits_until_somebody_does(company, agents):
    work = record_of("ears")
    async with company.node("b") as b, company.node("a") as a:
        handle = await offered(company, a, agents)
        await company.until(lambda: handle.reason is not None)
        assert "N-NOT-AVAILABLE" in handle.reason
        await serving(b, work)
        await company.until(lambda: handle.state == "answered")


@pytest.mark.spec("DLG-6")
async def test_a_delegate_that_moved_is_found_by_its_providers_and_believed_for_its_answer(company, agents):
    work = record_of("ears")
    async with company.node("b", at="elsewhere") as b, company.node("a") as a:
        await serving(b, work)
        await b.network.provide(agents[1])
        handle = await offered(company, a, agents)
        await company.until(lambda: handle.state == "answered")
        assert len(work.runs) == 1 and await handle.result() in b.home.store.by_kind("observation")
