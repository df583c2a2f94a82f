"""Making a threshold key without a dealer: joint-Feldman distributed key generation as a machine that does no I/O.

    round 1   each member publishes a `Commitment`. All compare `transcript(…)`, over a channel they trust, say by
              reading out its first characters: nothing else tells a member from somebody who claims its name.
    round 2   each member publishes `Shares`: one share for each other member, encrypted to it.
    finish    each member checks its shares against the commitments, and publishes a `Confirmation`, or a `Complaint`
              that names who sent a bad share or none. `judge` tells anybody who holds the messages who is at fault;
              the others start again with `Ceremony.without(name)` and new secrets.
    conclude  the key is good for use once every member's confirmation was checked.

A member keeps one `Participant`, which is secret. Its steps are functions of that state and of the messages, so a step
can be repeated after a crash and gives the same bytes. A step that returns a new state has pinned what it answered:
save the state before the message leaves. It then refuses to answer any other set of messages, which could betray it.

After Gennaro et al. 2007 (joint-Feldman) with the proofs of knowledge of FROST (Komlo and Goldberg 2020, section 5.1;
compare RFC 9591, appendix C). The last to publish in round one can bias the group key, which does not help to forge
BLS signatures. Shares are safe as long as fewer than `threshold` members collude.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256

from nacl.bindings import crypto_scalarmult_base
from nacl.public import Box, PrivateKey, PublicKey
from nacl.signing import SigningKey

from tslg.manifests import bls as signing
from tslg.manifests.ceremony import Ceremony, Commitment, Complaint, Confirmation, Shares, read_map, refuse
from tslg.manifests.feldman import (
    authenticated,
    box_nonce,
    challenge,
    complete,
    digest_of,
    evaluate,
    first_round,
    keys_of,
    open_share,
)
from tslg.protocol import bls, codec
from tslg.protocol.curve import ORDER, G1Point, scalar
from tslg.protocol.errors import ManifestError
from tslg.protocol.limits import DEFAULT

_SECRET = b"tslg.dkg.secret.v1\0"
_SEED_BYTES = 32
_SHARE_BYTES = 32
_STATE_KIND = "tslg-dkg-state"


@dataclass(frozen=True)
class Outcome:
    """A member's own result, not for use before `conclude` has seen everybody's confirmation.

    Attributes:
        secret: the member's share, 32 bytes big-endian: the secret of `member_keys[member]`.
        member_keys: each member's public share key, 48 bytes, by index.
        group_key: 48 bytes.
        transcript: digest of round one.
        confirmation: to be published.
    """

    ceremony: Ceremony
    member: int
    secret: bytes = field(repr=False)
    member_keys: tuple[bytes, ...]
    group_key: bytes
    transcript: bytes
    confirmation: Confirmation


@dataclass(frozen=True)
class Agreement:
    """The public result that all members confirmed: what a manifest's anchors are made of, all by member index."""

    ceremony: Ceremony
    member_keys: tuple[bytes, ...]
    possessions: tuple[bytes, ...]
    group_key: bytes
    transcript: bytes


@dataclass(frozen=True)
class Verdict:
    """What a complaint comes to: the member at fault, or None if the complaint is answered and nobody is."""

    culprit: str | None
    reason: str


@dataclass(frozen=True)
class Participant:
    """One member's private state in one ceremony. Everything secret derives from the seed.

    Attributes:
        ceremony, member: which ceremony, and this member's index.
        seed: 32 secret bytes, never used in another ceremony.
        transcript: digest of the first round that this member answered, or None.
        received: digest of the shares that this member answered, or None.
    """

    ceremony: Ceremony
    member: int
    seed: bytes = field(repr=False)
    transcript: bytes | None = None
    received: bytes | None = None

    @classmethod
    def create(cls, ceremony: Ceremony, name: str, random_bytes: Callable[[int], bytes]) -> Participant:
        """The state of a member that begins. Save it before publishing the commitment.

        Raises ManifestError TSLG-M-DKG-CEREMONY for a name that takes no part, or randomness of another length.
        """
        seed = random_bytes(_SEED_BYTES)
        if not isinstance(seed, bytes) or len(seed) != _SEED_BYTES:
            raise refuse(
                "TSLG-M-DKG-CEREMONY", f"the source of randomness gave something else than {_SEED_BYTES} bytes"
            )
        return cls(ceremony, ceremony.index(name), seed)

    def commitment(self) -> Commitment:
        """Round one: the message to publish."""
        coefficients = self._coefficients()
        points = tuple((G1Point() * scalar(value)).to_compressed_bytes() for value in coefficients)
        keys = [bytes(self._box_key().public_key), bytes(self._sign_key().verify_key)]
        proof_secret = self._number("proof", b"".join([*points, *keys]))
        proof_point = (G1Point() * scalar(proof_secret)).to_compressed_bytes()
        asked = challenge(self.ceremony, self.member, points, keys, proof_point)
        return Commitment.signed(
            self._sign_key(),
            ceremony=self.ceremony.id,
            member=self.member,
            points=points,
            proof_point=proof_point,
            proof_response=((proof_secret + asked * coefficients[0]) % ORDER).to_bytes(_SHARE_BYTES, "big"),
            box_key=keys[0],
            sign_key=keys[1],
        )

    def deal(self, commitments: Iterable[Commitment]) -> tuple[Participant, Shares]:
        """Round two: the message to publish, and the state to save first.

        Call it once the transcript has been compared. Raises ManifestError: TSLG-M-DKG-MISSING, -PROOF, -MESSAGE or
        -EQUIVOCATION as `transcript` does, -TRANSCRIPT if this member has dealt on another first round.
        """
        first = first_round(self.ceremony, commitments)
        digest = digest_of(first)
        if first[self.member] != self.commitment():
            raise refuse("TSLG-M-DKG-TRANSCRIPT", "the first round holds another commitment under this member's name")
        if self.transcript not in (None, digest):
            raise refuse(
                "TSLG-M-DKG-TRANSCRIPT", "this member has sent shares for another first round; start a new ceremony"
            )
        boxes = []
        for index, commitment in enumerate(first):
            share = evaluate(self._coefficients(), index + 1).to_bytes(_SHARE_BYTES, "big")
            box = Box(self._box_key(), PublicKey(commitment.box_key))
            nonce = box_nonce(digest, self.member, index)
            boxes.append(b"" if index == self.member else box.encrypt(share, nonce).ciphertext)
        message = Shares.signed(
            self._sign_key(), ceremony=self.ceremony.id, member=self.member, transcript=digest, boxes=tuple(boxes)
        )
        return replace(self, transcript=digest), message

    def finish(
        self, commitments: Iterable[Commitment], shares: Iterable[Shares]
    ) -> tuple[Participant, Outcome | tuple[Complaint, ...]]:
        """The result, or the complaints to publish instead, and the state to save first.

        A complaint of a bad share reveals this member's box key, so that everybody can check it; that opens every share
        it sent or got, and the ceremony cannot conclude without its confirmation, which it will not give. Raises
        ManifestError as `deal` does, and TSLG-M-DKG-EQUIVOCATION if this member has answered other shares.
        """
        first = first_round(self.ceremony, commitments)
        digest = digest_of(first)
        if digest != self.transcript:
            raise refuse(
                "TSLG-M-DKG-TRANSCRIPT", "this member has not sent shares for this first round", "run round two first"
            )
        second = authenticated(self.ceremony, first, shares, digest)
        missing = [index for index in range(len(first)) if index not in second and index != self.member]
        if missing:
            return self, tuple(self._complain(digest, index, None) for index in missing)
        second.pop(self.member, None)
        received = sha256(codec.encode([second[index].to_bytes() for index in sorted(second)])).digest()
        if self.received not in (None, received):
            raise refuse(
                "TSLG-M-DKG-EQUIVOCATION", "this member has answered other shares in this ceremony; start a new one"
            )
        secret = evaluate(self._coefficients(), self.member + 1)
        bad = []
        for index, message in sorted(second.items()):
            share = open_share(first, message, self.member, self._box_key())
            if share is None:
                bad.append(self._complain(digest, index, message))
            else:
                secret += share
        return replace(self, received=received), tuple(bad) if bad else self._outcome(first, digest, secret % ORDER)

    def to_bytes(self) -> bytes:
        """The state as canonical bytes. They are secret."""
        return codec.encode(
            {
                "kind": _STATE_KIND,
                "ceremony": self.ceremony.to_value(),
                "member": self.member,
                "seed": self.seed,
                "transcript": self.transcript,
                "received": self.received,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Participant:
        """The state that `to_bytes` gave. Raises ManifestError TSLG-M-DKG-MESSAGE or TSLG-M-DKG-CEREMONY."""
        value = read_map(data, "ceremony state", limit=DEFAULT.record_bytes * 4)
        if value.pop("kind", None) != _STATE_KIND or value.keys() != set(cls.__dataclass_fields__):
            raise refuse("TSLG-M-DKG-MESSAGE", "these bytes are not a ceremony state")
        ceremony, member = Ceremony.from_value(value.pop("ceremony")), value.pop("member")
        if type(member) is not int or not 0 <= member < len(ceremony.members):
            raise refuse("TSLG-M-DKG-MESSAGE", "the ceremony state names no member")
        digests = [item for item in (value["transcript"], value["received"]) if item is not None]
        if not all(type(item) is bytes and len(item) == _SEED_BYTES for item in (value["seed"], *digests)):
            raise refuse("TSLG-M-DKG-MESSAGE", "the ceremony state has a field of wrong type or length")
        return cls(ceremony, member, **value)

    def _outcome(self, first: list[Commitment], digest: bytes, secret: int) -> Outcome:
        group_key, member_keys = keys_of(first)
        share = secret.to_bytes(_SHARE_BYTES, "big")
        confirmation = Confirmation.signed(
            self._sign_key(),
            ceremony=self.ceremony.id,
            member=self.member,
            transcript=digest,
            group_key=group_key,
            possession=signing.prove_possession(share),
        )
        return Outcome(self.ceremony, self.member, share, member_keys, group_key, digest, confirmation)

    def _complain(self, digest: bytes, accused: int, evidence: Shares | None) -> Complaint:
        return Complaint.signed(
            self._sign_key(),
            ceremony=self.ceremony.id,
            member=self.member,
            transcript=digest,
            accused=accused,
            evidence=b"" if evidence is None else evidence.to_bytes(),
            box_secret=b"" if evidence is None else bytes(self._box_key()),
        )

    def _secret(self, label: str, context: bytes = b"") -> bytes:
        parts = codec.encode([label, self.ceremony.id, self.member, context])
        return hmac.digest(self.seed, _SECRET + parts, "sha512")

    def _number(self, label: str, context: bytes = b"") -> int:
        return int.from_bytes(self._secret(label, context), "big") % ORDER

    def _coefficients(self) -> list[int]:
        return [self._number("coefficient", power.to_bytes(8, "big")) for power in range(self.ceremony.threshold)]

    def _box_key(self) -> PrivateKey:
        return PrivateKey(self._secret("box")[:32])

    def _sign_key(self) -> SigningKey:
        return SigningKey(self._secret("sign")[:32])


def transcript(ceremony: Ceremony, commitments: Iterable[Commitment]) -> bytes:
    """The 32-byte digest of the whole first round, which all members compare before they deal.

    Raises ManifestError: TSLG-M-DKG-MISSING for a member without commitment, -PROOF for one whose commitment does not
    hold, -MESSAGE for one of another ceremony or not signed by its author, -EQUIVOCATION for two of one member.
    """
    return digest_of(first_round(ceremony, commitments))


def judge(
    ceremony: Ceremony, commitments: Iterable[Commitment], complaint: Complaint, shares: Iterable[Shares] = ()
) -> Verdict:
    """Who is at fault, by a complaint and the messages one holds. All who hold the same messages agree.

    A complaint of silence is answered by the accused's shares message, if it is among `shares`; without it the accused
    is at fault. Any other complaint speaks for itself. Raises ManifestError as `transcript` does, TSLG-M-DKG-MESSAGE
    for a complaint that its author did not sign, and TSLG-M-DKG-TRANSCRIPT for one about another first round.
    """
    first = first_round(ceremony, commitments)
    digest = digest_of(first)
    authenticated(ceremony, first, [complaint], digest)
    accuser, accused = ceremony.members[complaint.member], complaint.accused
    if accused >= len(first):
        return Verdict(accuser, "the complaint accuses nobody")
    name = ceremony.members[accused]
    if not complaint.evidence:
        if accused in authenticated(ceremony, first, shares, digest):
            return Verdict(None, f"{name} did send shares; hand them to {accuser}")
        return Verdict(name, f"{name} sent no shares")
    try:
        evidence = Shares.from_bytes(complaint.evidence)
        authenticated(ceremony, first, [evidence], digest)
    except ManifestError:
        return Verdict(accuser, f"what the complaint shows is not a message of {name}")
    secret = complaint.box_secret
    if len(secret) != PrivateKey.SIZE or crypto_scalarmult_base(secret) != first[complaint.member].box_key:
        return Verdict(accuser, "the complaint does not open the share")
    if evidence.member != accused:
        return Verdict(accuser, f"what the complaint shows is not a message of {name}")
    if open_share(first, evidence, complaint.member, PrivateKey(secret)) is None:
        return Verdict(name, f"{name} sent {accuser} a share that does not match the commitment")
    return Verdict(accuser, f"{name}'s share is good")


def conclude(ceremony: Ceremony, commitments: Iterable[Commitment], confirmations: Iterable[Confirmation]) -> Agreement:
    """The result that every member has confirmed. Only now is the key good for use.

    Raises ManifestError: TSLG-M-DKG-MISSING for members that have not confirmed, -TRANSCRIPT for one that saw another
    first round or group key, -PROOF for one that does not hold its share, and as `transcript` does.
    """
    first = first_round(ceremony, commitments)
    digest = digest_of(first)
    group_key, member_keys = keys_of(first)
    found = authenticated(ceremony, first, confirmations, digest)
    for message in found.values():
        if message.group_key != group_key:
            raise refuse("TSLG-M-DKG-TRANSCRIPT", f"{ceremony.members[message.member]!r} confirmed another group key")
    complete(ceremony, found, "confirmation")
    possessions = tuple(found[index].possession for index in range(len(first)))
    if not bls.verify_possessions(member_keys, possessions):
        proofs = zip(ceremony.members, member_keys, possessions, strict=True)
        names = [name for name, key, proof in proofs if not bls.verify_possession(key, proof)]
        raise refuse(
            "TSLG-M-DKG-PROOF",
            f"no proof that {', '.join(map(repr, names))} holds its share",
            "exclude it, start again",
        )
    return Agreement(ceremony, member_keys, possessions, group_key, digest)
