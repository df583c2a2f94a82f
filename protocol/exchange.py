"""The messages that nodes exchange, as values and as bytes: walks and logs. Normative: docs/spec/wire.md.

A request is one DAG-CBOR map in one frame. A reply is a sequence of chunks, each one DAG-CBOR map; records travel as
`[record bytes, seal bytes]`, or with an attachment as a third item. Reading checks shapes and limits; nothing that is
read here is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from tslg.protocol import cid, codec
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError, NetworkError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.logproof import Needs
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof, PrunedProof, read_list, read_notes

T = TypeVar("T")

WALK: Final = "/tslg/walk/1"
LOG: Final = "/tslg/log/1"
DELEGATE: Final = "/tslg/delegate/1"

REASONS: Final = frozenset(("absent", "withheld", "pruned"))
"""Why a server does not hand over a record."""

_END_BYTES: Final = 512
"""What the names and lists of the last chunk of a walk take beside their items, at most."""
_ITEM_BYTES: Final = 96
"""What one item of such a list takes beside its ids, bytes and hashes, at most."""
_HASH_BYTES: Final = 34
"""A hash in a list."""

Pair = tuple[bytes, bytes] | tuple[bytes, bytes, bytes | None]
"""A record's bytes and its seal's, and what is attached to them, if anything."""


class MessageError(NetworkError):
    """A message that is not what the protocol asks for."""

    code = "TSLG-N-MESSAGE"


class Have(NamedTuple):
    """The asker holds a log's records below `size`."""

    agent: Link
    size: int


class WalkRequest(NamedTuple):
    """Ask for the ancestry of `roots` over `classes` (None: all), at most `edges` typed edges (None: all there are)."""

    roots: tuple[Link, ...]
    classes: tuple[str, ...] | None = None
    edges: int | None = None
    have: tuple[Have, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        return codec.encode(
            {
                "roots": list(self.roots),
                "classes": None if self.classes is None else list(self.classes),
                "edges": self.edges,
                "have": [{"agent": have.agent, "size": have.size} for have in self.have],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT) -> WalkRequest:
        """Read a request. Raises MessageError."""
        roots, classes, edges, have = _fields(read_map(data), "roots", "classes", "edges", "have")
        _need(_is_list(roots, limits.walk_roots) and all(map(_is_link, roots)), f"at most {limits.walk_roots} roots")
        _need(classes is None or (_is_list(classes, 64) and all(type(c) is str for c in classes)), "classes")
        _need(edges is None or (_is_count(edges) and edges <= limits.walk_edges), f"at most {limits.walk_edges} edges")
        _need(_is_list(have, limits.walk_roots), "have")
        return cls(tuple(roots), None if classes is None else tuple(classes), edges, tuple(map(_have, have)))


class WalkEnd(NamedTuple):
    """The last chunk of a walk: what was not handed over and why, and what the server says of the logs."""

    missing: tuple[tuple[Link, str], ...] = ()
    heads: tuple[HeadClaim, ...] = ()
    inclusion: tuple[InclusionProof, ...] = ()
    consistency: tuple[ConsistencyProof, ...] = ()
    beside: tuple[Pair, ...] = ()
    checkpoints: tuple[bytes, ...] = ()
    pruned: tuple[PrunedProof, ...] = ()
    withheld: tuple[tuple[int, int], ...] = ()
    """Of a range: positions [start, stop) of the log of which what was not handed over is withheld."""

    def within(self, most_bytes: int) -> WalkEnd:
        """Return as much of this as a chunk of so many bytes holds: what nobody else can say first, proofs last."""
        left = most_bytes - _END_BYTES
        heads, left = _first(self.heads, left, _head_size)
        missing, left = _first(self.missing, left, _missing_size)
        checkpoints, left = _first(self.checkpoints, left, len)
        beside, left = _first(self.beside, left, size_of)
        pruned, left = _first(self.pruned, left, _proof_size)
        inclusion, left = _first(self.inclusion, left, _proof_size)
        consistency, left = _first(self.consistency, left, _proof_size)
        return WalkEnd(missing, heads, inclusion, consistency, beside, checkpoints, pruned)

    def to_bytes(self) -> bytes:
        """Return the chunk. What is seldom there has no key if it is not."""
        end: dict[str, Any] = {
            "missing": [{"record": id, "reason": reason} for id, reason in self.missing],
            "heads": [head.to_map() for head in self.heads],
            "inclusion": [proof.to_map() for proof in self.inclusion],
            "consistency": [proof.to_map() for proof in self.consistency],
        }
        if self.beside:
            end["beside"] = [travelling(pair) for pair in self.beside]
        if self.checkpoints:
            end["checkpoints"] = list(self.checkpoints)
        if self.pruned:
            end["pruned"] = [proof.to_map() for proof in self.pruned]
        if self.withheld:
            end["withheld"] = [[start, stop] for start, stop in self.withheld]
        return codec.encode({"end": end})


def records_chunk(pairs: Iterable[Pair]) -> bytes:
    """Return the chunk that carries these records."""
    return codec.encode_unchecked({"records": [travelling(pair) for pair in pairs]})


def read_walk_chunk(data: bytes, limits: Limits = DEFAULT) -> list[Pair] | WalkEnd:
    """Read one chunk of a walk's reply, or of a log's range: records, or its end. Raises MessageError.

    A reply that has nothing to hand over is one empty chunk.
    """
    if not data:
        return []
    value = read_map(data, checked=False)
    if value.keys() == {"records"}:
        return read_pairs(value["records"], limits)
    _need(value.keys() == {"end"}, "a walk's chunk is `records` or `end`")
    # The end is small and holds integers, so it is read with the full check.
    end = read_map(data)["end"]
    _need(type(end) is dict, "end")
    _need(
        all(end.get(name, True) for name in ("beside", "pruned", "withheld")),
        "what is seldom there is left out where it is empty",
    )
    beside = read_pairs(end.pop("beside", []), limits)
    _need(len(beside) <= limits.walk_roots, "beside")
    notes = [end.pop("checkpoints")] if "checkpoints" in end else []
    pruned = end.pop("pruned", [])
    spans = end.pop("withheld", [])
    _need(_is_list(spans, limits.withheld_spans) and all(map(_is_span, spans)), "withheld")
    missing, heads, inclusion, consistency = _fields(end, "missing", "heads", "inclusion", "consistency")
    _need(_is_list(missing, limits.walk_edges), "missing")
    try:
        return WalkEnd(
            tuple(map(_missing, missing)),
            read_list(HeadClaim.from_map, heads, limits.walk_edges, limits),
            read_list(InclusionProof.from_map, inclusion, limits.walk_edges, limits),
            read_list(ConsistencyProof.from_map, consistency, limits.walk_edges, limits),
            tuple(beside),
            read_notes(notes[0], limits) if notes else (),
            read_list(PrunedProof.from_map, pruned, limits.walk_edges, limits),
            tuple((start, stop) for start, stop in spans),
        )
    except ValueError as error:
        raise MessageError(f"a walk's end: {error}") from error


# --- logs --------------------------------------------------------------------------------------------------------


class HeadRequest(NamedTuple):
    """Ask for the newest record of a log."""

    agent: Link

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        return codec.encode({"op": "head", "agent": self.agent})


class RangeRequest(NamedTuple):
    """Ask for the records of a log with start <= seq < stop."""

    agent: Link
    start: int
    stop: int

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        return codec.encode({"op": "range", "agent": self.agent, "start": self.start, "stop": self.stop})


class ProofsRequest(NamedTuple):
    """Ask for proofs of a log: of records as last leaves of the tree that ends with them, and from size to size."""

    agent: Link
    needs: Needs

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        spans = [[old, new] for old, new in self.needs.consistency]
        return codec.encode(
            {"op": "proofs", "agent": self.agent, "inclusion": list(self.needs.inclusion), "consistency": spans}
        )


class LocateRequest(NamedTuple):
    """Ask where an agent's own node can be reached."""

    agent: Link

    def to_bytes(self) -> bytes:
        """Return the request's frame."""
        return codec.encode({"op": "locate", "agent": self.agent})


LogRequest = HeadRequest | RangeRequest | ProofsRequest | LocateRequest


def read_log_request(data: bytes, limits: Limits = DEFAULT) -> LogRequest:
    """Read a request about a log. Raises MessageError."""
    value = read_map(data)
    op, agent = value.get("op"), value.get("agent")
    if type(agent) is not Link or not _is_link(agent):
        raise MessageError("malformed message: agent")
    if op == "head" and value.keys() == {"op", "agent"}:
        return HeadRequest(agent)
    if op == "locate" and value.keys() == {"op", "agent"}:
        return LocateRequest(agent)
    if op == "range" and value.keys() == {"op", "agent", "start", "stop"}:
        start, stop = value["start"], value["stop"]
        _need(_is_count(start) and _is_count(stop) and start <= stop <= start + limits.walk_edges, "range")
        return RangeRequest(agent, start, stop)
    _need(op == "proofs" and value.keys() == {"op", "agent", "inclusion", "consistency"}, "unknown request")
    inclusion, spans = value["inclusion"], value["consistency"]
    _need(_is_list(inclusion, limits.walk_roots) and all(map(_is_link, inclusion)), "inclusion")
    _need(_is_list(spans, limits.walk_roots) and all(map(_is_span, spans)), "consistency")
    return ProofsRequest(agent, Needs(tuple(inclusion), tuple((old, new) for old, new in spans)))


class HeadReply(NamedTuple):
    """A log's newest record, with the claim that it is the newest."""

    head: HeadClaim
    pair: Pair

    def to_bytes(self) -> bytes:
        """Return the chunk."""
        return codec.encode({"head": self.head.to_map(), "record": travelling(self.pair)})

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT) -> HeadReply:
        """Read the chunk. Raises MessageError."""
        head, pair = _fields(read_map(data), "head", "record")
        try:
            return cls(HeadClaim.from_map(head, limits), read_pairs([pair], limits)[0])
        except ValueError as error:
            raise MessageError(f"a head: {error}") from error


class ProofsReply(NamedTuple):
    """Proofs of one log, as far as the server could make them."""

    inclusion: tuple[InclusionProof, ...]
    consistency: tuple[ConsistencyProof, ...]

    def within(self, most_bytes: int) -> ProofsReply:
        """Return as much of this as a chunk of so many bytes holds; the rest can be asked for again."""
        inclusion, left = _first(self.inclusion, most_bytes - _END_BYTES, _proof_size)
        return ProofsReply(inclusion, _first(self.consistency, left, _proof_size)[0])

    def to_bytes(self) -> bytes:
        """Return the chunk."""
        inclusion = [proof.to_map() for proof in self.inclusion]
        return codec.encode({"inclusion": inclusion, "consistency": [proof.to_map() for proof in self.consistency]})

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT) -> ProofsReply:
        """Read the chunk. Raises MessageError."""
        inclusion, consistency = _fields(read_map(data), "inclusion", "consistency")
        try:
            return cls(
                read_list(InclusionProof.from_map, inclusion, limits.walk_roots, limits),
                read_list(ConsistencyProof.from_map, consistency, limits.walk_roots, limits),
            )
        except ValueError as error:
            raise MessageError(f"proofs: {error}") from error


class LocateReply(NamedTuple):
    """Addresses at which an agent's node was last known; hearsay, since whatever is there must prove itself."""

    addresses: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """Return the chunk."""
        return codec.encode({"addresses": list(self.addresses)})

    @classmethod
    def from_bytes(cls, data: bytes) -> LocateReply:
        """Read the chunk. Raises MessageError."""
        (addresses,) = _fields(read_map(data), "addresses")
        _need(_is_list(addresses, 64) and all(_is_text(a, 512) for a in addresses), "addresses")
        return cls(tuple(addresses))


# --- shapes ------------------------------------------------------------------------------------------------------


def read_map(data: bytes, *, checked: bool = True) -> dict[str, Any]:
    """Read a message as the map that it is; `checked` also holds its integers to their bounds. Raises MessageError."""
    try:
        value = codec.decode(data) if checked else codec.decode_unchecked(data)
    except CodecError as error:
        raise MessageError(f"not canonical DAG-CBOR: {error.detail}") from error
    _need(type(value) is dict, "a message is a map")
    return dict(value)


def _fields(value: Any, *names: str) -> list[Any]:
    _need(type(value) is dict and value.keys() == set(names), f"a map of {', '.join(names)}")
    return [value[name] for name in names]


def travelling(pair: Pair) -> list[Any]:
    """Return a record as it stands in messages."""
    return [pair[0], pair[1]] if len(pair) == 2 or pair[2] is None else [*pair]


def read_pairs(value: Any, limits: Limits) -> list[Pair]:
    """Read a list of records as they stand in messages. Raises MessageError."""
    _need(type(value) is list, "a list of records")
    pairs: list[Pair] = []
    for pair in value:
        _need(type(pair) is list and 2 <= len(pair) <= 3, "a record travels as [record bytes, seal bytes]")
        data, seal = pair[0], pair[1]
        _need(type(data) is bytes and len(data) <= limits.record_bytes, "record bytes")
        _need(type(seal) is bytes and len(seal) <= limits.seal_bytes, "seal bytes")
        if len(pair) == 2:
            pairs.append((data, seal))
        else:
            _need(type(pair[2]) is bytes and len(pair[2]) <= limits.attachment_bytes, "attachment bytes")
            pairs.append((data, seal, pair[2]))
    return pairs


def _have(value: Any) -> Have:
    agent, size = _fields(value, "agent", "size")
    _need(_is_link(agent) and _is_count(size), "have")
    return Have(agent, size)


def _missing(value: Any) -> tuple[Link, str]:
    record, reason = _fields(value, "record", "reason")
    _need(_is_link(record) and reason in REASONS, "missing")
    return record, reason


def _is_link(value: Any) -> bool:
    return type(value) is Link and cid.is_record_id(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: Any, most: int) -> bool:
    return type(value) is str and len(value) <= most


def _is_list(value: Any, most: int) -> bool:
    return type(value) is list and len(value) <= most


def _is_span(value: Any) -> bool:
    return (
        type(value) is list and len(value) == 2 and _is_count(value[0]) and _is_count(value[1]) and value[0] < value[1]
    )


def _first(items: Sequence[T], room: int, weigh: Callable[[T], int]) -> tuple[tuple[T, ...], int]:
    """Return as many of the items, from the first, as there is room for, and what room is left."""
    taken: list[T] = []
    for item in items:
        room -= weigh(item) + _ITEM_BYTES
        if room < 0:
            return tuple(taken), 0
        taken.append(item)
    return tuple(taken), room


def _head_size(head: HeadClaim) -> int:
    return len(head.agent) + len(head.record)


def _missing_size(item: tuple[Link, str]) -> int:
    return len(item[0])


def _proof_size(item: InclusionProof | ConsistencyProof | PrunedProof) -> int:
    return len(item[0]) + len(item[1] if isinstance(item, PrunedProof) else b"") + _HASH_BYTES * len(item.proof)


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise MessageError(f"malformed message: {what}", mend="the peer speaks another version of the protocol")


def by_id(pairs: Iterable[Pair], hash_name: str) -> Mapping[Link, Pair]:
    """Index records by the ids that their bytes hash to, which is all that is believed of them."""
    return {cid.compute(pair[0], hash_name): pair for pair in pairs}


def size_of(pair: Pair) -> int:
    """Return how many bytes a record brings with it, without their frames."""
    return len(pair[0]) + len(pair[1]) + (0 if len(pair) == 2 or pair[2] is None else len(pair[2]))


def chunked(pairs: Sequence[Pair], most_records: int, most_bytes: int) -> Iterable[Sequence[Pair]]:
    """Split records into chunks of at most so many records and bytes."""
    start, size = 0, 0
    for index, pair in enumerate(pairs):
        size += size_of(pair) + 16
        if index > start and (size > most_bytes or index - start >= most_records):
            yield pairs[start:index]
            start, size = index, size_of(pair) + 16
    if start < len(pairs):
        yield pairs[start:]
