"""OpenLineage run events, one a line: steps of agents as runs, with what they rest on and what came of them.

Normative text: docs/spec/exports.md; the schema of our facet: `FACET_SCHEMA`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Final

from tslg.node.exporting import naming
from tslg.node.exporting.choosing import Item
from tslg.node.exporting.naming import PRODUCER, Content
from tslg.node.exporting.standing import Standing
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.kinds import KINDS
from tslg.protocol.record import Record

RUN_EVENT: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
PARENT_FACET: Final = "https://openlineage.io/spec/facets/1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet"
ERROR_FACET: Final = "https://openlineage.io/spec/facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet"
FACET: Final = "tslg_record"
FACET_SCHEMA_ID: Final = "urn:tslg:schema:openlineage:TslgRecordRunFacet:1"
RUNS: Final = uuid.UUID("b04c9498-5f00-54a6-b101-01bb1712d4a4")
"""The name space of run ids: a run's is the version 5 UUID of its record's id, as text, in it."""
RECORD_DATASETS: Final = "ipfs"
CONTENT_DATASETS: Final = "sha2-256"

_STEPS: Final = (
    "action decision observation inference rejection decomposition composite verification evaluation artifact"
)
STEPS: Final = frozenset(_STEPS.split())
"""Kinds that are runs by themselves: they begin and end with their record."""
_CONSUMED: Final = ("evidence", "part", "parent", "prior")
_FAILED: Final = frozenset(("refused", "failed", "cancelled"))

_SCHEMA_URL: Final = f"{FACET_SCHEMA_ID}#/$defs/TslgRecordRunFacet"
_URI: Final = {"type": "string", "pattern": "^ipfs://b[a-z2-7]+$"}
_STANDING: Final = {
    "type": "object",
    "required": ["method", "verdict"],
    "properties": {
        "method": {"enum": ["walk", "logs", "none"]},
        "verdict": {"enum": ["valid", "undetermined", "unverified"]},
    },
}

FACET_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": FACET_SCHEMA_ID,
    "$ref": "#/$defs/TslgRecordRunFacet",
    "$defs": {
        "TslgRecordRunFacet": {
            "description": "The lineage record that a run is, and what was verified of it when it was exported.",
            "type": "object",
            "required": ["_producer", "_schemaURL", "record", "kind", "agent", "seq", "verified", "verification"],
            "properties": {
                "_producer": {"type": "string", "format": "uri"},
                "_schemaURL": {"const": _SCHEMA_URL},
                "record": _URI,
                "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "kind": {"enum": sorted(KINDS)},
                "agent": _URI,
                "seq": {"type": "integer", "minimum": 0},
                "edges": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "object"}}},
                "fields": {"type": "object"},
                "body": {"type": "object"},
                "verified": {"enum": ["walk", "log", "seal", "none"]},
                "verification": _STANDING,
            },
        }
    },
}
"""The schema of our run facet (JSON Schema 2020-12), which `tslg export openlineage --facet-schema` prints."""

Names = Callable[[Link], str | None]


class Written:
    """How many records became events, and how many are of kinds that are no runs."""

    def __init__(self) -> None:
        self.records = 0
        self.left_out = 0


def write(
    stream: BinaryIO,
    logs: Iterable[tuple[Link, Iterator[Item]]],
    standing: Standing,
    names: Names,
    *,
    bodies: bool = False,
) -> Written:
    """Write run events, one a line of JSON. Arguments as for `prov.write`."""
    written = Written()
    for _, items in logs:
        for item in items:
            found = list(events(item, standing, names, bodies=bodies))
            written.records += bool(found)
            written.left_out += not found
            for event in found:
                stream.write(json.dumps(event).encode() + b"\n")
    return written


def run_id(record: Link) -> str:
    """Return the id of the run that a record is: the same wherever it is exported."""
    return str(uuid.uuid5(RUNS, to_text(record)))


def events(item: Item, standing: Standing, names: Names, *, bodies: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the events that one record is: none for what is no step."""
    record = item.record
    moment = naming.iso(record.time)
    if moment is None:
        return
    facets = {FACET: _facet(item, standing, bodies)}
    if record.kind == "delegation":
        yield _event("START", moment, record.id, _job(record.owner, "delegation", names), facets, record)
    elif record.kind == "answer":
        for edge in record.preds.get("answers", ()):
            failed = record.body["outcome"] in _FAILED
            told = facets | (_error(record.body["outcome"]) if failed else {})
            job = _job(edge.agent or record.owner, "delegation", names)
            yield _event("FAIL" if failed else "COMPLETE", moment, edge.cid, job, told, record, outputs=not failed)
    elif record.kind in STEPS:
        job = _job(record.owner, _named(record), names)
        facets |= _parent(record, names)
        yield _event("START", moment, record.id, job, facets, record)
        if record.kind == "rejection":
            facets |= _error(f"{record.body['stage']}: {record.body.get('reason', '')}".rstrip(": "))
            yield _event("FAIL", moment, record.id, job, facets, record)
        else:
            yield _event("COMPLETE", moment, record.id, job, facets, record, outputs=True)


def _event(
    kind: str,
    moment: str,
    run: Link,
    job: dict[str, Any],
    facets: dict[str, Any],
    record: Record,
    *,
    outputs: bool = False,
) -> dict[str, Any]:
    told = [_record(edge.cid) for name in _CONSUMED for edge in record.preds.get(name, ())]
    told += map(_content, naming.inputs(record))
    made = [_record(record.id), *map(_content, naming.outputs(record))] if outputs else []
    return {
        "eventType": kind,
        "eventTime": moment,
        "producer": PRODUCER,
        "schemaURL": RUN_EVENT,
        "run": {"runId": run_id(run), "facets": facets},
        "job": job,
        "inputs": told,
        "outputs": made,
    }


def _job(owner: Link, name: str, names: Names) -> dict[str, Any]:
    return {"namespace": naming.uri(owner), "name": name, "facets": _documented(names(owner))}


def _documented(name: str | None) -> dict[str, Any]:
    if name is None:
        return {}
    schema = "https://openlineage.io/spec/facets/1-1-0/DocumentationJobFacet.json#/$defs/DocumentationJobFacet"
    return {"documentation": {"_producer": PRODUCER, "_schemaURL": schema, "description": f"a step of agent {name}"}}


def _named(record: Record) -> str:
    """Return what a step is called: what it was for, or what it is, where that is not disclosed."""
    body = record.body
    name: str = body.get("intent") or body.get("name") or body.get("source") or body.get("suite") or record.kind
    return name


def _facet(item: Item, standing: Standing, bodies: bool) -> dict[str, Any]:
    record = item.record
    told = {
        "_producer": PRODUCER,
        "_schemaURL": _SCHEMA_URL,
        "record": naming.uri(record.id),
        "sha256": naming.sha256(record),
        "kind": record.kind,
        "agent": naming.uri(record.owner),
        "seq": record.seq,
        "edges": naming.edges(record),
        "fields": naming.told(record),
        "verified": item.verified,
        "verification": standing.told,
    }
    return told | {"body": naming.plain_json(record.body)} if bodies else told


def _error(message: str) -> dict[str, Any]:
    told = {"_producer": PRODUCER, "_schemaURL": ERROR_FACET, "message": message, "programmingLanguage": "none"}
    return {"errorMessage": told}


def _parent(record: Record, names: Names) -> dict[str, Any]:
    """Return the facet that says under which delegation a step was done."""
    for edge in record.preds.get("delegation", ()):
        job = _job(edge.agent or record.owner, "delegation", names)
        told = {"run": {"runId": run_id(edge.cid)}, "job": {"namespace": job["namespace"], "name": job["name"]}}
        return {"parent": {"_producer": PRODUCER, "_schemaURL": PARENT_FACET, **told}}
    return {}


def _record(id: Link) -> dict[str, Any]:
    return {"namespace": RECORD_DATASETS, "name": to_text(id), "facets": {}}


def _content(content: Content) -> dict[str, Any]:
    return {"namespace": CONTENT_DATASETS, "name": content.digest.hex(), "facets": {}}
