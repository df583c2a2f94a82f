"""A manifest version read from its record: the anchors that speak for the federation, and the envelope of every record.

Normative text: docs/spec/manifest.md. The envelope is the admission rule; a reader refuses a manifest that asks for
something the reader does not know, because it could not enforce it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tslg.protocol import bls
from tslg.protocol.codec import Link
from tslg.protocol.envelope import Envelope, read_envelope
from tslg.protocol.errors import RecordError
from tslg.protocol.record import Record
from tslg.protocol.signatures import Alg


@dataclass(frozen=True, slots=True)
class Member:
    """One anchor: its name, its BLS public key (48 bytes, its share's key under the threshold scheme), its proof."""

    name: str
    key: bytes
    possession: bytes


@dataclass(frozen=True, slots=True)
class Anchors:
    """Who speaks for a federation: any `threshold` of `members`, under `scheme`.

    `group_key` is the 48-byte key of the threshold scheme, None for multisig.
    """

    scheme: int
    threshold: int
    members: tuple[Member, ...]
    group_key: bytes | None

    def verify(self, message: bytes, signature: bytes, bitmap: bytes | None) -> bool:
        """Tell whether enough anchors signed `message`. Never raises."""
        if self.scheme == Alg.BLS_THRESHOLD:
            return bitmap is None and self.group_key is not None and bls.verify(self.group_key, message, signature)
        if bitmap is None:
            return False
        keys = [member.key for member in self.members]
        return bls.verify_multisig(keys, self.threshold, message, signature, bitmap)

    def proofs_hold(self) -> bool:
        """Tell whether every member holds the key it names and, with a threshold, the shares make the group key."""
        keys = [member.key for member in self.members]
        possessions = [member.possession for member in self.members]
        return self.shares_match() and bls.verify_possessions(keys, possessions)

    def shares_match(self) -> bool:
        """Tell whether the members' keys are shares of the group's, any `threshold` of them and no fewer; multisig has
        neither.
        """
        keys = [member.key for member in self.members]
        return self.group_key is None or bls.shares_match_group(keys, self.threshold, self.group_key)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest version: `id` is its record's id, `federation` the root manifest's id.

    `expires` is the last ms at which records may be made under it, None for no end.
    """

    id: Link
    federation: Link
    previous: Link | None
    name: str
    version: int
    anchors: Anchors
    envelope: Envelope
    expires: int | None = None

    @classmethod
    def from_record(cls, record: Record) -> Manifest:
        """Read the manifest in a `manifest` or `manifest-amendment` record, with every structural rule.

        What costs pairings is a check of its own: `anchors_hold`, `proofs_hold`.

        Raises:
            RecordError: the record holds no manifest that this version can enforce.
        """
        if record.kind not in ("manifest", "manifest-amendment"):
            raise RecordError(f"a {record.kind} holds no manifest", code="TSLG-R-MANIFEST", record=record.id)
        body = record.body
        try:
            anchors = read_anchors(body["anchors"])
            envelope = read_envelope(body["envelope"], anchors.threshold)
        except ValueError as error:
            raise RecordError(f"manifest: {error}", code="TSLG-R-MANIFEST", record=record.id) from error
        amended = record.preds.get("amends", ())
        previous = amended[0].cid if amended else None
        expires = body.get("expires")
        return cls(record.id, record.owner, previous, body["name"], body["version"], anchors, envelope, expires)

    def proofs_hold(self) -> bool:
        """Tell whether every anchor holds the key it names and, with a threshold, the shares make the group key.

        For whoever makes, signs or first takes up a manifest; readers check `anchors_hold`.
        """
        return self.anchors.proofs_hold()

    def anchors_hold(self) -> bool:
        """Tell whether a reader accepts the anchors: by all their proofs or, in a root manifest under the threshold
        scheme, by their shares alone [MAN-14].

        Its seal is then what shows possession, of the one key that is ever verified with; its id fixes that key.
        """
        if self.id == self.federation and self.anchors.scheme == Alg.BLS_THRESHOLD:
            return self.anchors.shares_match()
        return self.anchors.proofs_hold()


def read_anchors(value: dict[str, Any]) -> Anchors:
    """Read the `anchors` of a manifest body, whose types the kinds table has checked.

    Raises:
        ValueError: a rule of docs/spec/manifest.md is broken.
    """
    members = tuple(Member(item["name"], item["key"], item["possession"]) for item in value["members"])
    scheme, threshold, group_key = value["scheme"], value["threshold"], value["group_key"]
    if scheme not in (Alg.BLS_THRESHOLD, Alg.BLS_MULTISIG):
        raise ValueError(f"anchors' scheme {scheme} is not known here")
    if not 1 <= threshold <= len(members):
        raise ValueError(f"threshold {threshold} of {len(members)} anchors")
    if len({member.name for member in members}) < len(members) or len({member.key for member in members}) < len(
        members
    ):
        raise ValueError("two anchors share a name or a key")
    if not all(bls.valid_public_key(member.key) for member in members):
        raise ValueError("an anchor's key is not a valid BLS12-381 public key")
    if scheme == Alg.BLS_MULTISIG:
        if group_key is not None:
            raise ValueError("multisig has no group key")
    elif group_key is None or not bls.valid_public_key(group_key):
        raise ValueError("the threshold scheme needs a valid group key")
    return Anchors(scheme, threshold, members, group_key)
