"""Group commit: callers that arrive while one commits share the next transaction, and each learns its own outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from tslg.protocol.errors import StoreError

T = TypeVar("T")

_PATIENCE = 3
"""How often in a row a leader gives way in vain: each time whoever is ready runs until it waits for something."""


class _Call(Generic[T]):
    """One caller's work, what wakes it, and, once done, its outcome.

    Each has a lock of its own to wait at: of a condition that all share, every commit would wake everybody.
    """

    __slots__ = ("done", "error", "leads", "wake", "work")

    def __init__(self, work: T) -> None:
        self.work = work
        self.wake = threading.Lock()
        self.wake.acquire()
        self.leads = False
        self.done = False
        self.error: Exception | None = None


class GroupCommit(Generic[T]):
    """Runs `commit` over the work of all waiting callers at once: one of them leads, the others wait for it.

    Args:
        commit: does a list of work in one transaction, or raises with nothing done.
    """

    def __init__(self, commit: Callable[[Sequence[T]], None]) -> None:
        self._commit = commit
        self._lock = threading.Lock()
        self._waiting: list[_Call[T]] = []
        self._led = False
        self._last = 1
        """How many the last group had."""

    def submit(self, work: T) -> None:
        """Return when `work` is committed; raise what `commit` raised for this work alone."""
        call = _Call(work)
        with self._lock:
            self._waiting.append(call)
            leads = not self._led
            self._led = True
        if not leads:
            self._wait(call)
        if not call.done:
            self._lead(call)
        if call.error is not None:
            raise call.error

    def _wait(self, call: _Call[T]) -> None:
        """Wait until the work is done, or it is this caller's turn to lead."""
        try:
            call.wake.acquire()
        except BaseException:
            # Interrupted: nobody may be left waiting for this caller to lead.
            with self._lock:
                if call in self._waiting:
                    self._waiting.remove(call)
            if call.leads:
                self._hand_over()
            raise

    def _lead(self, own: _Call[T]) -> None:
        """Commit all that waits, and wake whose work it was; only one thread at a time is in here."""
        self._let_others_come()
        with self._lock:
            group, self._waiting = self._waiting, []
        self._last = len(group)
        try:
            self._run(group)
        except BaseException:
            for call in group:
                call.error = StoreError("interrupted", code="TSLG-D-INTERRUPTED", mend="append it again")
            raise
        finally:
            for call in group:
                call.done = True
                if call is not own:
                    call.wake.release()
            # Last, so that those who go on at once can be part of the next group.
            self._hand_over()

    def _let_others_come(self) -> None:
        """Give way to those who were in the last group: they are about to come again, and a commit serves all alike.

        Without this every second group has one member: the first of those who were woken together.
        """
        came, idle = len(self._waiting), 0
        while came < self._last and idle < _PATIENCE:
            time.sleep(0)
            before, came = came, len(self._waiting)
            idle = 0 if came > before else idle + 1

    def _hand_over(self) -> None:
        """Have the first who waits lead, if anybody does."""
        with self._lock:
            if not self._waiting:
                self._led = False
                return
            following = self._waiting[0]
            following.leads = True
        following.wake.release()

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
