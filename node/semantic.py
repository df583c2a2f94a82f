"""Semantic state in an own log: where it stands, and drafts that take their place in its order.

What a step was taken in is known only when the step gets its position, since other threads append too. So a draft says
what it moves, and the ledger fills in the rest while nobody else can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tslg.node.store.interface import Store
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.governing.state import Semantic
from tslg.protocol.record import Record
from tslg.protocol.recording import STEPS

_FIRST_LOOK = 64


class StaleError(TslgError):
    """A step that was worked out from a semantic state which is not the agent's any more. Nothing was recorded."""

    code = "TSLG-G-STALE"


@dataclass(frozen=True, slots=True)
class Move:
    """What a governed step does to the semantic state.

    Attributes:
        after: the digest of the state that it moves the agent to; None if it leaves the state.
        upon: the digest of the state that the move was worked out from; None for whichever it is.
        undoes: the state that it takes back: elsewhere it leaves the state. None if it takes nothing back.
        content: the state that it moves the agent to, as DAG-CBOR; None where that is not at hand.
        note: a name and a value that the store keeps in the transaction of the record; None for nothing.
        built: the record made of it, once there is one: whoever is not told whether it was stored can look.
    """

    after: bytes | None = None
    upon: bytes | None = None
    undoes: bytes | None = None
    content: bytes | None = None
    note: tuple[str, bytes] | None = None
    built: list[Record] = field(default_factory=list)

    def leads_to(self, at: Semantic, owner: Link) -> bytes | None:
        """Return the digest of the state to which it moves an agent that is in `at`, None if to no other.

        Raises:
            StaleError: it was worked out from another state.
        """
        if self.upon is not None and self.upon != at.digest:
            raise StaleError(
                f"worked out from state {self.upon.hex()[:12]}, and the agent is in {at.digest.hex()[:12]}",
                mend="read the gate's state again and work the step out anew",
                record=owner,
            )
        return self.after if self.undoes in (None, at.digest) else None


def newest_state(store: Store, owner: Link) -> Link:
    """Return the newest `state` record of a log, or its genesis: what its later records derive from."""
    states = store.by_kind("state", owner, limit=1)
    return states[0] if states else owner


def content_key(owner: Link) -> str:
    """Return the name under which the store keeps an agent's semantic state itself."""
    return f"semantic/{to_text(owner)}"


def read(store: Store, owner: Link, find: Callable[[Link], Record | None]) -> Semantic:
    """Return where the semantic state of a log stands, read from its newest governed step."""
    newest = _newest_step(store, owner, find)
    if newest is None:
        return Semantic()
    if "after" in newest.body:
        return Semantic().after(newest)
    for edge in newest.preds.get("prior", ()):
        mover = find(edge.cid)
        if mover is not None and mover.kind in STEPS and mover.body.get("after") == newest.body["before"]:
            return Semantic().after(mover)
    return Semantic(newest.body["before"])


def _newest_step(store: Store, owner: Link, find: Callable[[Link], Record | None]) -> Record | None:
    """Return the newest governed step that states what it was taken in."""
    found: list[Record] = []
    for kind in STEPS:
        limit = _FIRST_LOOK
        while True:
            ids = store.by_kind(kind, owner, limit=limit)
            steps = (find(id) for id in ids)
            step = next((one for one in steps if one is not None and "before" in one.body), None)
            if step is not None:
                found.append(step)
            if step is not None or len(ids) < limit:
                break
            limit *= 8
    return max(found, key=lambda one: one.seq, default=None)
