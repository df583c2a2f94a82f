"""The ledger: many threads, one log; batches that hold whole or not at all; a store that disagrees is believed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path

import pytest
from world import NOW, source

from tslg.manifests.agent_keys import SigningKey
from tslg.node.drafting import Draft
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.admission import SEAL_RULES, RuleBook, judge
from tslg.protocol.chains import JOINT
from tslg.protocol.errors import Refusal, StoreError, UsageError
from tslg.protocol.keys import KEY_EVENTS
from tslg.protocol.kinds import KINDS
from tslg.protocol.record import Edge, parse_as


class Clock:
    """A clock that a test sets, and that goes on by itself unless it is stopped."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        self.now += 1
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def home(tmp_path, clock):
    with Home.open(tmp_path / "home", clock=clock, random_bytes=source("ledger")) as opened:
        yield opened


def log_of(home, agent):
    state = home.store.log_state(agent.id)
    rows = home.store.log_range(agent.id, 0, state.size)
    return [parse_as(id, entry.data) for id, entry in rows]


def test_threads_that_append_at_once_lose_nothing_and_keep_their_order(home):
    agents = [home.agent(name) for name in ("a", "b")]
    before = [len(log_of(home, agent)) for agent in agents]
    made: dict[int, list] = {}

    def work(number: int) -> None:
        made[number] = [agents[number % 2].act(f"{number}", {"step": step}) for step in range(25)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    for which, agent in enumerate(agents):
        log = log_of(home, agent)
        assert [record.seq for record in log] == list(range(before[which] + 100))
        assert all(later.prev == earlier.id and later.time >= earlier.time for earlier, later in pairwise(log))
        position = {record.id: record.seq for record in log}
        for number in range(which, 8, 2):
            seqs = [position[record.id] for record in made[number]]
            assert seqs == sorted(seqs) == [record.seq for record in made[number]]
        assert (
            verify(StoreSource(home.store), log[-1].id, home.federation, now_ms=home.clock(), log="full").exit_code == 0
        )
    assert home.store.check() == []


def test_threads_that_wait_for_the_disk_are_committed_together(home, monkeypatch):
    agent = home.agent("a")
    commits = []
    append, gate = home.store.append, threading.Event()

    def slow(items, *rest):
        commits.append(len(items))
        gate.wait(5)
        append(items, *rest)

    monkeypatch.setattr(home.store, "append", slow)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(agent.act, f"{number}") for number in range(8)]
        while len(home.ledger._turns._waiting) < 7:
            threading.Event().wait(0.001)
        gate.set()
        made = [one.result() for one in waiting]
    assert commits == [1, 7]
    assert sorted(record.seq for record in made) == list(range(2, 10))


def test_a_refused_draft_fails_its_own_caller_alone(home):
    agent = home.agent("a")
    good = Draft("observation", {"source": "x"}, {"prior": [Edge(agent.id)]})
    bad = Draft("decision", {"name": "x", "outcome": "y"}, {"prior": [Edge(agent.id)]})
    worse = Draft("observation", {"source": "x"}, {"prior": [object()]})
    results: dict[int, object] = {}

    def work(number: int) -> None:
        try:
            results[number] = home.ledger.append(agent.id, (good, bad, worse)[number % 3])
        except Exception as error:
            results[number] = error

    with ThreadPoolExecutor(9) as pool, home.ledger._lock:
        for number in range(9):
            pool.submit(work, number)
        while len(home.ledger._turns._waiting) < 8:
            threading.Event().wait(0.001)
    assert [isinstance(results[number], Refusal) for number in range(9)] == [number % 3 == 1 for number in range(9)]
    seqs = sorted(results[number].seq for number in range(0, 9, 3))
    assert seqs == [2, 3, 4] and [record.seq for record in log_of(home, agent)] == list(range(5))


def test_a_batch_that_raises_leaves_nothing_and_the_log_goes_on(home):
    agent = home.agent("a")
    first = agent.state({"step": 0})
    with pytest.raises(ZeroDivisionError), agent.batch():
        lost = agent.state({"step": 1})
        agent.act("on the lost state")
        raise ZeroDivisionError
    assert not home.store.has(lost.id)
    assert [record.id for record in log_of(home, agent)][-1] == first.id
    after = agent.act("after")
    assert after.seq == first.seq + 1 and after.preds["prior"][0].cid == first.id
    assert home.store.check() == []


def test_what_a_batch_records_may_cite_itself_and_is_durable_together(home, monkeypatch):
    agent = home.agent("a")
    commits = []
    append = home.store.append
    monkeypatch.setattr(home.store, "append", lambda items, *rest: commits.append(len(items)) or append(items, *rest))
    with agent.batch():
        seen = agent.observe("x")
        made = agent.decide("y", "z", evidence=[seen])
        assert commits == []
    assert commits == [2] and made.seq == seen.seq + 1


def test_a_refusal_in_a_batch_undoes_all_of_it_unless_it_is_caught(home):
    agent = home.agent("a")
    size = len(log_of(home, agent))
    with pytest.raises(Refusal), agent.batch():
        agent.observe("x")
        agent.act("y", uses=["what nobody granted"])
    assert len(log_of(home, agent)) == size
    with agent.batch():
        agent.observe("x")
        with pytest.raises(Refusal):
            agent.act("y", uses=["what nobody granted"])
        agent.observe("z")
    assert [record.seq for record in log_of(home, agent)] == list(range(size + 2))


def test_a_batch_that_raises_puts_back_every_log_that_it_touched(home):
    first, second, idle = (home.agent(name) for name in ("a", "b", "c"))
    ends = [home.store.log_state(agent.id) for agent in (first, second, idle)]
    with pytest.raises(RuntimeError), first.batch():
        first.state({"step": 1})
        second.act("beside it")
        raise RuntimeError
    for agent, end in zip((first, second, idle), ends, strict=True):
        made = agent.act("after it")
        assert (made.seq, made.prev, made.log.root) == (end.size, end.last, end.peaks.root())
        assert made.preds["prior"] == (Edge(agent.id),)


def test_a_key_is_known_only_while_its_record_is_staged_or_stored(home, tmp_path):
    with Home.open(tmp_path / "other", random_bytes=source("other")) as other:
        genesis = parse_as(other.agent("a").id, other.store.get(other.agent("a").id).data)
    context = home.ledger.context
    context.staged[genesis.id] = genesis
    assert context.key(genesis.id).public == genesis.body["key"]
    context.staged.clear()
    assert context.key(genesis.id) is None


def test_batches_do_not_nest(home):
    agent = home.agent("a")
    with agent.batch():
        agent.observe("x")
        with pytest.raises(UsageError, match="under way"), agent.batch():
            pass
    assert log_of(home, agent)[-1].body["source"] == "x"


def test_a_store_that_fails_leaves_the_log_as_it_was(home, monkeypatch):
    agent = home.agent("a")
    before = agent.observe("before")
    append = home.store.append

    def full(items, *rest):
        raise StoreError("no space", code="TSLG-D-FULL")

    monkeypatch.setattr(home.store, "append", full)
    with pytest.raises(StoreError):
        agent.state({"lost": True})
    monkeypatch.setattr(home.store, "append", append)
    assert agent.observe("after").seq == before.seq + 1


def test_an_interruption_after_the_commit_is_no_fork(home, monkeypatch):
    """The store is believed: had it committed, the log goes on behind what it holds."""
    agent = home.agent("a")
    append = home.store.append

    def interrupted(items, *rest):
        append(items, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(home.store, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        agent.observe("committed")
    monkeypatch.setattr(home.store, "append", append)
    assert log_of(home, agent)[-1].body["source"] == "committed"
    assert agent.observe("next").seq == 3 and home.store.check() == []


def test_time_never_goes_back_when_the_clock_does(home, clock):
    agent = home.agent("a")
    first = agent.observe("first")
    clock.now = NOW - 100_000
    held = agent.observe("held")
    assert held.time == first.time
    clock.now = first.time + 50
    assert agent.observe("on").time == first.time + 51


def test_a_clock_that_ran_ahead_stops_the_log_until_time_catches_up(home, clock):
    agent = home.agent("a")
    clock.now = NOW + 3_600_000
    ahead = agent.observe("ahead")
    clock.now = NOW
    with pytest.raises(Refusal) as caught:
        agent.observe("too early")
    assert caught.value.code == "TSLG-A-CLOCK" and "clocks" in caught.value.mend
    clock.now = ahead.time - 200_000
    assert agent.observe("within the skew").time == ahead.time


def test_a_log_that_is_not_this_nodes_cannot_be_written(home):
    with pytest.raises(UsageError, match="does not write"):
        home.ledger.append(home.federation, Draft("observation", {"source": "x"}, {}))
    with pytest.raises(UsageError, match="not held"):
        home.ledger.open_log(home.agent("a").id[:-1] + b"x", home.agent("a").keys[0].key, SigningKey(-19, bytes(32)))


def test_a_record_of_an_own_log_that_comes_from_elsewhere_is_followed(home, tmp_path):
    """A log restored from a copy may be behind what others hold; what they hand back is admitted and gone on from."""
    import shutil

    agent = home.agent("a")
    agent.observe("before")
    home.close()
    shutil.copytree(home.path, tmp_path / "copy")
    with Home.open(home.path, clock=home.clock) as ahead:
        later = ahead.agents[0].observe("later")
        entry = ahead.store.get(later.id)
    with Home.open(tmp_path / "copy", clock=home.clock) as behind:
        behind.ledger.admit(entry.data, entry.seal)
        assert behind.agents[0].observe("next").seq == later.seq + 1
        assert behind.store.check() == []


def test_admit_runs_every_rule_and_stores_nothing_that_is_refused(home, tmp_path):
    agent = home.agent("a")
    record = agent.observe("x")
    entry = home.store.get(record.id)
    assert home.ledger.admit(entry.data, entry.seal) == record
    with Home.open(tmp_path / "other", clock=home.clock, random_bytes=source("other")) as other:
        with pytest.raises(Refusal) as caught:
            other.ledger.admit(entry.data, entry.seal)
        assert caught.value.code == "TSLG-A-MANIFEST"
        assert not other.store.has(record.id)


def test_withdrawn_authority_is_refused_before_and_after_the_transaction_that_withdraws_it(home):
    agent = home.agent("a")
    ledger = home.ledger
    policy = agent.policy("short-lived")

    def draft(kind, body, **preds):
        return Draft(kind, body, {name: [Edge(one)] for name, one in preds.items()})

    def use():
        return ledger.append(agent.id, draft("action", {"name": "act"}, policy=policy.id))

    withdraw = draft("retraction", {"reason": "no more"}, retracts=policy.id)
    use()
    with pytest.raises(ZeroDivisionError), ledger.transaction():
        ledger.append(agent.id, withdraw)
        with pytest.raises(Refusal, match="TSLG-A-SUPERSEDED"):
            use()
        raise ZeroDivisionError
    use()
    ledger.append(agent.id, withdraw)
    with pytest.raises(Refusal, match="TSLG-A-SUPERSEDED"):
        use()


@pytest.mark.parametrize("kind", sorted(k.name for k in KINDS.values() if not k.first and "agent" in k.issuer))
def test_a_plain_seal_is_one_that_the_rule_of_seals_admits(home, kind):
    agent = home.create_agent("a")
    log = home.ledger._logs[agent.id]
    path = Path(__file__).parents[1] / "protocol" / "test_kinds.py"
    spec = spec_from_file_location("kinds_of_bodies", path)
    bodies = module_from_spec(spec)
    spec.loader.exec_module(bodies)
    draft = Draft(kind, bodies.BODIES_OF[kind], {"prior": [Edge(agent.id)]})
    in_force = home.ledger._in_force()
    record, _ = draft.build(log, in_force, NOW, draft.preds, source("plain"))
    seal, plain = draft.seal(record, log, in_force)
    assert plain == (kind not in KEY_EVENTS and kind != JOINT)
    if plain:
        assert judge(record, seal, home.ledger.context, SEAL_RULES) is None
        forged = seal[:-1] + bytes([seal[-1] ^ 1])
        assert judge(record, forged, home.ledger.context, SEAL_RULES).code == "TSLG-A-SEAL"


def test_what_agents_append_passes_the_rule_of_seals_as_well(home, monkeypatch):
    asked = []

    def admit(book, record, seal, *, sealed=False):
        asked.append(sealed)
        real(book, record, seal, sealed=False)

    real = RuleBook.admit
    monkeypatch.setattr(RuleBook, "admit", admit)
    agent = home.create_agent("a")
    agent.adopt(agent.policy("p"))
    with agent.batch():
        seen = agent.observe("sensor", {"reading": 1})
        agent.decide("d", "yes", evidence=agent.act("x", evidence=seen))
    assert asked.count(True) == home.store.log_state(agent.id).size - 1 == 5
