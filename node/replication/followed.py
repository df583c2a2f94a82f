"""One log being followed, as its driver sees it: the state machine, and what was found out about the log beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tslg.node.admitting import Lacking
from tslg.node.net.seam import peer_id_of
from tslg.node.replication.report import BEHIND, COMPLETE, FORKED, INVALID, LogReport
from tslg.node.store.interface import Store
from tslg.protocol import codec
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.limits import Limits
from tslg.protocol.opening import Opened
from tslg.protocol.record import Record, parse_as
from tslg.protocol.replication import Follower

REASONS: Final = 20
"""Reasons kept of one log: nobody mends more at a time."""


class Followed:
    """One log.

    Args:
        owner: whose log it is.
        held: how many of its records are stored.
        patient: as for `Follower`.
        limits: as for `Follower`.

    Attributes:
        follower: says what to ask of whom, and keeps what waits.
        heads: by peer, the newest record that it showed.
        lacking: what the next record cites and is not held, for which the log waits since `waiting_ms`.
        retry: whether something came that the log may have waited for.
        closing: whether that is being asked for.
        invalid: which rule a record breaks that its author sealed.
        forked: whether its author sealed two histories.
        reasons: what else keeps it from being complete.
    """

    def __init__(self, owner: Link, held: int, *, patient: bool, limits: Limits) -> None:
        self.owner = owner
        self.before = held
        self.follower: Follower[Opened] = Follower(held, patient=patient, limits=limits)
        self.heads: dict[str, Opened] = {}
        self.lacking: tuple[Lacking, ...] = ()
        self.waiting_ms = 0
        self.retry = False
        self.closing = False
        self.invalid: str | None = None
        self.forked = False
        self.reasons: list[str] = []

    @property
    def blocked(self) -> bool:
        """Whether it waits for what its next record cites."""
        return bool(self.lacking) and not self.retry

    def leave(self, peer: str, why: str) -> None:
        """Ask a peer no more, under whatever address it is known."""
        gone = peer_id_of(peer)
        for known in [*self.follower.providers()]:
            if peer_id_of(known) == gone:
                self.follower.leave(known, why)
        for known in [known for known in self.heads if peer_id_of(known) == gone]:
            del self.heads[known]

    def withheld(self, peer: str, spans: Iterable[tuple[int, int]]) -> None:
        """Take note of positions that a peer keeps to itself; of many, the first few."""
        for start, stop in spans:
            what = f"position {start}" if stop == start + 1 else f"positions {start} to {stop - 1}"
            reason = f"{peer} withholds {what}"
            if len(self.reasons) < REASONS and reason not in self.reasons:
                self.reasons.append(reason)

    def report(self, claimed: int, *, heard: bool = True) -> LogReport:
        """Return what came of it.

        Args:
            claimed: how many records the log has at least.
            heard: whether any peer was heard that could know of more.
        """
        follower = self.follower
        size = follower.held
        reasons = list(dict.fromkeys(self.reasons))
        if self.invalid is not None:
            state = INVALID
            reasons.insert(0, f"its record at position {size} breaks {self.invalid}")
        elif self.forked:
            state = FORKED
            reasons.insert(0, "its author sealed two histories; both are kept as proof")
        elif not heard:
            state = BEHIND
            reasons.insert(0, "nobody could be asked for more")
        elif size < claimed or (size == 0 and not claimed) or follower.stopped is not None:
            state = BEHIND
            if follower.stopped is not None:
                reasons.append(follower.stopped)
            lacks = f"{claimed - size} of its {claimed} records could not be had" if claimed else "nobody has it whole"
            reasons.insert(0, lacks)
            reasons += [f"{peer}: {why}" for peer, why in follower.refusals().items()]
        else:
            state = COMPLETE
        return LogReport(self.owner, self.before, size, max(claimed, size), state, tuple(reasons), follower.served())


def keep_evidence(store: Store, record: Record, seal: bytes, refusal: Refusal) -> None:
    """Keep a record that its author sealed and no admission lets in, in place of one that was kept before."""
    store.set_meta(_key(record.owner), codec.encode([record.id, record.data, seal, refusal.code, refusal.detail]))


def evidence(store: Store, owner: Link) -> tuple[Record, bytes, str, str] | None:
    """Return the record that ends a log although its author goes on: record, seal, code of the rule, and detail.

    None if there is none, or if the log has grown past it since.
    """
    kept = store.get_meta(_key(owner))
    if kept is None:
        return None
    id, data, seal, code, detail = codec.decode(kept)
    record = parse_as(id, data)
    state = store.log_state(owner)
    if state is not None and record.seq < state.size:
        return None
    return record, seal, code, detail


def _key(owner: Link) -> str:
    return f"refused/{to_text(owner)}"
