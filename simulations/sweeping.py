"""Many seeds of one scenario: spread over processes, or over Ray, their outcomes handed out as they come."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from typing import Any, Final

from tslg.protocol.errors import UsageError
from tslg.simulations.run import Outcome, run
from tslg.simulations.scenario import Scenario

_AHEAD: Final = 2
"""Runs that wait for each worker."""


def sweep(scenario: Scenario, seeds: Iterable[int], workers: int | None = None) -> Iterator[Outcome]:
    """Run a scenario on each seed; yield the outcomes as they are there, in no order.

    Args:
        scenario: what to run.
        seeds: on which seeds.
        workers: processes; as many as there are cores if None, and none for 1.
    """
    count = workers or os.cpu_count() or 1
    if count == 1:
        for seed in seeds:
            yield run(scenario, seed)
        return
    left = iter(seeds)
    # Whoever forks takes threads and locks along in a state that nobody knows.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending: set[Future[Outcome]] = set()
        try:
            while True:
                for seed in left:
                    pending.add(pool.submit(run, scenario, seed))
                    if len(pending) >= _AHEAD * count:
                        break
                if not pending:
                    return
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def sweep_on_ray(scenario: Scenario, seeds: Iterable[int], workers: int | None = None) -> Iterator[Outcome]:
    """Do as `sweep` on the cluster that Ray finds, or on this machine. Raises UsageError without Ray."""
    try:
        from tslg.node.parallel_ray import OverRay
    except ImportError:
        raise UsageError("Ray is not installed", mend="pip install 'tslg[ray]'") from None
    with OverRay(workers or os.cpu_count() or 1, scenario) as pool:
        yield from (done.result() for done in as_completed([pool.submit(run, seed) for seed in seeds]))


def together(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what came of many runs: sums of their counts, and those that broke something."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        for name, count in outcome.counts.items():
            counts[name] = counts.get(name, 0) + count
    detections = sorted(one for outcome in outcomes for one in outcome.detections_s)
    failed = sorted((one for one in outcomes if one.broken is not None), key=lambda one: one.seed)
    return {
        "runs": len(outcomes),
        "events": sum(one.events for one in outcomes),
        "seconds": round(sum(one.processor_s for one in outcomes), 3),
        "counts": dict(sorted(counts.items())),
        "detections_s": detections,
        "broken": [{"seed": one.seed, **(one.broken or {})} for one in failed],
    }
