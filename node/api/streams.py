"""Following logs over the local interface: `GET /v1/stream`, as Server-Sent Events or a JSON document a line.

What a client is sent carries a cursor, from which it is sent the rest when it comes again. Nothing is read ahead of
what the client takes. Normative text: docs/spec/streaming.md.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final
from urllib.parse import parse_qsl

from tslg.node.home import Home
from tslg.node.httpd.messages import Request, Streaming
from tslg.node.streaming.feed import Batch, Cursor, Feed, Item, decode_cursor, document, encode_cursor, one_line
from tslg.node.streaming.following import batches
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, UsageError
from tslg.protocol.kinds import KINDS
from tslg.protocol.limits import DEFAULT, Limits

PATH: Final = "/v1/stream"
EVENTS: Final = "text/event-stream"
LINES: Final = "application/x-ndjson"
LAST: Final = "last-event-id"
"""Header: the cursor of the last event that the client got."""
_PARAMETERS: Final = ("kinds", "log", "from", "follow")


class Streams:
    """Opens streams over one data directory.

    Args:
        home: the open data directory.
        limits: bounds on streams.
    """

    def __init__(self, home: Home, limits: Limits = DEFAULT) -> None:
        self._home = home
        self._limits = limits
        self._open = 0

    def answer(self, request: Request) -> Streaming:
        """Open a stream.

        Raises:
            UsageError: the request asks for what is none; its cursor does not fit what is held. NetworkError:
                `TSLG-N-BUSY`: as many are open as there may be.
        """
        if self._open >= self._limits.local_streams:
            raise NetworkError(
                f"{self._open} streams are open already", code="TSLG-N-BUSY", mend="close one, or come again later"
            )
        asked = _parameters(request.path.partition("?")[2])
        given = [value for name, value in asked if name == "from"]
        start = request.headers.get(LAST) or (given[-1] if given else "start")
        live = [value for name, value in asked if name == "follow"][-1:] != ["no"]
        feed = Feed(
            self._home.store,
            logs=self._logs([value for name, value in asked if name == "log"]),
            kinds=_kinds([value for name, value in asked if name == "kinds"]),
            cursor=self._cursor(start),
        )
        if start == "end":
            feed.skip()
        events = EVENTS in request.headers.get("accept", "")
        return Streaming(200, EVENTS if events else LINES, lambda: self._chunks(feed, events, live))

    def _logs(self, given: Sequence[str]) -> list[Link]:
        """Return the logs that are asked for; those of this node's agents if none is."""
        found = [cid.from_text(text) for text in given] or [agent.id for agent in self._home.agents]
        if len(set(found)) > self._limits.stream_logs:
            raise UsageError(
                f"{len(set(found))} logs in one stream", mend=f"name at most {self._limits.stream_logs} with `log`"
            )
        return found

    def _cursor(self, start: str) -> Cursor | None:
        return None if start in ("start", "end") else decode_cursor(start, self._limits.stream_logs)

    async def _chunks(self, feed: Feed, events: bool, live: bool) -> AsyncGenerator[bytes]:
        if self._open >= self._limits.local_streams:
            # Several were let in before the first of them was opened.
            raise NetworkError("as many streams are open already as there may be", code="TSLG-N-BUSY")
        self._open += 1
        try:
            async with aclosing(batches(feed, self._home.ledger.growth, live=live)) as read:
                async for batch in read:
                    for chunk in _framed(batch, events):
                        yield chunk
        finally:
            self._open -= 1


def _parameters(query: str) -> list[tuple[str, str]]:
    try:
        asked = parse_qsl(query, keep_blank_values=True, max_num_fields=64)
    except ValueError as error:
        raise UsageError(f"the parameters cannot be read: {error}", mend="send fewer") from error
    for name, _ in asked:
        if name not in _PARAMETERS:
            raise UsageError(f"{name[:40]!r} is no parameter", mend=f"there are {', '.join(_PARAMETERS)}")
    return asked


def _framed(batch: Batch, events: bool) -> list[bytes]:
    """Return a batch as bytes; of one without records the cursor alone, so that a client need not read it again."""
    if not batch.items:
        cursor = encode_cursor(batch.cursor)
        return [f"id: {cursor}\n: nothing new\n\n".encode() if events else one_line({"cursor": cursor}) + b"\n"]
    return [_frame(item, cursor, events) for item, cursor in _with_cursors(batch)]


def _with_cursors(batch: Batch) -> list[tuple[Item, str]]:
    """Pair the records of a batch, which are of one log, with the cursor after each."""
    found = []
    for place, item in enumerate(batch.items):
        owner = item.record.owner
        last = place == len(batch.items) - 1
        mark = batch.cursor[owner] if last else batch.cursor[owner]._replace(next=item.record.seq + 1)
        if not last:
            mark = mark._replace(last=item.record.id)
        found.append((item, encode_cursor({**batch.cursor, owner: mark})))
    return found


def _frame(item: Item, cursor: str, events: bool) -> bytes:
    told = document(item)
    if events:
        return b"id: " + cursor.encode() + b"\nevent: record\ndata: " + one_line(told) + b"\n\n"
    return one_line({**told, "cursor": cursor}) + b"\n"


def _kinds(given: Sequence[str]) -> frozenset[str] | None:
    """Return the kinds that are asked for, None for all. Raises UsageError for one that there is not."""
    named = frozenset(name for text in given for name in text.split(",") if name)
    unknown = sorted(named - KINDS.keys())
    if unknown:
        raise UsageError(f"there is no kind {unknown[0][:40]!r}", mend="docs/spec/kinds.md lists them")
    return named or None
