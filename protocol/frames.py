"""The bytes of one request and its reply: varint lengths, request frames, reply chunks. Pure: no sockets.

A request is `<varint length><payload>`, then the asker closes its side. A reply is one or more chunks
`<1-byte code><varint length><payload>`, then the answerer closes its side. A chunk whose code is not 0 ends the reply;
its payload is a short reason in UTF-8. Lengths are unsigned varints of the multiformats kind: little-endian groups of
seven bits, shortest form, at most nine bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tslg.protocol.errors import NetworkError

OK = 0
INVALID_REQUEST = 1
SERVER_ERROR = 2
NOT_AVAILABLE = 3
REFUSED = 4
BUSY = 5
CODES = range(6)

_VARINT_BYTES = 9


class FrameError(NetworkError):
    """Bytes that are not a request frame or a reply as the protocol has them."""

    code = "TSLG-N-FRAME"


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a reply: its code (`OK` or why there is no answer) and its payload."""

    code: int
    payload: bytes


def encode_varint(value: int) -> bytes:
    """The unsigned varint of `value`, 0 to 2^63 - 1; ValueError outside that range."""
    if not 0 <= value < 2**63:
        raise ValueError(f"{value} has no varint of nine bytes")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes | bytearray, start: int = 0) -> tuple[int, int] | None:
    """The varint at `start` and the position behind it; None if more bytes are needed; FrameError if malformed."""
    value = 0
    for i in range(_VARINT_BYTES):
        if start + i >= len(data):
            return None
        byte = data[start + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if byte == 0 and i > 0:
                raise FrameError("a length is not in its shortest form")
            return value, start + i + 1
    raise FrameError("a length takes more than nine bytes")


def encode_request(payload: bytes) -> bytes:
    """The request frame that carries `payload`."""
    return encode_varint(len(payload)) + payload


def encode_chunk(code: int, payload: bytes) -> bytes:
    """One reply chunk; ValueError for a code outside `CODES`."""
    if code not in CODES:
        raise ValueError(f"{code} is not a reply code")
    return bytes((code,)) + encode_varint(len(payload)) + payload


class RequestDecoder:
    """Collects the bytes of one request; `finish` at the asker's half-close gives its payload."""

    def __init__(self, max_payload: int) -> None:
        self._max = max_payload
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take more bytes; FrameError as soon as they cannot be one request of at most `max_payload` bytes."""
        self._buffer += data
        header = decode_varint(self._buffer)
        if header is None:
            return
        length, body = header
        if length > self._max:
            raise FrameError(f"a request of {length} bytes; the limit is {self._max}")
        if len(self._buffer) > body + length:
            raise FrameError("bytes behind the request")

    def finish(self) -> bytes:
        """The payload, once the asker has closed its side; FrameError if the request is incomplete."""
        header = decode_varint(self._buffer)
        if header is None or len(self._buffer) != sum(header):
            raise FrameError("the request ends in the middle")
        return bytes(self._buffer[header[1] :])


class ReplyDecoder:
    """Turns the bytes of one reply into chunks, as they come in."""

    def __init__(self, max_chunk: int, max_reply: int) -> None:
        self._max_chunk = max_chunk
        self._left = max_reply
        self._max_reply = max_reply
        self._buffer = bytearray()
        self._chunks = 0
        self._refused = False

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Take more bytes and give every chunk that is now complete; FrameError if they break the protocol."""
        self._buffer += data
        while (chunk := self._take()) is not None:
            yield chunk

    def finish(self) -> None:
        """The answerer has closed its side; FrameError if that is in the middle of a chunk or before the first."""
        if self._buffer:
            raise FrameError("the reply ends in the middle of a chunk")
        if not self._chunks:
            raise FrameError("the reply ends without a chunk")

    def _take(self) -> Chunk | None:
        if not self._buffer:
            return None
        if self._refused:
            raise FrameError("bytes behind a chunk that ends the reply")
        code = self._buffer[0]
        if code not in CODES:
            raise FrameError(f"a reply chunk with the unknown code {code}")
        header = decode_varint(self._buffer, 1)
        if header is None:
            return None
        length, body = header
        if length > self._max_chunk:
            raise FrameError(f"a reply chunk of {length} bytes; the limit is {self._max_chunk}")
        if length > self._left:
            raise FrameError(f"a reply of more than {self._max_reply} bytes")
        if len(self._buffer) < body + length:
            return None
        payload = bytes(self._buffer[body : body + length])
        del self._buffer[: body + length]
        self._left -= length
        self._chunks += 1
        self._refused = code != OK
        return Chunk(code, payload)
