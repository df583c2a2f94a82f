"""Reading a feed as its logs grow: in trio, the store in threads, and no faster than what is read is taken."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import trio

from tslg.node.growth import Growth
from tslg.node.services import Bell
from tslg.node.streaming.feed import Batch, Feed

LOOK_SECONDS: Final = 1.0
"""How often it is looked for what another process wrote into the store, of which nobody tells."""


async def batches(feed: Feed, growth: Growth, *, live: bool, idle_seconds: float = 15.0) -> AsyncGenerator[Batch]:
    """Yield what a feed reads; close it when done.

    Nothing is read before what was yielded is taken, so a slow reader costs no memory.

    Args:
        feed: what is read.
        growth: tells of what grows in this process.
        live: whether to wait for more at the end.
        idle_seconds: after so long without anything an empty batch is yielded, as a sign of life.
    """
    with Bell(growth) as bell:
        before, heard = feed.cursor, trio.current_time()
        while True:
            batch = await trio.to_thread.run_sync(feed.read)
            if batch.cursor != before:
                yield batch
                before, heard = batch.cursor, trio.current_time()
            if batch.more:
                continue
            if not live:
                return
            if trio.current_time() - heard >= idle_seconds:
                yield batch
                heard = trio.current_time()
            await bell.wait(LOOK_SECONDS)
