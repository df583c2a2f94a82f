"""The record: one canonical DAG-CBOR map whose id is the hash of its bytes, as an immutable value.

Normative text: docs/spec/record.md. Everything here is structure that can be judged from the bytes alone; what needs
other records is a rule of `tslg.protocol.admission`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter, lt
from typing import Any, Final, NamedTuple

from tslg.protocol import cid, codec, committed, hybrid, outlines
from tslg.protocol.cid import is_record_id
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.committed import Commitment
from tslg.protocol.errors import CodecError, RecordError
from tslg.protocol.kinds import CLASSES, KINDS, Kind
from tslg.protocol.limits import DEFAULT

VERSION: Final = 1

_KEYS: Final = ("v", "key", "log", "seq", "body", "kind", "prev", "time", "agent", "preds", "manifest")
"""The keys in canonical order: by length, then by bytes."""
_FOREIGN_EDGE: Final = frozenset(("cid", "agent", "verified"))
_MAX_INT: Final = DEFAULT.integer
_LINKS_KEPT: Final = 65_536
_links: dict[Link, Link] = {}
_own_edges: dict[Link, Edge] = {}
"""Ids, and edges to them, that were checked lately: mere memory, to which it makes no difference what is forgotten."""
_new: Final = tuple.__new__
_edge_cid: Final = itemgetter(0)


class Edge(NamedTuple):
    """A typed reference to a predecessor.

    Attributes:
        cid: the predecessor's id.
        agent: whose log it lies in; None for the author's own log.
        verified: how many edges behind it the author verified itself; None for all of them, and for own edges.
    """

    cid: Link
    agent: Link | None = None
    verified: int | None = None


class Head(NamedTuple):
    """The state of a log's Merkle tree: its number of leaves and its 32-byte root (RFC 9162, section 2.1)."""

    size: int
    root: bytes


class Record(NamedTuple):
    """One record, immutable, with the bytes that it was read from.

    Attributes:
        id: CIDv1 over `data`.
        data: the canonical bytes: what is hashed, signed, stored and sent.
        kind: a key of `tslg.protocol.kinds.KINDS`.
        agent: the first record of this log, None in that first record itself.
        seq: position in the log, from 0.
        prev: the record at `seq - 1`, None at 0.
        time: claimed wall clock, ms since 1970 UTC.
        manifest: the manifest version in force, None only in a root manifest.
        key: the record that registers the verification key; None in a log's first record and in federation logs.
        log: the log's tree before this record, None at seq 0.
        preds: edges by class, each tuple sorted by id and never empty.
        body: the fields of the kind, as far as they are known.
        owner: the id of the agent or federation in whose log this record lies: `agent`, or its own id at seq 0.
        commitment: what stands in the bytes in place of fields; None where all fields stand there.
    """

    id: Link
    data: bytes
    kind: str
    agent: Link | None
    seq: int
    prev: Link | None
    time: int
    manifest: Link | None
    key: Link | None
    log: Head | None
    preds: Mapping[str, tuple[Edge, ...]]
    body: Mapping[str, Any]
    owner: Link
    commitment: Commitment | None = None

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def withheld(self) -> tuple[str, ...]:
        """The fields that the record commits to and that nothing at hand discloses."""
        return () if self.commitment is None else self.commitment.withheld

    def edges(self, *classes: str) -> Iterable[Edge]:
        """Yield the edges of the named classes (of all classes, in name order, if none is named)."""
        for name in classes or sorted(self.preds):
            yield from self.preds.get(name, ())


def parse(data: bytes, hash_name: str = "sha2-256") -> Record:
    """Read a record from its bytes.

    Args:
        data: the record's bytes, at most `Limits.record_bytes`.
        hash_name: the hash of the federation's manifest, from which the id is computed; `H1+H2` in a hybrid one.

    Raises:
        RecordError: the bytes are canonical but are not a record.
        CodecError: the bytes are not canonical.
    """
    if len(data) > DEFAULT.record_bytes:
        raise _too_large(data)
    if "+" not in hash_name:
        id = cid.compute(data, hash_name)
        return _by_outline(id, data) or _decoded(id, data)
    value = codec.decode_unchecked(data)
    return _from_value(value, data, _id(value, data, hash_name))


def parse_as(expected: Link, data: bytes) -> Record:
    """Read a record that must have the id `expected`, whatever whitelisted hash that id uses.

    Raises:
        RecordError: `TSLG-R-ID` if the bytes have another id, others as `parse`.
        CodecError: the bytes are not canonical.
    """
    if len(data) > DEFAULT.record_bytes:
        raise _too_large(data)
    if not cid.is_id_of(expected, data) and not (type(expected) is Link and hybrid.is_id_of(expected, data)):
        raise RecordError("the bytes have another id", code="TSLG-R-ID", record=expected, mend="fetch the record anew")
    return _by_outline(expected, data) or _decoded(expected, data)


def _decoded(id: Link, data: bytes) -> Record:
    """Read a record by decoding it, and learn its outline for those like it."""
    record = _from_value(codec.decode_unchecked(data), data, id)
    if record.log is not None and record.commitment is None:
        outlines.learn(data, record.kind, record.preds)
    return record


def _by_outline(id: Link, data: bytes) -> Record | None:
    """Read a record by its outline; None where none is known, and for whatever `_from_value` might refuse."""
    start = outlines.STARTS.get(data[outlines.HEAD_AT]) if len(data) in outlines.BYTES else None
    if start is None:
        return None
    cut_start, constants, least, body_at = start
    values = cut_start(data)
    if values[::2] != constants:
        return None
    key, root, size, seq = values[1::2]
    end = data.find(outlines.KIND, body_at)
    outline = outlines.find(data, end)
    if outline is None or seq != size or seq < least:
        return None
    kind, cut, _, constants, classes = outline
    values = cut(data, end)
    time = values[3]
    if values[::2] != constants or time not in outlines.TIME:
        return None
    try:
        body = codec.decode_unchecked(data[body_at:end])
        if type(body) is not dict or not kind.required <= body.keys() or _wrong_field(kind, body) is not None:
            return None
        values = values[1::2]
        known, own = _links.get, _own_edges.get
        preds: dict[str, tuple[Edge, ...]] = {}
        for name, places in classes:
            if type(places) is slice:
                links = values[places]
                if len(links) > 1 and not all(map(lt, links, links[1:])):
                    return None
                preds[name] = tuple([own(link) or _own_edge(Link(link), id) for link in links])
            else:
                preds[name] = _cut_edges(values, places, id)
        prev, agent, manifest = values[0], values[2], values[-1]
        key = known(key) or _link(Link(key), id)
        prev = known(prev) or _link(Link(prev), id)
        agent = known(agent) or _link(Link(agent), id)
        manifest = known(manifest) or _link(Link(manifest), id)
    except (CodecError, RecordError):
        return None
    head = _new(Head, (size, root))
    fields = (id, data, kind.name, agent, seq, prev, time, manifest, key, head, preds, body, agent, None)
    return _new(Record, fields)


def _cut_edges(values: Sequence[Any], places: Iterable[outlines.Place], id: Link) -> tuple[Edge, ...]:
    """Return the edges whose ids were cut out. Raises RecordError as `_preds` does."""
    edges = []
    last = b""
    for at, agent_at in places:
        link = values[at]
        if link <= last:
            raise _wrong("ORDER", "edges are sorted by id, without repeats", id)
        last = link
        if agent_at:
            agent = values[agent_at]
            agent = _links.get(agent) or _link(Link(agent), id)
            edges.append(_new(Edge, (_links.get(link) or _link(Link(link), id), agent, None)))
        else:
            edges.append(_own_edges.get(link) or _own_edge(Link(link), id))
    return tuple(edges)


def build(
    *,
    kind: str,
    agent: Link | None,
    seq: int,
    prev: Link | None,
    time: int,
    manifest: Link | None,
    key: Link | None,
    log: Head | None,
    preds: Mapping[str, Iterable[Edge]],
    body: Mapping[str, Any],
    hash_name: str = "sha2-256",
) -> Record:
    """Make a record from its fields; edges may come in any order, repeated edges are an error.

    Raises:
        RecordError: the fields do not make a record. CodecError: a value has no canonical form.
    """
    value = {
        "v": VERSION,
        "key": key,
        "log": None if log is None else {"size": log.size, "root": log.root},
        "seq": seq,
        "body": dict(body),
        "kind": kind,
        "prev": prev,
        "time": time,
        "agent": agent,
        "preds": {name: _edge_values(edges) for name, edges in preds.items()},
        "manifest": manifest,
    }
    data = codec.encode_unchecked(value)
    if len(data) > DEFAULT.record_bytes:
        raise _too_large(data)
    return _from_value(value, data, _id(value, data, hash_name))


def _id(value: Any, data: bytes, hash_name: str) -> Link:
    """Return a record's id; a root manifest's is plain in a hybrid federation too, so that everybody can check it."""
    if "+" not in hash_name:
        return cid.compute(data, hash_name)
    if type(value) is not dict or value.get("kind") == "manifest":
        return cid.compute(data, hash_name.partition("+")[0])
    return hybrid.compute(value, hash_name)


def _edge_values(edges: Iterable[Edge]) -> list[dict[str, Any]]:
    return [
        {"cid": link} if agent is None else {"cid": link, "agent": agent, "verified": verified}
        for link, agent, verified in sorted(edges, key=_edge_cid)
    ]


def _from_value(value: Any, data: bytes, id: Link) -> Record:
    """Check every field of a decoded value; nothing in it is left unchecked.

    One long function on purpose: it runs for every record of every walk, where a call costs more than a check.
    """
    if type(value) is not dict or tuple(value) != _KEYS:
        raise _wrong("KEYS", "a record is a map of exactly the eleven keys", id)
    # In the order of the canonical encoding, which is that of _KEYS.
    version, key, log, seq, body, kind_name, prev, time, agent, edges, manifest = value.values()
    if type(version) is not int or version != VERSION:
        raise _wrong("VERSION", "`v` is not 1", id)
    kind = KINDS.get(kind_name) if type(kind_name) is str else None
    if kind is None:
        raise _wrong("KIND", "unknown kind", id)
    if type(seq) is not int or type(time) is not int or not 0 <= seq <= _MAX_INT or not 0 <= time <= _MAX_INT:
        raise _wrong("FIELD", "`seq` and `time` are integers from 0", id)
    known = _links.get
    if agent is not None:
        agent = (known(agent) if type(agent) is Link else None) or _link(agent, id)
    if prev is not None:
        prev = (known(prev) if type(prev) is Link else None) or _link(prev, id)
    if manifest is not None:
        manifest = (known(manifest) if type(manifest) is Link else None) or _link(manifest, id)
    if key is not None:
        key = (known(key) if type(key) is Link else None) or _link(key, id)
    if seq == 0:
        if not kind.first or agent is not None or prev is not None or log is not None:
            raise _wrong("PLACE", "seq 0 is a genesis or root manifest with `agent`, `prev` and `log` null", id)
        head = None
    elif kind.first or agent is None or prev is None or type(log) is not dict or len(log) != 2:
        raise _wrong("PLACE", "after seq 0 a record names `agent`, `prev` and `log` {size, root}", id)
    else:
        size, root = log.get("size"), log.get("root")
        if type(size) is not int or size != seq or type(root) is not bytes or len(root) != 32:
            raise _wrong("LOG", "`log` is {size: seq, root: 32 bytes}", id)
        head = _new(Head, (size, root))
    commitment = None
    if type(body) is dict and committed.ROOT in body:
        body, commitment = _commitment(kind, body, id)
    elif type(body) is not dict or not kind.required <= body.keys():
        raise _wrong("BODY", f"a {kind.name} needs a body with the fields {sorted(kind.required)}", id)
    wrong = _wrong_field(kind, body)
    if wrong is not None:
        raise _wrong("BODY", f"body field {wrong[:40]!r} is unknown in a {kind.name} or of the wrong type", id)
    owner = agent if agent is not None else id
    preds = _preds(edges, id)
    fields = (id, data, kind.name, agent, seq, prev, time, manifest, key, head, preds, body, owner, commitment)
    return _new(Record, fields)


def _wrong_field(kind: Kind, body: Mapping[str, Any]) -> str | None:
    """Return a field that records of this kind do not have, or not of this type."""
    valid = kind.valid
    for name, item in body.items():
        check = valid.get(name)
        if check is None or not check(item):
            return name
    return None


def _commitment(kind: Kind, body: dict[str, Any], id: Link) -> tuple[dict[str, Any], Commitment]:
    """Split a body that commits to some of its fields, of which those in plain are all that can be missing."""
    try:
        plain, commitment = committed.read(kind, body)
    except ValueError as error:
        raise _wrong("BODY", str(error), id) from error
    missing = kind.required - plain.keys() - set(kind.committed)
    if missing:
        raise _wrong("BODY", f"a {kind.name} needs a body with the fields {sorted(missing)} in plain", id)
    return plain, commitment


def _link(value: Any, id: Link) -> Link:
    """Check a link that was not seen before; what is kept saves the check, and the memory, when it occurs again."""
    if type(value) is not Link or not is_record_id(value):
        raise _wrong("LINK", "a link is not a record's id", id)
    if len(_links) >= _LINKS_KEPT:
        _links.clear()
    _links[value] = value
    return value


def _preds(value: Any, id: Link) -> dict[str, tuple[Edge, ...]]:
    if type(value) is not dict:
        raise _wrong("EDGES", "`preds` is a map", id)
    count = 0
    for name, items in value.items():
        if name not in CLASSES and (name != FLAT or len(value) != 1):
            raise _wrong("CLASS", f"unknown predecessor class {name[:40]!r}", id)
        if type(items) is not list or not items:
            raise _wrong("EDGES", "a class holds a non-empty list of edges", id)
        count += len(items)
        if count > DEFAULT.fan_in:
            raise _wrong("FAN-IN", f"more than {DEFAULT.fan_in} edges", id)
        edges = []
        last = b""
        for item in items:
            if type(item) is not dict or type(link := item.get("cid")) is not Link:
                raise _bad_edge(id)
            if link <= last:
                raise _wrong("ORDER", "edges are sorted by id, without repeats", id)
            last = link
            if len(item) == 1:
                # An own edge is nothing but its id, so an id that was cited before comes with its edge.
                edges.append(_own_edges.get(link) or _own_edge(link, id))
            else:
                edges.append(_foreign_edge(link, item, id))
        value[name] = tuple(edges)
    return value


def _own_edge(link: Link, id: Link) -> Edge:
    edge = _new(Edge, (_links.get(link) or _link(link, id), None, None))
    if len(_own_edges) >= _LINKS_KEPT:
        _own_edges.clear()
    _own_edges[link] = edge
    return edge


def _foreign_edge(link: Link, item: dict[str, Any], id: Link) -> Edge:
    if item.keys() != _FOREIGN_EDGE:
        raise _bad_edge(id)
    agent, verified = item["agent"], item["verified"]
    if type(agent) is not Link or (
        verified is not None and (type(verified) is not int or not 0 <= verified <= _MAX_INT)
    ):
        raise _bad_edge(id)
    return _new(Edge, (_links.get(link) or _link(link, id), _links.get(agent) or _link(agent, id), verified))


def _bad_edge(id: Link) -> RecordError:
    return _wrong("EDGE", "an edge is {cid} or {cid, agent, verified}", id)


def _too_large(data: bytes) -> RecordError:
    return RecordError(
        f"{len(data)} bytes, the limit is {DEFAULT.record_bytes}",
        code="TSLG-R-SIZE",
        mend="put large payloads into blobs and name them by digest",
    )


def _wrong(rule: str, detail: str, id: Link) -> RecordError:
    return RecordError(detail, code=f"TSLG-R-{rule}", record=id)
