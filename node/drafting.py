"""What an agent wants to record, and the end of the log to which it is appended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tslg.node.own_log import Blocked
from tslg.node.proving import Prove
from tslg.node.store.interface import LogState
from tslg.protocol.codec import Link
from tslg.protocol.log import Peaks
from tslg.protocol.record import Edge


@dataclass(frozen=True, slots=True)
class Draft:
    """What an agent wants to record; the ledger adds place, time, tree head, key and seal."""

    kind: str
    body: Mapping[str, Any]
    preds: Mapping[str, Sequence[Edge]]
    prove: Prove | None = None
    """Makes the proofs that it stays within confidential policies, once its place is known."""


@dataclass(slots=True)
class OwnLog:
    """The end of a log that this node writes, and the key it signs with."""

    owner: Link
    key: Link
    public: bytes
    secret: bytes = field(repr=False)
    size: int
    last: Link
    last_time: int
    peaks: Peaks
    prior: Link
    """The newest `state`, or the genesis: what later records derive from."""
    blocked: Blocked | None = None
    """Why nothing may be appended, if so."""

    def state(self) -> LogState:
        """Return the end of the log as the store keeps it."""
        return LogState(self.owner, self.size, self.last, self.last_time, self.peaks.copy())

    def copy(self) -> OwnLog:
        """Return the same end, which stays as it is."""
        return replace(self, peaks=self.peaks.copy())
