"""Delegations as they are kept over restarts: one value each, and the list of those about which something is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from tslg.node.store.interface import Store
from tslg.protocol import codec
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link


class Entry(Protocol):
    """What both sides keep."""

    @property
    def delegation(self) -> Link:
        """Which one."""

    @property
    def live(self) -> bool:
        """Whether something is left to be done about it."""

    def to_bytes(self) -> bytes:
        """Return what is kept."""


E = TypeVar("E", bound=Entry)


class Kept(Generic[E]):
    """Entries of one side in a store, under `NAME/ID`, and the ids of live ones under `NAME`. Called in threads.

    An entry is written before the list: what a crash leaves out of the list is begun or told again by whoever
    asks, and what it leaves in is found to be ended.
    """

    def __init__(self, store: Store, name: str, read: Callable[[bytes], E]) -> None:
        self._store = store
        self._name = name
        self._read = read
        kept = store.get_meta(name)
        self._live: dict[Link, None] = {} if kept is None else dict.fromkeys(codec.decode(kept))

    def get(self, delegation: Link) -> E | None:
        """Return the entry of a delegation, ended or not; None if there never was one."""
        data = self._store.get_meta(self._key(delegation))
        return None if data is None else self._read(data)

    def keep(self, entry: E) -> None:
        """Make an entry durable in the place of the one before."""
        self._store.set_meta(self._key(entry.delegation), entry.to_bytes())
        if entry.live == (entry.delegation in self._live):
            return
        if entry.live:
            self._live[entry.delegation] = None
        else:
            del self._live[entry.delegation]
        self._store.set_meta(self._name, codec.encode(list(self._live)))

    def live(self) -> list[E]:
        """Return the entries about which something is left to be done."""
        found = [self.get(id) for id in self._live]
        return [entry for entry in found if entry is not None and entry.live]

    def _key(self, delegation: Link) -> str:
        return f"{self._name}/{to_text(delegation)}"
