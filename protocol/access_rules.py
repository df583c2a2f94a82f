"""What manifests and agents say of who may read which records: the rules as values, and reading them from bodies.

Normative text: docs/spec/access.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tslg.protocol.codec import Link
from tslg.protocol.fields import GRANT, READER_GROUPS, is_link_set, is_readers
from tslg.protocol.kinds import KINDS
from tslg.protocol.record import Record

ANYONE, MEMBERS, PARTIES = READER_GROUPS

ALWAYS: Final = frozenset(
    (
        "manifest",
        "manifest-amendment",
        "peer-set",
        "correction-policy",
        "gc-policy",
        "genesis",
        "registration",
        "revocation",
        "equivocation",
        "prune",
    )
)
"""Kinds that anybody may read: without them nobody could judge what they may read (ADR 0046)."""

COMMITTED: Final = frozenset(name for kind in KINDS.values() for name in kind.committed)
"""Fields that a rule can name: those that a record under `merkle` only commits to."""


class Readers(NamedTuple):
    """A set of readers: agents by id, members of peer sets, and the groups `anyone`, `members` and `parties`."""

    agents: frozenset[Link] = frozenset()
    groups: frozenset[str] = frozenset()
    peers: frozenset[Link] = frozenset()

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Readers:
        """Read a value that `fields.is_readers` accepts."""
        return cls(*(frozenset(value[name]) for name in cls._fields))


class Rule(NamedTuple):
    """One rule of a manifest: who reads what it concerns. None stands for all agents, kinds; for whole records."""

    agents: frozenset[Link] | None
    fields: frozenset[str] | None
    kinds: frozenset[str] | None
    readers: Readers

    def concerns(self, subject: Subject) -> bool:
        """Tell whether the rule is about a record."""
        by_agent = self.agents is None or subject.owner in self.agents
        return by_agent and (self.kinds is None or subject.kind in self.kinds)


@dataclass(frozen=True, slots=True)
class Access:
    """What a manifest says of reading.

    Attributes:
        default: who reads a record that no rule concerns.
        grantable: to whom agents may open their own records.
        guaranteed: from whom agents may not keep what the manifest lets them read.
        rules: the first that concerns a record decides, and the first that concerns a field of it.
    """

    default: Readers
    grantable: Readers
    guaranteed: Readers
    rules: tuple[Rule, ...]

    def readers(self) -> Iterator[Readers]:
        """Yield every set of readers that stands in it."""
        yield from (self.default, self.grantable, self.guaranteed)
        for rule in self.rules:
            yield rule.readers


class Subject(NamedTuple):
    """All that a decision looks at of a record.

    Attributes:
        id, owner, seq, kind: of the record.
        parties: agents other than its owner that take part in it.
        committed: whether it only commits to its fields, so that they can be kept back one by one.
    """

    id: Link
    owner: Link
    seq: int
    kind: str
    parties: frozenset[Link]
    committed: bool


class Grant(NamedTuple):
    """An access rule that an agent recorded about its own records, as its body says it; None for all."""

    id: Link
    grants: bool
    readers: Readers
    records: frozenset[Link] | None
    kinds: frozenset[str] | None
    first: int | None
    last: int | None
    fields: frozenset[str] | None
    expires: int | None

    def concerns(self, subject: Subject) -> bool:
        """Tell whether it is about a record of its author's."""
        return (
            (self.records is None or subject.id in self.records)
            and (self.kinds is None or subject.kind in self.kinds)
            and (self.first is None or subject.seq >= self.first)
            and (self.last is None or subject.seq <= self.last)
        )


_SHAPE: Final = "`access` is {} or {default, grantable, guaranteed, rules}"


def read_access(value: Any, attested: bool) -> Access | None:
    """Read the entry `access` of an envelope; `attested` tells whether anchors attest who is a member.

    Returns None where anybody reads everything. Raises ValueError.
    """
    if value == {}:
        return None
    _need(isinstance(value, dict) and value.keys() == {"default", "grantable", "guaranteed", "rules"}, _SHAPE)
    _need(isinstance(value["rules"], list), "`access.rules` is a list")
    access = Access(
        default=_readers(value["default"], "access.default"),
        grantable=_readers(value["grantable"], "access.grantable"),
        guaranteed=_readers(value["guaranteed"], "access.guaranteed"),
        rules=tuple(_rule(rule, index) for index, rule in enumerate(value["rules"])),
    )
    members = any(MEMBERS in readers.groups for readers in access.readers())
    _need(attested or not members, "`access` names `members`, so `genesis.anchors` must be the threshold")
    return access


def _rule(value: Any, index: int) -> Rule:
    name = f"access.rules[{index}]"
    known = {"agents", "fields", "kinds", "readers"}
    _need(isinstance(value, dict) and value.keys() == known, f"`{name}` is {{agents, fields, kinds, readers}}")
    agents = value["agents"]
    _need(agents is None or (is_link_set(agents) and len(agents) > 0), f"`{name}.agents` is null or ids of agents")
    kinds = _names(value["kinds"], f"{name}.kinds")
    fields = _names(value["fields"], f"{name}.fields")
    wrong = fault(kinds, fields)
    _need(wrong is None, f"`{name}`: {wrong}")
    return Rule(None if agents is None else frozenset(agents), fields, kinds, _readers(value["readers"], name))


def fault(kinds: Collection[str] | None, fields: Collection[str] | None) -> str | None:
    """Return what is wrong with the kinds and fields that a rule names, None if nothing is."""
    for kind in sorted(kinds or ()):
        if kind not in KINDS:
            return f"there is no kind {kind[:60]!r}"
        if kind in ALWAYS:
            return f"anybody may read a {kind}"
    known = COMMITTED if kinds is None else {name for kind in kinds for name in KINDS[kind].committed}
    odd = sorted(set(fields or ()) - known)
    return f"no such field can be kept back: {', '.join(odd)[:200]}" if odd else None


def _names(value: Any, name: str) -> frozenset[str] | None:
    if value is None:
        return None
    well = isinstance(value, list) and len(value) > 0 and all(isinstance(item, str) for item in value)
    _need(well and value == sorted(set(value)), f"`{name}` is null or a sorted set of text that is not empty")
    return frozenset(value)


def _readers(value: Any, name: str) -> Readers:
    _need(is_readers(value), f"`{name}` names readers by {{agents, groups, peers}}")
    return Readers.of(value)


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def peer_sets(access: Any) -> list[Link]:
    """Return the peer sets that an entry `access` names, in their order; not judged yet."""
    if not isinstance(access, dict):
        return []
    rules = access.get("rules")
    named = [access.get(name) for name in ("default", "grantable", "guaranteed")]
    named += [rule.get("readers") for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    return sorted(
        {id for readers in named if readers is not None and is_readers(readers) for id in Readers.of(readers).peers}
    )


def grant_of(record: Record) -> Grant:
    """Return what an `access-rule` record says."""
    body = record.body

    def some(name: str) -> frozenset[Any] | None:
        return frozenset(body[name]) if name in body else None

    readers = Readers.of(body["readers"])
    grants, bounds = body["effect"] == GRANT, (body.get("first"), body.get("last"))
    return Grant(record.id, grants, readers, some("records"), some("kinds"), *bounds, some("fields"), body["expires"])


def subject_of(record: Record) -> Subject:
    """Return what a decision looks at of a record."""
    return Subject(record.id, record.owner, record.seq, record.kind, parties(record), record.commitment is not None)


def parties(record: Record) -> frozenset[Link]:
    """Return the agents, other than its author, that take part in a record.

    They are the delegate of a delegation, whoever delegated what it is done under or answers, the principal, and who
    signs, bears or votes.
    """
    body = record.body
    found = {edge.agent for edge in record.edges("delegation", "answers") if edge.agent is not None}
    found.update(body[name] for name in ("delegate", "principal") if name in body)
    found.update(signer["agent"] for signer in body.get("signers", ()))
    found.update(body.get("bearers", ()))
    found.update(body.get("electorate", ()))
    found.update(body.get("terms", {}).get("electorate", ()))
    return frozenset(found - {record.owner})
