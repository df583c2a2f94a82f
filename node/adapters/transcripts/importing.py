"""Imports a transcript that was read: all of its records in one transaction, and the verification of what came of it.

That a file is imported is noted under its digest before its records are committed, and counts only if the record that
the note names is held: whatever moment a crash chooses, a file is either imported and known to be, or neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tslg.node.adapters.transcripts.lineage import END_SOURCE, Lineage
from tslg.node.adapters.transcripts.model import Transcript
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.store.interface import Store
from tslg.node.verifying import verify
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Record
from tslg.protocol.report import Report

Tick = Callable[[int], None]
"""Called with the number of records made or verified so far."""


class Target(NamedTuple):
    """One imported trajectory: the record that ends it, its place in the file (from 0), and what that says of it."""

    record: Link
    position: int
    about: Mapping[str, str | int]
    records: int | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of one file.

    Attributes:
        file: the record that stands for the file.
        assistant: the id of the agent that decides.
        tools: the id of the agent that acts for it.
        targets: its trajectories, in order.
        kinds: how many records of each kind were added.
        already: it was imported before, and nothing was added.
    """

    transcript: Transcript
    file: Link
    assistant: Link
    tools: Link
    targets: tuple[Target, ...]
    kinds: Mapping[str, int]
    already: bool


def import_transcript(
    home: Home,
    transcript: Transcript,
    *,
    assistant: str = "assistant",
    tools: str = "tools",
    again: bool = False,
    tick: Tick | None = None,
) -> Imported:
    """Record a transcript in the logs of two agents of this node, all of it or nothing.

    Args:
        home: the data directory, open for writing.
        transcript: what `parse` returned.
        assistant: the name of the agent that decides; it is made if there is none.
        tools: the name of the agent that acts for it.
        again: import a second time what is imported already.
        tick: called after every trajectory with the number of records made so far.

    Raises:
        UsageError: both names are the same, or the federation's anchors must attest new agents.
        Refusal: the manifest does not allow it. StoreError: it cannot be stored.
    """
    if assistant == tools:
        raise UsageError("the assistant and the tools are two agents", mend="give them different names")
    note = f"transcript/{transcript.digest.hex()}"
    held = _held(home.store, note)
    if held is not None and not again:
        owners = (held.owner, held.body["data"]["tools"])
        return Imported(transcript, held.id, *owners, tuple(_targets(home.store, held.id)), {}, True)
    deciding, acting = home.agent(assistant), home.agent(tools)
    lineage = Lineage(deciding, acting, home.manifest.envelope.fan_in_max, home.clock())
    with deciding.batch():
        file = lineage.begin(transcript)
        targets = tuple(_record_all(lineage, transcript, tick))
        # Contents come last: a refused transcript leaves none, and no record is ever without its content.
        home.store.put_blobs(lineage.contents.values())
        home.store.set_meta(note, file.id)
    kinds = dict(sorted(lineage.kinds.items()))
    return Imported(transcript, file.id, deciding.id, acting.id, targets, kinds, False)


def verify_targets(home: Home, targets: Iterable[Target], *, tick: Tick | None = None) -> list[Report]:
    """Verify every trajectory from the record that ends it: whole ancestry, every signature."""
    source = StoreSource(home.store)
    reports = []
    done = 0
    for target in targets:
        report = verify(source, target.record, home.federation, now_ms=home.clock())
        reports.append(report)
        done += len(report.records)
        if tick is not None:
            tick(done)
    return reports


def _record_all(lineage: Lineage, transcript: Transcript, tick: Tick | None) -> Iterator[Target]:
    for index, trajectory in enumerate(transcript.trajectories):
        before = lineage.kinds.total()
        end = lineage.trajectory(index, trajectory)
        yield _target(end, lineage.kinds.total() - before)
        if tick is not None:
            tick(lineage.kinds.total())


def _held(store: Store, note: str) -> Record | None:
    """Return the record of a file that is imported already."""
    noted = store.get_meta(note)
    entry = None if noted is None else store.get(Link(noted))
    return None if noted is None or entry is None else disclosed(Link(noted), entry)


def _targets(store: Store, file: Link) -> list[Target]:
    """Return the trajectories of a file that is imported, found by the records that cite it."""
    found = store.get_many(store.children(file, ["evidence"]))
    records = [disclosed(id, entry) for id, entry in found.items()]
    ends = [record for record in records if record.body.get("source") == END_SOURCE]
    return sorted((_target(end) for end in ends), key=lambda target: target.position)


def _target(end: Record, records: int | None = None) -> Target:
    about = dict(end.body["data"])
    about.pop("extra", None)
    return Target(end.id, about.pop("index"), about, records)
