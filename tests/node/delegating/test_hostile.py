"""What strangers can do with delegations that are not theirs: learn nothing, begin nothing, end nothing."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest
import trio
from companies import DAY, ask, grant, record_of

from tslg.node.net import errors
from tslg.protocol.cid import compute
from tslg.protocol.delegating import Cancel, Offer, Proof, Push, State, Status
from tslg.protocol.limits import DEFAULT

B_AT, A_AT = "/memory/b/p2p/b", "/memory/a/p2p/a"


async def refused(network, message, peer=B_AT) -> str:
    with pytest.raises(errors.RequestRefused) as caught:
        await ask(network, peer, message.to_bytes())
    return caught.value.detail


class Scene:
    """a delegates to b, and c captured what a said."""

    def __init__(self, company, a, b, c, alice, bob, work):
        self.company, self.a, self.b, self.c = company, a, b, c
        self.alice, self.bob, self.work = alice, bob, work

    async def hand_out(self, **task):
        policy = await grant(self.alice)
        return await self.a.offer(self.alice, self.bob.id, task, policy, peer=B_AT, expires=self.company.now + 30 * DAY)

    def captured(self, handle) -> Offer:
        site = self.a._delegating.outbox._site
        return Offer(handle.delegation.id, self.a.addresses, site.proof(handle.delegation.id, self.alice.id))


@pytest.fixture
async def scene(company):
    async with company.node("a") as a, company.node("b") as b, company.node("c") as c:
        alice, bob = await a.agent("alice"), await b.agent("bob")
        await c.agent("carol")
        work = record_of("ears")
        b.on_delegation(bob, work)
        yield Scene(company, a, b, c, alice, bob, work)


@pytest.mark.spec("DLG-4")
async def test_a_captured_message_is_worth_nothing_to_anybody_else(scene):
    handle = await scene.hand_out(do="listen")
    offer = scene.captured(handle)
    unknown = offer._replace(delegation=compute(b"nothing"))
    mallory = scene.c.network
    told = {await refused(mallory, Status(unknown.delegation, offer.proof))}
    await handle.result()
    for message in (
        offer,
        Status(offer.delegation, offer.proof),
        Cancel(offer.delegation, compute(b"x"), (), offer.proof),
    ):
        told.add(await refused(mallory, message))
    assert len(told) == 1, "known and unknown ones are told alike"
    assert len(scene.work.runs) == 1 and handle.state == "answered"


@pytest.mark.spec("DLG-4")
async def test_nobody_but_the_delegator_can_hand_it_over_first(scene):
    expires = scene.company.now + 30 * DAY
    made = await scene.alice.delegate(scene.bob.id, {"do": "listen"}, await grant(scene.alice), expires=expires)
    site = scene.a._delegating.outbox._site
    offer = Offer(made.id, scene.a.addresses, site.proof(made.id, scene.alice.id))
    carol = await scene.c.agent("carol")
    report = await scene.c.fetch(made.id, [A_AT])
    assert report.verdict == "valid", "she can serve it as well as anybody"
    own = await trio.to_thread.run_sync(scene.c._delegating.outbox._site.proof, offer.delegation, carol.id)
    for proof in (offer.proof, own, Proof(offer.proof.key, os.urandom(64)), Proof(own.key, offer.proof.signature)):
        await refused(scene.c.network, Offer(offer.delegation, scene.c.addresses, proof))
        await refused(scene.c.network, Cancel(offer.delegation, compute(b"x"), scene.c.addresses, proof))
    assert scene.work.runs == [] and scene.b._delegating.inbox._kept.get(offer.delegation) is None
    assert not scene.b.home.store.has(offer.delegation), "nothing of it is kept"
    handle = await scene.a._delegating.outbox.offer(made, [B_AT])
    await scene.company.until(lambda: handle.state == "answered")


@pytest.mark.spec("DLG-2", "DLG-4")
async def test_nobody_makes_a_node_dial_somebody_else(scene):
    asked = []

    async def listen(request, peer):
        asked.append(peer)
        yield b""

    victim = scene.company.hub.network("victim")
    victim.serve("/tslg/walk/1", listen)
    victim.serve("/tslg/log/1", listen)
    async with trio.open_nursery() as nursery:
        await nursery.start(victim.run)
        offer = Offer(compute(b"nothing"), ("/memory/victim/p2p/victim",) * 64, Proof(compute(b"k"), b""))
        with pytest.raises(errors.Answered):
            await ask(scene.c.network, B_AT, offer.to_bytes())
        nursery.cancel_scope.cancel()
    assert asked == []


@pytest.mark.spec("DLG-6")
async def test_a_pushed_result_is_believed_for_what_it_proves(scene):
    answered = await scene.hand_out(do="listen")
    await answered.result()
    hold = threading.Event()

    def stuck(agent, delegation, progress):
        hold.wait(20)
        return scene.work(agent, delegation, progress)

    scene.b.on_delegation(scene.bob, stuck)
    handle = await scene.hand_out(do="more")
    await handle.wait("working")
    (answer,) = scene.b.home.store.by_kind("answer")
    mallory = scene.c.network
    await scene.c.fetch(answer, [B_AT])
    observed = await (await scene.c.agent("carol")).observe("ears", {"n": 1})
    for wrong in (compute(b"nothing"), answer, observed.id):
        for pushed in (Push(handle.delegation.id, wrong, scene.c.addresses), Push(compute(b"x"), wrong, ())):
            await refused(mallory, pushed, A_AT)
    assert handle.state == "working"
    (chunk,) = await ask(mallory, A_AT, Push(answered.delegation.id, answer, ()).to_bytes())
    assert State.from_bytes(chunk).state == "answered", "who has the answer may well bring it again"
    hold.set()
    await scene.company.until(lambda: handle.state == "answered")


@pytest.mark.spec("DLG-12")
async def test_a_flood_of_offers_is_turned_away_before_it_costs_much(company):
    limits = replace(DEFAULT, delegation_checks_per_peer=1, delegation_checks=1)
    async with company.node("b", limits=limits) as b, company.node("c") as c:
        bob = await b.agent("bob")
        b.on_delegation(bob, record_of("ears"))
        seen, most = [], 0

        async def drip(request, peer):
            nonlocal most
            seen.append(peer)
            most = max(most, sum(b._delegating.inbox._site._checking.values()))
            await trio.sleep(0.05)
            raise errors.NotAvailable("not yet")
            yield b""

        c.network.serve("/tslg/walk/1", drip)
        told = []

        async def flood(n):
            try:
                await ask(c.network, B_AT, Offer(compute(b"%d" % n), c.addresses, Proof(compute(b"k"), b"")).to_bytes())
            except errors.Answered as error:
                told.append(type(error).__name__)

        async with trio.open_nursery() as nursery:
            for n in range(12):
                nursery.start_soon(flood, n)
        assert len(told) == 12 and "Busy" in told and most <= 1
        assert b._delegating.inbox._machine.live() == [] and b._delegating.inbox._site._checking == {}


@pytest.mark.parametrize("garbage", [b"", b"\xff", b"\xa0", bytes(range(64, 128)), b"\xa1bop" + b"\x65offer"])
async def test_garbage_is_an_invalid_request(scene, garbage):
    with pytest.raises(errors.InvalidRequest):
        await ask(scene.c.network, B_AT, garbage)


@pytest.mark.spec("DLG-6")
@pytest.mark.parametrize("chunk", [b"", b"junk", State("offered").to_bytes()[:-1]])
async def test_a_delegate_that_answers_with_garbage_is_tried_again(company, chunk):
    async def answer(request, peer):
        yield chunk

    liar = company.hub.network("liar")
    liar.serve("/tslg/delegate/1", answer)
    async with trio.open_nursery() as nursery:
        await nursery.start(liar.run)
        async with company.node("a") as a:
            alice = await a.agent("alice")
            handle = await a.offer(
                alice, compute(b"liar"), {}, await grant(alice), peer="/memory/liar/p2p/liar", expires=company.now + DAY
            )
            await company.until(lambda: handle.reason is not None)
            assert handle.state == "offered" and "N-VIOLATION" in handle.reason
        nursery.cancel_scope.cancel()


@pytest.mark.spec("DLG-6")
async def test_a_stranger_at_an_address_of_hearsay_ends_nothing(company):
    async def lie(request, peer):
        yield State("refused", reason="never").to_bytes()

    liar = company.hub.network("liar")
    liar.serve("/tslg/delegate/1", lie)
    async with trio.open_nursery() as nursery:
        await nursery.start(liar.run)
        async with company.node("a") as a, company.node("b") as b:
            alice, bob = await a.agent("alice"), await b.agent("bob")
            work = record_of("ears")
            b.on_delegation(bob, work)
            await a.knows(bob.id, ["/memory/liar/p2p/liar"])
            handle = await a.offer(alice, bob.id, {}, await grant(alice), expires=company.now + 9 * DAY)
            await company.until(lambda: company.now > handle.delegation.time + DAY)
            assert handle.state == "offered"
            await a.knows(bob.id, [B_AT])
            await company.until(lambda: handle.state == "answered")
            assert len(work.runs) == 1
        nursery.cancel_scope.cancel()
