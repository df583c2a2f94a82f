"""The parts of a step that plaintexts can be kept of, by name, with the digests that its record has of them."""

from __future__ import annotations

from typing import Final

from tslg.protocol.record import Record
from tslg.protocol.recording import OPTIONAL, STEPS

RESULT: Final = "observation"
"""The kind of the record of a result that came after its step was admitted."""
DIGEST_BYTES: Final = 32
INPUT: Final = "inputs/"
"""What stands before an input's name."""


def parts(record: Record) -> dict[str, bytes]:
    """Return the digest of every part of a step that its record has one of, as far as they are disclosed."""
    body = record.body
    if record.kind == RESULT:
        # A result that came after its step was admitted.
        output = body.get("data", {}).get("output")
        return {"output": output} if type(output) is bytes and len(output) == DIGEST_BYTES else {}
    if record.kind not in STEPS:
        return {}
    found = {name: body[name] for name in ("output", *OPTIONAL) if name in body}
    return found | {INPUT + name: digest for name, digest in body.get("inputs", {}).items()}


def field_of(name: str) -> str:
    """Return the field of a step's body that has a part's digest, which is also what a manifest calls it."""
    return name.partition("/")[0]


def held_in(record: Record, name: str) -> str:
    """Return the field of the body that has a part's digest, whatever the record."""
    return "data" if record.kind == RESULT else field_of(name)


def names(redaction: Record, name: str, digest: bytes) -> bool:
    """Tell whether a redaction of the part's record has it destroyed; `data` is what holds a result's digest."""
    fields = redaction.body["fields"]
    return field_of(name) in fields or (name == "output" and "data" in fields) or digest in redaction.body["blobs"]
