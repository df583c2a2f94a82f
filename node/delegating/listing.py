"""The delegations of a data directory and what is known of each, also while another process runs its node."""

from __future__ import annotations

from typing import Final, NamedTuple

from tslg.node.delegating.kept import Kept
from tslg.node.store.interface import Store
from tslg.protocol import record as records
from tslg.protocol.codec import Link
from tslg.protocol.delegate import Taken
from tslg.protocol.delegator import Sent
from tslg.protocol.record import Record

MOST: Final = 1_000
"""Delegations that are listed, the newest."""


class Listed(NamedTuple):
    """One delegation, and the entry of the side that this node is on: `out` for handed out, `in` for taken on."""

    record: Record
    side: str
    entry: Sent | Taken


def listed(store: Store, delegation: Link | None = None) -> list[Listed]:
    """Return the newest delegations that this node handed out or took on, or the one; both sides if it is on both."""
    out, taken = Kept(store, "outbox", Sent.from_bytes), Kept(store, "inbox", Taken.from_bytes)
    found = []
    for id in store.by_kind("delegation", limit=MOST) if delegation is None else [delegation]:
        entry = store.get(id)
        for side, kept in (("out", out.get(id)), ("in", taken.get(id))):
            if kept is not None and entry is not None:
                found.append(Listed(records.parse_as(id, entry.data), side, kept))
    return found
