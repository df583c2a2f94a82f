"""Carrying out redactions: fields and blobs are destroyed wherever this node keeps them, and stay so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tslg.node.store.interface import Store
from tslg.protocol import disclosure
from tslg.protocol.codec import Link
from tslg.protocol.errors import AttachmentError
from tslg.protocol.record import Record, parse_as

MOST_LOOKED_AT: Final = 1_000
"""Newest redactions that are looked at when a directory is opened, in case a crash kept one from being carried out."""


def carry_out(store: Store, redactions: Iterable[Record]) -> list[Link]:
    """Destroy what these redactions name, as far as it is held; return the records of which something was destroyed.

    The caller has looked at who made them. Doing it again does no harm.
    """
    attachments: dict[Link, bytes | None] = {}
    blobs: list[bytes] = []
    for record in redactions:
        target: Link = record.body["target"]
        entry = store.get(target)
        blobs += [digest for digest in record.body["blobs"] if store.get_blob(digest) is not None]
        if entry is None:
            continue
        held = attachments.get(target, entry.attachment)
        left = without(parse_as(target, entry.data), held, record)
        if left != held:
            attachments[target] = left
    if attachments or blobs:
        store.erase(attachments, blobs)
    return list(attachments)


def recorded(store: Store) -> list[Record]:
    """Return the newest redactions that are held, some of which a crash may have kept from being carried out."""
    ids = store.by_kind("redaction", limit=MOST_LOOKED_AT)
    return [parse_as(id, entry.data) for id, entry in store.get_many(ids).items()] if ids else []


def without(target: Record, attachment: bytes | None, redaction: Record) -> bytes | None:
    """Return a record's disclosure without what a redaction destroys, and with the redaction's id."""
    commitment = target.commitment
    fields = frozenset(redaction.body["fields"])
    if commitment is None or not fields or redaction.body["target"] != target.id:
        return attachment
    try:
        leaves, redacted = ([], []) if attachment is None else disclosure.decode(attachment)
    except AttachmentError:
        leaves, redacted = [], []
    kept = [leaf for leaf in leaves if commitment.names[leaf.place] not in fields]
    return disclosure.encode(kept, [*redacted, redaction.id])
