"""What can go wrong between two peers, each with its code, the peer as a field, and what would mend it.

NetworkError
├── PeerError                 names the peer
│   ├── Answered              the peer answered that it has no answer; a handler raises these to say so
│   │   ├── InvalidRequest    1   TSLG-N-INVALID-REQUEST
│   │   ├── ServerError       2   TSLG-N-SERVER-ERROR
│   │   ├── NotAvailable      3   TSLG-N-NOT-AVAILABLE
│   │   ├── RequestRefused    4   TSLG-N-REFUSED
│   │   └── Busy              5   TSLG-N-BUSY
│   ├── NotServed             the peer does not speak this protocol            TSLG-N-NOT-SERVED
│   ├── Unreachable           no connection, or it was lost                    TSLG-N-UNREACHABLE
│   ├── NotDialled            the address lies deeper inside than this node    TSLG-N-REACH
│   ├── ProtocolViolation     the peer broke the protocol                      TSLG-N-VIOLATION
│   └── Stalled               no progress for too long                         TSLG-N-STALLED
├── AddressError              text that names no peer                          TSLG-N-ADDRESS
├── ListenError               the listening address cannot be had              TSLG-N-LISTEN
└── FeatureOff                discovery or announcements are switched off      TSLG-N-OFF
"""

from __future__ import annotations

from typing import ClassVar

from tslg.protocol import frames
from tslg.protocol.errors import NetworkError

_REASON_CHARACTERS = 200


class PeerError(NetworkError):
    """A failure that has a peer to it.

    Attributes:
        peer: the peer's id as text, or an empty string where it is not known.
    """

    advice: ClassVar[str] = ""

    def __init__(self, detail: str, *, peer: str = "", mend: str = "") -> None:
        super().__init__(detail, mend=mend or type(self).advice)
        self.peer = peer


class Answered(PeerError):
    """A reply that says why there is no answer. `wire_code` is the code of its chunk.

    A handler raises one of the subclasses, without a peer, to answer with that code and `detail` as the reason.
    """

    wire_code: ClassVar[int]


class InvalidRequest(Answered):
    """The peer could not read the request."""

    code = "TSLG-N-INVALID-REQUEST"
    wire_code = frames.INVALID_REQUEST
    advice = "check that both sides speak the same version of the protocol"


class ServerError(Answered):
    """The peer failed while answering."""

    code = "TSLG-N-SERVER-ERROR"
    wire_code = frames.SERVER_ERROR
    advice = "ask another peer, or this one later"


class NotAvailable(Answered):
    """The peer does not have what was asked for."""

    code = "TSLG-N-NOT-AVAILABLE"
    wire_code = frames.NOT_AVAILABLE
    advice = "ask another peer"


class RequestRefused(Answered):
    """The peer will not give this asker what was asked for."""

    code = "TSLG-N-REFUSED"
    wire_code = frames.REFUSED
    advice = "ask the peer's operator for access"


class Busy(Answered):
    """The peer answers as many requests as it will at the moment."""

    code = "TSLG-N-BUSY"
    wire_code = frames.BUSY
    advice = "ask again later, with fewer requests at a time"


class NotServed(PeerError):
    """The peer is there but does not speak the protocol."""

    code = "TSLG-N-NOT-SERVED"
    advice = "check that the address is that of a tslg node of this version"


class Unreachable(PeerError):
    """No connection to the peer, or it was lost before the reply was complete."""

    code = "TSLG-N-UNREACHABLE"
    advice = "check the address and that the peer is running"


class NotDialled(PeerError):
    """An address that was heard from others, or given by a program, lies where strangers have no say."""

    code = "TSLG-N-REACH"
    advice = "give it as a bootstrap address, or set `reach` in node.toml, if it is meant"


class ProtocolViolation(PeerError):
    """The peer sent what the protocol does not allow."""

    code = "TSLG-N-VIOLATION"
    advice = "do not trust this peer; ask another one"


class Stalled(PeerError):
    """The peer made no progress for longer than the limit."""

    code = "TSLG-N-STALLED"
    advice = "ask another peer, or this one later"


class AddressError(NetworkError, ValueError):
    """Text that is not the address or the id of a peer."""

    code = "TSLG-N-ADDRESS"


class ListenError(NetworkError):
    """A listening address that cannot be had."""

    code = "TSLG-N-LISTEN"


class FeatureOff(NetworkError):
    """A part of the network that this node runs without."""

    code = "TSLG-N-OFF"


_BY_WIRE_CODE: dict[int, type[Answered]] = {
    kind.wire_code: kind for kind in (InvalidRequest, ServerError, NotAvailable, RequestRefused, Busy)
}


def from_chunk(chunk: frames.Chunk, peer: str) -> Answered:
    """The error that a chunk with a code other than `OK` stands for. The peer's reason is cut and made printable."""
    reason = chunk.payload[: 4 * _REASON_CHARACTERS].decode("utf-8", "replace")[:_REASON_CHARACTERS]
    reason = "".join(c if c.isprintable() else "?" for c in reason)
    kind = _BY_WIRE_CODE[chunk.code]
    return kind(f"peer {peer} answered: {reason or 'no reason given'}", peer=peer)


def to_chunk(error: Answered) -> bytes:
    """The reply chunk by which a handler's error reaches the asker."""
    return frames.encode_chunk(error.wire_code, error.detail[:_REASON_CHARACTERS].encode())
