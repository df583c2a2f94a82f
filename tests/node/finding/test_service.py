"""A node's contact with others and what it says of itself in the DHT, over hours and days of a clock that jumps."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest
import trio

from tslg.node.config import NodeConfig
from tslg.node.finding import listed
from tslg.node.finding import service as finding_service
from tslg.node.finding.book import SHUNNED_MS, Outcome, Source
from tslg.node.finding.finder import BOOK_META, read_book
from tslg.node.finding.listed import Listed
from tslg.node.finding.service import MOST_DELAY_SECONDS, PROVIDE_SECONDS, Finding
from tslg.node.home import Home
from tslg.node.net.memory import PROVIDER_SECONDS, MemoryHub

HOUR = 3_600.0


def at(name: str) -> str:
    return f"/memory/{name}/p2p/{name}"


@pytest.fixture(autouse=True)
def no_threads(monkeypatch):
    """Do in the task what is done in threads, which a clock that jumps knows nothing of."""

    async def run_sync(work, *arguments, **_):
        await trio.lowlevel.checkpoint()
        return work(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


class Peers:
    """Starts and stops peers of one hub: nodes of which only the service under test runs, and bare ones."""

    def __init__(self, nursery, folder) -> None:
        self.hub = MemoryHub(joined_only=True)
        self.folder = folder
        self._nursery = nursery
        self._scopes = {}
        self.connects = []
        self.provided = []

    async def bare(self, name: str):
        return await self._run(name, self.hub.network(name))

    async def start(self, name: str, *bootstrap: str, home: Home | None = None, **settings):
        network = self.hub.network(name)
        connect, provide = network.connect, network.provide

        async def noted(address, *, given=True):
            self.connects.append((name, trio.current_time(), address))
            await connect(address, given=given)

        async def noted_provide(key):
            self.provided.append((name, trio.current_time(), key))
            await provide(key)

        network.connect, network.provide = noted, noted_provide
        home = home or Home.open(self.folder / name, clock=lambda: int(trio.current_time() * 1000) + 1)
        config = NodeConfig(bootstrap=bootstrap, discovery=True).with_values(settings)
        service = Finding(home, config, chance=lambda: 0.5)
        service.serve(network)
        await self._run(name, network, service)
        return service

    async def _run(self, name, network, service=None):
        async def run(*, task_status):
            with trio.CancelScope() as scope:
                done = trio.Event()
                self._scopes[name] = scope, done
                try:
                    async with trio.open_nursery() as nursery:
                        await nursery.start(network.run)
                        if service is not None:
                            await nursery.start(service.run)
                        task_status.started()
                finally:
                    done.set()

        await self._nursery.start(run)
        return network

    async def stop(self, name: str) -> None:
        scope, done = self._scopes.pop(name)
        scope.cancel()
        await done.wait()
        del self.hub.members[name]


@pytest.fixture
def peers(nursery, tmp_path):
    return Peers(nursery, tmp_path)


async def providers(peers, key):
    """Who can be asked about a key, as somebody sees who is there now."""
    name = f"asker{len(peers.hub.members)}"
    network = await peers.bare(name)
    await network.connect(next(at(one) for one in peers.hub.members if one != name))
    found = await network.find_providers(key)
    await peers.stop(name)
    return found


@pytest.mark.spec("FND-13")
async def test_a_bootstrap_that_comes_up_later_is_found(peers, autojump_clock, caplog):
    service = await peers.start("a", at("hub"))
    agent = service._home.agent("one")
    await trio.sleep(6 * HOUR)
    tries = [when for _, when, _ in peers.connects]
    assert 20 < len(tries) < 6 * HOUR / MOST_DELAY_SECONDS + 20
    gaps = [later - sooner for sooner, later in pairwise(tries)]
    assert gaps[:3] == [1, 2, 4] and max(gaps) <= MOST_DELAY_SECONDS
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 1
    await peers.bare("hub")
    await trio.sleep(1.5 * MOST_DELAY_SECONDS + 10)
    assert await providers(peers, agent.id) == [at("a")]


@pytest.mark.spec("FND-2")
async def test_what_is_provided_stays_found_for_days_and_ends_with_the_node(peers, autojump_clock, monkeypatch):
    monkeypatch.setattr(finding_service, "LOOK_SECONDS", 600.0)
    await peers.bare("hub")
    service = await peers.start("a", at("hub"))
    agent = service._home.agent("one")
    for _ in range(5):
        await trio.sleep(PROVIDER_SECONDS / 2)
        assert await providers(peers, agent.id) == await providers(peers, service._home.federation) == [at("a")]
    times = [when for _, when, key in peers.provided if key == agent.id]
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert max(gaps) <= PROVIDE_SECONDS and len(times) < 2.5 * PROVIDER_SECONDS / PROVIDE_SECONDS / 0.7
    await peers.stop("a")
    await trio.sleep(PROVIDER_SECONDS + 1)
    assert await providers(peers, agent.id) == []


@pytest.mark.spec("FND-2")
async def test_an_agent_that_is_added_is_provided_at_once(peers, autojump_clock):
    await peers.bare("hub")
    service = await peers.start("a", at("hub"))
    await trio.sleep(60)
    agent = service._home.agent("new")
    await trio.sleep(2)
    assert await providers(peers, agent.id) == [at("a")]
    extra = agent.policy("held whole elsewhere").id
    service.also_provide(lambda: [extra])
    await trio.sleep(2)
    assert await providers(peers, extra) == [at("a")]


@pytest.mark.spec("FND-2", "FND-13")
async def test_after_a_restart_of_the_bootstrap_all_is_said_again(peers, autojump_clock):
    await peers.bare("hub")
    service = await peers.start("a", at("hub"))
    await trio.sleep(60)
    await peers.stop("hub")
    peers.hub.providers.clear()
    await trio.sleep(HOUR / 10)
    await peers.bare("hub")
    await trio.sleep(MOST_DELAY_SECONDS * 1.5 + 10)
    assert await providers(peers, service._home.federation) == [at("a")]


@pytest.mark.spec("FND-13")
async def test_who_is_found_by_others_says_what_it_provides(peers, autojump_clock):
    service = await peers.start("first")
    await trio.sleep(2 * HOUR)
    other = await peers.bare("other")
    await other.connect(at("first"))
    await trio.sleep(20)
    assert await other.find_providers(service._home.federation) == [at("first")]


@pytest.mark.spec("FND-11", "FND-13")
async def test_addresses_are_kept_over_a_restart_when_the_bootstrap_is_gone(peers, autojump_clock):
    await peers.bare("hub")
    await peers.bare("friend")
    service = await peers.start("a", at("hub"))
    service.finder.hear([at("friend"), at("never")], Source.TOLD, service._home.federation)
    service.finder.book.reached(at("friend"), 5)
    await trio.sleep(60)
    home = service._home
    await peers.stop("a")
    await peers.stop("hub")
    assert {one.peer for one in read_book(home.store)} == {"hub", "friend", "never"}
    service = await peers.start("a", home=home)
    await trio.sleep(60)
    assert service._network.peers() == ("friend",)
    assert (await service._network.find_providers(home.federation)) == []
    assert await providers(peers, home.federation) == [at("a")]


async def test_a_node_without_discovery_dials_only_whom_it_was_told_to(peers, autojump_clock):
    await peers.bare("hub")
    service = await peers.start("a", at("hub"), discovery=False)
    service.finder.hear([at("friend")], Source.TOLD)
    service.finder.book.reached(at("friend"), 5)
    await trio.sleep(HOUR)
    assert {address for _, _, address in peers.connects} == {at("hub")} and peers.provided == []


async def test_a_node_does_not_dial_itself(peers, autojump_clock):
    await peers.start("a", at("a"))
    await trio.sleep(HOUR)
    assert peers.connects == []


@pytest.mark.spec("FND-14")
async def test_the_operators_list_is_read_again_when_it_changes(peers, autojump_clock, caplog):
    for name in ("one", "two"):
        await peers.bare(name)
    service = await peers.start("a")
    path = service._home.path / listed.FILE

    async def write(content: Listed) -> None:
        path.unlink(missing_ok=True)
        path.write_text(listed.to_text(content))
        await trio.sleep(30)

    await write(Listed(known=(at("one"), at("two"))))
    assert service._network.peers() == ("one", "two")
    await write(Listed(known=(at("one"),), blocked=("two",)))
    assert service._network.peers() == ("one",)
    two = peers.hub.members["two"]
    with pytest.raises(Exception, match="cut off"):
        await two.connect(at("a"))
    path.write_text("known = 7")
    await trio.sleep(30)
    assert "left as it was" in caplog.text and service._network.peers() == ("one",)
    await write(Listed(known=(at("two"),)))
    assert "two" in service._network.peers()
    await peers.stop("one")
    del peers.connects[:]
    await trio.sleep(HOUR)
    assert {address for _, _, address in peers.connects} == set()


@pytest.mark.spec("FND-12")
async def test_who_broke_a_rule_is_shut_out_for_a_day_over_restarts_too(peers, autojump_clock):
    hostile = await peers.bare("hostile")
    service = await peers.start("a")
    service.finder.outcome("hostile", Outcome.BROKE, why="a wrong block")
    home = service._home
    await trio.sleep(60)
    await peers.stop("a")
    service = await peers.start("a", home=home)
    with pytest.raises(Exception, match="cut off"):
        await hostile.connect(at("a"))
    await trio.sleep(SHUNNED_MS / 1000 + 60)
    await hostile.connect(at("a"))
    assert service._network.peers() == ("hostile",)


def test_a_list_is_what_was_written(tmp_path):
    written = Listed().adding(at("a")).adding(at("b")).adding(at("a")).blocking(at("c"))
    (tmp_path / listed.FILE).write_text(listed.to_text(written))
    assert listed.read(tmp_path) == written == Listed((at("a"), at("b")), ("c",))
    assert written.forgetting("a").unblocking("c") == Listed((at("b"),))
    assert listed.read(tmp_path / "nowhere") == Listed()


@pytest.mark.parametrize(
    "text", ["known = 7", "other = []", "known = [7]", "known = ['nonsense']", "blocked = ['/ip4/1']", "known", "\xff"]
)
def test_a_list_that_says_something_else_is_one_line(tmp_path, text):
    from tslg.protocol.errors import TslgError

    (tmp_path / listed.FILE).write_text(text, encoding="latin-1")
    with pytest.raises(TslgError):
        listed.read(tmp_path)


def test_a_book_of_another_version_is_passed_over(tmp_path):
    with Home.open(tmp_path / "a") as home:
        home.store.set_meta(BOOK_META, b"\xa0")
        assert len(read_book(home.store)) == 0
