"""The newest checkpoint of each log that a quorum of witnesses cosigned, as a store keeps it."""

from __future__ import annotations

from typing import Final

from tslg.node.store.interface import Store
from tslg.protocol.checkpoint import Signed, parse_log
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link

_META: Final = "cosigned/"


def keep(store: Store, signed: Signed) -> None:
    """Keep a checkpoint that a quorum cosigned, unless a larger one of its log is kept already."""

    def larger(data: bytes | None) -> bytes | None:
        held = None if data is None else parse_log(data)
        return signed.to_bytes() if held is None or held.checkpoint.size <= signed.checkpoint.size else None

    store.change_meta(_META + to_text(signed.checkpoint.agent), larger)


def kept(store: Store, agent: Link) -> Signed | None:
    """Return the kept checkpoint of a log, None if there is none."""
    data = read(store, agent)
    return None if data is None else parse_log(data)


def read(store: Store, agent: Link) -> bytes | None:
    """Return the kept checkpoint of a log as bytes, None if there is none."""
    return store.get_meta(_META + to_text(agent))
