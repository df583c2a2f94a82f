"""One node of a run: a store, a ledger, the machines of its protocols, and its place on the network."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from tslg.node.net.errors import Busy, NotAvailable, Unreachable
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.exchange import LOG, WALK
from tslg.protocol.recalling import HEADS
from tslg.simulations.engine import MILLISECOND, SECOND
from tslg.simulations.gossip import Gossip
from tslg.simulations.machine import Ask as Ask
from tslg.simulations.machine import Procedure
from tslg.simulations.machine import Rest as Rest
from tslg.simulations.machine import peer_name as peer_name

_AT_ONCE: Final = 64
"""Requests that a node answers in one second of virtual time for one peer."""


class Member(Gossip):
    """One node with one agent. Arguments as for `Machine`."""

    __slots__ = ()

    # --- its key -----------------------------------------------------------------------------------------------------

    def renew(self) -> None:
        """Go on under another key, in a log that was forked as in any other."""
        try:
            self.rotate()
            self.announce_own()
        except TslgError as error:
            self.world.oracle.gave_up(self, error)
            if error.code == "TSLG-U-FORKED":
                self.confess()

    def confess(self) -> None:
        """Say that its own log is forked, which whoever stole its key did, and go on under another key."""
        try:
            self.acknowledge(self.agent.equivocation(self.id, reason="its key was stolen"))
            self.rotate()
            self.world.oracle.counts["confessions"] += 1
            self.announce_own()
        except TslgError as error:
            self.world.oracle.gave_up(self, error)

    # --- requests ----------------------------------------------------------------------------------------------------

    def spawn(self, procedure: Procedure) -> None:
        """Begin a procedure."""
        self._step(procedure, None)

    def _step(self, procedure: Procedure, value: Any, error: NetworkError | None = None) -> None:
        try:
            wanted = procedure.send(value) if error is None else procedure.throw(error)
        except StopIteration:
            return
        except TslgError as failed:
            # What a procedure does not deal with ends it: it was somebody's broken reply, or a refusal.
            self.world.oracle.gave_up(self, failed)
            return
        self._numbers += 1
        if isinstance(wanted, Rest):
            self.after(wanted.ms * MILLISECOND, Member._go_on, procedure)
            return
        number = self._numbers
        self._pending[number] = (procedure, wanted.peer)
        self._send(wanted.peer, len(wanted.payload), Member.asked, number, self._epoch, wanted.protocol, wanted.payload)
        self.after(wanted.patience_ms * MILLISECOND, Member._give_up, number)

    def _go_on(self, procedure: Procedure) -> None:
        self._step(procedure, None)

    def _give_up(self, number: int) -> None:
        waiting = self._pending.pop(number, None)
        if waiting is not None:
            name = peer_name(waiting[1])
            self._step(waiting[0], None, Unreachable(f"{name} does not answer", peer=name))

    def send_request(self, peer: int, number: int, protocol: str, payload: bytes) -> None:
        """Ask a peer without waiting for what it says."""
        self._send(peer, len(payload), Member.asked, number, self._epoch, protocol, payload)

    def asked(self, source: int, number: int, epoch: int, protocol: str, payload: bytes) -> None:
        """Answer a request."""
        try:
            if not self._may_ask(source):
                raise Busy("too many requests")
            reply: list[bytes] | NetworkError | Procedure = self.answer(source, protocol, payload)
        except NetworkError as error:
            reply = error
        except TslgError as error:
            reply = NotAvailable(error.detail)
        if isinstance(reply, Generator):
            self.spawn(self._reply_later(source, number, epoch, reply))
        else:
            self._reply(source, number, epoch, reply)

    def _reply(self, source: int, number: int, epoch: int, reply: list[bytes] | NetworkError) -> None:
        size = sum(map(len, reply)) if isinstance(reply, list) else 64
        self._send(source, size, Member.answered, number, epoch, reply)

    def _reply_later(self, source: int, number: int, epoch: int, procedure: Procedure) -> Procedure:
        reply: Any
        try:
            reply = yield from procedure  # type: ignore[func-returns-value]
        except NetworkError as error:
            reply = error
        except TslgError as error:
            reply = NotAvailable(error.detail)
        self._reply(source, number, epoch, reply)

    def _may_ask(self, source: int) -> bool:
        second = self.world.loop.now // SECOND
        at, count = self._asked.get(source, (second, 0))
        count = count + 1 if at == second else 1
        self._asked[source] = (second, count)
        return count <= _AT_ONCE

    def answer(self, source: int, protocol: str, payload: bytes) -> list[bytes] | Procedure:
        """Return the reply to a request, or the procedure that finds it. Raises NetworkError."""
        if not self.honest:
            lied: list[bytes] | None = self.behaviour.instead(self, source, protocol, payload)
            if lied is not None:
                return lied
        if protocol in (WALK, LOG):
            return list(self.server.answer(protocol, payload, peer_name(source)))
        if protocol == HEADS:
            return list(self._recollect(payload))
        if self.behaviour is not None:
            found = self.behaviour.answer(self, source, protocol, payload)
            return found if isinstance(found, Generator) else list(found)
        raise NotAvailable(f"nobody here speaks {protocol}")

    def answered(self, source: int, number: int, epoch: int, reply: list[bytes] | NetworkError) -> None:
        """Take the reply to a request of its own; one that nobody waits for any more is dropped."""
        waiting = self._pending.get(number) if epoch == self._epoch else None
        if waiting is None or waiting[1] != source:
            return
        del self._pending[number]
        if isinstance(reply, NetworkError):
            self._step(waiting[0], None, reply)
        else:
            self._step(waiting[0], reply)
