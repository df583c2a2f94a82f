"""What heads and proofs of forks mean for the node's own store: what is kept, and which own logs are blocked."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tslg.node.heads import making
from tslg.node.home import Home
from tslg.protocol.announcing import ForkNews, RecordsNews
from tslg.protocol.checkpoint import parse_log
from tslg.protocol.codec import Link
from tslg.protocol.exchange import Pair
from tslg.protocol.heard import Heard
from tslg.protocol.limits import Limits
from tslg.protocol.log import root
from tslg.protocol.manifest import Manifest
from tslg.protocol.opening import Opened
from tslg.protocol.telling import parse

Public = Callable[[Link, Pair], bool]
"""`public(id, pair)`: whether anybody may read a record."""


class Evidence:
    """Keeps evidence in a node's store. Its methods block.

    Args:
        home: the node's data directory.
        public: tells whether anybody may read a record.
        limits: bounds on what is announced.
    """

    def __init__(self, home: Home, public: Public, limits: Limits) -> None:
        self._home = home
        self._public = public
        self._limits = limits

    def keep(self, agent: Link, news: ForkNews, manifest: Callable[[Link], Manifest | None]) -> None:
        """Keep a proof, which holds, that a log of which something is held is forked."""
        if isinstance(news, RecordsNews):
            read = [(parse(data, agent, manifest), seal) for data, seal in news.records]
            self._home.ledger.keep_proof([Opened(record, seal) for record, seal in read])
        elif self._home.ledger.writes(agent):
            heads = [Heard(parse_log(note), note, "", "", self._home.clock()) for note in news.notes]
            state = self._home.store.log_state(agent)
            near = [head for head in heads if state is not None and head.size <= state.size]
            wrong = [head for head in near if root(self._home.store.leaves(agent, head.size)) != head.root]
            self.own_seen(agent, heads, wrong[0] if wrong else None)

    def held(self, agent: Link) -> RecordsNews | None:
        """Return the announcement of a proof that is held by records, None if there is none that can be announced."""
        store = self._home.store
        for fork in store.forks(agent):
            if not all(self._public(id, entry) for id, entry in store.get_many(fork.records[:2]).items()):
                continue
            news = making.proof_of(store, agent, fork.records[0], fork.records[1], self._limits)
            if news is not None:
                return news
        return None

    def own_seen(self, agent: Link, heads: Iterable[Heard], contradicting: Heard | None) -> None:
        """Note heads of an own log that are not its own: it runs on an old copy, or elsewhere as well.

        Nothing is appended to it then until that is settled.
        """
        store, ledger = self._home.store, self._home.ledger
        state = store.log_state(agent)
        size = 0 if state is None else state.size
        foreign = [head for head in heads if head.size > size]
        for head in foreign if contradicting is None else [*foreign, contradicting]:
            store.record_head(agent, head.size, head.root, None, "gossip", head.seen_ms)
        if foreign or contradicting is not None:
            ledger.examine(agent)
