"""Redactions of an agent's own records: recorded first, then carried out wherever this node keeps what they name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tslg.node.authoring import Author, Reference, References, reference_id
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record


class Destroying(Author):
    """What an agent can have destroyed."""

    def redact(
        self,
        target: Reference,
        *,
        fields: Iterable[str] = (),
        blobs: Iterable[bytes] = (),
        reason: str,
        policy: References = None,
    ) -> Record:
        """Record that fields and blobs of a record are destroyed, and destroy them wherever this node keeps them.

        What was handed over before is out of reach. Not for use inside a batch.

        Args:
            target: the record; its id, its seal and all proofs stay valid.
            fields: fields that it commits to.
            blobs: SHA-256 digests of blobs in the node's store.
            reason: why, for everybody to read.
            policy: under which policy; the agent's own by default.

        Raises:
            Refusal: the manifest does not let this agent redact that. StoreError: `TSLG-D-BUSY`: repeat it.
        """
        if self._ledger.batching:
            raise UsageError("nothing is redacted inside a batch", mend="redact it once the batch is durable")
        id = reference_id(target)
        body = {"target": id, "fields": sorted(set(fields)), "blobs": sorted(set(blobs)), "reason": reason}
        made = self._append("redaction", body, policy=policy, evidence=id, authorised=True)
        self._ledger.carry_out([made])
        return made

    def redact_plaintexts(
        self, digests: Mapping[Link, Iterable[bytes]], *, reason: str, policy: References = None
    ) -> list[Record]:
        """Record of several records that plaintexts or blobs are destroyed, durable together, and destroy them.

        Args:
            digests: by record, the SHA-256 digests of what is destroyed.
            reason: why, for everybody to read.
            policy: under which policy; the agent's own by default.

        Raises:
            As `redact`; nothing was recorded.
        """
        if self._ledger.batching:
            raise UsageError("nothing is redacted inside a batch", mend="redact it once the batch is durable")
        made = []
        with self._ledger.batch(self.id):
            for id, blobs in digests.items():
                body = {"target": id, "fields": [], "blobs": sorted(set(blobs)), "reason": reason}
                made.append(self._append("redaction", body, policy=policy, evidence=id, authorised=True))
        self._ledger.carry_out(made)
        return made
