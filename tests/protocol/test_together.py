"""What several agents decide together, at admission and in walks that reach a part of it only."""

from __future__ import annotations

import pytest
from breach import Scene
from breaches_together import concluded, electors, held_vote, proposed, voted

pytestmark = pytest.mark.spec("TOG-1", "TOG-2", "TOG-3", "TOG-4", "TOG-5")


@pytest.fixture
def w() -> Scene:
    return Scene()


@pytest.mark.parametrize("outcomes", [("for", "for"), ("for", "against", "for"), ("for", "abstain", "for")])
def test_enough_votes_commit_a_proposal_and_a_state_cites_it(w, outcomes):
    made = concluded(w, *held_vote(w, *outcomes), make=w.add)
    state = w.add(w.a, "state", {"data": {"speed": 2}}, {"prior": [w.a.last], "consensus": [made]})
    report = w.verify(state)
    assert report.verdict == "valid" and len(report.agents) == len(outcomes)


def test_a_proposal_that_names_its_terms_binds_whoever_concludes(w):
    voters = electors(w)
    proposal = proposed(w, electorate=sorted(voters), threshold=2)
    votes = [voted(w, one, proposal) for one in list(voters.values())[:2]]
    concluded(w, proposal, votes, list(voters), make=w.add)


@pytest.mark.parametrize("depth", range(8))
def test_a_bound_that_leaves_votes_out_contradicts_nothing(w, depth):
    made = concluded(w, *held_vote(w, "for", "for", "against"), make=w.add)
    assert w.verify(made, depth=depth).verdict == "valid"


def test_missing_votes_leave_it_open_until_what_is_there_contradicts_it(w):
    proposal, votes, voters = held_vote(w, "for", "against", "for")
    good = concluded(w, proposal, votes, voters, make=w.add)
    bad = concluded(w, proposal, votes[:2], voters, make=w.slip)
    supply = w.supply()
    del supply.handed[votes[2].id]
    assert w.verify(good, supply).verdict == "undetermined"
    assert [finding.code for finding in w.verify(bad, supply).findings] == ["TSLG-A-CONSENSUS"]
    del supply.handed[votes[0].id]
    assert w.verify(bad, supply).verdict == "invalid"
    assert w.verify(good, supply).verdict == "undetermined"
