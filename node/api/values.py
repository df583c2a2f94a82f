"""Values of records in JSON, both ways: DAG-JSON's forms for links and bytes.

`{"/": "bafy…"}` is a link, `{"/": {"bytes": "…"}}` are bytes in base64 without padding
(https://ipld.io/specs/codecs/dag-json/spec/). Everything else stands for itself.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import CidError, UsageError
from tslg.protocol.limits import DEFAULT


def dumps(value: Any) -> bytes:
    """Return a value's JSON."""
    return json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":")).encode()


def loads(data: bytes) -> Any:
    """Read JSON. Raises UsageError."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is no JSON: {error}", mend="send application/json in UTF-8") from error
    return from_json(value)


def to_json(value: Any, level: int = 0) -> Any:
    """Return what stands for a value in JSON. Raises UsageError for what is nested too deep."""
    _check(level)
    if isinstance(value, Link):
        return {"/": cid.to_text(value)}
    if isinstance(value, bytes):
        return {"/": {"bytes": base64.b64encode(value).rstrip(b"=").decode()}}
    if isinstance(value, dict):
        return {key: to_json(item, level + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item, level + 1) for item in value]
    return value


def from_json(value: Any, level: int = 0) -> Any:
    """Return the value that JSON stands for. Raises UsageError."""
    _check(level)
    if isinstance(value, list):
        return [from_json(item, level + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {"/"}:
        return {key: from_json(item, level + 1) for key, item in value.items()}
    inner = value["/"]
    try:
        if isinstance(inner, str):
            return cid.from_text(inner)
        if isinstance(inner, dict) and inner.keys() == {"bytes"} and isinstance(inner["bytes"], str):
            text = inner["bytes"]
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (CidError, binascii.Error, ValueError) as error:
        raise UsageError(f"not a link, and not bytes: {error}", mend="write links and bytes as DAG-JSON") from error
    raise UsageError('"/" is kept for links and bytes', mend='{"/": "bafy…"} or {"/": {"bytes": "…"}}')


def _check(level: int) -> None:
    # Bounds the recursion on what others sent; a record may be nested no deeper in any case.
    if level > 2 * DEFAULT.nesting:
        raise UsageError("nested too deep", mend=f"a record has at most {DEFAULT.nesting} levels")
