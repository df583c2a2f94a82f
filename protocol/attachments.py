"""Attachments: one optional item beside a record and its seal, which neither its id nor its seal covers.

Nothing about an attachment is believed. What it must be follows from the record that it came with, so that whoever
hands it over can leave it out, and cannot make it say anything. Normative text: docs/spec/attachments.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tslg.protocol import disclosure, narrowings
from tslg.protocol.errors import AttachmentError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record

Reader = Callable[[Record, bytes], Record]
"""Checks the attachment of a record for which it is meant, and returns the record as the attachment shows it."""

READERS: Final[list[tuple[Callable[[Record], bool], Reader]]] = [
    (narrowings.names_proofs, narrowings.read),
    (lambda record: record.commitment is not None, disclosure.read),
]
"""Which records may have an attachment, and what checks it."""


def check(record: Record, attachment: bytes) -> Record:
    """Check an attachment against the record that it came with, and return the record as the attachment shows it.

    Raises:
        AttachmentError: `TSLG-T-SIZE` if it is too large, `TSLG-T-NONE` if no attachment belongs to such a record,
            others as its reader says.
    """
    if len(attachment) > DEFAULT.attachment_bytes:
        raise AttachmentError(
            f"{len(attachment)} bytes, the limit is {DEFAULT.attachment_bytes}", code="TSLG-T-SIZE", record=record.id
        )
    for concerns, read in READERS:
        if concerns(record):
            return read(record, attachment)
    raise AttachmentError(
        f"no attachment belongs to such a {record.kind}",
        code="TSLG-T-NONE",
        mend="hand over the record and its seal alone",
        record=record.id,
    )
