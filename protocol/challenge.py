"""Answers to claims about what was in a log: it is here, it was and was pruned or redacted, or it never was.

An answer carries all that a stranger needs to check it who knows nothing but the federation's id: a later sealed record
of the log, whose tree commits to every earlier id, and what leads from there to the claim. Normative text:
docs/spec/pruning.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tslg.protocol import cid, codec
from tslg.protocol.codec import Link
from tslg.protocol.commitment import Absence, Member, verify_absence, verify_member
from tslg.protocol.errors import CodecError, UsageError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.log import verify_inclusion
from tslg.protocol.record import Record

HERE: Final = "here"
PRUNED: Final = "pruned"
REDACTED: Final = "redacted"
NEVER: Final = "never"
EXIT_CODES: Final[Mapping[str, int]] = {HERE: 0, PRUNED: 0, REDACTED: 0, NEVER: 1}
_FORMAT: Final = "challenge.v1"
_MOST_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a claim that a record was at a position of a log.

    Attributes:
        verdict: `here`, `pruned`, `redacted` or `never`.
        federation, agent: the federation, and whose log.
        record, seq: the record that the claim is about, and the position that it claims.
        head: a sealed record of the log at that position or a later one.
        found: the id that is at the position.
        inclusion: proof that it is, in the tree that `head` carries; empty where `head` is the record itself.
        prune, member: the prune record that commits to it, and the proof of that.
        denied: by prune record of the log, the neighbours that show that the record is not in its commitment.
        redaction: the record that says what was destroyed of it.
        records: records and seals by id: those named here, and the chains of their manifests and keys.
    """

    verdict: str
    federation: Link
    agent: Link
    record: Link
    seq: int
    head: Link
    found: Link
    inclusion: tuple[bytes, ...] = ()
    prune: Link | None = None
    member: Member | None = None
    denied: Mapping[Link, Absence] = field(default_factory=dict)
    redaction: Link | None = None
    records: Mapping[Link, tuple[bytes, bytes]] = field(default_factory=dict, repr=False)

    @property
    def named(self) -> list[Link]:
        """The records whose seals the answer rests on."""
        return [id for id in (self.head, self.prune, self.redaction, *self.denied) if id is not None]

    def to_bytes(self) -> bytes:
        """Return the answer's file."""
        return codec.encode(
            {
                "tslg": _FORMAT,
                "verdict": self.verdict,
                "federation": self.federation,
                "agent": self.agent,
                "record": self.record,
                "seq": self.seq,
                "head": self.head,
                "found": self.found,
                "inclusion": list(self.inclusion),
                "prune": self.prune,
                "member": _member_map(self.member),
                "denied": [[id, *map(_member_map, absence)] for id, absence in self.denied.items()],
                "redaction": self.redaction,
                "records": [[id, *pair] for id, pair in self.records.items()],
            }
        )


def read(data: bytes, limits: Limits = DEFAULT) -> Answer:
    """Read an answer's file. Raises UsageError `TSLG-U-FILE` for any other bytes; verifies nothing."""
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError("too large")
        value = codec.decode(data)
        if type(value) is not dict or value.pop("tslg", None) != _FORMAT or value["verdict"] not in EXIT_CODES:
            raise ValueError("no answer")
        denied = {_link(id): Absence(_member(one), _member(other)) for id, one, other in value.pop("denied")}
        pairs = {_link(id): (_bytes(record), _bytes(seal)) for id, record, seal in value.pop("records")}
        member, inclusion = _member(value.pop("member")), tuple(map(_bytes, value.pop("inclusion")))
        for name in ("federation", "agent", "record", "head", "found"):
            _link(value[name])
        for name in ("prune", "redaction"):
            if value[name] is not None:
                _link(value[name])
        if type(value["seq"]) is not int or not 0 <= value["seq"] <= limits.integer:
            raise ValueError("seq")
        answer = Answer(**value, member=member, inclusion=inclusion, denied=denied, records=pairs)
        if answer.to_bytes() != data:
            raise ValueError("not as it is written")
        return answer
    except (CodecError, ValueError, TypeError, KeyError) as error:
        raise UsageError("this is no answer to a challenge", code="TSLG-U-FILE", mend="have it made again") from error


def fault(answer: Answer, sealed: Mapping[Link, Record]) -> str | None:
    """Return what is wrong with an answer, None if it holds.

    Args:
        answer: the answer.
        sealed: the records that it names, each of which a verification found to be valid.
    """
    head = sealed.get(answer.head)
    if head is None or head.owner != answer.agent or not set(answer.named) <= sealed.keys():
        return "a record that it rests on is not sealed by the log's owner"
    if not _is_at(answer, head):
        return "nothing shows which record is at the position"
    if answer.verdict == NEVER:
        return _fault_of_never(answer, sealed)
    if answer.found != answer.record:
        return "another record is at the position"
    if answer.verdict == HERE:
        return None if answer.record in answer.records else "the record itself is not with it"
    if answer.verdict == PRUNED:
        return _fault_of_pruned(answer, sealed)
    redaction = None if answer.redaction is None else sealed[answer.redaction]
    right = redaction is not None and redaction.kind == "redaction" and redaction.body["target"] == answer.record
    return None if right else "the redaction that it names is of another record"


def _is_at(answer: Answer, head: Record) -> bool:
    if head.id == answer.found:
        return head.seq == answer.seq
    tree = head.log
    return tree is not None and verify_inclusion(answer.found, answer.seq, tree.size, list(answer.inclusion), tree.root)


def _fault_of_pruned(answer: Answer, sealed: Mapping[Link, Record]) -> str | None:
    prune = None if answer.prune is None else sealed[answer.prune]
    member = answer.member
    if prune is None or prune.kind != "prune" or prune.owner != answer.agent or member is None:
        return "no prune record of the log commits to it"
    if member.id != answer.record or not verify_member(member, prune.body["count"], prune.body["root"]):
        return "nothing shows that the prune record commits to it"
    return None


def _fault_of_never(answer: Answer, sealed: Mapping[Link, Record]) -> str | None:
    if answer.found == answer.record:
        return "it is at the position after all"
    for id, absence in answer.denied.items():
        prune = sealed[id]
        if prune.kind != "prune" or prune.owner != answer.agent:
            return "what is to deny it is no prune record of the log"
        if not verify_absence(answer.record, absence, prune.body["count"], prune.body["root"]):
            return "nothing shows that a prune record does not commit to it"
    return None


def _member_map(member: Member | None) -> list[Any] | None:
    return None if member is None else [member.id, member.place, list(member.proof)]


def _member(value: Any) -> Member | None:
    if value is None:
        return None
    id, place, proof = value
    if type(place) is not int or place < 0:
        raise ValueError("place")
    return Member(_link(id), place, tuple(map(_bytes, proof)))


def _link(value: Any) -> Link:
    if type(value) is not Link or not cid.is_record_id(value):
        raise ValueError("no id")
    return value


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise ValueError("no bytes")
    return value
