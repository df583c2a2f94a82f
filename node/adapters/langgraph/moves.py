"""What a graph's nodes make of its state as moves of the agent's semantic state, each a step before it is applied."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tslg.node.adapters.calling import evidence_of
from tslg.node.adapters.langgraph.messages import messages_in, updates_in
from tslg.node.governing.candidate import Candidate
from tslg.node.governing.functions import CODE, UNSTATED
from tslg.node.governing.values import as_content

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate


class Moves:
    """Judges what nodes return.

    Args:
        gate: what judges and records.
        keys: what of the graph's state makes up the semantic state.
    """

    def __init__(self, gate: Gate, keys: frozenset[str]) -> None:
        self._gate = gate
        self._keys = keys
        # Branches at the same time move one state: each from where the one before it left it.
        self._lock = threading.Lock()

    def move(self, node: str, update: Any) -> None:
        """Judge and record what a node makes of the state.

        Raises:
            Rejected: it was not admitted, and is not applied. TslgError: it could not be recorded.
        """
        moved: dict[str, Any] = {}
        messages = []
        for values in updates_in(update):
            moved |= {key: as_content(value) for key, value in values.items() if key in self._keys}
            messages += messages_in(values)
        if not moved:
            return
        evidence = evidence_of(self._gate, (one.response_metadata for one in messages))
        with self._lock:
            now = self._gate.state
            candidate = Candidate(
                intent=node,
                model=CODE,
                version=UNSTATED,
                inputs={"state": dict(now.data or {})},
                output=moved,
                facts=moved,
                evidence=evidence or None,
                state={**(now.data or {}), **moved},
                upon=now.digest,
            )
            self._gate.submit(candidate).or_raise()
