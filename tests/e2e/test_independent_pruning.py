"""Two programs agree on equivocation, pruning and summaries: one of them was written from docs/spec alone."""

from __future__ import annotations

import hashlib
import io

import pytest
from federations import Federation, Log, rebuilt, without
from test_independent_reader import agreed, decide
from world import NOW, ONE, World

from tslg.manifests.signing import encode_sealed
from tslg.node import pruning
from tslg.node.bundling import write_walked
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import walk
from tslg.protocol.codec import Link
from tslg.protocol.commitment import stretch_root
from tslg.protocol.errors import BundleError

pytestmark = pytest.mark.thorough

own, foreign = Log.own, Log.foreign


@pytest.fixture(scope="module")
def world() -> Federation:
    return Federation()


class Forked:
    """A sealed two decisions for one position; `first` lies in its log."""

    def __init__(self, world: Federation) -> None:
        self.w = world.clone()
        self.second = decide(self.w, body={"outcome": "no"})
        self.w.loose[self.second.id] = self.w.a.records.pop()
        self.first = decide(self.w)

    def accuse(self, log: Log, **changes):
        edge = own if log is self.w.a else foreign
        body = {"agent": self.first.owner, "seq": self.first.seq} | changes
        edges = {"prior": [own(log.last)], "evidence": [edge(self.first), edge(self.second)]}
        return log.add("equivocation", edges, body)

    def say(self, log: Log, *evidence):
        edges = [foreign(record) if record.owner != log.owner else own(record) for record in evidence]
        return log.add("observation", {"prior": [own(log.last)], "evidence": edges}, {"source": "hearsay"})

    def told(self, target, *beside) -> bytes:
        """The bundle of a target with records beside it."""
        data = self.w.bundle(target)
        seals = {id: sealed for log in self.w.logs() for id, sealed in log.seals.items()}

        def more(given):
            listed = {entry[0] for entry in given}
            return [*given, *((r.id, r.data, seals[r.id]) for r in beside if r.id not in listed)]

        return rebuilt(data, records=more, beside=lambda given: [record.id for record in beside])


@pytest.fixture
def forked(world):
    return Forked(world)


def test_an_accusation(forked):
    made = forked.accuse(forked.w.b)
    assert agreed(forked.w.bundle(made), forked.w.root.id) == ("valid", set())
    after = forked.say(forked.w.b, made)
    assert agreed(forked.w.bundle(after), forked.w.root.id) == ("valid", set())


def test_an_accusation_whose_proof_is_left_out(forked):
    made = forked.accuse(forked.w.b)
    data = without(forked.w.bundle(made), forked.second.id)
    assert agreed(data, forked.w.root.id) == ("undetermined", set())


@pytest.mark.parametrize("changes", [{"seq": 3}, {"agent": Link(bytes.fromhex("01711220") + bytes(32))}])
def test_an_accusation_that_shows_something_else(forked, changes):
    made = forked.accuse(forked.w.b, **changes)
    assert agreed(forked.w.bundle(made), forked.w.root.id) == ("invalid", {"TSLG-A-EQUIVOCATION"})


def test_an_accusation_of_one_who_sealed_only_one_of_them(forked):
    forked.w.a.seals[forked.second.id] = forked.w.a.seals[forked.first.id]
    made = forked.accuse(forked.w.b)
    assert agreed(forked.w.bundle(made), forked.w.root.id) == ("invalid", {"TSLG-A-EQUIVOCATION"})


def test_what_rests_on_a_log_from_its_fork_on(forked):
    later = forked.say(forked.w.b, forked.first)
    assert agreed(forked.told(later, forked.second), forked.w.root.id) == ("invalid", {"TSLG-V-FORK"})


def test_what_rests_on_a_log_before_its_fork(forked):
    later = forked.say(forked.w.b, forked.w.policy)
    assert agreed(forked.told(later, forked.first, forked.second), forked.w.root.id) == ("valid", set())


def test_a_confession(forked):
    confession = forked.accuse(forked.w.a, reason="an old copy")
    later = forked.say(forked.w.b, forked.first)
    data = forked.told(later, forked.second, confession)
    assert agreed(data, forked.w.root.id) == ("undetermined", set())


def test_beside_what_is_not_listed(forked):
    data = forked.w.bundle(forked.w.target)
    for listed in ([forked.second.id], [forked.w.target.id] * 2):
        with pytest.raises(BundleError, match="beside"):
            rebuilt(data, beside=lambda given, listed=listed: listed)


# --- pruning ---------------------------------------------------------------------------------------------------------


def set_root_by_the_book(ids):
    """[PRN-1], by the recursive definition of RFC 9162, section 2.1.1."""
    if len(ids) == 1:
        return hashlib.sha256(b"\x00" + bytes.fromhex("74736c672e7072756e65642e763100") + ids[0]).digest()
    split = 1 << ((len(ids) - 1).bit_length() - 1)
    left, right = set_root_by_the_book(ids[:split]), set_root_by_the_book(ids[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_what_a_node_prunes(tmp_path):
    ticks = iter(range(NOW + 10_000, NOW + 90_000_000, 1_000))
    anchors = World(ONE.format(attested=0), "two programs")
    first = anchors.anchors.log[0]
    root = tmp_path / "root.sealed"
    root.write_bytes(encode_sealed(first.data, anchors.seals[first.id]))
    body = {"name": "gc", "horizon_ms": 3_500, "kinds": ["observation"]}
    policy = anchors.add(anchors.anchors, "gc-policy", body, {"prior": [first]})
    anchors.amend(gc={"policy": policy.id}, retention={"state": 5})
    with Home.open(
        tmp_path / "a", federation=root, clock=lambda: next(ticks), random_bytes=lambda size: bytes(size)
    ) as home:
        home.follow_federation([(record, anchors.seals[record.id]) for record in anchors.anchors.log[1:]])
        agent = home.agent("a")
        seen = [agent.observe("sensor", {"n": n}) for n in range(9)]
        decided = agent.decide("go", "yes", evidence=seen)
        planned = pruning.plan(home.store, agent.id, home.manifest, now_ms=home.clock())
        made = pruning.prune(home.ledger, planned)
        assert made.body["root"] == set_root_by_the_book(sorted(planned.pruned.ids)) and len(planned.pruned.ids) > 2
        found = {}
        for target in (decided, made):
            walked = walk(StoreSource(home.store), target.id, home.federation, now_ms=home.clock())
            stream = io.BytesIO()
            write_walked(stream, walked)
            found[target.kind] = agreed(stream.getvalue(), home.federation, now=home.clock())
        assert found == {"decision": ("undetermined", set()), "prune": ("valid", set())}


def test_what_nobody_may_let_go_of(world):
    w = world.clone()
    body = {"name": "gc", "horizon_ms": 0, "kinds": ["genesis"]}
    made = w.log.add("gc-policy", {"prior": [own(w.log.last)]}, body)
    assert agreed(w.bundle(made), w.root.id) == ("invalid", {"TSLG-A-PRUNE"})


def test_pruning_without_a_policy(world):
    w = world.clone()
    body = {"name": "gc", "horizon_ms": 0, "kinds": ["state"]}
    policy = w.log.add("gc-policy", {"prior": [own(w.log.last)]}, body)
    edges = {"policy": [foreign(policy)], "evidence": [own(w.a.records[3])]}
    made = w.a.add("prune", edges, {"before": 4, "count": 1, "root": bytes(32)})
    assert agreed(w.bundle(made), w.root.id) == ("invalid", {"TSLG-A-PRUNE"})


@pytest.mark.parametrize(
    ("first", "last", "part", "verdict"),
    [(1, 3, 2, "valid"), (1, 3, 4, "invalid"), (3, 1, 2, "invalid"), (1, 99, 2, "invalid")],
)
def test_summaries(world, first, last, part, verdict):
    w = world.clone()
    body = {"first": first, "last": last, "root": stretch_root([record.id for record in w.a.records[first : last + 1]])}
    made = w.a.add("summary", {"part": [own(w.a.records[part])]}, body)
    expected = set() if verdict == "valid" else {"TSLG-A-SUMMARY"}
    assert agreed(w.bundle(made), w.root.id) == (verdict, expected)
