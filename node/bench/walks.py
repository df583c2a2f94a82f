"""Verification against bare libsodium: the same signatures over the same messages, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from nacl import bindings

from tslg.node.bench.figures import (
    CPU,
    MICRO,
    WALL,
    Measure,
    MeasurementError,
    Row,
    Series,
    Side,
    Target,
    interleave,
    timed,
)
from tslg.node.bench.lineage import Lineage
from tslg.node.bench.setting import Setting
from tslg.node.ledger import Ledger
from tslg.node.sources import Source, StoreSource
from tslg.node.store.interface import Store
from tslg.node.store.sqlite import SqliteStore
from tslg.node.verifying import Walked, walk
from tslg.protocol.cid import hash_name
from tslg.protocol.codec import Link
from tslg.protocol.exchange import Pair
from tslg.protocol.report import VALID, Report
from tslg.protocol.seal import parse as parse_seal
from tslg.protocol.seal import to_be_signed

BARE: Final = "bare libsodium verifies"
PER_RECORD: Final = "µs/record"
WORKERS: Final = 2
SHARES: Final = (0.1, 1.0)
"""Sizes that are compared to see whether cost grows with size, as shares of the lineage."""


class MemorySource(StoreSource):
    """A target's records, read beforehand so that no disk is measured. Heads and proofs come from the store."""

    def __init__(self, store: Store, target: Link) -> None:
        super().__init__(store)
        self._held = dict(super().ahead(target, None))

    def ahead(self, target: Link, depth: int | None) -> Iterable[tuple[Link, Pair]]:
        """Return everything, in the order in which the store would give it."""
        return self._held.items()

    def pairs(self, ids: Sequence[Link]) -> Mapping[Link, Pair]:
        """Return those of the records that were read."""
        held = self._held
        return {id: held[id] for id in ids if id in held}


class Workload:
    """A lineage to verify, in memory, and its bare signatures.

    Attributes:
        lineage: what is verified.
        store: the store it comes from.
        source: the same in memory.
        signatures: (signature and message, public key) of every record that an agent's key alone signed.
    """

    def __init__(self, lineage: Lineage, store: Store) -> None:
        self.lineage = lineage
        self.store = store
        self.source = MemorySource(store, lineage.target)
        walked = self.walk()
        keys = walked.walker.keys
        self.signatures = [
            (
                parse_seal(seal).signatures[0].value + to_be_signed(record.data, keys[record.key].alg),
                keys[record.key].public,
            )
            for record, seal, *_ in walked.walker.opened()
            if record.key is not None
        ]

    def walk(self, source: Source | None = None, *, signatures: str = "all", workers: int = 1) -> Walked:
        """Verify everything. Raises MeasurementError if it does not come out valid and whole."""
        lineage = self.lineage
        walked = walk(
            self.source if source is None else source,
            lineage.target,
            lineage.federation,
            now_ms=lineage.now_ms,
            signatures=signatures,
            workers=workers,
        )
        check(walked.report, lineage)
        return walked

    def verify_bare(self) -> None:
        """Verify the signatures with libsodium; it raises if one does not hold."""
        verify = bindings.crypto_sign_open
        for signed, public in self.signatures:
            verify(signed, public)


def check(report: Report, lineage: Lineage) -> None:
    """Raise MeasurementError unless a walk of the whole lineage was valid and met every record."""
    if report.verdict != VALID or len(report.records) < lineage.records:
        raise MeasurementError(
            f"the lineage came out {report.verdict}, {len(report.records)} of {lineage.records} records verified",
            mend="see that nothing else uses the folder, and run `tslg verify` on it",
        )


@contextmanager
def workload(setting: Setting, records: int | None = None) -> Iterator[Workload]:
    """Open the lineage's store and read what is to be verified."""
    lineage = setting.lineage(records)
    with SqliteStore.open(lineage.whole, readonly=True) as store:
        yield Workload(lineage, store)


def verify_one(setting: Setting) -> list[Row]:
    """Every signature, rule and log head, on one thread."""
    with workload(setting) as load:
        sides = interleave(setting.repeat, timed(load.walk, CPU), timed(load.verify_bare, CPU))
        return [_row(load, "verify", "verify, all signatures, 1 thread", sides, BARE, Target(0.75, True))]


def verify_heads(setting: Setting) -> list[Row]:
    """Every rule, and of each log the newest signature alone."""
    with workload(setting) as load:
        heads = timed(lambda: load.walk(signatures="heads"), CPU)
        sides = interleave(setting.repeat, heads, timed(load.verify_bare, CPU))
        return [
            _row(load, "verify-heads", "verify, signatures of heads only, 1 thread", sides, BARE, Target(3.5, True))
        ]


def verify_stored(setting: Setting) -> list[Row]:
    """As `verify`, with the records read from the store while they are verified."""
    with workload(setting) as load:
        stored = timed(lambda: load.walk(StoreSource(load.store)), CPU)
        sides = interleave(setting.repeat, stored, timed(load.verify_bare, CPU))
        return [_row(load, "verify-stored", "verify from the store, all signatures, 1 thread", sides, BARE, None)]


def verify_two(setting: Setting) -> list[Row]:
    """Two worker threads against one."""
    with workload(setting) as load:
        two = timed(lambda: load.walk(workers=WORKERS), WALL)
        sides = interleave(setting.repeat, two, timed(load.walk, WALL))
        target = Target(1.7, True, gates=(os.cpu_count() or 1) >= WORKERS)
        return [_row(load, "verify-2-workers", "verify, all signatures, 2 workers", sides, "1 thread", target)]


def verify_and_store(setting: Setting) -> list[Row]:
    """Two worker threads, and then everything durable in a new store."""
    with workload(setting) as load:
        sides = interleave(setting.repeat, storing(load, setting), timed(load.verify_bare, WALL))
        title = "verify + durable store, 2 workers"
        return [_row(load, "verify-and-store", title, sides, f"{BARE}, 1 thread", Target(1.1, True, gates=False))]


def storing(load: Workload, setting: Setting) -> Measure:
    """Return what verifies and stores everything as a node does that keeps what it fetched."""
    lineage = load.lineage
    manifest = lineage.manifest[0].id

    def measure() -> float:
        with SqliteStore.open(setting.scratch() / "tslg.sqlite") as store:
            ledger = Ledger(store, lineage.federation, manifest, hash_name(manifest), lambda: lineage.now_ms)
            return timed(lambda: ledger.adopt(load.walk(workers=WORKERS).walker.opened()), WALL)()

    return measure


def linearity(setting: Setting) -> list[Row]:
    """The cost of one record in a small lineage and in larger ones."""
    shares = (*SHARES, 10.0) if setting.large else SHARES
    small, *larger = [max(1, round(setting.records * share)) for share in shares]
    rows = []
    with workload(setting, small) as base:
        for size in larger:
            with workload(setting, size) as load:
                taken = interleave(setting.repeat, timed(load.walk, CPU), timed(base.walk, CPU))
                ours, reference = (_per_record(series, one) for series, one in zip(taken, (load, base), strict=True))
            rows.append(
                Row(
                    f"linearity-{size}",
                    f"cost of a record among {size:,}, verified on 1 thread",
                    ours.over(reference),
                    "×",
                    Side(f"among {size:,}", ours, PER_RECORD),
                    Side(f"among {small:,}", reference, PER_RECORD),
                )
            )
    return rows


def _per_record(series: Series, load: Workload) -> Series:
    return series.times(MICRO / len(load.signatures))


def _row(load: Workload, name: str, title: str, sides: Sequence[Series], against: str, target: Target | None) -> Row:
    ours, reference = (_per_record(series, load) for series in sides)
    return Row(
        name,
        title,
        reference.over(ours),
        "×",
        Side("tslg", ours, PER_RECORD),
        Side(against, reference, PER_RECORD),
        target,
    )
