"""The one table of record kinds: which classes of predecessor each needs and may have, its body, and who may issue it.

Admission, the record parser, the agent's interface and the published tables are all driven by it; docs/spec/kinds.md
is checked against it by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tslg.protocol import cid, codec
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError
from tslg.protocol.limits import DEFAULT

CLASSES: Final[Mapping[str, str]] = {
    "prior": "the state it derives from",
    "policy": "what authorises it",
    "evidence": "what it consumed",
    "delegation": "the other agent's record that conferred the authority",
    "amends": "the manifest version it supersedes",
}
"""Predecessor classes and what each means."""

_SMALL: Final = 2**31
BODY_LEVEL: Final = 2
"""Nesting level of a record's body map, the record itself being level 1."""


@dataclass(frozen=True, slots=True)
class Field:
    """One body field: its type's name in the published tables, its check, and whether it must be there."""

    type: str
    valid: Callable[[Any], bool]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Kind:
    """What a record of one kind must look like.

    Attributes:
        name: the `kind` of the record.
        issuer: `agent` or `federation`: whose log it lies in.
        first: it starts its log (its id is its owner's id) and so has no predecessors.
        mandatory: classes that must be there, and whose predecessors must resolve at admission.
        allowed: all classes that may be there, the mandatory ones included. Every other class is forbidden.
        fields: the body.
        meaning: one line for the published tables.
        required: the fields that must be there.
        valid: the check of each field.
    """

    name: str
    issuer: str
    first: bool
    mandatory: frozenset[str]
    allowed: frozenset[str]
    fields: Mapping[str, Field]
    meaning: str
    required: frozenset[str]
    valid: Mapping[str, Callable[[Any], bool]]


def _uint(value: Any) -> bool:
    return type(value) is int and 0 <= value <= DEFAULT.integer


def _int(value: Any) -> bool:
    return type(value) is int and -DEFAULT.integer <= value <= DEFAULT.integer


def _text(value: Any) -> bool:
    return type(value) is str


def _name(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 256


def _bytes(value: Any) -> bool:
    return type(value) is bytes


def _nonce(value: Any) -> bool:
    return type(value) is bytes and len(value) == 16


def _digest(value: Any) -> bool:
    return type(value) is bytes and len(value) == 32


def _link(value: Any) -> bool:
    return type(value) is Link and cid.is_record_id(value)


def _names(value: Any) -> bool:
    if type(value) is not list:
        return False
    last = ""
    for item in value:
        if type(item) is not str or len(item) > 256 or item <= last:
            return False
        last = item
    return True


def _links(value: Any) -> bool:
    if type(value) is not list:
        return False
    last = b""
    for item in value:
        if not _link(item) or item <= last:
            return False
        last = item
    return True


def _limits(value: Any) -> bool:
    return type(value) is dict and all(map(_int, value.values()))


def _amounts(value: Any) -> bool:
    return type(value) is dict and all(map(_uint, value.values()))


def _moment(value: Any) -> bool:
    return value is None or _uint(value)


def _map(value: Any) -> bool:
    if type(value) is not dict:
        return False
    # Nearly every map is flat and small: text, bytes and small numbers need no walk.
    for item in value.values():
        kind = type(item)
        if kind is not str and kind is not bytes and (kind is not int or not -_SMALL < item < _SMALL):
            break
    else:
        return True
    try:
        codec.check(value, BODY_LEVEL + 1)
    except CodecError:
        return False
    return True


def _blob(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == {"digest", "size", "media_type"}
        and _digest(value["digest"])
        and _uint(value["size"])
        and _name(value["media_type"])
    )


def _one_of(*choices: str) -> Callable[[Any], bool]:
    allowed = frozenset(choices)
    return lambda value: type(value) is str and value in allowed


def _frontier(value: Any) -> bool:
    return type(value) is list and all(
        type(item) is dict
        and item.keys() == {"agent", "record", "size", "root"}
        and _link(item["agent"])
        and _link(item["record"])
        and _uint(item["size"])
        and _digest(item["root"])
        for item in value
    )


def _anchors(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == {"scheme", "threshold", "members", "group_key"}
        and _int(value["scheme"])
        and _uint(value["threshold"])
        and (value["group_key"] is None or _bytes(value["group_key"]))
        and type(value["members"]) is list
        and 0 < len(value["members"]) <= DEFAULT.anchors
        and all(
            type(member) is dict
            and member.keys() == {"name", "key", "possession"}
            and _name(member["name"])
            and _bytes(member["key"])
            and _bytes(member["possession"])
            for member in value["members"]
        )
    )


def optional(field: Field) -> Field:
    """Return the same field, not required."""
    return Field(field.type, field.valid, required=False)


TEXT = Field("text", _text)
NAME = Field("text (1 to 256 characters)", _name)
UINT = Field("uint", _uint)
INT = Field("int", _int)
BYTES = Field("bytes", _bytes)
NONCE = Field("bytes (16)", _nonce)
DIGEST = Field("bytes (32)", _digest)
LINK = Field("link", _link)
NAMES = Field("sorted set of text", _names)
LINKS = Field("sorted set of links", _links)
LIMITS = Field("map of text to int", _limits)
AMOUNTS = Field("map of text to uint", _amounts)
MOMENT = Field("ms or null", _moment)
DEPTH = Field("uint or null", _moment)
MAP = Field("map", _map)
BLOB = Field("{digest: bytes (32), size: uint, media_type: text}", _blob)
BINDING = Field("`tenant`, `platform` or `hardware`", _one_of("tenant", "platform", "hardware"))
PURPOSE = Field("`signing` or `peer`", _one_of("signing", "peer"))
VERDICT = Field("`valid`, `invalid` or `undetermined`", _one_of("valid", "invalid", "undetermined"))
MODE = Field("`all` or `heads`", _one_of("all", "heads"))
FRONTIER = Field("list of {agent: link, record: link, size: uint, root: bytes (32)}", _frontier)
ANCHORS = Field(
    "{scheme: int, threshold: uint, members: [{name, key, possession}], group_key: bytes or null}", _anchors
)

SCOPE: Final[Mapping[str, Field]] = {
    "uses": optional(NAMES),
    "spends": optional(AMOUNTS),
    "class": optional(NAME),
    "tier": optional(NAME),
}
"""What a record claims of its policies: capabilities used, amounts spent, governance class and tier."""

_MANIFEST_BODY: Final[Mapping[str, Field]] = {
    "nonce": NONCE,
    "name": NAME,
    "version": UINT,
    "anchors": ANCHORS,
    "envelope": MAP,
}


def _kind(
    name: str,
    meaning: str,
    fields: Mapping[str, Field],
    *,
    mandatory: str = "",
    also: str = "",
    issuer: str = "agent",
    first: bool = False,
) -> Kind:
    needed = frozenset(mandatory.split())
    required = frozenset(field for field, spec in fields.items() if spec.required)
    valid = {field: spec.valid for field, spec in fields.items()}
    return Kind(name, issuer, first, needed, needed | frozenset(also.split()), fields, meaning, required, valid)


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        _kind(
            "manifest", "a federation's trust anchor and parameters", _MANIFEST_BODY, issuer="federation", first=True
        ),
        _kind(
            "manifest-amendment",
            "the next version of a manifest",
            _MANIFEST_BODY,
            mandatory="amends",
            issuer="federation",
        ),
        _kind(
            "genesis",
            "starts an agent's log and holds its first key",
            {
                "nonce": NONCE,
                "name": NAME,
                "alg": INT,
                "key": BYTES,
                "binding": BINDING,
                "attestation": optional(BYTES),
                "federations": optional(LINKS),
            },
            first=True,
        ),
        _kind(
            "registration",
            "adds a verification key, or binds a peer id",
            {
                "purpose": PURPOSE,
                "alg": optional(INT),
                "key": optional(BYTES),
                "binding": optional(BINDING),
                "attestation": optional(BYTES),
                "peer_id": optional(BYTES),
                "addresses": optional(NAMES),
            },
            mandatory="prior",
        ),
        _kind(
            "policy",
            "what may be done, within which limits and when",
            {
                "name": NAME,
                "capabilities": NAMES,
                "limits": LIMITS,
                "classes": NAMES,
                "tiers": NAMES,
                "not_before": MOMENT,
                "not_after": MOMENT,
                "cedar": optional(TEXT),
                "document": optional(BLOB),
            },
            mandatory="prior",
            also="policy evidence delegation",
            issuer="agent or federation",
        ),
        _kind(
            "state",
            "what the agent is in from here on",
            {"name": optional(NAME), "data": MAP, **SCOPE},
            mandatory="prior",
            also="policy evidence delegation",
        ),
        _kind(
            "action",
            "something done, under a policy",
            {
                "name": NAME,
                "input": optional(MAP),
                "output": optional(MAP),
                "blob": optional(BLOB),
                "principal": optional(LINK),
                **SCOPE,
            },
            mandatory="policy",
            also="prior evidence delegation",
        ),
        _kind(
            "decision",
            "something decided, under a policy and on evidence",
            {
                "name": NAME,
                "outcome": TEXT,
                "reason": optional(TEXT),
                "data": optional(MAP),
                "blob": optional(BLOB),
                "principal": optional(LINK),
                **SCOPE,
            },
            mandatory="policy evidence",
            also="prior delegation",
        ),
        _kind(
            "delegation",
            "hands a task and a granted policy to another agent",
            {"delegate": LINK, "task": MAP, "grant": LINK, "expires": UINT, "hops": UINT},
            mandatory="policy",
            also="prior evidence delegation",
        ),
        _kind(
            "observation",
            "something perceived, to be cited as evidence",
            {"source": NAME, "data": optional(MAP), "blob": optional(BLOB)},
            mandatory="prior",
            also="policy evidence delegation",
        ),
        _kind(
            "verification",
            "an auditor's own finding on another record",
            {
                "target": LINK,
                "verdict": VERDICT,
                "depth": DEPTH,
                "signatures": MODE,
                "edges": UINT,
                "records": UINT,
                "report": DIGEST,
                "frontier": FRONTIER,
            },
            mandatory="evidence",
            also="prior policy delegation",
        ),
    )
}
"""Every kind that this version reads and writes, by name."""
