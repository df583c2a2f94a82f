"""What nodes of a federation announce to all others: signed heads of logs, and proofs that a log is forked.

One topic a federation, one DAG-CBOR map an announcement. Reading checks shapes and limits; `Heads` decides what is
believed. Normative text: docs/spec/announcing.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from tslg.protocol import anchoring, codec, extending
from tslg.protocol.checkpoint import Checkpoint, Signed, parse_log
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError, CodecError, TslgError
from tslg.protocol.exchange import MessageError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.record import Record
from tslg.protocol.telling import Sealed, Speakers

TOPIC: Final = "/tslg/heads/1/"
"""What the name of a topic starts with; the federation's id as text follows."""


def topic_of(federation: Link) -> str:
    """Return the topic of a federation."""
    return TOPIC + to_text(federation)


class HeadNews(NamedTuple):
    """A signed checkpoint, what tells strangers whose key signed it, and how the log grew since an earlier one.

    Attributes:
        note: the checkpoint.
        told: the key events of the log, genesis first.
        since: the size of an earlier state, 0 if `path` is empty.
        path: the path from there to the checkpoint's size (`extending`).
    """

    note: bytes
    told: tuple[Sealed, ...]
    since: int = 0
    path: tuple[bytes, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the announcement."""
        return codec.encode(
            {"head": {"checkpoint": self.note, "keys": _lists(self.told), "since": self.since, "path": list(self.path)}}
        )


class StatesNews(NamedTuple):
    """Two signed checkpoints of one log, the smaller first, the larger of which does not extend the smaller."""

    notes: tuple[bytes, bytes]
    told: tuple[Sealed, ...]
    path: tuple[bytes, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the announcement."""
        return codec.encode(
            {"fork": {"checkpoints": list(self.notes), "keys": _lists(self.told), "path": list(self.path)}}
        )


class RecordsNews(NamedTuple):
    """Two sealed records for one position of a log."""

    records: tuple[Sealed, Sealed]
    told: tuple[Sealed, ...]

    def to_bytes(self) -> bytes:
        """Return the announcement."""
        return codec.encode({"fork": {"records": _lists(self.records), "keys": _lists(self.told)}})


ForkNews = StatesNews | RecordsNews
News = HeadNews | ForkNews


class OpenedHead(NamedTuple):
    """An announced head, and all that it says by itself.

    Attributes:
        news: as it was announced.
        signed, agent: the checkpoint in it, and whose log that is of.
        led: what its path leads to, None without one.
        sound: whether it is a head of something, and its path, if there is one, leads to it.
    """

    news: HeadNews
    signed: Signed
    agent: Link
    led: extending.Roots | None
    sound: bool


def read(data: bytes, limits: Limits = DEFAULT) -> News:
    """Read an announcement. Raises MessageError; verifies nothing."""
    if len(data) > limits.announcement_bytes:
        raise _malformed(f"more than {limits.announcement_bytes} bytes")
    try:
        value = codec.decode(data)
    except CodecError as error:
        raise _malformed(error.detail) from error
    body: Any = next(iter(value.values())) if type(value) is dict and len(value) == 1 else None
    if type(body) is not dict:
        raise _malformed("an announcement is `head` or `fork`")
    told = _sealed(body.get("keys"), 1, limits.key_events)
    if "head" in value and body.keys() == {"checkpoint", "keys", "since", "path"}:
        path, since = _path(body["path"], limits), body["since"]
        if type(since) is not int or not 0 <= since <= limits.integer or bool(since) != bool(path):
            raise _malformed("`since` is a size, 0 without a path")
        return HeadNews(_note(body["checkpoint"], limits), told, since, path)
    if "fork" in value and body.keys() == {"checkpoints", "keys", "path"}:
        notes = body["checkpoints"]
        if type(notes) is not list or len(notes) != 2:
            raise _malformed("two checkpoints")
        return StatesNews((_note(notes[0], limits), _note(notes[1], limits)), told, _path(body["path"], limits))
    if "fork" in value and body.keys() == {"records", "keys"}:
        first, second = _sealed(body["records"], 2, 2)
        return RecordsNews((first, second), told)
    raise _malformed("an announcement is `head` or `fork`")


def open_news(data: bytes, limits: Limits = DEFAULT) -> OpenedHead | ForkNews:
    """Read an announcement, and of a head all that it says by itself. Raises MessageError and CheckpointError."""
    news = read(data, limits)
    return open_head(news, limits) if isinstance(news, HeadNews) else news


def open_head(news: HeadNews, limits: Limits = DEFAULT) -> OpenedHead:
    """Read all that an announced head says by itself; verifies nothing. Raises CheckpointError."""
    signed = parse_log(news.note, limits)
    _, size, root, _ = signed.checkpoint
    led = extending.roots(news.since, size, news.path) if news.path else None
    sound = size > 0 and (not news.path or (led is not None and led.new == root))
    return OpenedHead(news, signed, signed.checkpoint.agent, led, sound)


def contradicts(old: Checkpoint, new: Checkpoint, path: Sequence[bytes]) -> bool:
    """Tell whether this path shows that two states, the smaller first, are not of one log; roots of one size do alone.

    False says nothing but that it is not shown.
    """
    if old.size == new.size:
        return not path and old.root != new.root
    led = extending.roots(old.size, new.size, path)
    return led is not None and led.new == new.root and led.old != old.root


def states_of(news: StatesNews, speakers: Speakers, limits: Limits = DEFAULT) -> tuple[Signed, Signed] | None:
    """Return the two checkpoints of a proof that holds, None if it does not. Never raises.

    Args:
        news: what was announced.
        speakers: the keys of the log as far as they are known.
        limits: bounds on checkpoints.
    """
    try:
        old, new = (parse_log(note, limits) for note in news.notes)
        if old.checkpoint.origin != new.checkpoint.origin or not speaks(old, speakers) or not speaks(new, speakers):
            return None
    except CheckpointError:
        return None
    return (old, new) if contradicts(old.checkpoint, new.checkpoint, news.path) else None


def speaks(signed: Signed, speakers: Speakers) -> bool:
    """Tell whether a key that speaks for the log, of that size, signed a checkpoint. Raises CheckpointError."""
    return anchoring.own(signed, speakers.keys.values(), speakers.ends)


def one_place(first: Record, second: Record) -> bool:
    """Tell whether two records stand at one position of one log, and differ."""
    return (first.owner, first.seq) == (second.owner, second.seq) and first.id != second.id


def owner_of(news: News, limits: Limits = DEFAULT) -> Link:
    """Return the agent whose log an announcement is about, as it says itself. Raises TslgError."""
    if isinstance(news, HeadNews):
        return parse_log(news.note, limits).checkpoint.agent
    if isinstance(news, StatesNews):
        return parse_log(news.notes[0], limits).checkpoint.agent
    agent = codec.decode(news.records[0][0])
    found = agent.get("agent") if isinstance(agent, Mapping) else None
    if type(found) is not Link:
        raise TslgError("a record of no agent's log")
    return found


def _lists(told: Sequence[Sealed]) -> list[list[bytes]]:
    return [[data, seal] for data, seal in told]


def _sealed(value: Any, least: int, most: int) -> tuple[Sealed, ...]:
    if type(value) is not list or not least <= len(value) <= most:
        raise _malformed(f"{least} to {most} records with their seals")
    if not all(type(one) is list and [type(part) for part in one] == [bytes, bytes] for one in value):
        raise _malformed("a record with its seal is a list of two byte strings")
    return tuple((data, seal) for data, seal in value)


def _path(value: Any, limits: Limits) -> tuple[bytes, ...]:
    if type(value) is not list or len(value) > limits.proof_hashes + 1:
        raise _malformed("a path is a list of hashes")
    if not all(type(one) is bytes and len(one) == 32 for one in value):
        raise _malformed("a hash has 32 bytes")
    return tuple(value)


def _note(value: Any, limits: Limits) -> bytes:
    if type(value) is not bytes or len(value) > limits.announced_checkpoint_bytes:
        raise _malformed(f"a checkpoint is at most {limits.announced_checkpoint_bytes} bytes")
    return value


def _malformed(detail: str) -> MessageError:
    return MessageError(f"malformed announcement: {detail}", mend="the peer speaks another version of the protocol")
