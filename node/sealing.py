"""Verifying the signatures of many records, in this thread, in worker threads beside it, or in other processes.

Threads serve because libsodium releases the interpreter's lock while it computes. Chunks are handed over rather than
records, since handing over one by one would cost more than the signature. Of a record, other processes get no more than
the key, the signature and what was signed.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import Final, Self

from tslg.node.parallel import Pool, outcome
from tslg.node.parallel_work import Signatures, check_signatures, holds_all
from tslg.protocol.codec import Link
from tslg.protocol.keys import Key
from tslg.protocol.opening import Opened, check_seals, plainly_signed

CHUNK: Final = 256
"""Records handed over at a time: enough to amortise the hand-over, few enough that the last ones spread evenly."""
SWITCH_SECONDS: Final = 5e-5
"""How long a thread may keep the interpreter while another waits: about one signature, a hundredth of the default.

A worker needs the interpreter for a microsecond between two signatures; it must not wait longer than it works."""


class _TakeTurns:
    """Shortens the interpreter's switching interval while anybody needs it; the last one to leave puts it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 0.0

    def enter(self) -> None:
        """Shorten the interval."""
        with self._lock:
            if self._users == 0:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(SWITCH_SECONDS)
            self._users += 1

    def leave(self) -> None:
        """Put it back if nobody else needs it short."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                sys.setswitchinterval(self._before)


_take_turns: Final = _TakeTurns()


@contextmanager
def taking_turns() -> Iterator[None]:
    """Let threads that verify signatures have the interpreter as soon as they need it, for the length of a block."""
    _take_turns.enter()
    try:
        yield
    finally:
        _take_turns.leave()


class Checks:
    """Signatures being verified; a context manager.

    Args:
        workers: how many threads work in the end, the caller's among them.
        keys: the keys known so far; more may be put in while the checks are under way.
        pool: processes that work in place of threads.
    """

    def __init__(self, workers: int, keys: Mapping[Link, Key], pool: Pool | None = None) -> None:
        self._keys = keys
        self._pool = pool
        self._afar: deque[tuple[list[Opened], Future[bytes]]] = deque()
        if pool is not None:
            workers = 1
        self._waiting: deque[Sequence[Opened]] = deque()
        self._done: list[list[Opened]] = []
        self._futures: list[Future[None]] = []
        self._executor = ThreadPoolExecutor(workers - 1, thread_name_prefix="tslg-seals") if workers > 1 else None

    def __enter__(self) -> Self:
        if self._executor is not None:
            _take_turns.enter()
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._waiting.clear()
            self._executor.shutdown()
            _take_turns.leave()

    def add(self, opened: Sequence[Opened]) -> None:
        """Have these checked some time; with other workers they start on it at once."""
        for start in range(0, len(opened), CHUNK):
            chunk = opened[start : start + CHUNK]
            if self._pool is not None:
                chunk = self._hand_over(chunk, self._pool)
            self._waiting.append(chunk)
            if self._executor is not None:
                self._futures.append(self._executor.submit(self._work))

    def settle(self) -> Iterable[Opened]:
        """Help until everything is checked; return the outcomes.

        Raises:
            WorkError: a worker ended before it was done.
        """
        while self._waiting:
            self._work()
        for future in self._futures:
            future.result()
        while self._afar:
            handed, verdicts = self._afar.popleft()
            holds = holds_all(outcome(verdicts), len(handed))
            self._done.append([one._replace(sealed=held) for one, held in zip(handed, holds, strict=True)])
        done, self._done = self._done, []
        self._futures.clear()
        return chain.from_iterable(done)

    def _hand_over(self, opened: Sequence[Opened], pool: Pool) -> Sequence[Opened]:
        """Give the plain signatures among these to the pool, in chunks; return the records that have others."""
        left: list[Opened] = []
        handed: list[Opened] = []
        numbers: dict[bytes, int] = {}
        signed: list[tuple[int, bytes]] = []
        for one in opened:
            key = None if one.record.key is None else self._keys.get(one.record.key)
            bytes_signed = plainly_signed(one, key)
            if key is None or bytes_signed is None:
                left.append(one)
                continue
            handed.append(one)
            signed.append((numbers.setdefault(key.public, len(numbers)), bytes_signed))
        if handed:
            self._afar.append((handed, pool.submit(check_signatures, Signatures(list(numbers), signed))))
        return left

    def _work(self) -> None:
        try:
            chunk = self._waiting.popleft()
        except IndexError:
            return
        self._done.append(check_seals(chunk, self._keys))
