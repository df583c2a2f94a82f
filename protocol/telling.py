"""What strangers are told of a log's keys: its genesis and the key events behind it, each judged by its seal.

Normative text: docs/spec/announcing.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tslg.protocol import cid, signatures
from tslg.protocol import record as records
from tslg.protocol.admission import judge
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.keys import KEY_EVENTS, NO_REVOCATIONS, Key, Revocations, key_of
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.rules.bodies import rule_attestation, rule_registration, rule_revocation
from tslg.protocol.rules.context import Rule, Tail, refuse
from tslg.protocol.rules.seals import rule_key, rule_seal, rule_suite
from tslg.protocol.rules.structure import rule_hash, rule_issuer, rule_manifest

Sealed = tuple[bytes, bytes]
"""A record's bytes and its seal's."""
Manifests = Callable[[Link], Manifest | None]
"""Finds a manifest version of the reader's federation by its id, None for any that it does not know."""

RULES: Final[tuple[Rule, ...]] = (
    rule_issuer,
    rule_manifest,
    rule_hash,
    rule_registration,
    rule_attestation,
    rule_revocation,
    rule_key,
    rule_suite,
    rule_seal,
)
"""What a key event is held to: all that says who made it, and nothing that rests on what strangers do not hold."""
SEALED: Final[tuple[Rule, ...]] = (rule_key, rule_seal)


class Event(NamedTuple):
    """What a verified key event says: which key sealed it, what key it registers, or which one it ends from where."""

    seq: int
    id: Link
    by: Link | None
    key: Key | None
    ends: tuple[Link, int] | None
    sealed: Sealed


class Speakers(NamedTuple):
    """Which keys speak for a log, and from which position some of them are dead, as far as one was told."""

    events: tuple[Event, ...]
    keys: Mapping[Link, Key]
    ends: Mapping[Link, int]

    @property
    def told(self) -> tuple[Sealed, ...]:
        """The events as they are told to others."""
        return tuple(event.sealed for event in self.events)


def read(agent: Link, told: Sequence[Sealed], federation: Link, manifest: Manifests, now_ms: int) -> Speakers:
    """Judge what was told of an agent's keys.

    Args:
        agent: whose log.
        told: the genesis, then registrations and revocations of the log, by position, each sealed by a key before it.
        federation: the reader's federation.
        manifest: finds manifest versions.
        now_ms: the reader's clock.

    Raises:
        Refusal: a rule that one of them breaks; `TSLG-A-MANIFEST` if only a newer manifest is not known here.
        RecordError, CodecError: one of them is no record.
    """
    context = Context(federation, manifest, now_ms)
    for data, seal in told:
        record = parse(data, agent, manifest)
        events = context.events
        if record.owner != agent or record.kind not in KEY_EVENTS or (events and record.seq <= events[-1].seq):
            raise refuse("TSLG-A-KEY", record, "not the key events of one log in its order")
        if not events and record.id != agent:
            raise refuse("TSLG-A-KEY", record, "the genesis is not the first of them")
        refusal = judge(record, seal, context, RULES)
        if refusal is not None:
            raise refusal
        context.take(_event(record, seal))
    return speaking(context.events)


def speaking(events: Iterable[Event]) -> Speakers:
    """Return what verified events of one log say together; one whose own key is dead by then says nothing."""
    kept: dict[Link, Event] = {}
    keys: dict[Link, Key] = {}
    ends: dict[Link, int] = {}
    for event in sorted(events, key=lambda one: (one.seq, one.id)):
        by = event.by
        if event.id in kept or (by is not None and (by not in keys or event.seq >= ends.get(by, event.seq + 1))):
            continue
        kept[event.id] = event
        if event.key is not None:
            keys[event.id] = event.key
        if event.ends is not None:
            key, start = event.ends
            ends[key] = min(start, ends.get(key, start))
    return Speakers(tuple(kept.values()), keys, ends)


def seal_refusal(
    record: Record, seal: bytes, speakers: Speakers, federation: Link, manifest: Manifests, now_ms: int
) -> Refusal | None:
    """Return why a record of the log is not sealed by a key that speaks for it at its position, None if it is."""
    context = Context(federation, manifest, now_ms)
    for event in speakers.events:
        context.take(event)
    refusal = judge(record, seal, context, SEALED)
    if refusal is None and record.key is not None and record.seq >= speakers.ends.get(record.key, record.seq + 1):
        return refuse("TSLG-A-REVOKED", record, "the key that it names is revoked")
    return refusal


class Context:
    """The context of rules for somebody who holds nothing of a log but what was told."""

    complete = False

    def __init__(self, federation: Link, manifest: Manifests, now_ms: int) -> None:
        self.federation = federation
        self.now_ms = now_ms
        self.manifest = manifest
        self.events: list[Event] = []
        self._keys: dict[Link, Key] = {}

    def take(self, event: Event) -> None:
        """Go on from a verified event."""
        self.events.append(event)
        if event.key is not None:
            self._keys[event.id] = event.key

    def key(self, id: Link) -> Key | None:
        """Return a key that an earlier event registers."""
        return self._keys.get(id)

    def signature_holds(self, alg: int, public: bytes, message: bytes, signature: bytes) -> bool:
        """Verify one signature."""
        return signatures.verify(alg, public, message, signature)

    def revocations(self, owner: Link) -> Revocations:
        """Revocations are applied in `speaking`, which may know more of them than were told in one go."""
        return NO_REVOCATIONS

    def record(self, id: Link) -> None:
        """No record is held."""

    def seal_of(self, id: Link) -> None:
        """No seal is held."""

    def attachment(self, id: Link) -> None:
        """Nothing is attached to key events."""

    def ended(self, id: Link, record: Record) -> None:
        """Nothing that ends authority is held."""

    def answered(self, id: Link, record: Record) -> None:
        """No answers are held."""

    def pruned(self, root: bytes) -> None:
        """Nothing was held that is gone."""

    def semantic(self, owner: Link) -> None:
        """No part of a log is held."""

    def stretch(self, owner: Link, first: int, last: int) -> None:
        """No part of a log is held."""

    def taken(self, record: Record) -> None:
        """No part of a log is held."""

    def tail(self, owner: Link) -> Tail | None:
        """No log's end is held."""
        return None


def kept(agent: Link, told: Sequence[Sealed], manifest: Manifests) -> Speakers:
    """Return what was told of an agent's keys and judged by `read` before."""
    return speaking(_event(parse(data, agent, manifest), seal) for data, seal in told)


def parse(data: bytes, agent: Link, manifest: Manifests) -> Record:
    """Read a record of an agent's log under the hash of its manifest version, or the agent id's if that is not known.

    Raises:
        RecordError, CodecError: it is none.
    """
    usual = cid.hash_name(agent)
    record = records.parse(data, usual)
    known = None if record.manifest is None else manifest(record.manifest)
    return record if known is None or known.envelope.ids == usual else records.parse(data, known.envelope.ids)


def _event(record: Record, seal: bytes) -> Event:
    ends = (record.body["key"], record.body["from_seq"]) if record.kind == "revocation" else None
    return Event(record.seq, record.id, record.key, key_of(record), ends, (record.data, seal))
