"""Making announcements of a node's own logs: the signed head, what tells strangers whose it is, and how it grew."""

from __future__ import annotations

from typing import Final

from tslg.manifests.agent_keys import SigningKey
from tslg.node.store.interface import Store, incomplete
from tslg.protocol.announcing import HeadNews, RecordsNews
from tslg.protocol.chains import JOINT
from tslg.protocol.checkpoint import Checkpoint, encode
from tslg.protocol.codec import Link
from tslg.protocol.extending import path_of_growth
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.log import Peaks
from tslg.protocol.record import Record, parse_as
from tslg.protocol.signatures import ed25519_secret
from tslg.protocol.telling import Sealed

_MOST_NEW: Final = 4_096
"""Records since the last announcement up to which a path is made: each is looked up by its place."""


def make(
    store: Store, agent: Link, key: SigningKey, before: Peaks | None, limits: Limits = DEFAULT
) -> tuple[HeadNews, Peaks]:
    """Make the announcement of an own log as it is now, and return the tree that it announces too.

    Args:
        store: holds the log whole.
        agent: whose log.
        key: an Ed25519 key of the agent's.
        before: the tree that was announced last, None if none was.
        limits: bounds on what is told.

    Raises:
        StoreError: the log is not held whole.
    """
    state = store.log_state(agent)
    if state is None:
        raise incomplete(agent, 1)
    size = state.size
    note = encode(Checkpoint.of(agent, size, state.peaks.root()), ed25519_secret(key.seed))
    path: tuple[bytes, ...] = ()
    if before is not None and 0 < before.size < size <= before.size + _MOST_NEW:
        leaves = [store.at(agent, seq) for seq in range(before.size, size)]
        path = path_of_growth(before, [leaf for leaf in leaves if leaf is not None])
    told = told_of(store, agent, limits)
    return HeadNews(note, told, before.size if before is not None and path else 0, path), state.peaks.copy()


def told_of(store: Store, agent: Link, limits: Limits = DEFAULT) -> tuple[Sealed, ...]:
    """Return the genesis of a held log, its registrations of keys and its revocations, in the order of the log.

    Of more than `limits.key_events` the oldest are left out that the newest do not rest on. Raises StoreError.
    """
    genesis = store.get(agent)
    if genesis is None:
        raise incomplete(agent, 1)
    ids = [id for kind in ("registration", "revocation") for id in store.by_kind(kind, agent, limit=DEFAULT.walk_edges)]
    entries = store.get_many(ids)
    records = {id: parse_as(id, entry.data) for id, entry in entries.items()}
    events = [one for one in records.values() if one.body.get("purpose") != "peer"]
    kept: dict[Link, Record] = {}
    for event in sorted(events, key=lambda one: -one.seq):
        chain = _chain(event, records, kept)
        if len(kept) + len(chain) < limits.key_events:
            kept.update((one.id, one) for one in chain)
    led = sorted(kept.values(), key=lambda one: one.seq)
    return ((genesis.data, genesis.seal), *((one.data, entries[one.id].seal) for one in led))


def proof_of(store: Store, agent: Link, first: Link, second: Link, limits: Limits = DEFAULT) -> RecordsNews | None:
    """Return the announcement of two held records for one position; None if it cannot be one, for size or kind."""
    entries = store.get_many([first, second])
    if len(entries) < 2:
        return None
    if any(parse_as(id, entry.data).kind == JOINT for id, entry in entries.items()):
        return None
    one, other = ((entries[id].data, entries[id].seal) for id in sorted((first, second)))
    news = RecordsNews((one, other), told_of(store, agent, limits))
    return news if len(news.to_bytes()) <= limits.announcement_bytes else None


def _chain(event: Record, records: dict[Link, Record], kept: dict[Link, Record]) -> list[Record]:
    """Return a key event, and those that its key rests on, as far as they are not kept yet."""
    chain: list[Record] = []
    at: Record | None = event
    while at is not None and at.id not in kept:
        chain.append(at)
        at = None if at.key is None else records.get(at.key)
    return chain
