"""How an agent's records are put together: what is cited becomes typed edges, what is claimed a part of the body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from tslg.node.drafting import Draft
from tslg.node.ledger import Ledger
from tslg.node.proving import Prove, Prover
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Edge, Record

Reference = Record | Link | str
References = Reference | Iterable[Reference] | None

WEIGHED: Final = ("absence", "consensus", "counterfactual", "counters", "joint", "observes", "part")
"""Further classes under which whatever an agent does may cite."""
_ONE: Final = (Record, Link, str)
_AUTHORITY: Final = ("policy", "delegation", "consensus", "joint")


class Author:
    """One agent as the author of records.

    Attributes:
        id: the agent's id: its genesis record's.
        name: the name in its genesis.
    """

    id: Link
    name: str
    _ledger: Ledger
    _policy: Link | None
    _prover: Prover

    @property
    def fan_in(self) -> int:
        """The most edges of one record, by the manifest in force."""
        manifest = self._ledger.context.manifest(self._ledger.manifest)
        assert manifest is not None
        return manifest.envelope.fan_in_max

    def _append(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        policy: References = None,
        evidence: References = None,
        delegation: References = None,
        authorised: bool = False,
        cited: Mapping[str, References] = MappingProxyType({}),
    ) -> Record:
        """Append a record; arguments as for `_draft`."""
        draft = self._draft(
            kind,
            body,
            policy=policy,
            evidence=evidence,
            delegation=delegation,
            authorised=authorised,
            cited=cited,
        )
        return self._ledger.append(self.id, draft)

    def _draft(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        policy: References = None,
        evidence: References = None,
        delegation: References = None,
        authorised: bool = False,
        cited: Mapping[str, References] = MappingProxyType({}),
    ) -> Draft:
        """Draft a record that cites the newest state as `prior`, and what is given; `cited` has further classes.

        `authorised` puts it under the agent's own policy, or the grants of the delegations, where none is named.
        """
        self._ledger.look_around()
        delegations = self._edges(delegation)
        policies = self._edges(policy)
        if authorised and not policies:
            policies = self._edges(self._own_authority(delegations))
        preds: dict[str, Sequence[Edge]] = {"prior": [Edge(self._ledger.prior(self.id))]}
        if policies:
            preds["policy"] = policies
        if evidence is not None and (weighed := self._edges(evidence)):
            preds["evidence"] = weighed
        if delegations:
            preds["delegation"] = delegations
        for name, references in cited.items():
            edges = self._edges(references)
            if edges:
                preds[name] = edges
        self._refuse_withdrawn(preds)
        return Draft(kind, body, preds, self._proofs(kind, body, policies))

    def _proofs(self, kind: str, body: Mapping[str, Any], policies: Sequence[Edge]) -> Prove | None:
        records = [self._ledger.context.record(edge.cid) for edge in policies]
        return self._prover.proofs(kind, body, [one for one in records if one is not None and one.kind == "policy"])

    def _own_authority(self, delegations: Sequence[Edge]) -> References:
        """Name the policy to act under where none is: the grants of the delegations cited, else the agent's own."""
        if delegations:
            cited = [self._ledger.context.record(edge.cid) for edge in delegations]
            return [record.body["grant"] for record in cited if record is not None and record.kind == "delegation"]
        return None if self._policy is None else self._newest_version(self._policy)

    def _newest_version(self, policy: Link) -> Link:
        """Return the newest version of a policy: it, or the policy that amends it, and so on."""
        while True:
            later = [one for one in self._ledger.context.superseding(policy) if one.kind == "policy"]
            if not later:
                return policy
            policy = max(later, key=lambda one: one.seq).id

    def _refuse_withdrawn(self, preds: Mapping[str, Sequence[Edge]]) -> None:
        """Go by what this node holds of other agents' withdrawals, whether this log shows that it knows of them or not.

        Raises:
            UsageError: `TSLG-U-WITHDRAWN`.
        """
        for name in _AUTHORITY:
            for edge in preds.get(name, ()):
                ended = self._ledger.context.superseding(edge.cid) if edge.agent is not None else ()
                # Whether a delegation may still be used after an answer is for admission to say, log by log.
                for other in (one for one in ended if one.kind != "answer"):
                    raise UsageError(
                        f"its {name} {cid.short(edge.cid)} was withdrawn by {cid.short(other.id)}",
                        code="TSLG-U-WITHDRAWN",
                        mend="ask for authority that is in force",
                        record=edge.cid,
                    )

    def _edges(self, references: References) -> list[Edge]:
        if references is None:
            return []
        return [self._edge(id) for id in dict.fromkeys(map(reference_id, listed(references)))]

    def _edge(self, id: Link) -> Edge:
        record = self._held(id)
        if record.owner == self.id:
            return Edge(id)
        if record.owner == self._ledger.federation or self._ledger.writes(record.owner):
            return Edge(id, record.owner, None)
        verified = self._ledger.store.verified(id)
        return Edge(id, record.owner, 0 if verified is None else verified.edges)

    def _held(self, id: Link) -> Record:
        """Return a record that is held here. Raises UsageError."""
        record = self._ledger.context.record(id)
        if record is None:
            raise UsageError(
                f"record {cid.to_text(id)} is not held by this node", mend="fetch and verify it first", record=id
            )
        return record

    def _newest(self, kind: str) -> Link | None:
        found = self._ledger.store.by_kind(kind, self.id, limit=1)
        return found[0] if found else None


def body_of(more: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the fields that are given, and what is claimed in `more`; what is cited there is left for `cited_in`.

    Raises:
        UsageError: `more` has an argument that is neither.
    """
    body = {name: _plain(value) for name, value in fields.items() if value is not None}
    for name, value in more.items():
        if name == "uses":
            body[name] = sorted(set(value))
        elif name == "spends":
            body[name] = dict(value)
        elif name in ("class_", "tier"):
            body[name.rstrip("_")] = value
        elif name not in WEIGHED:
            mend = f"a scope is uses, spends, class_ and tier; further classes are {', '.join(WEIGHED)}"
            raise UsageError(f"unknown argument {name!r}", mend=mend)
    return body


def cited_in(more: Mapping[str, Any]) -> dict[str, References]:
    """Return what is cited under further classes."""
    return {name: more[name] for name in WEIGHED if name in more} if more else {}


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value
    return dict(value) if kind is dict or isinstance(value, Mapping) else value


def listed(references: References) -> list[Reference]:
    """Return one reference or several as a list."""
    if references is None:
        return []
    if isinstance(references, _ONE):
        return [references]
    return list(references)


def reference_id(reference: Reference) -> Link:
    """Return the id that a record, an id or an id's text stands for. Raises CidError."""
    if isinstance(reference, Record):
        return reference.id
    return cid.from_text(reference) if isinstance(reference, str) else reference


def id_or_none(reference: Reference | None) -> Link | None:
    """Return the id that a reference stands for, None for none."""
    return None if reference is None else reference_id(reference)
