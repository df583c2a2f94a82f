"""What an agent wants to record, and the end of the log to which it is appended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tslg.manifests.agent_keys import SigningKey, sign_seats
from tslg.node import semantic
from tslg.node.own_log import Blocked
from tslg.node.proving import Prove, with_proofs
from tslg.node.store.interface import LogState
from tslg.protocol import committed, disclosure
from tslg.protocol import record as records
from tslg.protocol import seal as seals
from tslg.protocol.chains import JOINT
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.governing.state import Semantic
from tslg.protocol.keys import KEY_EVENTS, Key, key_of
from tslg.protocol.kinds import KINDS
from tslg.protocol.log import Peaks
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Edge, Head, Record
from tslg.protocol.rules.seals import Seat, seats
from tslg.protocol.seal import Signature, sign1_start, to_be_signed
from tslg.protocol.signatures import Alg, ed25519_sign

_SEALED_BY_OTHERS: Final = KEY_EVENTS | {JOINT}
"""Kinds that others may have to seal beside the author."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What an agent wants to record; the ledger adds place, time, tree head, key and seal.

    Attributes:
        kind: the record's kind.
        body: its body, or what makes the body for the position that the record gets.
        preds: its predecessors by class.
        prove: makes the proofs that it stays within confidential policies, once its place is known.
        fresh: the key that it registers, which may have to sign it too.
        keyless: it names no key: a recovery, sealed by the fresh key in the place of one that is lost.
        move: what it does to the semantic state, if it is a governed step.
        co_seal: makes the seal of the record and the agent's own entries where the anchors sign too.
    """

    kind: str
    body: Mapping[str, Any] | Callable[[int], Mapping[str, Any]]
    preds: Mapping[str, Sequence[Edge]]
    prove: Prove | None = None
    fresh: SigningKey | None = field(default=None, repr=False)
    keyless: bool = False
    move: semantic.Move | None = None
    co_seal: Callable[[Record, list[Signature]], bytes] | None = field(default=None, repr=False)

    def body_at(self, position: int) -> Mapping[str, Any]:
        """Return the body for a position of the log."""
        return self.body(position) if callable(self.body) else self.body

    def in_state(self, log: OwnLog) -> Draft:
        """Return the draft with what the end of the log says of the semantic state. Raises StaleError."""
        move, at = self.move, log.semantic
        if move is None:
            return self
        after = move.leads_to(at, log.owner)
        body = {**self.body_at(log.size), "before": at.digest} | ({} if after is None else {"after": after})
        prior = {edge.cid: edge for edge in self.preds.get("prior", ())}
        # What a composite is made of it cites as that, and each record is cited once.
        if at.mover is not None and all(edge.cid != at.mover for edge in self.preds.get("part", ())):
            prior[at.mover] = Edge(at.mover)
        if log.prior != log.owner or not prior:
            prior[log.prior] = Edge(log.prior)
        return replace(self, body=body, preds={**self.preds, "prior": list(prior.values())})

    def build(
        self,
        log: OwnLog,
        manifest: Manifest,
        time: int,
        preds: Mapping[str, Sequence[Edge]],
        random_bytes: Callable[[int], bytes],
    ) -> tuple[Record, bytes | None]:
        """Return the record that this makes at the end of a log, `preds` as they are written, and what to attach."""
        body, attachment = self._committed(self.body_at(log.size), manifest, random_bytes)
        if self.prove is not None:
            body, attachment = with_proofs(body, attachment, self.prove(log.owner, log.size, log.last))
        record = records.build(
            kind=self.kind,
            agent=log.owner,
            seq=log.size,
            prev=log.last,
            time=time,
            manifest=manifest.id,
            key=None if self.keyless else log.key.record,
            log=Head(log.size, log.peaks.root()),
            preds=preds,
            body=body,
            hash_name=manifest.envelope.ids,
        )
        return record, attachment

    def _committed(
        self, body: Mapping[str, Any], manifest: Manifest, random_bytes: Callable[[int], bytes]
    ) -> tuple[Mapping[str, Any], bytes | None]:
        """Return the body that the record will hold, and the disclosure of the fields that it only commits to."""
        kind = KINDS.get(self.kind)
        if manifest.envelope.address != "merkle" or kind is None or not kind.committed:
            return body, None
        salts = [random_bytes(committed.SALT_BYTES) for _ in kind.committed]
        held, leaves = committed.commit(kind, body, salts)
        return held, disclosure.encode(leaves)

    def own_entries(self, record: Record, log: OwnLog, manifest: Manifest) -> tuple[list[Seat], list[Signature]]:
        """Return whose signatures the record made of this needs, and those that the agent makes with its keys."""
        key = key_of(record) if record.key is None else log.key
        assert key is not None
        secrets = {log.key.record: log.signer}
        if self.fresh is not None:
            secrets[record.id] = self.fresh
        wanted = seats(record, key, manifest)
        return wanted, sign_seats(record, wanted, secrets)

    def seal(self, record: Record, log: OwnLog, manifest: Manifest) -> tuple[bytes, bool]:
        """Return the seal of the record made of this, and whether it is a plain one, which needs no check.

        A plain seal is the one signature that the rule of seals demands of nearly every record, made here.

        Raises:
            UsageError: the anchors must sign, and are not at hand.
        """
        if log.secret and not manifest.envelope.post_quantum and record.kind not in _SEALED_BY_OTHERS:
            signature = ed25519_sign(log.secret, to_be_signed(record.data, Alg.ED25519))
            return sign1_start(log.key.record) + signature, True
        wanted, own = self.own_entries(record, log, manifest)
        if wanted[-1].anchors is None:
            return seals.encode(own), False
        if self.co_seal is None:
            raise UsageError(f"the federation's anchors seal a {record.kind} too", mend="have them sign a request")
        return self.co_seal(record, own), False


@dataclass(slots=True)
class OwnLog:
    """The end of a log that this node writes, and the key it signs with."""

    owner: Link
    key: Key
    signer: SigningKey = field(repr=False)
    secret: bytes = field(repr=False)
    """The signer's 64-byte secret if it is a plain Ed25519 key, empty otherwise."""
    size: int
    last: Link
    last_time: int
    peaks: Peaks
    prior: Link
    """The newest `state`, or the genesis: what later records derive from."""
    semantic: Semantic
    """Where the agent's semantic state stands, which governed steps move."""
    blocked: Blocked | None = None
    """Why nothing may be appended, if so."""

    def state(self) -> LogState:
        """Return the end of the log as the store keeps it."""
        return LogState(self.owner, self.size, self.last, self.last_time, self.peaks.copy())

    def copy(self) -> OwnLog:
        """Return the same end, which later appends leave as it is."""
        return OwnLog(
            self.owner,
            self.key,
            self.signer,
            self.secret,
            self.size,
            self.last,
            self.last_time,
            self.peaks.copy(),
            self.prior,
            self.semantic,
            self.blocked,
        )


@dataclass(slots=True)
class Ticket:
    """A draft that waits for its turn, and what became of it."""

    owner: Link
    draft: Draft
    record: Record | None = None
    error: BaseException | None = None
