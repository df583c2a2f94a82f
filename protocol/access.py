"""The one decision over what manifests and agents say of reading: what a reader gets of a record.

A function of what it is given. Serving nodes ask it for every record that they are about to hand over; verification
never does, since what may be read says nothing of what is valid. Normative text: docs/spec/access.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple

from tslg.protocol.access_rules import ALWAYS, ANYONE, MEMBERS, PARTIES, Access, Grant, Readers, Subject
from tslg.protocol.cid import short
from tslg.protocol.codec import Link
from tslg.protocol.kinds import KINDS


class Reader(NamedTuple):
    """Who asks: the agents that a peer id is bound to, none for a stranger."""

    agents: frozenset[Link] = frozenset()


STRANGER: Final = Reader()


class Decision(NamedTuple):
    """What a reader gets of a record: it with all fields but the `hidden`, or nothing; and which rule says so."""

    readable: bool
    hidden: frozenset[str]
    why: str


Members = Callable[[Link], Collection[Link]]
"""The members of a peer set; none of one that is not at hand."""

EVERYTHING: Final = "the manifest lets anybody read everything"
_NOTHING: Final[frozenset[str]] = frozenset()


def reads(reader: Reader, readers: Readers, subject: Subject, members: Members) -> bool:
    """Tell whether a reader is one of these readers of a record."""
    if ANYONE in readers.groups:
        return True
    agents = reader.agents
    if not agents:
        return False
    if MEMBERS in readers.groups or not agents.isdisjoint(readers.agents):
        return True
    if PARTIES in readers.groups and not agents.isdisjoint(subject.parties):
        return True
    return any(not agents.isdisjoint(members(peers)) for peers in readers.peers)


def covers(wide: Readers, narrow: Readers, members: Members) -> bool:
    """Tell whether everybody whom `narrow` names is sure to be one of `wide`, whatever the record."""
    if ANYONE in wide.groups:
        return True
    if ANYONE in narrow.groups:
        return False
    if MEMBERS in wide.groups:
        return True
    if not narrow.groups <= wide.groups:
        return False
    listed = wide.agents.union(*(members(peers) for peers in wide.peers))
    return narrow.agents <= listed and all(
        peers in wide.peers or listed.issuperset(members(peers)) for peers in narrow.peers
    )


def decide(
    reader: Reader,
    subject: Subject,
    access: Access | None,
    grants: Sequence[Grant],
    *,
    federation: Link,
    members: Members,
    now_ms: int,
) -> Decision:
    """Decide what a reader gets of a record.

    Args:
        reader: who asks.
        subject: the record.
        access: what the manifest in force says; None where anybody reads everything.
        grants: the access rules in the log of the record's author that were not retracted.
        federation: whose own log anybody may read.
        members: the members of peer sets.
        now_ms: the server's clock, ms since 1970 UTC.
    """
    if access is None:
        return Decision(True, _NOTHING, EVERYTHING)
    if subject.kind in ALWAYS or subject.owner == federation:
        return Decision(True, _NOTHING, "anybody may read that kind of record")
    if subject.owner in reader.agents:
        return Decision(True, _NOTHING, "the reader is its author")
    said = [one for one in grants if (one.expires is None or now_ms <= one.expires) and one.concerns(subject)]
    return _Case(reader, subject, access, said, members).decision()


class _Case:
    """One decision under way, when neither the kind nor the author settles it."""

    def __init__(
        self, reader: Reader, subject: Subject, access: Access, said: Iterable[Grant], members: Members
    ) -> None:
        self._reader, self._subject, self._members, self._access = reader, subject, members, access
        said = list(said)
        self._may = self._among(access.grantable)
        self._sure = self._among(access.guaranteed)
        self._granted = [one for one in said if one.grants and self._may and self._among(one.readers)]
        self._kept = [one for one in said if not one.grants and not self._among(one.readers)]

    def _among(self, readers: Readers) -> bool:
        return reads(self._reader, readers, self._subject, self._members)

    def decision(self) -> Decision:
        base, why = self._by_manifest(None, self._access.default)
        if not base and not self._granted:
            return Decision(False, _NOTHING, why)
        if not base:
            why = _name(self._granted[0])
        kept = next((one for one in self._kept if one.fields is None), None)
        if kept is not None and not (base and self._sure):
            return Decision(False, _NOTHING, _name(kept))
        hidden = {}
        for name in KINDS[self._subject.kind].committed:
            shown, reason = self._field(name, base, why)
            if not shown:
                hidden[name] = reason
        if hidden and not self._subject.committed:
            name, reason = min(hidden.items())
            return Decision(False, _NOTHING, f"{reason} keeps `{name}` back, and it cannot be hidden alone")
        return Decision(True, frozenset(hidden), why if not hidden else "; ".join(sorted(set(hidden.values()))))

    def _field(self, name: str, base: bool, why: str) -> tuple[bool, str]:
        shown, reason = self._by_manifest(name, None) if base else (False, why)
        always = shown and self._sure
        shown = shown or any(one.fields is None or name in one.fields for one in self._granted)
        kept = next((one for one in self._kept if one.fields is not None and name in one.fields), None)
        if kept is not None and not always:
            return False, _name(kept)
        return shown, reason

    def _by_manifest(self, name: str | None, default: Readers | None) -> tuple[bool, str]:
        """Return what the first rule says that concerns the record, or that field of it."""
        for index, rule in enumerate(self._access.rules):
            about = rule.fields is None if name is None else rule.fields is not None and name in rule.fields
            if about and rule.concerns(self._subject):
                return self._among(rule.readers), f"rule {index + 1} of the manifest"
        return default is None or self._among(default), "the manifest's default"


def _name(grant: Grant) -> str:
    return f"access rule {short(grant.id)}"


def unrestricted(reader: Reader, access: Access | None) -> bool:
    """Tell whether the manifest alone lets a reader read every record whole, whoever takes part in it.

    Agents can still keep their own records back, unless the reader is guaranteed.
    """
    if access is None:
        return True
    groups = {ANYONE} | ({MEMBERS} if reader.agents else set())
    sets = [access.default, *(rule.readers for rule in access.rules)]
    return all(not groups.isdisjoint(one.groups) for one in sets)
