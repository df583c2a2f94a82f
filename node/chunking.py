"""Making the chunks of a reply in threads, with signs of life while one takes long."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

import trio

from tslg.protocol.exchange import records_chunk


async def in_thread(chunks: Iterator[bytes], pause: float) -> AsyncGenerator[bytes, None]:
    """Make chunks of a walk in threads, and yield one without records whenever one takes longer than `pause` seconds.

    Whoever stops listening does not wait for the chunk that is on its way.
    """
    while True:
        making = _Making(chunks)
        trio.lowlevel.spawn_system_task(making.run)
        while not making.done.is_set():
            with trio.move_on_after(pause):
                await making.done.wait()
            if not making.done.is_set():
                yield records_chunk(())
        if making.error is not None:
            raise making.error
        if making.chunk is None:
            return
        yield making.chunk


class _Making:
    """One chunk on its way, in a thread that nobody has to wait for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.done = trio.Event()
        self.chunk: bytes | None = None
        self.error: Exception | None = None

    async def run(self) -> None:
        """Make it."""
        try:
            self.chunk = await trio.to_thread.run_sync(next, self._chunks, None)
        except Exception as error:
            self.error = error
        finally:
            self.done.set()
