"""Confidential policies in a world in memory: openings that tests choose, and records with their proofs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from world import Author, World

from tslg.protocol import narrowings
from tslg.protocol.record import Record
from tslg.protocol.rules.confidential import terms
from tslg.protocol.zk import narrowing
from tslg.protocol.zk.commitments import Opening

VOCABULARY = ("delete", "read", "write")


def opening(*capabilities: str, secret: int = 1, **limits: int) -> Opening:
    return Opening(frozenset(capabilities), limits, bytes([secret]) * 32)


def commitments(what: Opening, vocabulary=VOCABULARY) -> dict[str, Any]:
    hidden = narrowing.hide(vocabulary, what)
    return {
        "vocabulary": list(vocabulary),
        "capabilities": b"".join(hidden.capabilities),
        "limits": dict(hidden.limits),
    }


def hidden_policy(what: Opening, **body: Any) -> dict[str, Any]:
    """The body of a policy that keeps what it allows to itself."""
    return {"capabilities": [], "limits": {}, "commitments": commitments(what)} | body


def proved(
    w: World,
    author: Author,
    kind: str,
    body: Mapping[str, Any],
    preds: Mapping[str, Any],
    openings: Mapping[Record, Opening],
    own: Opening | None = None,
) -> tuple[Record, bytes]:
    """Make the next record of a log with its proofs: its seal too, and the attachment in the world."""
    draft = w.make(author, kind, body, preds)
    w.time -= 10
    proofs = {}
    for policy, what in openings.items():
        binding = narrowings.binding(draft.agent, draft.seq, draft.prev, kind, draft.body, policy.id)
        wide_opening = what if "commitments" in policy.body else None
        proofs[policy.id] = narrowing.prove(
            terms(policy), terms(draft), wide_opening, own, binding=binding, entropy=bytes(32)
        )
    record = w.make(author, kind, {**body, "narrowing": narrowings.named(proofs)}, preds)
    w.attached[record.id] = narrowings.encode(proofs)
    return record, w.seal(record, author)
