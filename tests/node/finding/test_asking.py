# ruff: noqa: RUF059
"""Audits that have to find whom to ask, among peers and provider records that lead nowhere, lie, or have nothing."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tslg.node.auditor import Auditor
from tslg.node.finding.book import Book, Outcome, Source
from tslg.node.finding.finder import Finder
from tslg.node.home import wall_clock
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.protocol.cid import compute
from tslg.protocol.exchange import LOG, WALK, LocateReply, WalkEnd, records_chunk
from tslg.protocol.limits import DEFAULT


def at(name: str) -> str:
    return f"/memory/{name}/p2p/{name}"


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@asynccontextmanager
async def up(hub, name, **handlers):
    """A peer that answers as it likes."""
    network = hub.network(name)
    for protocol, handler in handlers.items():
        network.serve({"walk": WALK, "log": LOG}[protocol], handler)
    async with running(network):
        yield network


class Stranger:
    """An auditor on a network of its own, whose requests, dials and questions to the DHT are counted."""

    def __init__(self, network, federation, book=None, store=None, limits=DEFAULT) -> None:
        self.did = Counter()
        self.asked = []
        self.finder = Finder(network, federation, clock=wall_clock, book=book, store=store, limits=limits)
        self._auditor = Auditor(network, federation, clock=wall_clock, finder=self.finder, store=store, limits=limits)
        for name in ("connect", "find_providers"):
            setattr(network, name, self._counting(name, getattr(network, name)))
        request = network.request

        def counted(peer, protocol, payload, **rest):
            self.asked.append((peer, protocol))
            return request(peer, protocol, payload, **rest)

        network.request = counted

    def _counting(self, name, call):
        async def counted(*arguments, **named):
            self.did[name] += 1
            return await call(*arguments, **named)

        return counted

    async def audit(self, target, *peers, **named):
        return await self._auditor.audit(target, peers, **named)


@asynccontextmanager
async def stranger(hub, federation, **options):
    async with up(hub, f"stranger{len(hub.members)}") as network:
        yield Stranger(network, federation.id, **options)


@asynccontextmanager
async def two(federation, hub):
    """A mill that built on a mine's record and holds no more of the mine's log than it cites."""
    async with AsyncExitStack() as stack:
        mine, mill = [
            await stack.enter_async_context(federation.node(name, network=hub.network(name), discovery=False))
            for name in ("mine", "mill")
        ]
        miner, miller = await mine.agent("mine"), await mill.agent("mill")
        ore = await miner.observe("scale", {"tons": 3})
        for number in range(3):
            ore = await miner.state({"washed": number}, evidence=ore)
        assert (await mill.fetch(ore, mine.addresses, depth=1)).verdict == "valid"
        steel = await miller.decide("melt", "yes", evidence=[ore])
        yield mine, mill, miner, miller, steel


@pytest.mark.spec("FND-9")
async def test_providers_of_the_federation_lead_to_a_record_of_which_nothing_else_is_known(federation, hub):
    async with two(federation, hub) as (mine, mill, miner, miller, steel), stranger(hub, federation) as auditor:
        await mill.network.provide(federation.id)
        await mine.network.provide(miner.id)
        report = await auditor.audit(steel.id)
        assert report.verdict == "valid" and len(report.agents) == 2
        assert dict(report.asked) == {"mill": "answered", "mine": "answered"}
        assert auditor.did["connect"] == 2


@pytest.mark.spec("FND-9")
async def test_whose_record_it_is_may_be_said(federation, hub):
    async with two(federation, hub) as (mine, mill, miner, miller, steel), stranger(hub, federation) as auditor:
        hub.planted = {federation.id: [at(f"bogus{number}") for number in range(1_000)]}
        await mill.network.provide(miller.id)
        await mine.network.provide(miner.id)
        report = await auditor.audit(steel.id, author=miller.id)
        assert report.verdict == "valid" and set(dict(report.asked)) == {"mill", "mine"}
        await mill.network.provide(federation.id)
        lied = await auditor.audit(steel.id, author=miner.id)
        assert lied.verdict == "valid", "it is a hint, and no more: the mine says it has it not"


@pytest.mark.spec("FND-9")
async def test_the_dht_is_not_asked_while_others_have_everything(federation, hub):
    async with two(federation, hub) as (mine, mill, miner, miller, steel), stranger(hub, federation) as auditor:
        report = await auditor.audit(steel.id, *mill.addresses, *mine.addresses)
        assert report.verdict == "valid" and not auditor.did["find_providers"]


@pytest.mark.spec("FND-9")
async def test_what_is_held_is_asked_of_nobody(federation, hub):
    async with two(federation, hub) as (mine, mill, miner, miller, steel):
        await mill.fetch(steel.id, mine.addresses)
        async with stranger(hub, federation, store=mill.home.store) as auditor:
            report = await auditor.audit(miller.id)
            assert report.verdict == "valid"
            assert {protocol for _, protocol in auditor.asked} <= {LOG}


@pytest.mark.spec("FND-10")
async def test_a_thousand_providers_that_are_not_there(federation, hub):
    async with two(federation, hub) as (mine, mill, miner, miller, steel), stranger(hub, federation) as auditor:
        bogus = [at(f"bogus{number}") for number in range(1_000)]
        hub.planted = dict.fromkeys((federation.id, miner.id, miller.id), bogus)
        report = await auditor.audit(steel.id)
        assert report.verdict == "undetermined"
        assert {item.reason for item in report.undetermined} == {"unreachable"}
        assert auditor.did["connect"] <= DEFAULT.strangers_dialled
        assert {code for _, code in report.asked} == {"TSLG-N-UNREACHABLE"}
        assert len(auditor.finder.book) <= DEFAULT.peers_known
        await mill.network.provide(federation.id)
        await mine.network.provide(miner.id)
        again = await auditor.audit(steel.id)
        assert again.verdict == "valid", "who answered is found among many who are not there"
        assert "asked" in again.to_json() and again.digest != report.digest


@pytest.mark.spec("FND-10")
async def test_what_is_missing_is_said_with_whom_was_asked(federation, hub):
    async with two(federation, hub) as (mine, mill, miner, miller, steel), stranger(hub, federation) as auditor:
        hub.faults("mine").down = True
        await mill.network.provide(federation.id)
        report = await auditor.audit(steel.id)
        assert report.verdict == "undetermined"
        assert {item.reason for item in report.undetermined} <= {"absent", "unreachable"}
        assert dict(report.asked) == {"mill": "answered", "mine": "TSLG-N-UNREACHABLE"}
        assert report.to_json()["asked"] == [
            {"peer": "mill", "outcome": "answered"},
            {"peer": "mine", "outcome": "TSLG-N-UNREACHABLE"},
        ]


@pytest.mark.spec("FND-12")
@pytest.mark.parametrize("chunk", [b"garbage", records_chunk([(b"no record", b"no seal")])])
async def test_a_provider_that_hands_over_garbage_is_cut_off_and_not_asked_again(federation, hub, chunk):
    async def garbage(request, peer):
        yield chunk

    book = Book()
    async with two(federation, hub) as (mine, mill, miner, miller, steel), up(hub, "liar", walk=garbage) as liar:
        hub.planted = {federation.id: [at("liar")]}
        await mine.network.provide(miner.id)
        async with stranger(hub, federation, book=book) as auditor:
            assert (await auditor.audit(steel.id)).verdict == "undetermined"
            assert book.shunned("liar", wall_clock()) and book.get("liar").why
            assert liar.peers() == ()
        await mill.network.provide(federation.id)
        async with stranger(hub, federation, book=book) as auditor:
            report = await auditor.audit(steel.id)
            assert report.verdict == "valid" and "liar" not in dict(report.asked)


@pytest.mark.spec("FND-12")
async def test_a_provider_that_has_nothing_is_asked_after_one_that_had_something(federation, hub):
    async def nothing(request, peer):
        yield WalkEnd((), (), (), ()).to_bytes()

    book = Book()
    async with two(federation, hub) as (mine, mill, miner, miller, steel), up(hub, "idle", walk=nothing) as idle:
        for network in (idle, mill.network):
            await network.provide(federation.id)
        for network in (idle, mine.network):
            await network.provide(miner.id)
        async with stranger(hub, federation, book=book) as auditor:
            assert (await auditor.audit(steel.id)).verdict == "valid"
        book.hear(at("idle"), Source.DHT, 1)
        for _ in range(3):
            book.outcome("idle", Outcome.NOTHING, 1)
        assert book.score("idle") < 0 < book.score("mill")
        async with stranger(hub, federation, book=book) as auditor:
            assert (await auditor.audit(steel.id)).verdict == "valid"
            assert (at("idle"), WALK) not in auditor.asked


async def test_addresses_of_others_in_an_answer_cost_a_dial_and_nothing_else(federation, hub):
    wrong = [f"/memory/mine/p2p/nobody{number}" for number in range(64)]

    async def located(request, peer):
        yield LocateReply(tuple(wrong)).to_bytes()

    async def nothing(request, peer):
        yield WalkEnd((), (), (), ()).to_bytes()

    async with two(federation, hub) as (mine, mill, miner, miller, steel):
        mill.network.serve(LOG, located)
        async with stranger(hub, federation) as auditor:
            report = await auditor.audit(steel.id, *mill.addresses)
            assert report.verdict == "undetermined" and auditor.did["connect"] <= 1 + 64
            assert not [peer for peer, _ in auditor.asked if "nobody" in peer]


async def test_a_peer_that_is_shunned_is_not_asked_even_if_it_is_given(federation, hub):
    book = Book()
    book.hear(at("mill"), Source.TOLD, 1)
    everything = two(federation, hub), stranger(hub, federation, book=book)
    async with everything[0] as (mine, mill, miner, miller, steel), everything[1] as auditor:
        auditor.finder.blocked = frozenset(["mill"])
        report = await auditor.audit(steel.id, *mill.addresses)
        assert report.verdict == "undetermined" and not auditor.asked


async def test_garbage_in_the_place_of_addresses_is_passed_over(federation, hub):
    async with two(federation, hub) as (mine, mill, miner, miller, steel), stranger(hub, federation) as auditor:
        garbage = ["", "nonsense/", "/ip4/1", "/p2p/", "/memory/a/p2p/a/b", "mine", *mill.addresses]
        report = await auditor.audit(steel.id, *garbage, *mine.addresses)
        assert report.verdict == "valid"
        assert all(address.startswith("/") for known in auditor.finder.book for address in known.addresses)


async def test_that_something_goes_on_is_shown_while_nobody_answers(federation, hub):
    beats = []
    async with two(federation, hub) as (mine, mill, miner, miller, steel), stranger(hub, federation) as auditor:
        hub.planted = {federation.id: [at(f"bogus{number}") for number in range(20)]}
        await auditor.audit(steel.id, tick=beats.append)
        assert len(beats) > 5 and set(beats) == {0}


async def test_a_target_that_nobody_has(federation, hub):
    async with two(federation, hub) as (mine, mill, miner, miller, steel), stranger(hub, federation) as auditor:
        await mill.network.provide(federation.id)
        report = await auditor.audit(compute(b"no record"))
        assert [(item.record, item.reason) for item in report.undetermined] == [(compute(b"no record"), "absent")]


@pytest.mark.spec("FND-11")
async def test_a_node_notes_who_serves_an_agent_and_tells_others(federation, hub):
    async with two(federation, hub) as (mine, mill, miner, miller, steel), up(hub, "asker") as asker:
        assert mill.finding.finder.known(miner.id) == list(mine.addresses)
        async with stranger(hub, federation) as auditor:
            report = await auditor.audit(steel.id, *mill.addresses)
            assert report.verdict == "valid", "the mill says where the mine is"
            assert not auditor.did["find_providers"] or report.verdict == "valid"
        assert asker.peers() == ()
