"""What a walk hands on once it has gathered it: records and proofs, for a store, a bundle or another reader."""

from __future__ import annotations

from tslg.protocol import logproof
from tslg.protocol.gathering import Gathering
from tslg.protocol.opening import Opened
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof, PrunedProof
from tslg.protocol.record import Record


class HandingOn(Gathering):
    """The part of a walker that gives out again what it was fed."""

    def opened(self) -> list[Opened]:
        """Return everything that was handed in and breaks no rule, chains included, for a store or a bundle."""
        return [
            Opened(record, self._seals[id], self._sealed.get(id), self._attachments.get(id))
            for id, record in self._held.items()
            if id not in self._findings
        ]

    def beside(self) -> list[Opened]:
        """Return the records that stand beside the ancestry (`supply_beside`)."""
        return list(self._beside.values())

    def held(self) -> list[Record]:
        """Return every record that the walk holds, whatever became of it."""
        return list(self._held.values())

    def proofs(self) -> tuple[list[HeadClaim], list[InclusionProof], list[ConsistencyProof]]:
        """Return the heads and log proofs that tie together what the walk holds, for a bundle."""
        heads, inclusion, consistency = [], [], []
        for agent, records in self._by_agent().items():
            spans = self._consistency.get(agent, {})
            check = logproof.check(records, self._inclusion, spans)
            if agent in self._ends and check.end is not None:
                heads.append(HeadClaim(agent, self._ends[agent][0], check.end.size, check.end.root))
            sealed = self._without_witnesses(records)
            needed = self._needs(agent, sealed)
            if len(sealed) < len(records) == 1 + max(map(logproof.POSITION, records)):
                # Neighbours that stood in for proofs are not handed on, but the proofs can be made from them.
                made = logproof.make(agent, records, needed)
                inclusion += made[0]
                consistency += made[1]
                continue
            sizes = {record.id: record.seq + 1 for record in sealed}
            for id in needed.inclusion:
                if id in self._inclusion:
                    inclusion.append(InclusionProof(id, sizes[id], tuple(self._inclusion[id])))
            for span in needed.consistency:
                if span in spans:
                    consistency.append(ConsistencyProof(agent, *span, tuple(spans[span])))
        return heads, inclusion, consistency

    def pruned_proofs(self) -> list[PrunedProof]:
        """Return the proofs that were taken, for a bundle."""
        return list(self._pruned.values())
