"""A node's own store as one reader may read it: the source of bundles that are made for somebody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tslg.node.access import WITHHELD, Gate, bare
from tslg.node.sources import NewestRecord, StoreSource
from tslg.node.store.interface import Store
from tslg.protocol.codec import Link
from tslg.protocol.exchange import Pair
from tslg.protocol.logproof import Needs
from tslg.protocol.proofs import ConsistencyProof, InclusionProof


class GatedSource(StoreSource):
    """What a gate lets through of a store.

    Args:
        store: the store.
        gate: what the reader gets.
    """

    def __init__(self, store: Store, gate: Gate) -> None:
        super().__init__(store)
        self._gate = gate
        self._withheld: set[Link] = set()

    def ahead(self, target: Link, depth: int | None) -> Iterable[tuple[Link, Pair]]:
        """See `StoreSource`; what is withheld is left out, and so is what lies behind it unless something else does."""
        return self._let(super().ahead(target, depth))

    def pairs(self, ids: Sequence[Link]) -> Mapping[Link, Pair]:
        """Return those of the records that are held and may be read."""
        held = super().pairs(ids)
        let = dict(self._let(held.items()))
        self._withheld.update(held.keys() - let.keys())
        return let

    def reason(self, id: Link) -> str:
        """Return `withheld` for what is held."""
        return "withheld" if id in self._withheld else "absent"

    def newest(self, agent: Link) -> NewestRecord | None:
        """Return the newest record of a log that is held whole, if it may be read."""
        newest = super().newest(agent)
        if newest is None:
            return None
        cut = self._gate.cut(newest.claim.record, newest.pair)
        return None if cut is WITHHELD else newest._replace(pair=cut)

    def proofs(self, agent: Link, needs: Needs) -> tuple[list[InclusionProof], list[ConsistencyProof]]:
        """Make proofs of what was asked for, which is what was handed over, and of nothing else."""
        inclusion, consistency = super().proofs(agent, needs)
        return [proof for proof in inclusion if proof.record in needs.inclusion], consistency

    def whole_log(self, agent: Link, size: int) -> Iterable[tuple[Link, Pair]]:
        """Return the held records of a log below `size` that may be read."""
        return self._let(super().whole_log(agent, size))

    def beside(self, agent: Link) -> Iterable[tuple[Link, Pair]]:
        """Return what is kept as proof of forks, which anybody may see, without what is attached to it."""
        return [(id, bare(self._gate, id, pair)) for id, pair in super().beside(agent)]

    def _let(self, items: Iterable[tuple[Link, Pair]]) -> Iterable[tuple[Link, Pair]]:
        for id, pair in items:
            cut = self._gate.cut(id, pair)
            if cut is not WITHHELD:
                yield id, cut
