"""What an agent records of artifacts: that one was made, what was found out about it, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tslg.node.authoring import Author, Reference, References, listed, reference_id
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.lifecycle import FIRST, NEEDED, SERVING, subject
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record

_OPTIONAL: Final = ("config", "family", "tokenizer", "training_data", "cohort", "data")


class Making(Author):
    """The methods by which an agent records artifacts."""

    def artifact(
        self,
        name: str,
        *,
        type: str,
        package: Mapping[str, Any],
        operator: str = "source",
        operator_version: str = "1",
        parents: Iterable[Reference] = (),
        licences: Iterable[str] = (),
        restrictions: Iterable[str] = (),
        vulnerabilities: Iterable[str] = (),
        lifecycle: str | None = None,
        policy: References = None,
        evidence: References = None,
        delegation: References = None,
        **more: Any,
    ) -> Record:
        """Record an artifact; `tslg.node.artifacts.keeping` hashes its package and checks its licences first.

        Args:
            name: what people call it; it is identified by its record and its content hash.
            type: what it is: `model`, `adapter`, `dataset`, `tokenizer`, `suite`, `snapshot`, or anything else.
            package: what `Package.body` returns.
            operator, operator_version: what made it; `source` for what was taken in as it is.
            parents: what it derives from, data sets included.
            licences: SPDX expressions, all of which apply.
            restrictions, vulnerabilities: names of what holds of it from the beginning.
            lifecycle: by default `candidate`, or `source` for what the operator of that name took in.
            policy, evidence, delegation: records to cite.
            **more: `config` (a blob), `family`, `tokenizer` (a digest), `training_data` (the content hash of a
                parent), `cohort` (the record that started a batch), `data` (a map).

        Raises:
            Refusal: `TSLG-A-ARTIFACT`.
        """
        if more.keys() - set(_OPTIONAL):
            unknown = ", ".join(sorted(more.keys() - set(_OPTIONAL)))
            raise UsageError(f"unknown arguments {unknown}", mend=f"further fields are {', '.join(_OPTIONAL)}")
        given = {field: value for field, value in more.items() if value is not None}
        cohort = given.get("cohort")
        cited = [] if evidence is None else listed(evidence)
        if cohort is not None:
            given["cohort"] = reference_id(cohort)
            cited = [*cited, cohort]
        body = {
            "name": name,
            "type": type,
            **package,
            "operator": operator,
            "operator_version": operator_version,
            "licences": sorted(set(licences)),
            "restrictions": sorted(set(restrictions)),
            "vulnerabilities": sorted(set(vulnerabilities)),
            "lifecycle": lifecycle or (FIRST[1] if operator == "source" else FIRST[0]),
            **given,
        }
        derived = list(parents)
        return self._append(
            "artifact", body, policy=policy, evidence=cited, delegation=delegation, cited={"parent": derived}
        )

    def cohort(self, name: str, of: References = None, **how: Any) -> Record:
        """Record that a batch of artifacts begins, made of the same state of affairs; they name it as their `cohort`.

        Args:
            name: what the batch is called.
            of: the artifacts that its members are to derive from, if there are such.
            **how: `input`, a map that says how it is made; `policy`, `delegation`.
        """
        body = {"name": "cohort", "input": {"name": name, **how.pop("input", {})}}
        return self._append("action", body, evidence=of, authorised=True, **how)

    def evaluation(
        self,
        target: Reference,
        *,
        suite: str,
        suite_digest: bytes,
        scores: Mapping[str, int] | None = None,
        passed: Iterable[str] = (),
        failed: Iterable[str] = (),
        resolves: Iterable[Mapping[str, Any]] = (),
        report: Mapping[str, Any] | None = None,
        evidence: References = None,
        policy: References = None,
        delegation: References = None,
    ) -> Record:
        """Record what the exact package of an artifact scored on a suite, what it passed, and what that resolves.

        Args:
            target: the artifact, which must be held.
            suite, suite_digest: the suite's name, and the content hash that freezes it.
            scores: whole numbers by name.
            passed, failed: names of what was judged, such as `task`, `calibration`, `robustness`, `safety`, `cost`,
                `compatibility`, `unlearning`.
            resolves: issues that do not reach descendants through this artifact any more: `{origin, what, name}`.
            report: a blob with the evidence.
            evidence: further records to cite, such as the suite's artifact.
            policy, delegation: records to cite.

        Raises:
            Refusal: `TSLG-A-EVALUATION`.
        """
        artifact = self._artifact(target)
        body: dict[str, Any] = {
            "target": artifact.id,
            "package": artifact.body["package"]["digest"],
            "suite": suite,
            "suite_digest": suite_digest,
            "scores": dict(scores or {}),
            "passed": sorted(set(passed)),
            "failed": sorted(set(failed)),
        }
        found = [{**issue, "origin": reference_id(issue["origin"])} for issue in resolves]
        if found:
            body["resolves"] = sorted(found, key=lambda issue: (issue["origin"], issue["what"], issue["name"]))
        if report is not None:
            body["report"] = dict(report)
        cited = [artifact.id, *listed(evidence)]
        return self._append("evaluation", body, policy=policy, delegation=delegation, evidence=cited)

    def advisory(
        self,
        target: Reference,
        *,
        reason: str,
        restrictions: Iterable[str] = (),
        vulnerabilities: Iterable[str] = (),
        withdrawn: Iterable[str] = (),
        evidence: References = None,
    ) -> Record:
        """Record what became known of an artifact: restrictions, vulnerabilities, licences that were withdrawn.

        It reaches everything that derives from the artifact until an evaluation resolves it; `retract` takes it back.

        Raises:
            Refusal: `TSLG-A-EVALUATION`: it names nothing.
        """
        artifact = self._artifact(target)
        body = {
            "target": artifact.id,
            "restrictions": sorted(set(restrictions)),
            "vulnerabilities": sorted(set(vulnerabilities)),
            "withdrawn": sorted(set(withdrawn)),
            "reason": reason,
        }
        return self._append("advisory", body, evidence=[artifact.id, *listed(evidence)])

    def transition(
        self,
        target: Reference,
        to: str,
        *,
        reason: str | None = None,
        evidence: References = None,
        policy: References = None,
        delegation: References = None,
    ) -> Record:
        """Move an artifact from the state that it is in, by this agent's log, to another one.

        To `canary` and `champion` the newest evaluations held that say that it passed `safety` and `compatibility` are
        cited too.

        Raises:
            Refusal: `TSLG-A-TRANSITION`: that state may not follow, or nobody tested the package.
        """
        artifact = self._artifact(target)
        last = self._last("transition", artifact.id)
        body: dict[str, Any] = {
            "target": artifact.id,
            "from": artifact.body["lifecycle"] if last is None else last.body["to"],
            "to": to,
        }
        tested = self._tested(artifact.id, NEEDED) if to in SERVING else []
        cited = [artifact.id, *listed(evidence), *tested]
        return self._follow("transition", body, last, cited, reason, policy, delegation)

    def release(
        self,
        alias: str,
        target: Reference,
        *,
        rollback: Reference | None = None,
        reason: str | None = None,
        evidence: References = None,
        policy: References = None,
        delegation: References = None,
    ) -> Record:
        """Point an alias of this agent's at an artifact from here on; where it pointed before stays recorded.

        Args:
            alias: such as `champion`.
            target: the artifact.
            rollback: what to go back to; the newest evaluation that says that it passed `compatibility` is cited.
            reason: why.
            evidence: what it rests on: evaluations, and decisions as approvals.
            policy, delegation: records to cite.

        Raises:
            Refusal: `TSLG-A-RELEASE`: nothing shows that `rollback` is deployable.
        """
        artifact = self._artifact(target)
        body: dict[str, Any] = {"alias": alias, "target": artifact.id}
        cited: list[Reference] = [artifact.id, *listed(evidence)]
        if rollback is not None:
            body["rollback"] = self._artifact(rollback).id
            cited += [body["rollback"], *self._tested(body["rollback"], NEEDED[:1])]
        return self._follow("release", body, self._last("release", alias), cited, reason, policy, delegation)

    def _follow(
        self,
        kind: str,
        body: dict[str, Any],
        last: Record | None,
        cited: list[Reference],
        reason: str | None,
        policy: References,
        delegation: References,
    ) -> Record:
        if reason is not None:
            body["reason"] = reason
        if last is not None:
            body["after"] = last.id
            cited = [*cited, last.id]
        return self._append(kind, body, policy=policy, delegation=delegation, evidence=cited, authorised=True)

    def _artifact(self, reference: Reference) -> Record:
        held = self._held(reference_id(reference))
        if held.kind != "artifact":
            raise UsageError(f"that is no artifact but a {held.kind}", mend="name an artifact", record=held.id)
        return held

    def _last(self, kind: str, about: Link | str) -> Record | None:
        """Return the newest transition of an artifact, or release of an alias, in this agent's log."""
        context, store = self._ledger.context, self._ledger.store
        if isinstance(about, Link):
            ids = [row.child for row in store.citing((about,), ("evidence",), (kind,))]
        else:
            ids = store.by_kind(kind, self.id, limit=DEFAULT.releases)
        held = (*map(context.record, ids), *context.staged_about(kind, about))
        own = [one for one in held if one is not None and one.owner == self.id and subject(one) == about]
        return max(own, key=lambda one: one.seq, default=None)

    def _tested(self, target: Link, names: Iterable[str]) -> list[Link]:
        """Return the newest evaluations held by which an artifact passed each of these."""
        context, store = self._ledger.context, self._ledger.store
        ids = [row.child for row in store.citing((target,), ("evidence",), ("evaluation",))]
        held = (*map(context.record, ids), *context.staged_about("evaluation", target))
        about = [one for one in held if one is not None and one.body["target"] == target]
        package = self._artifact(target).body["package"]["digest"]
        # What was stored before its target came was never held against that.
        about = [one for one in about if one.body["package"] == package]
        found = []
        for name in names:
            passed = [one for one in about if name in one.body["passed"]]
            if passed:
                found.append(max(passed, key=lambda one: (one.time, one.id)).id)
        return sorted(set(found))
