"""Revocations over the network: a server sends them with a walk, and an audit applies them."""

from __future__ import annotations

import pytest
from world import World

from tslg.node.auditor import Auditor
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.node.serving import Server
from tslg.node.store.interface import LogState
from tslg.node.store.memory import MemoryStore
from tslg.protocol.exchange import LOG, WALK
from tslg.protocol.log import Peaks

pytestmark = pytest.mark.spec("KEY-9", "KEY-10")


def stored(w: World, seals: dict | None = None) -> MemoryStore:
    """Put all logs of a graph into a store as they are, whatever the rules say; `seals` replaces some of the seals."""
    sealed = w.seals | (seals or {})
    store = MemoryStore()
    for author in w.authors.values():
        peaks = Peaks()
        for record in author.log:
            peaks.append(record.id)
        state = LogState(author.owner, len(author.log), author.last.id, author.last.time, peaks)
        store.append([(record, sealed[record.id]) for record in author.log], [state])
    return store


def graph():
    """An agent that revoked its first key at position 4, and an action that the thief of it sealed afterwards."""
    w = World()
    w.a = w.agent("a")
    first = w.a.key
    w.early = w.add(w.a, "policy")
    w.rotate(w.a)
    w.add(w.a, "state")
    w.end = w.revoke(w.a, first)
    w.late = w.add(w.a, "action", None, {"policy": [w.early], "prior": [w.early]})
    w.taken = w.slip(w.a, "action", None, {"policy": [w.early], "prior": [w.early]}, key=first)
    w.last = w.add(w.a, "state", None, {"prior": [w.early]})
    return w


async def audit(w: World, target, own: MemoryStore | None = None, withholds: bool = False, **how):
    hub = MemoryHub()
    serving, asking = hub.network("server"), hub.network("auditor")
    server = Server(stored(w), lambda agent: ())
    if withholds:
        server._source.revocations = lambda agent: {}
    serving.serve(WALK, server.walk)
    serving.serve(LOG, server.log)
    async with running(serving), running(asking):
        auditor = Auditor(asking, w.federation, clock=lambda: w.now_ms, store=own)
        return await auditor.audit(target.id, [serving.addresses[0]], **how)


@pytest.mark.parametrize("signatures", ["all", "heads"])
async def test_a_served_revocation_ends_its_key_for_the_auditor(signatures):
    w = graph()
    for target in (w.early, w.late, w.last):
        assert (await audit(w, target, signatures=signatures)).verdict == "valid"
    report = await audit(w, w.taken, signatures=signatures)
    assert [(finding.code, finding.record) for finding in report.findings] == [("TSLG-A-REVOKED", w.taken.id)]


async def test_the_revocation_costs_no_further_round_trip():
    w = graph()
    report = await audit(w, w.late)
    assert report.round_trips == 1


async def test_a_withheld_revocation_shows_in_the_whole_log_and_to_whoever_kept_it():
    w = graph()
    assert (await audit(w, w.taken, withholds=True)).verdict == "valid", "a bounded walk rests on what it is handed"
    assert (await audit(w, w.taken, withholds=True, log="full")).verdict == "invalid"
    own = MemoryStore()
    own.append([(w.end, w.seals[w.end.id])])
    for withholds in (True, False):
        report = await audit(w, w.taken, own=own, withholds=withholds)
        assert [finding.code for finding in report.findings] == ["TSLG-A-REVOKED"]


async def serve_spoiled(w: World, target, own: MemoryStore, spoiled, revocations, beside=()):
    """Audit what a server serves that knows better: with spoiled seals, and whatever it likes to add unasked."""
    hub = MemoryHub()
    serving, asking = hub.network("server"), hub.network("auditor")
    server = Server(stored(w, {record.id: w.seals[record.id][:-1] + b"?" for record in spoiled}), lambda agent: ())
    server._source.revocations = lambda agent: {record.id: (record.data, b"forged") for record in revocations}
    server._source.beside = lambda agent: [(record.id, (record.data, b"forged")) for record in beside]
    serving.serve(WALK, server.walk)
    serving.serve(LOG, server.log)
    async with running(serving), running(asking):
        auditor = Auditor(asking, w.federation, clock=lambda: w.now_ms, store=own)
        return await auditor.audit(target.id, [serving.addresses[0]])


async def test_no_peer_crowds_out_or_spoils_a_revocation_that_was_kept():
    w = graph()
    first, second = w.a.owner, w.end.key
    own = MemoryStore()
    own.append([(w.held[id], w.seals[id]) for id in (second, w.end.id)])
    body = w.ending(w.a, first, 9)
    forged = [w.make(w.a.fork(3), "revocation", body | {"reason": str(number)}) for number in range(300)]
    spoiled = [w.end]
    for added in (spoiled, forged, [*forged, w.end]):
        report = await serve_spoiled(w, w.taken, own, [w.held[second]], added)
        # Whoever serves the walk can leave out the proofs that tie it together, and so spoil them; no more than that.
        assert report.verdict != "valid"
        assert added is not spoiled or [finding.code for finding in report.findings] == ["TSLG-A-REVOKED"]


@pytest.mark.spec("EQV-6")
async def test_no_peer_crowds_out_or_spoils_the_proof_of_a_fork_that_was_kept():
    w = graph()
    rival = w.make(w.a.fork(3), "state", {"name": "another"})
    own = MemoryStore()
    own.keep_rivals([(w.a.log[3], w.seals[w.a.log[3].id]), (rival, w.seal(rival, w.a))])
    forged = [w.make(w.a.fork(3), "state", {"name": str(number)}) for number in range(300)]
    for added in ([rival], forged, [rival, *forged]):
        report = await serve_spoiled(w, w.last, own, [], [], added)
        assert "TSLG-V-FORK" in {finding.code for finding in report.findings}
