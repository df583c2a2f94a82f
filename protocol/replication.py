"""Following a log from several peers that are not trusted: a pure state machine.

A `Follower` is told who claims to hold the log and what came of it, and says what to ask of whom; it hands over
records in the order of the log, each position once. It does not know what a record is, read a clock, or touch a
network. Normative: docs/spec/replication.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Generic, NamedTuple, TypeVar

from tslg.protocol.limits import DEFAULT, Limits

T = TypeVar("T")

IN_FLIGHT = 2
"""Ranges of one log under way at one provider: while one is checked, the next is on its way."""


class Ask(NamedTuple):
    """Ask a peer for the records of a log with start <= seq < stop; `number` tells one asking from the next."""

    peer: str
    start: int
    stop: int
    number: int


class Slow(NamedTuple):
    """A range that took too long and was given to another peer."""

    ask: Ask


@dataclass(slots=True)
class _Provider:
    """A peer that claims to hold the log up to `size`. `out` says why it is not asked any more."""

    size: int
    busy: int = 0
    failures: int = 0
    ready_ms: int = 0
    served: int = 0
    out: str | None = None


@dataclass(slots=True)
class _Window(Generic[T]):
    """A stretch of the log: what came of it from its start, from whom, and who is asked for the rest since when."""

    start: int
    stop: int
    items: deque[tuple[T, str, int]] = field(default_factory=deque)
    ask: Ask | None = None
    since_ms: int = 0

    @property
    def next(self) -> int:
        """The first position that did not come yet."""
        return self.start + len(self.items)


class Follower(Generic[T]):
    """One log being followed.

    Args:
        held: how many of its records are stored.
        patient: whether a provider that keeps failing is asked again later, for ever; else it is given up.
        limits: the bounds whose names begin with `replica_`.

    Attributes:
        held: how many records are stored by now.
        stopped: why the log cannot go on, whoever is asked; None while it can.
    """

    def __init__(self, held: int, *, patient: bool = False, limits: Limits = DEFAULT) -> None:
        self.held = held
        self.stopped: str | None = None
        self._patient = patient
        self._limits = limits
        self._providers: dict[str, _Provider] = {}
        self._windows: deque[_Window[T]] = deque()
        self._bytes = 0
        self._numbers = 0

    # --- who has it --------------------------------------------------------------------------------------------------

    def offered(self, peer: str, size: int) -> bool:
        """Take note that a peer claims to hold the log up to `size`; return whether it is a provider now."""
        known = self._providers.get(peer)
        if known is not None:
            if known.out is None:
                known.size = max(known.size, size)
            return known.out is None
        if len(self._providers) >= self._limits.replica_providers:
            for other, provider in list(self._providers.items()):
                if provider.out is not None and not provider.busy:
                    del self._providers[other]
                    break
            else:
                return False
        self._providers[peer] = _Provider(size)
        return True

    def leave(self, peer: str, why: str) -> None:
        """Ask a peer no more, and forget what came from it and is not stored yet."""
        provider = self._providers.get(peer)
        if provider is None:
            return
        provider.out = why
        for window in self._windows:
            kept = deque(takewhile(lambda item: item[1] != peer, window.items))
            cut = len(kept) < len(window.items)
            if cut:
                self._bytes -= sum(size for _, _, size in window.items) - sum(size for _, _, size in kept)
                window.items = kept
            if window.ask is not None and (cut or window.ask.peer == peer):
                self._drop(window)

    def stop(self, why: str) -> None:
        """Ask nobody any more: what comes next in this log can never be stored."""
        self.stopped = why
        self._windows.clear()
        self._bytes = 0

    @property
    def wanted(self) -> int:
        """The largest size that a peer which is still asked claims."""
        return max((one.size for one in self._providers.values() if one.out is None), default=self.held)

    @property
    def usable(self) -> bool:
        """Whether somebody is left who claims to hold more than is stored."""
        return any(one.out is None and one.size > self.held for one in self._providers.values())

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do: all that anybody claims is stored, or the log cannot go on."""
        return self.stopped is not None or (not self.usable and not self._windows_hold())

    def served(self) -> dict[str, int]:
        """Return how many records of each provider were taken for storing."""
        return {peer: one.served for peer, one in sorted(self._providers.items()) if one.served}

    def refusals(self) -> dict[str, str]:
        """Return why providers are not asked any more."""
        return {peer: one.out for peer, one in sorted(self._providers.items()) if one.out is not None}

    def claim(self, peer: str) -> int:
        """Return up to which size a peer that is still asked claims to hold the log; 0 if it does not."""
        known = self._providers.get(peer)
        return 0 if known is None or known.out is not None else known.size

    def providers(self) -> list[str]:
        """Return the peers that are still asked, those that claim most first."""
        usable = [(-one.size, peer) for peer, one in self._providers.items() if one.out is None]
        return [peer for _, peer in sorted(usable)]

    # --- what to ask -------------------------------------------------------------------------------------------------

    def asks(self, now_ms: int) -> Iterator[Ask | Slow]:
        """Yield what to ask now, and which ranges were taken from whoever was too slow with them."""
        if self.stopped is not None:
            return
        self._extend()
        for window in self._windows:
            if window.next >= window.stop:
                continue
            if window.ask is not None:
                if now_ms - window.since_ms < self._limits.replica_patience_ms:
                    continue
                peer = self._choose(window, now_ms, window.ask.peer)
                if peer is None:
                    continue
                slow = window.ask
                self._back_off(self._providers[slow.peer], now_ms)
                self._drop(window)
                yield Slow(slow)
            elif self._full(window) or (peer := self._choose(window, now_ms, None)) is None:
                continue
            provider = self._providers[peer]
            provider.busy += 1
            self._numbers += 1
            window.ask = Ask(peer, window.next, min(window.stop, provider.size), self._numbers)
            window.since_ms = now_ms
            yield window.ask

    def due_ms(self, now_ms: int) -> int | None:
        """Return when `asks` may say something new though nothing came, None for never."""
        if self.settled:
            return None
        due = [one.ready_ms for one in self._providers.values() if one.out is None]
        due += [one.since_ms + self._limits.replica_patience_ms for one in self._windows if one.ask is not None]
        return min((time for time in due if time > now_ms), default=None)

    def _extend(self) -> None:
        """Open windows up to what is wanted, as far ahead as there is room for."""
        self._trim()
        width, wanted = self._limits.replica_window, self.wanted
        end = self._windows[-1].stop if self._windows else self.held
        while end < wanted and end - self.held <= width * (self._limits.replica_ahead - 1):
            stop = min(wanted, end + width)
            self._windows.append(_Window(end, stop))
            end = stop

    def _trim(self) -> None:
        """Wait no more for what a peer claimed and could not show, nor keep what came from behind it."""
        wanted = self.wanted
        for index, window in enumerate(self._windows):
            if window.ask is None and window.next < window.stop and window.stop > wanted:
                window.stop = max(window.next, min(window.stop, wanted))
                while len(self._windows) > index + 1:
                    last = self._windows.pop()
                    self._bytes -= sum(size for _, _, size in last.items)
                    self._drop(last)
                break
        if self._windows and self._windows[-1].stop == self._windows[-1].start:
            self._windows.pop()

    def _choose(self, window: _Window[T], now_ms: int, beside: str | None) -> str | None:
        """Return the least busy provider that is free and claims to have what is needed next, None if there is none."""
        free = [
            (one.busy, one.served, peer)
            for peer, one in self._providers.items()
            if one.out is None and one.size > window.next and one.busy < IN_FLIGHT and one.ready_ms <= now_ms
        ]
        return min(((busy, served, peer) for busy, served, peer in free if peer != beside), default=(0, 0, None))[2]

    def _full(self, window: _Window[T]) -> bool:
        factor = 2 if window is self._windows[0] else 1
        return self._bytes >= factor * self._limits.replica_buffer_bytes

    # --- what came ---------------------------------------------------------------------------------------------------

    def came(self, ask: Ask, seq: int, item: T, size: int) -> bool:
        """Take one record that answers an asking.

        Args:
            ask: what was asked.
            seq: the record's position.
            item: the record, whatever that is.
            size: its bytes.

        Returns:
            Whether more of that answer is wanted; if not, it is to be broken off, and `ended` told.
        """
        window = self._window_of(ask)
        if window is None or seq != window.next:
            return False
        if self._full(window):
            # It is asked for again once there is room, and nobody is to blame.
            self._drop(window)
            return False
        window.items.append((item, ask.peer, size))
        self._bytes += size
        return window.next < ask.stop

    def pushed(self, peer: str, seq: int, item: T, size: int) -> bool:
        """Take one record that a subscription brought, if it is the next one needed; return whether it was taken."""
        provider = self._providers.get(peer)
        if self.stopped is not None or provider is None or provider.out is not None or seq < self.held:
            return False
        provider.size = max(provider.size, seq + 1)
        last = self._windows[-1] if self._windows else None
        if last is None and seq == self.held:
            last = _Window(seq, seq)
            self._windows.append(last)
        if last is None or last.ask is not None or seq != last.next or self._full(last):
            return False
        if seq - self.held >= self._limits.replica_window * self._limits.replica_ahead:
            return False
        last.stop = max(last.stop, seq + 1)
        last.items.append((item, peer, size))
        self._bytes += size
        return True

    def ended(self, ask: Ask, now_ms: int, failure: str | None = None) -> None:
        """Take note that an answer is over, and what went wrong with it, None if it ended in order."""
        window = self._window_of(ask)
        if window is None:
            return
        provider = self._providers[ask.peer]
        self._drop(window)
        if failure is None and window.next > ask.start:
            # All of it, or as much as fits into one reply.
            provider.failures = provider.ready_ms = 0
            return
        self._back_off(provider, now_ms)
        if failure is None:
            # It claimed more than it has, or lacks a record in between: it is of no use for what comes next.
            provider.size = min(provider.size, window.next)
        elif not self._patient and provider.failures >= self._limits.replica_strikes:
            provider.out = failure

    def _window_of(self, ask: Ask) -> _Window[T] | None:
        return next((window for window in self._windows if window.ask == ask), None)

    def _drop(self, window: _Window[T]) -> None:
        if window.ask is not None:
            self._providers[window.ask.peer].busy -= 1
            window.ask = None

    def _back_off(self, provider: _Provider, now_ms: int) -> None:
        limits = self._limits
        provider.failures += 1
        wait = limits.replica_back_off_ms * 2 ** min(provider.failures - 1, 16)
        provider.ready_ms = now_ms + min(wait, limits.replica_back_off_most_ms)

    # --- what is ready -----------------------------------------------------------------------------------------------

    def ready(self, most: int) -> list[tuple[T, str]]:
        """Return at most so many records that come next, with whom each is from; they stay until `stored` is told."""
        found: list[tuple[T, str]] = []
        for window in self._windows:
            found.extend((item, peer) for item, peer, _ in window.items)
            if window.next < window.stop or len(found) >= most:
                break
        return found[:most]

    def stored(self, size: int) -> None:
        """Take note that the log is stored up to `size`, whether what was ready here was stored or the like of it."""
        while self._windows and self._windows[0].start < size:
            window = self._windows[0]
            while window.items and window.start < size:
                _, peer, weight = window.items.popleft()
                window.start += 1
                self._bytes -= weight
                if peer in self._providers:
                    self._providers[peer].served += 1
            if window.start < size:
                window.start = min(size, window.stop)
                self._drop(window)
            if window.start == window.stop:
                self._drop(window)
                self._windows.popleft()
        self.held = max(self.held, size)

    def resume(self) -> None:
        """Try again what could not be stored: rules of time, and what was lacking, may let it in by now."""
        self.stopped = None

    def _windows_hold(self) -> bool:
        return bool(self._windows) and bool(self._windows[0].items)
