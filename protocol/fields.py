"""The types of body fields: each one's name in the published tables, and its check.

The checks are total: each takes any decoded value and tells whether it is of the type. Normative: docs/spec/kinds.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from tslg.protocol import cid, codec
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError
from tslg.protocol.limits import DEFAULT

_SMALL: Final = 2**31
_CHOICES: Final = frozenset(("for", "against", "abstain"))
_ACTS: Final = frozenset(("amends", "corrects", "retracts"))
GRANT: Final = "grant"
RESTRICT: Final = "restrict"
GRAINS: Final = ("token", "segment", "call", "plan")
"""What one governed step is: a token's transition, a stretch of tokens, a whole call of a model, a plan of many."""
READER_GROUPS: Final = ("anyone", "members", "parties")
"""Groups of readers that an access rule can name: everybody; agents of the federation; who takes part in the record."""
ISSUES: Final = ("licence", "restriction", "vulnerability")
"""What descendants of an artifact inherit until a record resolves it."""
BODY_LEVEL: Final = 2
"""Nesting level of a record's body map, the record itself being level 1."""


@dataclass(frozen=True, slots=True)
class Field:
    """One body field: its type's name in the published tables, its check, and whether it must be there."""

    type: str
    valid: Callable[[Any], bool]
    required: bool = True


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


def _digests(value: Any) -> bool:
    if type(value) is not list or not all(map(_digest, value)):
        return False
    return all(a < b for a, b in pairwise(value))


def _digest_map(value: Any) -> bool:
    return type(value) is dict and all(map(_digest, value.values()))


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


def _vote(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == {"proposal", "choice"}
        and _link(value["proposal"])
        and type(value["choice"]) is str
        and value["choice"] in _CHOICES
    )


def _terms(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == {"electorate", "threshold"}
        and _links(value["electorate"])
        and _uint(value["threshold"])
    )


def _signers(value: Any) -> bool:
    if type(value) is not list or not 0 < len(value) <= DEFAULT.anchors:
        return False
    return all(
        type(item) is dict and item.keys() == {"agent", "key"} and _link(item["agent"]) and _link(item["key"])
        for item in value
    ) and all(a["agent"] < b["agent"] for a, b in pairwise(value))


def _group(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == {"scheme", "members", "group_key"}
        and _int(value["scheme"])
        and (value["group_key"] is None or _bytes(value["group_key"]))
        and type(value["members"]) is list
        and 0 < len(value["members"]) <= DEFAULT.anchors
        and all(
            type(member) is dict
            and member.keys() == {"agent", "key", "possession", "consent"}
            and _link(member["agent"])
            and _bytes(member["key"])
            and _bytes(member["possession"])
            and _bytes(member["consent"])
            for member in value["members"]
        )
    )


def _correction_rules(value: Any) -> bool:
    return type(value) is list and all(
        type(item) is dict
        and item.keys() == {"acts", "kinds", "by"}
        and _names(item["acts"])
        and all(act in _ACTS for act in item["acts"])
        and _names(item["kinds"])
        and ((type(item["by"]) is str and item["by"] in ("author", "anyone")) or _links(item["by"]))
        for item in value
    )


def is_link_set(value: Any) -> bool:
    """Tell whether a value is a sorted set of ids of records."""
    return _links(value)


def is_readers(value: Any) -> bool:
    """Tell whether a value names readers."""
    return (
        type(value) is dict
        and value.keys() == {"agents", "groups", "peers"}
        and _links(value["agents"])
        and _names(value["groups"])
        and all(group in READER_GROUPS for group in value["groups"])
        and _links(value["peers"])
    )


def _commitments(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == {"vocabulary", "capabilities", "limits"}
        and _names(value["vocabulary"])
        and 0 < len(value["vocabulary"]) <= DEFAULT.vocabulary
        and _bytes(value["capabilities"])
        and len(value["capabilities"]) == 32 * len(value["vocabulary"])
        and _digest_map(value["limits"])
        and len(value["limits"]) <= DEFAULT.hidden_limits
    )


def _narrowing(value: Any) -> bool:
    if type(value) is not list or not 0 < len(value) <= DEFAULT.fan_in:
        return False
    last = b""
    for item in value:
        if type(item) is not dict or item.keys() != {"policy", "proof"} or not _digest(item["proof"]):
            return False
        if not _link(item["policy"]) or item["policy"] <= last:
            return False
        last = item["policy"]
    return True


def _resolves(value: Any) -> bool:
    if type(value) is not list or not 0 < len(value) <= DEFAULT.fan_in:
        return False
    last: tuple[bytes, str, str] = (b"", "", "")
    for item in value:
        if type(item) is not dict or item.keys() != {"origin", "what", "name"} or not _link(item["origin"]):
            return False
        if item["what"] not in ISSUES or not _name(item["name"]):
            return False
        here = (item["origin"], item["what"], item["name"])
        if here <= last:
            return False
        last = here
    return True


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


def _suite(value: Any) -> bool:
    return type(value) is dict and value.keys() == {"alg", "key"} and _int(value["alg"]) and _bytes(value["key"])


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
DIGESTS = Field("sorted set of bytes (32)", _digests)
DIGEST_MAP = Field("map of text to bytes (32)", _digest_map)
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
SUITE = Field("{alg: int, key: bytes}", _suite)
PURPOSE = Field("`signing` or `peer`", _one_of("signing", "peer"))
VERDICT = Field("`valid`, `invalid` or `undetermined`", _one_of("valid", "invalid", "undetermined"))
OUTCOME = Field("`result`, `refused`, `failed` or `cancelled`", _one_of("result", "refused", "failed", "cancelled"))
MODE = Field("`all` or `heads`", _one_of("all", "heads"))
FRONTIER = Field("list of {agent: link, record: link, size: uint, root: bytes (32)}", _frontier)
VOTE = Field("{proposal: link, choice: text}", _vote)
TERMS_OF_VOTE = Field("{electorate: sorted set of links, threshold: uint}", _terms)
SIGNERS = Field("list of {agent: link, key: link}", _signers)
GROUP = Field("{scheme: int, members: [{agent: link, key, possession, consent}], group_key: bytes or null}", _group)
CORRECTION_RULES = Field("list of {acts, kinds, by}", _correction_rules)
GRAIN = Field("`token`, `segment`, `call` or `plan`", _one_of(*GRAINS))
EFFECT = Field(f"`{GRANT}` or `{RESTRICT}`", _one_of(GRANT, RESTRICT))
READERS = Field("{agents: sorted set of links, groups: sorted set of text, peers: sorted set of links}", is_readers)
COMMITMENTS = Field(
    "{vocabulary: sorted set of text, capabilities: bytes (32 a name), limits: map of text to bytes (32)}",
    _commitments,
)
NARROWING = Field("list of {policy: link, proof: bytes (32)}, sorted by policy", _narrowing)
RESOLVES = Field("list of {origin: link, what: text, name: text}, sorted", _resolves)
ANCHORS = Field(
    "{scheme: int, threshold: uint, members: [{name, key, possession}], group_key: bytes or null}", _anchors
)
