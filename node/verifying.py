"""Verification of what is at hand: drives the walker over a source, with worker threads for the signatures."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Final, NamedTuple

from tslg.node.parallel import Pool
from tslg.node.sealing import Checks
from tslg.node.sources import Source, StoreSource
from tslg.node.store.interface import Store
from tslg.protocol.codec import Link
from tslg.protocol.errors import RecordError, TslgError
from tslg.protocol.exchange import Pair
from tslg.protocol.keys import KEY_KINDS, Key, key_of
from tslg.protocol.opening import Opened, attach
from tslg.protocol.record import Record, parse_as
from tslg.protocol.report import Reliance, Report
from tslg.protocol.walker import OutsideHead, Walker

CHUNK: Final = 256
"""Records opened at a time, between which workers and progress bars have their turn."""

_new: Final = tuple.__new__

Tick = Callable[[int], None]
"""Called with the number of records opened so far."""

Outside = Iterable[OutsideHead] | Callable[[Walker], Iterable[OutsideHead]]
"""Heads known from elsewhere, or what finds them once the walk knows which logs and keys it met."""


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
        # What is left joins the oldest generation unvisited, where a collection of the young would walk it at once.
        gc.freeze()
        gc.unfreeze()
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
    post_quantum: bool = False,
    workers: int = 1,
    pool: Pool | None = None,
    outside: Outside = (),
    known: Mapping[Link, Record] | None = None,
    relied: Mapping[Link, Reliance] | None = None,
    tick: Tick | None = None,
) -> Report:
    """Verify the ancestry of `target` from what `source` holds. Arguments as for `Walker`; `workers` threads, or
    the processes of `pool`, check signatures beside it.

    Returns the report; what the source does not hold is *undetermined: absent*. Raises WorkError if a worker is lost.
    """
    return walk(
        source,
        target,
        federation,
        now_ms=now_ms,
        depth=depth,
        signatures=signatures,
        log=log,
        post_quantum=post_quantum,
        workers=workers,
        pool=pool,
        outside=outside,
        known=known,
        relied=relied,
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
    post_quantum: bool = False,
    workers: int = 1,
    pool: Pool | None = None,
    outside: Outside = (),
    known: Mapping[Link, Record] | None = None,
    relied: Mapping[Link, Reliance] | None = None,
    tick: Tick | None = None,
) -> Walked:
    """Do as `verify`, and keep what was handed over, for a bundle or a store."""
    started = time.perf_counter()
    walker = Walker(
        target,
        federation,
        now_ms=now_ms,
        depth=depth,
        signatures=signatures,
        log=log,
        post_quantum=post_quantum,
        known=known,
        relied=relied,
    )
    keys: dict[Link, Key] = {}
    with quiet_collector(), Checks(workers, keys, pool) as checks:
        beside = pool is not None or workers > 1
        opener = Opener(walker, keys, checks if beside and signatures == "all" else None, tick)
        opener.read_ahead(source.ahead(target, depth))
        for id, detail in source.faults().items():
            walker.broken(id, RecordError(detail, code="TSLG-R-ID", record=id))
        opener.run(source)
        walker.expect(heads_for(walker, outside))
        complete_logs(walker, source, opener)
        walker.judge()
        # What was checked while records were opened and judged, then whatever is left.
        walker.settle(checks.settle())
        checks.add(walker.unchecked())
        walker.settle(checks.settle())
        report = walker.finish()
    return Walked(report.timed(time.perf_counter() - started), walker)


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


def complete_logs(walker: Walker, source: Source, opener: Opener) -> None:
    """Give the walker what a source at hand knows of the logs it met."""
    for agent in dict.fromkeys([*walker.met(), walker.federation]):
        newest = source.newest(agent) or source.seen_last(agent)
        if newest is not None:
            for opened in opener.open([(newest.claim.record, newest.pair)]):
                walker.supply_head(newest.claim, opened, newest.said_by or source.serves_logs)
        for opened in opener.open(source.revocations(agent).items()):
            walker.supply_revocation(opened)
    for agent in walker.met():
        for opened in opener.open(source.beside(agent)):
            walker.supply_beside(opened)
    pruned = source.pruned(walker.lacking())
    for opened in opener.open(source.pairs([*dict.fromkeys(proof.prune for proof in pruned)]).items()):
        walker.supply_beside(opened)
    walker.supply_pruned(pruned)
    opener.run(source)
    for agent, size in walker.wants_logs().items():
        for opened in opener.open(source.whole_log(agent, size)):
            if opened.record.owner == agent:
                walker.supply_log(opened)
    for agent in walker.met():
        walker.supply_checkpoints(source.checkpoints(agent))
    walker.weigh()
    for agent, needs in walker.wants_proofs().items():
        walker.supply_proofs(*source.proofs(agent, needs))
    for agent in walker.wants_proofs():
        # Neighbours that the source holds can stand in for proofs that it cannot make.
        newest_seq = walker.newest_seq(agent)
        for opened in opener.open(source.whole_log(agent, newest_seq)):
            if opened.record.owner == agent and opened.record.seq < newest_seq:
                walker.supply_witness(opened)


def heads_for(walker: Walker, outside: Outside) -> Iterable[OutsideHead]:
    """Return the heads known from elsewhere for what a walk met."""
    return outside(walker) if callable(outside) else outside


def supply_proofs(walker: Walker, store: Store | None) -> None:
    """Hand over what a store can prove of the order that a walk wants proved."""
    wanted = {} if store is None else walker.wants_proofs()
    if store is not None and wanted:
        source = StoreSource(store)
        for agent, needs in wanted.items():
            walker.supply_proofs(*source.proofs(agent, needs))


class Opener:
    """Opens records for a walker.

    Args:
        walker: what the records are for.
        keys: learns the keys that the records register.
        checks: where signatures are verified while more records are opened; None to leave them for later.
        tick: called with the number of records opened so far.
    """

    def __init__(
        self, walker: Walker, keys: dict[Link, Key], checks: Checks | None = None, tick: Tick | None = None
    ) -> None:
        self._walker = walker
        self._keys = keys
        self._checks = checks
        self._opened: dict[Link, Opened] = {}
        self._faults: dict[Link, TslgError] = {}
        self._tick = tick

    def read_ahead(self, items: Iterable[tuple[Link, Pair]]) -> None:
        """Open records that will probably be wanted."""
        iterator = iter(items)
        while chunk := list(islice(iterator, CHUNK)):
            opened = self._open_chunk(chunk)
            if self._checks is not None:
                self._checks.add([one for one in opened if one[2] is None and one[0].key in self._keys])
            if self._tick is not None:
                self._tick(len(self._opened))

    def open(self, items: Iterable[tuple[Link, Pair]]) -> list[Opened]:
        """Open records, or take them as they were opened before; what is no record is left out."""
        items = list(items)
        self.read_ahead([item for item in items if item[0] not in self._opened and item[0] not in self._faults])
        return [self._opened[id] for id, _ in items if id in self._opened]

    def run(self, source: Source) -> None:
        """Feed the walker until it wants nothing more."""
        opened, faults, walker = self._opened, self._faults, self._walker
        while wanted := walker.wants(opened):
            self.read_ahead(source.pairs([id for id in wanted if id not in faults]).items())
            for id in wanted:
                if id in faults:
                    walker.broken(id, faults[id])
                elif id not in opened:
                    walker.cannot(id, source.reason(id))

    def _open_chunk(self, items: Iterable[tuple[Link, Pair]]) -> list[Opened]:
        known, opened = self._walker.known, self._opened
        results: list[Opened] = []
        for id, pair in items:
            data, seal = pair[0], pair[1]
            try:
                if id in known:
                    one = _open_known(id, data, seal, known[id])
                else:
                    one = _new(Opened, (parse_as(id, data), seal, None, None))
            except TslgError as error:
                self._faults[id] = error
                continue
            if len(pair) == 3 and pair[2] is not None:
                one = attach(one, pair[2])
            results.append(one)
            opened[id] = one
            if one[0][2] in KEY_KINDS:
                key = key_of(one[0])
                if key is not None:
                    self._keys[id] = key
        return results


def _open_known(id: Link, data: bytes, seal: bytes, before: Record) -> Opened:
    """What was verified before saves the work only where the source has those very bytes."""
    if before.id == id and before.data == data:
        # The walk goes by what is written, so edges whose classes were recovered then are read anew.
        record = before if type(before) is Record else parse_as(id, data)
        return Opened(record, seal, True)
    return Opened(parse_as(id, data), seal)
