"""What nodes say to each other about delegations, and what becomes of one. Normative: docs/spec/delegating.md.

Messages as values and as bytes, and the states of a delegation, which both sides keep. The two sides themselves are
the state machines `protocol.delegate` and `protocol.delegator`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tslg.protocol import cid, codec
from tslg.protocol.codec import Link
from tslg.protocol.exchange import MessageError, read_map
from tslg.protocol.limits import DEFAULT, Limits

OFFERED: Final = "offered"
ACCEPTED: Final = "accepted"
WORKING: Final = "working"
ANSWERED: Final = "answered"
REFUSED: Final = "refused"
FAILED: Final = "failed"
EXPIRED: Final = "expired"
CANCELLED: Final = "cancelled"

OPEN: Final = frozenset((OFFERED, ACCEPTED, WORKING))
"""States out of which something can still come."""
ENDED: Final = frozenset((ANSWERED, REFUSED, FAILED, EXPIRED, CANCELLED))
"""States in which a delegation stays."""
STATE_OF: Final = {"result": ANSWERED, "refused": REFUSED, "failed": FAILED, "cancelled": CANCELLED}
"""By the `outcome` of an `answer` record, the state that it stands for."""
OUTCOME_OF: Final = {state: outcome for outcome, state in STATE_OF.items()}

_VOUCHING: Final = "tslg.delegate.v1"


class Proof(NamedTuple):
    """A signature by which an agent vouches for the peer that speaks for it about one delegation.

    Attributes:
        key: the record that registers the agent's key.
        signature: over `vouched(delegation, peer)`.
    """

    key: Link
    signature: bytes


def vouched(delegation: Link, peer: str) -> bytes:
    """Return the bytes that the delegator's key signs for the peer that speaks for it about a delegation."""
    return codec.encode([_VOUCHING, delegation, peer])


class Offer(NamedTuple):
    """Hand a delegation to its delegate; `addresses` say where the delegator's node answers walks."""

    delegation: Link
    addresses: tuple[str, ...]
    proof: Proof

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        return _request("offer", self.delegation, addresses=list(self.addresses), proof=_proof_map(self.proof))


class Status(NamedTuple):
    """Ask what has become of a delegation, without handing it over."""

    delegation: Link
    proof: Proof

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        return _request("status", self.delegation, proof=_proof_map(self.proof))


class Cancel(NamedTuple):
    """Tell the delegate that a delegation was withdrawn, by the retraction `record`."""

    delegation: Link
    record: Link
    addresses: tuple[str, ...]
    proof: Proof

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        more = {"record": self.record, "addresses": list(self.addresses), "proof": _proof_map(self.proof)}
        return _request("cancel", self.delegation, **more)


class Push(NamedTuple):
    """Tell the delegator of the record that answers its delegation, which proves itself."""

    delegation: Link
    answer: Link
    addresses: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        return _request("result", self.delegation, answer=self.answer, addresses=list(self.addresses))


Message = Offer | Status | Cancel | Push


def read_request(data: bytes, limits: Limits = DEFAULT) -> Message:
    """Read a request about a delegation. Raises MessageError."""
    value = read_map(data)
    op, delegation = value.pop("op", None), value.pop("delegation", None)
    fields = {name: _READ[name](item, limits) if name in _READ else _wrong(name) for name, item in value.items()}
    if type(delegation) is not Link or not _is_link(delegation):
        raise _malformed("delegation")
    kind = _OPS.get(op) if type(op) is str else None
    if kind is None or {"delegation", *fields} != set(kind._fields):
        raise _malformed("unknown request")
    return kind(delegation=delegation, **fields)


class State(NamedTuple):
    """What has become of a delegation: every chunk of a reply.

    Attributes:
        state: one of the names above.
        done, total: how far the work is, counts; `total` None where that is not known.
        reason: one line, for a refusal or failure.
        result: the record that the delegate made, if it is answered.
        answer: the delegate's `answer` record, if it could make one.
    """

    state: str
    done: int = 0
    total: int | None = None
    reason: str | None = None
    result: Link | None = None
    answer: Link | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more can come of it."""
        return self.state in ENDED

    def to_bytes(self) -> bytes:
        """Return the chunk."""
        return codec.encode(self._asdict())

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT) -> State:
        """Read a chunk. Raises MessageError."""
        value = read_map(data)
        if value.keys() != set(cls._fields):
            raise _malformed("a state")
        state, reason = value["state"], value["reason"]
        if type(state) is not str or state not in OPEN | ENDED:
            raise _malformed("state")
        if not _is_count(value["done"]) or not (value["total"] is None or _is_count(value["total"])):
            raise _malformed("progress")
        if reason is not None and (type(reason) is not str or len(reason) > limits.delegation_reason):
            raise _malformed("reason")
        if any(value[name] is not None and not _is_link(value[name]) for name in ("result", "answer")):
            raise _malformed("result")
        if (state == ANSWERED) != (value["result"] is not None):
            raise _malformed("a result, where it is answered and only there")
        return cls(**value)


def one_line(reason: str, limits: Limits = DEFAULT) -> str:
    """Return a reason as it may travel: printable, in one line, and cut."""
    return "".join(c if c.isprintable() else " " for c in reason)[: limits.delegation_reason] or "no reason given"


# --- shapes ----------------------------------------------------------------------------------------------------------


def _request(op: str, delegation: Link, **fields: Any) -> bytes:
    return codec.encode({"op": op, "delegation": delegation, **fields})


def _proof_map(proof: Proof) -> dict[str, Any]:
    return {"key": proof.key, "signature": proof.signature}


def _read_proof(value: Any, limits: Limits) -> Proof:
    if type(value) is not dict or value.keys() != {"key", "signature"}:
        raise _malformed("proof")
    if not _is_link(value["key"]) or type(value["signature"]) is not bytes:
        raise _malformed("proof")
    if len(value["signature"]) > limits.delegation_signature_bytes:
        raise _malformed("proof")
    return Proof(value["key"], value["signature"])


def _read_addresses(value: Any, limits: Limits) -> tuple[str, ...]:
    if type(value) is not list or len(value) > 64 or any(type(a) is not str or len(a) > 512 for a in value):
        raise _malformed("addresses")
    return tuple(value)


def _read_link(value: Any, limits: Limits) -> Link:
    if not _is_link(value):
        raise _malformed("an id")
    assert isinstance(value, Link)
    return value


def _wrong(name: str) -> Any:
    raise _malformed(f"unknown entry {name[:32]!r}")


_READ: Final[dict[str, Callable[[Any, Limits], Any]]] = {
    "addresses": _read_addresses,
    "answer": _read_link,
    "proof": _read_proof,
    "record": _read_link,
}
_OPS: Final[dict[str, type[Offer] | type[Status] | type[Cancel] | type[Push]]] = {
    "offer": Offer,
    "status": Status,
    "cancel": Cancel,
    "result": Push,
}


def _is_link(value: Any) -> bool:
    return type(value) is Link and cid.is_record_id(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _malformed(what: str) -> MessageError:
    return MessageError(f"malformed message: {what}", mend="the peer speaks another version of the protocol")
