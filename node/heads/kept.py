"""What was heard of logs, as a store keeps it: over restarts, and for whoever reads the store beside a running node."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from tslg.node.context import StoreContext
from tslg.node.store.interface import Store
from tslg.protocol import announcing, codec
from tslg.protocol.announcing import ForkNews, HeadNews, StatesNews, speaks
from tslg.protocol.checkpoint import Signed, parse_log
from tslg.protocol.codec import Link
from tslg.protocol.heard import Heard, Log
from tslg.protocol.keys import revocations_in
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import parse_as
from tslg.protocol.telling import Sealed
from tslg.protocol.telling import kept as kept_speakers

_META: Final = "heard/"
_DRAWERS: Final = 16


class Kept(NamedTuple):
    """What was heard of one log: its heads, the first being what the others are held against, its keys, a proof.

    `via` is who brought it first; the proof, if there is one, shows that the log is forked.
    """

    agent: Link
    via: str
    heads: tuple[Heard, ...]
    told: tuple[Sealed, ...]
    fork: ForkNews | None

    @property
    def newest(self) -> Heard | None:
        """The largest head, None of a log of which only the proof was heard."""
        return max(self.heads, key=lambda one: one.size, default=None)


def drawer_of(agent: Link) -> int:
    """Return in which part of what is kept a log stands; each part is written as a whole."""
    return hashlib.sha256(agent).digest()[0] % _DRAWERS


def write(store: Store, drawers: Iterable[int], logs: Mapping[Link, Log]) -> None:
    """Keep all that is known of the logs of these parts, durably."""
    values: dict[int, list[Any]] = {drawer: [] for drawer in drawers}
    for agent, log in logs.items():
        drawer = drawer_of(agent)
        if drawer in values:
            values[drawer].extend(_to_list(agent, log))
    for drawer, value in values.items():
        store.set_meta(_key(drawer), codec.encode(value))


def read(store: Store) -> Iterator[Kept]:
    """Yield all that is kept."""
    for drawer in range(_DRAWERS):
        yield from _read(store, drawer)


def of(store: Store, agent: Link) -> Kept | None:
    """Return what is kept of one log, None if nothing is."""
    return next((one for one in _read(store, drawer_of(agent)) if one.agent == agent), None)


def in_force(store: Store, entry: Kept) -> Iterator[tuple[Signed, int]]:
    """Yield the checkpoints that are known of a log, those of a proof of its fork included, and when each was heard.

    One whose key is dead at its size, by a revocation that was told or is held, is left out.
    """
    manifest = StoreContext(store, entry.agent, lambda: 0).manifest
    speakers = kept_speakers(entry.agent, entry.told, manifest)
    ids = store.by_kind("revocation", entry.agent, limit=DEFAULT.revocations)
    held = revocations_in(parse_as(id, one.data) for id, one in store.get_many(ids).items())
    ends = {key: min(start, speakers.ends.get(key, start)) for key, start in held.ends.items()}
    speakers = speakers._replace(ends={**speakers.ends, **ends})
    seen = {one.note: one.seen_ms for one in entry.heads}
    notes = [*seen, *(entry.fork.notes if isinstance(entry.fork, StatesNews) else ())]
    for note in dict.fromkeys(notes):
        signed = parse_log(note)
        if speaks(signed, speakers):
            yield signed, seen.get(note, max(seen.values(), default=0))


def forked(entries: Iterable[Kept]) -> Iterator[tuple[Kept, ForkNews]]:
    """Yield those that are shown to be forked, with the proofs."""
    for one in entries:
        if one.fork is not None:
            yield one, one.fork


def _read(store: Store, drawer: int) -> Iterator[Kept]:
    data = store.get_meta(_key(drawer))
    for item in [] if data is None else codec.decode(data):
        yield _from_list(item)


def _to_list(agent: Link, log: Log) -> list[Any]:
    """Return the entry of a log, in a list, which is empty if nothing is to be kept of it."""
    first, fork = log.tied, log.fork
    heads = [] if first is None else [first, *(one for one in log.heads if one is not first)]
    if not heads and fork is None:
        return []
    return [
        [
            agent,
            log.via or (heads[0].via if heads else ""),
            [[one.note, one.peer, one.via, one.seen_ms] for one in heads],
            [[data, seal] for data, seal in log.speakers.told],
            None if fork is None else fork.to_bytes(),
        ]
    ]


def _from_list(item: list[Any]) -> Kept:
    agent, via, heads, told, fork = item
    news = None if fork is None else announcing.read(fork)
    return Kept(
        agent,
        via,
        tuple(Heard(parse_log(note), note, peer, by, seen) for note, peer, by, seen in heads),
        tuple((data, seal) for data, seal in told),
        None if isinstance(news, HeadNews) else news,
    )


def _key(drawer: int) -> str:
    return f"{_META}{drawer:02d}"
