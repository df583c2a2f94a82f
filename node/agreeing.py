"""What agents decide together: proposals, votes, and the consensus that commits one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tslg.node.authoring import Author, Reference, References, listed, reference_id
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record
from tslg.protocol.rules.together import VOTES


class Agreeing(Author):
    """The methods by which an agent proposes, votes and commits."""

    def propose(
        self,
        name: str,
        data: Mapping[str, Any],
        *,
        electorate: Iterable[Reference],
        threshold: int,
        policy: References = None,
        delegation: References = None,
        evidence: References = None,
    ) -> Record:
        """Record a proposal that says who votes on it and how many votes commit it; a consensus is bound to both.

        Args:
            name: what is proposed.
            data: the proposal.
            electorate: the agents that may vote.
            threshold: how many of them must be for it.
            policy, delegation, evidence: records to cite.
        """
        voters = sorted({reference_id(one) for one in electorate})
        body = {"name": name, "input": dict(data), "terms": {"electorate": voters, "threshold": threshold}}
        return self._append("action", body, policy=policy, delegation=delegation, evidence=evidence, authorised=True)

    def vote(
        self,
        proposal: Reference,
        outcome: str,
        *,
        reason: str | None = None,
        policy: References = None,
        delegation: References = None,
    ) -> Record:
        """Vote on a proposal: a decision in the agent's own log, `for`, `against` or `abstain`."""
        if outcome not in VOTES:
            raise UsageError(f"no vote {outcome!r}", mend=f"a vote is {', '.join(VOTES)}")
        id = reference_id(proposal)
        body: dict[str, Any] = {"name": "vote", "outcome": outcome, "vote": {"proposal": id, "choice": outcome}}
        if reason is not None:
            body["reason"] = reason
        return self._append("decision", body, policy=policy, delegation=delegation, evidence=id, authorised=True)

    def conclude(
        self,
        proposal: Reference,
        votes: References,
        *,
        electorate: Iterable[Reference] | None = None,
        threshold: int | None = None,
        policy: References = None,
    ) -> Record:
        """Commit a proposal by the votes that were cast; what it puts in place cites the result as `consensus`.

        Args:
            proposal: the proposal.
            votes: the decisions of the electors, those against it too.
            electorate, threshold: where the proposal does not say them itself.
            policy: records to cite.
        """
        id = reference_id(proposal)
        terms = self._held(id).body.get("terms", {})
        voters = terms.get("electorate") if electorate is None else sorted({reference_id(one) for one in electorate})
        needed = terms.get("threshold") if threshold is None else threshold
        if voters is None or needed is None:
            raise UsageError("the proposal does not say who votes on it", mend="give electorate and threshold")
        body = {"proposal": id, "electorate": voters, "threshold": needed}
        return self._append("consensus", body, policy=policy, evidence=[id, *listed(votes)])
