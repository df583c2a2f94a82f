"""What a vault finds out when it is unlocked after a crash: which plaintexts belong to which records, or to none."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Final

from tslg.node.context import StoreContext
from tslg.node.store.interface import Store
from tslg.node.vault.database import GONE, PENDING, SHREDDED, WRITING, Entry
from tslg.node.vault.parts import parts
from tslg.node.vault.vault import Kept, Vault
from tslg.protocol.codec import Link
from tslg.protocol.record import Record

_AT_ONCE: Final = 500
_IN_FLIGHT: Final = 10_000
"""Numbers of entries that a crash may have left ciphertexts of; far more than callers at one time."""


def settle(vault: Vault, store: Store, context: StoreContext) -> int:
    """Bind what waits for its record to the record that has its digest, and destroy what has none; return how many.

    Of plaintexts that are the same it does not matter which is which.
    """
    pending: dict[Link, list[Entry]] = defaultdict(list)
    for entry in vault.select(f"state = {PENDING}", ()):
        pending[entry.owner].append(entry)
    for entries in pending.values():
        for entry, record in _found(vault, entries, store, context):
            vault.bind([Kept(entry, vault.key_of(entry))], record)
    left = vault.select(f"state IN ({WRITING}, {PENDING})", ())
    vault.drop([entry.id for entry in left])
    vault.finish_shredding()
    known = {entry.id for entry in vault.select(f"state NOT IN ({SHREDDED}, {GONE})", ())}
    strays = vault.db.stray_chunks(max(known, default=0) - _IN_FLIGHT, known)
    if strays:
        vault.db.drop_chunks(strays)
    return len(left)


def _found(vault: Vault, entries: list[Entry], store: Store, context: StoreContext) -> Iterator[tuple[Entry, Link]]:
    """Yield plaintexts with the first record behind their coming that has their digest, and nothing kept for it."""
    waiting: dict[tuple[str, bytes], deque[Entry]] = defaultdict(deque)
    for entry in entries:
        waiting[entry.name, entry.digest].append(entry)
    for record in _steps(entries[0].owner, min(entry.since for entry in entries), store, context):
        for part in parts(record).items():
            queue = waiting.get(part)
            if queue and queue[0].since <= record.seq and vault.entry(record.id, part[0]) is None:
                yield queue.popleft(), record.id


def _steps(owner: Link, since: int, store: Store, context: StoreContext) -> Iterator[Record]:
    state = store.log_state(owner)
    size = 0 if state is None else state.size
    for start in range(since, size, _AT_ONCE):
        for id, _ in store.log_range(owner, start, min(start + _AT_ONCE, size)):
            record = context.record(id)
            if record is not None:
                yield record
