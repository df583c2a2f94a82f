"""The messages of `/tslg/push/1`: comparing, subscribing to, closing and offering logs: docs/spec/replication.md.

A request is one DAG-CBOR map in one frame, a reply a sequence of chunks, as in `exchange`. Reading checks shapes and
limits; nothing that is read here is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from tslg.protocol import cid, codec
from tslg.protocol.codec import Link
from tslg.protocol.exchange import MessageError, Pair, read_map, read_pairs, travelling
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, read_list

PUSH: Final = "/tslg/push/1"
_ROOT_BYTES: Final = 32


class Stand(NamedTuple):
    """Where the asker stands in a log: it holds the records below `size` (at least 1), whose tree has this root."""

    agent: Link
    size: int
    root: bytes


class SubscribeRequest(NamedTuple):
    """Ask for what logs hold from these sizes on.

    Attributes:
        logs: by agent, how many records the asker holds.
        everything: ask for all logs that the answerer holds whole; `logs` then says where to start.
        live: go on with what is appended from then on.
    """

    logs: tuple[tuple[Link, int], ...]
    everything: bool = False
    live: bool = False

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        logs = [{"agent": agent, "size": size} for agent, size in self.logs]
        return codec.encode({"op": "subscribe", "logs": logs, "all": self.everything, "live": self.live})


class CompareRequest(NamedTuple):
    """Ask in which logs the two differ.

    Attributes:
        logs: where the asker stands in logs that it holds.
        wanted: logs that it would like to have and holds nothing of.
        everything: ask for all other logs too that the answerer holds whole.
        after: go on behind this agent, by id: the rest of a long answer.
    """

    logs: tuple[Stand, ...]
    wanted: tuple[Link, ...] = ()
    everything: bool = False
    after: Link | None = None

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        logs = [{"agent": one.agent, "size": one.size, "root": one.root} for one in self.logs]
        wanted = list(self.wanted)
        return codec.encode(
            {"op": "compare", "logs": logs, "wanted": wanted, "all": self.everything, "after": self.after}
        )


class CloseRequest(NamedTuple):
    """Ask for ancestry, but not for what lies behind records that the asker holds with all that they rest on.

    Attributes:
        roots: the records whose ancestry is lacking.
        have: logs of which the asker holds the records below a size.
        known: single records that it holds.
    """

    roots: tuple[Link, ...]
    have: tuple[tuple[Link, int], ...] = ()
    known: tuple[Link, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        have = [{"agent": agent, "size": size} for agent, size in self.have]
        return codec.encode({"op": "close", "roots": list(self.roots), "have": have, "known": list(self.known)})


class OfferRequest(NamedTuple):
    """Say that logs have grown to these heads."""

    heads: tuple[HeadClaim, ...]

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        return codec.encode({"op": "offer", "heads": [head.to_map() for head in self.heads]})


class SubmitRequest(NamedTuple):
    """Hand in a stretch of an engine's log to a tenant that admits the engine: a bundle (docs/spec/engines.md)."""

    bundle: bytes

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        return codec.encode({"op": "submit", "bundle": self.bundle})


PushRequest = SubscribeRequest | CompareRequest | CloseRequest | OfferRequest | SubmitRequest


def read_push_request(data: bytes, limits: Limits = DEFAULT) -> PushRequest:
    """Read a request. Raises MessageError."""
    value = read_map(data)
    op = value.pop("op", None)
    if op == "subscribe":
        logs, everything, live = _fields(value, "logs", "all", "live")
        _need(type(everything) is bool and type(live) is bool, "subscribe")
        return SubscribeRequest(_sizes(logs, limits.replicated_logs), everything, live)
    if op == "compare":
        logs, wanted, everything, after = _fields(value, "logs", "wanted", "all", "after")
        _need(type(logs) is list and len(logs) <= limits.replicated_logs, "logs")
        _need(type(everything) is bool and (after is None or _is_link(after)), "compare")
        return CompareRequest(
            tuple(map(_stand, logs)), _links(wanted, limits.replicated_logs, "wanted"), everything, after
        )
    if op == "close":
        roots, have, known = _fields(value, "roots", "have", "known")
        asked = _links(roots, limits.walk_roots, "roots")
        return CloseRequest(asked, _sizes(have, limits.walk_roots), _links(known, limits.walk_roots, "known"))
    if op == "submit":
        (bundle,) = _fields(value, "bundle")
        _need(type(bundle) is bytes and 0 < len(bundle) <= limits.submission_bytes, "bundle")
        return SubmitRequest(bundle)
    _need(op == "offer", "unknown request")
    (heads,) = _fields(value, "heads")
    return OfferRequest(_heads(heads, limits))


# --- replies -----------------------------------------------------------------------------------------------------


class Heads(NamedTuple):
    """The answerer's logs end here, as it says; an empty list is a sign of life."""

    heads: tuple[HeadClaim, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the chunk."""
        return codec.encode({"heads": [head.to_map() for head in self.heads]})


class More(NamedTuple):
    """The last chunk of a subscription: whether there would have been more, for which to subscribe again."""

    more: bool

    def to_bytes(self) -> bytes:
        """Return the chunk."""
        return codec.encode({"more": self.more})


class Difference(NamedTuple):
    """A log in which the two differ: the answerer's head, its newest record, and a proof that it extends the asker's.

    `proof` leads from the asker's size to the tree that the newest record carries in `log`; None where there is none.
    """

    head: HeadClaim
    pair: Pair
    proof: ConsistencyProof | None = None


class Compared(NamedTuple):
    """One chunk of the answer to a comparison. `after` is set in the last one if it is not the whole answer."""

    logs: tuple[Difference, ...]
    after: Link | None = None

    def to_bytes(self) -> bytes:
        """Return the chunk."""
        logs = [
            {
                "head": one.head.to_map(),
                "record": travelling(one.pair),
                "proof": None if one.proof is None else one.proof.to_map(),
            }
            for one in self.logs
        ]
        return codec.encode({"logs": logs, "after": self.after})

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT) -> Compared:
        """Read the chunk. Raises MessageError."""
        logs, after = _fields(read_map(data), "logs", "after")
        _need(type(logs) is list and len(logs) <= limits.walk_roots, "logs")
        _need(after is None or _is_link(after), "after")
        return cls(tuple(_difference(one, limits) for one in logs), after)


class Taken(NamedTuple):
    """The answer to an offer: how many of the heads are of logs that the answerer follows."""

    taken: int

    def to_bytes(self) -> bytes:
        """Return the chunk."""
        return codec.encode({"taken": self.taken})

    @classmethod
    def from_bytes(cls, data: bytes) -> Taken:
        """Read the chunk. Raises MessageError."""
        (taken,) = _fields(read_map(data), "taken")
        _need(_is_count(taken), "taken")
        return cls(taken)


class Submitted(NamedTuple):
    """The answer to a submission.

    Attributes:
        engine: whose log.
        size: how many records of it the answerer holds, from which the next submission goes on.
        new: how many of them are new.
        steps: the steps that were taken up, now or before.
        taken: the answerer's records that take them up.
    """

    engine: Link
    size: int
    new: int
    steps: tuple[Link, ...] = ()
    taken: tuple[Link, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the chunk."""
        return codec.encode({**self._asdict(), "steps": list(self.steps), "taken": list(self.taken)})

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT) -> Submitted:
        """Read the chunk. Raises MessageError."""
        engine, size, new, steps, taken = _fields(read_map(data), *cls._fields)
        _need(_is_link(engine) and _is_count(size) and _is_count(new), "submitted")
        most = limits.walk_roots
        return cls(engine, size, new, _links(steps, most, "steps"), _links(taken, most, "taken"))


def read_subscription_chunk(data: bytes, limits: Limits = DEFAULT) -> list[Pair] | Heads | More:
    """Read one chunk of the reply to a subscription. Raises MessageError."""
    value = read_map(data, checked=False)
    if value.keys() == {"records"}:
        return read_pairs(value["records"], limits)
    value = read_map(data)
    if value.keys() == {"more"}:
        _need(type(value["more"]) is bool, "more")
        return More(value["more"])
    (heads,) = _fields(value, "heads")
    return Heads(_heads(heads, limits))


# --- shapes ------------------------------------------------------------------------------------------------------


def _difference(value: Any, limits: Limits) -> Difference:
    head, pair, proof = _fields(value, "head", "record", "proof")
    try:
        claim = HeadClaim.from_map(head, limits)
        shown = None if proof is None else ConsistencyProof.from_map(proof, limits)
    except ValueError as error:
        raise MessageError(f"a comparison: {error}") from error
    return Difference(claim, read_pairs([pair], limits)[0], shown)


def _heads(value: Any, limits: Limits) -> tuple[HeadClaim, ...]:
    try:
        return read_list(HeadClaim.from_map, value, limits.walk_roots, limits)
    except ValueError as error:
        raise MessageError(f"heads: {error}") from error


def _stand(value: Any) -> Stand:
    agent, size, root = _fields(value, "agent", "size", "root")
    _need(_is_link(agent) and _is_count(size) and size > 0, "logs")
    _need(type(root) is bytes and len(root) == _ROOT_BYTES, "root")
    return Stand(agent, size, root)


def _sizes(value: Any, most: int) -> tuple[tuple[Link, int], ...]:
    _need(type(value) is list and len(value) <= most, f"at most {most} logs")
    found = []
    for one in value:
        agent, size = _fields(one, "agent", "size")
        _need(_is_link(agent) and _is_count(size), "logs")
        found.append((agent, size))
    return tuple(found)


def _links(value: Any, most: int, what: str) -> tuple[Link, ...]:
    _need(type(value) is list and len(value) <= most and all(map(_is_link, value)), f"{what}: at most {most} ids")
    return tuple(value)


def _fields(value: Any, *names: str) -> Sequence[Any]:
    _need(type(value) is dict and value.keys() == set(names), f"a map of {', '.join(names)}")
    return [value[name] for name in names]


def _is_link(value: Any) -> bool:
    return type(value) is Link and cid.is_record_id(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise MessageError(f"malformed message: {what}", mend="the peer speaks another version of the protocol")


def in_chunks(logs: Iterable[Difference], most_bytes: int) -> Iterable[tuple[Difference, ...]]:
    """Split the answer to a comparison into chunks of at most so many bytes of records and proofs."""
    part: list[Difference] = []
    size = 0
    for one in logs:
        weight = sum(len(item) for item in one.pair if item is not None)
        weight += 256 + 40 * len(one.proof.proof if one.proof is not None else ())
        if part and size + weight > most_bytes:
            yield tuple(part)
            part, size = [], 0
        part.append(one)
        size += weight
    yield tuple(part)
