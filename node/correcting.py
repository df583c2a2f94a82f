"""What an agent says of records that were made before: corrections of fact, amendments, retractions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tslg.node.authoring import Author, Reference, References, cited_in
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record


class Correcting(Author):
    """The methods by which an agent puts right, supersedes and withdraws."""

    def correct(
        self, target: Reference, data: Mapping[str, Any], *, reason: str, evidence: References = None, **more: Any
    ) -> Record:
        """Put right what a record states as fact; it stays as it is, and `data` says what holds instead.

        Args:
            target: the record; without a correction policy in the manifest, one of the agent's own.
            data: the facts, by name.
            reason: why.
            evidence: records to cite.
            **more: `policy`, `delegation`, and further classes to cite.
        """
        return self._speak_of("correction", "corrects", target, reason, data, evidence, more)

    def amend(
        self, target: Reference, data: Mapping[str, Any], *, reason: str, evidence: References = None, **more: Any
    ) -> Record:
        """Supersede a record, which stays as it is, by `data`. Arguments as for `correct`; for policies: `policy`."""
        return self._speak_of("amendment", "amends", target, reason, data, evidence, more)

    def retract(self, target: Reference, *, reason: str, evidence: References = None, **more: Any) -> Record:
        """Withdraw a record; a policy or delegation that is withdrawn authorises nothing from here on."""
        return self._speak_of("retraction", "retracts", target, reason, None, evidence, more)

    def _speak_of(
        self,
        kind: str,
        act: str,
        target: Reference,
        reason: str,
        data: Mapping[str, Any] | None,
        evidence: References,
        more: dict[str, Any],
    ) -> Record:
        body: dict[str, Any] = {"reason": reason}
        if data is not None:
            body["data"] = dict(data)
        policy, delegation = more.pop("policy", None), more.pop("delegation", None)
        cites = cited_in(more)
        if len(cites) < len(more):
            raise UsageError(f"unknown arguments {', '.join(sorted(set(more) - set(cites)))}")
        spoken: dict[str, References] = {act: target, **cites}
        return self._append(kind, body, policy=policy, delegation=delegation, evidence=evidence, cited=spoken)
