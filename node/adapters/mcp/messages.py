"""JSON-RPC messages of MCP, read strictly: whoever judges a message must read in it what every other reader reads.

JSON readers differ in what they make of a name that stands twice, of names that differ in case only, of numbers beyond
any number, and of halves of surrogate pairs. A message with any of these in its envelope is no message here, and what
goes on is written anew from what was read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple, TypeGuard

from tslg.protocol.errors import UsageError

Message = dict[str, Any]
"""One JSON-RPC 2.0 object."""
Id = int | str
"""What answers are matched by."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
INVALID_PARAMS: Final = -32602
CLOSED: Final = -32000
"""The connection to the server ended; the number that MCP's own libraries use."""

CALL: Final = "tools/call"
LIST: Final = "tools/list"
CANCELLED: Final = "notifications/cancelled"
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
"""Where, in a result's `_meta`, a server of protocol 2026-07-28 says who it is."""
CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
VERSION: Final = "io.modelcontextprotocol/protocolVersion"
RECORD: Final = "tslg/record"
"""In a result's `_meta`: the record of the call."""
RESULT: Final = "tslg/result"
"""In a result's `_meta`: the record of its result."""
OURS: Final = "tslg/"
"""How every name begins that only the gate may put into a result's `_meta`."""

_ENVELOPE: Final = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})


class Malformed(NamedTuple):
    """What came instead of a message, without a word of its contents.

    Attributes:
        code: the JSON-RPC error.
        reason: what is wrong.
        id: the request's id, where it is known.
    """

    code: int
    reason: str
    id: Id | None = None


def parse(line: bytes) -> Message | Malformed:
    """Return the one message that a line is, or what is wrong with it. Never raises."""
    try:
        value = json.loads(
            line.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite
        )
        _encode(value)
    except UnicodeError:
        return Malformed(PARSE_ERROR, "it is not UTF-8 text, or has half a surrogate pair")
    except RecursionError:
        return Malformed(PARSE_ERROR, "its values are nested too deeply")
    except json.JSONDecodeError:
        return Malformed(PARSE_ERROR, "it is not JSON")
    except ValueError as problem:
        return Malformed(PARSE_ERROR, str(problem) if type(problem) is _Strange else "a number in it is too long")
    return _checked(value)


def encode(message: Mapping[str, Any]) -> bytes:
    """Return the line that carries a message: compact JSON, UTF-8, without a line break in it."""
    return _encode(message) + b"\n"


def is_id(value: object) -> TypeGuard[Id]:
    """Tell whether a value can be the id of a request of MCP: text or an integer."""
    return type(value) in (int, str)


def answer(id: Id, result: Mapping[str, Any]) -> Message:
    """Return the response to a request."""
    return {"jsonrpc": "2.0", "id": id, "result": dict(result)}


def error(id: Id | None, code: int, text: str) -> Message:
    """Return the error response to a request, or to what was none if `id` is None."""
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}}


def tool_error(text: str, meta: Mapping[str, Any]) -> Message:
    """Return a tool's result that says to the model why the tool did not run, or what became of what it returned."""
    return {"content": [{"type": "text", "text": text}], "isError": True, "resultType": "complete", "_meta": dict(meta)}


def marked(result: Mapping[str, Any], meta: Mapping[str, str]) -> Message:
    """Return a result with these entries in its `_meta`, and none of the gate's that anybody else put there."""
    before = result.get("_meta")
    kept = {name: value for name, value in before.items() if not name.startswith(OURS)} if _is_map(before) else {}
    return {**result, "_meta": {**kept, **meta}}


def disowned(response: Message) -> Message:
    """Return a response that is not the gate's without what only the gate says."""
    result = response.get("result")
    meta = result.get("_meta") if _is_map(result) else None
    if not _is_map(result) or not _is_map(meta) or not any(name.startswith(OURS) for name in meta):
        return response
    return {**response, "result": marked(result, {})}


def is_nearly_call(method: str) -> bool:
    """Tell whether a method is not that of a call, and a careless reader would take it for that."""
    return method != CALL and "".join(method.split()).casefold() == CALL


def parameters(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the params of a message, empty where it has none that are named."""
    params = message.get("params")
    return params if _is_map(params) else {}


def wrong_with_call(params: object, declared: Collection[str]) -> str | None:
    """Return why a call cannot be judged, or None: its name and arguments must read alike to everybody.

    Args:
        params: those of the request.
        declared: the names of the properties of the tool's input schema, which may differ in case only.
    """
    if not _is_map(params) or not isinstance(params.get("name"), str):
        return "a tool is called by its name"
    if _alike(params, ()):
        return "two of its parameters differ in case only"
    arguments = params.get("arguments")
    if arguments is not None and not _is_map(arguments):
        return "a tool's arguments are an object"
    if _alike(arguments or {}, declared):
        return "two arguments differ in case only, and the tool's schema does not say that they are two"
    if any("." in name and name not in declared for name in arguments or ()):
        return (
            "an argument has a dot in its name, which rules would read as a path, and the tool's schema has none such"
        )
    return None


def not_installed() -> UsageError:
    """Return the error for what needs MCP's own library, where it is not installed."""
    return UsageError(
        "MCP's own library is not installed",
        code="TSLG-U-EXTRA",
        mend="install tslg with its extra: pip install 'tslg[mcp]'",
    )


class _Strange(ValueError):
    """JSON that readers disagree about."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Strange("a name stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise _Strange("it has a number that JSON does not know")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Strange("it has a number beyond any number")
    return value


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _is_map(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _alike(values: Mapping[str, Any], declared: Collection[str]) -> bool:
    """Tell whether two names differ in case only, or one from a declared name."""
    seen = {name.casefold(): name for name in declared}
    return any(name not in declared and seen.setdefault(name.casefold(), name) != name for name in values)


def _checked(value: object) -> Message | Malformed:
    """Return a parsed value if it is a request, a notification or a response."""
    if isinstance(value, list):
        return Malformed(INVALID_REQUEST, "batches are not taken: send one message a line")
    if not _is_map(value) or value.get("jsonrpc") != "2.0":
        return Malformed(INVALID_REQUEST, "it is no JSON-RPC 2.0 object")
    known = value["id"] if is_id(value.get("id")) else None
    if not value.keys() <= _ENVELOPE:
        return Malformed(INVALID_REQUEST, "its envelope has members that JSON-RPC 2.0 does not know", known)
    right = _is_asking(value, known) if "method" in value else _is_answering(value, known)
    return value if right else Malformed(INVALID_REQUEST, "it is no request, notification or response", known)


def _is_asking(value: Message, known: Id | None) -> bool:
    """Tell whether it is a request or a notification; MCP gives parameters by name alone."""
    params = value.get("params")
    return (
        isinstance(value["method"], str)
        and (params is None or _is_map(params))
        and not {"result", "error"} & value.keys()
        and ("id" not in value or known is not None)
    )


def _is_answering(value: Message, known: Id | None) -> bool:
    """Tell whether it is a response; MCP's results are objects. An error may answer what nobody could read."""
    if "params" in value or ("result" in value) == ("error" in value):
        return False
    if "result" in value:
        return known is not None and _is_map(value["result"])
    error = value["error"]
    told = _is_map(error) and type(error.get("code")) is int and isinstance(error.get("message"), str)
    return told and (known is not None or value.get("id", 0) is None)
