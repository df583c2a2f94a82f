"""Records by which several agents decide together, and that do not hold."""

from __future__ import annotations

from breach import breaks

from tslg.protocol.rules.together import rule_consensus


def electors(w):
    """Let the scene's agents and a third one vote; each has a policy of its own to do so."""
    c = w.agent("c")
    return {author.owner: (author, w.add(author, "policy")) for author in (w.a, w.b, c)}


def proposed(w, **terms):
    body = {"name": "propose"} | ({"terms": terms} if terms else {})
    return w.add(w.a, "action", body, {"policy": [w.policy]})


def voted(w, elector, proposal, outcome="for", about=None, **cites):
    author, policy = elector
    body = {"name": "vote", "outcome": outcome, "vote": {"proposal": (about or proposal).id, "choice": outcome}}
    return w.add(author, "decision", body, {"policy": [policy], "evidence": [proposal], **cites})


def concluded(w, proposal, votes, electorate, threshold=2, evidence=None, make=None):
    body = {"proposal": proposal.id, "electorate": sorted(electorate), "threshold": threshold}
    return (make or w.sealed)(w.a, "consensus", body, {"evidence": evidence or [proposal, *votes]})


def held_vote(w, *outcomes):
    """A proposal, all that vote on it, and their votes."""
    all_electors = electors(w)
    proposal = proposed(w)
    votes = [voted(w, one, proposal, said) for one, said in zip(all_electors.values(), outcomes, strict=False)]
    return proposal, votes, list(all_electors)


@breaks(rule_consensus, "CONSENSUS", "1 votes for it, it needs 2")
def too_few_votes_for_it(w):
    return concluded(w, *held_vote(w, "for", "against", "abstain"))


@breaks(rule_consensus, "CONSENSUS", "a threshold of 4 of 3")
def more_votes_than_there_are_electors(w):
    return concluded(w, *held_vote(w, "for", "for", "for"), threshold=4)


@breaks(rule_consensus, "CONSENSUS", "a threshold of 0 of 3")
def no_votes_needed(w):
    return concluded(w, *held_vote(w), threshold=0)


@breaks(rule_consensus, "CONSENSUS", "not among its evidence")
def a_proposal_that_it_does_not_cite(w):
    proposal, votes, all_electors = held_vote(w, "for", "for")
    return concluded(w, proposal, votes, all_electors, evidence=votes)


@breaks(rule_consensus, "CONSENSUS", "who is no elector")
def a_vote_by_a_stranger(w):
    proposal, votes, all_electors = held_vote(w, "for", "for", "for")
    return concluded(w, proposal, votes, [one for one in all_electors if one != w.b.owner])


@breaks(rule_consensus, "CONSENSUS", "two votes by")
def two_votes_of_one_elector(w):
    proposal, votes, all_electors = held_vote(w, "for")
    again = voted(w, (w.a, w.policy), proposal)
    return concluded(w, proposal, [*votes, again], all_electors)


@breaks(rule_consensus, "CONSENSUS", "no vote on its proposal")
def votes_on_another_proposal(w):
    _, votes, all_electors = held_vote(w, "for", "for")
    return concluded(w, proposed(w), votes, all_electors)


@breaks(rule_consensus, "CONSENSUS", "no vote on its proposal")
def a_vote_that_only_looked_at_the_proposal(w):
    voters = electors(w)
    proposal, other = proposed(w), proposed(w)
    votes = [voted(w, one, proposal, about=other) for one in voters.values()]
    return concluded(w, proposal, votes, list(voters))


@breaks(rule_consensus, "CONSENSUS", "no vote on its proposal")
def an_observation_for_a_vote(w):
    proposal, votes, all_electors = held_vote(w, "for", "for")
    return concluded(w, proposal, [votes[1], w.seen], all_electors)


@breaks(rule_consensus, "CONSENSUS", "no vote on its proposal")
def a_decision_that_is_no_vote(w):
    proposal, votes, all_electors = held_vote(w, "for", "for")
    last = list(electors(w).values())[1]
    preds = {"policy": [last[1]], "evidence": [proposal]}
    decided = w.add(last[0], "decision", {"name": "vote", "outcome": "for"}, preds)
    return concluded(w, proposal, [votes[0], decided], all_electors)


@breaks(rule_consensus, "CONSENSUS", "another electorate or threshold")
def fewer_votes_than_the_proposal_asks_for(w):
    voters = electors(w)
    proposal = proposed(w, electorate=sorted(voters), threshold=3)
    votes = [voted(w, one, proposal) for one in voters.values()]
    return concluded(w, proposal, votes, list(voters))


@breaks(rule_consensus, "CONSENSUS", "another electorate or threshold")
def another_electorate_than_the_proposal_names(w):
    voters = electors(w)
    proposal = proposed(w, electorate=sorted(voters), threshold=2)
    chosen = [owner for owner in voters if owner != w.b.owner]
    return concluded(w, proposal, [voted(w, voters[one], proposal) for one in chosen], chosen)
