"""The pool over Ray: the same functions and chunks, on whatever cluster Ray is connected to, or on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Self, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

A = TypeVar("A")
B = TypeVar("B")


class OverRay:
    """Tasks of Ray. One that is lost with its worker is not tried again by Ray, and so fails as it does elsewhere.

    Args:
        workers: how many tasks run at once, on a machine of one's own; a running cluster knows that itself.
        shared: kept in Ray's object store, from where every task reads it.

    The cluster is the one that `RAY_ADDRESS` names, if it does.
    """

    def __init__(self, workers: int, shared: object = None) -> None:
        self.workers = workers
        self._started = not ray.is_initialized()
        if self._started:
            ray.init(
                num_cpus=None if _has_cluster() else workers,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
        self._shared = ray.put(shared)
        self._task = ray.remote(max_retries=0)(_work)

    def submit(self, function: Callable[[Any, A], B], chunk: A) -> Future[B]:
        """See `Pool.submit`."""
        done: Future[B] = Future()
        reference = self._task.remote(function, self._shared, chunk)

        def settle(inner: Future[B]) -> None:
            try:
                done.set_result(inner.result())
            except RayTaskError as error:
                # What the function raised, without Ray's own frames around it.
                cause = error.cause
                known = isinstance(cause, Exception) and not isinstance(cause, RayError)
                done.set_exception(cause if known else BrokenProcessPool(str(error)))
            except RayError as error:
                done.set_exception(BrokenProcessPool(str(error)))

        reference.future().add_done_callback(settle)
        return done

    def close(self) -> None:
        """See `Pool.close`."""
        if self._started:
            ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _has_cluster() -> bool:
    import os

    return bool(os.environ.get("RAY_ADDRESS"))


def _work(function: Callable[[Any, A], B], shared: Any, chunk: A) -> B:
    return function(shared, chunk)
