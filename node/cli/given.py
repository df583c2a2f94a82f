"""What people give to commands as text: maps as KEY=VALUE, amounts, moments and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tslg.protocol import codec
from tslg.protocol.errors import UsageError
from tslg.protocol.fields import BODY_LEVEL
from tslg.protocol.limits import DEFAULT

_LINE: Final = 1024
"""Characters of one line of a vocabulary, at most: names of 256 characters, and room for blanks."""
_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def given_map(pairs: Iterable[str], document: str | None = None) -> dict[str, Any]:
    """Return the map that a JSON document and pairs make together: KEY=TEXT, or KEY:=JSON for other values.

    Raises:
        UsageError: one of them is not that, or a key comes twice.
        CodecError: a value that no record can hold, such as a float.
    """
    value = {} if document is None else _json(document)
    if not isinstance(value, dict):
        raise UsageError("the JSON given is not a map", mend='give an object such as {"count": 3}')
    for pair in pairs:
        key, mark, text = pair.partition("=")
        if not mark or not key.rstrip(":"):
            raise UsageError(f"{pair[:80]!r} is not KEY=VALUE", mend="write KEY=TEXT, or KEY:=JSON for other values")
        name = key.removesuffix(":")
        if name in value:
            raise UsageError(f"{name[:80]!r} is given twice", mend="give it once")
        value[name] = _json(text) if key.endswith(":") else text
    codec.check(value, BODY_LEVEL + 1)
    return value


def given_amounts(pairs: Iterable[str]) -> dict[str, int]:
    """Return NAME=NUMBER pairs as a map. Raises UsageError."""
    amounts = {}
    for name, text in given_map(pairs).items():
        if not isinstance(text, str) or re.fullmatch(r"-?[0-9]{1,16}", text) is None:
            raise UsageError(f"{name[:80]}={text!s:.80} is not NAME=NUMBER", mend="give a whole number")
        amounts[name] = int(text)
    return amounts


def given_lines(path: Path) -> list[str]:
    """Return the lines of a file that are not empty, without blanks around them. Raises UsageError."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(DEFAULT.vocabulary * _LINE)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text", mend="give a file with one name a line") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def given_span(text: str) -> int:
    """Return a length of time such as `90m`, `12h` or `7d` in ms. Raises UsageError."""
    span = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if span is None:
        raise UsageError(f"{text[:80]!r} is no length of time", mend="give 90m, 12h or 7d")
    return int(span[1]) * _UNITS[span[2]]


def given_moment(text: str, now_ms: int) -> int:
    """Return a moment in ms since 1970 UTC: `90m`, `12h` or `7d` from now, an ISO 8601 time, or the number itself.

    Raises:
        UsageError: it is none of these.
    """
    span = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if span is not None:
        return now_ms + int(span[1]) * _UNITS[span[2]]
    if re.fullmatch(r"[0-9]{1,16}", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        mend = "give 90m, 12h or 7d, a time with its zone such as 2030-01-31T12:00:00Z, or ms since 1970"
        raise UsageError(f"{text[:80]!r} is no moment", mend=mend) from error


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error!s:.200}", mend="quote it for the shell with '…'") from error


def _object(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key comes twice")
    return value
