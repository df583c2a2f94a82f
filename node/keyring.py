"""The keys of a node's own agents: which are in force, which secrets are here, and how they change.

A new secret is on disk before anything refers to it, and which record registers it is read from the log: a crash at any
point leaves at most a secret that nobody uses, and the next rotation takes that up again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tslg.manifests import genesis as geneses
from tslg.manifests import signing
from tslg.manifests.agent_keys import SigningKey
from tslg.manifests.keys import AnchorKey
from tslg.node import keyfile
from tslg.node.drafting import Draft
from tslg.node.ledger import Ledger
from tslg.protocol import attestation as attestations
from tslg.protocol.cid import from_text, short, to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError, UsageError
from tslg.protocol.keys import Key, key_of
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Edge, Record
from tslg.protocol.rules.seals import fits
from tslg.protocol.seal import Signature, encode, parse
from tslg.protocol.signatures import Alg

NAMES: Final = {-19: "Ed25519", -47: "ES256K", -49: "ML-DSA-65"}
"""Schemes of agents' keys as people call them, by COSE number."""


class Binding(NamedTuple):
    """What holds a key: `tenant`, `platform` or `hardware`, and the evidence for hardware."""

    kind: str = "tenant"
    attestation: bytes | None = None

    def fields(self) -> dict[str, Any]:
        """Return what a genesis or registration says of it."""
        named: dict[str, Any] = {"binding": self.kind}
        return named if self.attestation is None else named | {"attestation": self.attestation}


TENANT: Final = Binding()
"""A key that its owner keeps as well as it can."""


class KeyState(NamedTuple):
    """One key of an agent.

    Attributes:
        key: the key as its log holds it.
        revoked_from: the position from which it is dead, None while it is not revoked.
        alive: whether it may seal the next record of the log.
        fits: whether it is of the algorithms that the manifest asks for.
        here: whether its secret is in this directory.
        used: whether it is the one that seals here.
    """

    key: Key
    revoked_from: int | None
    alive: bool
    fits: bool
    here: bool
    used: bool


class Keyring:
    """Opens own logs with the newest key that can be used, and changes keys.

    Args:
        folder: where the key files lie.
        ledger: where records are appended.
        manifest: returns the record of the manifest version in force.
        anchors: returns the anchors' keys that are at hand.
        random_bytes: a source of secret random bytes.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        manifest: Callable[[], Record],
        anchors: Callable[[], tuple[AnchorKey, ...]],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._manifest_record = manifest
        self._anchors = anchors
        self._random_bytes = random_bytes

    def states(self, agent: Link) -> list[KeyState]:
        """Return an agent's keys in the order of the log. Raises UsageError if its log is not held here."""
        registered = self._registered(agent)
        secrets = self._secrets(agent)
        state = self._ledger.store.log_state(agent)
        size = 0 if state is None else state.size
        manifest = Manifest.from_record(self._manifest_record())
        ends = self._ledger.context.revocations(agent).ends
        found = [
            KeyState(
                key,
                ends.get(key.record),
                ends.get(key.record, size + 1) > size,
                fits(key, manifest),
                (key.public, key.post_quantum) in secrets,
                False,
            )
            for key in registered
        ]
        used = _best(found)
        return [one._replace(used=one is used) for one in found]

    def open(self, agent: Link) -> None:
        """Make an agent's log writable with the newest key that can be used. Raises UsageError if no secret is here."""
        used = _best(self.states(agent))
        if used is None:
            raise UsageError(f"no key of {to_text(agent)} is here", mend="restore its key files", record=agent)
        self._use(agent, used.key)

    def note_key(self, agent: Link) -> SigningKey:
        """Return the newest Ed25519 key in force whose secret is here: what signs an agent's checkpoints.

        Raises:
            UsageError: no secret of the agent is here. CheckpointError: `TSLG-K-SCHEME`: none of such a key is.
        """
        secrets = self._secrets(agent)
        if not secrets:
            raise UsageError(
                f"the key of {to_text(agent)} is not in {self._folder.parent}",
                mend="name the data directory of its node",
                record=agent,
            )
        usable = [one.key for one in self.states(agent) if one.alive and one.here and one.key.alg == Alg.ED25519]
        if not usable:
            raise CheckpointError(
                "checkpoints are signed by Ed25519 keys, and no such key of the agent is in force here",
                code="TSLG-K-SCHEME",
                mend="rotate to an Ed25519 key",
                record=agent,
            )
        return secrets[usable[-1].public, usable[-1].post_quantum]

    def recovered(self) -> list[Link]:
        """Return the agents whose first key is lost, but a registered one is here."""
        names = {path.name.partition(".")[0] for path in self._folder.glob("b*.key")}
        lost = [from_text(name) for name in sorted(names) if not (self._folder / f"{name}.json").exists()]
        return [id for id in lost if self._ledger.store.has(id) and any(one.here for one in self.states(id))]

    def go_over(self, agent: Link) -> None:
        """Register a key of the algorithms that the manifest asks for, if the one in use is not of them.

        Where the anchors must sign that and are not here, or only hardware can hold such a key, nothing changes: the
        next record is refused and says why.
        """
        used = _best(self.states(agent))
        hardware = Manifest.from_record(self._manifest_record()).envelope.rotation.hardware
        alone = hardware is None or not hardware.required
        if used is not None and used.alive and not used.fits and alone and self._anchors_are_here():
            self.rotate(agent)

    def prepare(self, agent: Link, alg: int | None = None) -> SigningKey:
        """Make the key that the next rotation registers, so that hardware can attest it first; or return it again.

        Raises:
            UsageError: for an algorithm that the manifest does not list, or a log that is not here.
        """
        return self._fresh(agent, alg)

    def rotate(self, agent: Link, alg: int | None = None, binding: Binding = TENANT) -> Record:
        """Register a fresh key and seal with it from here on; the other keys stay in force until they are revoked.

        Args:
            agent: an agent of this node.
            alg: COSE number; None for that of the key in use if the manifest still has it.
            binding: what holds the key; with evidence, the prepared key that it is about is registered.

        Raises:
            UsageError: inside a batch, for an algorithm that the manifest does not list, if anchors must sign who
                are not here, or for evidence about no prepared key. Refusal: the log refuses it.
        """
        self._outside_batch()
        self._need_anchors("rotate")
        draft = self._registration(agent, self._fresh(agent, alg, binding), binding, co_seal=self._co_seal)
        record = self._ledger.append(agent, draft)
        self.open(agent)
        return record

    def revoke(self, agent: Link, key: Link, reason: str, *, last: bool = False) -> Record:
        """End a key from the next position on; another one seals that if there is one.

        Args:
            agent: an agent of this node.
            key: the record that registers the key, or binds a peer id.
            reason: what happened.
            last: whether it may be the last usable key here, which closes the log.

        Raises:
            UsageError: there is no such key in force, it is the last one, or the anchors must sign and are not here.
        """
        self._outside_batch()
        self._need_anchors("revoke")
        if not self._binds_a_peer(agent, key):
            self._step_aside(agent, key, last)
        record = self._ledger.append(agent, self._revocation(agent, key, reason, co_seal=self._co_seal))
        self.open(agent)
        return record

    # --- with anchors elsewhere -------------------------------------------------------------------------------------

    def request_rotation(self, agent: Link, alg: int | None = None, binding: Binding = TENANT) -> signing.Request:
        """Make the request to the anchors to seal a rotation. The log must not grow until that is in it."""
        return self._request(agent, self._registration(agent, self._fresh(agent, alg, binding), binding))

    def request_revocation(self, agent: Link, key: Link, reason: str, *, last: bool = False) -> signing.Request:
        """Make the request to the anchors to seal a revocation; otherwise as `request_rotation`."""
        if not self._binds_a_peer(agent, key):
            self._step_aside(agent, key, last)
        return self._request(agent, self._revocation(agent, key, reason))

    def request_recovery(self, agent: Link, alg: int | None = None, binding: Binding = TENANT) -> signing.Request:
        """Make the request to the anchors to put a fresh key in the place of lost ones.

        Raises:
            UsageError: the manifest allows no recovery.
        """
        manifest = Manifest.from_record(self._manifest_record())
        if not manifest.envelope.rotation.recovery:
            raise UsageError("the manifest allows no recovery", mend="seal with a key that is left, or start anew")
        fresh = self._fresh(agent, alg, binding)
        if not self._ledger.writes(agent):
            first = self._registered(agent)[0]
            self._ledger.open_log(agent, first, fresh)
        return self._request(agent, self._registration(agent, fresh, binding, keyless=True))

    def complete(self, record: Record, seal: bytes) -> None:
        """Sign and append a registration or revocation that the anchors have signed; go on with the newest usable key.

        Raises:
            UsageError: the log has grown since the request was made, or the secret is not here.
            Refusal: the anchors' signature does not do.
        """
        agent = record.owner
        if self._ledger.store.at(agent, record.seq) == record.id:
            return
        key = None if record.key is None else self._ledger.context.key(record.key)
        if key is not None:
            self._use(agent, key)
        registered = key_of(record)
        secrets = self._secrets(agent)
        fresh = None if registered is None else secrets.get((registered.public, registered.post_quantum))
        if fresh is None and registered is not None:
            raise UsageError("the secret of the key that it registers is not here", record=record.id)
        if fresh is not None and not self._ledger.writes(agent):
            self._ledger.open_log(agent, self._registered(agent)[0], fresh)
        draft = Draft(record.kind, record.body, record.preds, fresh=fresh, keyless=record.key is None)
        self._ledger.co_sealed(record, draft, parse(seal).signatures[-1])
        self.open(agent)

    def _request(self, agent: Link, draft: Draft) -> signing.Request:
        record = self._ledger.prepare(agent, draft)
        return signing.propose(record, [self._manifest_record(), *self._named(record)])

    # --- parts -----------------------------------------------------------------------------------------------------

    def _registration(
        self,
        agent: Link,
        fresh: SigningKey,
        binding: Binding,
        *,
        keyless: bool = False,
        co_seal: Callable[[Record, list[Signature]], bytes] | None = None,
    ) -> Draft:
        body = {"purpose": "signing", **binding.fields(), **fresh.fields()}
        return Draft("registration", body, self._prior(agent), fresh=fresh, keyless=keyless, co_seal=co_seal)

    def _revocation(
        self, agent: Link, key: Link, reason: str, *, co_seal: Callable[[Record, list[Signature]], bytes] | None = None
    ) -> Draft:
        return Draft(
            "revocation",
            lambda position: {"key": key, "from_seq": position + 1, "reason": reason},
            self._prior(agent),
            co_seal=co_seal,
        )

    def _prior(self, agent: Link) -> dict[str, Sequence[Edge]]:
        return {"prior": [Edge(self._ledger.prior(agent))]}

    def _fresh(self, agent: Link, alg: int | None, binding: Binding = TENANT) -> SigningKey:
        """Return a key that is on disk and not registered yet: one that was left over, or a new one."""
        known = {(key.public, key.post_quantum) for key in self._registered(agent)}
        left = [key for halves, key in self._secrets(agent).items() if halves not in known]
        if binding.attestation is not None:
            return attested(left, binding.attestation)
        envelope = Manifest.from_record(self._manifest_record()).envelope
        if alg is None:
            used = _best(self.states(agent))
            alg = used.key.alg if used is not None and used.key.alg in envelope.signatures else envelope.signatures[0]
        if alg not in envelope.signatures:
            allowed = ", ".join(NAMES[number] for number in envelope.signatures)
            raise UsageError(f"the manifest allows no keys of {NAMES.get(alg, alg)}", mend=f"choose {allowed}")
        for key in left:
            if key.alg == alg and (key.post_quantum is not None) is envelope.post_quantum:
                return key
        key = SigningKey.generate(alg, self._random_bytes, post_quantum=envelope.post_quantum)
        keyfile.write_further(self._folder, agent, key)
        return key

    def _binds_a_peer(self, agent: Link, id: Link) -> bool:
        held = self._ledger.context.record(id)
        return held is not None and held.owner == agent and "peer_id" in held.body

    def _step_aside(self, agent: Link, key: Link, last: bool) -> None:
        """Go over to another key before one is ended."""
        states = self.states(agent)
        target = next((one for one in states if one.key.record == key), None)
        if target is None or not target.alive:
            raise UsageError(f"{short(key)} registers no key in force", mend="see `tslg agent keys`", record=key)
        other = _best([one for one in states if one.key.record != key and one.alive and one.fits])
        if other is not None:
            self._use(agent, other.key)
        elif not last:
            raise UsageError(
                "it is the only key that can be used here", mend="rotate first, or say that the log shall end with it"
            )

    def _use(self, agent: Link, key: Key) -> None:
        self._ledger.open_log(agent, key, self._secrets(agent)[key.public, key.post_quantum])

    def _registered(self, agent: Link) -> list[Key]:
        ids = self._ledger.store.by_kind("registration", agent, limit=DEFAULT.walk_edges)
        found = [record for id in (agent, *ids) if (record := self._ledger.context.record(id)) is not None]
        keys = [key for record in found if (key := key_of(record)) is not None]
        if not keys:
            raise UsageError("that agent's log is not held here", record=agent)
        return sorted(keys, key=lambda key: key.seq)

    def _secrets(self, agent: Link) -> dict[tuple[bytes, bytes | None], SigningKey]:
        path = self._folder / f"{to_text(agent)}.json"
        keys = [keyfile.read(path).key] if path.exists() else []
        keys += keyfile.read_further(self._folder, agent)
        return {(key.public, key.post_quantum_public): key for key in keys}

    def _named(self, record: Record) -> list[Record]:
        """Return the records that hold the keys which a record names, for anchors to see."""
        named = [record.key] if record.key is not None else []
        if record.kind == "revocation" and record.body["key"] not in named:
            named.append(record.body["key"])
        return [held for id in named if (held := self._ledger.context.record(id)) is not None]

    def _co_seal(self, record: Record, own: list[Signature]) -> bytes:
        request = signing.propose(record, [self._manifest_record(), *self._named(record)])
        (anchors,) = parse(geneses.sign_and_combine(request, self._anchors())).signatures
        return encode([*own, anchors])

    def _anchors_are_here(self) -> bool:
        manifest = Manifest.from_record(self._manifest_record())
        return not manifest.envelope.rotation.anchors or len(self._anchors()) >= manifest.anchors.threshold

    def _need_anchors(self, what: str) -> None:
        if not self._anchors_are_here():
            raise UsageError(
                f"the anchors of federation {short(self._ledger.federation)} seal what concerns keys",
                mend=f"run `tslg agent {what} … --out FILE`, have the anchors sign it, then `tslg agent join`",
            )

    def _outside_batch(self) -> None:
        if self._ledger.batching:
            raise UsageError("keys change outside a batch", mend="change them once the batch is durable")


def attested(keys: Sequence[SigningKey], evidence: bytes) -> SigningKey:
    """Return the one of these keys that evidence is about. Raises UsageError if it is about none of them."""
    for key in keys:
        if attestations.key_digest(key.fields()) in evidence:
            return key
    mend = "run the same with --prepare, and have that key attested"
    raise UsageError("that attests no key that is prepared here", mend=mend)


def _best(states: Sequence[KeyState]) -> KeyState | None:
    """Return the key to seal with: in force before dead, of the right algorithms before others, the newest of these."""
    here = [one for one in states if one.here]
    return max(here, key=lambda one: (one.alive, one.fits, one.key.seq), default=None)
