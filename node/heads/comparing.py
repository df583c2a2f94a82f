"""Finding out how heads go together, and finding the two records at which a forked log parts.

What is known of a log is held against what its store holds first, and peers are asked for the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import trio

from tslg.node.heads.asking import Asking, each_once
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.store.interface import LogState
from tslg.protocol import extending
from tslg.protocol.announcing import ForkNews
from tslg.protocol.cid import short
from tslg.protocol.codec import Link
from tslg.protocol.heads import Heads
from tslg.protocol.heard import Heard, Question
from tslg.protocol.log import Tree

_log = logging.getLogger(__name__)

K = TypeVar("K")

PEERS_ASKED: Final = 5
"""Peers asked about one log in one go: who handed a head over, who announced it, and where its agent may be."""
_REMEMBERED: Final = 20_000
"""Comparisons that are not made again, at about 200 bytes each."""
_TREES: Final = 8
"""Trees of held logs kept at hand, at 64 bytes a record."""


class Comparing:
    """Compares heads with each other and with the logs that are held.

    Args:
        home: the node's data directory.
        heads: what was heard.
        asking: asks peers.
        locate: says at which addresses an agent's node may be.
        mine: this node's own peer id and addresses.
    """

    def __init__(
        self,
        home: Home,
        heads: Heads,
        asking: Asking,
        locate: Callable[[Link], Iterable[str]],
        mine: Callable[[], Iterable[str]],
    ) -> None:
        self._store = home.store
        self._ledger = home.ledger
        self._heads = heads
        self._asking = asking
        self._locate = locate
        self._mine = mine
        self._trees = StoreSource(home.store)
        self._recent: dict[Link, None] = {}
        self._fits: dict[tuple[Link, int, bytes], None] = {}
        self._bound: dict[Link, None] = {}

    async def settle(self, question: Question) -> tuple[bool, ForkNews | None]:
        """Find an answer to a question; return whether there is one, and the proof of a fork if that is what it is."""
        agent, old, new = question
        path = await trio.to_thread.run_sync(self._own_path, agent, old.size, new.size)
        answered, fork = (False, None) if path is None else self._heads.answer(question, path)
        for peer in [] if answered else await self._peers(agent, (new, old)):
            path = await self._asking.path(peer, agent, old.size, new.size)
            answered, fork = (False, None) if path is None else self._heads.answer(question, path)
            if answered:
                break
        return answered, fork

    async def contradicted(self, agent: Link, heads: Iterable[Heard]) -> Heard | None:
        """Return a head that is no state of the log that is held here, nor an extension of it; None if none is known.

        What lies beyond the held log is asked about until it is bound to it once; from then on heads bind each other.
        """
        state = await trio.to_thread.run_sync(self._store.log_state, agent)
        if state is None:
            return None
        beyond = []
        for head in heads:
            if head.size > state.size:
                beyond.append(head)
                continue
            fit = agent, head.size, head.root
            if fit not in self._fits:
                if await trio.to_thread.run_sync(self._root, state, head.size) != head.root:
                    return head
                _remember(self._fits, fit)
            _remember(self._bound, agent)
        for head in beyond[:1] if agent not in self._bound else ():
            if await self._extends(agent, state, head) is False:
                return head
        return None

    async def part(self, agent: Link, head: Heard) -> bool:
        """Find the two records at the first place where the log that is held and that of a head differ, and keep both.

        Tells whether they were found: then they convict the agent.
        """
        tree = await trio.to_thread.run_sync(self._tree, agent)
        if tree is None:
            return False
        for peer in await self._peers(agent, (head,)):
            seq = await self._first_difference(peer, agent, tree, min(tree.size, head.size))
            theirs = None if seq is None else await self._asking.record(peer, agent, seq)
            if theirs is not None and await trio.to_thread.run_sync(self._ledger.show, *theirs):
                _log.warning(
                    "the log of %s is forked: peer %s has another record for position %d",
                    short(agent),
                    peer,
                    theirs[0].seq,
                    extra={"agent": short(agent), "peer": peer, "seq": theirs[0].seq},
                )
                return True
        return False

    async def _extends(self, agent: Link, state: LogState, head: Heard) -> bool | None:
        """Ask whether a head extends the log that is held; None if nobody has an answer."""
        for peer in await self._peers(agent, (head,)):
            path = await self._asking.path(peer, agent, state.size, head.size)
            led = None if path is None else extending.roots(state.size, head.size, path)
            if led is not None and led.new == head.root:
                if led.old == state.peaks.root():
                    _remember(self._bound, agent)
                    return True
                return False
        return None

    async def _first_difference(self, peer: str, agent: Link, tree: Tree, differs: int) -> int | None:
        """Return the first place at which a peer's log differs, given a size at which it does; None if it stops."""
        alike = 0
        while differs - alike > 1:
            middle = (alike + differs) // 2
            held = await self._asking.record(peer, agent, middle)
            if held is None or held[0].log is None:
                return None
            if held[0].log.root == tree.root(middle):
                alike = middle
            else:
                differs = middle
        return alike

    def _root(self, state: LogState, size: int) -> bytes | None:
        if size == state.size:
            return state.peaks.root()
        tree = self._tree(state.owner)
        return None if tree is None else tree.root(size)

    def _own_path(self, agent: Link, old_size: int, size: int) -> tuple[bytes, ...] | None:
        state = self._store.log_state(agent)
        tree = None if state is None or state.size < size else self._tree(agent)
        return None if tree is None else extending.path_in_tree(tree, old_size, size)

    def _tree(self, agent: Link) -> Tree | None:
        _remember(self._recent, agent, _TREES)
        self._trees.keep_trees(self._recent)
        return self._trees.tree(agent)

    async def _peers(self, agent: Link, heads: Iterable[Heard]) -> list[str]:
        near = [peer for head in heads for peer in (head.via, head.peer)]
        located = await trio.to_thread.run_sync(lambda: list(self._locate(agent)))
        willing = [peer for peer in each_once([*near, *located], self._mine()) if self._asking.willing(peer)]
        return willing[:PEERS_ASKED]


def _remember(kept: dict[K, None], item: K, most: int = _REMEMBERED) -> None:
    """Put an item behind all others, and drop the first of too many."""
    kept.pop(item, None)
    kept[item] = None
    if len(kept) > most:
        del kept[next(iter(kept))]
