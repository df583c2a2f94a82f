"""Who subscribed to what on one node: the same code for every network."""

from __future__ import annotations

import logging

import trio

from tslg.node.net.seam import Announcement, Validator
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)

_ANNOUNCEMENTS = 256
"""Announcements that wait for one subscriber. They are hints: who does not keep up misses some."""


def check_announcement(payload: bytes, limits: Limits) -> None:
    """Raise UsageError if `payload` is larger than `limits.announcement_bytes`."""
    if len(payload) > limits.announcement_bytes:
        raise UsageError(f"an announcement of {len(payload)} bytes; the limit is {limits.announcement_bytes}")


class Topics:
    """Subscriptions by topic."""

    def __init__(self) -> None:
        self._subscribers: dict[str, list[tuple[Validator, trio.MemorySendChannel[Announcement]]]] = {}

    def add(self, topic: str, validator: Validator) -> trio.MemoryReceiveChannel[Announcement]:
        """A new subscription. It ends when the returned channel is closed."""
        send, receive = trio.open_memory_channel[Announcement](_ANNOUNCEMENTS)
        self._subscribers.setdefault(topic, []).append((validator, send))
        return receive

    def wanted(self, topic: str) -> bool:
        """Whether anybody is subscribed to `topic`."""
        self._subscribers[topic] = [pair for pair in self._subscribers.get(topic, ()) if _is_open(pair[1])]
        if not self._subscribers[topic]:
            del self._subscribers[topic]
        return topic in self._subscribers

    def allowed(self, topic: str, announcement: Announcement) -> bool:
        """Whether a subscriber's validator lets the announcement through."""
        return any(_lets_through(validator, announcement) for validator, _ in self._subscribers.get(topic, ()))

    def deliver(self, topic: str, announcement: Announcement) -> None:
        """Hand the announcement to every subscriber whose validator lets it through and who has room for it."""
        for validator, channel in self._subscribers.get(topic, ()):
            if _is_open(channel) and _lets_through(validator, announcement):
                try:
                    channel.send_nowait(announcement)
                except trio.WouldBlock:
                    _log.debug("a subscriber of %s does not keep up", topic)


def _is_open(channel: trio.MemorySendChannel[Announcement]) -> bool:
    return channel.statistics().open_receive_channels > 0


def _lets_through(validator: Validator, announcement: Announcement) -> bool:
    try:
        return validator(announcement.payload, announcement.peer)
    except Exception as error:
        _log.error("a validator failed: %r", error)
        return False
