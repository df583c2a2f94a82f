"""The agent's interface: every state, action and decision becomes a signed record before it takes effect.

`BlockingAgent` is for plain code and threads, `Agent` for trio and asyncio; both write through the node's ledger and
return once the record is durable. What is cited is a `Record`, an id, or an id's text.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

import sniffio

from tslg.node.agreeing import Agreeing
from tslg.node.artifacts.making import Making
from tslg.node.authoring import Reference, References, body_of, cited_in, id_or_none, listed, reference_id
from tslg.node.confiding import Confiding
from tslg.node.correcting import Correcting
from tslg.node.destroying import Destroying
from tslg.node.joining import Joining
from tslg.node.keyring import Binding, Keyring, KeyState
from tslg.node.ledger import Ledger
from tslg.node.letting import Letting
from tslg.node.proving import Prover
from tslg.protocol import cid
from tslg.protocol.attestation import key_digest
from tslg.protocol.checkpoint import parse_log
from tslg.protocol.codec import Link
from tslg.protocol.commitment import stretch_root
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record
from tslg.protocol.report import Report

P = ParamSpec("P")
R = TypeVar("R")


class BlockingAgent(Letting, Destroying, Confiding, Correcting, Agreeing, Joining, Making):
    """One agent of this node. Safe to use from several threads.

    Attributes:
        id: the agent's id: its genesis record's.
        name: the name in its genesis.
    """

    def __init__(self, ledger: Ledger, genesis: Record, prover: Prover, keyring: Keyring) -> None:
        self._keyring = keyring
        self.id = genesis.id
        self.name: str = genesis.body["name"]
        self._ledger = ledger
        self._prover = prover
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
        **more: Any,
    ) -> Record:
        """Record what the agent is in from here on; later records derive from it.

        Args:
            data: the state itself, or digests of it.
            name: a name for it.
            policy, evidence, delegation: records to cite.
            **more: what it claims of its policies, `uses`, `spends`, `class_`, `tier`; and records to cite as
                `absence`, `consensus`, `counterfactual`, `counters`, `joint`, `observes` or `part`.

        Raises:
            Refusal: an admission rule refuses it.
        """
        body = body_of(more, data=dict(data), name=name)
        return self._append(
            "state", body, policy=policy, evidence=evidence, delegation=delegation, cited=cited_in(more)
        )

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
        **more: Any,
    ) -> Record:
        """Record something done. Without `policy` it is done under the agent's adopted policy, or the grant."""
        body = body_of(more, name=name, input=input, output=output, principal=id_or_none(principal), blob=blob)
        return self._append(
            "action",
            body,
            policy=policy,
            evidence=evidence,
            delegation=delegation,
            authorised=True,
            cited=cited_in(more),
        )

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
        **more: Any,
    ) -> Record:
        """Record a decision on evidence. Without `policy` it is taken under the adopted policy, or the grant."""
        body = body_of(
            more,
            name=name,
            outcome=outcome,
            reason=reason,
            data=data,
            principal=id_or_none(principal),
            blob=blob,
        )
        return self._append(
            "decision",
            body,
            policy=policy,
            evidence=evidence,
            delegation=delegation,
            authorised=True,
            cited=cited_in(more),
        )

    def observe(
        self,
        source: str,
        data: Mapping[str, Any] | None = None,
        *,
        content: bytes | None = None,
        media_type: str = "application/octet-stream",
        blob: Mapping[str, Any] | None = None,
        sought: str | None = None,
        checkpoint: bytes | None = None,
        evidence: References = None,
        delegation: References = None,
        observes: References = None,
    ) -> Record:
        """Record something perceived. `content` of any size goes into the blob store, its digest into the record.

        `blob` names content that the caller puts into the blob store itself (`BlockingAgent.blob`). `sought` says what
        was looked for and not found there; later records can cite that as `absence`. `checkpoint` is a signed state of
        another agent's log, for which `observe_checkpoint` finds the evidence.
        """
        if content is not None:
            blob = self.blob(content, media_type)
        body = body_of({}, source=source, data=data, blob=blob, sought=sought, checkpoint=checkpoint)
        return self._append("observation", body, evidence=evidence, delegation=delegation, cited={"observes": observes})

    def observe_checkpoint(self, note: bytes) -> Record:
        """Record a checkpoint of another agent's log: whoever audits this record holds that log against it.

        Args:
            note: the checkpoint, signed by its agent; the record that it covers last must be held here.

        Raises:
            CheckpointError: it is none. UsageError: that record is not held. Refusal: the agent did not sign it.
        """
        head = parse_log(note).checkpoint
        last = self._ledger.store.at(head.agent, head.size - 1) if head.size else None
        if last is None:
            raise UsageError(
                f"the last of the {head.size} records that the checkpoint covers is not held here",
                mend="fetch and verify it first",
                record=head.agent,
            )
        return self.observe(head.origin, checkpoint=note, evidence=last)

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
        amends: References = None,
        delegation: References = None,
        document: Mapping[str, Any] | None = None,
        consensus: References = None,
        joint: References = None,
        confidential: bool = False,
        vocabulary: Iterable[str] | None = None,
    ) -> Record:
        """Record a policy, to be cited, granted to others, or adopted as the agent's own (`adopt`).

        Args:
            name: its name.
            capabilities: what it allows, from the deployment's vocabulary.
            limits: the most that may be spent, by name.
            classes, tiers: governance classes and tiers that may be claimed, from the manifest's.
            not_before, not_after: ms since 1970 UTC, None for open.
            under: policies that it narrows.
            amends: a policy of the agent's own whose next version it is: from here on, that one authorises nothing.
            delegation: the delegation by which a narrowed policy of another agent is held.
            document: a blob with the text that it stands for.
            consensus, joint: what put it in place.
            confidential: keep capabilities and limits to this node and to whoever is handed the `opening`.
            vocabulary: all names that capabilities are chosen from, where it is confidential and narrows no policy
                that is; it is public.

        Raises:
            Refusal: an admission rule refuses it. UsageError: what opens a policy that it narrows is not held.
        """
        body = body_of(
            {},
            name=name,
            capabilities=[] if confidential else sorted(set(capabilities)),
            limits={} if confidential else dict(limits or {}),
            classes=sorted(set(classes)),
            tiers=sorted(set(tiers)),
            document=document,
        )
        if confidential:
            words = self._vocabulary(under) if vocabulary is None else vocabulary
            body["commitments"] = self._prover.hide(words, capabilities, limits or {})
        body |= {"not_before": not_before, "not_after": not_after}
        cites = {"amends": amends, "consensus": consensus, "joint": joint}
        return self._append("policy", body, policy=under, delegation=delegation, cited=cites)

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
        consensus: References = None,
        joint: References = None,
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
            consensus, joint: what it rests on beside the policy.
        """
        body = {
            "delegate": reference_id(to),
            "task": dict(task),
            "grant": reference_id(grant),
            "expires": expires,
            "hops": hops,
        }
        cited = {"consensus": consensus, "joint": joint}
        return self._append("delegation", body, policy=grant, evidence=evidence, delegation=delegation, cited=cited)

    def verification(self, report: Report, *, evidence: References = None, counters: References = None) -> Record:
        """Publish the report of an audit as a record of one's own, for others to rely on, deepen or refute.

        What the report relied on is cited as evidence, and so is `evidence`, such as an earlier verification that it
        goes on from. `counters` cites what it speaks against, such as a verification with another verdict.
        """
        relied = sorted(one.record for one in report.relied)
        body: dict[str, Any] = {
            "target": report.target,
            "verdict": report.verdict,
            "depth": report.depth,
            "signatures": report.signatures,
            "edges": report.edges,
            "records": len(report.records),
            "report": report.digest,
            "frontier": [entry._asdict() for entry in report.frontier],
        }
        if relied:
            body["relied"] = relied
        cites = [report.target, *relied, *listed(evidence)]
        return self._append("verification", body, evidence=cites, cited={"counters": counters})

    def summary(
        self,
        first: int,
        last: int,
        parts: References,
        *,
        data: Mapping[str, Any] | None = None,
        policy: References = None,
    ) -> Record:
        """Record what stands for the positions `first` to `last` of the own log, cited by records that represent them.

        What is not among `parts` may then be pruned, where the gc policy lets go of records that are summed up.

        Raises:
            Refusal: the stretch is not all before this record, or a part lies outside it.
        """
        ids = self._ledger.store.leaves(self.id, last + 1)[first:]
        body: dict[str, Any] = {"first": first, "last": last, "root": stretch_root(ids)}
        if data is not None:
            body["data"] = dict(data)
        return self._append("summary", body, policy=policy, cited={"part": parts})

    def equivocation(self, agent: Reference, seq: int | None = None, *, reason: str | None = None) -> Record:
        """Publish the proof kept here that an agent sealed two records for one position; of oneself, as a confession.

        Args:
            agent: whose log is forked.
            seq: at which position, the first that is known by default.
            reason: how it came to it, as far as that is known.

        Raises:
            UsageError: `TSLG-U-UNKNOWN`: no such proof is kept here.
        """
        owner = reference_id(agent)
        for fork in self._ledger.store.forks(owner):
            if seq is None or fork.seq == seq:
                body = {"agent": owner, "seq": fork.seq} | ({} if reason is None else {"reason": reason})
                return self._append("equivocation", body, evidence=fork.records[:2])
        raise UsageError(
            f"nothing kept here shows that log {cid.to_text(owner)} is forked" + ("" if seq is None else f" at {seq}"),
            code="TSLG-U-UNKNOWN",
            mend="`tslg query forks` lists what does",
            record=owner,
        )

    def blob(self, content: bytes, media_type: str = "application/octet-stream") -> dict[str, Any]:
        """Put content into the node's blob store; return what a record says of it."""
        digest = self._ledger.store.put_blob(content)
        return {"digest": digest, "size": len(content), "media_type": media_type}

    def prepare_key(self, alg: int | None = None) -> tuple[bytes, bytes]:
        """Make the key that the next rotation registers, so that hardware can attest it first; or return it again.

        Returns:
            Its public half, and the 32 bytes that an attestation of it must bind.
        """
        key = self._keyring.prepare(self.id, alg)
        return key.public, key_digest(key.fields())

    def rotate(self, alg: int | None = None, *, binding: str = "tenant", attestation: bytes | None = None) -> Record:
        """Register a fresh key and seal with it from here on.

        Args:
            alg: COSE number, None for that of the key in use.
            binding: what holds it, `tenant`, `platform` or `hardware`.
            attestation: evidence for `hardware`, about the key that `prepare_key` returned.

        Raises:
            UsageError: inside a batch, if the federation's anchors must sign and are not here, or for evidence about
                no prepared key. Refusal: `TSLG-A-ATTESTATION`: the evidence is not what the manifest asks for.
        """
        return self._keyring.rotate(self.id, alg, Binding(binding, attestation))

    def revoke(self, key: Reference, reason: str, *, last: bool = False) -> Record:
        """End the key that a record registers, from the next position on; `last` allows it to be the only one.

        Raises:
            UsageError: as `rotate`, and if there is no such key in force.
        """
        return self._keyring.revoke(self.id, reference_id(key), reason, last=last)

    @property
    def keys(self) -> list[KeyState]:
        """The agent's keys, in the order of its log."""
        return self._keyring.states(self.id)

    def batch(self) -> AbstractContextManager[None]:
        """Make what this thread records in the block durable together, and nothing of it if the block raises."""
        return self._ledger.batch(self.id)


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
        self.observe_checkpoint = _awaited(blocking.observe_checkpoint)
        self.policy = _awaited(blocking.policy)
        self.delegate = _awaited(blocking.delegate)
        self.verification = _awaited(blocking.verification)
        self.equivocation = _awaited(blocking.equivocation)
        self.summary = _awaited(blocking.summary)
        self.blob = _awaited(blocking.blob)
        self.redact = _awaited(blocking.redact)
        self.adopt = _awaited(blocking.adopt)
        self.correct = _awaited(blocking.correct)
        self.amend = _awaited(blocking.amend)
        self.retract = _awaited(blocking.retract)
        self.propose = _awaited(blocking.propose)
        self.vote = _awaited(blocking.vote)
        self.conclude = _awaited(blocking.conclude)
        self.opening = _awaited(blocking.opening)
        self.take_opening = _awaited(blocking.take_opening)
        self.propose_joint = _awaited(blocking.propose_joint)
        self.sign_joint = _awaited(blocking.sign_joint)
        self.record_joint = _awaited(blocking.record_joint)
        self.consent = _awaited(blocking.consent)
        self.prepare_key = _awaited(blocking.prepare_key)
        self.rotate = _awaited(blocking.rotate)
        self.revoke = _awaited(blocking.revoke)
        self.register_peer = _awaited(blocking.register_peer)
        self.access_rule = _awaited(blocking.access_rule)
        self.artifact = _awaited(blocking.artifact)
        self.cohort = _awaited(blocking.cohort)
        self.evaluation = _awaited(blocking.evaluation)
        self.advisory = _awaited(blocking.advisory)
        self.transition = _awaited(blocking.transition)
        self.release = _awaited(blocking.release)

    def __repr__(self) -> str:
        return f"<Agent {self.name!r} {cid.short(self.id)}>"


async def in_thread(work: Callable[[], R]) -> R:
    """Run blocking work in a worker thread of whichever of trio and asyncio is running."""
    if sniffio.current_async_library() == "trio":
        import trio

        return await trio.to_thread.run_sync(work)
    import asyncio

    return await asyncio.to_thread(work)
