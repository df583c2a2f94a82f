"""Work for more processes than one: on this machine by default, on a cluster through Ray, over one seam.

What is handed over is a function of a module and a chunk of plain values; what comes back is believed only whole. A
worker that dies fails the work that it had, which is an error and never an answer.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Final, Protocol, Self, TypeVar

from tslg.protocol.errors import UsageError, WorkError

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")

MOST_WORKERS: Final = 64
_shared: Any = None
"""What a worker process was given at its start, for every piece of its work."""


class Pool(Protocol):
    """Workers in other processes. A context manager, at whose end nothing of the work goes on."""

    workers: int

    def submit(self, function: Callable[[Any, A], B], chunk: A) -> Future[B]:
        """Start `function(shared, chunk)` in a worker, `shared` being what the pool was made with."""
        ...

    def close(self) -> None:
        """Give up what has not begun, and let the workers go."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def outcome(future: Future[T]) -> T:
    """Return what a piece of work came to.

    Raises:
        WorkError: its worker ended before it was done. What the function itself raised is raised as it is.
    """
    try:
        return future.result()
    except (BrokenProcessPool, CancelledError) as error:
        raise WorkError(
            "a worker process ended before it was done", mend="see whether memory ran out; or use --pool threads"
        ) from error


def map_chunks(pool: Pool, function: Callable[[Any, A], B], chunks: Iterable[A]) -> Iterator[B]:
    """Yield what `function(shared, chunk)` comes to for every chunk, in order. Raises as `outcome`."""
    futures = [pool.submit(function, chunk) for chunk in chunks]
    for future in futures:
        yield outcome(future)


def cores() -> int:
    """Return on how many cores this process may run."""
    return len(os.sched_getaffinity(0))


class Processes:
    """Processes of this machine, each a fresh interpreter: nothing of this one's threads or locks is copied into them.

    Args:
        workers: how many.
        shared: handed to every worker once.
    """

    def __init__(self, workers: int, shared: object = None) -> None:
        self.workers = workers
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(shared,))

    def submit(self, function: Callable[[Any, A], B], chunk: A) -> Future[B]:
        """See `Pool.submit`."""
        try:
            return self._executor.submit(_work, function, chunk)
        except BrokenProcessPool as error:
            failed: Future[B] = Future()
            failed.set_exception(error)
            return failed

    def close(self) -> None:
        """See `Pool.close`."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _begin(shared: object) -> None:
    global _shared
    _shared = shared


def _work(function: Callable[[Any, A], B], chunk: A) -> B:
    return function(_shared, chunk)


@contextmanager
def open_pool(kind: str, workers: int, shared: object = None) -> Iterator[Pool]:
    """Open a pool of a kind, `processes` or `ray`.

    Raises:
        UsageError: there is no such kind, or Ray is not installed.
    """
    pool: Pool
    if kind == "processes":
        pool = Processes(workers, shared)
    elif kind == "ray":
        try:
            from tslg.node.parallel_ray import OverRay
        except ImportError as error:
            raise UsageError(
                "Ray is not installed", mend="install tslg with its extra: pip install 'tslg[ray]'"
            ) from error
        pool = OverRay(workers, shared)
    else:
        raise UsageError(f"there are no {kind} to work over", mend="take processes or ray")
    with pool:
        yield pool
