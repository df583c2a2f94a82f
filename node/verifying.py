"""Verification of what is at hand: drives the walker over a source, with worker threads for the signatures.

Threads serve because libsodium releases the interpreter's lock; records are handed over in chunks, since handing over
one by one would cost more than the signature.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

from tslg.node.sources import Source
from tslg.protocol.codec import Link
from tslg.protocol.errors import RecordError, TslgError
from tslg.protocol.exchange import Pair
from tslg.protocol.keys import Key
from tslg.protocol.opening import Opened, open_record
from tslg.protocol.record import Record
from tslg.protocol.report import Report
from tslg.protocol.walker import OutsideHead, Walker

CHUNK = 256
"""Records that a worker opens at a time."""

Tick = Callable[[int], None]
"""Called with the number of records opened so far."""


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Keep the cycle collector from walking, over and over, the many records of a walk, which hold no cycles."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Walked(NamedTuple):
    """A report, and the walker that made it, which still holds every record and proof."""

    report: Report
    walker: Walker


def verify(
    source: Source,
    target: Link,
    federation: Link,
    *,
    now_ms: int,
    depth: int | None = None,
    signatures: str = "all",
    log: str = "visited",
    workers: int = 1,
    outside: Iterable[OutsideHead] = (),
    known: Mapping[Link, Record] | None = None,
    tick: Tick | None = None,
) -> Report:
    """Verify the ancestry of `target` from what `source` holds. Arguments as for `Walker`; `workers` threads.

    Returns the report; what the source does not hold is *undetermined: absent*.
    """
    return walk(
        source,
        target,
        federation,
        now_ms=now_ms,
        depth=depth,
        signatures=signatures,
        log=log,
        workers=workers,
        outside=outside,
        known=known,
        tick=tick,
    ).report


def walk(
    source: Source,
    target: Link,
    federation: Link,
    *,
    now_ms: int,
    depth: int | None = None,
    signatures: str = "all",
    log: str = "visited",
    workers: int = 1,
    outside: Iterable[OutsideHead] = (),
    known: Mapping[Link, Record] | None = None,
    tick: Tick | None = None,
) -> Walked:
    """Do as `verify`, and keep what was handed over, for a bundle or a store."""
    started = time.perf_counter()
    walker = Walker(target, federation, now_ms=now_ms, depth=depth, signatures=signatures, log=log, known=known)
    pool: AbstractContextManager[ThreadPoolExecutor | None] = nullcontext()
    if workers > 1:
        pool = ThreadPoolExecutor(workers, thread_name_prefix="tslg-verify")
    with quiet_collector(), pool as executor:
        opener = Opener(walker, executor)
        faults = source.faults()
        count = 0
        while wanted := walker.wants():
            opener.feed(wanted, source.pairs(wanted), faults)
            count += len(wanted)
            if tick is not None:
                tick(count)
        complete_logs(walker, source)
        report = walker.finish(outside).timed(time.perf_counter() - started)
    return Walked(report, walker)


def resume(source: Source, report: Report, depth: int | None, *, now_ms: int, workers: int = 1) -> Report:
    """Go deeper than an earlier report, without checking again the seals that it checked."""
    return verify(
        source,
        report.target,
        report.federation,
        now_ms=now_ms,
        depth=depth,
        signatures=report.signatures,
        log=report.log,
        workers=workers,
        known=report.records,
    )


def complete_logs(walker: Walker, source: Source) -> None:
    """Give the walker what a source at hand knows of the logs it met."""
    for agent in walker.met():
        newest = source.newest(agent)
        if newest is not None:
            opened = try_open(newest.claim.record, newest.pair, walker.keys)
            if isinstance(opened, Opened):
                walker.supply_head(newest.claim, opened, source.serves_logs)
    for agent, size in walker.wants_logs().items():
        for id, pair in source.whole_log(agent, size):
            opened = try_open(id, pair, walker.keys)
            if isinstance(opened, Opened):
                walker.supply_log(opened)
    for agent, needs in walker.wants_proofs().items():
        walker.supply_proofs(*source.proofs(agent, needs))


class Opener:
    """Opens records for a walker, in this thread or in an executor's."""

    def __init__(self, walker: Walker, executor: ThreadPoolExecutor | None) -> None:
        self._walker = walker
        self._executor = executor

    def feed(self, wanted: Sequence[Link], pairs: Mapping[Link, Pair], faults: Mapping[Link, str]) -> None:
        """Hand the walker everything it wants: records, faults, or that they are absent."""
        walker = self._walker
        keys = walker.keys if walker.signatures == "all" else None
        there = []
        for id in wanted:
            if id in pairs:
                there.append((id, pairs[id]))
            elif id in faults:
                walker.broken(id, RecordError(faults[id], code="TSLG-R-ID", record=id))
            else:
                walker.cannot(id, "absent")
        if self._executor is None or len(there) <= CHUNK:
            results = _open_all(there, keys, walker.known)
        else:
            chunks = [there[start : start + CHUNK] for start in range(0, len(there), CHUNK)]
            opened = self._executor.map(lambda chunk: _open_all(chunk, keys, walker.known), chunks)
            results = [result for chunk in opened for result in chunk]
        for id, result in results:
            if isinstance(result, Opened):
                walker.supply(result)
            else:
                walker.broken(id, result)


def _open_all(
    items: Sequence[tuple[Link, Pair]], keys: Mapping[Link, Key] | None, known: Mapping[Link, Record]
) -> list[tuple[Link, Opened | TslgError]]:
    return [(id, Opened(known[id], pair[1], True) if id in known else try_open(id, pair, keys)) for id, pair in items]


def try_open(id: Link, pair: Pair, keys: Mapping[Link, Key] | None) -> Opened | TslgError:
    """Open one record, or return what is wrong with it."""
    try:
        return open_record(id, pair[0], pair[1], keys)
    except TslgError as error:
        return error
