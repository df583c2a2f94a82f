"""A log of one's own that was seen elsewhere: an old copy is not written on, and a fork is kept, said and confessed."""

from __future__ import annotations

import shutil

import pytest
import trio
from world import NOW, source

from tslg.manifests.keys import read_key
from tslg.node.adopting import keep, keep_forks
from tslg.node.catching_up import catch_up
from tslg.node.home import Home
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.node.serving import Server
from tslg.node.sources import StoreSource
from tslg.node.verifying import walk
from tslg.protocol.errors import NetworkError, Refusal, UsageError
from tslg.protocol.exchange import LOG
from tslg.protocol.opening import Opened
from tslg.protocol.record import parse_as
from tslg.protocol.report import INVALID, VALID


class Clock:
    """A clock that goes on by itself."""

    def __init__(self, start: int = NOW) -> None:
        self.now = start

    def __call__(self) -> int:
        self.now += 1
        return self.now


def opened(path, seed, **how):
    return Home.open(path, clock=Clock(how.pop("start", NOW)), random_bytes=source(seed), **how)


class Pair:
    """The home of agent `a`, an old copy of it, and another node of the same federation that holds what `a` said."""

    def __init__(self, path):
        self.path, self.old = path / "a", path / "old"
        with opened(self.path, "a") as home:
            agent = home.agent("a")
            self.id = agent.id
            self.root = (home.manifest_record, home.store.get(home.federation).seal)
            agent.observe("early")
        shutil.copytree(self.path, self.old)
        with opened(self.path, "a", start=NOW + 100) as home:
            self.later = [home.agent("a").observe(f"later {number}") for number in range(3)]
        self.other = path / "b"
        with opened(self.other, "b", federation=self.root) as other, Home.read(self.path) as home:
            self.learn(other, home, self.later[-1].id)

    def agent_of(self, home, name):
        """Make an agent in another node, attested by the federation's one anchor."""
        return home.create_agent(name, anchors=(read_key(self.path / "keys" / "anchor.json"),))

    def learn(self, other, home, target):
        """Have the other node verify all of the log up to a record, and keep it."""
        walked = walk(StoreSource(home.store), target, home.federation, now_ms=NOW + 10_000, log="full")
        assert walked.report.verdict == VALID
        keep(other.ledger, walked, source="peer", now_ms=NOW)


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


def pairs_of(home, *records):
    return [Opened(record, home.store.get(record.id).seal) for record in records]


@pytest.mark.spec("EQV-9")
def test_an_old_copy_that_was_seen_further_elsewhere_is_not_written_on(pair):
    with Home.read(pair.path) as newer, opened(pair.old, "old", start=NOW + 500) as home:
        agent = home.agent("a")
        assert home.ledger.adopt(pairs_of(newer, pair.later[1])) == 0
        with pytest.raises(UsageError) as caught:
            agent.observe("a second history")
        assert caught.value.code == "TSLG-U-BEHIND" and "catch-up" in caught.value.mend
        size = home.store.log_state(pair.id).size
    with opened(pair.old, "old", start=NOW + 600) as home:
        with pytest.raises(UsageError, match="was seen with"):
            home.agent("a").observe("nor after a restart")
        assert home.store.log_state(pair.id).size == size and home.store.forks() == []


def test_a_verified_head_is_enough_to_know_that_one_is_behind(pair):
    with opened(pair.old, "old") as home:
        home.store.record_head(pair.id, 99, bytes(32), None, "witness", NOW)
    with opened(pair.old, "old") as home, pytest.raises(UsageError) as caught:
        home.agent("a").observe("anything")
    assert caught.value.code == "TSLG-U-BEHIND"


def test_what_somebody_else_sealed_blocks_nobody(pair):
    with Home.read(pair.path) as newer, opened(pair.old, "old") as home:
        (one,) = pairs_of(newer, pair.later[2])
        home.ledger.note_own(one.record, one.seal[:-1] + bytes([one.seal[-1] ^ 1]))
        home.agent("a").observe("on it goes")


def test_what_continues_the_log_takes_the_block_away(pair):
    with Home.read(pair.path) as newer, opened(pair.old, "old", start=NOW + 500) as home:
        home.agent("a")
        home.ledger.adopt(pairs_of(newer, pair.later[2]))
        for one in pairs_of(newer, *pair.later):
            home.ledger.admit(one.record.data, one.seal)
        assert home.ledger.blocked(pair.id) is None
        assert home.agent("a").observe("on it goes").seq == pair.later[2].seq + 1


def write_on(pair):
    """Write a second history from the old copy, as a node does that nobody told."""
    with opened(pair.old, "old", start=NOW + 200) as home:
        return home.agent("a").observe("a second history")


@pytest.mark.spec("EQV-2")
def test_a_second_record_for_a_place_is_refused_and_both_are_kept(pair):
    rival = write_on(pair)
    with opened(pair.other, "b") as other, Home.read(pair.old) as old:
        seal = old.store.get(rival.id).seal
        assert other.ledger.adopt([Opened(rival, seal)]) == 0
        (fork,) = other.store.forks()
        assert (fork.owner, fork.seq) == (pair.id, rival.seq)
        assert fork.records == tuple(sorted([rival.id, pair.later[0].id]))
        assert other.store.at(pair.id, rival.seq) == pair.later[0].id
        assert other.store.get(rival.id).data == rival.data and other.store.check() == []


def test_admission_refuses_a_rival_and_keeps_it_only_if_its_seal_holds(pair):
    rival = write_on(pair)
    with opened(pair.path, "a") as home, Home.read(pair.old) as old:
        seal = old.store.get(rival.id).seal
        for forged in (seal[:-1] + bytes([seal[-1] ^ 1]), seal):
            assert home.store.forks() == []
            with pytest.raises(Refusal) as caught:
                home.ledger.admit(rival.data, forged)
            assert caught.value.code == "TSLG-A-FORK"
        assert [fork.seq for fork in home.store.forks(pair.id)] == [rival.seq]
        with pytest.raises(Refusal):
            home.ledger.admit(rival.data, seal)


@pytest.mark.spec("EQV-10")
def test_nothing_is_appended_to_a_forked_log_until_its_author_confesses(pair):
    rival = write_on(pair)
    with opened(pair.path, "a", start=NOW + 1_000) as home, Home.read(pair.old) as old:
        agent = home.agent("a")
        home.ledger.adopt([Opened(rival, old.store.get(rival.id).seal)])
        with pytest.raises(UsageError) as caught:
            agent.observe("as if nothing were")
        assert caught.value.code == "TSLG-U-FORKED" and "record equivocation" in caught.value.mend
        confession = agent.equivocation(agent.id, reason="two processes")
        assert confession.body["reason"] == "two processes"
        later = agent.observe("in the open")
        report = walk(StoreSource(home.store), later.id, home.federation, now_ms=NOW + 5_000).report
        assert [(note.seq, note.confessed) for note in report.forks] == [(rival.seq, True)]
    with opened(pair.path, "a", start=NOW + 2_000) as home:
        home.agent("a").observe("and after a restart")


@pytest.mark.spec("EQV-4")
def test_anybody_can_publish_the_proof_and_strangers_verify_it(pair):
    rival = write_on(pair)
    with opened(pair.other, "b", start=NOW + 1_000) as other, Home.read(pair.old) as old:
        other.ledger.adopt([Opened(rival, old.store.get(rival.id).seal)])
        accuser = pair.agent_of(other, "accuser")
        made = accuser.equivocation(pair.id)
        assert {edge.cid for edge in made.preds["evidence"]} == {rival.id, pair.later[0].id}
        walked = walk(StoreSource(other.store), made.id, other.federation, now_ms=NOW + 9_000)
        assert walked.report.verdict == VALID and walked.report.forks
        with pytest.raises(UsageError) as caught:
            accuser.equivocation(other.federation)
        assert caught.value.code == "TSLG-U-UNKNOWN"


def test_an_audit_that_finds_a_fork_keeps_the_proof_for_whoever_audits(pair, tmp_path):
    rival = write_on(pair)
    with opened(pair.other, "b", start=NOW + 1_000) as other, Home.read(pair.old) as old:
        other.ledger.adopt([Opened(rival, old.store.get(rival.id).seal)])
        walked = walk(StoreSource(other.store), pair.later[2].id, other.federation, now_ms=NOW + 9_000)
        assert walked.report.verdict == INVALID
        with opened(tmp_path / "c", "c", federation=pair.root, start=NOW + 2_000) as third:
            keep_forks(third.ledger, walked)
            assert [fork.seq for fork in third.store.forks(pair.id)] == [rival.seq]
            made = pair.agent_of(third, "accuser").equivocation(pair.id)
            report = walk(StoreSource(third.store), made.id, third.federation, now_ms=NOW + 9_000).report
            assert report.verdict == VALID


# --- fetching it back ------------------------------------------------------------


async def fetched(pair, home):
    """Fetch the log of `a` back from the other node, over a network in memory."""
    with Home.read(pair.other) as other:
        hub = MemoryHub()
        there, here = hub.network("there"), hub.network("here")
        there.serve(LOG, Server(other.store, lambda agent: ()).log)
        async with running(there), running(here):
            return await catch_up(here, home.ledger, pair.id, [there.addresses[0]])


def test_a_log_is_fetched_back_and_written_on(pair):
    with opened(pair.old, "old", start=NOW + 500) as home:
        agent = home.agent("a")
        done = trio.run(fetched, pair, home)
        assert done.added == 3 and home.ledger.blocked(pair.id) is None
        assert agent.observe("on it goes").seq == pair.later[2].seq + 1
        assert home.store.check() == []


def test_a_log_with_a_gap_elsewhere_stays_closed(pair, tmp_path):
    pair.other = tmp_path / "gap"
    with opened(pair.other, "gap", federation=pair.root) as other, Home.read(pair.path) as home:
        target = pair.later[2].id
        walked = walk(StoreSource(home.store), target, home.federation, now_ms=NOW + 9_000)
        keep(other.ledger, walked, source="peer", now_ms=NOW)
        assert other.store.at(pair.id, pair.later[0].seq) is None
    with opened(pair.old, "old", start=NOW + 500) as home:
        home.agent("a")
        assert trio.run(fetched, pair, home).added == 0
        assert home.ledger.blocked(pair.id).code == "TSLG-U-BEHIND"


def test_whoever_wrote_a_second_history_learns_so_from_its_peers(pair):
    write_on(pair)
    with opened(pair.old, "old", start=NOW + 500) as home:
        home.agent("a")
        assert trio.run(fetched, pair, home).added == 0
        assert home.ledger.blocked(pair.id).code == "TSLG-U-FORKED"
        home.agent("a").equivocation(pair.id)
        home.agent("a").observe("in the open")


def test_nobody_answering_is_an_error(pair):
    async def ask(home):
        hub = MemoryHub()
        here = hub.network("here")
        async with running(here):
            await catch_up(here, home.ledger, pair.id, ["/memory/nowhere/p2p/nobody"])

    with opened(pair.old, "old") as home:
        home.agent("a")
        with pytest.raises(NetworkError):
            trio.run(ask, home)


def test_the_other_history_is_known_by_a_head_alone(pair):
    write_on(pair)
    with Home.read(pair.path) as newer:
        state = newer.store.log_state(pair.id)
        first = parse_as(pair.later[1].id, newer.store.get(pair.later[1].id).data)
    with opened(pair.old, "old") as home:
        home.store.record_head(pair.id, first.log.size, first.log.root, None, "witness", NOW)
        assert state.size > first.log.size
    with opened(pair.old, "old") as home, pytest.raises(UsageError) as caught:
        home.agent("a").observe("anything")
    assert caught.value.code == "TSLG-U-FORKED"
