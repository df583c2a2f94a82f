"""Verifications that build on each other: relied on, deepened, refuted, summed up; and ones that lie."""

from __future__ import annotations

from dataclasses import replace

import pytest
from breach import OPEN
from breaches_flat import FLAT
from world import World

from tslg.node import composing
from tslg.node.adopting import keep, note_verified
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify, walk
from tslg.protocol import composing as protocol_composing
from tslg.protocol.composing import replay
from tslg.protocol.errors import Refusal, UsageError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.report import FrontierEntry


@pytest.fixture(params=["typed", "flat"])
def home(tmp_path, request):
    """A node of its own federation, whose records name edges by class or without."""
    world = World(FLAT if request.param == "flat" else OPEN, "node")
    root = (world.founded.manifest_record, world.founded.seal)
    with Home.open(tmp_path / "node", federation=root) as home:
        yield home


@pytest.fixture
def agents(home):
    return {name: home.agent(name) for name in ("author", "auditor", "second", "third")}


@pytest.fixture
def chain(agents):
    """A target with a long ancestry: ten states, each on an observation, and a decision on all that."""
    author = agents["author"]
    for step in range(10):
        seen = author.observe("sensor", {"n": step})
        author.state({"n": step}, evidence=seen)
    return author.decide("ship", "yes", evidence=author.observe("last"))


def walked(home, target, depth=None, relied=None):
    how = {"now_ms": home.clock(), "depth": depth, "relied": relied}
    return walk(StoreSource(home.store), target, home.federation, **how)


def report_of(home, target, depth=None, relied=None):
    return walked(home, target.id, depth, relied).report


def alone(home):
    return lambda id: verify(StoreSource(home.store), id, home.federation, now_ms=home.clock(), depth=0)


def find(home):
    return composing.as_written(home.store)


def typed(home):
    """Whether edges have classes: where they have none, nothing can be cited as speaking against."""
    return home.manifest.envelope.edges == "typed"


def lie(agent, report, **body):
    """Publish a report that was never made."""
    made = {name: body.pop(name) for name in ("edges", "depth", "frontier", "findings") if name in body}
    return agent.verification(replace(report, **made), **body)


# --- relying ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("VRF-3", "VRF-4", "VRF-5")
def test_a_reader_who_relies_goes_no_deeper_and_says_on_whom(home, agents, chain):
    made = agents["auditor"].verification(report_of(home, chain, 12))
    later = agents["second"].decide("use", "yes", evidence=chain)
    relying = composing.Relying([agents["auditor"].id])
    relying.add(made.id, alone(home))
    report = report_of(home, later, None, relying.reliances)
    whole = report_of(home, later)
    assert report.verdict == whole.verdict == "valid"
    assert report.edges < whole.edges
    (relied,) = report.relied
    assert (relied.record, relied.agent, relied.target, relied.depth, relied.edges) == (
        *(made.id, agents["auditor"].id, chain.id),
        *(12, 12),
    )
    assert chain.id in {entry.record for entry in report.frontier}
    assert report.to_json()["relied"][0]["edges"] == 12 and "relied" not in whole.to_json()
    again = agents["second"].verification(report)
    assert again.body["relied"] == [made.id]
    assert {edge.cid for edge in again.preds["evidence"]} == {later.id, made.id}


@pytest.mark.spec("VRF-3")
def test_what_a_walk_does_not_meet_is_not_relied_on(home, agents, chain):
    other = agents["author"].observe("elsewhere")
    made = agents["auditor"].verification(report_of(home, other))
    relying = composing.Relying([agents["auditor"].id])
    relying.add(made.id, alone(home))
    assert report_of(home, chain, None, relying.reliances).relied == ()


@pytest.mark.spec("VRF-3", "VRF-4")
def test_nobody_is_relied_on_unnamed_or_about_himself_or_for_a_bad_verdict(home, agents, chain):
    report = report_of(home, chain)
    made = agents["auditor"].verification(report)
    own = agents["author"].verification(report)
    lost = agents["auditor"].verification(replace(report, undetermined=(composing.Undetermined(chain.id, "absent"),)))
    trusted = [agents["auditor"].id, agents["author"].id]
    for id, trust, why in (
        (made.id, [], "nobody said to trust"),
        (made.id, [agents["second"].id], "nobody said to trust"),
        (own.id, trusted, "a record of its own"),
        (lost.id, trusted, "found its target undetermined"),
        (chain.id, trusted, "it is a decision"),
    ):
        with pytest.raises(UsageError, match=why) as caught:
            composing.Relying(trust).add(id, alone(home))
        assert caught.value.code == "TSLG-U-RELY"


@pytest.mark.spec("VRF-4")
def test_whom_a_trusted_agent_relied_on_must_be_trusted_too(home, agents, chain):
    first = agents["auditor"].verification(report_of(home, chain))
    later = agents["author"].decide("again", "yes", evidence=chain)
    relying = composing.Relying([agents["auditor"].id])
    relying.add(first.id, alone(home))
    second = agents["second"].verification(report_of(home, later, None, relying.reliances))
    with pytest.raises(UsageError, match="nobody said to trust"):
        composing.Relying([agents["second"].id]).add(second.id, alone(home))
    both = composing.Relying([agents["second"].id, agents["auditor"].id])
    both.add(second.id, alone(home))
    assert both.records.keys() == {first.id, second.id} and both.reliances.keys() == {later.id}


def test_there_are_no_loops_and_no_endless_chains_of_reliance(home, agents, chain, monkeypatch):
    made = agents["auditor"].verification(report_of(home, chain))
    report = report_of(home, made)
    itself = replace(report, relied=(composing.Reliance(made.id, agents["auditor"].id, made.id, None, 0),))
    with pytest.raises(Refusal, match="relies on the very record") as caught:
        agents["second"].verification(itself)
    assert caught.value.code == "TSLG-A-VERIFICATION"
    monkeypatch.setattr(composing, "MOST_RELIED", 1)
    relying = composing.Relying([agents["auditor"].id])
    relying.add(made.id, alone(home))
    relying.add(made.id, alone(home))
    other = agents["auditor"].verification(report_of(home, chain, 3))
    with pytest.raises(UsageError, match="more than 1"):
        relying.add(other.id, alone(home))


@pytest.mark.spec("VRF-1", "VRF-2")
def test_a_verification_that_contradicts_itself_is_never_recorded(home, agents, chain):
    report = report_of(home, chain, 5)
    other = agents["second"].verification(report_of(home, agents["author"].observe("x")))
    entry = report.frontier[0]
    for how in (
        {"edges": 6},
        {"depth": None},
        {"edges": 1},
        {"frontier": (entry, entry)},
        {"frontier": (entry._replace(root=bytes(32)),)},
        {"frontier": (entry._replace(agent=agents["second"].id),)},
        {"counters": other} if typed(home) else {"edges": 6},
    ):
        with pytest.raises(Refusal) as caught:
            lie(agents["auditor"], report, **how)
        assert caught.value.code == "TSLG-A-VERIFICATION"


# --- deepening and refuting ------------------------------------------------------------------------------------------


@pytest.mark.spec("VRF-6")
@pytest.mark.parametrize("depth", [0, 1, 2, 5, 11, 25, 1000, None])
def test_an_honest_verification_is_confirmed_by_whoever_goes_deeper(home, agents, chain, depth):
    made = agents["auditor"].verification(report_of(home, chain, depth))
    report = report_of(home, chain)
    judged, fits = composing.hold_to(report, made, find(home), {})
    assert judged == report and fits == ((), False)
    assert not composing.contradicts(report, made, fits)


@pytest.mark.spec("VRF-6")
def test_a_verification_that_relied_on_others_is_confirmed_as_what_it_was(home, agents, chain):
    first = agents["auditor"].verification(report_of(home, chain, 7))
    later = agents["author"].decide("again", "yes", evidence=chain)
    relying = composing.Relying([agents["auditor"].id])
    relying.add(first.id, alone(home))
    second = agents["second"].verification(report_of(home, later, None, relying.reliances))
    judged, fits = composing.hold_to(report_of(home, later), second, find(home), relying.records)
    assert judged.verdict == "valid" and not fits.faults
    _, without = composing.hold_to(report_of(home, later), second, find(home), {})
    assert without.faults


@pytest.mark.spec("VRF-6", "VRF-7")
def test_a_verification_that_lies_is_found_out_by_whoever_goes_deeper(home, agents, chain):
    honest = report_of(home, chain, 5)
    shallow = report_of(home, chain, 2)
    lies = [
        lie(agents["auditor"], honest, frontier=()),
        lie(agents["auditor"], honest, frontier=(FrontierEntry(chain.owner, chain.id, *chain.log),)),
        lie(agents["auditor"], shallow, depth=50, edges=50),
        lie(agents["auditor"], honest, depth=None, frontier=()),
    ]
    for made in lies:
        report = report_of(home, chain)
        judged, fits = composing.hold_to(report, made, find(home), {})
        assert judged.verdict == "invalid" and fits.faults
        assert [finding.code for finding in judged.findings] == ["TSLG-V-CLAIM"]
        assert judged.findings[0].record == made.id
        assert composing.contradicts(report, made, fits)


@pytest.mark.spec("VRF-6")
def test_what_cannot_be_replayed_is_undetermined_not_a_lie(home, agents, chain):
    made = agents["auditor"].verification(report_of(home, chain, 9))
    held = report_of(home, chain, 3)
    judged, fits = composing.hold_to(held, made, held.records.get, {})
    assert judged.verdict == "undetermined" and fits == ((), True)
    with pytest.raises(UsageError, match="it is about"):
        composing.hold_to(report_of(home, made), made, find(home), {})


@pytest.mark.spec("VRF-7")
def test_verifications_contradict_each_other_by_verdict(home, agents, chain):
    good = agents["auditor"].verification(report_of(home, chain))
    finding = composing.Finding("TSLG-V-FORK", chain.id, (), "seen elsewhere")
    bad = agents["second"].verification(
        replace(report_of(home, chain), findings=(finding,)), counters=good if typed(home) else None
    )
    assert composing.contradicts(report_of(home, chain), bad, composing.Fit((), False))
    assert not composing.contradicts(report_of(home, chain), good, composing.Fit((), False))


# --- the sum --------------------------------------------------------------------------------------------------------


@pytest.mark.spec("VRF-8", "VRF-9")
def test_verifications_of_ancestors_add_up(home, agents, chain):
    assert composing.verified(home.store, chain.id).depth == 0
    whole = report_of(home, chain).edges
    shallow = agents["auditor"].verification(report_of(home, chain, 4))
    sum_ = composing.verified(home.store, chain.id)
    assert (sum_.depth, sum_.edges, sum_.known, sum_.whole) == (4, 4, whole, False)
    assert sum_.agents == (agents["auditor"].id,)
    stopped = replay(chain.id, 4, find(home)).stopped
    assert {entry["record"] for entry in shallow.body["frontier"]} <= stopped
    for id in sorted(stopped):
        agents["second"].verification(report_of(home, find(home)(id)))
    sum_ = composing.verified(home.store, chain.id)
    assert (sum_.depth, sum_.edges, sum_.whole) == (whole, whole, True)
    assert sum(part.covers for part in sum_.parts) == whole and sum_.parts[0].record.id == shallow.id
    assert set(sum_.agents) == {agents["auditor"].id, agents["second"].id}
    only = composing.verified(home.store, chain.id, [agents["auditor"].id])
    assert only.depth == 4 and only.agents == (agents["auditor"].id,)


@pytest.mark.spec("VRF-9")
def test_what_is_disputed_or_does_not_fit_does_not_count(home, agents, chain):
    liar = lie(agents["auditor"], report_of(home, chain, 5), frontier=())
    sum_ = composing.verified(home.store, chain.id)
    assert sum_.depth == 0 and sum_.parts[0].fit.faults and not sum_.parts[0].counts
    good = agents["second"].verification(report_of(home, chain), counters=liar if typed(home) else None)
    sum_ = composing.verified(home.store, chain.id)
    assert sum_.whole and sum_.agents == (agents["second"].id,)
    against = (good.id,) if typed(home) else ()
    assert {part.record.id: part.disputed_by for part in sum_.parts} == {liar.id: against, good.id: ()}
    finding = composing.Finding("TSLG-V-FORK", chain.id, (), "seen elsewhere")
    bad = agents["third"].verification(replace(report_of(home, chain), findings=(finding,)))
    sum_ = composing.verified(home.store, chain.id)
    assert sum_.depth == 0 and not sum_.whole, "two who contradict each other leave it open"
    assert {part.record.id for part in sum_.parts if part.disputed_by} == {liar.id, good.id}
    trusted = composing.verified(home.store, chain.id, [agents["second"].id])
    assert trusted.whole and bad.id not in {part.record.id for part in trusted.parts}


def test_every_walk_is_walked_again_once_and_all_of_them_up_to_a_bound(home, agents, chain, monkeypatch):
    report, shallow = report_of(home, chain), report_of(home, chain, 4)
    for name in ("auditor", "second", "third"):
        agents[name].verification(report)
        agents[name].verification(shallow)
    again = []
    monkeypatch.setattr(protocol_composing, "replay", lambda *given: again.append(given) or replay(*given))
    sum_ = composing.verified(home.store, chain.id)
    assert len(sum_.parts) == 6 and sum_.whole and sum_.unread == 0
    assert len([given for given in again if given[1] in (4, DEFAULT.walk_edges)]) == 2
    monkeypatch.undo()
    made = [part.record for part in sum_.parts]
    bound = Limits(composed_edges=report.edges + 4)
    some = protocol_composing.compose(chain.id, made, find(home), bound)
    assert (len(some.parts), some.unread, some.depth) == (3, 3, some.known)
    none = protocol_composing.compose(chain.id, made, find(home), Limits(composed_edges=2))
    assert (len(none.parts), none.unread, none.depth) == (0, 6, 0)


def test_a_deeper_verification_is_not_undone_by_a_shallower_one(home, agents, chain):
    for depth, noted in ((3, 3), (2, 3), (7, 7), (None, None), (5, None)):
        note_verified(home.store, report_of(home, chain, depth))
        assert home.store.verified(chain.id).edges == noted
    bad = replace(report_of(home, agents["author"].observe("x")), undetermined=(composing.Undetermined(chain.id, "x"),))
    note_verified(home.store, bad)
    assert home.store.verified(bad.target) is None


@pytest.mark.spec("VRF-4", "VRF-6", "VRF-8")
def test_another_node_relies_on_what_it_fetched_and_holds_it_to_its_word(home, agents, chain, tmp_path):
    made = agents["auditor"].verification(report_of(home, chain, 12))
    lied = lie(agents["second"], report_of(home, chain, 12), frontier=())
    root = (home.manifest_record, home.store.get(home.federation).seal)
    with Home.open(tmp_path / "other", federation=root) as other:
        reader = other.agent("reader")
        for target in (made, lied, chain):
            keep(other.ledger, walked(home, target.id), source="nobody", now_ms=other.clock())
        use = reader.decide("use", "yes", evidence=chain)
        (edge,) = [edge for edge in use.edges() if edge.cid == chain.id]
        assert edge.verified is None, "all of it was verified when it was fetched"
        relying = composing.Relying([agents["auditor"].id])
        relying.add(made.id, alone(other))
        report = report_of(other, use, None, relying.reliances)
        assert report.verdict == "valid" and [one.record for one in report.relied] == [made.id]
        whole = report_of(other, chain)
        assert composing.hold_to(whole, made, find(other), {})[0].verdict == "valid"
        assert composing.hold_to(whole, lied, find(other), {})[0].verdict == "invalid"
        sum_ = composing.verified(other.store, use.id)
        assert {part.record.id for part in sum_.parts if part.counts} == {made.id}
        assert sum_.edges == 12 and sum_.depth == 0, "nobody verified the edges of the newest record itself"
