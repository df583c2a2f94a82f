"""What exports call things: URIs of records, agents and contents, times, and the fields that are told of a record.

Normative text: docs/spec/exports.md.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.record import Record

VOCABULARY: Final = "urn:tslg:terms#"
"""Where our own terms stand: a name, not an address, since nobody shall depend on who owns a domain."""
RECORDS: Final = "ipfs://"
"""What an id's text is prefixed with to be a URI, which IPFS clients resolve."""
CONTENTS: Final = "urn:tslg:sha2-256:"
"""What a content's SHA-256, in hex, is prefixed with to be a URI."""
PRODUCER: Final = "urn:tslg:exports:1"
"""The mapping by which an export is made."""

_FIELDS: Final = (
    "name source intent model model_version class tier uses spends stage rule verdict outcome alias suite operator "
    "operator_version lifecycle family licences"
)
_TOLD: Final = tuple(_FIELDS.split())
"""Fields that are told of every record: words of the deployment's own vocabulary, never contents."""
_REASONED: Final = frozenset(("rejection", "decomposition"))
"""Kinds whose reason is a policy's, and told; another's is its author's own text, and stands in the body."""


class Content(NamedTuple):
    """A content that a record names by digest: what it is called there, its SHA-256, and its media type if known."""

    name: str
    digest: bytes
    media_type: str | None = None


def uri(id: Link) -> str:
    """Return the URI of a record, an agent or a federation."""
    return RECORDS + to_text(id)


def iso(time_ms: int) -> str | None:
    """Return a time as ISO 8601 text in UTC, to the millisecond; None beyond the year 9999."""
    try:
        moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def sha256(record: Record) -> str:
    """Return the SHA-256 of a record's bytes in hex, whatever hash its id uses."""
    return hashlib.sha256(record.data).hexdigest()


def told(record: Record) -> dict[str, Any]:
    """Return the fields of a record that every export tells, as JSON values; withheld ones are left out."""
    body = record.body
    found = {name: body[name] for name in _TOLD if name in body and not isinstance(body[name], bytes)}
    if record.kind in _REASONED and "reason" in body:
        found["reason"] = body["reason"]
    return found


def inputs(record: Record) -> Iterator[Content]:
    """Yield the contents that a record says it consumed."""
    given = record.body.get("inputs")
    if isinstance(given, Mapping):
        for name in sorted(given):
            yield Content(name, given[name])


def outputs(record: Record) -> Iterator[Content]:
    """Yield the contents that a record says came of it."""
    body = record.body
    if isinstance(body.get("output"), bytes):
        yield Content("output", body["output"])
    blob = body.get("blob")
    if isinstance(blob, Mapping):
        yield Content("blob", blob["digest"], blob["media_type"])
    files = body.get("files")
    if isinstance(files, Mapping):
        for name in sorted(files):
            yield Content(name, files[name])


def plain_json(value: Any) -> Any:
    """Return a decoded value as DAG-JSON has it: links as `{"/": id}`, bytes as `{"/": {"bytes": base64}}`."""
    # Bodies are at most 16 levels deep, by the codec.
    if isinstance(value, Link):
        return {"/": to_text(value)}
    if isinstance(value, bytes):
        return {"/": {"bytes": base64.b64encode(value).decode().rstrip("=")}}
    if isinstance(value, Mapping):
        return {key: plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return value


def edges(record: Record) -> dict[str, list[dict[str, str]]]:
    """Return a record's edges by class, each the URI of what is cited and, in another log, of whose it is."""
    found: dict[str, list[dict[str, str]]] = {}
    for name in sorted(record.preds):
        for edge in record.preds[name]:
            told = {"uri": uri(edge.cid)}
            if edge.agent is not None:
                told["agent"] = uri(edge.agent)
            found.setdefault(name, []).append(told)
    return found
