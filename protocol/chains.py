"""What a record rests on beside its edges: the records without which nobody can judge it.

Shared by whoever verifies a walk, whoever serves one, and whoever signs. Normative text: docs/spec/verification.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any, Final, NamedTuple

from tslg.protocol.access_rules import peer_sets
from tslg.protocol.cid import is_record_id
from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.recording import reading_peers
from tslg.protocol.rules.context import MANIFEST_KINDS

JOINT: Final = "joint-authorization"
"""The kind that others than its author seal too, so that their keys are needed to judge it."""


class Named(NamedTuple):
    """A record that an entry of an envelope names: the entry, the kind that the record must have, and its id."""

    entry: str
    kind: str
    id: Link


_NAMING: Final = (
    ("corrections", "policy", "correction-policy"),
    ("cross_agent", "peers", "peer-set"),
    ("gc", "policy", "gc-policy"),
)
"""Entries of an envelope that name a record of the federation's log, the key under which they do, and its kind."""


def rests_on(record: Record) -> Iterator[Link]:
    """Yield the records that are read with this one and are never counted as edges, whatever the depth."""
    for id in (record.manifest, record.key, record.agent):
        if id is not None:
            yield id
    if record.kind == JOINT:
        yield from keys_of_signers(record)
    if record.kind in MANIFEST_KINDS:
        for edge in record.edges("amends"):
            yield edge.cid
        for named in named_records(record.body["envelope"]):
            yield named.id
    elif record.kind == "revocation":
        yield record.body["key"]


def keys_of_signers(record: Record) -> list[Link]:
    """Return the records that hold the keys of a joint authorisation's signers, in their order."""
    return [signer["key"] for signer in record.body["signers"]]


def named_records(envelope: Mapping[str, Any]) -> list[Named]:
    """Return the records that an envelope names; it is not judged yet, so it may hold anything."""
    found = []
    for entry, key, kind in _NAMING:
        value = envelope.get(entry)
        id = value.get(key) if isinstance(value, dict) else None
        if isinstance(id, Link) and is_record_id(id):
            found.append(Named(entry, kind, id))
    found.extend(Named("access", "peer-set", id) for id in peer_sets(envelope.get("access")))
    found.extend(Named("recording", "peer-set", id) for id in reading_peers(envelope.get("recording")))
    return found


def rests_well(record: Record, broken: Set[Link | None]) -> bool:
    """Whether nothing that a record's chain consists of is among the broken."""
    if not broken.isdisjoint((record.manifest, record.key, record.agent)):
        return False
    return (record.kind not in MANIFEST_KINDS and record.kind != JOINT) or broken.isdisjoint(rests_on(record))
