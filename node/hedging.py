"""Asking peer after peer for the same, and others beside those who say nothing: what nobody is waited for alone for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio

from tslg.node.finding.asking import Asker, patience
from tslg.node.finding.resolver import Ask, Stage, Thing
from tslg.protocol.codec import Link

MOST_BESIDE: Final = 4
"""Peers that are asked at once because others say nothing: each may hand over all that is wanted."""

Begin = Callable[[], None]
"""To be called when a reply begins to come."""
AskOne = Callable[[Ask, Begin], Awaitable[None]]
"""Asks one peer, and returns when that is over, however it went."""


class Hedge:
    """One thing that is wanted, and those who were asked for it.

    Args:
        asker: says whom to ask next.
        lacking: what is still lacking, by the agents whose it is.
        ask_one: asks one peer.
    """

    def __init__(self, asker: Asker, lacking: Callable[[], Mapping[Thing, Link | None]], ask_one: AskOne) -> None:
        self._asker = asker
        self._lacking = lacking
        self._ask_one = ask_one
        self._unheard: set[Ask] = set()
        self._answering: set[Ask] = set()
        self._stirred = trio.Event()

    async def run(self) -> None:
        """Ask until all is there or nobody is left; once all is there, nobody is waited for.

        Beside one that says nothing for about a round trip the next of those given is asked, then two at once, then
        four. Others are looked for when nothing came for longer. Peers whose line is silent are asked last, beside each
        other, and waited for no longer than for an answer over a live line.
        """
        async with trio.open_nursery() as nursery:
            beside, last = 1, Stage.FEDERATION
            while lacking := self._lacking():
                seconds = await self._start(lacking, beside, last, nursery)
                if seconds is None and last is Stage.FEDERATION:
                    break
                if await self._answered(patience() if seconds is None else seconds):
                    beside, last = 1, Stage.FEDERATION
                else:
                    beside = min(2 * beside, MOST_BESIDE)
                    last = Stage.FEDERATION if seconds is None or seconds >= patience() else Stage.GIVEN

    async def _start(
        self, lacking: Mapping[Thing, Link | None], count: int, last: Stage, nursery: trio.Nursery
    ) -> float | None:
        """Ask so many more, and any whose line is silent; return how long to wait for them, None if nobody was left."""
        longest = None
        while count and (ask := await self._asker.next(lacking, last)) is not None:
            line = self._asker.line(ask.address)
            self._unheard.add(ask)
            nursery.start_soon(self._ask, ask, nursery.cancel_scope)
            if not line.silent:
                count -= 1
                longest = max(longest or 0.0, patience(line))
        return longest

    async def _ask(self, ask: Ask, all_: trio.CancelScope) -> None:
        def begin() -> None:
            self._unheard.discard(ask)
            self._answering.add(ask)
            self._stirred.set()

        await self._ask_one(ask, begin)
        self._unheard.discard(ask)
        self._answering.discard(ask)
        self._stirred.set()
        if not self._lacking():
            all_.cancel()

    async def _answered(self, seconds: float) -> bool:
        """Wait until somebody answers, and for whoever has begun to; tell whether anybody did within these seconds."""
        with trio.move_on_after(seconds):
            await self._stirred.wait()
        if not self._stirred.is_set():
            for ask in self._unheard:
                self._asker.slow(ask)
            return False
        self._stirred = trio.Event()
        while self._answering:
            await self._stirred.wait()
            self._stirred = trio.Event()
        return True
