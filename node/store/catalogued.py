"""The half of a sharded store that is no records: heads, values, blobs and proofs of forks, all in the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tslg.node.store.interface import Fork, SeenHead, Store, Verified
from tslg.protocol.cid import Link
from tslg.protocol.record import Record


class Catalogued(Store):
    """A store that keeps in another one, the catalog, all but the records, which are for the subclass to keep."""

    def __init__(self, catalog: Store) -> None:
        self._catalog = catalog

    def get_meta(self, key: str) -> bytes | None:
        """See `Store.get_meta`."""
        return self._catalog.get_meta(key)

    def set_meta(self, key: str, value: bytes) -> None:
        """See `Store.set_meta`."""
        self._catalog.set_meta(key, value)

    def record_head(self, owner: Link, size: int, root: bytes, record: Link | None, source: str, seen_ms: int) -> None:
        """See `Store.record_head`."""
        self._catalog.record_head(owner, size, root, record, source, seen_ms)

    def heads(self, owner: Link) -> list[SeenHead]:
        """See `Store.heads`."""
        return self._catalog.heads(owner)

    def keep_rivals(self, items: Sequence[tuple[Record, bytes]]) -> None:
        """See `Store.keep_rivals`."""
        self._catalog.keep_rivals(items)

    def forks(self, owner: Link | None = None) -> list[Fork]:
        """See `Store.forks`."""
        return self._catalog.forks(owner)

    def set_verified(self, cid: Link, edges: int | None) -> None:
        """See `Store.set_verified`."""
        self._catalog.set_verified(cid, edges)

    def verified(self, cid: Link) -> Verified | None:
        """See `Store.verified`."""
        return self._catalog.verified(cid)

    def put_blob(self, data: bytes) -> bytes:
        """See `Store.put_blob`."""
        return self._catalog.put_blob(data)

    def put_blobs(self, contents: Iterable[bytes]) -> list[bytes]:
        """See `Store.put_blobs`."""
        return self._catalog.put_blobs(contents)

    def get_blob(self, digest: bytes) -> bytes | None:
        """See `Store.get_blob`."""
        return self._catalog.get_blob(digest)

    def drop_blobs(self, digests: Iterable[bytes]) -> int:
        """See `Store.drop_blobs`."""
        return self._catalog.drop_blobs(digests)
