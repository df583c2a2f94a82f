"""What a record rests on beside its edges: the records without which nobody can judge it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tslg.protocol.cid import is_record_id
from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.rules.context import MANIFEST_KINDS

_NAMED = (("corrections", "policy"),)
"""Entries of an envelope that name a record of the federation's log, and the key under which they do."""


def rests_on(record: Record) -> Iterator[Link]:
    """Yield the records that are read with this one and are never counted as edges, whatever the depth."""
    for id in (record.manifest, record.key, record.agent):
        if id is not None:
            yield id
    if record.kind in MANIFEST_KINDS:
        for edge in record.edges("amends"):
            yield edge.cid
        yield from _named(record.body["envelope"])


def _named(envelope: dict[str, Any]) -> Iterator[Link]:
    """Yield the records that an envelope names; it is not judged yet, so it may hold anything."""
    for entry, key in _NAMED:
        value = envelope.get(entry)
        named = value.get(key) if isinstance(value, dict) else None
        if isinstance(named, Link) and is_record_id(named):
            yield named
