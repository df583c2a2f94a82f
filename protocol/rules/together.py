"""Rules of what several agents decide together: votes that commit a proposal."""

from __future__ import annotations

from typing import Final

from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.record import Edge, Record
from tslg.protocol.rules.context import Context, refuse

FOR: Final = "for"
AGAINST: Final = "against"
ABSTAIN: Final = "abstain"
VOTES: Final = (FOR, AGAINST, ABSTAIN)
"""What a decision that is a vote may say."""


def rule_consensus(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A consensus rests on votes by distinct electors on its proposal, enough of them for it."""
    if record.kind != "consensus":
        return None
    body = record.body
    electorate, threshold, proposal = body["electorate"], body["threshold"], body["proposal"]
    if not 1 <= threshold <= len(electorate):
        return refuse("TSLG-A-CONSENSUS", record, f"a threshold of {threshold} of {len(electorate)} electors")
    evidence = record.preds.get("evidence", ())
    if all(edge.cid != proposal for edge in evidence):
        return refuse("TSLG-A-CONSENSUS", record, "its proposal is not among its evidence", "cite the proposal")
    wrong = _other_terms(context.record(proposal), electorate, threshold)
    if wrong:
        return refuse("TSLG-A-CONSENSUS", record, wrong)
    votes = [edge for edge in evidence if edge.cid != proposal]
    wrong = _wrong_votes(record, votes, context)
    if wrong:
        return refuse("TSLG-A-CONSENSUS", record, wrong, "cite one vote on this proposal for each elector")
    # A vote that is not at hand may have been for it: only what is contradicted is refused.
    in_favour = sum(
        1 for edge in votes if (vote := context.record(edge.cid)) is None or vote.body["vote"]["choice"] == FOR
    )
    if in_favour < threshold:
        return refuse(
            "TSLG-A-CONSENSUS", record, f"{in_favour} votes for it, it needs {threshold}", "gather more votes"
        )
    return None


def _other_terms(proposal: Record | None, electorate: list[Link], threshold: int) -> str | None:
    """Tell how a proposal that says who votes on it, and how many must be for it, says otherwise."""
    terms = None if proposal is None else proposal.body.get("terms")
    if terms is None or (terms["electorate"], terms["threshold"]) == (electorate, threshold):
        return None
    return "its proposal names another electorate or threshold"


def _wrong_votes(record: Record, votes: list[Edge], context: Context) -> str | None:
    """Tell what is wrong with the votes, as far as the edges say it and the votes are at hand."""
    voters: set[Link] = set()
    for edge in votes:
        voter = edge.agent if edge.agent is not None else record.owner
        if voter not in record.body["electorate"]:
            return f"{cid.short(edge.cid)} is by {cid.short(voter)}, who is no elector"
        if voter in voters:
            return f"two votes by {cid.short(voter)}"
        voters.add(voter)
        vote = context.record(edge.cid)
        if vote is not None and not _is_vote(vote, record.body["proposal"]):
            return f"{cid.short(edge.cid)} is no vote on its proposal"
    return None


def _is_vote(vote: Record, proposal: Link) -> bool:
    """Whether a record is a vote on this proposal: a decision that says so, and has it as evidence."""
    said = vote.body.get("vote")
    if said is None or said["proposal"] != proposal:
        return False
    return any(edge.cid == proposal for edge in vote.preds.get("evidence", ()))
