"""Where the witnesses that a manifest names answer this node: kept in its store, by the witness's name."""

from __future__ import annotations

from typing import Final

from tslg.node.store.interface import Store
from tslg.protocol import codec
from tslg.protocol.errors import UsageError
from tslg.protocol.note import valid_name

_META: Final = "witnesses"


def read_urls(store: Store) -> dict[str, str]:
    """Return the URLs by the witnesses' names."""
    return _decoded(store.get_meta(_META))


def write_url(store: Store, name: str, url: str) -> None:
    """Keep at which URL a witness answers. Raises UsageError for what is no name or URL."""
    if not valid_name(name):
        raise UsageError(f"{name!r} is no name of a witness", mend="copy it from the witness's key")
    if not url.startswith(("http://", "https://")) or len(url) > 2048:
        raise UsageError(f"{url[:80]!r} is no URL of a witness", mend="say https://… or http://…")
    store.change_meta(_META, lambda data: codec.encode({**_decoded(data), name: url}))


def _decoded(data: bytes | None) -> dict[str, str]:
    return {} if data is None else dict(codec.decode(data))
