"""Where other agents' nodes were last reached, kept over restarts: hearsay, whatever is there must prove itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tslg.node.store.interface import Store
from tslg.protocol import codec
from tslg.protocol import record as records
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link

ADDRESSES_KEPT: Final = 8
"""Addresses kept of one agent, the newest first: a node moves now and then, and has few interfaces."""


class AddressBook:
    """Addresses by agent, in a store; what the agent itself registered counts too."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, agent: Link, addresses: Iterable[str]) -> None:
        """Remember that an agent's node was reached at these addresses."""
        before = self._noted(agent)
        after = list(dict.fromkeys([*addresses, *before]))[:ADDRESSES_KEPT]
        if after != before:
            self._store.set_meta(_key(agent), codec.encode(after))

    def find(self, agent: Link) -> list[str]:
        """Return where an agent's node may be, best guess first."""
        return list(dict.fromkeys([*self._noted(agent), *self._registered(agent)]))

    def _noted(self, agent: Link) -> list[str]:
        data = self._store.get_meta(_key(agent))
        return [] if data is None else list(codec.decode(data))

    def _registered(self, agent: Link) -> list[str]:
        for id in self._store.by_kind("registration", agent, limit=16):
            entry = self._store.get(id)
            if entry is not None:
                body = records.parse_as(id, entry.data).body
                if body["purpose"] == "peer":
                    return list(body["addresses"])
        return []


def _key(agent: Link) -> str:
    return f"addresses/{to_text(agent)}"
