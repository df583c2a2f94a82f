"""Python values as content: what JSON can say is taken as it is, some more types by their usual form.

A value that has none is refused where it is an argument, since what is judged must be what is digested; where it is a
result, its type is recorded in its place, since the call has been made by then.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import hashlib
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any, Final

from tslg.node.governing.content import Content, Digest, canonical, plain
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT

_AS_TEXT: Final = (decimal.Decimal, uuid.UUID, pathlib.PurePath)
_AS_ISO: Final = (datetime.datetime, datetime.date, datetime.time)
_BYTES: Final = (bytes, bytearray, memoryview)


def as_content(value: Any) -> Content:
    """Return what stands for a value.

    Dates and times are written by ISO 8601, decimal numbers, UUIDs and paths as text, members of an enumeration as
    their values, sets in the order of their canonical forms, data classes as maps, pydantic's models as their JSON,
    bytes inside of others as hexadecimal text.

    Raises:
        UsageError: `TSLG-G-CONTENT`: nothing does.
    """
    if isinstance(value, (*_BYTES, Digest)):
        return value
    content: Content = _json(value, 0)
    # Whatever cannot be digested is told here, where it is known which argument it is.
    plain(content)
    return content


def described(value: Any) -> Content:
    """Return what stands for a result; its type, where nothing else does."""
    try:
        return as_content(value)
    except UsageError:
        return {"undigested": f"{type(value).__module__}.{type(value).__qualname__}"}


def _json(value: Any, level: int) -> Any:
    if value is None or (isinstance(value, str | bool | int | float) and not isinstance(value, enum.Enum)):
        return value
    if level > DEFAULT.content_nesting:
        raise _no_form(f"what goes down more than {DEFAULT.content_nesting} levels")
    if isinstance(value, Mapping):
        found = {_key(key): _json(one, level + 1) for key, one in value.items()}
        if len(found) != len(value):
            raise _no_form("a map with two keys that are written alike")
        return found
    if isinstance(value, list | tuple):
        return [_json(one, level + 1) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((_json(one, level + 1) for one in value), key=canonical)
    if isinstance(value, enum.Enum):
        return _json(value.value, level + 1)
    if isinstance(value, _AS_ISO):
        return value.isoformat()
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, _BYTES):
        return bytes(value).hex()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _json(getattr(value, one.name), level + 1) for one in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return _json(dump(mode="json"), level + 1)
    raise _no_form(type(value).__qualname__)


def _key(key: Any) -> str:
    plain_key = key.value if isinstance(key, enum.Enum) else key
    if isinstance(plain_key, (str, int, *_AS_ISO, *_AS_TEXT)):
        return str(plain_key)
    raise _no_form(f"a key of type {type(key).__qualname__}")


def _no_form(what: str) -> UsageError:
    return UsageError(
        f"{what} has no canonical form",
        code="TSLG-G-CONTENT",
        mend="hand over bytes, text, JSON, a data class or a Digest",
    )


class Gathering:
    """The list of all that a generator yields: its digest, and where that does not do (`keep`), itself."""

    def __init__(self, keep: bool = False) -> None:
        self._kept: list[Content] | None = [] if keep else None
        self._hash = hashlib.sha256(b"[")
        self._count = 0

    def add(self, value: Any) -> None:
        """Take in the next value."""
        # Bytes in a list are written as any bytes inside of other values are.
        if isinstance(value, Digest):
            content: Content = {"sha256": value.value.hex()}
        else:
            content = _json(value, 1) if isinstance(value, _BYTES) else described(value)
        self._hash.update((("," if self._count else "") + canonical(content)).encode())
        self._count += 1
        if self._kept is not None:
            self._kept.append(content)

    def content(self) -> Content:
        """Return what was taken in, or the digest of it."""
        return self.digest() if self._kept is None else self._kept

    def digest(self) -> Digest:
        """Return the digest of what was taken in: that of the canonical form of the list."""
        whole = self._hash.copy()
        whole.update(b"]")
        return Digest(whole.digest())
