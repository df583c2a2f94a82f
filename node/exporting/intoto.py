"""in-toto Statements (v1) in DSSE envelopes, one a line: what an agent attests of records, its own and others'.

Every statement travels alone, so every one says by itself what was verified of its record. Normative text:
docs/spec/exports.md.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final

from tslg.node.exporting import naming
from tslg.node.exporting.choosing import Item
from tslg.node.exporting.naming import CONTENTS, Content
from tslg.node.exporting.signing import Signer
from tslg.node.exporting.standing import NONE, Standing
from tslg.protocol.cid import hash_name, to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import CidError
from tslg.protocol.record import Record

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
RECORD: Final = "urn:tslg:attestation:record:1"
SUMMARY: Final = "https://slsa.dev/verification_summary/v1"
LINK: Final = "https://in-toto.io/attestation/link/v0.3"
PREDICATES: Final = ("record", "summary", "link")
"""Which predicates can be asked for: ours for every record, SLSA's for verifications, in-toto's for steps."""
DEFAULT: Final = ("record", "summary")

_RESULTS: Final = {"valid": "PASSED", "invalid": "FAILED"}
"""Verdicts that a verification summary can say. Undetermined is neither, and no summary is made of it."""
_STEPS: Final = frozenset(("action", "inference", "composite", "artifact"))
"""Kinds that are steps: something made of something."""

Names = Callable[[Link], str | None]


def write(
    stream: BinaryIO,
    logs: Iterable[tuple[Link, Iterator[Item]]],
    standing: Standing,
    names: Names,
    signer: Signer,
    *,
    predicates: Collection[str] = DEFAULT,
    bodies: bool = False,
) -> int:
    """Write envelopes, one a line of JSON; return how many records they are about. Arguments as for `prov.write`.

    Args:
        stream, logs, standing, names, bodies: see `prov.write`.
        signer: the agent that attests it.
        predicates: which of `PREDICATES`.
    """
    total = 0
    for _, items in logs:
        for item in items:
            total += 1
            for statement in statements(item, standing, names, signer, predicates=predicates, bodies=bodies):
                stream.write(json.dumps(envelope(statement, signer)).encode() + b"\n")
    return total


def statements(
    item: Item,
    standing: Standing,
    names: Names,
    signer: Signer,
    *,
    predicates: Collection[str] = DEFAULT,
    bodies: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield the statements about one record."""
    record = item.record
    if "record" in predicates:
        subjects = [_subject(record), *map(_described, naming.outputs(record))]
        yield _statement(subjects, RECORD, _predicate(item, standing, names, signer, bodies))
    # SLSA's predicate has no place to say that nobody looked at whose word it is, or that it was taken back.
    holds = item.verified != NONE and item.holds
    if "summary" in predicates and record.kind == "verification" and holds:
        yield from _summaries(record)
    if "link" in predicates and record.kind in _STEPS:
        made = [_described(content) for content in naming.outputs(record)]
        yield _statement(made or [_subject(record)], LINK, _link(item, standing))


def envelope(statement: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    """Return a statement in an envelope that an agent signed."""
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    signature = signer.sign(pae(PAYLOAD_TYPE, payload))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": signer.key_id, "sig": base64.b64encode(signature).decode()}],
    }


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return what a signature of DSSE v1 is over (its protocol page, PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _statement(subjects: list[dict[str, Any]], predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    return {"_type": STATEMENT, "subject": subjects, "predicateType": predicate_type, "predicate": predicate}


def _subject(record: Record) -> dict[str, Any]:
    return {"name": to_text(record.id), "uri": naming.uri(record.id), "digest": {"sha256": naming.sha256(record)}}


def _described(content: Content) -> dict[str, Any]:
    """Return a content as a resource descriptor."""
    told: dict[str, Any] = {"name": content.name, "digest": {"sha256": content.digest.hex()}}
    told["uri"] = CONTENTS + content.digest.hex()
    return told if content.media_type is None else told | {"mediaType": content.media_type}


def _predicate(item: Item, standing: Standing, names: Names, signer: Signer, bodies: bool) -> dict[str, Any]:
    record = item.record
    author = {"uri": naming.uri(record.owner), "name": names(record.owner)}
    told: dict[str, Any] = {
        "kind": record.kind,
        "agent": {key: value for key, value in author.items() if value is not None},
        "seq": record.seq,
        "time": naming.iso(record.time),
        "edges": naming.edges(record),
        "inputs": [_described(content) for content in naming.inputs(record)],
        "fields": naming.told(record),
        "attester": naming.uri(signer.agent),
        "verified": item.verified,
        "verification": standing.told,
    }
    if record.manifest is not None:
        told["manifest"] = naming.uri(record.manifest)
    if bodies:
        told["body"] = naming.plain_json(record.body)
    return told


def _summaries(record: Record) -> Iterator[dict[str, Any]]:
    """Yield the verification summary that a verification is, where its verdict is one that a summary can say."""
    body = record.body
    result, digest = _RESULTS.get(body["verdict"]), _sha256_of(body["target"])
    if result is None or digest is None:
        return
    subject = {"name": to_text(body["target"]), "uri": naming.uri(body["target"]), "digest": {"sha256": digest}}
    level = "TSLG_ANCESTRY" if body["depth"] is None else f"TSLG_ANCESTRY_TO_DEPTH_{body['depth']}"
    predicate: dict[str, Any] = {
        "verifier": {"id": naming.uri(record.owner)},
        "timeVerified": naming.iso(record.time),
        "resourceUri": naming.uri(body["target"]),
        "policy": {"uri": naming.uri(record.manifest) if record.manifest is not None else ""},
        "inputAttestations": [
            {"uri": naming.uri(id), "digest": {"sha256": found}}
            for id in (record.id, *body.get("relied", ()))
            if (found := _sha256_of(id)) is not None
        ],
        "verificationResult": result,
        "verifiedLevels": [level] if result == "PASSED" else [],
    }
    yield _statement([subject], SUMMARY, predicate)


def _link(item: Item, standing: Standing) -> dict[str, Any]:
    record = item.record
    named = record.body.get("name") or record.body.get("intent") or record.kind
    materials = [_described(content) for content in naming.inputs(record)]
    for name in ("evidence", "part", "parent"):
        for edge in record.preds.get(name, ()):
            material: dict[str, Any] = {"name": name, "uri": naming.uri(edge.cid)}
            digest = _sha256_of(edge.cid)
            materials.append(material if digest is None else material | {"digest": {"sha256": digest}})
    about = {"record": naming.uri(record.id), "verified": item.verified, "verification": standing.told}
    return {"name": named, "command": [], "materials": materials, "byproducts": about, "environment": {}}


def _sha256_of(id: Link) -> str | None:
    """Return the SHA-256 that an id holds; None for an id under another hash."""
    try:
        return id[-32:].hex() if hash_name(id) == "sha2-256" else None
    except CidError:
        return None
