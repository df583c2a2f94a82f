"""How governed steps and their policies get into an agent's log; `node.governing` decides what they say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from tslg.node.authoring import Author, References
from tslg.node.drafting import Draft
from tslg.node.semantic import Move
from tslg.protocol.codec import Link
from tslg.protocol.governing.state import Semantic
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Edge, Record

W = TypeVar("W")
_lock = threading.Lock()


class Stepping(Author):
    """The part of an agent that a gate writes through."""

    _writer: Any = None

    def _step(
        self,
        kind: str,
        body: Mapping[str, Any],
        move: Move,
        *,
        policy: References,
        evidence: References = None,
        delegation: References = None,
        cited: Mapping[str, References] = MappingProxyType({}),
    ) -> Record:
        """Append a governed step; the ledger adds what it was taken in.

        Raises:
            StaleError: it was worked out from a state in which the agent is not any more; and as `Ledger.append`.
        """
        self._ledger.look_around()
        named = {"policy": policy, "evidence": evidence, "delegation": delegation, **cited}
        preds: dict[str, Sequence[Edge]] = {
            name: edges
            for name, references in named.items()
            if references is not None and (edges := self._edges(references))
        }
        self._refuse_withdrawn(preds)
        proofs = self._proofs(kind, body, preds["policy"])
        return self._ledger.append(self.id, Draft(kind, body, preds, proofs, move=move))

    def _step_writer(self, make: Callable[[Any], W]) -> W:
        """Return what all gates of this agent write through, made on first use."""
        with _lock:
            if self._writer is None:
                self._writer = make(self)
            writer: W = self._writer
            return writer

    def _semantic(self) -> Semantic:
        """Return where the agent's semantic state stands."""
        return self._ledger.semantic_state(self.id)

    def _manifest(self) -> Manifest:
        """Return the manifest version in force."""
        manifest = self._ledger.context.manifest(self._ledger.manifest)
        assert manifest is not None
        return manifest

    def _policy_record(
        self,
        body: Mapping[str, Any],
        *,
        under: References = None,
        amends: Link | None = None,
        delegation: References = None,
    ) -> Record:
        """Record a policy whose body is given whole. Raises Refusal."""
        return self._append("policy", body, policy=under, delegation=delegation, cited={"amends": amends})
