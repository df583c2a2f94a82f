"""Seals that are spoiled on their way: whose fault that is, and what an audit makes of it."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

import pytest
from world import World

from tslg.node.auditor import Auditor
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.node.serving import Server
from tslg.node.store.memory import MemoryStore
from tslg.protocol.exchange import LOG, WALK

pytestmark = pytest.mark.spec("VER-21", "VER-22")


class Net:
    """Peers that each hold the logs of one graph, or part of them, some with other seals."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.hub = MemoryHub()
        self.peers = []
        self.walks: list[str] = []

    def peer(self, name: str, spoiled=(), lacks=(), mark: bytes = b"?") -> None:
        network = self.hub.network(name)
        store = MemoryStore()
        bad = {record.id for record in spoiled}
        for author in self.w.authors.values():
            held = [record for record in author.log if record.id not in {one.id for one in lacks}]
            seals = {record.id: self.w.seals[record.id] for record in held}
            seals |= {id: seals[id][:-1] + mark for id in bad & seals.keys()}
            store.append([(record, seals[record.id]) for record in held])
        server = Server(store, lambda agent: ())

        async def walk(request: bytes, peer: str):
            self.walks.append(name)
            async for chunk in server.walk(request, peer):
                yield chunk

        network.serve(WALK, walk)
        network.serve(LOG, server.log)
        self.peers.append(network)

    async def audit(self, target, own: MemoryStore | None = None, **how):
        asking = self.hub.network("auditor")
        async with AsyncExitStack() as stack:
            for network in (*self.peers, asking):
                await stack.enter_async_context(running(network))
            auditor = Auditor(asking, self.w.federation, clock=lambda: self.w.now_ms, store=own)
            return await auditor.audit(target.id, [peer.addresses[0] for peer in self.peers], **how)


@pytest.fixture
def w() -> World:
    w = World()
    w.a, w.b = w.agent("a"), w.agent("b")
    w.policy = w.add(w.a, "policy")
    w.seen = w.add(w.b, "observation")
    w.target = w.add(w.a, "state", None, {"prior": [w.policy], "evidence": [w.seen]})
    w.every = [record for author in w.authors.values() for record in author.log]
    return w


def spoilers(caplog) -> set[str]:
    return {one.peer for one in caplog.records if one.name == "tslg.node.doubting" and one.levelno == logging.WARNING}


@pytest.mark.parametrize("signatures", ["all", "heads"])
@pytest.mark.parametrize("what", ["target", "seen", "genesis", "manifest", "everything"])
async def test_a_seal_that_one_peer_spoiled_convicts_the_peer_and_not_the_author(w, what, signatures, caplog):
    spoiled = {"target": [w.target], "seen": [w.seen], "genesis": [w.b.log[0]], "manifest": [w.held[w.federation]]}
    net = Net(w)
    net.peer("liar", spoiled.get(what, w.every))
    net.peer("other")
    report = await net.audit(w.target, signatures=signatures)
    assert report.verdict == "valid", report.findings
    assert spoilers(caplog) == {"liar"}


async def test_what_all_peers_have_unsealed_is_invalid_and_costs_one_question_more(w, caplog):
    net = Net(w)
    for name in ("one", "two", "three"):
        net.peer(name, [w.seen])
    report = await net.audit(w.target)
    assert [(one.code, one.record) for one in report.findings] == [("TSLG-A-SEAL", w.seen.id)]
    assert net.walks == ["one", "two", "three"] and spoilers(caplog) == set()


async def test_who_answers_with_another_bad_seal_makes_nobody_a_spoiler(w, caplog):
    net = Net(w)
    net.peer("honest", [w.seen])
    net.peer("liar", [w.seen], mark=b"!")
    report = await net.audit(w.target)
    assert report.verdict == "invalid" and spoilers(caplog) == set()


async def test_a_bad_seal_hides_no_good_one_that_comes_later(w, caplog):
    net = Net(w)
    net.peer("liar", [w.seen])
    net.peer("second liar", [w.seen], mark=b"!")
    net.peer("honest")
    assert (await net.audit(w.target)).verdict == "valid"
    assert spoilers(caplog) == {"liar"}


async def test_the_own_stores_seal_wins(w, caplog):
    net = Net(w)
    net.peer("liar", [w.seen])
    own = MemoryStore()
    own.append([(w.seen, w.seals[w.seen.id])])
    assert (await net.audit(w.target, own)).verdict == "valid"
    assert spoilers(caplog) == {"liar"}


async def test_nobody_is_convicted_on_the_word_of_a_peer_that_spoils_seals(w):
    net = Net(w)
    net.peer("liar", w.every)
    net.peer("other", lacks=[w.seen])
    report = await net.audit(w.target)
    assert report.verdict == "undetermined" and report.findings == ()
    assert w.seen.id in {one.record for one in report.undetermined if one.reason.startswith("absent")}


async def test_a_single_peer_that_nobody_contradicts_is_taken_at_its_word(w):
    net = Net(w)
    net.peer("only", [w.seen])
    assert (await net.audit(w.target)).verdict == "invalid"
