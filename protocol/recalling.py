"""Asking a peer what it has heard: for nodes that came later, and for announcements that were lost.

Normative text: docs/spec/announcing.md.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tslg.protocol import codec
from tslg.protocol.errors import CodecError
from tslg.protocol.exchange import MessageError
from tslg.protocol.limits import DEFAULT, Limits

HEADS: Final = "/tslg/heads/1"
EPOCH_BYTES: Final = 32
"""Length of what names one run of a node, at most."""


class Recall(NamedTuple):
    """What did you hear since? `epoch` and `since` are from the peer's last answer, empty and 0 at first."""

    epoch: bytes = b""
    since: int = 0

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        return codec.encode({"epoch": self.epoch, "since": self.since})

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT) -> Recall:
        """Read a request. Raises MessageError."""
        value = _map(data, "epoch", "since")
        return cls(_epoch(value["epoch"]), _count(value["since"], limits))


class Recalled(NamedTuple):
    """A part of the answer: announcements, and what to ask for after them."""

    epoch: bytes
    until: int
    news: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """Return the chunk."""
        return codec.encode({"epoch": self.epoch, "until": self.until, "news": list(self.news)})

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT) -> Recalled:
        """Read a chunk. Raises MessageError."""
        value = _map(data, "epoch", "until", "news")
        news = value["news"]
        if type(news) is not list or len(news) > limits.heads_recalled:
            raise _malformed(f"at most {limits.heads_recalled} announcements")
        if not all(type(one) is bytes and len(one) <= limits.announcement_bytes for one in news):
            raise _malformed(f"an announcement has at most {limits.announcement_bytes} bytes")
        return cls(_epoch(value["epoch"]), _count(value["until"], limits), tuple(news))


def _map(data: bytes, *keys: str) -> dict[str, Any]:
    try:
        value = codec.decode(data)
    except CodecError as error:
        raise _malformed(error.detail) from error
    if type(value) is not dict or value.keys() != set(keys):
        raise _malformed(f"a map of {', '.join(keys)}")
    return value


def _epoch(value: Any) -> bytes:
    if type(value) is not bytes or len(value) > EPOCH_BYTES:
        raise _malformed(f"an epoch is at most {EPOCH_BYTES} bytes")
    return value


def _count(value: Any, limits: Limits) -> int:
    if type(value) is not int or not 0 <= value <= limits.integer:
        raise _malformed("not a count")
    return value


def _malformed(detail: str) -> MessageError:
    return MessageError(f"malformed message: {detail}", mend="the peer speaks another version of the protocol")
