"""Yamux with the bounds and the care that the library's own lacks (defects 2, 3, 4, 5 and 9)."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import trio
from libp2p.abc import ISecureConn
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux import yamux

from tslg.node.net.offenders import Offenders
from tslg.node.net.seam import Line
from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0
_ANSWERS = 1024
"""Frames that wait to be answered: eight for every stream that a peer may have open."""
_FIRST_PULSE_SECONDS = 0.5
"""Also the first measurement of the round-trip time, from which the receive windows grow."""
_LATELY_SECONDS, _QUIET_SECONDS = 0.25, 1.0
"""Who was heard so lately is not asked for a sign of life: by one who waits for an answer; with whatever is sent."""
_SILENT_SECONDS, _SILENT_ROUND_TRIPS = 3.0, 8.0
"""Without a sign of life for the longer of these, a line is taken to be broken. On a live one a packet would have to be
lost three times: TCP sends it again after two round trips or so, then after twice that, then after four times."""


class WindowExceeded(BaseLibp2pError):
    """A peer sent more than its receive window allows."""


@contextmanager
def shielded(seconds: float) -> Iterator[trio.CancelScope]:
    """A scope that no outside cancellation enters, but that ends itself after `seconds`."""
    scope = trio.CancelScope()
    scope.shield = True
    scope.deadline = trio.current_time() + seconds
    with scope:
        yield scope


async def give_up(stream: yamux.YamuxStream, seconds: float) -> None:
    """Reset a stream and forget it, with what was not read: the library would keep that for more than a minute.

    Defect 3: a reset that is cancelled keeps its stream slot for ever, so this one is not.
    """
    conn = stream.conn
    with shielded(seconds):
        try:
            await stream.reset()
        except BaseLibp2pError:
            stream.closed = True
        async with conn.streams_lock:
            conn.stream_buffers.get(stream.stream_id, bytearray()).clear()
            conn._finalize_stream_locked(stream, fully_closed=True)
    forget_event(stream)


def forget_event(stream: yamux.YamuxStream) -> None:
    """Clear up after a reader that woke behind the end: it puts a new event into the library's table, to stay there."""
    if stream.stream_id not in stream.conn.streams:
        stream.conn.stream_events.pop(stream.stream_id, None)


def cap_receive_window(limits: Limits) -> None:
    """Let no window grow beyond the limit; the library's own bound, for the whole process, is 16 MiB."""
    cast(Any, yamux).MAX_WINDOW_SIZE = limits.receive_window_bytes


class _BoundedBuffer(bytearray):
    """Unread bytes of one stream; asks before it takes more."""

    def __init__(self, admit: Callable[[int], None]) -> None:
        super().__init__()
        self._admit = admit

    def extend(self, data: Any) -> None:
        self._admit(len(self) + len(data))
        super().extend(data)


class _BoundedBuffers(dict[int, bytearray]):
    """The library's table of unread bytes by stream id, made to hold bounded buffers only."""

    def __init__(self, admit: Callable[[int, int], None]) -> None:
        super().__init__()
        self._admit = admit

    def __setitem__(self, stream_id: int, _empty: bytearray) -> None:
        super().__setitem__(stream_id, _BoundedBuffer(lambda size: self._admit(stream_id, size)))


class _Listening:
    """A secured connection that tells whenever anything comes over it."""

    def __init__(self, conn: ISecureConn, hear: Callable[[], None]) -> None:
        self._conn, self._hear = conn, hear

    async def read(self, n: int | None = None) -> bytes:
        """Read up to `n` bytes."""
        data = await self._conn.read(n)
        if data:
            self._hear()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)


class BoundedYamux(yamux.Yamux):
    """One connection's muxer. It ends its connection, and nothing else, when the peer misbehaves or is gone."""

    def __init__(
        self, secured_conn: ISecureConn, peer_id: ID, limits: Limits, pulse_seconds: float, offenders: Offenders
    ) -> None:
        super().__init__(secured_conn, peer_id, is_initiator=secured_conn.is_initiator)
        self._limits = limits
        self._offenders = offenders
        self._pulse_seconds = pulse_seconds
        self._torn_down = False
        self._reader: trio.lowlevel.Task | None = None
        self._heard = 0.0
        self._asked: float | None = None
        self._wanted = trio.Event()
        self.on_silent: Callable[[], None] = lambda: None
        """Called when the connection is given up because nothing came any more."""
        self.secured_conn = cast(ISecureConn, _Listening(secured_conn, self._hear))
        self._answers, self._answers_to_write = trio.open_memory_channel[bytes](_ANSWERS)
        self.stream_buffers: dict[int, bytearray] = _BoundedBuffers(self._bound_unread_bytes)

    # Defect 4: the library only logs that a peer overruns its receive window, and buffers without end.

    def _bound_unread_bytes(self, stream_id: int, size: int) -> None:
        window = self._limits.receive_window_bytes
        # The library's bookkeeping can grant a little more than one window, never two.
        if size > 2 * window:
            self._overrun(f"{size} unread bytes on one stream")
        if self._is_theirs(stream_id):
            others = sum(len(b) for i, b in self.stream_buffers.items() if i != stream_id and self._is_theirs(i))
            if size + others > window * self._limits.requests_per_peer:
                self._overrun(f"{size + others} unread bytes on the streams that the peer opened")

    def _is_theirs(self, stream_id: int) -> bool:
        return stream_id % 2 != self.next_stream_id % 2

    def _overrun(self, what: str) -> None:
        self._offenders.name(str(self.peer_id), "receive_window_bytes", f"{what}: cut off")
        self._mark_broken()
        raise WindowExceeded(f"{what} from {self.peer_id}")

    # A connection that breaks must never look like streams that ended in good order.

    def _mark_broken(self) -> None:
        self.event_shutting_down.set()
        self._wanted.set()
        for stream in self.streams.values():
            stream.reset_received = True

    async def _read_data_body(self, length: int) -> bytes:
        try:
            return await super()._read_data_body(length)
        except BaseException:
            self._mark_broken()
            raise

    # A reader that waits for the peer to take its answer (to a new stream, to a ping) while the peer's reader waits for
    # us waits for ever, as soon as there is much to send both ways. So it hands its answers to another task.

    async def handle_incoming(self) -> None:
        """Read frames until the connection ends, and leave nothing open behind."""
        self._reader = trio.lowlevel.current_task()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_answers)
            await super().handle_incoming()
            nursery.cancel_scope.cancel()
        await self._cleanup_on_error()

    def _answer(self, frame: bytes) -> None:
        try:
            self._answers.send_nowait(frame)
        except trio.WouldBlock:
            self._overrun(f"{_ANSWERS} frames to be answered and none taken")

    async def _write_answers(self) -> None:
        async for frame in self._answers_to_write:
            try:
                await self._write_frame(frame)
            except BaseLibp2pError as error:
                _log.debug("connection to %s failed: %r", self.peer_id, error)
                await self._cleanup_on_error()

    async def _cleanup_on_error(self) -> None:
        if self._torn_down:
            return
        self._torn_down = True
        self._mark_broken()
        with shielded(_CLOSE_SECONDS):
            await super()._cleanup_on_error()
        self.event_closed.set()

    async def close(self, error_code: int = yamux.GO_AWAY_NORMAL) -> None:
        """Close the connection at once: a farewell frame could wait for a peer that takes nothing any more."""
        await self._cleanup_on_error()

    async def start(self) -> None:
        """Serve the connection. The library runs this as a task of the host: an error here would end the host."""
        self._heard = trio.current_time()
        try:
            await super().start()
        except Exception as error:
            _log.debug("connection to %s failed: %r", self.peer_id, error)
            await self._cleanup_on_error()
            self.event_started.set()

    # Defect 2: cancelling a write leaves half a Noise frame behind, after which the connection is lost.

    async def _write_frame(self, data: bytes) -> None:
        if trio.lowlevel.current_task() is self._reader:
            self._answer(data)
            return
        self._want_life(_QUIET_SECONDS)
        async with self._write_lock:
            with shielded(self._limits.write_stall_ms / 1000) as patience:
                await self.secured_conn.write(data)
        if patience.cancelled_caught:
            await self._cleanup_on_error()
            raise MuxedStreamError("the peer takes nothing")
        await trio.lowlevel.checkpoint()

    # Defect 3: a cancelled opening keeps one of 256 stream slots for ever.

    async def open_stream(self) -> yamux.YamuxStream:
        """Open a stream; not to be cancelled, but bounded by the write stall limit."""
        with shielded(self._limits.write_stall_ms / 1000):
            return await super().open_stream()
        raise MuxedStreamError("the peer takes nothing")

    # Whether anything comes at all tells a line that is broken from a peer that takes its time.

    def _hear(self) -> None:
        self._heard, self._asked = trio.current_time(), None

    def line(self) -> Line:
        """How the line is; a sign of life is asked for unless there was one lately."""
        self._want_life(_LATELY_SECONDS)
        patience = max(_SILENT_SECONDS, _SILENT_ROUND_TRIPS * self._rtt)
        silent = self._asked is not None and trio.current_time() - self._asked >= patience
        return Line(self._rtt or None, silent)

    def _stuck(self) -> bool:
        """Whether what is written waits, for long, for a peer from whom nothing comes."""
        return self._write_lock.locked() and self.line().silent

    def _want_life(self, quiet_seconds: float) -> None:
        now = trio.current_time()
        if self._asked is None and now - self._heard >= quiet_seconds:
            self._asked = now
            self._wanted.set()

    # Defect 9: nothing notices a peer that vanished without closing. The library sends Yamux pings to measure the
    # round-trip time, but ignores a missing answer; here a missing answer ends the connection.

    async def _measure_rtt_loop(self) -> None:
        pause, missed = min(_FIRST_PULSE_SECONDS, self._pulse_seconds), False
        while True:
            with trio.move_on_after(pause):
                await self._wanted.wait()
            if self.event_shutting_down.is_set():
                return
            extra, self._wanted = self._wanted.is_set(), trio.Event()
            alive = await self._has_pulse()
            # One that was asked for out of turn ends nothing by itself: a partition may be over before the next.
            if not alive and (missed or not extra or self._stuck()):
                await self._end_silent()
                return
            missed, pause = not alive, self._pulse_seconds if alive else 0.0

    async def _end_silent(self) -> None:
        if not self._torn_down:
            self._offenders.name(str(self.peer_id), "pulse", "open and silent, or gone without closing: cut off")
            self.on_silent()
        await self._cleanup_on_error()

    async def _has_pulse(self) -> bool:
        self._ping_id = (self._ping_id + 1) % 2**32
        self._ping_event = trio.Event()
        header = struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id)
        if self._asked is None:
            self._asked = trio.current_time()
        self._ping_sent_time = trio.current_time()
        # Not written here: whoever waits for a peer to take something does not see that there is none any more.
        self._answer(header)
        with trio.move_on_after(self._pulse_seconds):
            while not (self._ping_event.is_set() or self._torn_down or self._stuck()):
                with trio.move_on_after(_QUIET_SECONDS):
                    await self._ping_event.wait()
        return self._ping_event.is_set()
