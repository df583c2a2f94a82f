"""The records that hold manifests: the root, its amendments, and a federation's log of them read back from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tslg.manifests.request import FEDERATION_KINDS, Context, Request
from tslg.manifests.signing import Sealed, decode_sealed
from tslg.protocol import admission, log, record
from tslg.protocol.chains import named_records
from tslg.protocol.errors import ManifestError, RecordError
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Edge, Head, Record
from tslg.protocol.rules.context import MANIFEST_KINDS, refuse

_RULES = admission.STRUCTURE_RULES + admission.SEAL_RULES


def root_manifest(body: Mapping[str, Any], *, time_ms: int) -> Record:
    """Make the root manifest, whose id is the federation's id.

    Raises:
        ManifestError: `TSLG-M-BODY`: no reader could enforce this manifest. RecordError: the fields make no record.
    """
    made = record.build(
        kind="manifest",
        agent=None,
        seq=0,
        prev=None,
        time=time_ms,
        manifest=None,
        key=None,
        log=None,
        preds={},
        body=body,
        hash_name=body["envelope"]["hash"],
    )
    return _enforceable(made)


def amendment(history: Sequence[Record], body: Mapping[str, Any], *, time_ms: int) -> Record:
    """Make the next version of a manifest, behind the last record of the federation's log.

    Args:
        history: the federation's whole log so far, root manifest first, as `read_history` returns it.
        body: the new version's body; its `version` must be the next one.
        time_ms: not before the last record's time.

    Raises:
        ManifestError: `TSLG-M-VERSION` if it is not the next version, `TSLG-M-TIME`, or as `root_manifest`.
    """
    previous = in_force(history)
    if body["version"] != previous.version + 1:
        raise ManifestError(
            f"version {body['version']} after version {previous.version}",
            code="TSLG-M-VERSION",
            mend=f"make it version {previous.version + 1}",
            record=previous.id,
        )
    edges = {"amends": [Edge(previous.id)]}
    return _enforceable(_next(history, previous, "manifest-amendment", body, edges, time_ms))


def federation_record(history: Sequence[Record], kind: str, body: Mapping[str, Any], *, time_ms: int) -> Record:
    """Make a record of the federation's own, behind the last record of its log.

    It supersedes the newest record of its kind and name, if there is one: it has an `amends` edge to it.

    Args:
        history: the federation's whole log so far, root manifest first, as `read_history` returns it.
        kind: one of `request.FEDERATION_KINDS`.
        body: what it says; see docs/spec/kinds.md.
        time_ms: not before the last record's time.

    Raises:
        ManifestError: `TSLG-M-KIND`, `TSLG-M-TIME`. RecordError: the fields make no such record.
    """
    if kind not in FEDERATION_KINDS:
        raise ManifestError(
            f"a federation records no {kind} of its own",
            code="TSLG-M-KIND",
            mend=f"it records {', '.join(FEDERATION_KINDS)}, and amends its manifest",
        )
    manifest = in_force(history)
    alike = [item.id for item in history if item.kind == kind and item.body["name"] == body.get("name")]
    preds = {"prior": [Edge(manifest.id)]}
    if alike:
        preds["amends"] = [Edge(alike[-1])]
    return _next(history, manifest, kind, body, preds, time_ms)


def support(history: Sequence[Record], item: Record) -> list[Record]:
    """Return what anchors need of the federation's log to judge and sign `item`, its next record."""
    named = {named.id for named in named_records(item.body.get("envelope", {}))}
    return [held for held in history if held.id == item.manifest or held.id in named]


def _next(
    history: Sequence[Record],
    manifest: Manifest,
    kind: str,
    body: Mapping[str, Any],
    preds: Mapping[str, Sequence[Edge]],
    time_ms: int,
) -> Record:
    last = history[-1]
    if time_ms < last.time:
        raise ManifestError(
            f"its time {time_ms} is before the log's last record at {last.time}",
            code="TSLG-M-TIME",
            mend="set this machine's clock right",
        )
    return record.build(
        kind=kind,
        agent=history[0].id,
        seq=len(history),
        prev=last.id,
        time=time_ms,
        manifest=manifest.id,
        key=None,
        log=Head(len(history), log.root([item.id for item in history])),
        preds=preds,
        body=body,
        hash_name=manifest.envelope.ids,
    )


def in_force(history: Sequence[Record]) -> Manifest:
    """Return the newest manifest version of a federation's log. Raises ManifestError if there is none."""
    for item in reversed(history):
        if item.kind in MANIFEST_KINDS:
            return Manifest.from_record(item)
    raise ManifestError("a federation's log begins with its root manifest", code="TSLG-M-HISTORY")


def read_history(files: Sequence[tuple[str, bytes]]) -> list[Sealed]:
    """Read a federation's log from its files, (name, content) each, root manifest first, and verify it.

    Raises:
        ManifestError: `TSLG-M-FILE`, or `TSLG-M-HISTORY` naming the first file that does not continue the log or
            whose seal does not hold.
    """
    history: list[Sealed] = []
    for position, (name, content) in enumerate(files):
        records = [item for item, _ in history]
        hash_name = in_force(records).envelope.ids if records else None
        read, seal = decode_sealed(content, name, hash_name)
        continues = (
            read.seq == position
            and read.prev == (records[-1].id if records else None)
            and (read.kind == "manifest" if not records else read.agent == records[0].id)
            and (read.log is None or read.log.root == log.root([item.id for item in records]))
        )
        if not continues:
            raise ManifestError(
                f"{name} is not record {position} of this federation's log",
                code="TSLG-M-HISTORY",
                mend="give all its records in order, root manifest first",
                record=read.id,
            )
        context = Context(Request(read, tuple(records)))
        refusal = admission.judge(read, seal, context, _RULES)
        absent = [named for named in named_records(read.body.get("envelope", {})) if context.record(named.id) is None]
        for named in absent:
            refusal = refuse("TSLG-A-ENVELOPE", read, f"the {named.kind} that it names is no earlier record of the log")
        if refusal is not None:
            raise ManifestError(
                f"{name}: {refusal.detail}", code="TSLG-M-HISTORY", mend="fetch that record again", record=read.id
            )
        history.append((read, seal))
    if not history:
        raise ManifestError("no records given", code="TSLG-M-HISTORY", mend="give the root manifest's file")
    return history


def _enforceable(made: Record) -> Record:
    """Return the record if a reader accepts the manifest in it."""
    try:
        manifest = Manifest.from_record(made)
    except RecordError as error:
        raise ManifestError(error.detail, code="TSLG-M-BODY", mend="correct the manifest's text") from error
    if not manifest.proofs_hold():
        raise ManifestError(
            "an anchor's proof of possession or share of the group's key does not hold",
            code="TSLG-M-BODY",
            mend="take the anchors file of a finished ceremony, with that ceremony's threshold",
        )
    return made
