"""The engine's side: stretches of its log as bundles, and handing them in until its tenant holds all of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final, NamedTuple

from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import walk
from tslg.protocol import bundle
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import SubmissionError, UsageError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.opening import Opened
from tslg.protocol.pushing import Submitted
from tslg.protocol.record import Record, parse_as
from tslg.protocol.report import INVALID, VALID

ROOT_BYTES: Final = 64 * 1024
"""Room for the root block of a submission, which lists its records."""
_BESIDE: Final = 160
"""Bytes of one record in a bundle beside its own, its seal's and its attachment's."""


class Stretch(NamedTuple):
    """A submission: the records of a log from `start` to below `stop`, as a bundle."""

    start: int
    stop: int
    data: bytes


def write(home: Home, engine: Link, start: int, limits: Limits = DEFAULT) -> Stretch:
    """Write as much of a log from a position on as one submission holds, with what it cites of others.

    Raises:
        UsageError: the log is not held whole, or ends before that position; or its next record does not fit with all
            that it cites.
    """
    state = home.store.log_state(engine)
    if state is None or not 0 <= start < state.size:
        size = 0 if state is None else state.size
        raise UsageError(f"{size} records of that log are held, none from {start} on", record=engine)
    most = min(state.size, start + limits.walk_roots)
    found = home.store.log_range(engine, start, most)
    if len(found) < most - start:
        raise UsageError("records of that stretch were pruned here", mend="hand them in before they are", record=engine)
    stop, room = start, limits.submission_bytes - ROOT_BYTES
    for _, entry in found:
        room -= _BESIDE + sum(len(part) for part in entry if part is not None)
        if room < 0:
            break
        stop += 1
    # What is cited of others takes room as well: fewer records cite less.
    while stop > start:
        data = _bundle(home, engine, start, stop)
        if len(data) <= limits.submission_bytes:
            return Stretch(start, stop, data)
        stop = start + (stop - start) // 2
    raise UsageError(
        f"record {start} does not fit into {limits.submission_bytes} bytes with all that it cites",
        mend="let the tenant fetch what it cites first",
        record=engine,
    )


def hand_in(
    home: Home, engine: Link, submit: Callable[[bytes], Submitted], start: int = 0, limits: Limits = DEFAULT
) -> list[Submitted]:
    """Hand in a log stretch by stretch until the tenant holds what is held here; return what came of each.

    Args:
        home: the engine's data directory.
        engine: whose log.
        submit: hands one submission over.
        start: where to begin; the tenant says where it really stands.
        limits: how much one submission holds.

    Raises:
        SubmissionError: the tenant does not take it. UsageError: as `write`. Else what `submit` raises.
    """
    answers: list[Submitted] = []
    reached = -1
    while True:
        state = home.store.log_state(engine)
        size = 0 if state is None else state.size
        at = max(0, min(start, size - 1))
        stretch = write(home, engine, at, limits)
        answer = submit(stretch.data)
        answers.append(answer)
        if answer.size >= size:
            return answers
        # Where it really stands the tenant says once; from there on it gets on each time, or never would.
        if answer.size <= reached or (answer.size == start and stretch.stop > answer.size):
            mend = "ask the tenant what it holds"
            raise SubmissionError(f"the tenant does not get on from position {start}", mend=mend, record=engine)
        start = reached = answer.size


def _bundle(home: Home, engine: Link, start: int, stop: int) -> bytes:
    """Write a stretch as a bundle, whose targets are its records in their order, with what it cites of others."""
    own = home.store.log_range(engine, start, stop)
    records: dict[Link, Opened] = {}
    for id, entry in own:
        records[id] = Opened(parse_as(id, entry.data), entry.seal, None, entry.attachment)
    cited = {
        edge.cid
        for one in list(records.values())
        for edge in one.record.edges()
        if edge.agent not in (None, home.federation)
    }
    inclusion, consistency, heads = {}, {}, {}
    known: dict[Link, Record] = {}
    for id in sorted(cited):
        walked = walk(StoreSource(home.store), id, home.federation, now_ms=home.clock(), known=known)
        if walked.report.verdict == INVALID:
            raise UsageError(f"it cites {to_text(id)}, which is invalid", record=id)
        if walked.report.verdict == VALID:
            known.update(walked.report.records)
        for one in walked.walker.opened():
            if one.record.owner != engine:
                records.setdefault(one.record.id, one)
        claims, included, consistent = walked.walker.proofs()
        heads.update({claim.agent: claim for claim in claims})
        inclusion.update({(proof.record, proof.size): proof for proof in included})
        consistency.update({(proof.agent, proof.old_size, proof.size): proof for proof in consistent})
    stream = io.BytesIO()
    bundle.write(
        stream,
        federation=home.federation,
        manifest=home.manifest.id,
        targets=[id for id, _ in own],
        heads=heads.values(),
        inclusion=inclusion.values(),
        consistency=consistency.values(),
        records=[(id, one.record.data, one.seal) for id, one in records.items()],
        attachments={id: one.attachment for id, one in records.items() if one.attachment is not None},
    )
    return stream.getvalue()
