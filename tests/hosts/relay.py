"""Links between processes on one machine, without privileges: a relay before each host delays and holds what passes.

Host N listens on 127.0.77.N and is reached at 127.0.78.N, where the relay is; connections of host N come from
127.0.77.N, so that the relay knows whose they are. A lost packet cannot be made here; what TCP makes of one is: the
bytes behind it come one retransmission later.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from typing import Final

import trio
from conditions import Conditions, Place

_CHUNK: Final = 65_536
_SEGMENT: Final = 1_448
"""Bytes of a packet: each may be lost."""
_RETRANSMISSION: Final = 0.2
"""Seconds, the least that Linux waits before it sends again; beside one more round trip."""
_UNDER_WAY: Final = 64
"""Chunks under way in one direction of one connection."""
_HELD: Final = 0.05


class Relay:
    """Relays before hosts with addresses 127.0.77.1 and so on."""

    def __init__(self, names: Iterable[str], seed: int, port: int = 4001) -> None:
        self.conditions = Conditions()
        self._port = port
        self._random = random.Random(seed)
        self._numbers = {name: place for place, name in enumerate(names, 1)}
        self._ready = threading.Event()
        self._scope: trio.CancelScope | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def place(self, name: str) -> Place:
        """Return where a host's process runs and listens."""
        host = self._numbers[name]
        listen, announce = (f"/ip4/127.0.{net}.{host}/tcp/{self._port}" for net in (77, 78))
        return Place((), listen, announce, f"127.0.77.{host}")

    def __enter__(self) -> Relay:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *exc: object) -> None:
        if self._token is not None and self._scope is not None and self._thread.is_alive():
            self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()
        assert self._error is None, f"the relay failed: {self._error!r}"

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            for name, host in self._numbers.items():
                listeners = await trio.open_tcp_listeners(self._port, host=f"127.0.78.{host}")

                async def relay(stream: trio.SocketStream, name: str = name) -> None:
                    await self._relay(stream, name)

                nursery.start_soon(trio.serve_listeners, relay, listeners)
            self._ready.set()

    async def _relay(self, caller: trio.SocketStream, target: str) -> None:
        source = self._who(caller.socket.getpeername()[0])
        try:
            async with caller:
                await self._let_through(source, target)
                called = await trio.open_tcp_stream(f"127.0.77.{self._numbers[target]}", self._port)
                async with called, trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, caller, called, source, target)
                    nursery.start_soon(self._pump, called, caller, target, source)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # Either end broke off, and so did the other.

    def _who(self, address: str) -> str:
        for name, host in self._numbers.items():
            if address == f"127.0.77.{host}":
                return name
        return address

    async def _let_through(self, source: str, target: str) -> None:
        """Wait while a partition keeps these two apart."""
        while not self.conditions.lets_through(source, target):
            await trio.sleep(_HELD)

    async def _pump(self, reading: trio.SocketStream, writing: trio.SocketStream, source: str, target: str) -> None:
        """Carry one direction; when either end breaks off, so does the whole connection."""
        send, receive = trio.open_memory_channel[tuple[float, bytes]](_UNDER_WAY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, receive, writing, source, target)
            async with send:
                while True:
                    data = await reading.receive_some(_CHUNK)
                    await send.send((trio.current_time() + self._delay(len(data)), data))
                    if not data:
                        return

    async def _deliver(
        self, receive: trio.MemoryReceiveChannel[tuple[float, bytes]], writing: trio.SocketStream, *link: str
    ) -> None:
        async for due, data in receive:
            await trio.sleep_until(due)
            await self._let_through(link[0], link[1])
            if not data:
                await writing.send_eof()
                return
            await writing.send_all(data)

    def _delay(self, size: int) -> float:
        now = self.conditions
        lost = any(self._random.random() < now.loss for _ in range(1 + size // _SEGMENT))
        again = _RETRANSMISSION + 2 * now.delay if lost else 0.0
        return now.delay + self._random.uniform(0, now.jitter) + again
