"""Single records as blocks for clients that know nothing of lineage but CIDs."""

from __future__ import annotations

import logging

from tslg.node.access import WITHHELD, Gatekeeper
from tslg.node.store.interface import Store
from tslg.protocol.cid import Link, is_record_id
from tslg.protocol.errors import StoreError

_log = logging.getLogger(__name__)


class RecordBlocks:
    """The records of a store by binary CID: their bytes alone, without seals and whatever is attached.

    Args:
        store: where they are.
        keeper: decides who gets which; None where everybody gets all.
    """

    def __init__(self, store: Store, keeper: Gatekeeper | None = None) -> None:
        self._store = store
        self._keeper = keeper

    def __call__(self, id: bytes, peer: str) -> bytes | None:
        """Return a record's bytes; None for one that is not held or is withheld, and if the store cannot be read."""
        if not is_record_id(id):
            return None
        try:
            entry = self._store.get(Link(id))
            if entry is not None and self._keeper is not None and self._keeper.cut(Link(id), entry, peer) is WITHHELD:
                return None
        except StoreError as error:
            _log.error("a block could not be read: %s", error)
            return None
        return None if entry is None else entry.data
