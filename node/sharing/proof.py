"""Showing a stranger that a record stands in a shared log: a bundle with the entry and all that it rests on."""

from __future__ import annotations

from typing import NamedTuple

from tslg.node.home import Home
from tslg.node.sharing.entries import Entry, read_entry
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.verifying import Walked, verify, walk
from tslg.protocol.bundle import Bundle
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.report import Report


class Shown(NamedTuple):
    """What a bundle shows: the entry, and the report on it; None for the entry of one that shows none with that id."""

    entry: Entry | None
    report: Report


def proof_of(home: Home, entry: Entry) -> Walked:
    """Return all that shows where an entry stands, for a bundle if the report on it says that it is valid."""
    return walk(StoreSource(home.store), entry.record.id, home.federation, now_ms=home.clock())


def read_proof(bundle: Bundle, federation: Link, id: Link, now_ms: int) -> Shown:
    """Verify a bundle as a stranger who knows nothing but the federation, and find the id in its entry.

    Raises:
        UsageError: the bundle is about several records, or none.
    """
    if len(bundle.targets) != 1:
        raise UsageError("a proof is about one entry", mend="have it made by `tslg shared prove`")
    report = verify(BundleSource(bundle), bundle.targets[0], federation, now_ms=now_ms)
    record = report.records.get(bundle.targets[0])
    entry = None if record is None else read_entry(record)
    return Shown(entry if entry is not None and id in entry.ids else None, report)
