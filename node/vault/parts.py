"""The parts of a step that plaintexts can be kept of, by name, with the digests that its record has of them."""

from __future__ import annotations

from typing import Final

from tslg.protocol.record import Record
from tslg.protocol.recording import OPTIONAL, STEPS

INPUT: Final = "inputs/"
"""What stands before an input's name."""


def parts(record: Record) -> dict[str, bytes]:
    """Return the digest of every part of a step that its record has one of, as far as they are disclosed."""
    if record.kind not in STEPS:
        return {}
    body = record.body
    found = {name: body[name] for name in ("output", *OPTIONAL) if name in body}
    return found | {INPUT + name: digest for name, digest in body.get("inputs", {}).items()}


def field_of(name: str) -> str:
    """Return the field of the body that has a part's digest."""
    return name.partition("/")[0]


def names(redaction: Record, name: str, digest: bytes) -> bool:
    """Tell whether a redaction of the part's record has it destroyed."""
    return field_of(name) in redaction.body["fields"] or digest in redaction.body["blobs"]
