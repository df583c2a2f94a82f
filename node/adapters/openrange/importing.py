"""Records snapshots that were read as artifacts: all of a folder in one transaction, and each of them once.

A snapshot's package holds its node of the lineage, `node.json`, and, where the folder has it, its own file,
`snapshot.json`. Doing it again records nothing; a file that comes later is kept beside the artifact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tslg.node.adapters.openrange.reading import Snapshot
from tslg.node.agent import BlockingAgent
from tslg.node.artifacts import graph
from tslg.node.artifacts.keeping import listing_of
from tslg.node.artifacts.licences import checked
from tslg.node.artifacts.package import FileEntry, package_of
from tslg.node.store.interface import Store
from tslg.protocol.codec import Link
from tslg.protocol.errors import AdapterError
from tslg.protocol.lifecycle import PACKAGE
from tslg.protocol.record import Record

FORMAT: Final = "openrange"
NODE: Final = "node.json"
FILE: Final = "snapshot.json"
JSON: Final = "application/json"
MOST: Final = 1_000_000

Tick = Callable[[int], None]


class Imported(NamedTuple):
    """What came of a folder: the artifact of every snapshot by its id, and which of them, and files, were new."""

    artifacts: Mapping[str, Link]
    new: Sequence[str]
    files: Sequence[str]


def known(store: Store, by: Link) -> dict[str, Record]:
    """Return the artifacts of an agent's snapshots by the snapshots' ids."""
    found = {}
    for one in graph.load(store, store.by_kind("artifact", by, limit=MOST)).values():
        data = one.body.get("data")
        if isinstance(data, dict) and data.get("format") == FORMAT and isinstance(data.get("id"), str):
            found[data["id"]] = one
    return found


def import_snapshots(
    agent: BlockingAgent,
    store: Store,
    snapshots: Iterable[Snapshot],
    *,
    licences: Iterable[str] = (),
    tick: Tick | None = None,
) -> Imported:
    """Record snapshots, each after its parents, all of them or none.

    Args:
        agent: who records them.
        store: the agent's store.
        snapshots: what `read_folder` returned.
        licences: SPDX expressions that hold for all of them.
        tick: is told how many were looked at.

    Raises:
        AdapterError: one of them was imported before with other content; nothing was recorded then.
    """
    normal, held = checked(licences), known(store, agent.id)
    every = list(snapshots)
    _refuse_changed(store, every, held)
    ids = {id: one.id for id, one in held.items()}
    new, files = [], []
    cohorts = _cohorts(held.values())
    with agent.batch():
        for count, one in enumerate(every, 1):
            if one.id in held:
                files += _late_file(agent, store, one, held[one.id])
            else:
                ids[one.id] = _record(agent, one, ids, cohorts, normal).id
                new.append(one.id)
            if tick is not None:
                tick(count)
    return Imported({one.id: ids[one.id] for one in every}, new, files)


def _refuse_changed(store: Store, snapshots: Iterable[Snapshot], held: Mapping[str, Record]) -> None:
    for one in snapshots:
        record = held.get(one.id)
        package = None if record is None else listing_of(store, record)
        if package is None:
            continue
        node, file = package.files.get(NODE), package.files.get(FILE)
        other_file = file is not None and one.file is not None and file != _entry(one.file)
        if node != _entry(one.node) or other_file:
            raise AdapterError(
                f"{one.id[:80]!r} was imported before with other content",
                code="TSLG-I-SNAPSHOT",
                mend="give what changed an id of its own, as a child of it",
                record=record.id if record is not None else None,
            )


def _record(
    agent: BlockingAgent, one: Snapshot, ids: Mapping[str, Link], cohorts: dict[str, Link], licences: Sequence[str]
) -> Record:
    contents = {NODE: one.node} | ({} if one.file is None else {FILE: one.file})
    package = package_of({path: _entry(content) for path, content in contents.items()})
    for content in contents.values():
        agent.blob(content, JSON)
    agent.blob(package.listing, PACKAGE)
    parents = [ids[parent] for parent in one.parents]
    if one.cohort is not None and one.cohort not in cohorts:
        cohorts[one.cohort] = agent.cohort(one.cohort, of=parents, input={"format": FORMAT}).id
    return agent.artifact(
        one.id,
        type="snapshot",
        package=package.body(),
        operator="evolve" if parents else "build",
        operator_version=FORMAT,
        parents=parents,
        licences=licences,
        data={"format": FORMAT, "id": one.id} | ({} if one.cohort is None else {"cohort": one.cohort}),
        cohort=None if one.cohort is None else cohorts[one.cohort],
    )


def _cohorts(held: Iterable[Record]) -> dict[str, Link]:
    """Return the records that started the batches of snapshots that were imported before."""
    return {
        one.body["data"]["cohort"]: one.body["cohort"]
        for one in held
        if "cohort" in one.body and "cohort" in one.body["data"]
    }


def _late_file(agent: BlockingAgent, store: Store, one: Snapshot, record: Record) -> list[str]:
    """Keep the own file of a snapshot that was first known from the lineage of others."""
    package = listing_of(store, record)
    if one.file is None or package is None or FILE in package.files:
        return []
    digest = hashlib.sha256(one.file).digest()
    seen = graph.load(store, (row.child for row in store.citing([record.id], ("evidence",), ("observation",))))
    if any(other.body.get("blob", {}).get("digest") == digest for other in seen.values()):
        return []
    agent.observe(FORMAT, {"id": one.id}, content=one.file, media_type=JSON, evidence=record)
    return [one.id]


def _entry(content: bytes) -> FileEntry:
    return FileEntry(len(content), hashlib.sha256(content).digest())
