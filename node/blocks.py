"""Single records as blocks for clients that know nothing of lineage but CIDs."""

from __future__ import annotations

import logging

from tslg.node.store.interface import Store
from tslg.protocol.cid import Link, is_record_id
from tslg.protocol.errors import StoreError

_log = logging.getLogger(__name__)


class RecordBlocks:
    """The records of a store by binary CID: their bytes alone, without seals and whatever is attached."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, id: bytes, peer: str) -> bytes | None:
        """Return the bytes of a record that is held; None for anything else, and if the store cannot be read."""
        if not is_record_id(id):
            return None
        try:
            entry = self._store.get(Link(id))
        except StoreError as error:
            _log.error("a block could not be read: %s", error)
            return None
        return None if entry is None else entry.data
