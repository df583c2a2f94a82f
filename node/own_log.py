"""Whether a node may append to a log of its own: not while it was seen further elsewhere, nor once it is forked.

A data directory that was restored from an old copy does not know what it wrote since. Writing on from there would put
second records at taken places. So what others hand over of an own log is held against it first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tslg.node.store.interface import LogState, Store
from tslg.protocol import codec
from tslg.protocol import record as records
from tslg.protocol.cid import Link, to_text
from tslg.protocol.errors import UsageError
from tslg.protocol.forks import Confession, confessions, covered
from tslg.protocol.log import root
from tslg.protocol.record import Record


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why nothing may be appended to a log, and what would mend it.

    Attributes:
        code: `TSLG-U-BEHIND` or `TSLG-U-FORKED`.
        detail, mend: one line each.
        places: positions at which the log is forked without a confession; only confessions of them may be appended.
    """

    code: str
    detail: str
    mend: str
    places: frozenset[int] = frozenset()

    def error(self, owner: Link) -> UsageError:
        """Return the error that a call which would append ends with."""
        return UsageError(self.detail, code=self.code, mend=self.mend, record=owner)

    def allows(self, owner: Link, kind: str, body: Mapping[str, Any]) -> bool:
        """Tell whether a record may be appended all the same: the confession of one of the forks."""
        return kind == "equivocation" and body.get("agent") == owner and body.get("seq") in self.places

    def after(self, seq: int) -> Blocked | None:
        """Return what is left once the fork at a place is confessed, and with it those that followed from it."""
        left = frozenset(place for place in self.places if place < seq)
        return Blocked(self.code, self.detail, self.mend, left) if left else None


def blocked(store: Store, state: LogState) -> Blocked | None:
    """Return why nothing may be appended to an own log whose end is `state`, None if it may."""
    if store.forks(state.owner):
        return _forked(store, state.owner)
    return _behind(store, state) or _rewritten(store, state) or _restored(store, state)


def close_restored(store: Store, owner: Link) -> None:
    """Close an own log whose store was restored from a copy, until it is known whether it went on since."""
    store.set_meta(_restored_key(owner), b"closed")


def reopen_restored(store: Store, owner: Link) -> None:
    """Open a log again that was closed by `close_restored`: what followed is here, or nothing followed."""
    store.set_meta(_restored_key(owner), b"")


def remember_ahead(store: Store, record: Record, seal: bytes) -> None:
    """Keep a sealed record of an own log that lies behind the log's end, if it is the furthest seen so far."""
    known = ahead(store, record.owner)
    if known is None or known.seq < record.seq:
        store.set_meta(_key(record.owner), codec.encode([record.id, record.data, seal]))


def ahead(store: Store, owner: Link) -> Record | None:
    """Return the furthest record of an own log that was seen elsewhere, None if none ever was."""
    kept = store.get_meta(_key(owner))
    if kept is None:
        return None
    id, data, _ = codec.decode(kept)
    return records.parse_as(id, data)


def _behind(store: Store, state: LogState) -> Blocked | None:
    seen, newest = ahead(store, state.owner), store.newest_seq(state.owner)
    sizes = [head.size for head in store.heads(state.owner)]
    # Records behind the end may have come into a store that others write too, or before the log was one's own.
    furthest = max([*sizes, 0 if seen is None else seen.seq + 1, 0 if newest is None else newest + 1])
    if furthest <= state.size:
        return None
    detail = f"this log holds {state.size} records here and was seen with {furthest} elsewhere: an old copy of it"
    return Blocked("TSLG-U-BEHIND", detail, "fetch the rest with `tslg agent catch-up NAME --peer ADDRESS`")


def _rewritten(store: Store, state: LogState) -> Blocked | None:
    """Hold heads and records seen elsewhere against the log: they may be of another history."""
    seen = ahead(store, state.owner)
    wrong = seen is not None and store.at(state.owner, seen.seq) != seen.id
    for head in store.heads(state.owner):
        if wrong:
            break
        wrong = root(store.leaves(state.owner, head.size)) != head.root
    if not wrong:
        return None
    detail = "another history of this log was seen elsewhere: it was written on from an old copy"
    return Blocked(
        "TSLG-U-FORKED", detail, "fetch what others hold of it with `tslg agent catch-up NAME --peer ADDRESS`"
    )


def _restored(store: Store, state: LogState) -> Blocked | None:
    if not store.get_meta(_restored_key(state.owner)):
        return None
    detail = f"restored from a copy with {state.size} records: whether the log went on since is not known here"
    mend = "ask who holds it: `tslg agent catch-up NAME --peer ADDRESS`; if nobody does: `tslg agent resume NAME`"
    return Blocked("TSLG-U-RESTORED", detail, mend)


def _forked(store: Store, owner: Link) -> Blocked | None:
    confessed = _confessed(store, owner)
    places = frozenset(fork.seq for fork in store.forks(owner) if not covered((owner, fork.seq), confessed))
    if not places:
        return None
    first = min(places)
    detail = f"this log is forked: two records were sealed for position {first}, and others hold the proof"
    mend = f"say so with `tslg record equivocation {to_text(owner)} --seq {first}`, then go on"
    return Blocked("TSLG-U-FORKED", detail, mend, places)


def _confessed(store: Store, owner: Link) -> list[Confession]:
    """Return what the log's author published itself of its forks."""
    found = store.get_many(store.by_kind("equivocation", owner, limit=1_000))
    return confessions(records.parse_as(id, entry.data) for id, entry in found.items())


def _restored_key(owner: Link) -> str:
    return f"restored/{to_text(owner)}"


def _key(owner: Link) -> str:
    return f"ahead/{to_text(owner)}"
