"""Rules of what several agents authorise together: who they are, that they signed, and who may act on it.

Normative text: docs/spec/together.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import cbor2

from tslg.protocol import cid, signatures
from tslg.protocol.chains import JOINT, keys_of_signers
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.manifest import Anchors, read_anchors
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, manifest_in_force, refuse
from tslg.protocol.seal import Signature, to_be_signed

CONSENT: Final = "tslg.joint.member.v1"
"""What a member of a group signs with its agent's key begins with this, and so is nothing else."""


def group_of(body: Mapping[str, Any]) -> Anchors | None:
    """Return the BLS group that authorises, None where the signers sign one by one.

    Raises:
        ValueError: it is no group: keys, scheme, or not the signers. Proofs are a check of their own.
    """
    group = body.get("group")
    if group is None:
        return None
    if sorted(member["agent"] for member in group["members"]) != [signer["agent"] for signer in body["signers"]]:
        raise ValueError("its members are not the signers")
    members = [{"name": str(i), **item} for i, item in enumerate(group["members"])]
    return read_anchors({**group, "members": members, "threshold": body["threshold"]})


def consent_message(agent: Link, group: Anchors, index: int) -> bytes:
    """Return what an agent signs with its own key to say that a BLS key speaks for it in a group."""
    member = group.members[index].key
    return cbor2.dumps([CONSENT, bytes(agent), int(group.scheme), group.threshold, member, group.group_key])


def rule_joint(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The signers' keys are theirs and may be used, and a group's members hold their keys and consented."""
    if record.kind != JOINT:
        return None
    body = record.body
    if not 1 <= body["threshold"] <= len(body["signers"]):
        detail = f"a threshold of {body['threshold']} of {len(body['signers'])} signers"
        return refuse("TSLG-A-JOINT", record, detail)
    manifest = manifest_in_force(record, context)
    for signer in body["signers"]:
        key = context.key(signer["key"])
        if key is None and context.complete:
            mend = "fetch the signers' key records first"
            return refuse("TSLG-A-RESOLVE", record, f"the key of {cid.short(signer['agent'])} is not held here", mend)
        if key is not None and key.owner != signer["agent"]:
            return refuse("TSLG-A-JOINT", record, f"the key given for {cid.short(signer['agent'])} is another agent's")
        if key is not None and manifest is not None and key.alg not in manifest.envelope.signatures:
            return refuse("TSLG-A-JOINT", record, f"the key of {cid.short(signer['agent'])} is not allowed any more")
    wrong = _group_fault(record, context)
    return refuse("TSLG-A-JOINT", record, wrong, "have its members make their files anew") if wrong else None


def _group_fault(record: Record, context: Context) -> str | None:
    try:
        group = group_of(record.body)
    except ValueError as error:
        return f"its group is none: {error}"
    if group is None:
        return None
    if not group.proofs_hold():
        return "a member's proof of possession or share does not hold"
    keys = {signer["agent"]: context.key(signer["key"]) for signer in record.body["signers"]}
    for index, member in enumerate(record.body["group"]["members"]):
        key = keys[member["agent"]]
        message = consent_message(member["agent"], group, index)
        if key is not None and not signatures.verify(key.alg, key.public, message, member["consent"]):
            return f"{cid.short(member['agent'])} did not consent to its group key"
    return None


def joint_fault(record: Record, entries: Sequence[Signature], context: Context) -> str | None:
    """Tell what is wrong with the signatures behind the author's own in the seal of a joint authorisation."""
    try:
        group = group_of(record.body)
    except ValueError as error:
        return f"its group is none: {error}"
    return _signers_fault(record, entries, context) if group is None else _by_group_fault(record, entries, group)


def _by_group_fault(record: Record, entries: Sequence[Signature], group: Anchors) -> str | None:
    if len(entries) != 1 or entries[0].alg != group.scheme or entries[0].kid != record.id:
        return "behind its author's, it has one signature, of its group"
    entry = entries[0]
    if group.verify(to_be_signed(record.data, entry.alg, many=True), entry.value, entry.bitmap):
        return None
    return f"not signed by {group.threshold} of the {len(group.members)} members of its group"


def _signers_fault(record: Record, entries: Sequence[Signature], context: Context) -> str | None:
    places = {bytes(id): index for index, id in enumerate(keys_of_signers(record))}
    if any(entry.kid not in places for entry in entries):
        return "somebody signed who is not among its signers"
    if any(places[a.kid] >= places[b.kid] for a, b in pairwise(entries)):
        return "its signers sign in their order, once each"
    by_author = record.key is not None and bytes(record.key) in places
    if by_author and any(entry.kid == record.key for entry in entries):
        return "its author signs once"
    if len(entries) + by_author < record.body["threshold"]:
        return f"{len(entries) + by_author} of {record.body['threshold']} signers signed"
    for entry in entries:
        key = context.key(Link(entry.kid))
        if key is None:
            return "a signer's key is not at hand"
        message = to_be_signed(record.data, key.alg, many=True)
        if (
            entry.alg != key.alg
            or entry.bitmap is not None
            or not context.signature_holds(key.alg, key.public, message, entry.value)
        ):
            return f"the signature of {cid.short(key.owner)} does not verify"
    return None


def rule_bearer(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A joint authorisation is acted on while it lasts, by those to whom it was given."""
    for edge in record.preds.get("joint", ()):
        cited = context.record(edge.cid)
        if cited is None or cited.kind != JOINT:
            continue
        expires = cited.body["expires"]
        if expires is not None and record.time > expires:
            return refuse(
                "TSLG-A-EXPIRED", record, f"the joint authorisation expired at {expires}", "ask for a new one"
            )
        bearers = cited.body.get("bearers")
        if bearers is None:
            bearers = [cited.owner, *(signer["agent"] for signer in cited.body["signers"])]
        if record.owner not in bearers:
            mend = "ask to be named among its bearers"
            return refuse("TSLG-A-JOINT", record, f"{cid.short(edge.cid)} was not given to its author", mend)
    return None
