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


def stored(w: World) -> MemoryStore:
    """Put all logs of a graph into a store as they are, whatever the rules say."""
    store = MemoryStore()
    for author in w.authors.values():
        peaks = Peaks()
        for record in author.log:
            peaks.append(record.id)
        state = LogState(author.owner, len(author.log), author.last.id, author.last.time, peaks)
        store.append([(record, w.seals[record.id]) for record in author.log], [state])
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
