"""Group commit: callers that arrive while one commits share the next transaction, and each learns its own outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from tslg.protocol.errors import StoreError

T = TypeVar("T")


class _Call(Generic[T]):
    """One caller's work and, once done, its outcome."""

    __slots__ = ("done", "error", "work")

    def __init__(self, work: T) -> None:
        self.work = work
        self.done = False
        self.error: Exception | None = None


class GroupCommit(Generic[T]):
    """Runs `commit` over the work of all waiting callers at once: one of them leads, the others wait for it.

    Args:
        commit: does a list of work in one transaction, or raises with nothing done.
    """

    def __init__(self, commit: Callable[[Sequence[T]], None]) -> None:
        self._commit = commit
        self._changed = threading.Condition(threading.Lock())
        self._waiting: list[_Call[T]] = []
        self._led = False

    def submit(self, work: T) -> None:
        """Return when `work` is committed; raise what `commit` raised for this work alone."""
        call = _Call(work)
        with self._changed:
            self._waiting.append(call)
            while self._led and not call.done:
                self._changed.wait()
            group: list[_Call[T]] = []
            if not call.done:
                self._led = True
                group, self._waiting = self._waiting, []
        if group:
            self._lead(group)
        if call.error is not None:
            raise call.error

    def _lead(self, group: list[_Call[T]]) -> None:
        """Commit a group and wake everybody; only one thread at a time is in here."""
        try:
            self._run(group)
        except BaseException:
            for call in group:
                call.error = StoreError("interrupted", code="TSLG-D-INTERRUPTED", mend="append it again")
            raise
        finally:
            with self._changed:
                self._led = False
                for call in group:
                    call.done = True
                self._changed.notify_all()

    def _run(self, group: list[_Call[T]]) -> None:
        """Commit all work together, or, if some of it fails, each alone, so that only the culprit's caller sees it."""
        try:
            self._commit([call.work for call in group])
        except Exception as error:
            if len(group) == 1:
                group[0].error = error
                return
            for call in group:
                self._run([call])
