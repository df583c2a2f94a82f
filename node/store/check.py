"""What a store's own check looks at, shared by the engines: ids, index columns, edges and trees against the bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tslg.node.store.interface import Entry, LogState, Problem
from tslg.protocol import attachments
from tslg.protocol.cid import Link
from tslg.protocol.classes import FLAT
from tslg.protocol.errors import AttachmentError, TslgError
from tslg.protocol.log import Peaks
from tslg.protocol.record import parse_as


class Columns(NamedTuple):
    """What an engine keeps of a record beside its bytes, in order to find it."""

    owner: Link | None
    seq: int | None
    kind: str | None
    time: int | None


def check_entry(cid: Link, entry: Entry, columns: Columns, edges: Iterable[tuple[str, Link]]) -> list[Problem]:
    """Compare one record's bytes with its id, with its columns, and with the (class, parent) edges kept for it."""
    try:
        record = parse_as(cid, entry.data)
    except TslgError as error:
        return [Problem(error.code, f"the bytes are not the record: {error.detail}", cid)]
    problems = []
    if columns != (record.owner, record.seq, record.kind, record.time):
        problems.append(Problem("TSLG-D-COLUMNS", "log, seq, kind or time differ from the record's bytes", cid))
    kept, written = set(edges), {(name, edge.cid) for name, cited in record.preds.items() for edge in cited}
    if FLAT in record.preds:
        # The classes kept were recovered from records that may be elsewhere by now; what they lead to is written.
        kept = {(FLAT, parent) for _, parent in kept}
    if kept != written:
        problems.append(Problem("TSLG-D-EDGES", "the edges differ from the record's bytes", cid))
    if entry.attachment is not None:
        try:
            attachments.check(record, entry.attachment)
        except AttachmentError as error:
            problems.append(Problem(error.code, f"what is attached does not hold: {error.detail}", cid))
    return problems


def check_rival(cid: Link, owner: bytes, seq: int, data: bytes) -> list[Problem]:
    """Compare the bytes of one side of a fork with its id and its columns."""
    try:
        record = parse_as(cid, data)
    except TslgError as error:
        return [Problem(error.code, f"the bytes are not the record: {error.detail}", cid)]
    if (record.owner, record.seq) != (owner, seq):
        return [Problem("TSLG-D-COLUMNS", "log or seq differ from the record's bytes", cid)]
    return []


def check_log_row(
    owner: bytes, size: int, last: bytes, last_time: int, peaks: bytes, leaves: list[Link]
) -> list[Problem]:
    """Compare a log's state as it is stored with the ids held at seq 0, 1, … up to its size."""
    try:
        state = LogState(Link(owner), size, Link(last), last_time, Peaks.from_bytes(peaks, size))
    except ValueError as error:
        return [Problem("TSLG-D-STATE", f"a log's state cannot be read: {error}", Link(owner))]
    return check_log(state, leaves)


def check_log(state: LogState, leaves: list[Link]) -> list[Problem]:
    """Compare a log's state with the ids held at seq 0, 1, … up to its size."""
    peaks = Peaks()
    for leaf in leaves:
        peaks.append(leaf)
    if len(leaves) != state.size or leaves[-1:] != [state.last] or peaks.to_bytes() != state.peaks.to_bytes():
        detail = f"the log's state at size {state.size} is not that of the {len(leaves)} records held"
        return [Problem("TSLG-D-STATE", detail, state.owner)]
    return []
