"""Whether a reply gets anywhere: what arrives must be led to by what was asked for, and fast enough to end one day.

An answerer could otherwise send records that nobody needs, up to the size of a reply, or one chunk every few seconds,
for as long as it likes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import trio

from tslg.node.net import errors
from tslg.protocol.chains import rests_on
from tslg.protocol.codec import Link
from tslg.protocol.limits import Limits
from tslg.protocol.record import Record


class Pace:
    """Watches over one reply to a walk.

    A record is led to if it was asked for, or one that is led to cites it or rests on it. Chains, newest records and
    revocations come before what leads to them, or nothing does: such records are *loose*, and bounded.

    Args:
        roots: the records that were asked for.
        peer: who answers.
        limits: `loose_bytes`, `progress_timeout_ms`, `record_ms`.
    """

    def __init__(self, roots: Iterable[Link], peer: str, limits: Limits) -> None:
        self._led = set(roots)
        self._peer = peer
        self._limits = limits
        self._loose: dict[Link, Record] = {}
        self._loose_bytes = 0
        self._scope = trio.CancelScope()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let the reply last as long as it gets somewhere. Raises Stalled."""
        self._scope.deadline = trio.current_time() + self._limits.progress_timeout_ms / 1000
        with self._scope:
            yield
        if self._scope.cancelled_caught:
            raise errors.Stalled(f"peer {self._peer} hands over nothing that is needed", peer=self._peer)

    def take(self, records: Iterable[Record]) -> None:
        """Look at what arrived. Raises ProtocolViolation if too much of it is led to by nothing."""
        useful = 0
        for record in records:
            if record.id in self._led:
                useful += self._lead_on(record)
            elif record.id not in self._loose:
                self._loose[record.id] = record
                self._loose_bytes += len(record.data)
        if self._loose_bytes > self._limits.loose_bytes:
            raise errors.ProtocolViolation(f"peer {self._peer} hands over what nobody asked for", peer=self._peer)
        self._scope.deadline += useful * self._limits.record_ms / 1000

    def _lead_on(self, record: Record) -> int:
        """Note what a record leads to; return how many records are now known to be needed, itself included."""
        found, todo = 0, [record]
        while todo:
            one = todo.pop()
            found += 1
            for id in (*(edge.cid for edges in one.preds.values() for edge in edges), *rests_on(one)):
                if id not in self._led:
                    self._led.add(id)
                    waiting = self._loose.pop(id, None)
                    if waiting is not None:
                        self._loose_bytes -= len(waiting.data)
                        todo.append(waiting)
        return found
