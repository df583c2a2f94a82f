"""The pool of an audit: what arrives is opened once, its first seal stays, and its signature is really checked."""

from __future__ import annotations

import pytest
from world import NOW, World, source

from tslg.node.home import Home
from tslg.node.pool import Pool
from tslg.node.sealing import Checks
from tslg.protocol import cid
from tslg.protocol.errors import TslgError
from tslg.protocol.exchange import WalkEnd
from tslg.protocol.limits import DEFAULT
from tslg.protocol.proofs import HeadClaim
from tslg.protocol.walker import Walker


@pytest.fixture
def home(tmp_path):
    ticks = iter(range(NOW, NOW + 10**6))
    with Home.open(tmp_path, clock=lambda: next(ticks), random_bytes=source("pool")) as opened:
        yield opened


@pytest.fixture
def agent(home):
    return home.agent("a")


@pytest.fixture
def pairs(home, agent):
    """The pairs of a log: what registers the key comes first."""
    for n in range(3):
        agent.observe("sensor", {"n": n})
    state = home.store.log_state(agent.id)
    return [tuple(entry) for _, entry in home.store.log_range(agent.id, 0, state.size)]


@pytest.fixture
def checks():
    keys = {}
    with Checks(2, keys) as checks:
        checks.learnt = keys
        yield checks


@pytest.fixture
def pool(home, agent, checks):
    walker = Walker(home.store.log_state(agent.id).last, home.federation, now_ms=NOW + 10**6)
    return Pool(walker, checks.learnt, checks)


def altered(pair):
    data, seal, *_ = pair
    return data, seal[:-1] + bytes([seal[-1] ^ 1])


def test_a_chunk_may_hold_the_key_of_its_own_records(pool, pairs, checks):
    taken = pool.take(pairs)
    outcomes = {one.record.id: one.sealed for one in checks.settle()}
    assert all(outcomes[one.record.id] for one in taken if one.record.kind == "observation")
    assert sum(one.record.kind == "observation" for one in taken) == 3


@pytest.mark.spec("REC-2", "MAN-13")
@pytest.mark.parametrize("order", [1, -1])
def test_records_of_versions_with_other_hashes_get_the_ids_that_their_manifests_give_them(order):
    world = World()
    agent = world.agent("a")
    world.add(agent, "observation")
    before = "sha2-256"
    for after in ("sha2-512", "blake3"):
        amended = {"amends": [world.held[world.newest_manifest]]}
        body = world.amended_body(hash=after)
        world.add(world.anchors, "manifest-amendment", body, amended, hash_name=before)
        world.add(agent, "observation", hash_name=after)
        before = after
    pool = Pool(Walker(agent.last.id, world.federation, now_ms=NOW + 10**6), {}, None)
    everything = [(record.data, world.seals[record.id]) for record in world.held.values()][::order]
    assert {one.record.id for one in pool.take(everything)} == world.held.keys()
    assert len({cid.hash_name(id) for id in world.held}) == 3


def test_a_seal_that_does_not_hold_is_found(pool, pairs, checks):
    *before, last = pairs
    *_, one = pool.take([*before, altered(last)])
    assert {done.record.id: done.sealed for done in checks.settle()}[one.record.id] is False


@pytest.mark.parametrize("first", [lambda pair: pair, altered])
def test_the_first_seal_stays_and_is_the_one_that_is_checked(pool, pairs, checks, first):
    *before, last = pairs
    one = pool.take([*before, first(last)])[-1]
    again = pool.take([altered(last), last])
    assert again == [one, one] and pool.opened[one.record.id].seal == first(last)[1]
    outcomes = [done.sealed for done in checks.settle() if done.record.id == one.record.id]
    assert outcomes == [first(last) == last]


@pytest.mark.spec("WIR-5")
def test_of_a_chunk_with_anything_but_records_nothing_is_taken(pool, pairs):
    with pytest.raises(TslgError):
        pool.take([*pairs, (b"garbage", b"garbage")])
    assert pool.opened == {}


def test_records_that_were_verified_before_are_not_checked_again(home, agent, pairs, checks):
    known = {one.record.id: one.record for one in Pool(_walker(home, agent), {}, None).take(pairs)}
    pool = Pool(_walker(home, agent, known), checks.learnt, checks)
    assert all(one.sealed for one in pool.take(pairs))
    assert list(checks.settle()) == []


def test_the_longest_log_that_is_shown_and_the_first_reason_but_absence_count(pool, pairs, agent):
    *_, third, last = sorted(pool.take(pairs), key=lambda one: one.record.owner == agent.id and one.record.seq)
    shown = [HeadClaim(agent.id, one.record.id, one.record.seq + 1, bytes(32)) for one in (third, last)]
    lies = [
        HeadClaim(agent.id, cid.compute(b"never came"), 99, bytes(32)),
        HeadClaim(agent.id, last.record.id, 98, bytes(32)),
    ]
    for claim, reason in zip([shown[0], *lies, shown[1]], ("absent", "withheld", "pruned", ""), strict=True):
        pool.note_end(WalkEnd(((agent.id, reason),), (claim,)))
    assert pool.newest(agent.id) == (shown[1], last) and pool.reasons == {agent.id: "withheld"}
    assert pool.newest(cid.compute(b"another")) is None


def test_no_more_heads_of_one_log_are_kept_than_help(pool, pairs, agent):
    last = max(pool.take(pairs), key=lambda one: one.record.owner == agent.id and one.record.seq)
    for size in range(DEFAULT.heads_per_log):
        pool.note_head(HeadClaim(agent.id, cid.compute(b"%d" % size), size, bytes(32)))
    pool.note_head(HeadClaim(agent.id, last.record.id, last.record.seq + 1, bytes(32)))
    assert pool.newest(agent.id) is None


def _walker(home, agent, known=None):
    return Walker(home.store.log_state(agent.id).last, home.federation, now_ms=NOW + 10**6, known=known)
