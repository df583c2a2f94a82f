"""Anchoring of a node's own logs: having their heads cosigned when the manifest asks for it, and failing closed.

Appends are durable before they are anchored: a record without cosignatures is on disk, and its author is told so. What
is closed is the log: while it is ahead of what witnesses cosigned, further than its manifest allows, nothing is
appended.
Normative text: docs/spec/anchoring.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

from tslg.node import kept_checkpoints
from tslg.node.checkpoints import introduction_of
from tslg.node.store.interface import Store
from tslg.protocol import anchoring
from tslg.protocol.anchoring import Anchoring
from tslg.protocol.checkpoint import Signed
from tslg.protocol.codec import Link
from tslg.protocol.cosignature import Policy
from tslg.protocol.errors import AnchoringError, NetworkError, UsageError
from tslg.protocol.log import Tree
from tslg.protocol.record import parse_as

_READ_AT_ONCE: Final = 1_000
"""Up to so many new leaves are read as records; of more, the ids alone."""


class Asker(Protocol):
    """Whoever gets cosignatures: `witness.client.Witnesses`, or a test."""

    def gather(
        self, signed: Signed, policy: Policy, prove: Callable[[int, int], list[bytes]], shown: bytes | None = None
    ) -> Signed:
        """Return the checkpoint with a quorum's cosignatures. Raises NetworkError."""

    def close(self) -> None:
        """Let go of what it holds."""


class Anchorer:
    """Anchors the logs of a node. Safe to use from several threads.

    Args:
        store: the node's.
        policy: returns what the manifest in force asks for.
        sign: signs the present head of an own log.
        ask: returns who gets cosignatures; called when there is something to cosign.
        clock: ms since 1970 UTC.
    """

    def __init__(
        self,
        store: Store,
        policy: Callable[[], Anchoring | None],
        sign: Callable[[Link], Signed],
        ask: Callable[[], Asker],
        clock: Callable[[], int],
    ) -> None:
        self._store = store
        self._policy = policy
        self._sign = sign
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: dict[Link, threading.Lock] = {}
        self._trees: dict[Link, Tree] = {}
        self._anchored: dict[Link, tuple[Anchoring, int]] = {}

    def anchored(self, agent: Link) -> int:
        """Return how many records of a log a kept checkpoint covers under the manifest in force."""
        asked = self._policy()
        if asked is None:
            return 0
        known = self._anchored.get(agent)
        if known is not None and known[0] == asked:
            return known[1]
        signed = kept_checkpoints.kept(self._store, agent)
        met = signed is not None and anchoring.vouched(signed, asked, self._clock()) is not None
        size = signed.checkpoint.size if signed is not None and met else 0
        self._anchored[agent] = (asked, size)
        return size

    def behind(self, agent: Link) -> int:
        """Return how many of the newest records of a log are not covered; 0 where the manifest asks for nothing."""
        if self._policy() is None:
            return 0
        state = self._store.log_state(agent)
        return 0 if state is None else max(0, state.size - self.anchored(agent))

    def due(self, agent: Link) -> bool:
        """Tell whether a log must be anchored before it may grow."""
        asked = self._policy()
        behind = self.behind(agent)
        if asked is None or behind == 0:
            return False
        if asked.cadence != anchoring.EPOCH:
            return True
        oldest = self._store.at(agent, self.anchored(agent))
        entry = None if oldest is None else self._store.get(oldest)
        if oldest is None or entry is None:
            return True
        return self._clock() >= parse_as(oldest, entry.data).time + asked.epoch_ms

    def enter(self, agent: Link, *, batch: bool = False) -> None:
        """Let a log grow, or refuse it: first it must catch up with what it is ahead of its anchoring.

        Args:
            agent: the log's agent.
            batch: whether several records are to become durable at once.

        Raises:
            AnchoringError: `TSLG-N-UNANCHORED` if the log is ahead and cannot catch up; nothing was appended.
            UsageError: `TSLG-U-CADENCE` for a batch where the manifest asks for a checkpoint of every record.
        """
        asked = self._policy()
        if asked is None:
            return
        if batch and asked.cadence == anchoring.RECORD:
            raise UsageError(
                "the manifest in force asks for a checkpoint of every record",
                code="TSLG-U-CADENCE",
                mend="append one by one",
            )
        # A log's second record may follow its genesis at once, so that an agent can be made while no witness answers.
        if self.due(agent) and self._size(agent) > 1:
            self._catch_up(agent, "nothing was appended")

    def settle(self, agent: Link) -> None:
        """Anchor what a log has grown by, unless the manifest leaves it until an epoch ends.

        Raises:
            AnchoringError: `TSLG-N-UNANCHORED` if that was not possible. What was appended is on disk.
        """
        asked = self._policy()
        if asked is not None and asked.cadence != anchoring.EPOCH and self.behind(agent):
            self._catch_up(agent, "what was just recorded is on disk")

    def anchor(self, agent: Link) -> Signed | None:
        """Have the present head of an own log cosigned by a quorum, and keep that; None if the manifest asks for none.

        Raises:
            NetworkError: `TSLG-N-QUORUM` if too few witnesses cosigned.
        """
        asked = self._policy()
        if asked is None:
            return None
        with self._lock:
            lock = self._locks.setdefault(agent, threading.Lock())
        with lock:
            if self.behind(agent) == 0:
                return kept_checkpoints.kept(self._store, agent)
            signed = self._sign(agent)
            tree = self._tree(agent, signed.checkpoint.size)
            cosigned = self._ask().gather(
                signed, asked.policy, tree.consistency_proof, introduction_of(self._store, signed)
            )
            if anchoring.vouched(cosigned, asked, self._clock()) is None:
                raise NetworkError("too few cosignatures", code="TSLG-N-QUORUM", mend="anchor again")
            kept_checkpoints.keep(self._store, cosigned)
            self._anchored[agent] = (asked, signed.checkpoint.size)
            return cosigned

    def _catch_up(self, agent: Link, what: str) -> None:
        try:
            self.anchor(agent)
        except NetworkError as error:
            raise AnchoringError(
                f"{self.behind(agent)} of the log's records are not anchored ({what}): {error.detail}",
                mend="see that the witnesses answer, then `tslg agent anchor`; nothing is appended before",
                record=agent,
            ) from error

    def _size(self, agent: Link) -> int:
        state = self._store.log_state(agent)
        return 0 if state is None else state.size

    def _tree(self, agent: Link, size: int) -> Tree:
        """Return the tree over a log, which grows with it; larger than `size` if the log grew meanwhile."""
        tree = self._trees.setdefault(agent, Tree())
        if tree.size < size <= tree.size + _READ_AT_ONCE:
            for id, _ in self._store.log_range(agent, tree.size, size):
                tree.append(id)
        elif tree.size < size:
            for leaf in self._store.leaves(agent, size)[tree.size :]:
                tree.append(leaf)
        return tree
