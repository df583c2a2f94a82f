"""Starting an agent's log, and founding a federation within one process: for one organisation, tests and demos.

Randomness and time come from the caller. Anchors on machines of their own use
`tslg.manifests.ceremony_files` and `tslg.manifests.multisig_files` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tslg.manifests import bls, dkg, examples, signing, text, versions
from tslg.manifests.agent_keys import SigningKey, sign_seats
from tslg.manifests.ceremony import Ceremony
from tslg.manifests.keys import AnchorKey
from tslg.manifests.text import AnchorKeys, ManifestText
from tslg.protocol import record, seal
from tslg.protocol.codec import Link
from tslg.protocol.errors import ManifestError
from tslg.protocol.keys import key_of
from tslg.protocol.manifest import Manifest, Member
from tslg.protocol.record import Record
from tslg.protocol.rules.seals import seats
from tslg.protocol.seal import Signature
from tslg.protocol.signatures import Alg, ed25519_public_key


@dataclass(frozen=True, slots=True)
class FoundedFederation:
    """A federation and the secrets of all its anchors.

    Attributes:
        manifest_record: the root manifest; its id is the federation's id.
        seal: the anchors' seal of it.
        anchor_keys: the anchors' secret keys, in the manifest's order.
    """

    manifest_record: Record
    seal: bytes
    anchor_keys: tuple[AnchorKey, ...] = field(repr=False)

    @property
    def manifest(self) -> Manifest:
        """The root manifest, read."""
        return Manifest.from_record(self.manifest_record)

    @property
    def anchor_secret(self) -> bytes:
        """The 32-byte secret of the first anchor: all there is in a federation of one."""
        return self.anchor_keys[0].secret


def single_organisation(name: str, *, random_bytes: Callable[[int], bytes], time_ms: int) -> FoundedFederation:
    """Found a federation of one anchor, after the example `single-organisation`.

    Args:
        name: the federation's name, and its anchor's.
        random_bytes: a source of that many secret random bytes.
        time_ms: the root manifest's time.
    """
    wanted = replace(text.parse(examples.read("single-organisation")), name=name, members=(name,))
    return found_federation(wanted, random_bytes=random_bytes, time_ms=time_ms)


def found_federation(wanted: ManifestText, *, random_bytes: Callable[[int], bytes], time_ms: int) -> FoundedFederation:
    """Found a federation whose anchors all live in this process, and sign its root manifest with all of them.

    One process that knows all secrets is what a ceremony avoids: this is for one organisation, tests and demos.

    Raises:
        ManifestError: the manifest could not be enforced.
    """
    keys, public = _anchor_keys(wanted, random_bytes)
    body = wanted.body(public, random_bytes(text.NONCE_BYTES), 1)
    manifest_record = versions.root_manifest(body, time_ms=time_ms)
    return FoundedFederation(manifest_record, sign_and_combine(signing.propose(manifest_record), keys), keys)


def _anchor_keys(
    wanted: ManifestText, random_bytes: Callable[[int], bytes]
) -> tuple[tuple[AnchorKey, ...], AnchorKeys]:
    """Make every anchor's key, and the public half that a manifest holds."""
    if wanted.scheme == Alg.BLS_THRESHOLD:
        outcomes, agreement = _generate(Ceremony(random_bytes(32), wanted.threshold, wanted.members), random_bytes)
        secrets, group_key = [outcome.secret for outcome in outcomes], agreement.group_key
    else:
        secrets, group_key = [bls.secret_from_seed(random_bytes(32)) for _ in wanted.members], None
    keys = tuple(
        AnchorKey(wanted.name, member, wanted.scheme, secret)
        for member, secret in zip(wanted.members, secrets, strict=True)
    )
    members = tuple(Member(key.member, key.public, bls.prove_possession(key.secret)) for key in keys)
    return keys, AnchorKeys(members, group_key)


def _generate(ceremony: Ceremony, random_bytes: Callable[[int], bytes]) -> tuple[list[dkg.Outcome], dkg.Agreement]:
    """Run the key ceremony with all members in this process."""
    members = [dkg.Participant.create(ceremony, name, random_bytes) for name in ceremony.members]
    commitments = [member.commitment() for member in members]
    dealt = [member.deal(commitments) for member in members]
    shares = [message for _, message in dealt]
    results = [member.finish(commitments, shares)[1] for member, _ in dealt]
    outcomes = [result for result in results if isinstance(result, dkg.Outcome)]
    return outcomes, dkg.conclude(ceremony, commitments, [outcome.confirmation for outcome in outcomes])


def sign_and_combine(request: signing.Request, keys: Sequence[AnchorKey]) -> bytes:
    """Return the seal that the anchors whose keys are at hand make together. Raises ManifestError for too few."""
    return signing.combine(request, [(key.member, signing.sign(request, key)) for key in keys])


def build_genesis(
    manifest: Manifest,
    *,
    name: str,
    nonce: bytes,
    time_ms: int,
    key: SigningKey | None = None,
    public_key: bytes = b"",
    binding: str = "tenant",
    attestation: bytes | None = None,
    federations: Sequence[Link] = (),
) -> Record:
    """Make the record that starts an agent's log under `manifest`, the version in force.

    Args:
        manifest: the manifest version in force.
        name: the agent's name.
        nonce: 16 random bytes.
        time_ms: now.
        key: the agent's first key.
        public_key: in its place, 32 bytes of Ed25519 whose secret is elsewhere.
        binding: `tenant`, `platform` or `hardware`.
        attestation: evidence for `hardware`.
        federations: other federations whose anchors shall attest it too.

    Raises:
        RecordError: the fields do not make a genesis.
    """
    registered = {"alg": int(Alg.ED25519), "key": public_key} if key is None else key.fields()
    body: dict[str, Any] = {"nonce": nonce, "name": name, "binding": binding, **registered}
    if attestation is not None:
        body["attestation"] = attestation
    if federations:
        body["federations"] = sorted({manifest.federation, *federations})
    return record.build(
        kind="genesis",
        agent=None,
        seq=0,
        prev=None,
        time=time_ms,
        manifest=manifest.id,
        key=None,
        log=None,
        preds={},
        body=body,
        hash_name=manifest.envelope.ids,
    )


def public_key(seed: bytes) -> bytes:
    """Return the 32-byte Ed25519 public key of a 32-byte seed."""
    return ed25519_public_key(seed)


def own_entries(item: Record, key: SigningKey | bytes, manifest: Manifest) -> list[Signature]:
    """Return what a key signs of the genesis or recovery that registers it; bytes are the seed of an Ed25519 key."""
    held = key if isinstance(key, SigningKey) else SigningKey(int(Alg.ED25519), key)
    registered = key_of(item)
    if registered is None:
        raise ManifestError(f"a {item.kind} registers no key", code="TSLG-M-REQUEST", record=item.id)
    return sign_seats(item, seats(item, registered, manifest), {item.id: held})


def propose_genesis(
    genesis: Record, key: SigningKey | bytes, manifest_record: Record, others: Sequence[Record] = ()
) -> signing.Request:
    """Return the request to the anchors of `manifest_record` to attest a genesis that the agent's key signs.

    Where several federations attest it, `others` are records of manifest versions of the other ones.

    Raises:
        ManifestError: the manifest asks for no anchors. Refusal: an admission rule that the genesis breaks.
    """
    manifest = Manifest.from_record(manifest_record)
    return signing.propose(genesis, [manifest_record, *others], own_entries(genesis, key, manifest))


def attest_genesis(
    genesis: Record, key: SigningKey | bytes, manifest_record: Record, anchor_keys: Sequence[AnchorKey] = ()
) -> bytes:
    """Return the seal of a genesis: by the agent alone, or with the anchors if the manifest asks for them.

    Raises:
        ManifestError: `TSLG-M-QUORUM` if the manifest asks for more anchors than keys are given. Refusal: as above.
    """
    manifest = Manifest.from_record(manifest_record)
    if genesis.manifest != manifest.id:
        raise ManifestError(
            "the genesis names another manifest", code="TSLG-M-REQUEST", mend="build it anew", record=genesis.id
        )
    if not manifest.envelope.genesis_anchors:
        return seal.encode(own_entries(genesis, key, manifest))
    return sign_and_combine(propose_genesis(genesis, key, manifest_record), anchor_keys)
