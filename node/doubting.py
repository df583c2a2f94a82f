"""Before a record is found invalid for its seal: whether somebody else has a seal for it that holds.

An id does not cover the seal beside the record, so whoever hands the record over can spoil it. What one peer spoiled is
no finding against the record's author, but against that peer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from tslg.node.net.seam import peer_id_of
from tslg.node.pool import OWN, Pool
from tslg.node.store.interface import Store
from tslg.protocol import cid
from tslg.protocol.beside import UNSEALED
from tslg.protocol.codec import Link
from tslg.protocol.limits import Limits
from tslg.protocol.report import Report, Undetermined
from tslg.protocol.walker import Walker

SPOILED: Final = "absent: whoever handed it over spoils seals"

_log = logging.getLogger(__name__)

Fetch = Callable[[str, Sequence[Link]], Awaitable[None]]
"""Asks a peer for records alone, which go into the pool."""


class Doubts:
    """What an audit has found out about seals.

    Attributes:
        better: seals that hold, of records whose first seal did not.
        spoilers: addresses of the peers that handed over the others.
    """

    def __init__(self) -> None:
        self.better: dict[Link, bytes] = {}
        self.spoilers: set[str] = set()

    async def look(
        self, walker: Walker, pool: Pool, peers: Iterable[str], store: Store | None, fetch: Fetch, limits: Limits
    ) -> bool:
        """Look for other seals of what a finished walk found unsealed; tell whether there are any that hold."""
        suspects = [id for id in walker.unsealed() if id not in self.better][: limits.walk_roots]
        if suspects and store is not None:
            pool.compare((id, entry[1]) for id, entry in store.get_many(suspects).items())
        left = self._left(walker, pool, suspects)
        for peer in list(peers)[: limits.seal_witnesses]:
            asked = [id for id in left if pool.sources.get(id) != peer]
            if asked:
                await fetch(peer, asked)
                left = self._left(walker, pool, left)
        return len(left) < len(suspects)

    def _left(self, walker: Walker, pool: Pool, ids: Sequence[Link]) -> list[Link]:
        """Take what the pool has of other seals; return of what there is still none that holds."""
        left = []
        for id in ids:
            other = pool.seconds.pop(id, None)
            if other is None or not walker.seal_fits(id, other):
                left.append(id)
                continue
            self.better[id] = other
            source = pool.sources.get(id, OWN)
            if source not in (OWN, *self.spoilers):
                self.spoilers.add(source)
                peer = peer_id_of(source)
                said = {"peer": peer, "record": cid.to_text(id)}
                _log.warning("peer %s handed over a spoiled seal of %s", peer, cid.to_text(id), extra=said)
        return left

    def lifted(self, report: Report, pool: Pool) -> Report:
        """Return the report without findings that rest on nothing but the word of peers that spoil seals."""
        mine = [
            one for one in report.findings if one.code == UNSEALED[0] and pool.sources.get(one.record) in self.spoilers
        ]
        if not mine:
            return report
        doubts = {Undetermined(one.record, SPOILED) for one in mine}
        return replace(
            report,
            findings=tuple(one for one in report.findings if one not in mine),
            undetermined=tuple(sorted({*report.undetermined, *doubts})),
        )
