"""What stands beside the ancestry of a walk: two records for one position, confessions, and prune records.

Normative text: docs/spec/equivocation.md, docs/spec/pruning.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from operator import itemgetter
from typing import Final

from tslg.protocol import cid, forks
from tslg.protocol.codec import Link
from tslg.protocol.opening import Opened
from tslg.protocol.outlook import Outlook
from tslg.protocol.proofs import PrunedProof
from tslg.protocol.pruned import committed
from tslg.protocol.record import Record
from tslg.protocol.report import ForkNote, Undetermined

_PLACE: Final = itemgetter(12, 4)
"""`owner` and `seq`, by index, which takes half as long as by name."""

UNSEALED: Final = ("TSLG-A-SEAL", "the seal does not hold under the agent's key")
"""The finding on a record whose seal does not hold."""


class Beside(Outlook, ABC):
    """The part of a walker that judges forks, and what is said to have been pruned."""

    @abstractmethod
    def _stands(self, record: Record) -> bool:
        """Whether a record was sealed by its log's owner, under a key of its own, as far as chains are at hand."""

    @abstractmethod
    def _breaks_no_rule(self, record: Record) -> bool:
        """Whether a record breaks none of the rules of one record and its predecessors."""

    @abstractmethod
    def seal_fits(self, id: Link, seal: bytes) -> bool:
        """Tell whether this seal of a record that is held would hold."""

    def _judge_forks(self) -> tuple[tuple[ForkNote, ...], list[Undetermined]]:
        """Judge what stands at one position of a log; say which logs are forked, and what is in doubt for that."""
        if len(set(map(_PLACE, self._held.values()))) < len(self._held):
            self._check_forks()
        elif not self._beside:
            return (), []
        return self._forks()

    def _check_forks(self) -> None:
        """Two records that one author sealed for one position convict it; neither is the right one."""
        shown = self.only_shown()
        relied_on = [record for record in self._held.values() if record.id not in shown]
        for (_, seq), ids in forks.shared_places(relied_on).items():
            sealed = [id for id in ids if self._stands(self._held[id])]
            for id in sealed if len(sealed) > 1 else ():
                other = next(one for one in sealed if one != id)
                detail = f"position {seq} of its log also holds {cid.to_text(other)}"
                self._findings.setdefault(id, ("TSLG-V-FORK", detail))

    def _forks(self) -> tuple[tuple[ForkNote, ...], list[Undetermined]]:
        """Say which logs that were met are forked, by what is held and what was handed over beside it."""
        beside = {id: one.record for id, one in self._beside.items()}
        shared = forks.shared_places([*self._held.values(), *beside.values()])
        said = forks.confessions(record for record in {**beside, **self._held}.values() if self._confesses(record))
        confessed = forks.confessed(shared, said)
        notes = []
        for (agent, seq), ids in shared.items():
            sealed = tuple(id for id in ids if self._stands(self._held.get(id) or beside[id]))
            if len(sealed) > 1:
                notes.append(ForkNote(agent, seq, sealed, (agent, seq) in confessed))
        ids = [*self._traversal.visited, *self._support]
        found = forks.outcome(notes, list(forks.relied_on(self._held, ids, self.only_shown())))
        for id, finding in found.findings.items():
            self._findings.setdefault(id, finding)
        return tuple(notes), list(found.undetermined)

    def _confesses(self, record: Record) -> bool:
        return record.kind == "equivocation" and self._stands(record)

    def _say_what_was_pruned(self) -> None:
        """Name the prune record that commits to a record which could not be had, where that is proved."""
        for id, proof in self._pruned.items():
            prune = self._held.get(proof.prune)
            if prune is None and proof.prune in self._beside:
                prune = self._beside[proof.prune].record
            if prune is None or not committed(prune, self.owner_of(id), proof) or not self._stands(prune):
                continue
            if self._breaks_no_rule(prune):
                self._unavailable[id] = f"pruned: by {cid.to_text(prune.id)}"

    def _forget_what_is_only_shown(self) -> None:
        """Nothing rests on what is only shown as proof of equivocation, so that nothing wrong with it counts."""
        cited = {edge.cid for record in self._accusations for edge in record.preds.get("evidence", ())}
        for id in self.only_shown():
            # What is not what its id says was altered on its way here, and the proof itself must be had.
            if id in self._held:
                if self._findings.pop(id, None) is not None:
                    self._excused.add(id)
            elif id not in cited:
                self._unavailable.pop(id, None)

    def lacking(self) -> list[Link]:
        """Return what the walk needed and could not have, so that sources can say whether it was pruned."""
        return sorted(self._unavailable)

    def pruned_proofs(self) -> list[PrunedProof]:
        """Return the proofs that were taken, for a bundle."""
        return list(self._pruned.values())

    def storable(self) -> list[Opened]:
        """Return what may be stored of a finished walk: as `opened`, but for records that nobody should hand on.

        What is only shown as proof of equivocation may break any rule, and the seal of what a newer record of its log
        vouches for by hashing was not looked at: these are held against their own seals, and excused from nothing.
        """
        doubtful = (self.only_shown() | self._by_head) - self._excused
        refused = self._excused | self._unjudged
        refused |= {id for id in doubtful if id in self._held and not self.seal_fits(id, self._seals[id])}
        return [one for one in self.opened() if one.record.id not in refused]

    def unsealed(self) -> list[Link]:
        """Return, of a finished walk, the records that are found invalid for nothing but their seals."""
        return [id for id, (code, _) in self._findings.items() if code == UNSEALED[0] and id in self._held]
