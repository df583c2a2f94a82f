"""Two programs agree on equivocation, pruning and summaries: one of them was written from docs/spec alone."""

from __future__ import annotations

import pytest
from federations import Federation, Log, rebuilt, without
from test_independent_reader import agreed, decide

from tslg.protocol.codec import Link
from tslg.protocol.errors import BundleError

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
