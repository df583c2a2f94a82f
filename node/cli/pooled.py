"""Where the targets of a bundle are verified: one after the other in this process, or side by side in several.

Each worker reads the bundle and walks whole targets. Of a single target, workers get the signatures, beside the walk.
The reports are the same everywhere.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tslg.node.parallel import Pool, cores, map_chunks, open_pool
from tslg.node.sources import BundleSource
from tslg.protocol import bundle as bundles
from tslg.protocol.bundle import Bundle
from tslg.protocol.codec import Link

if TYPE_CHECKING:
    from tslg.protocol.report import Report

TARGETS_FROM: Final = 5_000
"""Records from which on several targets are given to processes: to start one takes as long as about 5,000 records."""
SIGNATURES_FROM: Final = 100_000
SIGNATURE_CORES: Final = 4
"""Records and cores from which on a single target's signatures are: below, threads serve as well, and start at once."""
MOST: Final = 16
"""Processes that are started unasked; each holds the whole bundle."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How each target is to be verified; plain values that a worker can be sent.

    Attributes:
        federation: the one that is trusted.
        now_ms: the reader's clock.
        depth: how deep; None for what the manifest says that the target names.
        full: all there is, whatever `depth` says.
        signatures, log, post_quantum: as for `verifying.verify`.
        heads: checkpoint files to hold logs against.
    """

    federation: Link
    now_ms: int
    depth: int | None
    full: bool
    signatures: str
    log: str
    post_quantum: bool
    heads: tuple[Path, ...]


def verify_bundle(path: Path, bundle: Bundle, federation: Link, options: Mapping[str, Any]) -> list[Report]:
    """Verify every target of a bundle that was read from `path`; the reports, in the targets' order.

    Raises:
        WorkError: a worker ended before it was done. UsageError: there is no such pool.
    """
    from tslg.node.cli.verify import outside_heads, walk_one
    from tslg.node.home import wall_clock

    kind, workers = choose(options["pool"], options["workers"], len(bundle.targets), len(bundle.records))
    continued = options["save"] is not None or options["resume"] is not None
    if kind != "threads" and len(bundle.targets) > 1 and not continued:
        asked = Asked(
            federation,
            wall_clock(),
            options["depth"],
            options["full"],
            options["signatures"],
            options["log"],
            options["require_post_quantum"],
            options["heads"],
        )
        with open_pool(kind, min(workers, len(bundle.targets)), path.read_bytes()) as pool:
            return verify_targets(pool, bundle.targets, asked)
    source, outside = BundleSource(bundle), outside_heads(options["heads"])
    if kind == "threads":
        return [walk_one(source, id, federation, options, outside) for id in bundle.targets]
    with open_pool(kind, workers) as pool:
        return [walk_one(source, id, federation, options, outside, pool=pool) for id in bundle.targets]


def choose(asked: str, workers: int | None, targets: int, records: int) -> tuple[str, int]:
    """Return where to work, `threads`, `processes` or `ray`, and with how many workers."""
    wanted = workers or min(MOST, cores())
    if asked == "auto":
        apart = targets > 1 and records >= TARGETS_FROM and wanted > 1
        beside = records >= SIGNATURES_FROM and wanted >= SIGNATURE_CORES
        asked = "processes" if apart or beside else "threads"
    return asked, wanted


def verify_targets(pool: Pool, targets: Sequence[Link], asked: Asked) -> list[Report]:
    """Verify targets of the bundle whose bytes the pool shares; the reports, in the targets' order.

    Raises:
        WorkError: a worker ended before it was done; there is no report then.
    """
    reports = list(map_chunks(pool, verify_target, [(target, asked) for target in targets]))
    if [report.target for report in reports] != list(targets):
        raise ValueError("workers reported on other targets than they were asked for")
    return reports


def verify_target(data: bytes, work: tuple[Link, Asked]) -> Report:
    """Verify one target of the bundle with these bytes: what a worker does."""
    from tslg.node.cli.verify import outside_heads, walk_depth
    from tslg.node.verifying import verify

    target, asked = work
    source = _source(_Bytes(data))
    return verify(
        source,
        target,
        asked.federation,
        now_ms=asked.now_ms,
        depth=walk_depth(source, target, asked.depth, asked.full),
        signatures=asked.signatures,
        log=asked.log,
        post_quantum=asked.post_quantum,
        outside=outside_heads(asked.heads),
    )


class _Bytes:
    """A bundle's bytes, told apart by their digest."""

    __slots__ = ("data", "digest")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.digest = hashlib.sha256(data).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bytes) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@lru_cache(maxsize=1)
def _source(file: _Bytes) -> BundleSource:
    return BundleSource(bundles.read(io.BytesIO(file.data)))
