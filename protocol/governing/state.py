"""The semantic state of an agent, as its log tells it: what the newest record that moved it says.

A record moves the state if it has `after`. Every governed step states in `before` what it was taken in, and cites the
record that moved the agent there as a `prior`. Normative: docs/spec/inference.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tslg.protocol import codec
from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.recording import STEPS


def state_digest(state: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 digest (32 bytes) of a semantic state's DAG-CBOR. Raises CodecError."""
    return hashlib.sha256(codec.encode(dict(state))).digest()


ANCHORING: Final = "anchoring"
"""The stage of a step that was admitted and could not be recorded, or not be anchored as the manifest asks."""
START: Final = state_digest({})
"""The state that every agent starts in: the empty map."""


class Semantic(NamedTuple):
    """Where an agent's semantic state stands.

    Attributes:
        digest: of the state (32 bytes).
        mover: the record that moved the agent there; None at the start.
    """

    digest: bytes = START
    mover: Link | None = None

    def after(self, record: Record) -> Semantic:
        """Return where the state stands after a further record of the log."""
        moved = record.body.get("after") if record.kind in STEPS else None
        return self if moved is None else Semantic(moved, record.id)
