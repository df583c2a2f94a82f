"""Asking peers about a log: who has no answer is passed over, who breaks the protocol cut off, nothing believed."""

from __future__ import annotations

import pytest
import trio
from hearing import grow
from world import World

from tslg.node.heads.asking import Asking, each_once
from tslg.node.net.errors import NotAvailable
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.node.schemes import Schemes
from tslg.node.serving import Server
from tslg.node.store.interface import LogState
from tslg.node.store.memory import MemoryStore
from tslg.protocol import extending
from tslg.protocol.exchange import LOG, ProofsReply, records_chunk
from tslg.protocol.limits import DEFAULT
from tslg.protocol.log import Peaks


@pytest.fixture
def world():
    return World()


def holder(world, *authors):
    """Return a server of these logs, held whole."""
    store = MemoryStore()
    for author in authors:
        peaks = Peaks()
        for record in author.log:
            peaks.append(record.id)
        state = LogState(author.owner, len(author.log), author.last.id, author.last.time, peaks)
        store.append([(record, world.seals[record.id]) for record in author.log], [state])
    return Server(store, lambda agent: ())


async def asked(handler, question):
    """Ask a peer with that handler something; return the answer, and whether it was cut off for its own."""
    hub = MemoryHub()
    peer, node = hub.network("peer"), hub.network("node")
    peer.serve(LOG, handler)
    async with running(peer), running(node):
        answer = await question(Asking(node, Schemes("sha2-256"), DEFAULT))
        return answer, "peer" in node._cut_off


@pytest.mark.parametrize(
    ("old", "new"), [(1, 2), (1, 9), (2, 3), (2, 7), (3, 4), (4, 5), (4, 21), (5, 21), (8, 9), (16, 21)]
)
@pytest.mark.spec("ANN-8")
async def test_a_path_is_had_from_whoever_holds_the_log(world, old, new):
    author = grow(world, world.agent("author"), 20)
    path, cut_off = await asked(holder(world, author).log, lambda asking: asking.path("peer", author.owner, old, new))
    assert path == extending.path_in_tree(author.tree, old, new) and not cut_off


async def test_a_peer_that_does_not_hold_the_log_is_passed_over(world):
    author, other = grow(world, world.agent("author"), 9), world.agent("other")
    server = holder(world, other)
    for old, new in ((1, 2), (2, 3), (4, 5), (3, 7)):
        answer = await asked(server.log, lambda asking: asking.path("peer", author.owner, old, new))  # noqa: B023
        assert answer == (None, False)
    assert await asked(server.log, lambda asking: asking.record("peer", author.owner, 3)) == (None, False)
    assert await asked(server.log, lambda asking: asking.record("peer", other.owner, 7)) == (None, False)
    found, _ = await asked(server.log, lambda asking: asking.record("peer", other.owner, 0))
    assert found[0].id == other.owner


async def test_a_peer_that_says_so_is_passed_over_and_one_that_talks_nonsense_cut_off(world):
    author = grow(world, world.agent("author"), 9)

    async def unavailable(request, peer):
        raise NotAvailable("not here")
        yield b""

    async def nonsense(request, peer):
        yield b"\xff"

    async def much(request, peer):
        yield records_chunk([(author.log[3].data, b""), (author.log[4].data, b"")])

    async def another(request, peer):
        yield records_chunk([(author.log[4].data, b"")])

    async def nothing(request, peer):
        yield ProofsReply((), ()).to_bytes()

    for handler, cut_off in ((unavailable, False), (nonsense, True), (much, True), (another, False)):
        assert await asked(handler, lambda asking: asking.record("peer", author.owner, 3)) == (None, cut_off)
    for handler, cut_off in ((unavailable, False), (nonsense, True), (nothing, False)):
        assert await asked(handler, lambda asking: asking.path("peer", author.owner, 3, 7)) == (None, cut_off)


def test_peers_are_named_once_and_never_this_node():
    peers = ["a", "", "/memory/b/p2p/b", "a", "/memory/me/p2p/me", "me", "b"]
    assert each_once(peers, ["me"]) == ["a", "/memory/b/p2p/b", "b"]


async def test_a_peer_that_stalls_is_left_alone_for_a_minute(world, autojump_clock):
    author = grow(world, world.agent("author"), 9)

    async def stall(request, peer):
        await trio.sleep_forever()
        yield b""

    hub = MemoryHub()
    peer, node = hub.network("peer"), hub.network("node")
    peer.serve(LOG, stall)
    async with running(peer), running(node):
        asking = Asking(node, Schemes("sha2-256"), DEFAULT)
        before = trio.current_time()
        assert asking.willing("peer") and await asking.record("peer", author.owner, 3) is None
        assert trio.current_time() - before < 5
        assert not asking.willing("peer") and asking.willing("another")
        await trio.sleep(60)
        assert asking.willing("peer")
