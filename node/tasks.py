"""Background tasks: a nursery that lets errors through as they are, and what several of them come to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def background() -> AsyncIterator[trio.Nursery]:
    """Give a nursery for the length of a block; its tasks are cancelled when the block ends.

    An error of the block, or of one task alone, comes out as it is; of several, in a group.
    """
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        raise group.exceptions[0] from None
    if failure is not None:
        raise failure


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what a person should be told of several exceptions: that they interrupted, or else what came first."""
    leaves: list[BaseException] = []
    todo: list[BaseException] = [group]
    while todo:
        error = todo.pop()
        if isinstance(error, BaseExceptionGroup):
            todo.extend(reversed(error.exceptions))
        else:
            leaves.append(error)
    return next((error for error in leaves if isinstance(error, KeyboardInterrupt)), leaves[0])
