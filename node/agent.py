"""The agent's interface: every state, action and decision becomes a signed record before it takes effect.

`BlockingAgent` is for plain code and threads, `Agent` for trio and asyncio; both write through the node's ledger and
return once the record is durable. What is cited is a `Record`, an id, or an id's text.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, ParamSpec, TypeVar

import sniffio

from tslg.node.ledger import Draft, Ledger
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Edge, Record
from tslg.protocol.report import Report

Reference = Record | Link | str
References = Reference | Iterable[Reference] | None
_ONE: Final = (Record, Link, str)

P = ParamSpec("P")
R = TypeVar("R")


class BlockingAgent:
    """One agent of this node. Safe to use from several threads.

    Attributes:
        id: the agent's id: its genesis record's.
        name: the name in its genesis.
    """

    def __init__(self, ledger: Ledger, genesis: Record) -> None:
        self.id = genesis.id
        self.name: str = genesis.body["name"]
        self._ledger = ledger
        adopted = ledger.store.get_meta(f"policy/{cid.to_text(self.id)}")
        self._policy: Link | None = Link(adopted) if adopted is not None else self._newest("policy")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {cid.short(self.id)}>"

    # --- what an agent records -------------------------------------------------------------------------------------

    def state(
        self,
        data: Mapping[str, Any],
        *,
        name: str | None = None,
        policy: References = None,
        evidence: References = None,
        delegation: References = None,
        **scope: Any,
    ) -> Record:
        """Record what the agent is in from here on; later records derive from it.

        Args:
            data: the state itself, or digests of it.
            name: a name for it.
            policy, evidence, delegation: records to cite.
            **scope: `uses`, `spends`, `class_`, `tier`: what it claims of its policies.

        Raises:
            Refusal: an admission rule refuses it.
        """
        body = _body(scope, data=dict(data), name=name)
        return self._append("state", body, policy=policy, evidence=evidence, delegation=delegation)

    def act(
        self,
        name: str,
        input: Mapping[str, Any] | None = None,
        output: Mapping[str, Any] | None = None,
        *,
        policy: References = None,
        evidence: References = None,
        delegation: References = None,
        principal: Reference | None = None,
        blob: Mapping[str, Any] | None = None,
        **scope: Any,
    ) -> Record:
        """Record something done. Without `policy` it is done under the agent's adopted policy, or the grant."""
        body = _body(scope, name=name, input=input, output=output, principal=_id_or_none(principal), blob=blob)
        return self._append("action", body, policy=policy, evidence=evidence, delegation=delegation, authorised=True)

    def decide(
        self,
        name: str,
        outcome: str,
        *,
        evidence: References,
        policy: References = None,
        delegation: References = None,
        reason: str | None = None,
        data: Mapping[str, Any] | None = None,
        principal: Reference | None = None,
        blob: Mapping[str, Any] | None = None,
        **scope: Any,
    ) -> Record:
        """Record a decision on evidence. Without `policy` it is taken under the adopted policy, or the grant."""
        body = _body(
            scope,
            name=name,
            outcome=outcome,
            reason=reason,
            data=data,
            principal=_id_or_none(principal),
            blob=blob,
        )
        return self._append("decision", body, policy=policy, evidence=evidence, delegation=delegation, authorised=True)

    def observe(
        self,
        source: str,
        data: Mapping[str, Any] | None = None,
        *,
        content: bytes | None = None,
        media_type: str = "application/octet-stream",
        blob: Mapping[str, Any] | None = None,
        evidence: References = None,
        delegation: References = None,
    ) -> Record:
        """Record something perceived. `content` of any size goes into the blob store, its digest into the record.

        `blob` names content that the caller puts into the blob store itself (`BlockingAgent.blob`).
        """
        if content is not None:
            blob = self.blob(content, media_type)
        body = _body({}, source=source, data=data, blob=blob)
        return self._append("observation", body, evidence=evidence, delegation=delegation)

    def policy(
        self,
        name: str,
        *,
        capabilities: Iterable[str] = (),
        limits: Mapping[str, int] | None = None,
        classes: Iterable[str] = (),
        tiers: Iterable[str] = (),
        not_before: int | None = None,
        not_after: int | None = None,
        under: References = None,
        delegation: References = None,
        document: Mapping[str, Any] | None = None,
    ) -> Record:
        """Record a policy, to be cited, granted to others, or adopted as the agent's own (`adopt`).

        Args:
            name: its name.
            capabilities: what it allows, from the deployment's vocabulary.
            limits: the most that may be spent, by name.
            classes, tiers: governance classes and tiers that may be claimed, from the manifest's.
            not_before, not_after: ms since 1970 UTC, None for open.
            under: policies that it narrows.
            delegation: the delegation by which a narrowed policy of another agent is held.
            document: a blob with the text that it stands for.
        """
        body = _body(
            {},
            name=name,
            capabilities=sorted(set(capabilities)),
            limits=dict(limits or {}),
            classes=sorted(set(classes)),
            tiers=sorted(set(tiers)),
            document=document,
        )
        body |= {"not_before": not_before, "not_after": not_after}
        return self._append("policy", body, policy=under, delegation=delegation)

    def adopt(self, policy: Reference) -> None:
        """Act under this policy of its own from here on, also after a restart, where no other is named.

        Raises:
            UsageError: inside a batch, or for what is no policy of this agent's.
        """
        if self._ledger.batching:
            raise UsageError("a policy is adopted outside a batch", mend="adopt it once the batch is durable")
        id = reference_id(policy)
        record = self._ledger.context.record(id)
        if record is None or record.kind != "policy" or record.owner != self.id:
            raise UsageError("that is no policy that this agent recorded", mend="record it first", record=id)
        self._policy = id
        self._ledger.store.set_meta(f"policy/{cid.to_text(self.id)}", self._policy)

    def delegate(
        self,
        to: Reference,
        task: Mapping[str, Any],
        grant: Reference,
        *,
        expires: int,
        hops: int = 0,
        evidence: References = None,
        delegation: References = None,
    ) -> Record:
        """Record that a task and a policy are handed to another agent. `Node.delegate` also sends it there.

        Args:
            to: the delegate's id.
            task: what is to be done.
            grant: the policy under which it may be done.
            expires: ms since 1970 UTC.
            hops: how many times it may be passed on.
            evidence: records to cite.
            delegation: the delegation that is passed on, if it is one.
        """
        body = {
            "delegate": reference_id(to),
            "task": dict(task),
            "grant": reference_id(grant),
            "expires": expires,
            "hops": hops,
        }
        return self._append("delegation", body, policy=grant, evidence=evidence, delegation=delegation)

    def verification(self, report: Report, *, evidence: References = None) -> Record:
        """Publish the report of an audit as a record of one's own, for others to rely on, deepen or refute."""
        body = {
            "target": report.target,
            "verdict": report.verdict,
            "depth": report.depth,
            "signatures": report.signatures,
            "edges": report.edges,
            "records": len(report.records),
            "report": report.digest,
            "frontier": [entry._asdict() for entry in report.frontier],
        }
        return self._append("verification", body, evidence=[report.target, *_listed(evidence)])

    def blob(self, content: bytes, media_type: str = "application/octet-stream") -> dict[str, Any]:
        """Put content into the node's blob store; return what a record says of it."""
        digest = self._ledger.store.put_blob(content)
        return {"digest": digest, "size": len(content), "media_type": media_type}

    def batch(self) -> AbstractContextManager[None]:
        """Make what this thread records in the block durable together, and nothing of it if the block raises."""
        return self._ledger.transaction()

    # --- how -------------------------------------------------------------------------------------------------------

    def _append(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        policy: References = None,
        evidence: References = None,
        delegation: References = None,
        authorised: bool = False,
    ) -> Record:
        delegations = self._edges(delegation)
        policies = self._edges(policy)
        if authorised and not policies:
            policies = self._edges(self._own_authority(delegations))
        preds: dict[str, Sequence[Edge]] = {"prior": [Edge(self._ledger.prior(self.id))]}
        for name, edges in (("policy", policies), ("evidence", self._edges(evidence)), ("delegation", delegations)):
            if edges:
                preds[name] = edges
        return self._ledger.append(self.id, Draft(kind, body, preds))

    def _own_authority(self, delegations: Sequence[Edge]) -> References:
        """Name the policy to act under where none is: the grants of the delegations cited, else the agent's own."""
        if delegations:
            cited = [self._ledger.context.record(edge.cid) for edge in delegations]
            return [record.body["grant"] for record in cited if record is not None and record.kind == "delegation"]
        return self._policy

    def _edges(self, references: References) -> list[Edge]:
        if references is None:
            return []
        return [self._edge(id) for id in dict.fromkeys(map(reference_id, _listed(references)))]

    def _edge(self, id: Link) -> Edge:
        record = self._ledger.context.record(id)
        if record is None:
            raise UsageError(
                f"record {cid.to_text(id)} is not held by this node", mend="fetch and verify it first", record=id
            )
        if record.owner == self.id:
            return Edge(id)
        if record.owner == self._ledger.federation or self._ledger.writes(record.owner):
            return Edge(id, record.owner, None)
        verified = self._ledger.store.verified(id)
        return Edge(id, record.owner, 0 if verified is None else verified.edges)

    def _newest(self, kind: str) -> Link | None:
        found = self._ledger.store.by_kind(kind, self.id, limit=1)
        return found[0] if found else None


def _awaited(method: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(method)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> R:
        return await in_thread(lambda: method(*args, **kwargs))

    return awaited


class Agent:
    """One agent of this node, for trio and asyncio: every method is that of `BlockingAgent`, awaited."""

    def __init__(self, blocking: BlockingAgent) -> None:
        self.blocking = blocking
        self.id = blocking.id
        self.name = blocking.name
        self.state = _awaited(blocking.state)
        self.act = _awaited(blocking.act)
        self.decide = _awaited(blocking.decide)
        self.observe = _awaited(blocking.observe)
        self.policy = _awaited(blocking.policy)
        self.delegate = _awaited(blocking.delegate)
        self.verification = _awaited(blocking.verification)
        self.blob = _awaited(blocking.blob)
        self.adopt = _awaited(blocking.adopt)

    def __repr__(self) -> str:
        return f"<Agent {self.name!r} {cid.short(self.id)}>"


async def in_thread(work: Callable[[], R]) -> R:
    """Run blocking work in a worker thread of whichever of trio and asyncio is running."""
    if sniffio.current_async_library() == "trio":
        import trio

        return await trio.to_thread.run_sync(work)
    import asyncio

    return await asyncio.to_thread(work)


def _body(scope: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    body = {name: _plain(value) for name, value in fields.items() if value is not None}
    for name, value in scope.items():
        if name == "uses":
            body[name] = sorted(set(value))
        elif name == "spends":
            body[name] = dict(value)
        elif name in ("class_", "tier"):
            body[name.rstrip("_")] = value
        else:
            raise UsageError(f"unknown argument {name!r}", mend="a scope is uses, spends, class_ and tier")
    return body


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value
    return dict(value) if kind is dict or isinstance(value, Mapping) else value


def _listed(references: References) -> list[Reference]:
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


def _id_or_none(reference: Reference | None) -> Link | None:
    return None if reference is None else reference_id(reference)
