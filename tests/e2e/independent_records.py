"""Kinds and records of docs/spec, read by a second program from the tables of kinds.md. Nothing from tslg."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from independent_formats import LARGEST, Bad, decode, has_shape, is_hash, is_record_id, is_uint

SPEC = Path(__file__).resolve().parents[2] / "docs" / "spec"


def _sorted_set(member):
    return lambda value: type(value) is list and all(map(member, value)) and all(a < b for a, b in pairwise(value))


def _name(value) -> bool:
    return type(value) is str and 1 <= len(value) <= 256


def _int(value) -> bool:
    return type(value) is int and abs(value) <= LARGEST


def _map_of(member):
    return lambda value: type(value) is dict and all(map(member, value.values()))


def _bytes(value) -> bool:
    return type(value) is bytes


def _or_null(member):
    return lambda value: value is None or member(value)


_MEMBER = {"name": _name, "key": _bytes, "possession": _bytes}
_HEAD = {"agent": is_record_id, "record": is_record_id, "size": is_uint, "root": is_hash}
_ANCHORS = {
    "scheme": _int,
    "threshold": is_uint,
    "members": lambda value: (
        type(value) is list and 1 <= len(value) <= 64 and all(has_shape(m, _MEMBER) for m in value)
    ),
    "group_key": _or_null(_bytes),
}
_RULE = {  # [KND-6]
    "acts": lambda value: _sorted_set(_name)(value) and set(value) <= {"amends", "corrects", "retracts"},
    "kinds": _sorted_set(_name),
    "by": lambda value: value in ("author", "anyone") or _sorted_set(is_record_id)(value),
}
_READERS = {  # [ACC-2]
    "agents": _sorted_set(is_record_id),
    "groups": _sorted_set(_name),
    "peers": _sorted_set(is_record_id),
}
_TERMS = {"vocabulary": _sorted_set(_name), "capabilities": _bytes, "limits": _map_of(is_hash)}
_VOTE = {"proposal": is_record_id, "choice": lambda value: value in ("for", "against", "abstain")}
_TERMS_OF_VOTE = {"electorate": _sorted_set(is_record_id), "threshold": is_uint}
_SIGNER = {"agent": is_record_id, "key": is_record_id}
_GROUP = {
    "scheme": _int,
    "members": lambda value: (
        type(value) is list
        and 1 <= len(value) <= 64
        and all(
            has_shape(m, {"agent": is_record_id, "key": _bytes, "possession": _bytes, "consent": _bytes}) for m in value
        )
    ),
    "group_key": _or_null(_bytes),
}
_BLOB = {"digest": is_hash, "size": is_uint, "media_type": _name}


def _issue(value) -> bool:
    return value in ("licence", "restriction", "vulnerability")


def _of_issue(item: dict) -> tuple:
    return item["origin"], item["what"], item["name"]


TYPES = {
    "text": lambda value: type(value) is str,
    "text (1 to 256 characters)": _name,
    "uint": is_uint,
    "int": _int,
    "bytes": _bytes,
    "bytes (16)": lambda value: type(value) is bytes and len(value) == 16,
    "bytes (32)": is_hash,
    "link": is_record_id,
    "sorted set of text": _sorted_set(_name),
    "sorted set of bytes (32)": _sorted_set(is_hash),
    "map of text to bytes (32)": _map_of(is_hash),
    "sorted set of links": _sorted_set(is_record_id),
    "map of text to int": _map_of(_int),
    "map of text to uint": _map_of(is_uint),
    "{alg: int, key: bytes}": lambda value: has_shape(value, {"alg": _int, "key": lambda key: type(key) is bytes}),
    "ms or null": _or_null(is_uint),
    "uint or null": _or_null(is_uint),
    "map": lambda value: type(value) is dict,
    "{digest: bytes (32), size: uint, media_type: text}": lambda value: has_shape(value, _BLOB),
    "list of {agent: link, record: link, size: uint, root: bytes (32)}": (
        lambda value: type(value) is list and all(has_shape(item, _HEAD) for item in value)
    ),
    "{proposal: link, choice: text}": lambda value: has_shape(value, _VOTE),
    "{electorate: sorted set of links, threshold: uint}": lambda value: has_shape(value, _TERMS_OF_VOTE),
    "list of {agent: link, key: link}": lambda value: (  # [KND-7]
        type(value) is list
        and 1 <= len(value) <= 64
        and all(has_shape(item, _SIGNER) for item in value)
        and all(a["agent"] < b["agent"] for a, b in pairwise(value))
    ),
    "{scheme: int, members: [{agent: link, key, possession, consent}], group_key: bytes or null}": (
        lambda value: has_shape(value, _GROUP)
    ),
    "list of {acts, kinds, by}": lambda value: type(value) is list and all(has_shape(item, _RULE) for item in value),
    "{agents: sorted set of links, groups: sorted set of text, peers: sorted set of links}": (  # [ACC-2]
        lambda value: has_shape(value, _READERS) and set(value["groups"]) <= {"anyone", "members", "parties"}
    ),
    "{vocabulary: sorted set of text, capabilities: bytes (32 a name), limits: map of text to bytes (32)}": (
        lambda value: (
            has_shape(value, _TERMS)
            and 1 <= len(value["vocabulary"]) <= 256
            and len(value["capabilities"]) == 32 * len(value["vocabulary"])
            and len(value["limits"]) <= 16
        )
    ),
    "list of {policy: link, proof: bytes (32)}, sorted by policy": (
        lambda value: (
            type(value) is list
            and 1 <= len(value) <= 256
            and all(has_shape(item, {"policy": is_record_id, "proof": is_hash}) for item in value)
            and all(a["policy"] < b["policy"] for a, b in pairwise(value))
        )
    ),
    "list of {origin: link, what: text, name: text}, sorted": (  # [ART-9]
        lambda value: (
            type(value) is list
            and 1 <= len(value) <= 256
            and all(has_shape(item, {"origin": is_record_id, "what": _issue, "name": _name}) for item in value)
            and all(_of_issue(a) < _of_issue(b) for a, b in pairwise(value))
        )
    ),
    "{scheme: int, threshold: uint, members: [{name, key, possession}], group_key: bytes or null}": (
        lambda value: has_shape(value, _ANCHORS)
    ),
}


def _type(name: str):
    choices = re.findall(r"`([a-z]+)`", name)
    return (lambda value: type(value) is str and value in choices) if choices else TYPES[name]


@dataclass
class Kind:
    """A row of the table of kinds, with the fields of the body: name to (check, required)."""

    logs: str
    first: bool
    mandatory: set[str]
    allowed: set[str]
    fields: dict
    leads: dict
    committed: list[str] = field(default_factory=list)


def _leads(page: str) -> tuple[dict, dict]:
    """Where edges of each class lead, (log, kinds or None, field or None), and by (kind, class) where else. [KND-1]"""

    def where(log: str, kinds: str, field: str):
        named = set(re.findall(r"`([a-z-]+)`", kinds))
        return log.strip(), None if kinds.strip() == "any" else named, field.strip(" `") or None

    classes, _, exceptions = page[page.index("## Classes") : page.index("## Kinds")].partition("## Exceptions")
    usual = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|([^|]*)\|([^|]*)\|$", classes, re.MULTILINE)
    other = re.findall(r"^\| `([a-z-]+)` \| `(\w+)` \|([^|]*)\|([^|]*)\|([^|]*)\|$", exceptions, re.MULTILINE)
    return {name: where(*rest) for name, *rest in usual}, {(kind, name): where(*rest) for kind, name, *rest in other}


_FIELD = r"^\| `(\w+)` \| (.*) \| (\w+)(, committed)? \|$"


def read_kinds() -> tuple[set[str], dict[str, Kind]]:
    """The classes and kinds of the tables in kinds.md, which are normative. [KND-1]"""
    page = (SPEC / "kinds.md").read_text(encoding="utf-8")
    usual, other = _leads(page)
    classes = set(usual)
    kinds = {}
    for row in re.findall(r"^\| (`.*) \|$", page[page.index("## Kinds") : page.index("## Bodies")], re.MULTILINE):
        name, _, logs, first, mandatory, also = (cell.strip() for cell in row.split("|"))
        needed = set(re.findall(r"`(\w+)`", mandatory))
        kinds[name.strip("`")] = Kind(logs, first == "yes", needed, needed | set(re.findall(r"`(\w+)`", also)), {}, {})
    for name, table in re.findall(r"^### (\S+)\n(.*?)(?=^### |\Z)", page[page.index("## Bodies") :], re.M | re.S):
        for name_, type_name, need, committed in re.findall(_FIELD, table, re.MULTILINE):
            kinds[name].fields[name_] = (_type(type_name), need == "required")
            if committed:
                kinds[name].committed = sorted([*kinds[name].committed, name_])
    for name, kind in kinds.items():
        kind.leads = {edge: other.get((name, edge), where) for edge, where in usual.items()}
        kind.leads["any"] = ("any", None, None)
    return classes, kinds


CLASSES, KINDS = read_kinds()


@dataclass
class Record:
    """A record that was read. `edges` lists (class, cid, agent or None)."""

    id: bytes
    data: bytes
    kind: str
    agent: bytes | None
    seq: int
    prev: bytes | None
    time: int
    manifest: bytes | None
    key: bytes | None
    root: bytes | None
    edges: list[tuple[str, bytes, bytes | None]]
    body: dict
    attachment: bytes | None = None
    root_of_fields: bytes | None = None
    flat: bool = False

    @property
    def owner(self) -> bytes:
        return self.id if self.agent is None else self.agent

    def cited(self, name: str) -> list[tuple[bytes, bytes | None]]:
        return [(cid, agent) for edge, cid, agent in self.edges if edge == name]


_RECORD = {
    "v": lambda value: type(value) is int and value == 1,
    "kind": lambda value: type(value) is str and value in KINDS,
    "agent": _or_null(is_record_id),
    "seq": is_uint,
    "prev": _or_null(is_record_id),
    "time": is_uint,
    "manifest": _or_null(is_record_id),
    "key": _or_null(is_record_id),
    "log": _or_null(lambda value: has_shape(value, {"size": is_uint, "root": is_hash})),
    "preds": lambda value: type(value) is dict and (value.keys() <= CLASSES or list(value) == ["any"]),
    "body": lambda value: type(value) is dict,
}


def read_record(link: bytes, data: bytes) -> Record:
    """The record with this id. [REC-1] to [REC-14]"""
    if len(data) > 65536:
        raise Bad("TSLG-R", "too large")
    value = decode(data)
    if not has_shape(value, _RECORD):
        raise Bad("TSLG-R", "a key is missing, unknown or of the wrong type")
    kind, head = KINDS[value["kind"]], value["log"]
    rest = (value["agent"], value["prev"], head)
    if value["seq"] == 0:  # [REC-7]
        placed = kind.first and rest == (None, None, None)
    else:  # [REC-8]
        placed = not kind.first and None not in rest and head["size"] == value["seq"]
    if not placed:
        raise Bad("TSLG-R", "out of place")
    root_of_fields = None
    if "merkle" in value["body"]:  # [MRK-2]
        root_of_fields, count = value["body"].pop("merkle"), value["body"].pop("fields", None)
        if not is_hash(root_of_fields) or type(count) is not int or count != len(kind.committed) or not count:
            raise Bad("TSLG-R", "no commitment")
    for name, item in value["body"].items():  # [REC-10]
        if root_of_fields is not None and name in kind.committed:
            raise Bad("TSLG-R", f"body field {name} is committed to")
        if name not in kind.fields or not kind.fields[name][0](item):
            raise Bad("TSLG-R", f"body field {name}")
    hidden = kind.committed if root_of_fields is not None else ()
    if any(must and name not in value["body"] and name not in hidden for name, (_, must) in kind.fields.items()):
        raise Bad("TSLG-R", "a body field is missing")
    edges = _edges(value["preds"])
    fields = {name: value[name] for name in ("kind", "agent", "seq", "prev", "time", "manifest", "key", "body")}
    root, flat = None if head is None else head["root"], "any" in value["preds"]
    return Record(id=link, data=data, root=root, edges=edges, root_of_fields=root_of_fields, flat=flat, **fields)


def _edges(preds: dict) -> list[tuple[str, bytes, bytes | None]]:
    edges = []
    for name, items in preds.items():
        if type(items) is not list or not items:  # [REC-11]
            raise Bad("TSLG-R", "a class is no list of edges")
        for item in items:
            own = has_shape(item, {"cid": is_record_id})
            foreign = {"cid": is_record_id, "agent": is_record_id, "verified": _or_null(is_uint)}
            if not own and not has_shape(item, foreign):  # [REC-12]
                raise Bad("TSLG-R", "a malformed edge")
            edges.append((name, item["cid"], item.get("agent")))
        cids = [item["cid"] for item in items]
        if any(a >= b for a, b in pairwise(cids)):  # [REC-13]
            raise Bad("TSLG-R", "edges out of order")
    if len(edges) > 256:  # [REC-14]
        raise Bad("TSLG-R", "too many edges")
    return edges
