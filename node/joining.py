"""Authorising together: what one agent proposes, what each signer signs, and the record that they make.

A request and the signatures are bytes, carried as files or messages between machines; nothing in them is secret. The
record's place in its author's log is fixed when it is proposed, and the proposal is void once that log has grown: give
authorisations a log of their own, by an agent that does nothing but this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tslg.manifests import threshold as shares
from tslg.manifests.files import decode_message, encode_message, is_bytes
from tslg.manifests.keys import AnchorKey
from tslg.manifests.text import KEY_BYTES, POSSESSION_BYTES
from tslg.node.authoring import Author, Reference, References, reference_id
from tslg.protocol import attachments, cid, signatures
from tslg.protocol import record as records
from tslg.protocol.chains import JOINT
from tslg.protocol.codec import Link
from tslg.protocol.errors import AttachmentError, CodecError, ManifestError, RecordError, UsageError
from tslg.protocol.keys import Key
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Anchors
from tslg.protocol.record import Record
from tslg.protocol.rules.joint import consent_message, group_of
from tslg.protocol.seal import Signature, to_be_signed
from tslg.protocol.signatures import Alg

_REQUEST: Final = "tslg joint request"
_SIGNATURE: Final = "tslg joint signature"
_MEMBER: Final = "tslg joint member"


class GroupMember(NamedTuple):
    """What one agent brings into a group that signs by BLS: its own key record, its BLS key, and its consent."""

    agent: Link
    key: Link
    share: bytes
    possession: bytes
    consent: bytes


@dataclass(frozen=True, slots=True)
class JointRequest:
    """A joint authorisation that waits for its signers; its author signs it last.

    Attributes:
        record: what they sign.
        attachment: what shows the fields that the record only commits to, None where there are none.
    """

    record: Record
    attachment: bytes | None = None

    @property
    def group(self) -> Anchors | None:
        """The BLS group that signs, None where the signers sign one by one."""
        return group_of(self.record.body)

    def to_bytes(self) -> bytes:
        """Return the request's bytes."""
        return encode_message(
            _REQUEST, {"id": self.record.id, "record": self.record.data, "attachment": self.attachment}
        )

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "request") -> JointRequest:
        """Read a request; messages call it `name`.

        Raises:
            ManifestError: `TSLG-M-FILE` for a damaged file, `TSLG-M-REQUEST` for one with another record.
        """
        checks = {"id": _is_link, "record": _is_data, "attachment": lambda value: value is None or type(value) is bytes}
        fields = decode_message(data, _REQUEST, checks, name)
        try:
            record = records.parse_as(fields["id"], fields["record"])
            if record.kind != JOINT or record.key is None:
                raise RecordError(f"a {record.kind} is not what several agents authorise", record=record.id)
            group_of(record.body)
            if fields["attachment"] is not None:
                record = attachments.check(record, fields["attachment"])
        except (CodecError, RecordError, AttachmentError, ValueError) as error:
            mend = "ask the proposer for that file again"
            raise ManifestError(f"{name}: {error}", code="TSLG-M-REQUEST", mend=mend) from error
        return cls(record, fields["attachment"])


class Joining(Author):
    """The methods by which an agent authorises together with others."""

    def propose_joint(
        self,
        name: str,
        signers: Iterable[Reference] = (),
        threshold: int | None = None,
        data: Mapping[str, Any] | None = None,
        *,
        expires: int | None = None,
        bearers: Iterable[Reference] | None = None,
        members: Sequence[GroupMember] = (),
        group: Anchors | None = None,
        policy: References = None,
        evidence: References = None,
        delegation: References = None,
    ) -> JointRequest:
        """Propose what several agents shall authorise; it is void if the agent's log grows before `record_joint`.

        Args:
            name: what is authorised.
            signers: agents, or records that register the keys by which they sign; their key records are held here.
            threshold: how many must sign.
            data: what is authorised, in detail.
            expires: until when it may be acted on, ms since 1970 UTC; None for ever.
            bearers: who may act on it; None for the author and the signers.
            members, group: instead of `signers` and `threshold`, the members of a BLS group, and the group.
            policy, evidence, delegation: records to cite.

        Raises:
            UsageError: a signer's key is not held here, or members and keys do not belong together.
        """
        needed = group.threshold if group is not None else threshold
        if needed is None:
            raise UsageError("it does not say how many must sign", mend="give a threshold")
        body: dict[str, Any] = {"name": name, "threshold": needed, "expires": expires}
        if data is not None:
            body["data"] = dict(data)
        if bearers is not None:
            body["bearers"] = sorted({reference_id(one) for one in bearers})
        if group is not None:
            body |= _group_body(members, group)
        else:
            chosen = {key.owner: key for key in (self._key_record(one) for one in signers)}
            body["signers"] = [{"agent": owner, "key": chosen[owner].id} for owner in sorted(chosen)]
        draft = self._draft(JOINT, body, policy=policy, evidence=evidence, delegation=delegation, authorised=True)
        return JointRequest(*self._ledger.draft(self.id, draft))

    def sign_joint(self, request: JointRequest, share: AnchorKey | None = None) -> bytes:
        """Sign a request as one of its signers, with the agent's key, or with its `share` of the group's key.

        Raises:
            UsageError: this agent or key is not among the signers.
        """
        body = request.record.body
        place = next((i for i, one in enumerate(body["signers"]) if one["agent"] == self.id), None)
        if place is None or self._ledger.context.manifest(request.record.manifest or request.record.id) is None:
            raise UsageError(
                f"{self.name} is not among the signers, or it is another federation's", record=request.record.id
            )
        group = request.group
        if group is not None:
            own = next(one["key"] for one in body["group"]["members"] if one["agent"] == self.id)
            if share is None or share.public != own or share.scheme != group.scheme:
                mend = "give the file of the group's key that this agent consented to"
                raise UsageError(f"{self.name} signs with its share of the group's key", mend=mend)
            message = to_be_signed(request.record.data, group.scheme, many=True)
            value, alg, kid = shares.partial_sign(share.secret, message), int(group.scheme), request.record.id
        else:
            signature = self._ledger.sign(
                self.id, to_be_signed(request.record.data, self._ledger.alg(self.id), many=True)
            )
            value, alg, kid = signature.value, int(signature.alg), Link(signature.kid)
            if kid != body["signers"][place]["key"]:
                mend = "have it proposed anew with that key"
                raise UsageError(f"{self.name} signs with another key by now, {cid.short(kid)}", mend=mend)
        fields = {"record": request.record.id, "agent": self.id, "alg": alg, "kid": kid, "signature": value}
        return encode_message(_SIGNATURE, fields)

    def record_joint(self, request: JointRequest, signed: Iterable[tuple[str, bytes]]) -> Record:
        """Seal a request with the signatures of its signers, (name, content) each, and record it.

        Raises:
            ManifestError: `TSLG-M-PARTIAL` names a signature that is damaged, wrong or of another record.
            Refusal: there are too few. UsageError: the log has grown since it was proposed.
        """
        others = combine(request, signed, self._ledger.context.key)
        return self._ledger.complete(request.record, request.attachment, others)

    def consent(self, group: Anchors, public: bytes) -> bytes:
        """Say with the agent's key that a BLS key of a group, `public`, speaks for it; return the member's file."""
        index = next((i for i, member in enumerate(group.members) if member.key == public), None)
        if index is None:
            raise UsageError("that key is not among those of the group", mend="give the files of one ceremony")
        signature = self._ledger.sign(self.id, consent_message(self.id, group, index))
        fields = {"agent": self.id, "key": Link(signature.kid), "share": public}
        return encode_message(
            _MEMBER, {**fields, "possession": group.members[index].possession, "consent": signature.value}
        )

    def _key_record(self, signer: Reference) -> Record:
        """Return the record of the key by which a signer signs: the one named, or an agent's newest."""
        named = self._held(reference_id(signer))
        if named.kind == "registration" and named.body["purpose"] == "signing":
            return named
        if named.kind != "genesis":
            raise UsageError(f"{cid.short(named.id)} is neither an agent nor a key", record=named.id)
        newer = map(self._held, self._ledger.store.by_kind("registration", named.id))
        signing = [one for one in newer if one.body["purpose"] == "signing"]
        return max(signing, key=lambda one: one.seq, default=named)


def read_member(content: bytes, name: str = "member") -> GroupMember:
    """Read a member's file. Raises ManifestError `TSLG-M-FILE`."""
    checks = {
        "agent": _is_link,
        "key": _is_link,
        "share": is_bytes(KEY_BYTES),
        "possession": is_bytes(POSSESSION_BYTES),
    }
    checks |= {"consent": _is_data}
    fields = decode_message(content, _MEMBER, checks, name)
    return GroupMember(*(fields[name] for name in GroupMember._fields))


def combine(
    request: JointRequest, signed: Iterable[tuple[str, bytes]], key_of: Callable[[Link], Key | None]
) -> list[Signature]:
    """Return what stands in the seal behind its author's signature. Raises as `Joining.record_joint`.

    Args:
        request: what was signed.
        signed: the signers' signatures, (name, content) each.
        key_of: looks up the key that a record registers.
    """
    body = request.record.body
    given: dict[Link, Signature] = {}
    for name, content in signed:
        checks = {"record": _is_link, "agent": _is_link, "alg": _is_alg, "kid": _is_link, "signature": _is_data}
        fields = decode_message(content, _SIGNATURE, checks, name)
        if fields["record"] != request.record.id:
            raise _bad(request, f"{name} signs another record, {cid.short(fields['record'])}")
        if fields["agent"] not in [signer["agent"] for signer in body["signers"]]:
            raise _bad(request, f"{name} is by nobody among the signers")
        given[fields["agent"]] = Signature(fields["alg"], fields["kid"], fields["signature"])
    group = request.group
    if group is not None:
        return [_group_entry(request, group, given)]
    entries = [given[one["agent"]] for one in body["signers"] if one["agent"] in given]
    for entry in entries:
        key = key_of(Link(entry.kid))
        message = to_be_signed(request.record.data, entry.alg, many=True)
        if key is None or not signatures.verify(key.alg, key.public, message, entry.value):
            raise _bad(request, f"the signature under {cid.short(Link(entry.kid))} does not verify")
    return [entry for entry in entries if entry.kid != request.record.key]


def _group_entry(request: JointRequest, group: Anchors, given: Mapping[Link, Signature]) -> Signature:
    message = to_be_signed(request.record.data, group.scheme, many=True)
    partials = {
        index: given[member["agent"]].value
        for index, member in enumerate(request.record.body["group"]["members"])
        if member["agent"] in given
    }
    keys = [member.key for member in group.members]
    if group.scheme == Alg.BLS_THRESHOLD:
        value = shares.combine(partials, group.threshold, keys, message)
        return Signature(group.scheme, request.record.id, value)
    for index, partial in partials.items():
        if not shares.verify_partial(keys[index], message, partial):
            raise _bad(request, f"the signature of member {index} does not verify")
    value, bitmap = shares.combine_multisig(partials, len(keys))
    return Signature(group.scheme, request.record.id, value, bitmap)


def _group_body(members: Sequence[GroupMember], keys: Anchors) -> dict[str, Any]:
    by_share = {member.share: member for member in members}
    missing = [member.name for member in keys.members if member.key not in by_share]
    if missing or len(by_share) != len(keys.members):
        raise UsageError(f"members' files and keys do not match; without one: {', '.join(missing)}"[:300])
    ordered = [by_share[member.key] for member in keys.members]
    listed = [
        {"agent": one.agent, "key": one.share, "possession": one.possession, "consent": one.consent} for one in ordered
    ]
    return {
        "signers": [{"agent": one.agent, "key": one.key} for one in sorted(ordered, key=lambda one: one.agent)],
        "group": {"scheme": int(keys.scheme), "members": listed, "group_key": keys.group_key},
    }


def _bad(request: JointRequest, detail: str) -> ManifestError:
    mend = "leave it out, or have it signed again"
    return ManifestError(detail, code="TSLG-M-PARTIAL", mend=mend, record=request.record.id)


def _is_link(value: Any) -> bool:
    return type(value) is Link and cid.is_record_id(value)


def _is_data(value: Any) -> bool:
    return type(value) is bytes and len(value) <= DEFAULT.record_bytes


def _is_alg(value: Any) -> bool:
    return type(value) is int and value in set(Alg)
