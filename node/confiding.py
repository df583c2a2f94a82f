"""What an agent does with confidential policies beside recording them: it hands over and takes what opens them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tslg.node.authoring import Author, Reference, References, listed, reference_id
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record

if TYPE_CHECKING:
    from tslg.protocol.zk.commitments import Opening


class Confiding(Author):
    """The part of an agent that keeps to itself what policies allow."""

    def opening(self, policy: Reference) -> Opening:
        """Return what opens a confidential policy, for whoever shall act under it or narrow it.

        Raises:
            UsageError: it is no confidential policy that this node holds, or its opening is not held.
        """
        return self._prover.opening(self._confidential(policy).body)

    def take_opening(self, policy: Reference, opening: Opening) -> None:
        """Keep what opens a confidential policy that was granted. Raises UsageError if it does not open it."""
        self._prover.openings.keep(self._confidential(policy).body["commitments"], opening)

    def _confidential(self, policy: Reference) -> Record:
        id = reference_id(policy)
        record = self._ledger.context.record(id)
        if record is None or "commitments" not in record.body:
            raise UsageError("that is no confidential policy held here", mend="fetch and verify it first", record=id)
        return record

    def _vocabulary(self, under: References) -> Iterable[str]:
        for reference in listed(under):
            record = self._ledger.context.record(reference_id(reference))
            if record is not None and "commitments" in record.body:
                words: list[str] = record.body["commitments"]["vocabulary"]
                return words
        raise UsageError("a confidential policy without a vocabulary", mend="name all capabilities there are")
