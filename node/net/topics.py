"""Who subscribed to what on one node: the same code for every network."""

from __future__ import annotations

import logging

import trio

from tslg.node.net.seam import Announcement, Validator, Verdict
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

    def hear(self, topic: str, announcement: Announcement) -> Verdict:
        """Hand an announcement to every subscriber whose validator accepts it and who has room for it.

        Returns ACCEPT if one of them does, REJECT if all of them reject it.
        """
        verdicts = set()
        for validator, channel in self._subscribers.get(topic, ()):
            if not _is_open(channel):
                continue
            verdict = _judge(validator, announcement)
            verdicts.add(verdict)
            if verdict is Verdict.ACCEPT:
                try:
                    channel.send_nowait(announcement)
                except trio.WouldBlock:
                    _log.debug("a subscriber of %s does not keep up", topic)
        if Verdict.ACCEPT in verdicts:
            return Verdict.ACCEPT
        return Verdict.REJECT if verdicts == {Verdict.REJECT} else Verdict.IGNORE


def _is_open(channel: trio.MemorySendChannel[Announcement]) -> bool:
    return channel.statistics().open_receive_channels > 0


def _judge(validator: Validator, announcement: Announcement) -> Verdict:
    try:
        return validator(announcement)
    except Exception as error:
        _log.error("a validator failed: %r", error)
        return Verdict.IGNORE
