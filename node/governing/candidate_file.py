"""Candidates as JSON documents, for shells and other languages: the fields of `Candidate`, digests and bytes in hex."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

from tslg.node.governing.candidate import Candidate
from tslg.node.governing.content import Digest
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT

CODE: Final = "TSLG-G-CANDIDATE"
_PLAIN: Final = frozenset(("intent", "model", "version", "tier", "grain"))
_MAPS: Final = frozenset(("inputs", "spends", "facts", "state", "digests"))
_IDS: Final = frozenset(("evidence", "delegation", "observes"))
_HEX: Final = frozenset(("token", "upon"))
_KNOWN: Final = _PLAIN | _MAPS | _IDS | _HEX | {"uses", "output", "parts", "scratch", "activations", "tools"}


def read(path: Path) -> Candidate:
    """Return the candidate in a JSON file, or on stdin for `-`. Raises UsageError."""
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            data = file.read(DEFAULT.transcript_bytes + 1)
    except OSError as error:
        raise _wrong(f"{path}: {error.strerror}") from error
    if len(data) > DEFAULT.transcript_bytes:
        raise _wrong(f"{path}: more than {DEFAULT.transcript_bytes} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"{path}: no JSON: {error}") from error
    return from_json(value)


def from_json(value: Any, level: int = 1) -> Candidate:
    """Return the candidate that a decoded JSON document says.

    `digests` names inputs by their SHA-256 digests in hex, beside `inputs`, which are there themselves.

    Raises:
        UsageError: `TSLG-G-CANDIDATE`: it is none.
    """
    if not isinstance(value, dict):
        raise _wrong("a candidate is an object")
    odd = sorted(value.keys() - _KNOWN)
    if odd:
        raise _wrong(f"unknown entry {odd[0][:80]!r}; there are {', '.join(sorted(_KNOWN))}")
    fields: dict[str, Any] = {name: value[name] for name in value.keys() & (_PLAIN | {"output"})}
    fields |= {name: _map(value, name) for name in value.keys() & (_MAPS - {"digests"}) if value[name] is not None}
    fields |= {name: value[name] for name in value.keys() & {"scratch", "activations", "tools"}}
    for name in sorted({"intent", "model", "version"} - fields.keys()):
        raise _wrong(f"`{name}` is missing")
    digests = {name: Digest(_hex(text, f"digests.{name}")) for name, text in _map(value, "digests").items()}
    fields["inputs"] = {**fields.get("inputs", {}), **digests}
    for name in value.keys() & (_IDS | {"uses"}):
        fields[name] = _texts(value[name], name)
    for name in value.keys() & _HEX:
        fields[name] = _hex(value[name], name)
    if "parts" in value:
        if not isinstance(value["parts"], list) or level >= DEFAULT.step_part_nesting:
            raise _wrong(f"`parts` is a list of candidates, down to {DEFAULT.step_part_nesting} levels")
        fields["parts"] = tuple(from_json(part, level + 1) for part in value["parts"])
    return Candidate(**fields)


def _map(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    given = value.get(name, {})
    if not isinstance(given, dict):
        raise _wrong(f"`{name}` is an object")
    return given


def _texts(given: Any, name: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise _wrong(f"`{name}` is a list of texts")
    return given


def _hex(given: Any, name: str) -> bytes:
    try:
        return bytes.fromhex(given)
    except (TypeError, ValueError) as error:
        raise _wrong(f"`{name}` is in hex") from error


def _wrong(detail: str) -> UsageError:
    return UsageError(detail, code=CODE, mend="see the guide on governing inference for an example")
